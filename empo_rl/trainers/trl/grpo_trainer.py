"""EMPO on TRL's GRPOTrainer (1.16): one group step, and a loss from which dropped groups are exactly gone.

TRL asks a reward function for one reward per completion; its batch is complete at the end of
`_generate_and_score_completions`. After TRL's own version of it has run, this trainer

    1. replaces the advantages by the provider's: normalised among the kept rows, 0 elsewhere;
    2. multiplies the decision's loss mask into `tool_mask`, which TRL applies to the loss, not to the attention;
    3. recounts `num_items_in_batch`, the denominator of the token-level losses (dapo, cispo, vespo);
    4. for losses that average over all rows (grpo, dr_grpo, sapo, luspo): advantages times rows / kept rows of the
       optimizer step they are in.

The loss then equals that of training on the kept rows alone. For bnpo it does so where the kept rows share one
micro-batch, whose own token count is bnpo's denominator by definition; for the token-level losses where a step uses all
that was generated: TRL counts the tokens of the whole generation and gives each step an equal part. An optimizer step
in which no row is left is skipped and counted (`empo/step_skipped`), so that momentum and weight decay move nothing
either; the learning-rate schedule goes on.

Groups may be cut between processes: they are then gathered, and process 0 decides about the global batch. A process
that fails in deciding makes all of them fail (`together`). What the provider needs of the tokens is measured where
they are generated.

Leaves out KL (`beta` must be 0: the paper removes it) and other reward functions beside the provider's. Under
DeepSpeed, whose engine steps by itself, a step without any kept row is counted but not skipped: its gradient is zero,
momentum and decay act. The ratio's clip is TRL's epsilon; on-policy the ratio is 1 and the clip inactive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing

from empo_rl.core.provider import EmpoProvider
from empo_rl.trainers.reward_function import group_size, rows_per_process
from empo_rl.trainers.trl.distributed import Share, decide
from empo_rl.trainers.trl.rollouts import Rows
from empo_rl.trainers.trl.token_measures import MEASURES, measure_tokens
from semantic_entropy import InputError, SemanticEntropyError

AVERAGE_OVER_ROWS = frozenset({"grpo", "dr_grpo", "sapo", "luspo"})


class EmpoGRPOTrainer(GRPOTrainer):
    """GRPOTrainer whose reward, filter and advantages come from an `EmpoProvider`.

    The dataset has a `prompt` column. A `question` column, where present, is what the equivalence is told the
    answers are about; otherwise it is the prompt's last user message. A `gold` column is read where the provider
    grades.

    Args:
        model: as for GRPOTrainer.
        provider: the decisions. The caller closes it.
        args: `beta` must be 0, and `scale_rewards` the provider's scale.
        kwargs: as for GRPOTrainer.

    Attributes:
        skipped_steps: optimizer steps in which no group was kept.
    """

    def __init__(self, model: Any, provider: EmpoProvider, args: GRPOConfig, **kwargs: Any) -> None:
        _check_config(args, provider)
        self.provider = provider
        self.skipped_steps = 0
        self._share: Share | None = None
        self._rows_in_window = 0
        self._generated: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]] = ((), ())
        self._training_size = group_size(args)
        self._evaluation_size = args.num_generations_eval or self._training_size
        super().__init__(model=model, reward_funcs=self._reward_function(), args=args, **kwargs)
        self.add_callback(_BeforeStep(self))

    def _generate(self, prompts: list[Any]) -> Any:
        """TRL's generation; keeps the token ids, of which the provider may need measures."""
        output = super()._generate(prompts)
        self._generated = output[0], output[1]
        return output

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        share, self._share = self._share, None
        if share is None:
            raise SemanticEntropyError("TRL scored a batch without calling the reward function.")
        return self._restrict_to_kept(output, share) if self._is_training() else output

    def _restrict_to_kept(self, output: dict[str, Any], share: Share) -> dict[str, Any]:
        """The batch with the loss of the kept rows alone. Rows are still in order: TRL shuffles afterwards."""
        completion_mask = output["completion_mask"]
        rows = torch.as_tensor(share.loss_mask, device=completion_mask.device)
        tool_mask = output.get("tool_mask", torch.ones_like(completion_mask))
        output["tool_mask"] = tool_mask * rows.unsqueeze(1).to(tool_mask.dtype)
        tokens = (completion_mask * output["tool_mask"]).sum()
        output["num_items_in_batch"] = self.accelerator.gather(tokens).sum()
        output["advantages"] = torch.as_tensor(share.advantages, dtype=output["advantages"].dtype, device=rows.device)
        return output

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is not before and self.loss_type in AVERAGE_OVER_ROWS and self._is_training():
            self._average_over_kept_rows(self._buffered_inputs)
        return inputs

    def _average_over_kept_rows(self, batches: list[dict[str, Any]]) -> None:
        """Scale the advantages of what was just generated, by optimizer steps (`gradient_accumulation_steps` of the
        micro-batches): TRL divides by all rows of a step, and now by those that are kept.
        """
        size = self.args.gradient_accumulation_steps
        steps = [batches[start : start + size] for start in range(0, len(batches), size)]
        rows = torch.tensor([sum(len(batch["tool_mask"]) for batch in step) for step in steps])
        kept = torch.stack([sum(batch["tool_mask"].any(dim=1).sum() for batch in step) for step in steps])
        everywhere = self.accelerator.gather(kept.unsqueeze(0)).sum(dim=0).clamp(min=1)
        scales = rows.to(everywhere.device) * self.accelerator.num_processes / everywhere
        for step, scale in zip(steps, scales, strict=True):
            for batch in step:
                batch["advantages"] = batch["advantages"] * scale

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """TRL's loss; counts the rows that are in it, for `begin_optimizer_step`."""
        if self._is_training():
            in_loss = (inputs["completion_mask"] * inputs["tool_mask"]).any(dim=1)
            self._rows_in_window += int(in_loss.sum())
        return super().compute_loss(model, inputs, *args, **kwargs)

    def begin_optimizer_step(self) -> None:
        """Take the gradients away where no process had a row in the loss.

        torch's optimizers leave a weight without gradient, and its moments, as they are.
        """
        rows = torch.tensor(self._rows_in_window, device=self.accelerator.device)
        self._rows_in_window = 0
        empty = int(self.accelerator.gather(rows).sum()) == 0
        skipped = empty and not self.is_deepspeed_enabled
        if skipped:
            self.model_wrapped.zero_grad(set_to_none=True)
            self.skipped_steps += 1
        self._metrics["train"]["empo/step_empty"].append(float(empty))
        self._metrics["train"]["empo/step_skipped"].append(float(skipped))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None is written: TRL's names GRPO as the method and, for a model made in memory, nothing as its base."""

    def _is_training(self) -> bool:
        return bool(self.model is not None and self.model.training)

    def _reward_function(self) -> Any:
        """What TRL calls: flat rows in, a reward a row out."""

        def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
            training = self._is_training()
            size = self._training_size if training else self._evaluation_size
            held = rows_per_process(self.args) if training else self.args.per_device_eval_batch_size
            as_one = held % size != 0 or self.provider.decides_as_one
            self._share = decide(
                lambda: Rows.of_trl(prompts, completions, columns, self._measures()),
                lambda rows: self.provider.step(rows.groups(size), training=training),
                as_one=as_one,
            )
            for name, value in self._share.metrics.items():
                columns["log_metric"](f"empo/{name}", value)
            # A nan reward (invalid="drop") is out of the loss already; for a None TRL warns in every step.
            return [0.0 if math.isnan(paid) else float(paid) for paid in self._share.rewards]

        reward.__name__ = self.provider.reward  # TRL names its columns after it: rewards/empo/mean
        return reward

    def _measures(self) -> dict[str, list[float]]:
        """Of each completion: its tokens, whether the limit cut it off, and what the provider needs of its tokens."""
        prompts, completions = self._generated
        ends = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        measures: dict[str, list[float]] = {
            "tokens": [float(len(ids)) for ids in completions],
            "truncated": [float(not ids or ids[-1] not in ends) for ids in completions],
        }
        if self.provider.needs.intersection(MEASURES):
            model: Any = self.model
            kwargs: Any = self.args.gradient_checkpointing_kwargs
            with disable_gradient_checkpointing(model, kwargs):
                measures |= measure_tokens(
                    model,
                    prompts,
                    completions,
                    temperature=self.temperature,
                    batch_size=self.args.per_device_train_batch_size,
                    pad=self._tokenizer.pad_token_id,
                )
        return measures


class _BeforeStep(TrainerCallback):
    """The trainer's own word before every optimizer step."""

    def __init__(self, trainer: EmpoGRPOTrainer) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.begin_optimizer_step()


def _check_config(args: GRPOConfig, provider: EmpoProvider) -> None:
    if args.beta != 0.0:
        raise InputError(f"beta={args.beta}: EMPO has no KL term (the paper removes it). Set beta=0.0.")
    if args.scale_rewards != provider.scale:
        raise InputError(
            f"GRPOConfig.scale_rewards={args.scale_rewards!r} and EmpoProvider.scale={provider.scale!r} differ. "
            "Set both to the same; the provider's advantages are the ones that are used."
        )
    accumulation, generated = args.gradient_accumulation_steps, args.steps_per_generation or 1
    if args.loss_type in AVERAGE_OVER_ROWS and generated % accumulation:
        raise InputError(
            f"steps_per_generation={generated} is no multiple of gradient_accumulation_steps={accumulation}: an "
            f"optimizer step would mix two generations, and loss_type={args.loss_type!r} could not be taken over the "
            "kept rows alone. Change one of the two."
        )
    provider.check(group_size(args))

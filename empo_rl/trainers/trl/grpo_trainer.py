"""EMPO on TRL's GRPOTrainer (1.16): rewards and advantages from a provider, and a loss without the dropped groups.

TRL calls `_calculate_rewards` once for each generated batch and normalises its own advantages from the result. This
trainer overrides that method:

    1. the provider decides about the batch; TRL receives the rewards, for its log;
    2. the provider's advantages (normalised over the kept rows, 0 elsewhere) replace TRL's, in the batch and in the
       table of completions;
    3. the loss mask is multiplied into `tool_mask`, which TRL applies to the loss and not to the attention;
    4. `num_items_in_batch`, the denominator of the token-level losses (dapo, cispo, vespo), is counted again;
    5. for the losses that average over all rows (grpo, dr_grpo, sapo, luspo), the advantages of each optimizer step are
       multiplied by rows / kept rows of that step.

The loss then equals the loss of the kept rows alone. Two conditions: with bnpo, whose denominator is the token count of
a micro-batch by definition, the kept rows must be in one micro-batch; with the token-level losses, one step must use
all that was generated, because TRL divides the token count of a generation equally among its steps. An optimizer step
without any kept row is skipped and counted (`empo/step_skipped`), so that momentum and weight decay change nothing
either; the learning-rate schedule advances.

Groups may be cut between processes (`empo_rl.trainers.trl.distributed`). The measures of tokens that the provider needs
are computed right after the generation.

Leaves out KL (`beta` must be 0: the paper removes it) and other reward functions. DeepSpeed's engine makes its steps
itself, so a step without a kept row is counted but not skipped: the gradient is zero, momentum and weight decay act.
The clip of the ratio is TRL's epsilon; on-policy the ratio is 1 and the clip is inactive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing

from empo_rl.core.groups import group_by_position
from empo_rl.core.provider import BatchDecision, EmpoProvider
from empo_rl.trainers.trl.distributed import decide
from empo_rl.trainers.trl.rollouts import (
    Columns,
    completions_per_process,
    group_size,
    placeholder_reward,
    trl_columns,
)
from empo_rl.trainers.trl.token_measures import MEASURES, measure_tokens
from semantic_entropy import InputError

AVERAGE_OVER_ROWS = frozenset({"grpo", "dr_grpo", "sapo", "luspo"})


class EmpoGRPOTrainer(GRPOTrainer):
    """GRPOTrainer with rewards, filter and advantages from an `EmpoProvider`.

    The dataset has a `prompt` column. The optional `question` column is the question that the judge is given; without
    it, the question is the last user message of the prompt. The `gold` column is read if the provider grades answers.

    Args:
        model: as for GRPOTrainer.
        provider: decides about the batches. The caller closes it.
        args: `beta` must be 0, and `scale_rewards` must equal the provider's scale.
        kwargs: as for GRPOTrainer.

    Attributes:
        skipped_steps: optimizer steps in which no group was kept.
    """

    def __init__(self, model: Any, provider: EmpoProvider, args: GRPOConfig, **kwargs: Any) -> None:
        _check_config(args, provider)
        self.provider = provider
        self.skipped_steps = 0
        self._decision: tuple[BatchDecision, slice] | None = None
        self._rows_in_step = 0
        self._prompt_ids: Sequence[Sequence[int]] = ()
        self._training_size = group_size(args)
        self._evaluation_size = args.num_generations_eval or self._training_size
        names_the_columns = placeholder_reward(provider.reward)  # rewards/empo/mean
        super().__init__(model=model, reward_funcs=names_the_columns, args=args, **kwargs)
        self.add_callback(_BeforeOptimizerStep(self))

    def _generate(self, prompts: list[Any]) -> Any:
        """TRL's generation; keeps the token ids of the prompts for `measure_tokens`."""
        output = super()._generate(prompts)
        self._prompt_ids = output[0]
        return output

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> torch.Tensor:
        """Decide about the batch. Returns (rows of all processes, 1): the rewards that TRL logs."""
        training = self._is_training()
        size = self._training_size if training else self._evaluation_size
        local_rows = completions_per_process(self.args) if training else self.args.per_device_eval_batch_size
        columns: dict[str, Any] = {
            name: [row[name] for row in inputs] for name in ("question", "gold") if name in inputs[0]
        }

        def decide_about(batch: Columns) -> BatchDecision:
            return self.provider.step(group_by_position(num_generations=size, **batch), training=training)

        decision, rows = self._decision = decide(
            lambda: trl_columns(prompts, completions, columns, self._measures(completion_ids_list)),
            decide_about,
            globally=local_rows % size != 0 or self.provider.decides_as_one,
        )
        for name, value in decision.metrics.items():
            self._log_metric(f"empo/{name}", value)
        # A nan reward (invalid="drop") is out of the loss already; TRL would warn about it in every step.
        rewards = torch.as_tensor(np.nan_to_num(decision.rewards[rows], nan=0.0), dtype=torch.float32)
        gathered: torch.Tensor = self.accelerator.gather(rewards.unsqueeze(1).to(self.accelerator.device))
        return gathered

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        assert self._decision is not None, "_calculate_rewards was called"
        decision, rows = self._decision
        self._decision = None
        if self._is_training():
            self._apply_decision(output, decision, rows)
        return output

    def _apply_decision(self, output: dict[str, Any], decision: BatchDecision, rows: slice) -> None:
        """Restrict the loss of the batch to the kept rows. The rows are still in order: TRL shuffles later."""
        completion_mask = output["completion_mask"]
        loss_mask = torch.as_tensor(decision.loss_mask[rows], device=completion_mask.device)
        tool_mask = output.get("tool_mask", torch.ones_like(completion_mask))
        output["tool_mask"] = tool_mask * loss_mask.unsqueeze(1).to(tool_mask.dtype)
        tokens = (completion_mask * output["tool_mask"]).sum()
        output["num_items_in_batch"] = self.accelerator.gather(tokens).sum()
        advantages = torch.as_tensor(
            decision.advantages[rows], dtype=output["advantages"].dtype, device=loss_mask.device
        )
        output["advantages"] = advantages
        self._log_advantages(self.accelerator.gather(advantages).tolist())

    def _log_advantages(self, advantages: list[float]) -> None:
        """Replace TRL's advantages of this batch, the last ones in its table of completions."""
        logged: Any = self._logs["advantages"]
        for _ in advantages:
            logged.pop()
        logged.extend(advantages)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is not before and self.loss_type in AVERAGE_OVER_ROWS and self._is_training():
            self._average_over_kept_rows(self._buffered_inputs)
        return inputs

    def _average_over_kept_rows(self, batches: list[dict[str, Any]]) -> None:
        """Scale the advantages of the micro-batches just generated, one optimizer step after another.

        TRL divides the loss of a step by all of its rows; the scale makes that the kept rows.
        """
        size = self.args.gradient_accumulation_steps
        steps = [batches[start : start + size] for start in range(0, len(batches), size)]
        rows = torch.tensor([sum(len(batch["tool_mask"]) for batch in step) for step in steps])
        kept = torch.stack([sum(batch["tool_mask"].any(dim=1).sum() for batch in step) for step in steps])
        kept_everywhere = self.accelerator.gather(kept.unsqueeze(0)).sum(dim=0).clamp(min=1)
        scales = rows.to(kept_everywhere.device) * self.accelerator.num_processes / kept_everywhere
        for step, scale in zip(steps, scales, strict=True):
            for batch in step:
                batch["advantages"] = batch["advantages"] * scale

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """TRL's loss; counts the rows in it for `before_optimizer_step`."""
        if self._is_training():
            in_loss = (inputs["completion_mask"] * inputs["tool_mask"]).any(dim=1)
            self._rows_in_step += int(in_loss.sum())
        return super().compute_loss(model, inputs, *args, **kwargs)

    def before_optimizer_step(self) -> None:
        """Remove the gradients if no process had a row in the loss.

        torch's optimizers do not change a weight without gradient, nor its moments.
        """
        rows = torch.tensor(self._rows_in_step, device=self.accelerator.device)
        self._rows_in_step = 0
        empty = int(self.accelerator.gather(rows).sum()) == 0
        skipped = empty and not self.is_deepspeed_enabled
        if skipped:
            self.model_wrapped.zero_grad(set_to_none=True)
            self.skipped_steps += 1
        self._metrics["train"]["empo/step_empty"].append(float(empty))
        self._metrics["train"]["empo/step_skipped"].append(float(skipped))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Writes no model card: TRL's card names GRPO as the method, and no base for a model made in memory."""

    def _is_training(self) -> bool:
        return bool(self.model is not None and self.model.training)

    def _measures(self, completion_ids: Sequence[Sequence[int]]) -> dict[str, list[float]]:
        """For each completion: its tokens, whether the limit cut it off, and the measures that the provider needs."""
        end_tokens = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        measures: dict[str, list[float]] = {
            "tokens": [float(len(ids)) for ids in completion_ids],
            "truncated": [float(not ids or ids[-1] not in end_tokens) for ids in completion_ids],
        }
        if self.provider.needs.intersection(MEASURES):
            model: Any = self.model
            kwargs: Any = self.args.gradient_checkpointing_kwargs
            with disable_gradient_checkpointing(model, kwargs):
                measures |= measure_tokens(
                    model,
                    self._prompt_ids,
                    completion_ids,
                    temperature=self.temperature,
                    batch_size=self.args.per_device_train_batch_size,
                    pad=self._tokenizer.pad_token_id,
                )
        return measures


class _BeforeOptimizerStep(TrainerCallback):
    def __init__(self, trainer: EmpoGRPOTrainer) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.before_optimizer_step()


def _check_config(args: GRPOConfig, provider: EmpoProvider) -> None:
    if args.beta != 0.0:
        raise InputError(f"beta={args.beta}: EMPO has no KL term (the paper removes it). Set beta=0.0.")
    if args.scale_rewards != provider.scale:
        raise InputError(
            f"GRPOConfig.scale_rewards={args.scale_rewards!r} and EmpoProvider.scale={provider.scale!r} differ. "
            "Set both to the same value."
        )
    accumulation, generated = args.gradient_accumulation_steps, args.steps_per_generation or 1
    if args.loss_type in AVERAGE_OVER_ROWS and generated % accumulation:
        raise InputError(
            f"steps_per_generation={generated} is not a multiple of gradient_accumulation_steps={accumulation}: an "
            f"optimizer step would mix two generations, and the loss {args.loss_type!r} could not be averaged over the "
            "kept rows alone. Change one of the two numbers."
        )
    provider.check(group_size(args))

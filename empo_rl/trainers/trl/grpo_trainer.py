"""EMPO on TRL's GRPOTrainer (1.16): rewards and advantages from a provider, and a loss without the dropped groups.

TRL calls `_calculate_rewards` once for each generated batch and computes advantages from the returned rewards. This
trainer overrides `_calculate_rewards` and the methods around it:

    1. The provider decides about the batch. TRL receives the rewards for its log.
    2. The provider's advantages replace TRL's advantages, in the batch and in the table of completions. The provider
       normalises over the kept rows; all other rows have advantage 0.
    3. The loss mask is multiplied into `tool_mask`. TRL applies `tool_mask` to the loss but not to the attention.
    4. `num_items_in_batch`, the denominator of the token-level losses (dapo, cispo, vespo), is counted again.
    5. For the losses that average over all rows (grpo, dr_grpo, sapo, luspo), the advantages of each optimizer step are
       multiplied by the number of rows of the step, divided by the number of kept rows of the step.

The loss then equals the loss of the kept rows only, under two conditions. With bnpo, the kept rows must be in one
micro-batch, because bnpo divides by the token count of a micro-batch. With the token-level losses, one optimizer step
must use the whole generated batch, because TRL divides the token count of the generated batch equally among its steps.
An optimizer step without a kept row is skipped and counted (`empo/step_skipped`), so momentum and weight decay do not
change the weights; the learning-rate schedule advances.

Groups may be split between processes (`empo_rl.trainers.trl.distributed`). The trainer computes the token measures that
the provider needs directly after the generation.

The trainer has no KL term (the paper removes it, so `beta` must be 0) and accepts no other reward functions. DeepSpeed
runs the optimizer steps in its own engine, so this trainer counts a step without a kept row but cannot skip the step:
the gradient is zero, but momentum and weight decay change the weights. The clip of the ratio is TRL's epsilon;
on-policy the ratio is 1, and the clip has no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing

from empo_rl.core.advantages import trl_scale
from empo_rl.core.decision import BatchDecision
from empo_rl.core.groups import group_by_position
from empo_rl.core.provider import EmpoProvider
from empo_rl.trainers.trl.distributed import decide
from empo_rl.trainers.trl.rollouts import (
    Columns,
    completions_per_process,
    group_size,
    length_measures,
    placeholder_reward,
    trl_columns,
)
from empo_rl.trainers.trl.token_measures import MEASURES, measure_tokens
from semantic_entropy import InputError, SemanticEntropyError

AVERAGE_OVER_ROWS = frozenset({"grpo", "dr_grpo", "sapo", "luspo"})


class EmpoGRPOTrainer(GRPOTrainer):
    """A GRPOTrainer that takes its rewards, its filter and its advantages from an `EmpoProvider`.

    The dataset has a `prompt` column. The optional `question` column contains the question that the judge receives;
    without this column, the question is the last user message of the prompt. The `gold` column contains the gold answer
    and is read if the provider grades answers.

    Args:
        model: see GRPOTrainer.
        provider: decides about the batches. The caller closes the provider.
        args: the GRPOConfig. `beta` must be 0, and `scale_rewards` must equal the provider's `scale` (for `fixed`,
            which TRL does not have, "none").
        kwargs: see GRPOTrainer.

    Attributes:
        provider: the provider.
        skipped_steps: the number of optimizer steps that were skipped because no row was kept.
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
        """Generate with TRL, and store the token ids of the prompts for `measure_tokens`."""
        output = super()._generate(prompts)
        self._prompt_ids = output[0]
        return output

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> torch.Tensor:
        """Decide about the batch. Return the rewards that TRL logs, with shape (number of rows of all processes, 1)."""
        training = self._is_training()
        size = self._training_size if training else self._evaluation_size
        local_rows = completions_per_process(self.args) if training else self.args.per_device_eval_batch_size
        columns: dict[str, Any] = {
            name: [row[name] for row in inputs] for name in ("question", "gold") if name in inputs[0]
        }

        def decide_batch(batch: Columns) -> BatchDecision:
            return self.provider.step(group_by_position(num_generations=size, **batch), training=training)

        decision, rows = self._decision = decide(
            lambda: trl_columns(prompts, completions, columns, self._measures(completion_ids_list)),
            decide_batch,
            globally=local_rows % size != 0 or self.provider.decides_as_one,
        )
        for name, value in decision.metrics.items():
            self._log_metric(f"empo/{name}", value)
        # The loss mask already excludes a row with reward nan (invalid="drop"). TRL would warn about nan in each step.
        rewards = torch.as_tensor(np.nan_to_num(decision.rewards[rows], nan=0.0), dtype=torch.float32)
        gathered: torch.Tensor = self.accelerator.gather(rewards.unsqueeze(1).to(self.accelerator.device))
        return gathered

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self._decision is None:
            raise SemanticEntropyError(
                "TRL scored a batch without calling _calculate_rewards. Install trl 1.16, the tested version."
            )
        decision, rows = self._decision
        self._decision = None
        if self._is_training():
            self._apply_decision(output, decision, rows)
        return output

    def _apply_decision(self, output: dict[str, Any], decision: BatchDecision, rows: slice) -> None:
        """Restrict the loss of the batch to the kept rows. TRL shuffles the rows later, so their order is unchanged."""
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
        """Replace the advantages of this batch in TRL's table of completions: the last entries of the table."""
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
        """Scale the advantages of the micro-batches just generated, with one factor for each optimizer step.

        TRL divides the loss of a step by the number of all its rows. After the scaling, the loss is the average over
        the kept rows only.
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
        """Compute TRL's loss, and count the rows in the loss for `before_optimizer_step`."""
        if self._is_training():
            in_loss = (inputs["completion_mask"] * inputs["tool_mask"]).any(dim=1)
            self._rows_in_step += int(in_loss.sum())
        return super().compute_loss(model, inputs, *args, **kwargs)

    def sample_completions(self, prompts: list[Any]) -> list[Any]:
        """Sample a completion for each prompt, with the model in evaluation mode. The log does not change.

        Every process calls this method equally often, because the weights can be sharded.
        """
        completions: list[Any] = self._generate(prompts)[3]
        self._metrics["eval"].clear()
        return completions

    def before_optimizer_step(self) -> None:
        """Remove the gradients if no process had a row in the loss.

        If a weight has no gradient, torch's optimizers change neither the weight nor its moments.
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
        """Write no model card: TRL's card names GRPO as the method, and no base model for a model created in memory."""

    def _is_training(self) -> bool:
        return bool(self.model is not None and self.model.training)

    def _measures(self, completion_ids: Sequence[Sequence[int]]) -> dict[str, list[float]]:
        """Return numbers for each completion.

        The numbers are: the number of its tokens, whether the completion length limit cut the completion off, and the
        measures that the provider needs.
        """
        end_tokens = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        measures = length_measures(completion_ids, end_tokens)
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
    if args.scale_rewards != trl_scale(provider.scale):
        fix = 'Set scale_rewards="none".' if provider.scale == "fixed" else "Set both to the same value."
        raise InputError(
            f"GRPOConfig.scale_rewards={args.scale_rewards!r} and EmpoProvider.scale={provider.scale!r} differ. {fix}"
        )
    if args.reward_weights is not None:
        raise InputError(
            f"reward_weights={args.reward_weights}: the rewards come from the provider alone. Remove reward_weights; "
            "for a weighted sum, pass EmpoProvider(reward='composite', reward_options={'weights': {...}})."
        )
    if args.multi_objective_aggregation != "sum_then_normalize":
        raise InputError(
            f"multi_objective_aggregation={args.multi_objective_aggregation!r}: the provider computes the advantages "
            "of one reward. Remove multi_objective_aggregation."
        )
    accumulation, generated = args.gradient_accumulation_steps, args.steps_per_generation or 1
    if args.loss_type in AVERAGE_OVER_ROWS and generated % accumulation:
        raise InputError(
            f"steps_per_generation={generated} is not a multiple of gradient_accumulation_steps={accumulation}: an "
            f"optimizer step would mix two generated batches, and the loss {args.loss_type!r} could not be averaged "
            "over the kept rows only. Set steps_per_generation to a multiple of gradient_accumulation_steps."
        )
    provider.check(group_size(args))

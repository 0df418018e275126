"""EMPO on TRL's GRPOTrainer (written against 1.16): one group step, and a loss from which dropped groups are exactly gone.

TRL asks the reward function for a reward per completion; `_generate_and_score_completions` is where its batch is complete.
After TRL's own version of it has run, this trainer

    1. replaces the advantages by the provider's, which are normalised among the kept rows (0 elsewhere),
    2. multiplies the decision's loss mask into `tool_mask`, the mask that TRL applies to the loss and not to the attention,
    3. recounts `num_items_in_batch`, the denominator of the token-level losses (dapo, cispo, vespo),
    4. for losses that average over all rows (grpo, dr_grpo, sapo, luspo) multiplies advantages by rows / kept rows.

The loss then equals that of training on the kept rows alone. For bnpo it does so when the kept rows share one micro-batch:
its denominator is the micro-batch's own token count by definition. An optimizer step in which no row is left is skipped, so that
momentum and weight decay move nothing either, and counted (`empo/step_skipped`); the learning-rate schedule goes on.

Leaves out KL (`beta` must be 0: the paper removes it), groups that straddle ranks (refused), and other reward functions beside
the provider's. The ratio's clip is TRL's epsilon; on-policy the ratio is 1 and the clip inactive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from empo_rl.decision import BatchDecision
from empo_rl.groups import group_by_position
from empo_rl.provider import EmpoProvider
from semantic_entropy import InputError

AVERAGE_OVER_ROWS = frozenset({"grpo", "dr_grpo", "sapo", "luspo"})


class EmpoGRPOTrainer(GRPOTrainer):  # type: ignore[misc]  # trl ships no types
    """GRPOTrainer whose reward, filter and advantages come from an `EmpoProvider`.

    Args:
        model, args, train_dataset, ...: as for GRPOTrainer. `args.beta` must be 0, `args.scale_rewards` the provider's scale.
        provider: the decisions. The caller closes it.

    The dataset has a `prompt` column; a `question` column, where present, is what the equivalence is asked about (otherwise the
    prompt's last user message); a `gold` column is read only by `reward="golden"`.
    """

    _tag_names = ["trl", "grpo", "empo"]

    def __init__(self, model: Any, provider: EmpoProvider, args: GRPOConfig, **kwargs: Any) -> None:
        _check_config(args, provider, evaluates=kwargs.get("eval_dataset") is not None)
        self.provider = provider
        self.skipped_steps = 0
        self._decision: BatchDecision | None = None
        self._rows_in_window = 0
        super().__init__(model=model, reward_funcs=_reward_function(self), args=args, **kwargs)
        self.add_callback(_SkipEmptyStep(self))

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        decision, self._decision = self._decision, None
        assert decision is not None, "TRL did not call the reward function"
        if not self.model.training:
            return output
        return self._restrict_to_kept(output, decision)

    def _restrict_to_kept(self, output: dict[str, Any], decision: BatchDecision) -> dict[str, Any]:
        """The batch with the loss of the kept rows alone. Row order is still the rollout's: TRL shuffles afterwards."""
        completion_mask = output["completion_mask"]
        rows = torch.as_tensor(decision.loss_mask, device=completion_mask.device)
        tool_mask = output.get("tool_mask", torch.ones_like(completion_mask))
        output["tool_mask"] = tool_mask * rows.unsqueeze(1).to(tool_mask.dtype)
        tokens = (completion_mask * output["tool_mask"]).sum()
        output["num_items_in_batch"] = self.accelerator.gather(tokens).sum()
        advantages = torch.as_tensor(decision.advantages, dtype=output["advantages"].dtype, device=rows.device)
        output["advantages"] = advantages * self._row_scale(rows)
        return output

    def _row_scale(self, rows: torch.Tensor) -> float:
        if self.loss_type not in AVERAGE_OVER_ROWS:
            return 1.0
        kept = int(self.accelerator.gather(rows.sum()).sum())
        return rows.numel() * self.accelerator.num_processes / max(1, kept)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if model.training:
            self._rows_in_window += int((inputs["completion_mask"] * inputs["tool_mask"]).any(dim=1).sum())
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _end_window(self) -> bool:
        """Whether any rank had a row in the loss since the last optimizer step."""
        rows = torch.tensor(self._rows_in_window, device=self.accelerator.device)
        self._rows_in_window = 0
        return bool(self.accelerator.gather(rows).sum() > 0)


class _SkipEmptyStep(TrainerCallback):  # type: ignore[misc]  # transformers' callback is untyped
    """Takes the gradients away before a step that has none: torch's optimizers then leave weights and moments as they are."""

    def __init__(self, trainer: EmpoGRPOTrainer) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self._trainer
        empty = not trainer._end_window()
        if empty:
            trainer.model.zero_grad(set_to_none=True)
            trainer.skipped_steps += 1
        trainer._metrics["train"]["empo/step_skipped"].append(float(empty))


def _reward_function(trainer: EmpoGRPOTrainer) -> Any:
    """What TRL calls: flat rows in, a reward a row out. Rows of one group are contiguous; prompts may repeat."""

    def empo(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        size = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
        groups = group_by_position(
            [_completion_text(completion) for completion in completions],
            size,
            questions=columns.get("question") or [_question_text(prompt) for prompt in prompts],
            golds=columns.get("gold"),
        )
        decision = trainer.provider.step(groups)
        trainer._decision = decision
        for name, value in decision.metrics.items():
            columns["log_metric"](f"empo/{name}", value)
        # A nan reward (invalid="drop") is out of the loss already; TRL would print a warning for a None in every step.
        return [0.0 if reward != reward else float(reward) for reward in decision.rewards]

    empo.__name__ = trainer.provider.reward  # TRL names its columns after it: rewards/empo/mean
    return empo


def _completion_text(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def _question_text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    return str(next((turn["content"] for turn in reversed(prompt) if turn["role"] == "user"), prompt[-1]["content"]))


def _check_config(args: GRPOConfig, provider: EmpoProvider, evaluates: bool) -> None:
    if args.beta != 0.0:
        raise InputError(f"beta={args.beta}: EMPO has no KL term (the paper removes it). Set beta=0.0.")
    if args.scale_rewards != provider.scale:
        raise InputError(
            f"GRPOConfig.scale_rewards={args.scale_rewards!r} and EmpoProvider.scale={provider.scale!r} differ: set both "
            "to the same; the provider's advantages are the ones that are used."
        )
    if provider.scale == "batch" and args.world_size > 1:
        raise InputError(
            f"scale='batch' over {args.world_size} processes: each would divide by its own standard deviation. Use "
            "scale='group' or 'none'."
        )
    if args.multi_objective_aggregation != "sum_then_normalize":
        raise InputError(
            f"multi_objective_aggregation={args.multi_objective_aggregation!r} has no meaning with one reward: leave it at "
            "'sum_then_normalize'."
        )
    _check_whole_groups(args, evaluates)


def _check_whole_groups(args: GRPOConfig, evaluates: bool) -> None:
    """TRL only checks that the GLOBAL batch divides by G: a group could then be split between two ranks, each of which
    would cluster a part of it."""
    rows, size = args.per_device_train_batch_size * args.steps_per_generation, args.num_generations
    if rows % size:
        raise InputError(
            f"groups straddle ranks: per_device_train_batch_size={args.per_device_train_batch_size} x "
            f"steps_per_generation={args.steps_per_generation} = {rows} rows per rank is no multiple of "
            f"num_generations={size}. Set per_device_train_batch_size={size} or a multiple of it."
        )
    eval_size = args.num_generations_eval or size
    if evaluates and args.per_device_eval_batch_size % eval_size:
        raise InputError(
            f"groups straddle ranks in evaluation: per_device_eval_batch_size={args.per_device_eval_batch_size} is no "
            f"multiple of {eval_size} generations. Set per_device_eval_batch_size={eval_size} or a multiple."
        )

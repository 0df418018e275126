"""EMPO on TRL's GRPOTrainer (1.16): one group step, and a loss from which dropped groups are exactly gone.

TRL asks a reward function for one reward per completion; its batch is complete at the end of
`_generate_and_score_completions`. After TRL's own version of it has run, this trainer

    1. replaces the advantages by the provider's: normalised among the kept rows, 0 elsewhere;
    2. multiplies the decision's loss mask into `tool_mask`, which TRL applies to the loss, not to the attention;
    3. recounts `num_items_in_batch`, the denominator of the token-level losses (dapo, cispo, vespo);
    4. for losses that average over all rows (grpo, dr_grpo, sapo, luspo): advantages times rows / kept rows.

The loss then equals that of training on the kept rows alone. For bnpo it does so where the kept rows share one
micro-batch, whose own token count is bnpo's denominator by definition. An optimizer step in which no row is left
is skipped and counted (`empo/step_skipped`), so that momentum and weight decay move nothing either; the
learning-rate schedule goes on.

Leaves out KL (`beta` must be 0: the paper removes it), groups that straddle ranks (refused), other reward
functions beside the provider's, and DeepSpeed, whose engine steps by itself. The ratio's clip is TRL's epsilon;
on-policy the ratio is 1 and the clip inactive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from empo_rl.decision import BatchDecision
from empo_rl.groups import group_by_position
from empo_rl.provider import EmpoProvider
from semantic_entropy import InputError, SemanticEntropyError

AVERAGE_OVER_ROWS = frozenset({"grpo", "dr_grpo", "sapo", "luspo"})


class EmpoGRPOTrainer(GRPOTrainer):
    """GRPOTrainer whose reward, filter and advantages come from an `EmpoProvider`.

    The dataset has a `prompt` column. A `question` column, where present, is what the equivalence is told the
    answers are about; otherwise it is the prompt's last user message. A `gold` column is read by
    `reward="golden"` alone.

    Args:
        model: as for GRPOTrainer.
        provider: the decisions. The caller closes it.
        args: `beta` must be 0, and `scale_rewards` the provider's scale.
        kwargs: as for GRPOTrainer.

    Attributes:
        skipped_steps: optimizer steps in which no group was kept.
    """

    def __init__(self, model: Any, provider: EmpoProvider, args: GRPOConfig, **kwargs: Any) -> None:
        _check_config(args, provider, evaluates=kwargs.get("eval_dataset") is not None)
        self.provider = provider
        self.skipped_steps = 0
        self._decision: BatchDecision | None = None
        self._rows_in_window = 0
        self._training_size = _generations(args)
        self._evaluation_size = args.num_generations_eval or self._training_size
        super().__init__(model=model, reward_funcs=self._reward_function(), args=args, **kwargs)
        if self.is_deepspeed_enabled:
            raise InputError(
                "DeepSpeed is on: its engine steps the optimizer by itself, so that a step without any kept group "
                "could not be skipped. Use DDP."
            )
        self.add_callback(_BeforeStep(self))

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        decision, self._decision = self._decision, None
        if decision is None:
            raise SemanticEntropyError("TRL scored a batch without calling the reward function.")
        return self._restrict_to_kept(output, decision) if self._is_training() else output

    def _restrict_to_kept(self, output: dict[str, Any], decision: BatchDecision) -> dict[str, Any]:
        """The batch with the loss of the kept rows alone. Rows are still in order: TRL shuffles afterwards."""
        completion_mask = output["completion_mask"]
        rows = torch.as_tensor(decision.loss_mask, device=completion_mask.device)
        tool_mask = output.get("tool_mask", torch.ones_like(completion_mask))
        output["tool_mask"] = tool_mask * rows.unsqueeze(1).to(tool_mask.dtype)
        tokens = (completion_mask * output["tool_mask"]).sum()
        output["num_items_in_batch"] = self.accelerator.gather(tokens).sum()
        output["advantages"] = torch.as_tensor(
            decision.advantages * self._row_scale(rows), dtype=output["advantages"].dtype, device=rows.device
        )
        return output

    def _row_scale(self, rows: torch.Tensor) -> float:
        if self.loss_type not in AVERAGE_OVER_ROWS:
            return 1.0
        kept = int(self.accelerator.gather(rows.sum()).sum())
        return float(rows.numel() * self.accelerator.num_processes / max(1, kept))

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """TRL's loss; counts the rows that are in it, for `begin_optimizer_step`."""
        if self._is_training():
            in_loss = (inputs["completion_mask"] * inputs["tool_mask"]).any(dim=1)
            self._rows_in_window += int(in_loss.sum())
        return super().compute_loss(model, inputs, *args, **kwargs)

    def begin_optimizer_step(self) -> None:
        """Take the gradients away where no rank had a row in the loss.

        torch's optimizers leave a weight without gradient, and its moments, as they are.
        """
        rows = torch.tensor(self._rows_in_window, device=self.accelerator.device)
        self._rows_in_window = 0
        empty = int(self.accelerator.gather(rows).sum()) == 0
        if empty:
            self.model_wrapped.zero_grad(set_to_none=True)
            self.skipped_steps += 1
        self._metrics["train"]["empo/step_skipped"].append(float(empty))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None is written: TRL's names GRPO as the method and, for a model made in memory, nothing as its base."""

    def _is_training(self) -> bool:
        return bool(self.model is not None and self.model.training)

    def _reward_function(self) -> Any:
        """What TRL calls: flat rows in, a reward a row out. Prompts may repeat; groups are found by position."""

        def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
            training = self._is_training()
            groups = group_by_position(
                [_completion_text(completion) for completion in completions],
                self._training_size if training else self._evaluation_size,
                questions=columns.get("question") or [_question_text(prompt) for prompt in prompts],
                golds=columns.get("gold"),
            )
            self._decision = self.provider.step(groups, training=training)
            for name, value in self._decision.metrics.items():
                columns["log_metric"](f"empo/{name}", value)
            # A nan reward (invalid="drop") is out of the loss already; for a None TRL warns in every step.
            return [0.0 if math.isnan(paid) else float(paid) for paid in self._decision.rewards]

        reward.__name__ = self.provider.reward  # TRL names its columns after it: rewards/empo/mean
        return reward


class _BeforeStep(TrainerCallback):
    """The trainer's own word before every optimizer step."""

    def __init__(self, trainer: EmpoGRPOTrainer) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.begin_optimizer_step()


def _completion_text(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def _question_text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    asked = [turn["content"] for turn in prompt if turn["role"] == "user"]
    return str(asked[-1] if asked else prompt[-1]["content"])


def _check_config(args: GRPOConfig, provider: EmpoProvider, *, evaluates: bool) -> None:
    if args.beta != 0.0:
        raise InputError(f"beta={args.beta}: EMPO has no KL term (the paper removes it). Set beta=0.0.")
    if args.scale_rewards != provider.scale:
        raise InputError(
            f"GRPOConfig.scale_rewards={args.scale_rewards!r} and EmpoProvider.scale={provider.scale!r} differ. "
            "Set both to the same; the provider's advantages are the ones that are used."
        )
    if provider.scale == "batch" and args.world_size > 1:
        raise InputError(
            f"scale='batch' over {args.world_size} processes: each would divide by its own standard deviation. "
            "Use scale='group' or 'none'."
        )
    check_whole_groups(args, evaluates=evaluates)
    provider.check(_generations(args))


def _generations(args: GRPOConfig) -> int:
    if args.num_generations is None:  # GRPOConfig's own type allows it
        raise InputError("num_generations is None: give the group size G.")
    return args.num_generations


def check_whole_groups(args: GRPOConfig, *, evaluates: bool = False) -> None:
    """Refuse groups that straddle ranks.

    TRL only checks that the GLOBAL batch divides by G: a group could then be split between two ranks, each of
    which would cluster a part of it.
    """
    steps = args.steps_per_generation or 1
    rows, size = args.per_device_train_batch_size * steps, _generations(args)
    if rows % size:
        raise InputError(
            f"groups straddle ranks: per_device_train_batch_size={args.per_device_train_batch_size} x "
            f"steps_per_generation={steps} = {rows} rows per rank is no multiple of num_generations={size}. "
            f"Set per_device_train_batch_size={size} or a multiple of it."
        )
    eval_size = args.num_generations_eval or size
    if evaluates and args.per_device_eval_batch_size % eval_size:
        raise InputError(
            f"groups straddle ranks in evaluation: per_device_eval_batch_size={args.per_device_eval_batch_size} "
            f"is no multiple of {eval_size} generations. Set it to {eval_size} or a multiple."
        )

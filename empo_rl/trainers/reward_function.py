"""The provider as a plain reward function for TRL's own GRPOTrainer and RLOOTrainer.

    args = GRPOConfig(num_generations=8, per_device_train_batch_size=8, beta=0.0, ...)
    reward = reward_function(EmpoProvider("math", extract="boxed"), args)
    GRPOTrainer(model, reward_funcs=reward, args=args, train_dataset=dataset).train()

A reward function has limits that `EmpoGRPOTrainer` does not have. A dropped group gets equal rewards, so its advantages
are 0, but its tokens stay in the denominator of the token-level losses. A step without a kept group still changes the
weights through momentum and weight decay. Groups that are cut between processes are refused. The function is given
nothing about the tokens, so signals and guards that need measures are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from empo_rl.core.groups import group_by_position
from empo_rl.core.provider import EmpoProvider
from empo_rl.trainers.trl.distributed import decide
from empo_rl.trainers.trl.rollouts import completions_per_process, group_size, trl_columns
from semantic_entropy import InputError


def reward_function(provider: EmpoProvider, args: Any) -> Callable[..., list[float | None]]:
    """A reward function for TRL.

    Args:
        provider: decides about the batches. The caller closes it.
        args: the GRPOConfig or RLOOConfig of the trainer: the group size and the rows of each process.

    Raises:
        InputError: groups would be cut between processes or have another size in evaluation (with the numbers to
            change); the trainer would compute other advantages than the provider; or the provider needs measures,
            which only `EmpoGRPOTrainer` gives.
    """
    size = group_size(args)
    check_whole_groups(args)
    _check_advantages(args, provider)
    provider.check(size)
    if provider.needs:
        raise InputError(
            f"reward={provider.reward!r} and the guards need {sorted(provider.needs)}, which a reward function is not "
            "given: use EmpoGRPOTrainer."
        )

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        decision, rows = decide(
            lambda: trl_columns(prompts, completions, columns),
            lambda batch: provider.step(group_by_position(num_generations=size, **batch)),
            globally=provider.decides_as_one,
        )
        for name, value in decision.metrics.items():
            columns.get("log_metric", _ignore_metric)(f"empo/{name}", value)
        return [
            _paid(value, in_loss)
            for value, in_loss in zip(decision.rewards[rows], decision.loss_mask[rows], strict=True)
        ]

    reward.__name__ = provider.reward
    return reward


def check_whole_groups(args: Any) -> None:
    """Refuse groups that are cut between processes or that have another size in evaluation.

    TRL only checks that the rows of all processes together are a multiple of G. A group could then be split between two
    processes, and each would cluster a part of it.
    """
    size, rows = group_size(args), completions_per_process(args)
    if rows % size:
        raise InputError(
            f"groups would be cut between processes: per_device_train_batch_size={args.per_device_train_batch_size} x "
            f"steps_per_generation={args.steps_per_generation or 1} = {rows} rows per process is not a multiple of "
            f"num_generations={size}. Set per_device_train_batch_size={size} or a multiple of it, or use "
            "EmpoGRPOTrainer, which gathers such groups."
        )
    evaluation_size = getattr(args, "num_generations_eval", None) or size
    if evaluation_size != size:
        raise InputError(
            f"num_generations_eval={evaluation_size} is not num_generations={size}: a reward function is not told "
            "whether it is called for training or evaluation. Set both to the same value, or use EmpoGRPOTrainer."
        )
    evaluation_rows = args.per_device_eval_batch_size
    if args.eval_strategy != "no" and evaluation_rows % size:
        raise InputError(
            f"groups would be cut between processes in evaluation: per_device_eval_batch_size={evaluation_rows} is not "
            f"a multiple of num_generations={size}. Set it to {size} or a multiple of it, or use EmpoGRPOTrainer."
        )


def _check_advantages(args: Any, provider: EmpoProvider) -> None:
    """Refuse settings that move rows with advantage 0, or that scale advantages in another way than the provider."""
    if args.beta != 0.0:
        raise InputError(
            f"beta={args.beta}: EMPO has no KL term, and RLOO would add it to all rewards, those of dropped groups "
            "too. Set beta=0.0."
        )
    scale = getattr(args, "scale_rewards", None)  # RLOOConfig has no such setting
    if scale == "batch" or provider.scale == "batch":
        raise InputError(
            "scale_rewards='batch': the trainer's standard deviation would count dropped groups as zeros. Use 'group' "
            "or 'none', or EmpoGRPOTrainer."
        )
    if scale is not None and scale != provider.scale:
        raise InputError(
            f"scale_rewards={scale!r} and EmpoProvider.scale={provider.scale!r} differ: set both to the same value."
        )


def _ignore_metric(name: str, value: float) -> None:
    """The log of a trainer that offers none."""


def _paid(reward: float, in_loss: bool) -> float | None:
    """None takes a row out of its group's mean. The rewards of a dropped group are equal, so its advantages are 0."""
    if math.isnan(reward):
        return None
    return float(reward) if in_loss else 0.0

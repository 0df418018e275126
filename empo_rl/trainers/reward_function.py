"""A reward function for TRL's own GRPOTrainer and RLOOTrainer that uses an `EmpoProvider`.

    args = GRPOConfig(num_generations=8, per_device_train_batch_size=8, beta=0.0, ...)
    reward = reward_function(EmpoProvider("math", extract="boxed"), args)
    GRPOTrainer(model, reward_funcs=reward, args=args, train_dataset=dataset).train()

A reward function has limits that `EmpoGRPOTrainer` does not have. A dropped group gets equal rewards, so its advantages
are 0, but its tokens stay in the denominator of the token-level losses. A step without a kept group still changes the
weights through momentum and weight decay. An evaluation changes the state of random signals and of guards with a
memory, because TRL does not tell a reward function that it evaluates. Groups that are split between processes are
refused. TRL passes no token distributions to a reward function, so signals and guards that need measures are refused.
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
    """Return a reward function for TRL.

    Args:
        provider: decides about the batches. The caller closes the provider.
        args: the GRPOConfig or RLOOConfig of the trainer, which sets the group size and the number of rows of each
            process.

    Raises:
        InputError: groups would be split between processes or have another size in evaluation (the message names the
            numbers to change); the trainer would compute other advantages than the provider; or the provider needs
            measures, which only `EmpoGRPOTrainer` computes.
    """
    size = group_size(args)
    check_whole_groups(args)
    _check_advantages(args, provider)
    provider.check(size)
    if provider.needs:
        raise InputError(
            f"reward={provider.reward!r} and the guards need the measures {sorted(provider.needs)}, but TRL passes no "
            "measures to a reward function: use EmpoGRPOTrainer."
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
    """Raise an error if a group is split between processes or if groups have another size in evaluation.

    TRL only checks that the number of rows of all processes is a multiple of G. A group can then be split between two
    processes, and each process would cluster only a part of the group.
    """
    size, rows = group_size(args), completions_per_process(args)
    if rows % size:
        raise InputError(
            f"groups would be cut between processes: per_device_train_batch_size={args.per_device_train_batch_size} x "
            f"steps_per_generation={args.steps_per_generation or 1} = {rows} rows per process is not a multiple of "
            f"num_generations={size}. Set per_device_train_batch_size={size} or a multiple of it, or use "
            "EmpoGRPOTrainer, which gathers split groups."
        )
    evaluation_size = getattr(args, "num_generations_eval", None) or size
    if evaluation_size != size:
        raise InputError(
            f"num_generations_eval={evaluation_size} is not num_generations={size}: a reward function cannot know "
            "whether TRL calls it for training or evaluation. Set both to the same value, or use EmpoGRPOTrainer."
        )
    evaluation_rows = args.per_device_eval_batch_size
    if args.eval_strategy != "no" and evaluation_rows % size:
        raise InputError(
            f"groups would be cut between processes in evaluation: per_device_eval_batch_size={evaluation_rows} is not "
            f"a multiple of num_generations={size}. Set per_device_eval_batch_size={size} or a multiple of it, or use "
            "EmpoGRPOTrainer."
        )


def _check_advantages(args: Any, provider: EmpoProvider) -> None:
    """Raise an error for settings that train on dropped groups, or that scale advantages unlike the provider."""
    if args.beta != 0.0:
        raise InputError(
            f"beta={args.beta}: EMPO has no KL term, and RLOO would add the KL term to all rewards, also to those of "
            "dropped groups. Set beta=0.0."
        )
    if provider.scale == "fixed":
        raise InputError(
            "EmpoProvider.scale='fixed': TRL's trainers subtract the mean reward of the group. Use EmpoGRPOTrainer."
        )
    scale = getattr(args, "scale_rewards", None)  # RLOOConfig has no such setting
    if scale == "batch" or provider.scale == "batch":
        raise InputError(
            "scale_rewards='batch': the standard deviation of TRL's trainer would count dropped groups as zeros. Set "
            "scale_rewards to 'group' or 'none', or use EmpoGRPOTrainer."
        )
    if getattr(args, "normalize_advantages", False):  # RLOOConfig
        raise InputError(
            "normalize_advantages=True: TRL's RLOOTrainer would normalise over the whole batch, with the advantages of "
            "dropped groups counted as zeros. Set normalize_advantages=False, or use EmpoGRPOTrainer with "
            "scale_rewards='batch'."
        )
    aggregation = getattr(args, "multi_objective_aggregation", "sum_then_normalize")
    if aggregation != "sum_then_normalize":
        raise InputError(
            f"multi_objective_aggregation={aggregation!r}: TRL's trainer would normalise over the whole batch, with "
            "dropped groups counted as zeros. Remove multi_objective_aggregation."
        )
    if scale is not None and scale != provider.scale:
        raise InputError(
            f"scale_rewards={scale!r} and EmpoProvider.scale={provider.scale!r} differ: set both to the same value."
        )


def _ignore_metric(name: str, value: float) -> None:
    """Does nothing: used if the trainer passes no function `log_metric`."""


def _paid(reward: float, in_loss: bool) -> float | None:
    """The reward of a row, for TRL.

    None takes the row out of the mean of its group. The rows of a dropped group all get 0, so their advantages are 0.
    """
    if math.isnan(reward):
        return None
    return float(reward) if in_loss else 0.0

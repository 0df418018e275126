"""The provider as a plain reward function, for TRL's own GRPOTrainer and RLOOTrainer.

    args = GRPOConfig(num_generations=8, per_device_train_batch_size=8, beta=0.0, ...)
    reward = reward_function(EmpoProvider("math", extract="boxed"), args)
    GRPOTrainer(model, reward_funcs=reward, args=args, train_dataset=dataset).train()

What such a function cannot do, and `EmpoGRPOTrainer` does: a dropped group gets equal rewards, so that its advantages
are 0, but its tokens stay in the denominator of the token-level losses; a step with no group kept still moves the
weights by momentum and decay; groups cut between processes are refused; and nothing is measured of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from empo_rl.core.provider import EmpoProvider
from empo_rl.trainers.trl.distributed import decide
from empo_rl.trainers.trl.rollouts import Rows
from semantic_entropy import InputError


def reward_function(provider: EmpoProvider, args: Any) -> Callable[..., list[float | None]]:
    """A reward function of TRL's kind.

    Args:
        provider: the decisions. The caller closes it.
        args: the GRPOConfig or RLOOConfig of the trainer it is for: the group size, and how rows are dealt out.

    Raises:
        InputError: groups would be cut between processes, or have another size in evaluation, with the numbers to
            change; the trainer would make other advantages of the rewards than the provider does; or the provider
            needs what only `EmpoGRPOTrainer` measures.
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
        share = decide(
            lambda: Rows.of_trl(prompts, completions, columns),
            lambda rows: provider.step(rows.groups(size)),
            as_one=provider.decides_as_one,
        )
        for name, value in share.metrics.items():
            columns.get("log_metric", _no_log)(f"empo/{name}", value)
        return [_paid(r, kept) for r, kept in zip(share.rewards, share.loss_mask, strict=True)]

    reward.__name__ = provider.reward
    return reward


def group_size(args: Any) -> int:
    """G."""
    if args.num_generations is None:  # TRL's own type allows it
        raise InputError("num_generations is None: give the group size G.")
    return int(args.num_generations)


def rows_per_process(args: Any) -> int:
    """How many completions a process generates at a time."""
    return int(args.per_device_train_batch_size * (args.steps_per_generation or 1))


def check_whole_groups(args: Any) -> None:
    """Refuse groups that are cut between processes, or that have another size in evaluation.

    TRL only checks that the GLOBAL batch divides by G: a group could then be split between two processes, each of
    which would cluster a part of it.
    """
    size, rows = group_size(args), rows_per_process(args)
    if rows % size:
        raise InputError(
            f"groups straddle processes: per_device_train_batch_size={args.per_device_train_batch_size} x "
            f"steps_per_generation={args.steps_per_generation or 1} = {rows} rows a process is no multiple of "
            f"num_generations={size}. Set per_device_train_batch_size={size} or a multiple of it, or use "
            "EmpoGRPOTrainer, which gathers them."
        )
    in_evaluation = getattr(args, "num_generations_eval", None) or size
    if in_evaluation != size:
        raise InputError(
            f"num_generations_eval={in_evaluation} is not num_generations={size}: a reward function is not told which "
            "of the two it is called for. Set both to the same, or use EmpoGRPOTrainer."
        )
    evaluated = args.per_device_eval_batch_size
    if args.eval_strategy != "no" and evaluated % size:
        raise InputError(
            f"groups straddle processes in evaluation: per_device_eval_batch_size={evaluated} is no multiple of "
            f"num_generations={size}. Set it to {size} or a multiple of it, or use EmpoGRPOTrainer."
        )


def _check_advantages(args: Any, provider: EmpoProvider) -> None:
    """Refuse what would move rows whose advantage is 0, or weigh them otherwise than the provider."""
    if args.beta != 0.0:
        raise InputError(
            f"beta={args.beta}: EMPO has no KL term, and RLOO adds it to the rewards, those of dropped groups too. Set "
            "beta=0.0."
        )
    scale = getattr(args, "scale_rewards", None)  # RLOO has none
    if scale == "batch" or provider.scale == "batch":
        raise InputError(
            "scale_rewards='batch': the trainer's deviation would count dropped groups as zeros. Use 'group' or "
            "'none', or EmpoGRPOTrainer."
        )
    if scale is not None and scale != provider.scale:
        raise InputError(
            f"scale_rewards={scale!r} and EmpoProvider.scale={provider.scale!r} differ: set both to the same."
        )


def _no_log(name: str, value: float) -> None:
    """For a trainer that offers none."""


def _paid(reward: float, kept: bool) -> float | None:
    """A row that is out takes no part in its group's mean; a group that is out has rewards without differences."""
    if math.isnan(reward):
        return None
    return float(reward) if kept else 0.0

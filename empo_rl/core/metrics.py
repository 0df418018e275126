"""The metrics of a batch for a log: means over all groups of the batch, before filtering.

A metric without a value is not in the log, so no metric is nan. This module has no alarms: `empo_rl.monitor` watches a
run over time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.filters import DROPPED_HIGH, DROPPED_LOW
from empo_rl.core.guards import answer_concentration
from empo_rl.core.rewards import ScoredGroup


def batch_metrics(
    scored: Sequence[ScoredGroup],
    rewards: NDArray[np.float64],
    reasons: Sequence[str | None],
    keep: NDArray[np.bool_],
    flags: Mapping[str, NDArray[np.bool_]],
    right: NDArray[np.float64] | None,
    seconds: float,
) -> dict[str, float]:
    """Return the metrics by name.

    Args:
        scored: (B,) the groups with their clusters.
        rewards: (B, G), nan for a completion that `invalid="drop"` or a guard takes out of the loss.
        reasons: (B,) the reason why the group is outside the bounds; None if the group is inside.
        keep: (B,) whether the group is in the loss.
        flags: (B, G) for each guard, by the name of the guard: whether the guard flags the completion.
        right: (B, G) 1 if the answer is right, 0 if not, nan without a gold answer; None if it was not measured.
        seconds: the duration of judging.
    """
    results = [item.result for item in scored]
    values = {
        "entropy": _mean([result.entropy for result in results]),
        "normalized_entropy": _mean([result.normalized for result in results]),
        "clusters": _mean([float(len(result.clusters)) for result in results]),
        "max_p": _mean([max(result.probabilities, default=math.nan) for result in results]),
        "reward": _mean(rewards),
        "reward_std": float(np.nanstd(rewards)) if not np.isnan(rewards).all() else math.nan,
        "keep_fraction": float(keep.mean()),
        "outside_fraction": sum(reason is not None for reason in reasons) / len(reasons),
        "dropped_low": float(sum(reason == DROPPED_LOW for reason in reasons)),
        "dropped_high": float(sum(reason == DROPPED_HIGH for reason in reasons)),
        "invalid_fraction": sum(result.invalid for result in results) / rewards.size,
        "answer_concentration": answer_concentration(scored),
        "labelled_fraction": _mean([float(item.group.gold is not None) for item in scored]),
        "undecided_pairs": float(sum(result.provenance.undecided for result in results)),
        "judging_seconds": seconds,
        **{f"guard_{name}": float(flagged.mean()) for name, flagged in flags.items()},
    }
    if right is not None:
        values |= {"accuracy": _mean(right), "golden_correlation": _correlation(rewards, right)}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    array = np.asarray(values, dtype=np.float64)
    valid = array[~np.isnan(array)]
    return float(valid.mean()) if valid.size else math.nan


def _correlation(rewards: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Pearson's r of `rewards` and `right` over the completions where neither is nan; nan if one does not vary."""
    both = ~np.isnan(rewards) & ~np.isnan(right)
    paid, correct = rewards[both], right[both]
    if paid.size < 2 or np.ptp(paid) == 0 or np.ptp(correct) == 0:
        return math.nan
    return float(np.corrcoef(paid, correct)[0, 1])

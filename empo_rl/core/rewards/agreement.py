"""Signals made of the group's own clusters: no labels.

`empo` maximises the expected collision probability sum p^2, a surrogate of -H. `log_share` has expectation -H in a
group and its exact policy gradient: of sum p ln p, the gradient is sum (ln p + 1) grad p, and sum grad p = 0
(docs/empo/errata.md). `majority` is the pseudo-label of test-time RL.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.rewards.base import PENALTY, RewardSignal, ScoredGroup, SignalContext, by_group
from semantic_entropy import InputError, Result

Ties = Literal["first", "random", "all", "none"]


class EmpoReward(RewardSignal):
    """p of the completion's own cluster; an invalid answer by the policy."""

    name = "empo"
    windowed = True

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, lambda item: _paid(item.result, lambda p: p, self._unreadable()))

    def _unreadable(self) -> float | None:
        return {"singleton_prob": None, "penalty": PENALTY}.get(self.context.invalid, 0.0)


class LogShareReward(RewardSignal):
    """ln p of the completion's own cluster, in nats, at most 0.

    An invalid answer is a cluster of its own and paid ln(1/G), the least there is: 0 would be the most. `penalty` adds
    -0.5 to that.
    """

    name = "log_share"
    windowed = True

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, self._group)

    def _group(self, item: ScoredGroup) -> Iterable[float]:
        least = math.log(1 / len(item.result.answers))
        return _paid(item.result, math.log, least + (PENALTY if self.context.invalid == "penalty" else 0.0))


class MajorityReward(RewardSignal):
    """1 in the largest cluster of valid answers, else 0; an invalid answer 0, or -0.5 under `penalty`.

    Args:
        ties: of several largest clusters, the `first` to appear wins; or one drawn at `random`; or `all` of them are
            paid; or `none` is, and the group teaches nothing.
    """

    name = "majority"

    def __init__(self, ties: Ties = "first") -> None:
        if ties not in get_args(Ties):
            raise InputError(f"majority: ties={ties!r} does not exist. Choose one of: {', '.join(get_args(Ties))}.")
        self.ties = ties
        self.stateful = ties == "random"

    def bind(self, context: SignalContext) -> None:
        super().bind(context)
        self._dice = np.random.default_rng(context.seed)

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, self._group)

    def _group(self, item: ScoredGroup) -> list[float]:
        result = item.result
        valid = [label for label, answer in zip(result.labels, result.answers, strict=True) if answer is not None]
        winners = self._winners(valid)
        unreadable = PENALTY if self.context.invalid == "penalty" else 0.0
        return [
            unreadable if answer is None else float(label in winners)
            for label, answer in zip(result.labels, result.answers, strict=True)
        ]

    def _winners(self, valid: Sequence[int]) -> set[int]:
        sizes = {label: valid.count(label) for label in valid}  # in order of appearance
        largest = [label for label, size in sizes.items() if size == max(sizes.values())]
        if len(largest) < 2 or self.ties == "all":
            return set(largest)
        if self.ties == "random":
            return {largest[int(self._dice.integers(len(largest)))]}
        return {largest[0]} if self.ties == "first" else set()

    def state_dict(self) -> dict[str, Any]:
        return {"dice": self._dice.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._dice.bit_generator.state = state["dice"]


def _paid(result: Result, value: Any, unreadable: float | None) -> Iterable[float]:
    """`value(p)` for each answer; `unreadable` for those that are none, or as the others where that is None."""
    for label, answer in zip(result.labels, result.answers, strict=True):
        if label < 0:  # left out by invalid="drop"
            yield math.nan
        elif answer is None and unreadable is not None:
            yield unreadable
        else:
            yield value(result.probabilities[label])

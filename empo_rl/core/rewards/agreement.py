"""Signals that are computed from the clusters of a group, without labels.

p is the share of a cluster in its group. `empo` maximises the expected collision probability sum p^2, a surrogate of
-H. The mean of `log_share` over a group is -H, and its policy gradient is exactly the gradient of -H: the gradient of
sum p ln p is sum (ln p + 1) grad p, and sum grad p = 0 (docs/empo/errata.md). `majority` uses the majority answer of
the group as a pseudo-label (test-time RL).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.rewards.base import PENALTY, RewardSignal, ScoredGroup, SignalContext, by_group
from semantic_entropy import InputError, Result

Ties = Literal["first", "random", "all", "none"]


class EmpoReward(RewardSignal):
    """Pays p, the share of the completion's cluster in the group. The policy `invalid` sets the payment of an invalid
    answer.
    """

    name = "empo"
    windowed = True

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, lambda item: _cluster_rewards(item.result, lambda p: p, self._invalid_reward()))

    def _invalid_reward(self) -> float | None:
        return {"singleton_prob": None, "penalty": PENALTY}.get(self.context.invalid, 0.0)


class LogShareReward(RewardSignal):
    """Pays ln p, in nats, where p is the share of the completion's cluster. The reward is at most 0.

    An invalid answer is its own cluster and is paid ln(1/G), the lowest reward of a valid answer. A payment of 0 would
    be the highest reward. The policy `invalid="penalty"` adds -0.5.
    """

    name = "log_share"
    windowed = True

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, self._group)

    def _group(self, item: ScoredGroup) -> Iterable[float]:
        lowest = math.log(1 / len(item.result.answers))
        penalty = PENALTY if self.context.invalid == "penalty" else 0.0
        return _cluster_rewards(item.result, math.log, lowest + penalty)


class MajorityReward(RewardSignal):
    """Pays 1 in the largest cluster of valid answers, otherwise `others`.

    An invalid answer is paid `others`, or -0.5 with `invalid="penalty"`.

    Args:
        ties: the paid cluster if several clusters are the largest: `first` pays the cluster that appears first,
            `random` pays a random one of these clusters, `all` pays all of these clusters, `none` pays no cluster, so
            the group trains nothing.
        others: the reward of all other answers. -1 with `scale="fixed"` gives the fixed advantages of DDRL.
    """

    name = "majority"

    def __init__(self, ties: Ties = "first", others: float = 0.0) -> None:
        if ties not in get_args(Ties):
            raise InputError(f"majority: ties={ties!r} does not exist. Choose one of: {', '.join(get_args(Ties))}.")
        if not (math.isfinite(others) and others < 1):
            raise InputError(f"majority: others={others!r} must be a number below 1, the reward of the majority.")
        self.ties, self.others = ties, others
        self.stateful = ties == "random"

    def bind(self, context: SignalContext) -> None:
        super().bind(context)
        self._random = np.random.default_rng(context.seed)

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, self._group)

    def _group(self, item: ScoredGroup) -> list[float]:
        result = item.result
        winners = self._winners(count_votes(result))
        invalid_reward = PENALTY if self.context.invalid == "penalty" else self.others
        return [
            invalid_reward if answer is None else 1.0 if label in winners else self.others
            for label, answer in zip(result.labels, result.answers, strict=True)
        ]

    def _winners(self, sizes: Mapping[int, int]) -> set[int]:
        largest = [label for label, size in sizes.items() if size == max(sizes.values())]
        if len(largest) < 2 or self.ties == "all":
            return set(largest)
        if self.ties == "random":
            return {largest[int(self._random.integers(len(largest)))]}
        return {largest[0]} if self.ties == "first" else set()

    def state_dict(self) -> dict[str, Any]:
        return {"dice": self._random.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._random.bit_generator.state = state["dice"]


def count_votes(result: Result) -> Counter[int]:
    """The number of valid answers in each cluster, by label, in order of appearance. An invalid answer is no vote."""
    return Counter(label for label, answer in zip(result.labels, result.answers, strict=True) if answer is not None)


def _cluster_rewards(result: Result, reward: Callable[[float], float], invalid_reward: float | None) -> Iterator[float]:
    """`reward(p)` for each answer, where p is the share of its cluster.

    An invalid answer is paid `invalid_reward`, or like a valid answer if `invalid_reward` is None.
    """
    for label, answer in zip(result.labels, result.answers, strict=True):
        if label < 0:  # an invalid answer under invalid="drop" has no cluster
            yield math.nan
        elif answer is None and invalid_reward is not None:
            yield invalid_reward
        else:
            yield reward(result.probabilities[label])

"""Reward signals: what each completion of a scored batch is paid.

    empo    r_i = p(c(o_i)) = |c|/G, the probability of its own meaning cluster (the paper, section 3.2)
    golden  r_i = 1 if its answer means the same as the gold answer, else 0: GRPO with labels, for comparison
    random  r_i = 0 or 1 by a fair coin: the control that must not learn

Rewarding p(c) maximises the expected collision probability sum p^2, a surrogate of -H (docs/empo/errata.md).
A new signal is a class with a name in `SIGNALS`; the provider does not change. Leaves out mixtures of signals
and guards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from empo_rl.groups import RolloutGroup
from semantic_entropy import InputError, Result

InvalidPolicy = Literal["singleton_zero", "singleton_prob", "drop", "penalty"]
PENALTY = -0.5  # what the official natural-reasoning code pays for an empty answer
Matcher = Callable[[Sequence[tuple[str, str]]], Sequence[bool]]
"""Pairs (answer, gold) to verdicts, through the provider's equivalence."""


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group and the evidence about it."""

    group: RolloutGroup
    result: Result


@dataclass(frozen=True, slots=True)
class SignalContext:
    """What a signal may need beside the scored groups."""

    invalid: InvalidPolicy
    seed: int
    match: Matcher


class RewardSignal(ABC):
    """One way to pay completions.

    `windowed`: whether the entropy window decides which groups enter the loss. True for signals made of the
    entropy's own clusters. A signal of another source keeps all groups: one that carries no signal has
    advantage 0 by itself.
    """

    name: ClassVar[str]
    windowed: ClassVar[bool] = False

    def __init__(self, context: SignalContext) -> None:
        self.context = context

    @abstractmethod
    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        """(B, G). nan takes a row out of the group's mean and std, and out of the loss."""


class EmpoReward(RewardSignal):
    """p of the completion's own cluster; an invalid answer by the policy."""

    name = "empo"
    windowed = True

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return np.array([self._group(item.result) for item in scored], dtype=np.float64)

    def _group(self, result: Result) -> list[float]:
        return [
            self._invalid(result, label) if answer is None else result.probabilities[label]
            for label, answer in zip(result.labels, result.answers, strict=True)
        ]

    def _invalid(self, result: Result, label: int) -> float:
        if self.context.invalid == "singleton_prob":
            return result.probabilities[label]
        return PENALTY if self.context.invalid == "penalty" else 0.0


class GoldenReward(RewardSignal):
    """1 where the answer means the same as the gold answer."""

    name = "golden"

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        pairs = {(answer, gold) for answer, gold in self._pairs(scored) if answer is not None}
        ordered = sorted(pairs)
        correct = {pair for pair, same in zip(ordered, self.context.match(ordered), strict=True) if same}
        flat = [float(pair in correct) for pair in self._pairs(scored)]
        return np.array(flat, dtype=np.float64).reshape(len(scored), -1)

    @staticmethod
    def _pairs(scored: Sequence[ScoredGroup]) -> list[tuple[str | None, str]]:
        pairs: list[tuple[str | None, str]] = []
        for index, item in enumerate(scored):
            gold = item.group.gold
            if gold is None:
                raise InputError(
                    f"reward='golden' needs a gold answer and group {index} has none (question: "
                    f"{item.group.question!r}). Give RolloutGroup(gold=...), or use reward='empo', "
                    "which needs no labels."
                )
            pairs += [(answer, gold) for answer in item.result.answers]
        return pairs


class RandomReward(RewardSignal):
    """A fair coin per completion, from the provider's seed."""

    name = "random"

    def __init__(self, context: SignalContext) -> None:
        super().__init__(context)
        self._coin = np.random.default_rng(context.seed)

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        shape = (len(scored), len(scored[0].group.completions))
        return self._coin.integers(0, 2, size=shape).astype(np.float64)


SIGNALS: Mapping[str, type[RewardSignal]] = {signal.name: signal for signal in (EmpoReward, GoldenReward, RandomReward)}


def make_signal(reward: str | type[RewardSignal], context: SignalContext) -> RewardSignal:
    """The signal of that name, or of that class."""
    if isinstance(reward, str):
        if reward not in SIGNALS:
            raise InputError(f"reward={reward!r} does not exist. Choose one of: {', '.join(sorted(SIGNALS))}.")
        reward = SIGNALS[reward]
    return reward(context)


def check_invalid(invalid: str) -> InvalidPolicy:
    """The policy, or an error that lists those that exist."""
    if invalid not in get_args(InvalidPolicy):
        raise InputError(f"invalid={invalid!r} does not exist. Choose one of: {', '.join(get_args(InvalidPolicy))}.")
    return invalid  # type: ignore[return-value]  # narrowed by the check above

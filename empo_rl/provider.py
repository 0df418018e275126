"""EmpoProvider: groups of completions in, rewards, keep mask and advantages out (the paper, Eq. 1-3).

    groups -> answers, clusters, H (semantic_entropy)
           -> rewards (B*G,) -> keep: delta_low < H < delta_high -> advantages

Knows no trainer and imports no torch: TRL's adapter, or any loop of one's own, consumes the `BatchDecision`.
Advantages are normalised among the kept rows alone, so a dropped group influences nothing. Leaves out the
policy loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from empo_rl.advantages import check_scale, group_advantages
from empo_rl.decision import BatchDecision
from empo_rl.filters import DROPPED_HIGH, DROPPED_LOW, EntropyWindow
from empo_rl.groups import RolloutGroup, check_equal_sizes
from empo_rl.rewards import RewardSignal, ScoredGroup, SignalContext, check_invalid, make_signal
from semantic_entropy import BatchResult, InputError, Scorer


class EmpoProvider:
    """The choices of an EMPO run, made once.

    Args:
        equivalence: when two answers mean the same: a name, an instance, or a function of two strings. `golden`
            compares by it, whatever `scorer` does.
        extract: how an answer is found in a completion; None is the equivalence's own way.
        reward: `empo`, `golden` (needs gold answers), `random` (control), or a `RewardSignal` class.
        delta_low: the entropy, in nats, that a group must exceed; applies to signals that are `windowed` (empo).
        delta_high: the entropy, in nats, that it must stay under; likewise.
        invalid: what an answer that cannot be extracted is worth: `singleton_zero`, `singleton_prob`, `drop`,
            `penalty`.
        scale: what centred rewards are divided by: `group`, `batch`, `none`.
        scorer: a `semantic_entropy.Scorer` to use instead of one built from `equivalence` and `extract`; the caller
            closes it.
        seed: of the `random` reward.
    """

    def __init__(
        self,
        equivalence: Any = "math",
        *,
        extract: str | Callable[[str], str | None] | None = None,
        reward: str | type[RewardSignal] = "empo",
        delta_low: float = 0.0,
        delta_high: float = math.inf,
        invalid: str = "singleton_zero",
        scale: str = "group",
        scorer: Scorer | None = None,
        seed: int = 0,
    ) -> None:
        self.invalid = check_invalid(invalid)
        self.scale = check_scale(scale)
        self.window = EntropyWindow(delta_low, delta_high)
        self._equivalence = equivalence
        self._signal = make_signal(reward, SignalContext(self.invalid, seed, self._match))
        self._scorer_is_ours = scorer is None
        self._scorer = scorer or Scorer(equivalence=equivalence, extract=extract, invalid=_scorer_policy(self.invalid))
        self._gold_scorer: Scorer | None = None
        if self._scorer.invalid != _scorer_policy(self.invalid):
            raise InputError(
                f"the scorer has invalid={self._scorer.invalid!r}, and invalid={self.invalid!r} needs a Scorer with "
                f"invalid={_scorer_policy(self.invalid)!r}."
            )

    @property
    def reward(self) -> str:
        """The name of the reward signal."""
        return self._signal.name

    def check(self, size: int) -> None:
        """Raise InputError where groups of G=size could train nothing: a group of one, or a window that keeps none."""
        if size < 2:
            raise InputError(
                f"G={size}: a completion alone agrees with nobody, and its advantage is 0. Sample 2 or more a prompt."
            )
        if self._signal.windowed:
            self.window.check(size)

    def step(self, groups: Sequence[RolloutGroup | Sequence[str]], *, training: bool = True) -> BatchDecision:
        """Decide about one batch. All groups have the same size G.

        Raises:
            InputError: groups of different sizes; and, unless `training=False` (for evaluation, where a group may hold
                one completion), a G at which nothing can be learned.
        """
        rollouts = [_as_group(index, group) for index, group in enumerate(groups)]
        size = check_equal_sizes(rollouts)
        if training:
            self.check(size)
        started = time.perf_counter()
        results = self._score(rollouts)
        scored = [ScoredGroup(group, result) for group, result in zip(rollouts, results, strict=True)]
        rewards = self._rewards(scored, size)
        seconds = time.perf_counter() - started
        reasons = self._drop_reasons(results)
        keep = np.array([reason is None for reason in reasons], dtype=np.bool_)
        in_loss = keep[:, None] & ~np.isnan(rewards)
        advantages = group_advantages(np.where(in_loss, rewards, np.nan), self.scale)
        return BatchDecision(
            rewards=rewards.ravel(),
            keep=keep,
            advantages=advantages.ravel(),
            loss_mask=in_loss.ravel(),
            entropies=np.array([result.entropy for result in results], dtype=np.float64),
            drop_reasons=reasons,
            metrics=_metrics(results, rewards, reasons, seconds),
            results=results,
        )

    def close(self) -> None:
        """End the worker processes of the scorers this provider made; one that was passed in stays open."""
        if self._scorer_is_ours:
            self._scorer.close()
        if self._gold_scorer is not None:
            self._gold_scorer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _score(self, groups: Sequence[RolloutGroup]) -> BatchResult:
        questions = [group.question for group in groups]
        asked = questions if any(question is not None for question in questions) else None
        return self._scorer.estimate([list(group.completions) for group in groups], question=asked)

    def _rewards(self, scored: Sequence[ScoredGroup], size: int) -> NDArray[np.float64]:
        rewards = self._signal.rewards(scored)
        if rewards.shape != (len(scored), size):
            raise InputError(
                f"reward {self.reward!r} returned shape {rewards.shape} for {len(scored)} groups of {size}: "
                f"expected ({len(scored)}, {size})."
            )
        if self.invalid == "drop":
            invalid = np.array([[answer is None for answer in item.result.answers] for item in scored])
            rewards = np.where(invalid, np.nan, rewards)
        return rewards

    def _drop_reasons(self, results: BatchResult) -> tuple[str | None, ...]:
        if not self._signal.windowed:
            return (None,) * len(results)
        return tuple(self.window.drop_reason(result.entropy) for result in results)

    def _match(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """Whether answer and gold mean the same, by the equivalence that clusters the answers."""
        if not pairs:
            return []
        if self._gold_scorer is None:  # both sides are answers already: nothing is left to extract
            self._gold_scorer = Scorer(equivalence=self._equivalence, extract="whole", invalid="separate")
        results = self._gold_scorer.estimate([list(pair) for pair in pairs])
        return [result.labels[0] == result.labels[1] and None not in result.answers for result in results]


def _scorer_policy(invalid: str) -> Literal["drop", "separate"]:
    return "drop" if invalid == "drop" else "separate"


def _as_group(index: int, group: RolloutGroup | Sequence[str]) -> RolloutGroup:
    if isinstance(group, RolloutGroup):
        return group
    if isinstance(group, str) or not all(isinstance(completion, str) for completion in group):
        raise InputError(
            f"group {index} is {type(group).__name__} {str(group)[:60]!r}: give a RolloutGroup or a list of strings."
        )
    return RolloutGroup(tuple(group))


def _metrics(
    results: BatchResult, rewards: NDArray[np.float64], reasons: Sequence[str | None], seconds: float
) -> dict[str, float]:
    """Means over the batch, before filtering. Never nan: a mean of nothing is left out."""
    entropies = np.array([result.entropy for result in results])
    completions = rewards.size
    values = {
        "entropy": _mean(entropies),
        "normalized_entropy": _mean(np.array([result.normalized for result in results])),
        "clusters": _mean(np.array([float(len(result.clusters)) for result in results])),
        "reward": _mean(rewards),
        "reward_std": float(np.nanstd(rewards)) if not np.isnan(rewards).all() else math.nan,
        "keep_fraction": sum(reason is None for reason in reasons) / len(reasons),
        "dropped_low": float(sum(reason == DROPPED_LOW for reason in reasons)),
        "dropped_high": float(sum(reason == DROPPED_HIGH for reason in reasons)),
        "invalid_fraction": sum(result.invalid for result in results) / completions,
        "undecided_pairs": float(sum(result.provenance.undecided for result in results)),
        "judging_seconds": seconds,
    }
    return {name: value for name, value in values.items() if not math.isnan(value)}


def _mean(values: NDArray[np.float64]) -> float:
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if valid.size else math.nan

"""The metrics of a batch for a log: means and shares over all groups of the batch, before filtering.

    BatchNumbers.of(...)     the numbers of B groups: (B,) or (B, G) arrays
    BatchNumbers.join(...)   the numbers of all processes, in the order of the global batch
    BatchNumbers.metrics()   the metrics by name

Several processes join their numbers before they compute the metrics. So the metrics do not depend on the number of
processes: a mean over the processes would be wrong for counts, for standard deviations, for correlations and for the
share of the most frequent answer. A metric without a value is not in the log, so no metric is nan. This module has no
alarms: `empo_rl.monitor` watches a run over time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.filters import DROPPED_HIGH, DROPPED_LOW
from empo_rl.core.guards import main_answer, share_of_commonest
from empo_rl.core.rewards import ScoredGroup


@dataclass(frozen=True, slots=True, eq=False)
class BatchNumbers:
    """The numbers of B groups of G completions. They are small, so processes can exchange them.

    Attributes:
        entropies: (B,) the semantic entropy of each group, in nats; nan without a valid answer, or if the groups were
            not clustered.
        normalized: (B,) the entropy as a share of the largest possible entropy; nan as in `entropies`.
        clusters: (B,) the number of clusters; nan if the groups were not clustered.
        largest: (B,) the share of the largest cluster; nan as in `entropies`.
        sizes: (B,) the number of completions of each group; G is the largest.
        rewards: (B, G), nan for a completion that `invalid="drop"`, a guard or the signal takes out of the loss, and
            after the end of a smaller group.
        reasons: (B,) the reason why the group is not in the loss or has zero rewards; None if it is inside the bounds.
        keep: (B,) whether the group is in the loss.
        invalid: (B,) the number of completions without an extractable answer.
        main_answers: (B,) the most frequent answer of each group, shortened; None without a valid answer.
        labelled: (B,) whether the group has a gold answer.
        pairs: (B,) the number of compared pairs of answers.
        undecided: (B,) the number of compared pairs that the judge could not decide.
        flags: (B, G) for each guard, by the name of the guard: whether the guard flags the completion.
        filtered: (B,) for each filter in `filters`, by the name of the filter: whether the filter drops the group.
        right: (B, G) 1 if the answer is right, 0 if not, nan without a gold answer; None if it was not measured.
        seconds: the duration of judging; of several processes, the longest.
    """

    entropies: NDArray[np.float64]
    normalized: NDArray[np.float64]
    clusters: NDArray[np.float64]
    largest: NDArray[np.float64]
    sizes: NDArray[np.intp]
    rewards: NDArray[np.float64]
    reasons: tuple[str | None, ...]
    keep: NDArray[np.bool_]
    invalid: NDArray[np.intp]
    main_answers: tuple[str | None, ...]
    labelled: NDArray[np.bool_]
    pairs: NDArray[np.intp]
    undecided: NDArray[np.intp]
    flags: Mapping[str, NDArray[np.bool_]]
    filtered: Mapping[str, NDArray[np.bool_]]
    right: NDArray[np.float64] | None
    seconds: float

    @classmethod
    def of(
        cls,
        scored: Sequence[ScoredGroup],
        rewards: NDArray[np.float64],
        reasons: Sequence[str | None],
        keep: NDArray[np.bool_],
        flags: Mapping[str, NDArray[np.bool_]],
        filtered: Mapping[str, NDArray[np.bool_]],
        right: NDArray[np.float64] | None,
        *,
        clustered: bool,
        seconds: float,
    ) -> Self:
        """Make the numbers of a batch. See the attributes; `clustered` is whether a judge clustered the groups."""
        results = [item.result for item in scored]
        unknown = np.full(len(results), math.nan)
        return cls(
            entropies=_array(result.entropy for result in results),
            normalized=_array(result.normalized for result in results),
            clusters=_array(float(len(result.clusters)) for result in results) if clustered else unknown,
            largest=_array(max(result.probabilities, default=math.nan) for result in results) if clustered else unknown,
            sizes=np.array([len(item.group.completions) for item in scored]),
            rewards=rewards,
            reasons=tuple(reasons),
            keep=keep,
            invalid=np.array([result.invalid for result in results]),
            main_answers=tuple(main_answer(result) for result in results),
            labelled=np.array([item.group.gold is not None for item in scored], dtype=np.bool_),
            pairs=np.array([result.provenance.asked + result.provenance.cached for result in results]),
            undecided=np.array([result.provenance.undecided for result in results]),
            flags=flags,
            filtered=filtered,
            right=right,
            seconds=seconds,
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Join the numbers of all processes. `parts` are in the order of the global batch."""
        first = parts[0]
        right = [part.right for part in parts if part.right is not None]
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS},
            reasons=tuple(reason for part in parts for reason in part.reasons),
            main_answers=tuple(answer for part in parts for answer in part.main_answers),
            flags={name: np.concatenate([part.flags[name] for part in parts]) for name in first.flags},
            filtered={name: np.concatenate([part.filtered[name] for part in parts]) for name in first.filtered},
            right=np.concatenate(right) if right else None,
            seconds=max(part.seconds for part in parts),
        )

    def select(self, chosen: NDArray[np.bool_]) -> Self:
        """Return the numbers of the groups where `chosen`, (B,), is True. `seconds` stays: the groups were judged."""
        where = np.flatnonzero(chosen)
        return replace(
            self,
            **{name: getattr(self, name)[where] for name in _ARRAYS},
            reasons=tuple(self.reasons[at] for at in where),
            main_answers=tuple(self.main_answers[at] for at in where),
            flags={name: values[where] for name, values in self.flags.items()},
            filtered={name: values[where] for name, values in self.filtered.items()},
            right=None if self.right is None else self.right[where],
        )

    def metrics(self) -> dict[str, float]:
        """Return the metrics by name."""
        groups, rewards, completions = len(self.keep), self.rewards, int(self.sizes.sum())
        pairs = int(self.pairs.sum())
        values = {
            "entropy": _mean(self.entropies),
            "normalized_entropy": _mean(self.normalized),
            "clusters": _mean(self.clusters),
            "max_p": _mean(self.largest),
            "reward": _mean(rewards),
            "reward_std": float(np.nanstd(rewards)) if not np.isnan(rewards).all() else math.nan,
            "keep_fraction": float(self.keep.mean()),
            "outside_fraction": sum(reason is not None for reason in self.reasons) / groups,
            "dropped_low_fraction": self.reasons.count(DROPPED_LOW) / groups,
            "dropped_high_fraction": self.reasons.count(DROPPED_HIGH) / groups,
            "invalid_fraction": int(self.invalid.sum()) / completions,
            "answer_concentration": share_of_commonest(self.main_answers),
            "labelled_fraction": float(self.labelled.mean()),
            "undecided_fraction": int(self.undecided.sum()) / pairs if pairs else math.nan,
            "judging_seconds": self.seconds,
            **{f"guard_{name}": float(flagged.sum() / completions) for name, flagged in self.flags.items()},
            **{f"filter_{name}": float(dropped.mean()) for name, dropped in self.filtered.items()},
        }
        if self.right is not None:
            values |= {"accuracy": _mean(self.right), "golden_correlation": _correlation(rewards, self.right)}
        return {name: value for name, value in values.items() if not math.isnan(value)}


_ARRAYS = (
    *("entropies", "normalized", "clusters", "largest", "sizes", "rewards", "keep", "labelled"),
    *("invalid", "pairs", "undecided"),
)


def _array(values: Iterable[float]) -> NDArray[np.float64]:
    return np.array(list(values), dtype=np.float64)


def _mean(array: NDArray[np.float64]) -> float:
    valid = array[~np.isnan(array)]
    return float(valid.mean()) if valid.size else math.nan


def _correlation(rewards: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Pearson's r of `rewards` and `right` over the completions where neither is nan; nan if one does not vary."""
    both = ~np.isnan(rewards) & ~np.isnan(right)
    paid, correct = rewards[both], right[both]
    if paid.size < 2 or np.ptp(paid) == 0 or np.ptp(correct) == 0:
        return math.nan
    return float(np.corrcoef(paid, correct)[0, 1])


def question_numbers(scored: Sequence[ScoredGroup], right: NDArray[np.float64]) -> list[dict[str, float]]:
    """Return the numbers of an evaluation for each group.

    The numbers are: `accuracy`, the share of right answers; `majority`, 1 if the answer of the largest cluster is
    right, otherwise 0 (both nan without a gold answer); `semantic_entropy` in nats (nan without a valid answer);
    `invalid_fraction`.

    Args:
        scored: (B,) the groups with their clusters.
        right: (B, G) 1 if the answer is right, 0 if not, nan without a gold answer.
    """
    return [
        {
            "accuracy": float(grades.mean()),
            "majority": _grade_of_majority(item, grades),
            "semantic_entropy": float(item.result.entropy),
            "invalid_fraction": item.result.invalid / len(item.result.answers),
        }
        for item, grades in zip(scored, right, strict=True)
    ]


def _grade_of_majority(item: ScoredGroup, grades: NDArray[np.float64]) -> float:
    """The grade of the answer of the largest cluster with valid answers; 0 if no answer is valid."""
    if item.group.gold is None:
        return math.nan
    answer = item.result.answer
    return 0.0 if answer is None else float(grades[item.result.answers.index(answer)])

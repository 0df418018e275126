"""Which score separates "the same" from "different" best, on pairs whose truth is known. Pure: numbers in, numbers out.

    same(pair) = score >= threshold

Between two neighbouring scores every threshold decides alike, so there is one candidate a gap, one below all scores and
one above. What is returned is the middle of its gap, rounded to as few digits as keep it within the middle half; of
several gaps that are equally good it is the widest. A threshold flatters itself on the pairs it was picked on:
`cross_validated` says what to expect of it on others.

Left out: costs other than these metrics', calibration of the scores.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from semantic_entropy.errors import InputError

METRICS = ("accuracy", "f1", "precision@P")


@dataclass(frozen=True, slots=True)
class Quality:
    """How verdicts compare with the truth: counts of pairs by verdict (positive: the same) and by whether it is right.

    A ratio of nothing is nan: precision where nothing was called the same, recall where nothing is.
    """

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def pairs(self) -> int:
        """How many."""
        return self.true_positives + self.false_positives + self.true_negatives + self.false_negatives

    @property
    def accuracy(self) -> float:
        """Share of verdicts that are right."""
        return _ratio(self.true_positives + self.true_negatives, self.pairs)

    @property
    def precision(self) -> float:
        """Of those called the same, the share that are."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Of those that are the same, the share called so."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        right = 2 * self.true_positives
        return _ratio(right, right + self.false_positives + self.false_negatives)


class HeldOut(NamedTuple):
    """What thresholds made of pairs they were not picked on: all folds together, and each fold's threshold."""

    quality: Quality
    thresholds: tuple[float, ...]


def quality(verdicts: Sequence[bool], truth: Sequence[bool]) -> Quality:
    """Count verdicts (n,) against the truth (n,).

    Raises:
        InputError: they are not as many.
    """
    if len(verdicts) != len(truth):
        raise InputError(f"{len(verdicts)} verdicts for {len(truth)} pairs: give one for each")
    counts = {(said, is_so): 0 for said in (True, False) for is_so in (True, False)}
    for said, is_so in zip(verdicts, truth, strict=True):
        counts[bool(said), bool(is_so)] += 1
    return Quality(counts[True, True], counts[True, False], counts[False, False], counts[False, True])


def pick(scores: Sequence[float], truth: Sequence[bool], metric: str = "accuracy") -> float:
    """The threshold in [0, 1] that is best for the metric on these pairs.

    Args:
        scores: (n,) in [0, 1]; what reaches the threshold is called the same.
        truth: (n,) whether each pair is the same.
        metric: "accuracy"; "f1"; or "precision@P", such as "precision@0.95": as much recall as there is where at least
            that share of what is called the same is.

    Raises:
        InputError: no pairs, pairs of one kind alone, a score outside [0, 1], an unknown metric, or a precision that no
            threshold reaches.
    """
    worth = _worth(metric)
    _check(scores, truth)
    best: tuple[float, float] | None = None
    chosen = math.nan
    for low, high, counts in _gaps(scores, truth):
        value = worth(counts)
        if not math.isnan(value) and (best is None or (value, high - low) > best):
            best, chosen = (value, high - low), _between(low, high)
    if best is None:
        highest = max((c.precision for _, _, c in _gaps(scores, truth) if c.precision == c.precision), default=0.0)
        raise InputError(f"no threshold reaches {metric}: the highest precision here is {highest:.3f}")
    return chosen


def cross_validated(
    scores: Sequence[float],
    truth: Sequence[bool],
    metric: str = "accuracy",
    *,
    groups: Sequence[Hashable] | None = None,
    folds: int = 5,
) -> HeldOut:
    """Verdicts on each fold by the threshold that is best on the others.

    Args:
        scores: as `pick` takes them.
        truth: as `pick` takes it.
        metric: as `pick` takes it.
        groups: (n,) what stays in one fold together, such as the question; None: every pair by itself.
        folds: how many, drawn in the same way every time; fewer where there are fewer groups.

    Raises:
        InputError: as `pick`, on the pairs of some folds; or there are not two groups.
    """
    _check(scores, truth)
    of = list(range(len(scores))) if groups is None else list(groups)
    distinct = list(dict.fromkeys(of))
    if len(distinct) < 2:
        raise InputError("all pairs are of one group (question): two are needed to hold one out")
    random.Random(0).shuffle(distinct)
    fold = {group: number % min(folds, len(distinct)) for number, group in enumerate(distinct)}
    verdicts, thresholds = [False] * len(scores), []
    for held_out in sorted(set(fold.values())):
        inside = [i for i, group in enumerate(of) if fold[group] != held_out]
        thresholds.append(pick([scores[i] for i in inside], [truth[i] for i in inside], metric))
        for i, group in enumerate(of):
            if fold[group] == held_out:
                verdicts[i] = scores[i] >= thresholds[-1]
    return HeldOut(quality(verdicts, truth), tuple(thresholds))


def _worth(metric: str) -> Callable[[Quality], float]:
    """What of a threshold's quality is to be highest; nan: out of the question."""
    if metric == "accuracy":
        return lambda found: found.accuracy
    if metric == "f1":
        return lambda found: found.f1
    name, _, least = metric.partition("@")
    try:
        wanted = float(least)
    except ValueError:
        wanted = math.nan
    if name != "precision" or not 0 < wanted <= 1:
        raise InputError(f"metric={metric!r} is unknown: use accuracy, f1, or precision@P with P in (0, 1]")
    return lambda found: found.recall if found.precision >= wanted else math.nan


def _check(scores: Sequence[float], truth: Sequence[bool]) -> None:
    if len(scores) != len(truth):
        raise InputError(f"{len(scores)} scores for {len(truth)} pairs: give one for each")
    if wrong := [score for score in scores if not 0 <= score <= 1]:
        raise InputError(f"the score {wrong[0]!r} is not in [0, 1]")
    kinds = set(map(bool, truth))
    if len(kinds) < 2:
        only = "no pairs" if not kinds else f"all {len(scores)} are {'the same' if kinds == {True} else 'different'}"
        raise InputError(f"a threshold needs pairs that are the same and pairs that are not: {only}")


def _gaps(scores: Sequence[float], truth: Sequence[bool]) -> list[tuple[float, float, Quality]]:
    """Each gap (low, high] with what a threshold in it does, from below all scores to above all.

    The lowest reaches down to 0 and holds it; there is none above a score of 1, which every threshold lets through.
    """
    positives, negatives = [0], [0]  # among the scores below a gap
    edges = sorted(set(scores))
    by_score: dict[float, list[int]] = {edge: [0, 0] for edge in edges}
    for score, same in zip(scores, truth, strict=True):
        by_score[score][bool(same)] += 1
    for edge in edges:
        negatives.append(negatives[-1] + by_score[edge][0])
        positives.append(positives[-1] + by_score[edge][1])
    lows, highs = [0.0, *edges], [*edges, 1.0]
    found = []
    for low, high, below, others in zip(lows, highs, positives, negatives, strict=True):
        counts = Quality(positives[-1] - below, negatives[-1] - others, others, below)
        if low < 1:
            found.append((low, high, counts))
    return found


def _between(low: float, high: float) -> float:
    """The middle of (low, high], or a number of fewer digits near it; of the gap from 0 to 0 it is 0."""
    middle = low + (high - low) / 2
    for digits in range(1, 17):
        rounded = round(middle, digits)
        if low < rounded <= high and abs(rounded - middle) <= (high - low) / 4:
            return rounded
    return middle if low < middle else high


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan

"""Choose the threshold on a judge's scores that fits labelled pairs best.

    same(pair) = score >= threshold

All thresholds between two neighbouring scores lead to equal verdicts. So there is one candidate for each gap between
neighbouring scores, one candidate below all scores and one above all scores. The chosen threshold is the middle of the
best gap (the widest gap if several are equally good). It is rounded to the smallest number of digits that keeps it in
the middle half of the gap. The quality on the pairs from which a threshold was chosen is too good; `cross_validate`
estimates the quality on new pairs.

This module has no metrics with costs for each kind of error, and does not calibrate scores. It does no IO.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from semantic_entropy.errors import InputError


@dataclass(frozen=True, slots=True)
class Quality:
    """Counts of right and wrong verdicts. A positive pair means the same. A ratio with denominator 0 is nan."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return self.true_positives + self.false_positives + self.true_negatives + self.false_negatives

    @property
    def accuracy(self) -> float:
        """The share of right verdicts among all verdicts."""
        return _ratio(self.true_positives + self.true_negatives, self.pairs)

    @property
    def precision(self) -> float:
        """The share of pairs labelled the same among the pairs judged the same."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """The share of pairs judged the same among the pairs labelled the same."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        right = 2 * self.true_positives
        return _ratio(right, right + self.false_positives + self.false_negatives)


class CrossValidation(NamedTuple):
    """The quality of the held-out verdicts of all folds, and the threshold of each fold."""

    quality: Quality
    thresholds: tuple[float, ...]


def quality(verdicts: Sequence[bool], labels: Sequence[bool]) -> Quality:
    """Compare verdicts (n,) with labels (n,) and count the right and the wrong verdicts.

    Raises:
        InputError: the lengths differ.
    """
    if len(verdicts) != len(labels):
        raise InputError(f"{len(verdicts)} verdicts for {len(labels)} pairs: give one verdict for each pair")
    counts = {(verdict, label): 0 for verdict in (True, False) for label in (True, False)}
    for verdict, label in zip(verdicts, labels, strict=True):
        counts[bool(verdict), bool(label)] += 1
    return Quality(counts[True, True], counts[True, False], counts[False, False], counts[False, True])


def best_threshold(scores: Sequence[float], labels: Sequence[bool], metric: str = "accuracy") -> float:
    """Return the threshold in [0, 1] with the best value of the metric on these pairs.

    Args:
        scores: (n,) in [0, 1]; a pair is judged the same if its score is at least the threshold.
        labels: (n,) True for each pair of answers that mean the same.
        metric: "accuracy"; "f1"; or "precision@P", such as "precision@0.95": the highest recall with a precision of at
            least P.

    Raises:
        InputError: there are no pairs, all pairs have the same label, a score is outside [0, 1], the metric is unknown,
            or no threshold reaches the precision P.
    """
    value_of = _metric(metric)
    _check(scores, labels)
    best: tuple[float, float] | None = None
    threshold = math.nan
    for low, high, found in _gaps(scores, labels):
        value = value_of(found)
        if not math.isnan(value) and (best is None or (value, high - low) > best):
            best, threshold = (value, high - low), _round_middle(low, high)
    if best is None:
        precisions = (found.precision for *_, found in _gaps(scores, labels))
        highest = max((value for value in precisions if not math.isnan(value)), default=0.0)
        raise InputError(f"no threshold reaches {metric}: the highest precision here is {highest:.3f}")
    return threshold


def cross_validate(
    scores: Sequence[float],
    labels: Sequence[bool],
    metric: str = "accuracy",
    *,
    groups: Sequence[Hashable] | None = None,
    folds: int = 5,
) -> CrossValidation:
    """Judge the pairs of each fold with the threshold that is best on all other folds.

    Args:
        scores: as in `best_threshold`.
        labels: as in `best_threshold`.
        metric: as in `best_threshold`.
        groups: (n,) a value for each pair, such as its question. Pairs with equal values stay in one fold; None: each
            pair is a group of its own.
        folds: the largest number of folds; there are fewer folds if there are fewer groups. Every run splits the pairs
            in the same way.

    Raises:
        InputError: there are fewer than two groups; or `best_threshold` raised it for the pairs of some folds.
    """
    _check(scores, labels)
    group_of = list(range(len(scores))) if groups is None else list(groups)
    distinct = list(dict.fromkeys(group_of))
    if len(distinct) < 2:
        raise InputError("all pairs belong to one group (question): cross-validation needs at least two")
    random.Random(0).shuffle(distinct)
    fold_of = {group: number % min(folds, len(distinct)) for number, group in enumerate(distinct)}
    verdicts, thresholds = [False] * len(scores), []
    for fold in sorted(set(fold_of.values())):
        training = [i for i, group in enumerate(group_of) if fold_of[group] != fold]
        threshold = best_threshold([scores[i] for i in training], [labels[i] for i in training], metric)
        thresholds.append(threshold)
        for i, group in enumerate(group_of):
            if fold_of[group] == fold:
                verdicts[i] = scores[i] >= threshold
    return CrossValidation(quality(verdicts, labels), tuple(thresholds))


def _metric(name: str) -> Callable[[Quality], float]:
    """Return the function to maximise. It returns nan for a threshold that must not be chosen."""
    if name == "accuracy":
        return lambda found: found.accuracy
    if name == "f1":
        return lambda found: found.f1
    kind, _, text = name.partition("@")
    try:
        minimum = float(text)
    except ValueError:
        minimum = math.nan
    if kind != "precision" or not 0 < minimum <= 1:
        raise InputError(f"metric={name!r} is unknown: use accuracy, f1, or precision@P with P in (0, 1]")
    return lambda found: found.recall if found.precision >= minimum else math.nan


def _check(scores: Sequence[float], labels: Sequence[bool]) -> None:
    if len(scores) != len(labels):
        raise InputError(f"{len(scores)} scores for {len(labels)} pairs: give one score for each pair")
    if wrong := [score for score in scores if not 0 <= score <= 1]:
        raise InputError(f"the score {wrong[0]!r} is not in [0, 1]")
    distinct = set(map(bool, labels))
    if len(distinct) < 2:
        given = (
            f"all {len(scores)} pairs are labelled {'same' if True in distinct else 'different'!r}"
            if distinct
            else "there are no pairs"
        )
        raise InputError(
            f"a threshold needs pairs labelled 'same' and pairs labelled 'different', but {given}: add pairs with the "
            "missing label"
        )


def _gaps(scores: Sequence[float], labels: Sequence[bool]) -> list[tuple[float, float, Quality]]:
    """Return each gap (low, high] between scores with the quality of a threshold in the gap, in ascending order.

    The first gap is below all scores and includes 0. The last gap is above all scores; it is missing if the highest
    score is 1, because every threshold in [0, 1] accepts a score of 1.
    """
    positives, negatives = [0], [0]  # positives[i]: number of positive pairs with a score below gap i
    edges = sorted(set(scores))
    by_score: dict[float, list[int]] = {edge: [0, 0] for edge in edges}
    for score, same in zip(scores, labels, strict=True):
        by_score[score][bool(same)] += 1
    for edge in edges:
        negatives.append(negatives[-1] + by_score[edge][0])
        positives.append(positives[-1] + by_score[edge][1])
    gaps = zip([0.0, *edges], [*edges, 1.0], positives, negatives, strict=True)
    return [
        (low, high, Quality(positives[-1] - same_below, negatives[-1] - different_below, different_below, same_below))
        for low, high, same_below, different_below in gaps
        if low < 1
    ]


def _round_middle(low: float, high: float) -> float:
    """Return the middle of (low, high], or a nearby number with fewer digits; 0 if low and high are 0."""
    middle = low + (high - low) / 2
    for digits in range(1, 17):
        rounded = round(middle, digits)
        if low < rounded <= high and abs(rounded - middle) <= (high - low) / 4:
            return rounded
    return middle if low < middle else high


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan

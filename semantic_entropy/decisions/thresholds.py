"""The threshold on scores that separates "the same" from "different" best, on pairs whose label is known.

    same(pair) = score >= threshold

All thresholds between two neighbouring scores give the same verdicts, so there is one candidate for each gap between
neighbouring scores, one below all scores and one above. The result is the middle of the best gap, rounded to as few
digits as keep it within the middle half of the gap; of several equally good gaps, the widest. The quality on the pairs
that a threshold was chosen from is too good: `cross_validate` estimates the quality on other pairs.

Left out: other costs than those of the metrics, and calibration of the scores. Numbers in, numbers out: no IO.
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
    """Counts of verdicts against labels; positive means "the same". A ratio with denominator 0 is nan."""

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
        """The share of verdicts that are right."""
        return _ratio(self.true_positives + self.true_negatives, self.pairs)

    @property
    def precision(self) -> float:
        """Of the pairs judged the same, the share that are the same."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Of the pairs that are the same, the share judged the same."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        right = 2 * self.true_positives
        return _ratio(right, right + self.false_positives + self.false_negatives)


class CrossValidation(NamedTuple):
    """The quality of held-out verdicts, all folds together, and the threshold of each fold."""

    quality: Quality
    thresholds: tuple[float, ...]


def quality(verdicts: Sequence[bool], labels: Sequence[bool]) -> Quality:
    """Count verdicts (n,) against labels (n,).

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
    """The threshold in [0, 1] with the best value of the metric on these pairs.

    Args:
        scores: (n,) in [0, 1]; a score of at least the threshold means "the same".
        labels: (n,) whether each pair is the same.
        metric: "accuracy"; "f1"; or "precision@P", such as "precision@0.95": the highest recall with a precision of at
            least P.

    Raises:
        InputError: no pairs, pairs of one label only, a score outside [0, 1], an unknown metric, or a precision that no
            threshold reaches.
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
    """Judge each fold with the threshold that is best on the other folds.

    Args:
        scores: as in `best_threshold`.
        labels: as in `best_threshold`.
        metric: as in `best_threshold`.
        groups: (n,) pairs with an equal value, such as the question, stay in one fold; None: all may be separated.
        folds: the number of folds; fewer if there are fewer groups. The split is the same in every run.

    Raises:
        InputError: as `best_threshold`, for the pairs of some folds; or there are fewer than two groups.
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
    """The function to maximise; nan excludes a threshold."""
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
        given = f"all {len(scores)} are {'the same' if True in distinct else 'different'}" if distinct else "no pairs"
        raise InputError(f"a threshold needs pairs that are the same and pairs that are different: {given}")


def _gaps(scores: Sequence[float], labels: Sequence[bool]) -> list[tuple[float, float, Quality]]:
    """Each gap (low, high] with the quality of a threshold in it, from below all scores to above all scores.

    The first gap includes 0. There is no gap above a score of 1, because every threshold accepts that score.
    """
    positives, negatives = [0], [0]  # counts of pairs with a score below each gap
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
    """The middle of (low, high], or a nearby number with fewer digits; 0 for the gap from 0 to 0."""
    middle = low + (high - low) / 2
    for digits in range(1, 17):
        rounded = round(middle, digits)
        if low < rounded <= high and abs(rounded - middle) <= (high - low) / 4:
            return rounded
    return middle if low < middle else high


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan

"""Compare scores on the same labelled groups: metrics with intervals, and a paired test of each difference.

The 95% intervals are those of the percentile bootstrap: the 2.5th and the 97.5th percentile over resamples of the
groups. All scores see the same resamples, so the interval of a difference in AUROC is paired. The p-value of the
difference is 2 min(P(d <= 0), P(d >= 0)) over the resamples, each count with 1 added (Davison and Hinkley 1997, section
4.2.3). It is not corrected for the number of scores. The intervals cover the choice of groups; they do not cover the
sampling of the responses. Where every resample gives the same value, the interval has width 0 and is too narrow.

Brier score and ECE need probabilities, and most scores are not. So each score is first mapped to p(wrong) by isotonic
regression on its rank, fitted on four fifths of the groups and applied to the rest, five times. No group is in the data
that its own probability was fitted on. The two numbers then say how good a probability the score can give. A score that
is a probability already also has `brier_as_given` and `ece_as_given`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semantic_entropy.errors import InputError, nearest
from semantic_entropy.evaluation.metrics import Counts, Floats, Ranking, calibration_metrics, coverage_name, resamples
from semantic_entropy.plain_text import show_value, to_json_value

RESAMPLES = 1000  # with 1,000 resamples, another seed moves the ends of a 95% interval by about 1/20 of its width
COVERAGES = (0.8, 0.9)
_FOLDS = 5

Bools = NDArray[np.bool_]


class MetricValue(NamedTuple):
    """The value of a metric and its 95% interval; nan where a number is not defined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.low):
            return format_number(self.value)
        return f"{format_number(self.value)} ({format_number(self.low)} to {format_number(self.high)})"


class Difference(NamedTuple):
    """The AUROC of a score minus that of the reference, its 95% interval, and the p-value of no difference."""

    value: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class ScoreMetrics:
    """How well one score finds wrong answers.

    Attributes:
        metrics: the metrics by name, see `semantic_entropy.evaluation.metrics`.
        unknown: the number of groups without this score. They are ranked as the most uncertain.
        difference: the AUROC compared with that of the reference score; None: this is the reference, or there is none.
    """

    metrics: Mapping[str, MetricValue]
    unknown: int
    difference: Difference | None = None

    @property
    def auroc(self) -> MetricValue:
        """The area under the ROC curve."""
        return self.metrics["auroc"]


@dataclass(frozen=True, slots=True)
class ScoreTable(Mapping[str, ScoreMetrics]):
    """The metrics of all scores on the same groups, by the name of the score.

    Attributes:
        groups: the number of groups.
        wrong: the number of groups with a wrong answer.
        base: what a score without information has: each metric at the base rate of wrong answers.
        scores: the metrics by the name of the score.
        reference: the score that the others are compared with.
        draws: (resamples,) AUROC of each score on each resample.
    """

    groups: int
    wrong: int
    base: Mapping[str, float]
    scores: Mapping[str, ScoreMetrics]
    reference: str
    draws: Mapping[str, Floats] = field(repr=False, compare=False, default_factory=dict)

    def __getitem__(self, name: str) -> ScoreMetrics:
        return self.scores[name]

    def __iter__(self) -> Any:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def to_dict(self) -> dict[str, Any]:
        """Return dicts and numbers, with None for nan."""
        found: dict[str, Any] = {
            "groups": self.groups,
            "wrong": self.wrong,
            "reference": self.reference,
            "base": dict(self.base),
            "scores": {
                name: {
                    "metrics": {metric: value._asdict() for metric, value in score.metrics.items()},
                    "unknown": score.unknown,
                    "difference": score.difference and score.difference._asdict(),
                }
                for name, score in self.scores.items()
            },
        }
        return to_json_value(found)  # type: ignore[no-any-return]  # a dict stays a dict


def compare(
    scores: Mapping[str, Sequence[float | None]],
    wrong: Sequence[bool],
    *,
    confidences: Collection[str] = (),
    probabilities: Collection[str] = (),
    coverages: Sequence[float] = COVERAGES,
    reference: str | None = None,
    resampled: int = RESAMPLES,
    seed: int = 0,
    advance: Callable[[int], object] = lambda _: None,
) -> ScoreTable:
    """Compute the metrics of several scores on the same groups.

    Args:
        scores: (N,) values of each score; None, nan or infinite: unknown.
        wrong: (N,) whether the answer of the group is wrong: True or False, or 1 or 0.
        confidences: the names of scores that are higher for more certain answers. They are turned round.
        probabilities: the names of scores that are probabilities in [0, 1] of a right answer (if they are in
            `confidences`), or of a wrong one.
        coverages: the shares of the groups, in (0, 1], for `accuracy@...`.
        reference: the score that the others are compared with; None: the first one.
        resampled: the number of resamples of the bootstrap; 0: no intervals.
        seed: the seed of the bootstrap and of the folds.
        advance: called with the number of new resamples, for a progress bar.

    Raises:
        InputError: there are no groups or no scores, a score has another number of values, a value is no number or a
            label not True or False, or a name is unknown.
    """
    truth = _labels(wrong)
    _check(scores, truth, [*confidences, *probabilities, *([reference] if reference else [])], coverages, resampled)
    reference = reference or next(iter(scores))
    share = float(truth.mean())
    base = {"auroc": 0.5, "auprc": share, "aurac": 1 - share, "prr": 0.0}
    base |= {coverage_name(coverage): 1 - share for coverage in coverages}
    base |= {
        f"{name}{end}": value
        for end in ("", "_as_given")
        for name, value in (("brier", share * (1 - share)), ("ece", 0.0))
    }
    if not 0 < share < 1:
        base |= dict.fromkeys(("auroc", "auprc", "aurac", "prr"), math.nan)
    measured = {}
    for name, values in scores.items():
        given = _numbers(name, values)
        if not np.isnan(given).all():
            uncertainty = -given if name in confidences else given
            as_given = (1 - given if name in confidences else given) if name in probabilities else None
            measured[name] = _Score(uncertainty, truth, as_given, name, seed)
    ones = np.ones((1, len(truth)), dtype=np.int64)
    exact = {name: score.metrics(ones, coverages) for name, score in measured.items()}
    parts: dict[str, list[dict[str, Floats]]] = {name: [] for name in measured}
    for weights in resamples(len(truth), resampled, seed):
        for name, score in measured.items():
            parts[name].append(score.metrics(weights, coverages))
        advance(len(weights))
    draws = {
        name: {metric: np.concatenate([np.zeros(0), *(part[metric] for part in parts[name])]) for metric in value}
        for name, value in exact.items()
    }
    table = {}
    for name, score in measured.items():
        metrics = {metric: with_interval(float(value[0]), draws[name][metric]) for metric, value in exact[name].items()}
        difference = None
        if name != reference and reference in measured:
            difference = difference_of(
                metrics["auroc"].value - float(exact[reference]["auroc"][0]),
                draws[name]["auroc"] - draws[reference]["auroc"],
            )
        table[name] = ScoreMetrics(metrics, score.unknown, difference)
    auroc = {name: found["auroc"] for name, found in draws.items()}
    return ScoreTable(len(truth), int(truth.sum()), base, table, reference, auroc)


def mean_over(tables: Sequence[ScoreTable]) -> ScoreTable:
    """Return the mean AUROC over the tables of several sources, for the scores that all of these tables have.

    The sources are resampled independently. Tables without wrong or without right groups are left out.
    """
    used = [table for table in tables if 0 < table.wrong < table.groups]
    names = [name for name in used[0] if all(name in table for table in used)] if used else []
    reference = used[0].reference if used else ""
    draws = {name: np.mean([table.draws[name] for table in used], axis=0) for name in names}
    values = {name: float(np.mean([table[name].auroc.value for table in used])) for name in names}
    scores = {}
    for name in names:
        difference = None
        if name != reference and reference in names:
            difference = difference_of(values[name] - values[reference], draws[name] - draws[reference])
        unknown = sum(table[name].unknown for table in used)
        scores[name] = ScoreMetrics({"auroc": with_interval(values[name], draws[name])}, unknown, difference)
    groups, wrong = sum(table.groups for table in used), sum(table.wrong for table in used)
    return ScoreTable(groups, wrong, {"auroc": 0.5}, scores, reference, draws)


class _Score:
    """One score: its ranking, and its probabilities of a wrong answer."""

    def __init__(self, uncertainty: Floats, wrong: Bools, as_given: Floats | None, name: str, seed: int) -> None:
        self.unknown = int(np.isnan(uncertainty).sum())
        self.ranking = Ranking(uncertainty, wrong)
        self._wrong = wrong
        self._mapped = _mapped_probabilities(self.ranking.ranks, wrong, seed)
        self._as_given = None
        if as_given is not None:
            known = as_given[~np.isnan(as_given)]
            if (known < 0).any() or (known > 1).any():
                extreme = float(known[np.argmax(np.abs(known - 0.5))])
                raise InputError(f"score {name!r} is no probability: it gives p(wrong) = {extreme:.6g}")
            self._as_given = np.where(np.isnan(as_given), 1.0, as_given)  # unknown is the most uncertain

    def metrics(self, weights: Counts, coverages: Sequence[float]) -> dict[str, Floats]:
        found = self.ranking.metrics(weights, coverages)
        if self._mapped is not None:
            found |= calibration_metrics(self._mapped, self._wrong, weights)
        if self._as_given is not None:
            given = calibration_metrics(self._as_given, self._wrong, weights)
            found |= {f"{metric}_as_given": value for metric, value in given.items()}
        return found


def _mapped_probabilities(ranks: NDArray[np.int64], wrong: Bools, seed: int) -> Floats | None:
    """Return (N,) p(wrong) by cross-validated isotonic regression; None: too few groups, or no scikit-learn."""
    folds = min(_FOLDS, int(wrong.sum()), int((~wrong).sum()))
    if folds < 2 or not has_scikit_learn():
        return None
    from sklearn.isotonic import IsotonicRegression
    from sklearn.model_selection import StratifiedKFold

    found = np.zeros(len(wrong))
    for train, rest in StratifiedKFold(folds, shuffle=True, random_state=seed).split(ranks, wrong):
        mapping = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(ranks[train], wrong[train])
        found[rest] = mapping.predict(ranks[rest])
    return found


def has_scikit_learn() -> bool:
    """Whether scikit-learn can be imported. Brier score and ECE need it."""
    from importlib.util import find_spec

    return find_spec("sklearn") is not None


def with_interval(value: float, draws: Floats) -> MetricValue:
    """Return a value with its interval. Resamples without a value (AUROC of a single class) do not count."""
    known = draws[~np.isnan(draws)]
    if not len(known) or math.isnan(value):
        return MetricValue(value, math.nan, math.nan)
    low, high = np.quantile(known, (0.025, 0.975))
    return MetricValue(value, float(low), float(high))


def difference_of(value: float, draws: Floats) -> Difference:
    """Return a difference with its interval and p-value, from the differences (resamples,) in resamples."""
    known = draws[~np.isnan(draws)]
    if not len(known) or math.isnan(value):
        return Difference(value, math.nan, math.nan, math.nan)
    tail = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return Difference(*with_interval(value, draws), min(1.0, 2 * (tail + 1) / (len(known) + 1)))


def format_number(value: float) -> str:
    """Return a number with three decimals; "-" for nan."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def _labels(wrong: Any) -> Bools:
    """Return the labels (N,). Raise InputError if one is not True or False, or 1 or 0: a text or None is no label."""
    found = list(wrong) if isinstance(wrong, Iterable) else [wrong]
    for i, label in enumerate(found):
        if not isinstance(label, bool | np.bool_ | int | float | np.number) or label not in (0, 1):
            raise InputError(
                f"wrong[{i}] is {show_value(label)}; a label is True (wrong) or False: leave out the others"
            )
    return np.array(found, dtype=bool)


def _numbers(name: str, values: Sequence[float | None]) -> Floats:
    """Return the values (N,) of a score; nan where it is not known."""
    try:
        found = np.array([math.nan if value is None else float(value) for value in values])
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the values of score {name!r} must be numbers: {error}") from None
    return np.where(np.isfinite(found), found, math.nan)


def _check(
    scores: Mapping[str, Sequence[float | None]],
    wrong: Bools,
    names: Sequence[str],
    coverages: Sequence[float],
    resampled: int,
) -> None:
    if not scores or not len(wrong):
        raise InputError(f"nothing to compare: {len(scores)} scores on {len(wrong)} groups")
    for name, values in scores.items():
        if len(values) != len(wrong):
            raise InputError(f"score {name!r} has {len(values)} values for {len(wrong)} groups")
    for name in names:
        if name not in scores:
            raise InputError(f"there is no score {name!r}: there are {', '.join(scores)}.{nearest(name, scores)}")
    for coverage in coverages:
        if not 0 < coverage <= 1:
            raise InputError(f"coverage {show_value(coverage)} is a share of the groups: use a number in (0, 1]")
    if resampled < 0:
        raise InputError(f"{resampled} resamples: use a number from 0")

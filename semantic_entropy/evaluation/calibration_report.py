"""The report of a calibration: how good the score is, what the threshold does, and whether p(wrong) can be believed.

All numbers are of the certifying groups, on which nothing was fitted. A group is flagged if its risk score is unknown
or above the threshold; wrong answers are the positive class:

    precision = wrong among the flagged        recall = flagged among the wrong        coverage = answered among all

The intervals are the exact 95% intervals of a proportion (Clopper and Pearson 1934). They are for a threshold that is
given; the threshold was chosen on the same groups, which only the guarantee accounts for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike, fspath
from typing import Any, NamedTuple

import numpy as np

from semantic_entropy.decisions import Calibration
from semantic_entropy.decisions.guarantee import proportion_interval
from semantic_entropy.evaluation.comparison import MetricValue, compare, format_number
from semantic_entropy.evaluation.evaluation import markdown_table
from semantic_entropy.evaluation.metrics import calibration_metrics
from semantic_entropy.plain_text import plural, to_json_line, to_json_value

_BINS = 10  # of the reliability table, with equal numbers of groups
_FEWEST_IN_BIN = 10


class Proportion(NamedTuple):
    """k of n, with the exact 95% interval of the proportion. It is nan for n = 0."""

    k: int
    n: int

    @property
    def value(self) -> float:
        """K / n."""
        return self.k / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The lower and the upper end."""
        return proportion_interval(self.k, self.n)

    def to_dict(self) -> dict[str, Any]:
        """Return numbers, with None for nan."""
        low, high = self.interval
        return to_json_value({"k": self.k, "n": self.n, "value": self.value, "low": low, "high": high})  # type: ignore[no-any-return]

    def cells(self) -> list[str]:
        """Return the cells of a table."""
        low, high = self.interval
        return [f"{self.k:,} of {self.n:,}", format_number(self.value), f"{low:.3f} to {high:.3f}"]


class ReliabilityBin(NamedTuple):
    """Groups with neighbouring p(wrong): the range, the mean, and the share that is wrong."""

    low: float
    high: float
    mean: float
    wrong: Proportion


@dataclass(frozen=True, repr=False)
class CalibrationReport:
    """What was learned, and how good it is. `str()` is a report with tables in Markdown.

    Attributes:
        calibration: the calibration: `report.calibration.save("calibration.json")`.
        risks: (n_certify,) risk scores of the certifying groups; nan: unknown.
        probabilities: (n_certify,) p(wrong) of these groups; nan: unknown.
        wrong: (n_certify,) whether their answers are wrong.
        labelled_by: the number of rows that each rule of the labels decided.
        judged: the numbers of labels by judges, by the name of the judge.
        unlabelled: the number of rows without a label, which are left out.
        bad: the number of rows that could not be read or measured, which are left out.
        bad_rows: what is wrong with the first of them.
        notes: what a reader of the numbers must know.
    """

    calibration: Calibration
    risks: tuple[float, ...] = field(repr=False)
    probabilities: tuple[float, ...] = field(repr=False)
    wrong: tuple[bool, ...] = field(repr=False)
    labelled_by: Mapping[str, int]
    unlabelled: int
    bad: int
    bad_rows: tuple[str, ...]
    notes: tuple[str, ...]
    judged: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_certified(self) -> bool:
        """Whether a threshold is certified."""
        return self.calibration.threshold is not None

    @cached_property
    def auroc(self) -> MetricValue:
        """The area under the ROC curve of the risk score, with a 95% bootstrap interval. Unknown is most uncertain."""
        if all(self.wrong) or not any(self.wrong) or all(map(math.isnan, self.risks)):
            return MetricValue(math.nan, math.nan, math.nan)
        return compare({"risk": self.risks}, self.wrong)["risk"].auroc

    @cached_property
    def calibration_error(self) -> dict[str, float]:
        """`brier` and `ece` of p(wrong), on the groups whose score is known; empty: it is known for none."""
        pairs = [(p, w) for p, w in zip(self.probabilities, self.wrong, strict=True) if not math.isnan(p)]
        if not pairs:
            return {}
        known, wrong = np.array([p for p, _ in pairs]), np.array([w for _, w in pairs])
        found = calibration_metrics(known, wrong, np.ones((1, len(known)), dtype=np.int64))
        return {name: float(value[0]) for name, value in found.items()}

    @cached_property
    def at_threshold(self) -> dict[str, Proportion]:
        """`coverage`, `risk`, `precision` and `recall` at the certified threshold; empty: none is certified."""
        threshold = self.calibration.threshold
        if threshold is None:
            return {}
        flagged = [not risk <= threshold for risk in self.risks]
        both = sum(f and w for f, w in zip(flagged, self.wrong, strict=True))
        wrong, count, n = sum(self.wrong), sum(flagged), len(flagged)
        return {
            "coverage": Proportion(n - count, n),
            "risk": Proportion(wrong - both, n - count),
            "precision": Proportion(both, count),
            "recall": Proportion(both, wrong),
        }

    @cached_property
    def reliability(self) -> tuple[ReliabilityBin, ...]:
        """The certifying groups in bins of neighbouring p(wrong). Equal probabilities are in one bin."""
        ranked = sorted((p, w) for p, w in zip(self.probabilities, self.wrong, strict=True) if not math.isnan(p))
        size = max(_FEWEST_IN_BIN, math.ceil(len(ranked) / _BINS))
        bins: list[list[tuple[float, bool]]] = []
        for p, w in ranked:
            if not bins or (len(bins[-1]) >= size and p > bins[-1][-1][0]):
                bins.append([])
            bins[-1].append((p, w))
        if len(bins) > 1 and len(bins[-1]) < _FEWEST_IN_BIN:
            bins[-2:] = [bins[-2] + bins[-1]]
        return tuple(
            ReliabilityBin(
                part[0][0],
                part[-1][0],
                math.fsum(p for p, _ in part) / len(part),
                Proportion(sum(w for _, w in part), len(part)),
            )
            for part in bins
        )

    def to_dict(self) -> dict[str, Any]:
        """Return lists, dicts, texts and numbers, with None for nan."""
        labels, guarantee = self.calibration.labels, self.calibration.guarantee
        return to_json_value(  # type: ignore[no-any-return]  # a dict stays a dict
            {
                "scores": list(self.calibration.names),
                "method": self.calibration.method,
                "labels": {"n_fit": labels.n_fit, "n_certify": labels.n_certify, "wrong_share": labels.wrong_share},
                "labelled_by": dict(self.labelled_by),
                "judged": dict(self.judged),
                "unlabelled": self.unlabelled,
                "bad": self.bad,
                "bad_rows": list(self.bad_rows),
                "notes": list(self.notes),
                "base_rate": Proportion(sum(self.wrong), len(self.wrong)).to_dict(),
                "auroc": self.auroc._asdict(),
                **self.calibration_error,
                "guarantee": {
                    "alpha": guarantee.alpha,
                    "delta": guarantee.delta,
                    "threshold": guarantee.threshold,
                    "upper_bound": guarantee.upper_bound,
                    "reason": guarantee.reason,
                    "sentence": self.sentence,
                },
                "at_threshold": {name: each.to_dict() for name, each in self.at_threshold.items()},
                "reliability": [
                    {"low": each.low, "high": each.high, "mean": each.mean, "wrong": each.wrong.to_dict()}
                    for each in self.reliability
                ],
            }
        )

    def to_json(self) -> str:
        """Return the report as one line of JSON."""
        return to_json_line(self.to_dict())

    @property
    def sentence(self) -> str:
        """The guarantee in one sentence, or why there is none and what is needed."""
        guarantee, labels = self.calibration.guarantee, self.calibration.labels
        if guarantee.threshold is None:
            level = f"a risk of at most {guarantee.alpha:g} with confidence {1 - guarantee.delta:g}"
            more = ""
            if guarantee.missing is not None:
                total = guarantee.missing * (labels.n_fit + labels.n_certify) / labels.n_certify
                more = f". Label about {math.ceil(total):,} more rows"
            if self.judged:
                more += (
                    f". The labels may be the cause: {self._judges()}, and a right answer that a judge calls wrong "
                    "counts as wrong: compare some with labels of a person (semantic-entropy label)"
                )
            return f"cannot certify {level}: {guarantee.reason}{more}"
        (first, *others) = self.calibration.scores
        if others:
            rule = f"p(wrong) is at most {guarantee.threshold:.6g}"
        elif first.higher_is_uncertain:
            rule = f"{first.name} is at most {guarantee.threshold:.6g}"
        else:
            rule = f"{first.name} is at least {-guarantee.threshold:.6g}"
        promise = f"with confidence {1 - guarantee.delta:g}, at most {guarantee.alpha:.3g} of these answers are wrong"
        return f"answer only where {rule}: {promise}, for questions and responses like the labelled ones"

    def to_markdown(self) -> str:
        """Return the report: the labels, the score, the guarantee, and the tables."""
        labels, guarantee = self.calibration.labels, self.calibration.guarantee
        total, base = labels.n_fit + labels.n_certify, Proportion(sum(self.wrong), len(self.wrong))
        rules = ", ".join(f"{rule} {count:,}" for rule, count in self.labelled_by.items())
        share = f"{labels.wrong_share:.1%} wrong"
        lines = [f"{plural(total, 'group')}, {share}; label: {labels.rule} (decided by {rules})"]
        lines += [f"left out: {plural(self.unlabelled, 'row')} without a label"] * bool(self.unlabelled)
        lines += [f"left out: {plural(self.bad, 'bad row')}", *self.bad_rows] * bool(self.bad)
        lines += [f"note: {note}" for note in self.notes]
        if self.judged:
            lines.append(f"note: {self._judges()}: wrong is what a judge calls wrong")
        method = f"{self.calibration.method} of {', '.join(self.calibration.names)}"
        parts = f"fitted on {labels.n_fit:,} groups; all numbers below are of the other {labels.n_certify:,}"
        lines += [f"p(wrong): {method}, {parts}", "", f"guarantee: {self.sentence}"]
        if self.is_certified:
            lines.append(f"why not more: {guarantee.reason}")
        low, high = base.interval
        error = self.calibration_error
        lines += [
            "",
            f"base rate: {base.k:,} of {base.n:,} answers are wrong ({base.value:.3f}, 95%: {low:.3f} to {high:.3f})",
            f"AUROC: {self.auroc} (0.5 for a score without information)",
        ]
        if error:
            brier = base.value * (1 - base.value)
            lines.append(f"Brier score: {error['brier']:.3f} ({brier:.3f} for the base rate); ECE: {error['ece']:.3f}")
        if self.at_threshold:
            lines += ["", *markdown_table(self._threshold_lines())]
        if self.reliability:
            lines += ["", *markdown_table(self._reliability_lines())]
        return "\n".join(lines)

    def _judges(self) -> str:
        """Return who made the labels that no person made."""
        count, total = sum(self.judged.values()), sum(self.labelled_by.values())
        kind = "judge" if len(self.judged) == 1 else "judges"
        return f"{count:,} of the {total:,} labels are by the {kind} {', '.join(self.judged)}"

    def save_picture(self, path: str | PathLike[str]) -> None:
        """Draw the ROC curve, precision and recall, and the reliability of p(wrong).

        Raises:
            MissingDependencyError: matplotlib is not installed.
            InputError: the suffix is not .png, .svg or .pdf, or there are no wrong or no right answers.
        """
        from semantic_entropy.evaluation.calibration_picture import save_calibration_picture

        save_calibration_picture(self, fspath(path))

    def _threshold_lines(self) -> list[list[str]]:
        titles = {
            "coverage": "answered (coverage)",
            "risk": "wrong among the answered (risk)",
            "precision": "wrong among the flagged (precision)",
            "recall": "flagged among the wrong (recall)",
        }
        rows = [[titles[name], *each.cells()] for name, each in self.at_threshold.items()]
        return [["at the threshold", "groups", "share", "95%"], *rows]

    def _reliability_lines(self) -> list[list[str]]:
        lines = [["p(wrong)", "mean p(wrong)", "wrong", "share", "95%"]]
        for each in self.reliability:
            span = f"{each.low:.3f}" if each.low == each.high else f"{each.low:.3f} to {each.high:.3f}"
            lines.append([span, f"{each.mean:.3f}", *each.wrong.cells()])
        return lines

    __repr__ = to_markdown
    __str__ = to_markdown

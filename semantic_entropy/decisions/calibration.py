"""A calibration: the probability that an answer is wrong, given its scores, and a threshold with a guarantee.

    platt        p = 1 / (1 + exp(-(b + sum w_j (x_j - mean_j) / scale_j)))     logistic regression; several scores
    isotonic     p = piecewise linear through the points (x_i, y_i), constant outside     one score
    histogram    p = the share of wrong answers in the bin of x                           one score

x is a score, turned round (-x) if higher values are more certain. `semantic_entropy.evaluation.calibrate` fits the
numbers with scikit-learn on labelled groups; this module reads, writes and applies them, with plain floats.

The threshold is on the risk score: the score itself (turned round), or p if several scores are combined. A result is
flagged unless its risk score is known and at most a certified threshold. NaN never passes.

    >>> calibration = Calibration.load("calibration.json")
    >>> calibration.apply(result).flag
"""

from __future__ import annotations

import bisect
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import pairwise
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, Self, get_args

from semantic_entropy.decisions.conditions import Conditions, Origin
from semantic_entropy.decisions.guarantee import Guarantee, most_wrong, upper_bound
from semantic_entropy.decisions.labels import LABEL_RULES
from semantic_entropy.errors import InputError
from semantic_entropy.files import replacement
from semantic_entropy.plain_fields import from_plain, unique_keys
from semantic_entropy.plain_text import show_value, to_json_value
from semantic_entropy.results import Result

CalibrationMethod = Literal["platt", "isotonic", "histogram"]
METHODS: tuple[CalibrationMethod, ...] = get_args(CalibrationMethod)
_FORMAT = "semantic-entropy calibration, version 1"
_ZERO = 1e-12  # an entropy that is 0 but for rounding is 0
_LARGEST_FILE = 300_000  # bytes; a calibration has some kilobytes, and a point of "isotonic" 50 bytes
_MOST_POINTS = 5_000  # numbers of a list
_MOST_GROUPS = 10_000_000  # labelled groups of a part; the exact test of more takes seconds


@dataclass(frozen=True, slots=True)
class CalibratedScore:
    """A score that a calibration reads.

    Attributes:
        name: its name in `Result.scores`.
        higher_is_uncertain: whether a higher value is more uncertain. If not, the value is turned round (-x).
        quantiles: if several scores are combined, the values of this one (turned round) at equal steps, as in
            `Calibration.quantiles`.
        unknown: the number of labelled groups without this score, which are not in `quantiles`.
    """

    name: str
    higher_is_uncertain: bool
    quantiles: tuple[float, ...] = ()
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Mapped:
    """The parameters of p(wrong). A method has its own fields; those of the other methods are empty.

    Attributes:
        intercept: b of "platt".
        weights: w of "platt", (scores,).
        mean: mean of "platt", (scores,).
        scale: scale of "platt", (scores,), above 0.
        x: the scores of the points of "isotonic", increasing; the edges between the bins of "histogram", increasing.
        y: the probabilities of the points of "isotonic", (len(x),); of the bins of "histogram", (len(x) + 1,). An edge
            belongs to the bin above it.
    """

    intercept: float = 0.0
    weights: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """The labelled groups that a calibration was learned from.

    Attributes:
        n_fit: the number of groups that p(wrong) was fitted on.
        n_certify: the number of groups that the threshold was certified on.
        wrong_fit: the number of wrong answers of the fitted groups.
        wrong_certify: the number of wrong answers of the certifying groups.
        rule: what "wrong" means: "main", "majority" or "mean", see `semantic_entropy.decisions.labels`.
        questions: digests of at most 100 of the questions, see `score_drift.question_digests`: to see whether other
            data has the same questions.
        judged: the number of labels that a judge made (`semantic-entropy label --gold`).
        fitted_elsewhere: scores that need labels, and whose weights the user says were fitted on other groups.
    """

    n_fit: int
    n_certify: int
    wrong_fit: int
    wrong_certify: int
    rule: str
    questions: tuple[str, ...] = ()
    judged: int = 0
    fitted_elsewhere: tuple[str, ...] = ()

    @property
    def wrong_share(self) -> float:
        """The share of wrong answers among all labelled groups."""
        return (self.wrong_fit + self.wrong_certify) / (self.n_fit + self.n_certify)


@dataclass(frozen=True)
class Calibration:
    """What was learned from labelled groups. `load` reads one, `apply` fills the fields of a result.

    Attributes:
        scores: the scores that it reads.
        method: "platt", "isotonic" or "histogram".
        parameters: the parameters of p(wrong).
        conditions: how the scores were measured; None: another program computed them, so that `apply` cannot check it.
        labels: the labelled groups.
        guarantee: the certified threshold on the risk score, or why there is none.
        quantiles: risk scores of the labelled groups at equal steps from the smallest to the largest one, for a
            comparison with the scores of other groups.
        unknown: the number of labelled groups without a score, which are not in `quantiles`.
    """

    scores: tuple[CalibratedScore, ...]
    method: str
    parameters: Mapped
    conditions: Conditions | None
    labels: LabelCounts
    guarantee: Guarantee
    quantiles: tuple[float, ...] = ()
    unknown: int = 0

    def __post_init__(self) -> None:
        _check(self)

    @property
    def threshold(self) -> float | None:
        """The highest risk score that is answered; None: nothing is certified."""
        return self.guarantee.threshold

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the scores."""
        return tuple(score.name for score in self.scores)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the values, in hexadecimal. It is in the file, and `load` compares it.

        It is taken of the fields as JSON with sorted keys and without spaces, in UTF-8. So another layout of the file
        changes nothing.
        """
        text = json.dumps(self._fields(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def digest(self) -> str:
        """The beginning of `sha256`: the identity of the calibration in results."""
        return self.sha256[:16]

    def p_wrong(self, scores: Mapping[str, float | None]) -> float:
        """Return the probability that the answer is wrong; nan if a score is not known.

        Args:
            scores: the values by name, such as `Result.scores`.
        """
        return self._probability(self._oriented(scores))

    def risk_score(self, scores: Mapping[str, float | None]) -> float:
        """Return the number that the threshold is on, higher for more uncertain answers; nan if a score is not known.

        It is the value of a single score, turned round if higher values are more certain, or p(wrong) of several. It
        has 9 digits: equal entropies can differ in later ones, by the order of their sums.
        """
        values = self._oriented(scores)
        return _rounded(values[0] if len(values) == 1 else self._probability(values))

    def single_values(self, scores: Mapping[str, float | None]) -> list[float]:
        """Return the value of each score, turned round if needed, with 9 digits; nan if it is not known."""
        return list(map(_rounded, self._oriented(scores)))

    def apply(self, result: Result) -> Result:
        """Return the result with `p_wrong`, `flag` and `threshold`, and with warnings about what is not known.

        Raises:
            InputError: the result was measured with other choices than the calibration was learned with.
        """
        if self.conditions is None:
            raise InputError(
                "this calibration was learned from scores without their provenance, so it cannot be checked whether it "
                "is for this result: use calibration.p_wrong(scores) and calibration.risk_score(scores)"
            )
        origin = Origin.of(result.provenance, len(result.answers))
        self.conditions.check(origin)
        gaps = self.conditions.gaps(origin, result.n_valid, result.answer)
        warnings = [f"no calibrated probability: {gap}" for gap in gaps]
        missing = [name for name in self.names if not _is_known(result.scores.get(name))]
        if missing and not warnings:
            warnings.append(f"no calibrated probability: the score {missing[0]!r} is not known")
        is_known = not warnings
        if undeclared := self.conditions.undeclared(origin):
            warnings.append(undeclared)
        threshold = self.threshold
        passes = is_known and threshold is not None and self.risk_score(result.scores) <= threshold
        return replace(
            result,
            p_wrong=self.p_wrong(result.scores) if is_known else None,
            flag=not passes,
            threshold=threshold,
            warnings=(*result.warnings, *warnings),
            provenance=replace(result.provenance, calibration=self.digest),
        )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read the JSON file that `save` wrote.

        The digest of the values in the file protects against accidents: an edit, a merge of two files, a damaged disk.
        It does not protect against a person who computes it again.

        Raises:
            InputError: the file cannot be read, a value is not one of a calibration (the message names the field), or
                the values were changed after the file was written.
        """
        name = fspath(path)
        try:
            if Path(name).stat().st_size > _LARGEST_FILE:
                raise InputError(f"{name} is too large for a calibration: name the file that `calibrate` wrote")
            text = Path(name).read_text(encoding="utf-8-sig")  # an editor may have added a byte order mark
            fields = json.loads(text, object_pairs_hook=unique_keys)
        except OSError as error:
            raise InputError(f"{name}: the calibration cannot be read: {error.strerror or error}") from None
        except (ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{name} is no calibration: it is not JSON, or has a key twice ({error})") from None
        if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
            found = show_value(fields.get("format")) if isinstance(fields, dict) else type(fields).__name__
            raise InputError(
                f"{name} is no calibration that this version reads: its field 'format' is {found}, and not "
                f"{_FORMAT!r}. `semantic-entropy calibrate` writes one"
            )
        try:
            found_one: Self = from_plain(cls, fields, of="a calibration", missing="calibrate again")
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        if "sha256" not in fields:
            raise InputError(f"{name} has no field 'sha256', the digest of its values: run `calibrate` again")
        if fields["sha256"] != found_one.sha256:
            raise InputError(
                f"{name} was changed after `calibrate` wrote it: its values do not have the digest in its field "
                "'sha256'. Run `calibrate` again, or take the file as it was written"
            )
        return found_one

    def save(self, path: str | PathLike[str]) -> None:
        """Write readable JSON. An existing file is replaced when the new one is complete."""
        with replacement(Path(fspath(path))) as temporary:
            temporary.write_text(self.to_json() + "\n", encoding="utf-8")

    def to_json(self) -> str:
        """Return the text of the file."""
        fields = {**self._fields(), "sha256": self.sha256}
        return json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False)

    def _fields(self) -> dict[str, Any]:
        return to_json_value({"format": _FORMAT, **asdict(self)})  # type: ignore[no-any-return]  # a dict stays a dict

    def _oriented(self, scores: Mapping[str, float | None]) -> list[float]:
        values = []
        for score in self.scores:
            value = scores.get(score.name)
            known = float(value) if value is not None and _is_known(value) else math.nan
            values.append(known if score.higher_is_uncertain else -known)
        return values

    def _probability(self, values: list[float]) -> float:
        if any(map(math.isnan, values)):
            return math.nan
        p = self.parameters
        if self.method == "platt":
            terms = [
                w * (x - mean) / scale for w, x, mean, scale in zip(p.weights, values, p.mean, p.scale, strict=True)
            ]
            return 0.5 * (1 + math.tanh((p.intercept + math.fsum(terms)) / 2))  # exp of a large number would overflow
        (x,) = values
        if self.method == "histogram":
            return p.y[bisect.bisect_right(p.x, x)]
        return _interpolate(x, p.x, p.y)


def _interpolate(value: float, x: tuple[float, ...], y: tuple[float, ...]) -> float:
    """Return y at this value on the line through the points; constant outside of them."""
    right = bisect.bisect_left(x, value)
    if right == 0:
        return y[0]
    if right == len(x):
        return y[-1]
    share = (value - x[right - 1]) / (x[right] - x[right - 1])
    return y[right - 1] + share * (y[right] - y[right - 1])


def _rounded(value: float) -> float:
    return 0.0 if abs(value) < _ZERO else float(f"{value:.9g}")


def _is_known(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check(calibration: Calibration) -> None:
    """Raise InputError for a value that no calibration has. The message names its field."""
    for rules in (_score_rules, _parameter_rules, _condition_rules, _guarantee_rules):
        for is_right, field, value, right in rules(calibration):
            if not is_right:
                raise InputError(f"the field {field} of a calibration is {show_value(value)}; it must be {right}")


Rules = Iterator[tuple[bool, str, object, str]]
"""(whether the value is right, its field, the value, what it must be). A rule can rely on the rules before it."""


def _score_rules(calibration: Calibration) -> Rules:
    names, labels = calibration.names, calibration.labels
    yield 0 < len(names) == len(set(names)), "scores", names, "one or more different scores"
    yield calibration.method in METHODS, "method", calibration.method, f"one of {', '.join(METHODS)}"
    only_platt = len(names) == 1 or calibration.method == "platt"
    yield only_platt, "method", calibration.method, "platt, because several scores are combined"
    yield labels.rule in LABEL_RULES, "labels.rule", labels.rule, f"one of {', '.join(LABEL_RULES)}"
    for part in ("fit", "certify"):
        wrong, count = getattr(labels, f"wrong_{part}"), getattr(labels, f"n_{part}")
        yield count <= _MOST_GROUPS, f"labels.n_{part}", count, f"at most {_MOST_GROUPS:,}"
        yield 0 <= wrong <= count, f"labels.wrong_{part}", wrong, f"from 0 to labels.n_{part}, {count}"
    yield len(labels.questions) <= _MOST_POINTS, "labels.questions (length)", len(labels.questions), "a short list"
    few, groups = f"at most {_MOST_POINTS:,}", labels.n_fit + labels.n_certify
    sampled: dict[str, Calibration | CalibratedScore] = {"": calibration}
    sampled |= {f"scores[{i}].": score for i, score in enumerate(calibration.scores)}
    for where, each in sampled.items():
        found, name = each.quantiles, f"{where}quantiles"
        yield len(found) <= _MOST_POINTS, f"{name} (length)", len(found), few
        yield all(map(math.isfinite, found)), name, found, "finite numbers"
        yield list(found) == sorted(found), name, found, "numbers that do not decrease"
        yield 0 <= each.unknown <= groups, f"{where}unknown", each.unknown, f"from 0 to the {groups} labelled groups"


def _parameter_rules(calibration: Calibration) -> Rules:
    method, p = calibration.method, calibration.parameters
    yield math.isfinite(p.intercept), "parameters.intercept", p.intercept, "a finite number"
    size = len(calibration.scores) if method == "platt" else 0
    for name in ("weights", "mean", "scale"):
        numbers = getattr(p, name)
        is_right = len(numbers) == size and all(map(math.isfinite, numbers))
        yield is_right, f"parameters.{name}", numbers, f"a list of {size} finite numbers"
    yield all(scale > 0 for scale in p.scale), "parameters.scale", p.scale, "numbers above 0"
    yield len(p.x) <= _MOST_POINTS, "parameters.x (length)", len(p.x), f"at most {_MOST_POINTS:,}"
    fewest = {"platt": 0, "isotonic": 1, "histogram": 0}[method]
    is_right = len(p.x) >= fewest and all(map(math.isfinite, p.x)) and all(low < high for low, high in pairwise(p.x))
    yield is_right, "parameters.x", p.x, "finite numbers that increase"
    sizes = {"platt": 0, "isotonic": len(p.x), "histogram": len(p.x) + 1}
    is_right = len(p.y) == sizes[method] and all(0 <= y <= 1 for y in p.y)
    yield is_right, "parameters.y", p.y, f"a list of {sizes[method]} probabilities in [0, 1]"


def _condition_rules(calibration: Calibration) -> Rules:
    if conditions := calibration.conditions:
        yield bool(conditions.judges), "conditions.judges", [], "a list with one judge or more"
        fewest, most = conditions.fewest, conditions.most
        yield 1 <= fewest <= most, "conditions.fewest", fewest, f"from 1 to conditions.most, {most}"
        known = conditions.estimators
        yield set(calibration.names) <= known.keys(), "conditions.estimators", dict(known), "a dict of all scores"


def _guarantee_rules(calibration: Calibration) -> Rules:
    guarantee = calibration.guarantee
    for name in ("alpha", "delta"):
        level = getattr(guarantee, name)
        yield 0 < level < 1, f"guarantee.{name}", level, "between 0 and 1"
    groups, answered, threshold = guarantee.groups, guarantee.answered, guarantee.threshold
    yield groups == calibration.labels.n_certify, "guarantee.groups", groups, "labels.n_certify"
    yield 0 <= answered <= groups, "guarantee.answered", answered, f"from 0 to guarantee.groups, {groups}"
    yield 0 <= guarantee.wrong <= answered, "guarantee.wrong", guarantee.wrong, f"from 0 to {answered}"
    is_right = threshold is None or (math.isfinite(threshold) and answered > 0)
    yield is_right, "guarantee.threshold", threshold, "a finite number with answered groups, or null"
    bound = guarantee.upper_bound
    if threshold is None:
        yield answered == 0, "guarantee.answered", answered, "0, because there is no threshold"
        yield bound is None, "guarantee.upper_bound", bound, "null, because there is no threshold"
    else:
        enough = guarantee.wrong <= most_wrong(answered, guarantee.alpha, guarantee.delta)
        found = f"{guarantee.wrong} wrong of {answered} answered groups"
        yield enough, "guarantee.threshold", found, "few enough wrong answers for alpha and delta, or no threshold"
        exact = upper_bound(guarantee.wrong, answered, guarantee.delta)
        is_right = bound is not None and math.isclose(bound, exact, rel_tol=1e-9)
        yield is_right, "guarantee.upper_bound", bound, f"the exact bound of {found}, {exact:.6g}"

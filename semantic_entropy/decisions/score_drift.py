"""Drift: whether scores without labels look like those that a calibration was learned from.

Two samples of the risk score are compared: that of the labelled groups ("then"), and that of other groups ("now"). A
group without a score ranks as the most uncertain one, so that a model that refuses more often is seen.

    D   = max over x of |share of scores <= x now - then|          the distance of Kolmogorov and Smirnov
    AUC = P(now > then) + P(now = then) / 2                        0.5 without drift, 1 if all groups are more uncertain

The test is that of Kolmogorov and Smirnov (scipy's distribution of D, asymptotic), which sees any change of a
distribution. With equal scores, such as the few entropies that ten responses can have, it gives fewer alarms than its
level. Mann-Whitney, which has a correction for equal scores, saw less on real data (docs/how-to/gate.md).

If several scores are combined, each of them is compared too, because a combination can hide that one score moved. The
p-values of all these tests are then adjusted together (Holm 1979), so that `level` is the share of false alarms of all.

A calibration holds quantiles in steps of 1%, and not all of its scores. D is the smallest distance to a sample with
these quantiles, so that the steps never make an alarm.

Groups of the calibration itself are compared with themselves. They are found by digests of the questions, and by scores
that are equal one by one.

No test of scores sees that answers became wrong at the same scores. So no drift found does not certify anything.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from semantic_entropy.decisions.calibration import CalibratedScore, Calibration
from semantic_entropy.decisions.conditions import Origin
from semantic_entropy.errors import InputError, MissingDependencyError, install_command
from semantic_entropy.plain_text import one_writing, plural, to_json_value

LEVEL = 0.05
QUESTIONS_KEPT = 100  # digests in a calibration: the share of its questions in a file is known to about 5%


@dataclass(frozen=True, slots=True)
class ScoreDrift:
    """The comparison of one score.

    Attributes:
        score: the name of the score, for messages.
        unknown_then: the number of labelled groups without the score.
        unknown_now: the number of other groups without the score.
        auc: P(a group now is more uncertain than a labelled one), ties counted half.
        distance: the largest difference of the two cumulative distributions.
        p_value: of the hypothesis that both are samples of one distribution.
        adjusted: the p-value for all compared scores together (Holm); equal to `p_value` if there is one.
    """

    score: str
    unknown_then: int
    unknown_now: int
    auc: float
    distance: float
    p_value: float
    adjusted: float


@dataclass(frozen=True, slots=True)
class Drift:
    """The comparison of scores then and now. `str()` is a report for the user.

    Attributes:
        risk: the comparison of the score that the threshold is on.
        singles: those of the scores that are combined; empty: there is one score.
        then: the number of labelled groups of the calibration.
        now: the number of other groups.
        level: the adjusted p-value below which a drift is reported.
        alarm_at: about the smallest distance of one score that is a drift, with so many groups.
        threshold: the certified threshold; None: there is none.
        above_then: the share of the labelled groups above the threshold, which are not answered; nan: no threshold.
        above_now: that of the other groups.
        same_questions: the share of the calibration's questions that the groups have, too; nan: not known.
        is_void: whether the groups are those of the calibration, so that nothing was compared.
        differences: choices in which the groups were measured differently than those of the calibration.
        warnings: what could not be checked.
    """

    risk: ScoreDrift
    singles: tuple[ScoreDrift, ...]
    then: int
    now: int
    level: float
    alarm_at: float
    threshold: float | None
    above_then: float
    above_now: float
    same_questions: float = math.nan
    is_void: bool = False
    differences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def scores(self) -> tuple[ScoreDrift, ...]:
        """All comparisons: that of the risk score first."""
        return (self.risk, *self.singles)

    @property
    def p_value(self) -> float:
        """The smallest adjusted p-value."""
        return min(each.adjusted for each in self.scores)

    @property
    def is_seen(self) -> bool:
        """Whether there is drift: a score differs, or the groups were measured with other choices."""
        return bool(self.differences) or self.p_value < self.level

    def to_dict(self) -> dict[str, Any]:
        """Return lists, dicts, texts and numbers, with None for nan."""
        return {"is_seen": self.is_seen, "p_value": self.p_value, **to_json_value(asdict(self))}

    def __str__(self) -> str:
        lines = [f"other conditions: {each}" for each in self.differences]
        lines += [f"warning: {each}" for each in self.warnings]
        adjusted = f"p = {self.p_value:.2g}" + f", adjusted for {len(self.scores)} scores" * bool(self.singles)
        if self.p_value < self.level:
            moved = ", ".join(each.score for each in self.scores if each.adjusted < self.level)
            named = f" ({moved})" if self.singles else ""
            lines.append(f"DRIFT: the scores differ from those of the calibration{named} ({adjusted})")
        elif self.is_void:
            lines.append("nothing was compared: these are the groups that the calibration was learned from")
        else:
            lines.append(f"no drift found ({adjusted}): this does not certify anything")
            lines.append("answers can become wrong at the same scores: only labels show it")
        known = f"{self.risk.score}: {self.then:,} labelled groups then, {self.now:,} groups now"
        lines.append(f"{known}; without a score: {self.risk.unknown_then:,} then, {self.risk.unknown_now:,} now")
        distance = f"largest difference of the cumulative shares {self.risk.distance:.3f}"
        lines.append(f"{distance}; with so many groups, about {self.alarm_at:.3f} is a drift")
        lines.append(f"a group now is more uncertain than a labelled one with probability {self.risk.auc:.3f} (AUC)")
        for each in self.singles:
            found = f"{each.score}: largest difference {each.distance:.3f}, AUC {each.auc:.3f}, adjusted p"
            unknown = f"; without it: {each.unknown_then:,} then, {each.unknown_now:,} now"
            lines.append(f"{found} = {each.adjusted:.2g}" + unknown * bool(each.unknown_then or each.unknown_now))
        if self.threshold is not None:
            above = f"above the threshold {self.threshold:.6g}, not answered"
            lines.append(f"{above}: {self.above_then:.1%} then, {self.above_now:.1%} now")
        if self.is_seen:
            lines.append("the guarantee of the calibration is void for these groups: label some of them, and calibrate")
        return "\n".join(lines)


def compare_scores(
    calibration: Calibration,
    scores: Sequence[Mapping[str, float | None]],
    *,
    origins: Sequence[Origin] = (),
    questions: Iterable[str | None] = (),
    level: float = LEVEL,
) -> Drift:
    """Compare the scores of groups without labels with those of a calibration.

    Args:
        calibration: the calibration.
        scores: the scores of each group, by name, such as `Result.scores`.
        origins: how the groups were measured (`Origin.of`); empty: not known.
        questions: the questions of the groups, to see whether they are those of the calibration; empty: not known.
        level: the p-value below which a drift is reported, in (0, 1).

    Raises:
        InputError: there are no groups, no group has the scores, the calibration holds no scores, or `level` is wrong.
        MissingDependencyError: scipy is not installed.
    """
    if not 0 < level < 1:
        raise InputError(f"level={level!r} must be between 0 and 1, such as 0.05")
    if not calibration.quantiles:
        raise InputError("the calibration holds no scores to compare with: calibrate again")
    now = [calibration.risk_score(each) for each in scores]
    if all(map(math.isnan, now)):
        raise InputError(_nothing_known(calibration, scores))
    low, high = reference_samples(calibration)
    names = calibration.names
    risk = _compared(names[0] if len(names) == 1 else "p(wrong)", calibration, low, high, now)
    singles = []
    if len(names) > 1 and all(each.quantiles for each in calibration.scores):
        table = list(map(calibration.single_values, scores))
        for i, each in enumerate(calibration.scores):
            samples = reference_samples(calibration, each)
            singles.append(_compared(each.name, each, *samples, [values[i] for values in table]))
    found = _adjusted([risk, *singles])
    differences, warnings = _conditions(calibration, origins)
    shared = _same_questions(calibration, questions)
    is_same = len(now) == len(low) and all(
        each.distance == 0 and each.unknown_now == each.unknown_then for each in found
    )
    if shared > 0:
        warnings.append(
            f"about {shared:.0%} of the questions of the calibration are in these groups, too. Answers that it was "
            "learned from are compared with themselves: use answers that it has not seen"
        )
    elif is_same and math.isnan(shared):
        warnings.append(
            "the scores are equal to those of the calibration: if these are its own groups, nothing is compared"
        )
    threshold, tests = calibration.threshold, len(found)
    ranked = [math.inf if math.isnan(value) else value for value in now]
    return Drift(
        risk=found[0],
        singles=tuple(found[1:]),
        then=len(low),
        now=len(ranked),
        level=level,
        alarm_at=math.sqrt(-math.log(level / tests / 2) / 2 * (1 / len(low) + 1 / len(ranked))),
        threshold=threshold,
        above_then=math.nan if threshold is None else _above(low, threshold),
        above_now=math.nan if threshold is None else _above(ranked, threshold),
        same_questions=shared,
        is_void=is_same and shared > 0,
        differences=tuple(differences),
        warnings=tuple(warnings),
    )


def question_digests(questions: Iterable[str | None]) -> tuple[str, ...]:
    """Return 16 hexadecimal digits of the SHA-256 of each different question, sorted. Case and spaces do not matter.

    The first of them are a random sample of the questions, and the same ones for the same questions.
    """
    written = {one_writing(question) for question in questions if question is not None}
    return tuple(sorted(hashlib.sha256(each.encode("utf-8", "surrogatepass")).hexdigest()[:16] for each in written))


def reference_samples(
    calibration: Calibration, of: Calibration | CalibratedScore | None = None
) -> tuple[list[float], list[float]]:
    """Return two samples (N,) between which the scores of the labelled groups are. A group without a score is inf.

    The score with rank i of n is the quantile i/n. The calibration holds the quantiles k/steps, so the score is at
    least that of the step below, and at most that of the step above.

    Args:
        calibration: the calibration.
        of: one of its scores; None: the risk score.
    """
    of = of or calibration
    quantiles, unknown = of.quantiles, of.unknown
    n, steps = calibration.labels.n_fit + calibration.labels.n_certify - unknown, len(quantiles) - 1
    if n < 1 or steps < 1:
        raise InputError("the calibration holds too few scores to compare with: calibrate again with more labels")
    low = [quantiles[i * steps // n] for i in range(1, n + 1)]
    high = [quantiles[-(-i * steps // n)] for i in range(1, n + 1)]
    return low + [math.inf] * unknown, high + [math.inf] * unknown


def _compared(
    name: str, then: Calibration | CalibratedScore, low: list[float], high: list[float], values: Sequence[float]
) -> ScoreDrift:
    ranked = [math.inf if math.isnan(value) else value for value in values]
    distance = _distance(low, high, ranked)
    p_value = _p_value(distance, len(low), len(ranked))
    unknown = sum(map(math.isnan, values))
    auc = (_auc(low, ranked) + _auc(high, ranked)) / 2
    return ScoreDrift(name, then.unknown, unknown, auc, distance, p_value, adjusted=p_value)


def _adjusted(found: Sequence[ScoreDrift]) -> list[ScoreDrift]:
    """Return the comparisons with p-values for all of them together: Holm (1979), step down."""
    adjusted, largest = {}, 0.0
    for rank, i in enumerate(sorted(range(len(found)), key=lambda i: found[i].p_value)):
        largest = max(largest, min(1.0, (len(found) - rank) * found[i].p_value))
        adjusted[i] = largest
    return [replace(each, adjusted=adjusted[i]) for i, each in enumerate(found)]


def _same_questions(calibration: Calibration, questions: Iterable[str | None]) -> float:
    """Return the share of the calibration's questions that are among these; nan: not known."""
    kept, found = calibration.labels.questions, set(question_digests(questions))
    return sum(each in found for each in kept) / len(kept) if kept and found else math.nan


def _nothing_known(calibration: Calibration, scores: Sequence[Mapping[str, float | None]]) -> str:
    asked = " and ".join(calibration.names)
    groups = plural(len(scores), "group")
    if scores and all(any(name in each for each in scores) for name in calibration.names):
        return f"none of the {groups} has a value of {asked}: all are null, nan or infinite. Measure the groups again"
    return f"none of the {groups} has the score {asked}, which the calibration uses"


def _auc(then: Sequence[float], now: Sequence[float]) -> float:
    """Return P(now > then) + P(now = then) / 2."""
    ordered = sorted(then)
    below = sum(bisect.bisect_left(ordered, value) + bisect.bisect_right(ordered, value) for value in now)
    return below / 2 / len(then) / len(now)


def _distance(low: Sequence[float], high: Sequence[float], now: Sequence[float]) -> float:
    """Return the smallest distance to a sample between `low` and `high`."""
    low, high, ordered = sorted(low), sorted(high), sorted(now)
    found = 0.0
    for x in {*low, *high, *now}:
        share = bisect.bisect_right(ordered, x) / len(ordered)
        most, least = bisect.bisect_right(low, x) / len(low), bisect.bisect_right(high, x) / len(high)
        found = max(found, share - most, least - share)
    return found


def _p_value(distance: float, then: int, now: int) -> float:
    """Return the asymptotic p-value of a distance between samples of these sizes, as `scipy.stats.ks_2samp` does."""
    try:
        from scipy.stats import kstwo
    except ImportError as error:
        command = install_command("semantic-entropy[stats]")
        raise MissingDependencyError(f"the test of a drift needs scipy: {command}") from error
    return float(kstwo.sf(distance, max(1, round(then * now / (then + now)))))


def _above(values: Sequence[float], threshold: float) -> float:
    return sum(value > threshold for value in values) / len(values)


def _conditions(calibration: Calibration, origins: Sequence[Origin]) -> tuple[list[str], list[str]]:
    """Return (differences, warnings) of how the groups were measured, each once."""
    if calibration.conditions is None:
        return [], ["the calibration does not say how its scores were measured, so that this is not compared"]
    if not origins:
        return [], ["the groups do not say how they were measured, so that this is not compared"]
    found = dict.fromkeys(origins)
    differences = dict.fromkeys(text for each in found for text in calibration.conditions.differences(each))
    undeclared = dict.fromkeys(text for each in found if (text := calibration.conditions.undeclared(each)))
    return list(differences), list(undeclared)

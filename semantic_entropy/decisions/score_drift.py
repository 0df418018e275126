"""Drift: whether scores without labels look like those that a calibration was learned from.

Two samples of the risk score are compared: that of the labelled groups ("then"), and that of other groups ("now"). A
group without a score ranks as the most uncertain one, so that a model that refuses more often is seen.

    D   = max over x of |share of scores <= x now - then|          the distance of Kolmogorov and Smirnov
    AUC = P(now > then) + P(now = then) / 2                        0.5 without drift, 1 if all groups are more uncertain

The test is that of Kolmogorov and Smirnov (scipy's distribution of D, asymptotic), which sees any change of a
distribution. With equal scores, such as the few entropies that ten responses can have, it gives fewer alarms than its
level. Mann-Whitney, which has a correction for equal scores, saw less on real data (docs/how-to/gate.md).

A calibration holds quantiles in steps of 1%, and not all of its scores. D is the smallest distance to a sample with
these quantiles, so that the steps never make an alarm.

No test of scores sees that answers became wrong at the same scores. So no drift found does not certify anything.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semantic_entropy.decisions.calibration import Calibration
from semantic_entropy.decisions.conditions import Origin
from semantic_entropy.errors import InputError, MissingDependencyError, install_command
from semantic_entropy.plain_text import plural, to_json_value

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Drift:
    """The comparison of two samples of scores. `str()` is a report for the user.

    Attributes:
        score: the name of the score that is compared, for messages.
        then: the number of labelled groups of the calibration.
        now: the number of other groups.
        unknown_then: the number of labelled groups without a score.
        unknown_now: the number of other groups without a score.
        auc: P(a group now is more uncertain than a labelled one), ties counted half.
        distance: the largest difference of the two cumulative distributions.
        p_value: of the hypothesis that both are samples of one distribution.
        level: the p-value below which a drift is reported.
        alarm_at: about the smallest distance that is a drift, with so many groups.
        threshold: the certified threshold; None: there is none.
        above_then: the share of the labelled groups above the threshold, which are not answered; nan: no threshold.
        above_now: that of the other groups.
        differences: choices in which the groups were measured differently than those of the calibration.
        warnings: what could not be checked.
    """

    score: str
    then: int
    now: int
    unknown_then: int
    unknown_now: int
    auc: float
    distance: float
    p_value: float
    level: float
    alarm_at: float
    threshold: float | None
    above_then: float
    above_now: float
    differences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def is_seen(self) -> bool:
        """Whether there is drift: the scores differ, or the groups were measured with other choices."""
        return bool(self.differences) or not self.p_value >= self.level  # also if the p-value is nan

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, and `is_seen`, with None for nan."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {"is_seen": self.is_seen, **to_json_value(fields)}

    def __str__(self) -> str:
        lines = [f"other conditions: {each}" for each in self.differences]
        lines += [f"warning: {each}" for each in self.warnings]
        if self.p_value < self.level:
            lines.append(f"DRIFT: the scores differ from those of the calibration (p = {self.p_value:.2g})")
        else:
            lines.append(f"no drift found (p = {self.p_value:.2g}): this does not certify anything")
            lines.append("answers can become wrong at the same scores: only labels show it")
        known = f"{self.score}: {self.then:,} labelled groups then, {self.now:,} groups now"
        lines.append(f"{known}; without a score: {self.unknown_then:,} then, {self.unknown_now:,} now")
        distance = f"largest difference of the cumulative shares {self.distance:.3f}"
        lines.append(f"{distance}; with so many groups, about {self.alarm_at:.3f} is a drift")
        lines.append(f"a group now is more uncertain than a labelled one with probability {self.auc:.3f} (AUC)")
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
    level: float = LEVEL,
) -> Drift:
    """Compare the scores of groups without labels with those of a calibration.

    Args:
        calibration: the calibration.
        scores: the scores of each group, by name, such as `Result.scores`.
        origins: how the groups were measured (`Origin.of`); empty: not known.
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
    unknown = sum(map(math.isnan, now))
    if unknown == len(now):
        asked = " and ".join(calibration.names)
        raise InputError(f"none of the {plural(len(now), 'group')} has the score {asked}, which the calibration uses")
    ranked = [math.inf if math.isnan(value) else value for value in now]
    low, high = reference_samples(calibration)
    distance = _distance(low, high, ranked)
    threshold = calibration.threshold
    differences, warnings = _conditions(calibration, origins)
    return Drift(
        score=calibration.names[0] if len(calibration.names) == 1 else "p(wrong)",
        then=len(low),
        now=len(ranked),
        unknown_then=calibration.unknown,
        unknown_now=unknown,
        auc=(_auc(low, ranked) + _auc(high, ranked)) / 2,
        distance=distance,
        p_value=_p_value(distance, len(low), len(ranked)),
        level=level,
        alarm_at=math.sqrt(-math.log(level / 2) / 2 * (1 / len(low) + 1 / len(ranked))),
        threshold=threshold,
        above_then=math.nan if threshold is None else _above(low, threshold),
        above_now=math.nan if threshold is None else _above(ranked, threshold),
        differences=tuple(differences),
        warnings=tuple(warnings),
    )


def reference_samples(calibration: Calibration) -> tuple[list[float], list[float]]:
    """Return two samples (N,) between which the scores of the labelled groups are. A group without a score is inf.

    The score with rank i of n is the quantile i/n. The calibration holds the quantiles k/steps, so the score is at
    least that of the step below, and at most that of the step above.
    """
    quantiles, unknown = calibration.quantiles, calibration.unknown
    n, steps = calibration.labels.n_fit + calibration.labels.n_certify - unknown, len(calibration.quantiles) - 1
    if n < 1 or steps < 1:
        raise InputError("the calibration holds too few scores to compare with: calibrate again with more labels")
    low = [quantiles[i * steps // n] for i in range(1, n + 1)]
    high = [quantiles[-(-i * steps // n)] for i in range(1, n + 1)]
    return low + [math.inf] * unknown, high + [math.inf] * unknown


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

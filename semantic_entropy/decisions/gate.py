"""The decision about one answer, from its result and a calibration: allow, warn, defer or block, with reasons.

    block    p(wrong) is above `block_above`
    defer    do not answer with this: the score is above the certified threshold, nothing is certified, the calibration
             is missing or for other conditions, or the result says too little (`why_unusable`)
    warn     as allow, and the result has warnings, such as an undeclared model or responses that were cut off
    allow    the score is at most the certified threshold

A decision fails closed: an answer is allowed only if every number is known and every check passes. A value that nobody
expected, and an exception of a check, defer. The guarantee of a calibration is about the answers that are allowed or
have a warning, on questions like the labelled ones.

Left out: protection against a person who can write the files. A result or a calibration that was edited with care is
believed, as any configuration is.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from semantic_entropy.clusters import is_doubted
from semantic_entropy.decisions.calibration import Calibration
from semantic_entropy.decisions.conditions import mostly_cut_off
from semantic_entropy.decisions.stored_results import contradictions
from semantic_entropy.errors import InputError
from semantic_entropy.plain_text import one_line, plural, to_json_line
from semantic_entropy.results import MAX_UNDECIDED, Result

Action = Literal["allow", "warn", "defer", "block"]
ACTIONS: tuple[Action, ...] = get_args(Action)
"""The actions, from the mildest to the strictest."""
MIN_SAMPLES = 3
"""The fewest valid answers of a decision by the entropy: two answers are often equal by chance, and have the entropy 0.
A calibration has its own number of answers."""
MIN_COMPARED = 2
"""The fewest valid answers that say anything: one answer has nothing to be compared with."""
_ROUNDING = 1e-9  # an entropy that is 0 but for rounding may be negative by less


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with an answer, and why. It has no truth value: compare `action`, or ask `answers`.

    Attributes:
        action: "allow", "warn", "defer" or "block".
        reasons: sentences, those of the action first.
        p_wrong: the probability that the answer is wrong; None: not known.
        risk_score: the number that is compared with the threshold, higher for more uncertain answers; None: not known.
        threshold: the certified threshold; None: there is none.
    """

    action: Action
    reasons: tuple[str, ...]
    p_wrong: float | None = None
    risk_score: float | None = None
    threshold: float | None = None

    @property
    def answers(self) -> bool:
        """Whether the answer may be used: the action is "allow" or "warn"."""
        return self.action in ACTIONS[:2]

    def is_at_least(self, action: Action) -> bool:
        """Whether the action is as strict as this one, or stricter."""
        if action not in ACTIONS:
            raise InputError(f"{action!r} is no action: use one of {', '.join(ACTIONS)}")
        return ACTIONS.index(self.action) >= ACTIONS.index(action)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, with a list of reasons."""
        return {**asdict(self), "reasons": list(self.reasons)}

    def to_json(self) -> str:
        """Return the decision as one line of JSON."""
        return to_json_line(self.to_dict())

    def __bool__(self) -> bool:
        raise TypeError("a Decision is neither true nor false: use decision.answers, or compare decision.action")

    def __str__(self) -> str:
        return f"{self.action}: {'; '.join(self.reasons)}"


def decide(
    result: Result,
    calibration: Calibration | None = None,
    *,
    block_above: float = 0.5,
    max_undecided: float = MAX_UNDECIDED,
) -> Decision:
    """Decide what to do with an answer. See the module for the four actions.

    The fields `p_wrong`, `flag` and `threshold` of the result are not believed: they are computed again. If this
    calibration gave the result another `p_wrong` than it gives now, the scores were changed, and the decision defers.

    Args:
        result: the measured result.
        calibration: the calibration; None: the decision is "defer".
        block_above: the highest p(wrong) that is not blocked, in [0, 1].
        max_undecided: the largest share of the compared pairs that may have no verdict, in [0, 1].

    Raises:
        InputError: an argument has a wrong type, or is no share.
    """
    given: tuple[object, object] = (result, calibration)  # a caller may have no type checker
    if not isinstance(given[0], Result) or not isinstance(given[1], Calibration | None):
        kinds = f"{type(result).__name__} and a {type(calibration).__name__}"
        raise InputError(f"decide() gets a {kinds}: pass a Result, and a Calibration or None (Calibration.load(path))")
    for name, share in (("block_above", block_above), ("max_undecided", max_undecided)):
        if not 0 <= share <= 1:  # also nan
            raise InputError(f"{name}={share!r} is no share: pass a number in [0, 1]")
    try:
        return _decide(result, calibration, block_above, max_undecided)
    except Exception as error:  # noqa: BLE001  # a value that nobody expected must not pass
        return Decision("defer", (one_line(f"the result cannot be judged: {str(error) or type(error).__name__}"),))


def _decide(result: Result, calibration: Calibration | None, block_above: float, max_undecided: float) -> Decision:
    found: list[tuple[Action, str]] = [
        ("defer", reason) for reason in why_unusable(result, max_undecided, MIN_COMPARED)
    ]
    if calibration is None:
        return _strictest([*found, ("defer", "there is no calibration")])
    try:
        applied = calibration.apply(result)
    except InputError as error:
        return _strictest([*found, ("defer", str(error))])
    p_wrong, score = applied.p_wrong, calibration.risk_score(result.scores)
    if result.provenance.calibration == calibration.digest and _differs(result.p_wrong, p_wrong):
        found.append(("defer", f"p_wrong is {result.p_wrong}, and the scores give {p_wrong}"))
    threshold = calibration.threshold
    if p_wrong is None or not 0 <= p_wrong <= 1:  # also nan
        found.append(("defer", "p(wrong) is not known"))
    elif p_wrong > block_above:
        found.append(("block", f"p(wrong) is {p_wrong:.3f}, above {block_above:g}"))
    if threshold is None:
        found.append(("defer", str(calibration.guarantee)))
    elif not score <= threshold:  # also nan
        known = f"{score:.6g}, above" if math.isfinite(score) else "not known, and not below"
        found.append(("defer", f"the score is {known} the certified threshold {threshold:.6g}"))
    elif applied.flag is not False:
        found.append(("defer", "the calibration flags the result"))
    else:
        found.append(("allow", _guaranteed(calibration, score, threshold)))
    if calibration.quantiles and score < calibration.quantiles[0] - _ROUNDING:
        lowest = f"{calibration.quantiles[0]:.6g}, the lowest one of the labelled groups"
        found.append(("warn", f"the score is {score:.6g}, below {lowest}"))
    found += [("warn", warning) for warning in dict.fromkeys(applied.warnings)]
    known_p = p_wrong if p_wrong is not None and math.isfinite(p_wrong) else None
    return _strictest(found, known_p, score if math.isfinite(score) else None, threshold)


def _differs(stored: float | None, computed: float | None) -> bool:
    if stored is None or computed is None:
        return stored is not computed
    return not abs(stored - computed) <= _ROUNDING


def _guaranteed(calibration: Calibration, score: float, threshold: float) -> str:
    guarantee = calibration.guarantee
    return (
        f"the score is {score:.6g}, at most the certified threshold {threshold:.6g}: at most {guarantee.alpha:.3g} of "
        f"such answers are wrong, with confidence {1 - guarantee.delta:.3g}"
    )


def _strictest(found: list[tuple[Action, str]], *numbers: float | None) -> Decision:
    """Return the decision with the strictest action that was found, and all reasons, the strictest first."""
    ranked = sorted(found, key=lambda each: -ACTIONS.index(each[0]))
    return Decision(ranked[0][0], tuple(one_line(reason) for _, reason in ranked), *numbers)


def why_unusable(result: Result, max_undecided: float = MAX_UNDECIDED, min_samples: int = MIN_SAMPLES) -> list[str]:
    """Return the reasons why no decision can rest on a result, as phrases; empty: there is none.

    There are six: fewer valid answers than `min_samples`; fewer valid answers than invalid ones (a model that refuses
    most of the time gives no answer, however equal the others are); a larger share of undecided pairs than
    `max_undecided`; an entropy that is unknown, infinite or negative; a main answer that may stand for a missing one,
    such as "None"; more than half of the responses cut off at the token limit. The numbers of the result are compared
    with its labels, answers and pairs, so that a damaged row of a file is not believed.

    Args:
        result: the result of one group.
        max_undecided: the largest share of the compared pairs that may have no verdict, in [0, 1].
        min_samples: the fewest valid answers, at least `MIN_COMPARED`.
    """
    reasons = contradictions(result)
    n, found = len(result.answers), sum(bool(answer and answer.strip()) for answer in result.answers)
    if found < MIN_COMPARED:
        reasons.append(f"{found} of {plural(n, 'answer')} {'is' if found == 1 else 'are'} valid: nothing to compare")
    elif found * 2 < n:
        reasons.append(f"only {found} of {n} answers are valid")
    elif found < min_samples:
        reasons.append(f"{found} of {plural(n, 'answer')} are valid, and a decision needs {min_samples} (min_samples)")
    counts = (result.provenance.asked, result.provenance.cached, result.provenance.undecided)
    undecided, pairs = max(counts[2], len(result.undecided)), counts[0] + counts[1]
    if min(counts) < 0 or not undecided <= pairs:
        reasons.append(f"the numbers of pairs are impossible: asked, cached, undecided: {counts}")
    elif not undecided <= max_undecided * pairs:  # also if the limit is nan
        reasons.append(f"{undecided} of {plural(pairs, 'pair')} undecided ({undecided / pairs:.0%})")
    if isinstance(result.entropy, bool) or not math.isfinite(result.entropy) or result.entropy < -_ROUNDING:
        reasons.append(f"the entropy is {'unknown' if math.isnan(result.entropy) else result.entropy}")
    if is_doubted(result.answer, result.provenance.extract):
        reasons.append(f"the answer {result.answer!r} may stand for a missing one")
    if mostly_cut_off(cut := result.provenance.cut_off, n):
        reasons.append(f"{cut} of {n} responses were cut off at the token limit: raise max_tokens")
    return reasons

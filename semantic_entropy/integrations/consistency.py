"""An assertion for tests: several answers to one question must mean the same.

    from semantic_entropy.integrations import assert_consistent

    def test_the_bot_knows_its_opening_hours():
        assert_consistent([ask("When do you open?") for _ in range(10)], question="When do you open?")

The answers are consistent if their entropy is at most a threshold, in nats; with a calibration, if
`semantic_entropy.decisions.decide` returns allow or warn. A result that says too little (refusals,
fewer than three valid answers, undecided pairs: `semantic_entropy.decisions.why_unusable`) is not consistent.

The fixture `assert_consistent` of the pytest plugin is this function, with defaults from the configuration and from the
marker `semantic_entropy`, and with a table at the end of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from semantic_entropy.decisions import MIN_SAMPLES, Calibration, decide, entropy_rule
from semantic_entropy.errors import InputError
from semantic_entropy.one_call import estimate
from semantic_entropy.plain_text import one_line, printable, shorten
from semantic_entropy.results import MAX_UNDECIDED, Result

THRESHOLD = 0.5
"""The default threshold in nats: of 10 answers, 8 with one meaning and 2 with another have 0.500."""
_MEANINGS = 5  # meanings of a failed check in the table of a run


@dataclass(frozen=True, slots=True)
class ConsistencyCheck:
    """A result, and what was decided about it.

    Attributes:
        name: the name of the check; empty: it has none.
        question: the question; None: it is not known.
        result: the measured result.
        decision: "pass" or "fail"; with a calibration, "allow", "warn", "defer" or "block".
        reasons: why the check failed; empty: it passed.
        p_wrong: the probability that the answer is wrong; None: not known, or there is no calibration.
    """

    name: str
    question: str | None
    result: Result
    decision: str
    reasons: tuple[str, ...]
    p_wrong: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the answers are consistent."""
        return not self.reasons

    @property
    def message(self) -> str:
        """The message of a failed assertion: the reasons, the question, and the meanings with their shares."""
        asked = f"question: {shorten(self.question)}\n" if self.question else ""
        return printable(f"not consistent: {'; '.join(self.reasons)}\n{asked}{self.result!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the line of the check in the table of a run: texts on one line, and numbers."""
        ranked = sorted(self.result.clusters, key=lambda cluster: -cluster.share)
        meanings = [f"{c.size} x {shorten(c.representative or '(no valid answer)')}" for c in ranked[:_MEANINGS]]
        if more := len(ranked) - len(meanings):
            meanings.append(f"... and {more} more")
        return {
            "name": shorten(self.name or self.question or "", 40),
            "n": len(self.result.answers),
            "entropy": self.result.entropy,
            "p_wrong": self.p_wrong,
            "decision": self.decision,
            "reasons": [one_line(reason) for reason in self.reasons],
            "meanings": [] if self.passed else meanings,
        }


def check_consistency(
    responses: Sequence[str] | Result | None = None,
    question: str | None = None,
    *,
    name: str = "",
    threshold: float | None = None,
    calibration: Calibration | str | PathLike[str] | None = None,
    max_undecided: float = MAX_UNDECIDED,
    min_samples: int = MIN_SAMPLES,
    **choices: Any,
) -> ConsistencyCheck:
    """Measure the answers to one question, and decide whether they are consistent. See `assert_consistent`."""
    limit = THRESHOLD if threshold is None else threshold
    rule = entropy_rule(limit, max_undecided, min_samples)
    is_auto = choices.get("n") == "auto"
    if is_auto:
        choices["threshold"] = limit
    if calibration is not None:
        if threshold is not None and not is_auto:
            raise InputError(f"threshold={threshold} and calibration= are two rules: pass one of them")
        learned = calibration if isinstance(calibration, Calibration) else Calibration.load(calibration)
        result = _measured(responses, question, choices)
        decision = decide(result, learned, max_undecided=max_undecided)
        reasons = () if decision.answers else decision.reasons
        return ConsistencyCheck(name, question, result, decision.action, reasons, decision.p_wrong)
    result = _measured(responses, question, choices)
    reason = rule(result)
    return ConsistencyCheck(name, question, result, "fail" if reason else "pass", (reason,) if reason else ())


def assert_consistent(
    responses: Sequence[str] | Result | None = None,
    question: str | None = None,
    *,
    name: str = "",
    threshold: float | None = None,
    calibration: Calibration | str | PathLike[str] | None = None,
    max_undecided: float = MAX_UNDECIDED,
    min_samples: int = MIN_SAMPLES,
    **choices: Any,
) -> Result:
    """Raise AssertionError unless the answers to one question mean the same. Return the result.

    Args:
        responses: several answers to the question, or a `Result` that was measured before; None: the sampler asks.
        question: the question. The judge may read it, and a sampler asks it.
        name: the name of the check in messages and tables; empty: the question.
        threshold: the highest entropy that passes, in nats; None: 0.5. With n="auto", also the threshold at which the
            model is asked no more.
        calibration: a `Calibration`, or the file of one, in place of a threshold: the answer must be allowed. Name the
            estimators of its scores with `estimator`.
        max_undecided: the largest share of the compared pairs that may have no verdict.
        min_samples: the fewest valid answers, at least 2; a calibration has its own number.
        **choices: the arguments of `semantic_entropy.estimate`, such as `equivalence`, `sampler`, `sampler_options`
            and `n`.

    Raises:
        AssertionError: the answers are not consistent, or say too little. The message shows the meanings.
        SemanticEntropyError: the errors of `estimate`.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    check = check_consistency(
        responses,
        question,
        name=name,
        threshold=threshold,
        calibration=calibration,
        max_undecided=max_undecided,
        min_samples=min_samples,
        **choices,
    )
    if not check.passed:
        raise AssertionError(check.message)
    return check.result


def recorded(
    settings: Sequence[Mapping[str, Any]], record: Callable[[dict[str, Any]], object]
) -> Callable[..., Result]:
    """Return `assert_consistent` with other defaults. `record` gets the line of each check before it may fail.

    Args:
        settings: defaults of the arguments, by name; later ones win. A threshold and a calibration replace each other.
        record: called with `ConsistencyCheck.to_dict()`.
    """

    def assert_consistent(
        responses: Sequence[str] | Result | None = None, question: str | None = None, **arguments: Any
    ) -> Result:
        __tracebackhide__ = True
        merged = _merged([*settings, arguments])
        if responses is not None:  # the answers are there: the settings of a sampler have nothing to do
            merged = {key: value for key, value in merged.items() if key in arguments or key not in _OF_SAMPLERS}
        if isinstance(responses, Result):
            merged = {key: value for key, value in merged.items() if key in arguments or key in _OF_CHECKS}
        check = check_consistency(responses, question, **merged)
        record(check.to_dict())
        if not check.passed:
            raise AssertionError(check.message)
        return check.result

    return assert_consistent


def _merged(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for each in settings:
        if "calibration" in each:
            merged.pop("threshold", None)
        if "threshold" in each:
            merged.pop("calibration", None)
        merged.update(each)
    return merged


_OF_CHECKS = frozenset(("name", "threshold", "calibration", "max_undecided", "min_samples"))
_OF_SAMPLERS = frozenset(("sampler", "sampler_options", "n", "min_n", "max_n", "samples"))


def _measured(responses: Any, question: str | None, choices: Mapping[str, Any]) -> Result:
    if isinstance(responses, Result):
        if choices:
            raise InputError(f"{', '.join(choices)}: the result is measured already: pass the responses instead")
        return responses
    if not isinstance(question, str | None):
        raise InputError(f"question={question!r:.80} is not one question: check each question by itself")
    result = estimate(responses, question=question, **choices)
    if not isinstance(result, Result):
        raise InputError(
            f"responses are those of several questions ({type(result).__name__}): check each question by itself, for "
            "example with pytest.mark.parametrize"
        )
    return result

"""A gate on the rows of a file: `RowGate` counts the rows that fail a rule (`semantic-entropy estimate --fail-above`).

A gate fails closed: a row without a result, or with one that cannot be read, fails, and so does a file without rows.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semantic_entropy.decisions.calibration import Calibration
from semantic_entropy.decisions.gate import ACTIONS, MIN_COMPARED, MIN_SAMPLES, Action, decide, why_unusable
from semantic_entropy.errors import InputError
from semantic_entropy.plain_text import one_line, plural
from semantic_entropy.results import MAX_UNDECIDED, Result

RowRule = Callable[[Result], str]
"""Returns the reason why a result fails; empty: it passes."""
_SHOWN = 10  # number of failed rows that are listed


def entropy_rule(highest: float, max_undecided: float = MAX_UNDECIDED, min_samples: int = MIN_SAMPLES) -> RowRule:
    """Return the rule that a result fails if it is not usable, or its entropy is above `highest` (nats).

    Args:
        highest: the highest entropy that passes, in nats.
        max_undecided: the largest share of the compared pairs that may have no verdict, in [0, 1].
        min_samples: the fewest valid answers, at least 2.

    Raises:
        InputError: `highest` is no finite number of at least 0, so the rule would say the same of every row.
    """
    if isinstance(highest, bool) or not 0 <= highest < math.inf:  # also nan
        raise InputError(f"{highest} is no limit for an entropy in nats: give a finite number of at least 0")

    def why_failed(result: Result) -> str:
        reasons = why_unusable(result, max_undecided, min_samples)
        if not reasons and not result.entropy <= highest:
            reasons.append(f"the entropy is {result.entropy:.3f} nats, above {highest:g}")
        return "; ".join(reasons)

    return why_failed


def decision_rule(calibration: Calibration, strictest: Action, max_undecided: float = MAX_UNDECIDED) -> RowRule:
    """Return the rule that a result fails if `decide` returns this action or a stricter one.

    A result that is not usable, or whose p(wrong) is not known, fails also if only "block" is too strict: refusals and
    results of other conditions are deferred, and would pass.

    Raises:
        InputError: `strictest` is no action, or "allow", which every decision is at least.
    """
    if strictest not in ACTIONS[1:]:
        raise InputError(f"{strictest!r} is no action that fails a row: use one of {', '.join(ACTIONS[1:])}")

    def why_failed(result: Result) -> str:
        decision = decide(result, calibration, max_undecided=max_undecided)
        is_known = decision.p_wrong is not None and not why_unusable(result, max_undecided, MIN_COMPARED)
        return "" if is_known and not decision.is_at_least(strictest) else str(decision)

    return why_failed


def all_rules(rules: Sequence[RowRule]) -> RowRule:
    """Return the rule that a result fails if it fails one of these."""

    def why_failed(result: Result) -> str:
        return "; ".join(filter(None, (rule(result) for rule in rules)))

    return why_failed


@dataclass(frozen=True, slots=True)
class GateSummary:
    """How many rows failed. `str()` is a message for the user.

    Attributes:
        rows: the number of rows, bad rows included.
        failed: the number of rows that failed.
        fail_rate: the share of the rows that may fail.
        first: the first ten failed rows, as (row number, reason).
        unit: the word before a row number, such as "line".
    """

    rows: int
    failed: int
    fail_rate: float
    first: tuple[tuple[int, str], ...]
    unit: str

    @property
    def passed(self) -> bool:
        """Whether at most the allowed share of the rows failed. Without rows, nothing was checked: False."""
        return self.rows > 0 and self.failed / self.rows <= self.fail_rate

    def __str__(self) -> str:
        if not self.rows:
            return "gate: FAILED, there are no rows: nothing was checked"
        verdict = "passed" if self.passed else "FAILED"
        share = f"{self.failed:,} of {plural(self.rows, 'row')} failed ({self.failed / self.rows:.1%})"
        lines = [f"gate: {verdict}, {share}; --fail-rate allows {self.fail_rate:.1%}"]
        lines += [one_line(f"{self.unit} {number}: {reason}") for number, reason in self.first]
        if self.failed > len(self.first):
            lines.append(f"... and {self.failed - len(self.first):,} more")
        return "\n  ".join(lines)


class RowGate:
    """Counts the rows that fail a rule. Threads may share it.

    Args:
        rule: the rule, which returns the reason why a result fails.
        fail_rate: the share of the rows that may fail, in [0, 1].

    Raises:
        InputError: `fail_rate` is no share.
    """

    def __init__(self, rule: RowRule, fail_rate: float = 0.0) -> None:
        if not 0 <= fail_rate <= 1:  # also nan
            raise InputError(f"{fail_rate} is no share of rows that may fail: give a number in [0, 1]")
        self._rule, self._fail_rate = rule, fail_rate
        self._rows = self._failed = 0
        self._first: list[tuple[int, str]] = []
        self._lock = threading.Lock()  # a sampler may read rows with kept results in another thread

    def add_results(self, rows: Iterable[tuple[int, Result]]) -> None:
        """Count rows, each given as its number and its result."""
        for number, result in rows:
            self.add(number, result)

    def add_bad(self, rows: Iterable[tuple[int, str]]) -> None:
        """Count bad rows, each given as its number and its problem."""
        for number, problem in rows:
            self._count(number, f"no result: {problem}")

    def add(self, number: int, result: Result | Mapping[str, Any]) -> None:
        """Count a row with a result, or with the fields of a stored result."""
        try:
            reason = self._rule(result if isinstance(result, Result) else Result.from_dict(result))
        except Exception as error:  # noqa: BLE001  # a value that nobody expected must not pass
            reason = f"the result cannot be read: {str(error) or type(error).__name__}"
        self._count(number, reason)

    def add_counts(self, rows: int, failed: int, first: Iterable[tuple[int, str]]) -> None:
        """Add rows that other gates with the same rule have counted, and the first of them that failed."""
        with self._lock:
            self._rows += rows
            self._failed += failed
            self._first = [*self._first, *first][:_SHOWN]

    def _count(self, number: int, reason: str) -> None:
        with self._lock:
            self._rows += 1
            self._failed += bool(reason)
            if reason:
                self._first = sorted([*self._first, (number, reason)])[:_SHOWN]

    def summary(self, unit: str) -> GateSummary:
        """Return the summary of the rows so far."""
        return GateSummary(self._rows, self._failed, self._fail_rate, tuple(self._first), unit)


@dataclass(frozen=True, slots=True)
class FlagSummary(GateSummary):
    """How many rows a calibration flags (`failed`), where no gate was asked for. It never fails."""

    @property
    def passed(self) -> bool:
        """True: a count stops nothing."""
        return True

    def __str__(self) -> str:
        found = f"flagged or without a result: {self.failed:,} of {plural(self.rows, 'row')}"
        return f"{found}; do not answer with them. Nothing was gated, because --fail-on was not given"


class FlagCount(RowGate):
    """Counts the rows that a calibration flags, and those without a result, which nothing can be answered with."""

    def __init__(self) -> None:
        super().__init__(lambda result: "" if result.flag is False else "flagged")

    def add(self, number: int, result: Result | Mapping[str, Any]) -> None:
        """Count a row with a result, or with the fields of a stored result."""
        flag = result.flag if isinstance(result, Result) else result.get("flag")
        self._count(number, "" if flag is False else "flagged")

    def summary(self, unit: str) -> FlagSummary:
        """Return the summary of the rows so far."""
        return FlagSummary(self._rows, self._failed, self._fail_rate, tuple(self._first), unit)

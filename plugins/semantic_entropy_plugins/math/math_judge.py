r"""The math judge: answers that are mathematically equal mean the same (Algorithm 2 of the EMPO paper).

No answer can block the host process:

1. Answers in the exact grammar of `math.keys` are compared as numbers in the host process, in microseconds.
2. The other answers go to math-verify in worker processes with hard limits on time and memory (`math.pool`).
   math-verify is not symmetric, so the option `policy` says in which direction two answers must be equal: in "both"
   directions (the default), in "either" direction, or only "forward", as in the paper.
3. A pair that exceeds a limit is undecided. The answer that caused the timeout is not compared again.

The judge follows these conventions of math-verify: units and currency are ignored (`5 cm` = `5 m` = 5); `50%` equals
both `50` and `0.5`, although 50 does not equal 0.5; `x=3` equals `3`; `0.333` does not equal 1/3, but `0.333333` does
(6 decimals). Two conventions differ from math-verify: unicode fractions are fractions, and `1e5` is 100000.
"""

from __future__ import annotations

import os
import re
import threading
import time
import weakref
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version

from semantic_entropy.plugin import (
    POLICIES,
    Equivalence,
    LRUCache,
    Pair,
    Policy,
    Verdict,
    boxed,
    is_refusal,
    last_number,
    load_extractor,
)
from semantic_entropy_plugins.math.keys import ExactAnswer, clean, parse_exact, text_key
from semantic_entropy_plugins.math.pool import Limits, MathPool, Outcome
from semantic_entropy_plugins.options import checked_choice, checked_number

LONGEST = 2000  # characters of an answer; final answers have fewer than 300, and parsing is superlinear
_ROUNDED = 1e-5  # math-verify rounds decimals to 1e-6: values that differ by more than ten times this are different
_LONGEST_TIMEOUT, _MOST_MEMORY, _MOST_WORKERS = 86_400, 2**20, 1024  # seconds, megabytes, processes
_CACHE_SIZE = 10_000  # answers: a few megabytes
# The first limit of a pair, in seconds of computing time. Of 318 pairs of difficult final answers, 10% take more than
# 0.03 seconds, 1% take more than 0.11 seconds, and no pair takes more than 0.18 seconds.
_QUICK = 0.3


class Math(Equivalence):
    """Answers that are mathematically equal mean the same.

    Args:
        timeout: the wall-clock limit for one pair in seconds; the time begins when a worker starts the pair.
        memory_mb: the memory limit of a worker, in addition to the memory of the imports.
        workers: the number of worker processes; None: two, or one on a machine with one core.
        policy: the directions in which math-verify must find the answers equal: "both", "either" or "forward".

    Raises:
        OptionError: an invalid option.
    """

    name = "math"
    cache_identity = "semantic_entropy_plugins.math:Math"

    def __init__(
        self, timeout: float = 3.0, memory_mb: int = 1024, workers: int | None = None, policy: Policy = "both"
    ) -> None:
        self.policy: Policy = checked_choice(self.name, "policy", policy, POLICIES)
        self.timeout = checked_number(self.name, "timeout", timeout, 0, above=True, most=_LONGEST_TIMEOUT)
        memory_mb = checked_number(self.name, "memory_mb", memory_mb, 1, most=_MOST_MEMORY, whole=True)
        workers = checked_number(self.name, "workers", workers, 1, most=_MOST_WORKERS, whole=True, optional=True)
        self._pool = MathPool(workers or min(2, os.cpu_count() or 1), memory_mb, policy)
        weakref.finalize(self, self._pool.close)  # ends the workers of a judge that nobody closed
        self._retries = _RetryBudget(self.timeout)
        self._short = Limits(min(_QUICK, self.timeout), self.timeout)
        self._timed_out: LRUCache[str, bool] = LRUCache(_CACHE_SIZE)  # answers that exceeded the whole timeout
        self._slow: LRUCache[str, bool] = LRUCache(_CACHE_SIZE)  # answers over the short limit that had no retry so far
        self._compared: LRUCache[str, bool] = LRUCache(_CACHE_SIZE)  # answers of pairs that were compared in time

    @property
    def settings(self) -> Hashable:
        return (self.name, self.policy, self.timeout)

    @property
    def versions(self) -> Mapping[str, str]:
        return {"math-verify": _math_verify_version()}

    def describe(self) -> str:
        return self.name if self.policy == "both" else f"{self.name}(policy={self.policy})"

    def extract(self, responses: Sequence[str]) -> Sequence[str | None]:
        """The answer of each response: the last box, else the whole text if it is mathematics, else the last number."""
        return [_extracted(response) for response in responses]

    def suits(self, responses: Sequence[str]) -> bool:
        """Whether most responses have a box, or most have a box or are mathematics and every response has an answer."""
        given = [response for response in responses if response.strip()]
        boxes = sum("\\boxed" in response for response in given)
        if 2 * boxes > len(given):
            return True
        mathematics = sum(
            "\\boxed" in response or (is_mathematics(response) and not _AMBIGUOUS.fullmatch(response.strip()))
            for response in given
        )
        return 2 * mathematics > len(given) and None not in self.extract(given)

    def keys(self, question: str | None, answers: Sequence[str]) -> Sequence[Hashable | None]:
        return [exact.key if (exact := parse_exact(answer)) else text_key(answer) for answer in answers]

    def readable(self, answers: Sequence[str]) -> Sequence[bool]:
        """Whether each answer is short, has its closing braces, and can be compared with 0 within the limits.

        math-verify compares a text that it cannot parse as a string: only an equal text is then the same.
        """
        whole = [i for i, answer in enumerate(answers) if _is_whole(answer)]
        verdicts = self.judge([Pair(None, answers[i], "0") for i in whole])
        read = {i for i, verdict in zip(whole, verdicts, strict=True) if verdict.same is not None}
        return [i in read for i in range(len(answers))]

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        verdicts = [self._without_worker(pair) for pair in pairs]
        undecided = [i for i, verdict in enumerate(verdicts) if verdict is None]
        for i, outcome in zip(undecided, self._ask_workers([pairs[i] for i in undecided]), strict=True):
            verdicts[i] = Verdict(outcome.same, reason=outcome.reason)
        return [verdict or Verdict(None) for verdict in verdicts]

    def _without_worker(self, pair: Pair) -> Verdict | None:
        """The verdict from the keys and from earlier timeouts, or None if math-verify must compare the pair."""
        left, right = parse_exact(pair.left), parse_exact(pair.right)
        if left and right:
            same = _compare(left, right)
            if same is not None:
                return Verdict(same)
        elif text_key(pair.left) == text_key(pair.right):
            return Verdict(same=True)
        for answer in (pair.left, pair.right):
            if len(answer) > LONGEST:
                return Verdict(None, reason=f"an answer has {len(answer)} characters, more than {LONGEST}")
            if answer in self._timed_out:
                return Verdict(None, reason="an answer exceeded its limit of time or memory before")
            if answer in self._slow:
                if self._retries.left() < self.timeout:
                    return Verdict(None, reason="an answer is slow, and the time for retries is used up")
                self._slow.discard(answer)
        return None

    def _ask_workers(self, pairs: Sequence[Pair]) -> list[Outcome]:
        """Compare pairs with a short limit. A pair over this limit gets one retry with the whole timeout.

        There is no retry for a pair when the budget for retries is spent.
        """
        if not pairs:
            return []
        outcomes = self._pool.run(_tasks(pairs), self._short)
        for pair, outcome in zip(pairs, outcomes, strict=True):
            if not outcome.stage:
                _add(self._compared, pair.left, pair.right)
        return [
            self._retry(pair, outcome) if outcome.stage else outcome
            for pair, outcome in zip(pairs, outcomes, strict=True)
        ]

    def _retry(self, pair: Pair, outcome: Outcome) -> Outcome:
        answers = (pair.left, pair.right)
        if any(answer in self._timed_out or answer in self._slow for answer in answers):
            return outcome
        if not self._retries.spend(self.timeout):
            _add(self._slow, *self._culprits(pair, outcome.stage))
            return outcome
        (retried,) = self._pool.run(_tasks([pair]), Limits(None, self.timeout))
        if retried.stage:
            _add(self._timed_out, *self._culprits(pair, retried.stage))
        else:
            self._retries.spend(-self.timeout)
            _add(self._compared, *answers)
        return retried

    def _culprits(self, pair: Pair, stage: str) -> list[str]:
        """The answers that caused the timeout.

        If the worker was parsing the left answer, the left answer is the cause. Else an answer that was compared
        successfully before is not the cause. If both answers remain, each answer is compared with 0, and the answers
        that time out again are the cause.
        """
        if stage == "L" and pair.left not in self._compared:
            return [pair.left]
        suspects = [answer for answer in (pair.left, pair.right) if answer not in self._compared]
        if len(suspects) < 2:
            return suspects
        probes = self._pool.run([(clean(answer), "0") for answer in suspects], self._short)
        return [answer for answer, probe in zip(suspects, probes, strict=True) if probe.stage]

    def close(self) -> None:
        self._pool.close()


def _tasks(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    return [(clean(pair.left), clean(pair.right)) for pair in pairs]


def _add(answers: LRUCache[str, bool], *new: str) -> None:
    for answer in new:
        answers.put(answer, True)


class _RetryBudget:
    """The seconds that may be spent on retries with the whole timeout. Thread-safe.

    The budget covers one retry, and recovers slowly. So a group of slow answers costs one whole timeout and one short
    limit per answer, not one whole timeout per answer.
    """

    _RECOVERY = 0.1  # seconds of budget a second

    def __init__(self, most: float) -> None:
        self._most = self._left = most
        self._updated = time.monotonic()
        self._lock = threading.Lock()

    def left(self) -> float:
        """Seconds."""
        with self._lock:
            now = time.monotonic()
            self._left = min(self._most, self._left + self._RECOVERY * (now - self._updated))
            self._updated = now
            return self._left

    def spend(self, seconds: float) -> bool:
        """Take seconds from the budget; False if the budget is too small. A negative amount is added to the budget."""
        if seconds > self.left():
            return False
        with self._lock:
            self._left -= seconds
        return True


@lru_cache(maxsize=1)
def _math_verify_version() -> str:
    return version("math-verify")


def _compare(left: ExactAnswer, right: ExactAnswer) -> bool | None:
    """The verdict on two exact answers; None: math-verify decides about rounding and different brackets."""
    if left.key == right.key:
        return True
    if {left.kind, right.kind} == {"%", "value"}:
        percent, value = (left, right) if left.kind == "%" else (right, left)
        (number,), (other,) = percent.approximations, value.approximations
        return _near(number, other) or _near(number / 100, other)
    if left.kind != right.kind:
        return None if len(left.kind) == len(right.kind) else False
    if len(left.approximations) != len(right.approximations) or any(
        abs(a - b) > _ROUNDED for a, b in zip(left.approximations, right.approximations, strict=True)
    ):
        return False
    return None if left.decimal or right.decimal else False


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-6 * max(1.0, abs(one))


_DELIMITED = re.compile(r"\${1,2}[^$]+\${1,2}|\\\((?:(?!\\\)).)+\\\)|\\\[(?:(?!\\\]).)+\\\]")
_COMMANDS = re.compile(r"\\(?:text|mathrm|operatorname|mbox)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_FUNCTIONS = frozenset("sin cos tan cot sec csc log ln exp max min gcd lcm mod det pi sqrt cm mm km kg".split())
# Years, scores, dates, times and telephone numbers look like differences and quotients, but are not mathematics.
_AMBIGUOUS = re.compile(r"\d+(?:\s*[-\u2013:]\s*\d+)+|\d+/\d+/\d+|\d+(?:[.-]\d+){2,}")
_LONGEST_WHOLE = 200  # characters: a longer text is a solution, not an answer


def is_mathematics(text: str) -> bool:
    """Whether the whole text is mathematics: text between dollar signs, or digits and signs without prose."""
    text = text.strip()
    return 0 < len(text) <= _LONGEST_WHOLE and "\n" not in text and _is_expression(text)


@lru_cache(maxsize=16384)
def _is_expression(text: str) -> bool:
    if _DELIMITED.fullmatch(text) or parse_exact(text):
        return True
    words = re.findall(r"[^\W\d_]{2,}", _COMMANDS.sub(" ", text))
    if any(word not in _FUNCTIONS for word in words):
        return False
    return any(char.isdigit() for char in text) or (any(c in text for c in "^=+*/<>\\") and any(map(str.isalnum, text)))


def _is_whole(answer: str) -> bool:
    """Whether the text can be a final answer: not a solution of many words, and no brace is missing."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", answer):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0 and (boxed(answer) is not None or len(answer) <= _LONGEST_WHOLE)


def _answer(response: str) -> str | None:
    box = boxed(response)
    if box is not None or is_refusal(response):
        return box
    return response.strip() if is_mathematics(response) else last_number(response)


_extract = load_extractor(_answer)
_LONGEST_CACHED = 1000  # characters: a cache of longer responses would need too much memory


def _extracted(response: str) -> str | None:
    return _cached_extract(response) if len(response) <= _LONGEST_CACHED else _extract(response)


_cached_extract = lru_cache(maxsize=16384)(_extract)  # `suits` and `extract` see the same responses

r"""The math judge: equal mathematics means the same (Algorithm 2 of the EMPO paper), and no answer can hang the host.

1. Keys: what the exact grammar of `math.keys` covers is compared as numbers, here, in microseconds.
2. The rest goes to math-verify in worker processes with hard limits on time and memory (`math.pool`). Every pair is
   asked both ways; `policy` says what that means: "both" (the default) must hold, "either", or "forward" alone, as the
   paper prints it.
3. What runs over a limit is undecided, and the answer that did it is not tried again.

Decisions, each as math-verify's unless said: units and currency are not compared (`5 cm` = `5 m` = 5); `50` = `50%` =
`0.5`, though 50 is not 0.5; `x=3` = `3`; `0.333` is not 1/3, `0.333333` is (6 decimals). Unlike math-verify, unicode
fractions are fractions and `1e5` is 100000.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from semantic_entropy.plugin import Equivalence, Pair, Verdict, boxed, errors, is_refusal, last_number, load_extractor
from semantic_entropy_plugins.math.keys import Known, clean, plain, read
from semantic_entropy_plugins.math.pool import Limits, MathPool, Outcome
from semantic_entropy_plugins.math.worker import POLICIES

LONGEST = 2000  # characters of an answer; final answers are under 300, and parsing is superlinear
_ROUNDED = 1e-5  # math-verify rounds decimals to 1e-6: values further apart than ten times that are different
_LONGEST_TIMEOUT, _MOST_MEMORY, _MOST_WORKERS = 86_400, 2**20, 1024  # seconds, megabytes, processes: past them, a slip
_REMEMBERED = 10_000  # answers: a few megabytes


class Math(Equivalence):
    """Equal mathematics means the same.

    Args:
        timeout: seconds of wall clock for one pair, counted from when a worker starts on it.
        memory_mb: memory of a worker on top of what the imports take.
        workers: how many processes. None: two, or as many as there are cores, whichever is less.
        policy: "both", "either" or "forward".
    """

    name = "math"
    cache_identity = "semantic_entropy_plugins.math:Math"

    def __init__(
        self, timeout: float = 3.0, memory_mb: int = 1024, workers: int | None = None, policy: str = "both"
    ) -> None:
        if policy not in POLICIES:
            raise errors.OptionError(f"math: policy={policy!r} is unknown: use one of {', '.join(POLICIES)}")
        _check("timeout", timeout, (int, float), _LONGEST_TIMEOUT)
        _check("memory_mb", memory_mb, (int,), _MOST_MEMORY)
        _check("workers", 1 if workers is None else workers, (int,), _MOST_WORKERS)
        self.policy, self.timeout = policy, timeout
        self._pool = MathPool(workers or min(2, os.cpu_count() or 1), memory_mb, policy)
        self._patience = _Patience(timeout)
        weakref.finalize(self, self._pool.close)  # a judge that nobody closed takes its workers along
        self._short = Limits(min(_QUICK, timeout), timeout)
        self._over = _Recent(_REMEMBERED)  # answers that ran over the whole timeout
        self._slow = _Recent(_REMEMBERED)  # answers that ran over the short limit when there was no patience for more
        self._sound = _Recent(_REMEMBERED)  # answers that have been compared in time

    @property
    def settings(self) -> Hashable:
        return (self.name, self.policy, self.timeout)

    @property
    def versions(self) -> Mapping[str, str]:
        return {"math-verify": _math_verify_version()}

    def describe(self) -> str:
        return self.name if self.policy == "both" else f"{self.name}(policy={self.policy})"

    def extract(self, responses: Sequence[str]) -> Sequence[str | None]:
        """The last box; else the whole text where it is mathematics; else the last number."""
        return [_EXTRACT(response) for response in responses]

    def suits(self, responses: Sequence[str]) -> bool:
        """Most responses have a box; or most have a box or are mathematics, and an answer is found in every one."""
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
        return [known.key if (known := read(answer)) else plain(answer) for answer in answers]

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        verdicts = [self._without_worker(pair) for pair in pairs]
        left_open = [i for i, verdict in enumerate(verdicts) if verdict is None]
        for i, outcome in zip(left_open, self._ask([pairs[i] for i in left_open]), strict=True):
            verdicts[i] = Verdict(outcome.same, reason=outcome.reason)
        return [verdict or Verdict(None) for verdict in verdicts]

    def _ask(self, pairs: Sequence[Pair]) -> list[Outcome]:
        """First with little time for each; what runs over that is given all of it, once, while there is patience."""
        if not pairs:
            return []
        outcomes = self._pool.run(_tasks(pairs), self._short)
        for pair, outcome in zip(pairs, outcomes, strict=True):
            if not outcome.stage:
                self._sound.add(pair.left, pair.right)
        for i, outcome in enumerate(outcomes):
            if outcome.stage:
                outcomes[i] = self._again(pairs[i], outcome)
        return outcomes

    def _again(self, pair: Pair, outcome: Outcome) -> Outcome:
        """A second try for a pair that ran over the short limit; who runs over again is not tried any more."""
        if any(answer in self._over or answer in self._slow for answer in (pair.left, pair.right)):
            return outcome
        if not self._patience.spend(self.timeout):
            self._slow.add(*self._guilty(pair, outcome.stage))
            return outcome
        (again,) = self._pool.run(_tasks([pair]), Limits(None, self.timeout))
        if again.stage:
            self._over.add(*self._guilty(pair, again.stage))
        else:
            self._patience.spend(-self.timeout)
            self._sound.add(pair.left, pair.right)
        return again

    def close(self) -> None:
        self._pool.close()

    def _without_worker(self, pair: Pair) -> Verdict | None:
        """A verdict from the keys, or None where math-verify must be asked."""
        left, right = read(pair.left), read(pair.right)
        if left and right:
            same = _compare(left, right)
            if same is not None:
                return Verdict(same)
        elif plain(pair.left) == plain(pair.right):
            return Verdict(same=True)
        for answer in (pair.left, pair.right):
            if len(answer) > LONGEST:
                return Verdict(None, reason=f"an answer of {len(answer)} characters, over {LONGEST}")
            if answer in self._over:
                return Verdict(None, reason="an answer that already ran over its time or memory")
            if answer in self._slow:
                if self._patience.left() < self.timeout:
                    return Verdict(None, reason="a slow answer, after much time was lost on others")
                self._slow.discard(answer)
        return None

    def _guilty(self, pair: Pair, stage: str) -> list[str]:
        """Whom to try no more: who runs over while it is parsed first; else who has not been through a comparison."""
        if stage == "L" and pair.left not in self._sound:
            return [pair.left]
        suspects = [answer for answer in (pair.left, pair.right) if answer not in self._sound]
        if len(suspects) < 2:
            return suspects
        probes = self._pool.run([(clean(answer), "0") for answer in suspects], self._short)
        return [answer for answer, probe in zip(suspects, probes, strict=True) if probe.stage]


def _check(option: str, value: Any, kinds: tuple[type, ...], most: int) -> None:
    right = type(value) in kinds and 0 < value <= most
    if not right:
        kind = "a number" if float in kinds else "a whole number"
        raise errors.OptionError(f"math: {option}={value!r} must be {kind}, positive and at most {most}")


def _tasks(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    return [(clean(pair.left), clean(pair.right)) for pair in pairs]


class _Patience:
    """Seconds that may be lost on answers that run over: as much as one takes, growing back slowly. Thread-safe.

    A group of hostile answers so costs one full time-out and a short one for each, not a full one for each.
    """

    def __init__(self, most: float) -> None:
        self._most = self._left = most
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def left(self) -> float:
        """Seconds."""
        with self._lock:
            now = time.monotonic()
            self._left = min(self._most, self._left + _GROWTH * (now - self._at))
            self._at = now
            return self._left

    def spend(self, seconds: float) -> bool:
        """Whether that much was left; a negative amount gives back."""
        if seconds > self.left():
            return False
        with self._lock:
            self._left -= seconds
        return True


# Seconds of computing for a pair. Of 318 pairs of hard final answers one in ten takes over 0.03, one in a hundred over
# 0.11, and none over 0.18.
_QUICK = 0.3
_GROWTH = 0.1  # seconds of patience a second


class _Recent:
    """The answers added last, up to a number of them. Any thread may use it: each step is one operation of the dict."""

    def __init__(self, size: int) -> None:
        self._answers: OrderedDict[str, None] = OrderedDict()
        self._size = size

    def add(self, *answers: str) -> None:
        for answer in answers:
            self._answers[answer] = None
        while len(self._answers) > self._size:
            with contextlib.suppress(KeyError):  # another thread took the last one
                self._answers.popitem(last=False)

    def discard(self, answer: str) -> None:
        self._answers.pop(answer, None)

    def __contains__(self, answer: str) -> bool:
        return answer in self._answers


@lru_cache(maxsize=1)
def _math_verify_version() -> str:
    return version("math-verify")


def _compare(left: Known, right: Known) -> bool | None:
    """Two exact answers; None where rounding or a different kind of bracket is math-verify's to judge."""
    if left.key == right.key:
        return True
    if {left.kind, right.kind} == {"%", "value"}:
        percent, value = (left, right) if left.kind == "%" else (right, left)
        return _near(percent.rough[0], value.rough[0]) or _near(percent.rough[0] / 100, value.rough[0])
    if left.kind != right.kind:
        return None if len(left.kind) == len(right.kind) else False
    if len(left.rough) != len(right.rough) or any(
        abs(a - b) > _ROUNDED for a, b in zip(left.rough, right.rough, strict=True)
    ):
        return False
    return None if left.decimal or right.decimal else False


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-6 * max(1.0, abs(one))


_DELIMITED = re.compile(r"\${1,2}[^$]+\${1,2}|\\\((?:(?!\\\)).)+\\\)|\\\[(?:(?!\\\]).)+\\\]")
_COMMANDS = re.compile(r"\\(?:text|mathrm|operatorname|mbox)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_FUNCTIONS = frozenset("sin cos tan cot sec csc log ln exp max min gcd lcm mod det pi sqrt cm mm km kg".split())
# Years, scores, dates, times and telephone numbers look like differences and quotients: no evidence of mathematics.
_AMBIGUOUS = re.compile(r"\d+(?:\s*[-\u2013:]\s*\d+)+|\d+/\d+/\d+|\d+(?:[.-]\d+){2,}")
_LONGEST_WHOLE = 200  # characters: a longer text is a solution, not an answer


def is_mathematics(text: str) -> bool:
    """Whether a whole text is one mathematical expression: between dollars, or digits and signs without prose."""
    text = text.strip()
    if not text or len(text) > _LONGEST_WHOLE or "\n" in text:
        return False
    if _DELIMITED.fullmatch(text) or read(text):
        return True
    words = re.findall(r"[^\W\d_]{2,}", _COMMANDS.sub(" ", text))
    if any(word not in _FUNCTIONS for word in words):
        return False
    return any(char.isdigit() for char in text) or (any(c in text for c in "^=+*/<>\\") and any(map(str.isalnum, text)))


def _answer(response: str) -> str | None:
    box = boxed(response)
    if box is not None or is_refusal(response):
        return box
    return response.strip() if is_mathematics(response) else last_number(response)


_EXTRACT = load_extractor(_answer)

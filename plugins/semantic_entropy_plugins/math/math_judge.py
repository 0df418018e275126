r"""The math judge: answers that are mathematically equal mean the same (Algorithm 2 of the EMPO paper).

No answer can block the host process:

1. Numbers, lists, intervals, inequalities, ratios and words are read and compared in the host process, in microseconds
   (`reading`, `comparison`).
2. The other answers go to math-verify in worker processes with hard limits on time and memory (`pool`). math-verify is
   not symmetric, so the option `policy` says in which direction two answers must be equal: in "both" directions (the
   default), in "either" direction, or only "forward", as in the paper.
3. A pair that exceeds a limit is undecided. The answer that caused the timeout is not compared again, and all timeouts
   together have a budget, as have the slow comparisons of a group, so that a group of hostile answers takes seconds.

A unit, a currency or a qualifier (AM, BC, profit) on one side only is ignored; on both sides it is compared. As in
math-verify, `50%` equals both `50` and `0.5`, although 50 does not equal 0.5, and `x=3` equals `3`. `0.333` does not
equal 1/3, but `0.333333` does (see `comparison.tolerance`).
"""

from __future__ import annotations

import os
import re
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
)
from semantic_entropy_plugins.math.comparison import compare
from semantic_entropy_plugins.math.keys import LONGEST_EXACT
from semantic_entropy_plugins.math.opaque_terms import opaque
from semantic_entropy_plugins.math.processes.pool import NOT_TRIED, Limits, LossBudget, MathPool, Outcome
from semantic_entropy_plugins.math.reading import read
from semantic_entropy_plugins.math.stated_answer import LONGEST_WHOLE, extract_answer, states_mathematics
from semantic_entropy_plugins.math.writing import clean
from semantic_entropy_plugins.options import checked_choice, checked_number

LONGEST = 2000  # characters of an answer; final answers have fewer than 300, and parsing is superlinear
_LONGEST_TIMEOUT, _MOST_MEMORY, _MOST_WORKERS = 86_400, 2**20, 1024  # seconds, megabytes, processes
_CACHE_SIZE = 10_000  # answers: a few megabytes
# The first limit of a pair, in seconds of computing time. Of 318 pairs of difficult final answers, 10% take more than
# 0.03 seconds, 1% take more than 0.11 seconds, and no pair takes more than 0.18 seconds; on a machine with more
# processes than cores, computing time is up to three times as long.
_QUICK = 0.5
# The seconds that may be lost on answers that exceed the limit; the limit as a share of the seconds that are left; and
# the shortest limit, below which harmless answers would exceed it too.
_MOST_LOST, _SHARE, _SHORTEST = 7.0, 0.12, 0.03
# The seconds of computing for the slow comparisons (`worker.SLOW`) of answers that are compared with each other.
_MOST_OF_GROUP = 8.0


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
    rules = 5

    def __init__(
        self, timeout: float = 3.0, memory_mb: int = 1024, workers: int | None = None, policy: Policy = "both"
    ) -> None:
        self.policy: Policy = checked_choice(self.name, "policy", policy, POLICIES)
        self.timeout = checked_number(self.name, "timeout", timeout, 0, above=True, most=_LONGEST_TIMEOUT)
        memory_mb = checked_number(self.name, "memory_mb", memory_mb, 1, most=_MOST_MEMORY, whole=True)
        workers = checked_number(self.name, "workers", workers, 1, most=_MOST_WORKERS, whole=True, optional=True)
        self._pool = MathPool(workers or min(2, os.cpu_count() or 1), memory_mb, policy)
        weakref.finalize(self, self._pool.close)  # ends the workers of a judge that nobody closed
        self._retries = LossBudget(self.timeout)
        losses = LossBudget(_MOST_LOST, share=_SHARE, shortest=_SHORTEST, recovery=0.2)
        self._short = Limits(min(_QUICK, self.timeout), self.timeout, losses)
        self._timed_out: LRUCache[str, bool] = LRUCache(_CACHE_SIZE)  # answers that exceeded the whole timeout
        self._slow: LRUCache[str, bool] = LRUCache(_CACHE_SIZE)  # answers over the short limit that had no retry so far
        self._groups: LRUCache[tuple[str | None, str], _Group] = LRUCache(_CACHE_SIZE)
        self._compared: LRUCache[str, bool] = LRUCache(_CACHE_SIZE)  # answers of pairs that were compared in time

    @property
    def settings(self) -> Hashable:
        return (self.name, self.policy, self.timeout)

    @property
    def thorough(self) -> bool:
        """5 means the same as 5 cm and as 5 m, which differ: so all members of a cluster are compared."""
        return True

    @property
    def versions(self) -> Mapping[str, str]:
        return {"math-verify": _math_verify_version()}

    def describe(self) -> str:
        return self.name if self.policy == "both" else f"{self.name}(policy={self.policy})"

    def extract(self, responses: Sequence[str]) -> Sequence[str | None]:
        """The answer of each response; `stated_answer` has the rules."""
        return [extract_answer(response) for response in responses]

    def suits(self, responses: Sequence[str]) -> bool:
        """Whether most responses have a box, or most have a box or are mathematics and every response has an answer."""
        given = [response for response in responses if response.strip()]
        boxes = sum("\\boxed" in response for response in given)
        if 2 * boxes > len(given):
            return True
        mathematics = sum("\\boxed" in response or states_mathematics(response) for response in given)
        return 2 * mathematics > len(given) and None not in self.extract(given)

    def keys(self, question: str | None, answers: Sequence[str]) -> Sequence[Hashable | None]:
        return [read(answer).key for answer in answers]

    def readable(self, answers: Sequence[str]) -> Sequence[bool]:
        """Whether each answer is short, has its closing braces, and can be compared with 0 within the limits.

        math-verify compares a text that it cannot parse as a string: only an equal text is then the same.
        """
        whole = [i for i, answer in enumerate(answers) if _is_whole(answer)]
        verdicts = self.judge([Pair(None, answers[i], "0") for i in whole])
        found = {i for i, verdict in zip(whole, verdicts, strict=True) if verdict.same is not None}
        return [i in found for i in range(len(answers))]

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        verdicts = [self._without_worker(pair) for pair in pairs]
        undecided = [i for i, verdict in enumerate(verdicts) if verdict is None]
        for i, outcome in zip(undecided, self._ask_workers([pairs[i] for i in undecided]), strict=True):
            verdicts[i] = Verdict(outcome.same, reason=outcome.reason)
        return [verdict or Verdict(None) for verdict in verdicts]

    def _without_worker(self, pair: Pair) -> Verdict | None:
        """The verdict from the keys and from earlier timeouts, or None if math-verify must compare the pair."""
        left, right = read(pair.left), read(pair.right)
        same = True if left.key == right.key else compare(left, right)
        if same is not None:
            return Verdict(same)
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

        There is no retry for a pair when the budget for retries, or that of the pair's group, is spent.
        """
        if not pairs:
            return []
        budgets = self._budgets(pairs)
        outcomes = self._pool.run(_tasks(pairs), self._short, budgets)
        for pair, outcome in zip(pairs, outcomes, strict=True):
            if not outcome.stage:
                _add(self._compared, pair.left, pair.right)
        return [
            self._retry(pair, outcome, budget) if outcome.stage not in ("", NOT_TRIED) and budget.left() else outcome
            for pair, outcome, budget in zip(pairs, outcomes, budgets, strict=True)
        ]

    def _budgets(self, pairs: Sequence[Pair]) -> list[LossBudget]:
        """The budget of each pair's group. Answers that are compared with each other are one group."""
        groups = []
        for question, left, right in pairs:
            group = (self._groups.get((question, left)) or _Group()).join(self._groups.get((question, right)))
            self._groups.put_all([((question, left), group), ((question, right), group)])
            groups.append(group)
        return [group.root.budget for group in groups]

    def _retry(self, pair: Pair, outcome: Outcome, budget: LossBudget) -> Outcome:
        answers = (pair.left, pair.right)
        if any(answer in self._timed_out or answer in self._slow for answer in answers):
            return outcome
        if not self._retries.spend(self.timeout):
            _add(self._slow, *self._culprits(pair, outcome.stage))
            return outcome
        (retried,) = self._pool.run(_tasks([pair]), Limits(None, self.timeout), [budget])
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
        probes = self._pool.run([(_task(answer), "0") for answer in suspects], self._short)
        return [answer for answer, probe in zip(suspects, probes, strict=True) if probe.stage not in ("", NOT_TRIED)]

    def close(self) -> None:
        self._pool.close()


class _Group:
    """Answers that are compared with each other, with a budget for their slow comparisons. Groups can be joined."""

    def __init__(self) -> None:
        self.budget = LossBudget(_MOST_OF_GROUP, recovery=0.02)
        self._joined: _Group | None = None

    @property
    def root(self) -> _Group:
        group = self
        while group._joined is not None:  # the same class
            group = group._joined
        return group

    def join(self, other: _Group | None) -> _Group:
        """Make both one group, which has used the seconds of both. Return the group."""
        root = self.root
        if other is not None and other.root is not root:
            root.budget.lose(_MOST_OF_GROUP - other.root.budget.left())
            other.root._joined = root  # noqa: SLF001  # the same class
        return root


def _tasks(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    return [(_task(pair.left), _task(pair.right)) for pair in pairs]


def _task(answer: str) -> str:
    """The text for math-verify."""
    return opaque(read(answer).text if len(answer) <= LONGEST_EXACT else clean(answer))


def _add(answers: LRUCache[str, bool], *new: str) -> None:
    for answer in new:
        answers.put(answer, True)


@lru_cache(maxsize=1)
def _math_verify_version() -> str:
    return version("math-verify")


def _is_whole(answer: str) -> bool:
    """Whether the text can be a final answer: not a solution of many words, and no brace is missing."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", answer):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0 and (boxed(answer) is not None or len(answer) <= LONGEST_WHOLE)

r"""The math judge: answers that are mathematically equal mean the same (Algorithm 2 of the EMPO paper).

No answer can block the host process:

1. Numbers, lists, intervals, inequalities, ratios and words are read and compared in the host process, in microseconds
   (`reading`, `comparison`).
2. The other answers go to math-verify in worker processes with hard limits on time and memory (`pool`). math-verify is
   not symmetric, so the option `policy` says in which direction two answers must be equal: in "both" directions (the
   default), in "either" direction, or only "forward", as in the paper.
3. A pair that exceeds a limit is undecided. The answer that caused the timeout is not compared again in its group. The
   timeouts and the slow comparisons of a group have budgets, so that a group of hostile answers takes seconds. Each
   group has its own budgets, so that its verdicts do not depend on the groups before it.

A unit, a currency or a qualifier (AM, BC, profit) on one side only is ignored; on both sides it is compared. As in
math-verify, `50%` equals both `50` and `0.5`, although 50 does not equal 0.5, and `x=3` equals `3`. `0.333` does not
equal 1/3, but `0.333333` does (see `comparison.tolerance`).
"""

from __future__ import annotations

import os
import re
import weakref
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from semantic_entropy.plugin import (
    POLICIES,
    Equivalence,
    GroupPair,
    Pair,
    Policy,
    Verdict,
    boxed,
)
from semantic_entropy_plugins.math.comparison import compare
from semantic_entropy_plugins.math.keys import LONGEST_EXACT
from semantic_entropy_plugins.math.opaque_terms import opaque
from semantic_entropy_plugins.math.processes.pool import NOT_TRIED, GroupBudget, Limits, LossBudget, MathPool, Outcome
from semantic_entropy_plugins.math.reading import read
from semantic_entropy_plugins.math.stated_answer import LONGEST_WHOLE, extract_answer, states_mathematics
from semantic_entropy_plugins.math.writing import clean
from semantic_entropy_plugins.options import checked_choice, checked_number

LONGEST = 2000  # characters of an answer; final answers have fewer than 300, and parsing is superlinear
_LONGEST_TIMEOUT, _MOST_MEMORY, _MOST_WORKERS = 86_400, 2**20, 1024  # seconds, megabytes, processes
# The first limit of a pair, in seconds of computing time. Of 318 pairs of difficult final answers, 10% take more than
# 0.03 seconds, 1% take more than 0.11 seconds, and no pair takes more than 0.18 seconds; on a machine with more
# processes than cores, computing time is up to three times as long.
_QUICK = 0.5
# The seconds that a group may lose on answers that exceed the limit; the limit as a share of the seconds that are left;
# and the shortest limit, below which harmless answers would exceed it too.
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
    limits_groups = True

    def __init__(
        self, timeout: float = 3.0, memory_mb: int = 1024, workers: int | None = None, policy: Policy = "both"
    ) -> None:
        self.policy: Policy = checked_choice(self.name, "policy", policy, POLICIES)
        self.timeout = checked_number(self.name, "timeout", timeout, 0, above=True, most=_LONGEST_TIMEOUT)
        memory_mb = checked_number(self.name, "memory_mb", memory_mb, 1, most=_MOST_MEMORY, whole=True)
        workers = checked_number(self.name, "workers", workers, 1, most=_MOST_WORKERS, whole=True, optional=True)
        self._pool = MathPool(workers or min(2, os.cpu_count() or 1), memory_mb, policy)
        weakref.finalize(self, self._pool.close)  # ends the workers of a judge that nobody closed

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

        math-verify compares a text that it cannot parse as a string: only an equal text is then the same. Each answer
        has its own limits, as if it were a group.
        """
        whole = [i for i, answer in enumerate(answers) if _is_whole(answer)]
        verdicts = self.judge([GroupPair(None, answers[i], "0", [{}]) for i in whole])
        found = {i for i, verdict in zip(whole, verdicts, strict=True) if verdict.same is not None}
        return [i in found for i in range(len(answers))]

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        verdicts = [_without_worker(pair) for pair in pairs]
        undecided = [i for i, verdict in enumerate(verdicts) if verdict is None]
        wanted = [pairs[i] for i in undecided]
        for i, outcome in zip(undecided, self._ask_workers(wanted, self._groups(wanted)), strict=True):
            verdicts[i] = Verdict(outcome.same, reason=outcome.reason)
        return [verdict or Verdict(None) for verdict in verdicts]

    def _groups(self, pairs: Sequence[Pair]) -> list[list[_Group]]:
        """The groups of each pair. Without groups from the pipeline, the answers that are compared in this call."""
        joined: dict[tuple[str | None, str], tuple[str | None, str]] = {}

        def root(answer: tuple[str | None, str]) -> tuple[str | None, str]:
            while joined.setdefault(answer, answer) != answer:
                joined[answer] = answer = joined[joined[answer]]  # half of the path: many pairs stay fast
            return answer

        for pair in pairs:
            if not isinstance(pair, GroupPair):
                joined[root((pair.question, pair.left))] = root((pair.question, pair.right))
        memories: defaultdict[Hashable, dict[object, Any]] = defaultdict(dict)
        found = []
        for pair in pairs:
            given = pair.groups if isinstance(pair, GroupPair) else []
            own = given or [memories[root((pair.question, pair.left))]]
            found.append([memory.get(self) or memory.setdefault(self, _Group(self.timeout)) for memory in own])
        return found

    def _ask_workers(self, pairs: Sequence[Pair], groups: Sequence[Sequence[_Group]]) -> list[Outcome]:
        """Compare pairs with a short limit. A pair over this limit gets one retry with the whole timeout.

        There is no retry for a pair when the budget for retries, or all seconds, of the pair's groups are spent.
        """
        outcomes = [_excluded(*task) for task in zip(pairs, groups, strict=True)]
        new = [i for i, outcome in enumerate(outcomes) if outcome is None]
        limits = Limits(min(_QUICK, self.timeout), self.timeout)
        for i, outcome in zip(new, self._run([(pairs[i], groups[i]) for i in new], limits), strict=True):
            outcomes[i] = outcome
        return [
            self._retry(pair, outcome, own) if outcome.stage not in ("", NOT_TRIED) else outcome
            for pair, outcome, own in zip(pairs, outcomes, groups, strict=True)
            if outcome
        ]

    def _run(self, tasks: Sequence[tuple[Pair, Sequence[_Group]]], limits: Limits) -> list[Outcome]:
        if not tasks:
            return []
        texts = [(_text(pair.left), _text(pair.right)) for pair, _ in tasks]
        outcomes = self._pool.run(texts, limits, [[group.budget for group in groups] for _, groups in tasks])
        for (pair, groups), outcome in zip(tasks, outcomes, strict=True):
            if not outcome.stage:
                for group in groups:
                    group.compared.update((pair.left, pair.right))
        return outcomes

    def _retry(self, pair: Pair, outcome: Outcome, groups: Sequence[_Group]) -> Outcome:
        if _excluded(pair, groups) or not any(group.budget.slow.left() for group in groups):
            return outcome
        paying = [group for group in groups if group.retries.spend(self.timeout)]
        if not paying:
            self._exclude(pair, outcome, groups, "an answer is slow, and the time for retries is used up")
            return outcome
        (retried,) = self._run([(pair, groups)], Limits(None, self.timeout))
        if retried.stage:
            self._exclude(pair, retried, groups, "an answer exceeded its limit of time or memory before")
        else:
            for group in paying:
                group.retries.spend(-self.timeout)
        return retried

    def _exclude(self, pair: Pair, outcome: Outcome, groups: Sequence[_Group], reason: str) -> None:
        """Do not compare the answers that caused the timeout again in these groups.

        If the worker was parsing the left answer, the left answer is the cause. Else an answer that was compared
        successfully before is not the cause. If both answers remain, each answer is compared with 0, and the answers
        that time out again are the cause.
        """
        suspects = [answer for answer in pair[1:] if not any(answer in group.compared for group in groups)]
        if outcome.stage == "L" and pair.left in suspects:
            suspects = [pair.left]
        elif len(suspects) > 1:
            probes = [(Pair(pair.question, answer, "0"), groups) for answer in suspects]
            found = self._run(probes, Limits(min(_QUICK, self.timeout), self.timeout))
            suspects = [a for a, probe in zip(suspects, found, strict=True) if probe.stage not in ("", NOT_TRIED)]
        for group in groups:
            group.excluded |= dict.fromkeys(suspects, reason)

    def close(self) -> None:
        self._pool.close()


class _Group:
    """What is known of answers that are compared with each other: their own budgets, so no other group changes them.

    Attributes:
        budget: the seconds for slow comparisons, and for those that exceed the short limit.
        retries: the seconds for retries that exceed the whole timeout.
        excluded: the answers that are not compared again, with the reason.
        compared: the answers of pairs that were compared within the limits.
    """

    def __init__(self, timeout: float) -> None:
        self.budget = GroupBudget(LossBudget(_MOST_OF_GROUP), LossBudget(_MOST_LOST, share=_SHARE, shortest=_SHORTEST))
        self.retries = LossBudget(timeout)
        self.excluded: dict[str, str] = {}
        self.compared: set[str] = set()


def _without_worker(pair: Pair) -> Verdict | None:
    """The verdict from the keys, or None if math-verify must compare the pair."""
    left, right = read(pair.left), read(pair.right)
    same = True if left.key == right.key else compare(left, right)
    if same is not None:
        return Verdict(same)
    longest = max(len(pair.left), len(pair.right))
    return (
        Verdict(None, reason=f"an answer has {longest} characters, more than {LONGEST}") if longest > LONGEST else None
    )


def _excluded(pair: Pair, groups: Sequence[_Group]) -> Outcome | None:
    """The outcome of a pair with an answer that every group excludes."""
    for answer in pair[1:]:
        reasons = [group.excluded.get(answer) for group in groups]
        if all(reasons):
            return Outcome(None, reasons[0], NOT_TRIED)
    return None


def _text(answer: str) -> str:
    """The text for math-verify."""
    return opaque(read(answer).text if len(answer) <= LONGEST_EXACT else clean(answer))


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

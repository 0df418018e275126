"""Equivalence: the judge that decides whether two answers mean the same.

A judge works on batches of pairs, from all groups of a call at once; one pair is a batch of one. Keys come first: two
answers with equal keys mean the same, and the judge is not asked.

Equivalence is symmetric by construction. The pipeline sends each unordered pair once. A judge whose question has a
direction (a implies b) asks both directions itself and states its policy; `FunctionEquivalence` does so for a plain
function.

Left out: transitivity. No real judge is transitive; the clusterer decides what to do about it.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Literal, get_args

from semantic_entropy.cache.identity import Identified, PrivateSettings
from semantic_entropy.clusters.answers import strip_reasoning, whole
from semantic_entropy.errors import EquivalenceError, InputError
from semantic_entropy.types import Pair, Verdict

_SERIAL = itertools.count()

Policy = Literal["both", "either", "forward"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
"""How a judge with a direction becomes symmetric: `both` directions must hold, `either` is enough, or only `forward` is
asked (the question has no direction)."""


def needs_reverse(policy: Policy, forward: bool | None) -> bool:
    """Whether the reverse direction can still change the verdict."""
    return policy != "forward" and forward is not (policy == "either")


def combine_directions(policy: Policy, forward: bool | None, reverse: bool | None) -> bool | None:
    """The verdict of two directions.

    `both`: False if one is False, else None if one is undecided, else True. `either`: True if one is True, else None if
    one is undecided, else False.
    """
    decisive = policy == "either"
    if decisive in (forward, reverse):
        return decisive
    return None if None in (forward, reverse) else not decisive


class Equivalence(Identified, ABC):
    """Base of every judge: implement `judge`, and `keys` where answers have a canonical form.

    A plugin's author writes two files, the class and a light module that announces it (see `semantic_entropy.plugin`):

        class SameLength(Equivalence):
            name = "same-length"

            def judge(self, pairs):
                return [Verdict(len(pair.left) == len(pair.right)) for pair in pairs]

    The contract is `judge` and `keys`. `extract` and `suits` concern the responses. `uses_question`, `settings` and
    `versions` tell the verdict cache what a verdict depends on. `cheap`, `thorough` and `stream` concern the cost. All
    of these have defaults.
    """

    # The contract

    @abstractmethod
    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        """One verdict for each pair, in order. Symmetric in left and right; independent of the rest of the batch."""

    def keys(self, question: str | None, answers: Sequence[str]) -> Sequence[Hashable | None]:
        """A key for each answer. Equal keys mean the same; None: ask `judge`. Default: the text."""
        return answers

    # The responses

    def extract(self, responses: Sequence[str]) -> Sequence[str | None]:
        """The answer in each response if the user gives no `extract=`; None is invalid. Default: the whole text."""
        return [whole(strip_reasoning(response)) for response in responses]

    def suits(self, responses: Sequence[str]) -> bool:
        """Whether this judge fits these responses to one question: `auto` asks each of its candidates."""
        return True

    # What a verdict depends on, for the verdict cache

    uses_question: bool = False
    """Whether a verdict depends on the question."""

    @property
    def settings(self) -> Hashable:
        """Everything except the pair, the question and the versions that a verdict depends on.

        Plain values (texts, numbers, tuples of these) mean the same in every process, so a cache file can keep the
        verdicts. The default is a number for this object, so verdicts stay in this process. The number is not
        `id(self)`, because a later object can get the same id.
        """
        owner, serial = self.__dict__.get("_serial", (None, 0))
        if owner != id(self):  # no number yet, or the number of the object from which this one was copied
            serial = next(_SERIAL)
            self.__dict__["_serial"] = id(self), serial
        return PrivateSettings(serial)

    # The cost

    cheap: bool = False
    """Whether a verdict costs less than a look into the cache: such verdicts are not cached."""

    @property
    def thorough(self) -> bool:
        """What `Representative(pick="auto")` reads: True compares an answer with every member of a cluster.

        More pairs, and no chains of answers where neighbours mean the same and the ends do not. Default: `cheap`.
        """
        return self.cheap

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """The verdicts as they arrive: (index of the pair, verdict), each pair once, in any order.

        The pipeline reads this method and keeps each verdict that it received, even if a later pair fails. A slow or
        expensive judge overrides it and yields each verdict at once; its `judge` is then `self.collect(pairs)`.
        """
        yield from enumerate(self.judge(pairs))

    def collect(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """All verdicts of `stream`, in the order of the pairs."""
        found = dict(self.stream(pairs))
        return [found[index] for index in range(len(pairs))]


class FunctionEquivalence(Equivalence):
    """A plain function of two strings as a judge.

    The function returns True, False, or None (undecided). `policy` says how it becomes symmetric: `both` (default: the
    same only if f(a, b) and f(b, a)), `either`, or `forward` (the function is symmetric: one call for each pair).

    Raises:
        EquivalenceError: the function raised, or returned something else; names the pair.
    """

    def __init__(self, function: Callable[[str, str], bool | None], policy: Policy = "both") -> None:
        if policy not in POLICIES:
            raise InputError(f"policy={policy!r} is unknown: use one of {', '.join(POLICIES)}")
        self.function, self.policy = function, policy
        self.name = getattr(function, "__name__", type(function).__name__)

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return [Verdict(self._same(pair)) for pair in pairs]

    def _same(self, pair: Pair) -> bool | None:
        forward = self._call(pair.left, pair.right)
        if not needs_reverse(self.policy, forward):
            return forward
        return combine_directions(self.policy, forward, self._call(pair.right, pair.left))

    def _call(self, left: str, right: str) -> bool | None:
        try:
            same = self.function(left, right)
        except Exception as error:
            raise EquivalenceError(
                f"equivalence {self.name!r} raised {type(error).__name__}: {error} "
                f"on {left[:80]!r} and {right[:80]!r}; "
                "return None where it cannot decide"
            ) from error
        if same is True or same is False or same is None:
            return same
        if type(same).__name__ in ("bool", "bool_"):  # numpy's
            return bool(same)
        raise EquivalenceError(
            f"equivalence {self.name!r} returned {same!r} for {left[:80]!r} and {right[:80]!r}; "
            "return True, False, or None (undecided)"
        )

"""Equivalence: who means the same.

A judge works on batches of pairs, from all groups of a call at once; one pair is a batch of one. Keys come first: two
answers with equal keys mean the same without asking.

Equivalence is symmetric by construction. The pipeline sends each unordered pair once, so a judge whose question has a
direction (a implies b) asks both ways itself and states its policy; for a plain function `FunctionEquivalence` does so.

Left out: transitivity. No real judge has it; what to do about it is the clusterer's choice.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import ClassVar, Literal, get_args

from semantic_entropy.clusters.answers import load_extractor
from semantic_entropy.errors import EquivalenceError, InputError
from semantic_entropy.types import Pair, Verdict

_SERIAL = itertools.count()


class Unsaid(int):
    """A number that says nothing outside this process: verdicts under it are never written to a cache file."""


Policy = Literal["both", "either", "forward"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
"""How a judge with a direction becomes symmetric: `both` directions must hold, `either` is enough, or only `forward` is
asked (the question has no direction)."""


def needs_reverse(policy: Policy, forward: bool | None) -> bool:
    """Whether the reverse direction can still change the verdict."""
    return policy != "forward" and forward is not (policy == "either")


def combine_directions(policy: Policy, forward: bool | None, reverse: bool | None) -> bool | None:
    """The verdict of two directions, of which neither decides alone unless it is decisive.

    `both`: False where one is False, else None where one is undecided, else True. `either`: True where one is True,
    else None where one is undecided, else False.
    """
    decisive = policy == "either"
    if decisive in (forward, reverse):
        return decisive
    return None if None in (forward, reverse) else not decisive


class Equivalence(ABC):
    """Base of every judge: implement `judge`, and `keys` where answers have a canonical form.

    A plugin's author writes two files, the class and a light module that announces it (see `semantic_entropy.plugin`):

        class SameLength(Equivalence):
            name = "same-length"

            def judge(self, pairs):
                return [Verdict(len(pair.left) == len(pair.right)) for pair in pairs]
    """

    name: str = ""
    """How results name it; the class's name where left empty."""
    uses_question: bool = False
    """Whether a verdict depends on the question: part of the verdict cache's key."""
    cheap: bool = False
    """Whether a verdict costs less than looking it up: such verdicts are not cached."""
    cache_identity: ClassVar[str | None] = None
    """ "module:Name" under which cache files know this class; None: where it is defined. See `class_identity`."""

    @property
    def thorough(self) -> bool:
        """Whether most verdicts cost so little that an answer may be compared with every member of a cluster."""
        return self.cheap

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.name:
            cls.name = cls.__name__

    @property
    def settings(self) -> Hashable:
        """All that a verdict depends on beside the pair; the verdict cache keeps settings apart. Default: this object.

        Plain values (texts, numbers, tuples of them) mean the same in every process, so that a cache file can keep the
        verdicts. The default is a number drawn once an object, not `id(self)`, which a later object can have again.
        """
        owner, serial = self.__dict__.get("_serial", (None, 0))
        if owner != id(self):  # none yet, or that of the object this one is a copy of
            serial = next(_SERIAL)
            self.__dict__["_serial"] = id(self), serial
        return Unsaid(serial)

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of what the verdicts come from (libraries, model revision): in results and in the cache's key."""
        return {}

    def describe(self) -> str:
        """The name, with the options that are not the default: for a result's provenance."""
        return self.name

    def __repr__(self) -> str:
        try:
            return f"<{self.describe()}>"
        except AttributeError:  # half constructed, as a traceback may show it
            return f"<{self.name}>"

    def extract(self, responses: Sequence[str]) -> Sequence[str | None]:
        """The answer in each response, where `extract=` is not given; None is invalid. Default: the whole text."""
        return [_WHOLE(response) for response in responses]

    def keys(self, question: str | None, answers: Sequence[str]) -> Sequence[Hashable | None]:
        """A key for each answer: equal keys mean the same, unasked. None: no key, ask. Default: the text itself."""
        return answers

    def suits(self, responses: Sequence[str]) -> bool:
        """Whether this judge fits these responses to one question: what `auto` asks each of its candidates."""
        return True

    @abstractmethod
    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        """One verdict for each pair, in their order, whatever else the batch holds. Symmetric in left and right."""

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """The verdicts as they come: (index of the pair, verdict), each pair once, in any order.

        The pipeline reads this. What it has been given is kept, whatever happens to the rest: a judge that is slow or
        costs money yields each verdict as soon as it has it, and `judge` is then `self.collect(pairs)`.
        """
        yield from enumerate(self.judge(pairs))

    def collect(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """All of `stream`, in the order of the pairs: `judge` for those that stream."""
        found = dict(self.stream(pairs))
        return [found[index] for index in range(len(pairs))]

    def close(self) -> None:  # noqa: B027  # most judges hold nothing
        """Let go of worker processes, models and connections; may be called twice."""


_WHOLE = load_extractor("whole")


class FunctionEquivalence(Equivalence):
    """A plain function of two strings as a judge.

    It returns True, False, or None for undecided. `policy` says what happens to its direction: `both` (default: the
    same only if f(a, b) and f(b, a)), `either`, or `forward` (the function is symmetric: one call a pair).

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
        forward = self._ask(pair.left, pair.right)
        if not needs_reverse(self.policy, forward):
            return forward
        return combine_directions(self.policy, forward, self._ask(pair.right, pair.left))

    def _ask(self, left: str, right: str) -> bool | None:
        try:
            same = self.function(left, right)
        except Exception as error:
            raise EquivalenceError(
                f"equivalence {self.name!r} raised {type(error).__name__}: {error} "
                f"on {left[:80]!r} and {right[:80]!r}; "
                "return None where it cannot decide"
            ) from error
        if same is None or isinstance(same, bool):
            return same
        if type(same).__name__ in ("bool", "bool_"):  # numpy's
            return bool(same)
        raise EquivalenceError(
            f"equivalence {self.name!r} returned {same!r} for {left[:80]!r} and {right[:80]!r}; "
            "return True, False, or None (undecided)"
        )

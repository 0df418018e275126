"""The judge interface `Equivalence`: a judge decides whether two answers mean the same.

A judge receives batches of pairs; a batch has pairs from all groups of a call. Before the pipeline asks a judge for
verdicts, it compares the answers' keys: two answers with equal keys mean the same.

Verdicts are symmetric. The pipeline sends each unordered pair once. If a judge's test has a direction (a implies b),
the judge tests both directions and combines them by its policy. `FunctionEquivalence` does this for a plain function.

The interface does not require transitivity, because no real judge is transitive. Clusterers work without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from types import FunctionType
from typing import Literal, get_args
from weakref import WeakKeyDictionary

from semantic_entropy.cache.identity import Identified, PrivateSettings
from semantic_entropy.clusters.answers import strip_reasoning, whole
from semantic_entropy.errors import EquivalenceError, InputError
from semantic_entropy.types import Pair, Verdict

_FUNCTIONS: WeakKeyDictionary[FunctionType, dict[str, PrivateSettings]] = WeakKeyDictionary()
"""The settings of a function with each policy. A function that is deleted takes its verdicts with it."""

Policy = Literal["both", "either", "forward"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
"""How a judge combines its two directions: `both` must hold, `either` is enough, or only `forward` is tested (if the
test has no direction)."""


def needs_reverse(policy: Policy, forward: bool | None) -> bool:
    """Whether the reverse direction can still change the verdict."""
    return policy != "forward" and forward is not (policy == "either")


def combine_directions(policy: Policy, forward: bool | None, reverse: bool | None) -> bool | None:
    """Combine the answers for the two directions into one verdict.

    `both`: False if one is False, else None if one is undecided, else True. `either`: True if one is True, else None if
    one is undecided, else False.
    """
    decisive = policy == "either"
    if decisive in (forward, reverse):
        return decisive
    return None if None in (forward, reverse) else not decisive


class Equivalence(Identified, ABC):
    """Base class of every judge. Implement `judge`; also implement `keys` if answers have a canonical form.

    The author of a plugin writes the class, and a light module that registers it (see `semantic_entropy.plugin`):

        class SameLength(Equivalence):
            name = "same-length"

            def judge(self, pairs):
                return [Verdict(len(pair.left) == len(pair.right)) for pair in pairs]

    `judge` and `keys` decide whether answers mean the same. `extract` and `suits` read the responses. The verdict cache
    makes its keys from `uses_question`, `settings` and `versions`. `cheap`, `thorough`, `limits_groups` and `stream`
    change the cost. Only `judge` has no default.
    """

    # The contract

    @abstractmethod
    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        """Return one verdict for each pair, in order.

        A verdict must not change if left and right are exchanged, or if other pairs are in the batch.
        """

    def keys(self, question: str | None, answers: Sequence[str]) -> Sequence[Hashable | None]:
        """Return a key for each answer. Answers with equal keys mean the same; None: ask `judge`. Default: the text."""
        return answers

    # The responses

    def extract(self, responses: Sequence[str]) -> Sequence[str | None]:
        """Return the answer in each response; None: invalid. Used if the user sets no `extract=`. Default: the text."""
        return [whole(strip_reasoning(response)) for response in responses]

    def readable(self, answers: Sequence[str]) -> Sequence[bool]:
        """Return for each answer whether this judge can read it. Default: True for each.

        A judge overrides this method if it parses answers. An answer that the judge cannot read means the same as an
        equal text only.
        """
        return [True] * len(answers)

    def suits(self, responses: Sequence[str]) -> bool:
        """Whether this judge suits these responses to one question. `auto` uses the first judge that suits them."""
        return True

    def similarities(self, pairs: Sequence[Pair]) -> Sequence[float | None]:
        """Return the similarity of left to right, in [0, 1], for each pair; None: not known.

        Estimators that read a similarity matrix use it if the user names this judge as `similarity=`. A judge whose
        test has a direction returns the value of this direction. Default: the scores of the verdicts, or 1 (the same)
        and 0 of a verdict without a score. An undecided pair counts as not similar: 0.
        """
        return [
            0.0 if verdict.same is None else float(verdict.same) if verdict.score is None else verdict.score
            for verdict in self.judge(pairs)
        ]

    def support(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """Yield (index of the pair, verdict): how far the sample `left` supports `right`, a sentence of another answer.

        Used for long answers, if the user names this judge as `support=`. A sample is a whole long answer, and says
        more than the sentence. The score is the support, in [0, 1]; without a score, it is 1 (True) or 0 (False).
        `same` says whether the sample counts as a supporting one.
        Verdict(None): undecided. Each pair comes once, in any order. A judge that can do this overrides the method.
        """
        raise InputError(f"the judge {self.name!r} does not say whether a sample supports a sentence")

    # What a verdict depends on, for the verdict cache

    uses_question: bool = False
    """Whether a verdict depends on the question."""

    @property
    def settings(self) -> Hashable:
        """All options that can change a verdict. The question and `versions` are stored separately.

        If the settings are plain values (texts, numbers, tuples of these), a cache file can store the verdicts, because
        plain values are equal in every process. The default means this object: its verdicts stay in memory, as long as
        the object exists.
        """
        owner, private = self.__dict__.get("_private_settings", (None, None))
        if owner != id(self):  # there are none yet, or this object is a copy with those of the original
            private = PrivateSettings()
            self.__dict__["_private_settings"] = id(self), private
        return private  # type: ignore[no-any-return]

    # The cost

    cheap: bool = False
    """Whether a verdict is faster than a cache lookup. The verdicts of a cheap judge are not cached."""

    @property
    def thorough(self) -> bool:
        """Whether `Representative(pick="auto")` compares an answer with every member of a cluster. Default: `cheap`.

        True needs more pairs, but prevents chains: clusters with a first and a last answer of different meaning.
        """
        return self.cheap

    limits_groups: bool = False
    """Whether the judge limits the cost of a group of answers. The limit of a group must not depend on other groups.

    True: each pair is a `GroupPair`, whose `groups` has a dict for each group that wants the verdict. An undecided pair
    is asked again if another group wants it, because that group has its own limit. False: an undecided pair is asked
    once in a run.
    """

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """Yield (index of the pair, verdict) when a verdict arrives: each pair once, in any order.

        The pipeline calls this method and caches each verdict that it received, even if a later pair fails. A slow or
        expensive judge overrides `stream` to yield each verdict at once, and implements `judge` as
        `return self.collect(pairs)`.
        """
        yield from enumerate(self.judge(pairs))

    def collect(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """Return all verdicts of `stream`, in the order of the pairs."""
        found = dict(self.stream(pairs))
        return [found[index] for index in range(len(pairs))]


class FunctionEquivalence(Equivalence):
    """A judge that calls a plain function of two strings.

    Args:
        function: returns True, False, or None (undecided). The verdicts of a function that `def` or `lambda` made are
            cached as long as it exists, also from call to call of `estimate`: it must give the same answer to the same
            two texts. The verdicts of other callables (methods, objects) are cached in this judge only.
        policy: "both" (a and b mean the same only if f(a, b) and f(b, a) are true), "either" (one is enough), or
            "forward" (the function is symmetric: one call for each pair).

    Raises:
        EquivalenceError: the function raised, or returned another value. The message names the pair.
    """

    def __init__(self, function: Callable[[str, str], bool | None], policy: Policy = "both") -> None:
        if policy not in POLICIES:
            raise InputError(f"policy={policy!r} is unknown: use one of {', '.join(POLICIES)}")
        self.function, self.policy = function, policy
        self.name = getattr(function, "__name__", type(function).__name__)

    @property
    def settings(self) -> Hashable:
        if not isinstance(self.function, FunctionType):  # an object may change
            return super().settings
        return _FUNCTIONS.setdefault(self.function, {}).setdefault(self.policy, PrivateSettings())

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
                "return None if the function cannot decide"
            ) from error
        if same is True or same is False or same is None:
            return same
        if type(same).__name__ in ("bool", "bool_"):  # numpy's type is bool_
            return bool(same)
        raise EquivalenceError(
            f"equivalence {self.name!r} returned {same!r} for {left[:80]!r} and {right[:80]!r}; "
            "return True, False, or None (undecided)"
        )

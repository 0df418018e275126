"""Clusterers: from pairwise verdicts to a partition of a group's distinct answers.

The flow of a clusterer is a generator that does no IO. It yields the index pairs that it wants to compare, receives
their verdicts (an undecided verdict arrives as False), and returns labels. Therefore the pipeline can send the pairs of
many groups to a judge in one batch.

    representative   Algorithm 1 of the EMPO paper: compare with one member of each cluster; the first match wins.
                     `pick="all"` compares with every member, which prevents chains if the judge is not transitive.
    components       two answers are in one cluster if a chain of matching answers connects them.
    last-match       the algorithm of the Nature 2024 code: an answer belongs to the last cluster that takes it.

Algorithm 1 in the paper also opens a new cluster after a match. This is a mistake in the paper; this module does not
copy it.

Judges are not transitive, so the partition can depend on the order of comparison. By default the distinct answers are
sorted (most frequent first, then shortest, then by text), so the order of the responses cannot change the entropy.
`order="given"` is the order of first appearance, as in the paper.
"""

from __future__ import annotations

import copy
import random
from abc import ABC, abstractmethod
from collections.abc import Generator
from itertools import combinations, compress
from typing import ClassVar, Literal, TypeVar, get_args

from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.errors import OptionError

Order = Literal["canonical", "given"]
Pick = Literal["first", "random", "all", "auto"]
_T = TypeVar("_T", bound=str)
Flow = Generator[list[tuple[int, int]], list[bool], list[int]]


class Clusterer(ABC):
    """Base of every clusterer: implement `flow`."""

    name: str = ""
    """The name in results; default: the name of the class."""
    order: Order = "canonical"
    rules: int = 1
    """The version of the rules: raise it when the same verdicts can give another partition."""
    distinct: ClassVar[bool] = True
    """Whether the items are distinct answers (answers with equal keys are one item), or single responses."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.name or cls.__name__

    @abstractmethod
    def flow(self, size: int) -> Flow:
        """Cluster `size` answers: yield index pairs (i, j), receive a bool for each, return labels (size,)."""

    def for_judge(self, equivalence: Equivalence) -> Clusterer:
        """Return the clusterer to use with this judge. The result contains its `describe()`. Default: return self."""
        return self

    def describe(self) -> str:
        """Return the name with the options that differ from their defaults. `Provenance` contains this text."""
        return f"{self.name}(order={self.order})"


class Representative(Clusterer):
    """Algorithm 1: an answer joins the first cluster whose representative means the same, else opens a new cluster.

    Args:
        order: "canonical" (sorted), or "given" (by first appearance, as in the paper).
        pick: the members of a cluster that an answer is compared with.
            "first": the first member. In each round, the first answer that has no cluster opens a cluster, and the
            other answers that have no cluster are compared with it. The pairs and the partition are those of
            Algorithm 1, in at most one round for each cluster.
            "random": a random member, drawn again for each comparison. Answers are compared one after another.
            "all": every member. An answer joins a cluster only if it means the same as all members. This needs more
            pairs than "first".
            "auto": "all" if the judge is `thorough`, else "first". The result says which of the two was used.
        seed: the random seed of pick="random". The draws for a group do not depend on the other groups of a call.
    """

    name = "representative"

    def __init__(self, order: Order = "canonical", pick: Pick = "first", seed: int = 0) -> None:
        self.order = _check_choice("order", order, get_args(Order))
        self.pick = _check_choice("pick", pick, get_args(Pick))
        self.seed = seed

    def for_judge(self, equivalence: Equivalence) -> Clusterer:
        if self.pick != "auto":
            return self
        chosen = copy.copy(self)
        chosen.pick = "all" if equivalence.thorough else "first"
        return chosen

    def flow(self, size: int) -> Flow:
        flows = {
            "first": self._first_member,
            "random": self._random_member,
            "all": self._all_members,
            "auto": self._first_member,  # called without `for_judge`: no judge is known
        }
        return flows[self.pick](size)

    def _first_member(self, size: int) -> Flow:
        labels, left, label = [0] * size, list(range(size)), 0
        while left:
            representative, *others = left
            same = (yield [(representative, other) for other in others]) if others else []
            labels[representative] = label
            left = []
            for other, is_same in zip(others, same, strict=True):
                if is_same:
                    labels[other] = label
                else:
                    left.append(other)
            label += 1
        return labels

    def _all_members(self, size: int) -> Flow:
        labels, left, label = [0] * size, list(range(size)), 0
        while left:
            first, *others = left
            same = (yield [(first, other) for other in others]) if others else []
            joined = list(compress(others, same))
            if len(joined) > 1:
                pairs = list(combinations(joined, 2))
                linked = set(compress(pairs, (yield pairs)))
                candidates, joined = joined, []
                for candidate in candidates:
                    if all((member, candidate) in linked for member in joined):
                        joined.append(candidate)
            labels[first] = label
            for member in joined:
                labels[member] = label
            members = set(joined)
            left = [other for other in others if other not in members]
            label += 1
        return labels

    def _random_member(self, size: int) -> Flow:
        draw = random.Random(self.seed)
        clusters: list[list[int]] = []
        for index in range(size):
            for cluster in clusters:
                (same,) = yield [(draw.choice(cluster), index)]
                if same:
                    cluster.append(index)
                    break
            else:
                clusters.append([index])
        labels = [0] * size
        for label, members in enumerate(clusters):
            for member in members:
                labels[member] = label
        return labels

    def describe(self) -> str:
        options = {"first": "", "random": f", pick=random, seed={self.seed}"}
        return f"{self.name}(order={self.order}{options.get(self.pick, f', pick={self.pick}')})"


class Components(Clusterer):
    """Connected components: an answer that means the same as one member of a cluster joins the cluster."""

    name = "components"

    def flow(self, size: int) -> Flow:
        labels, left, label = [0] * size, list(range(size)), 0
        while left:
            frontier = [left.pop(0)]
            while frontier:
                member = frontier.pop(0)
                labels[member] = label
                same = (yield [(member, other) for other in left]) if left else []
                frontier += [other for other, is_same in zip(left, same, strict=True) if is_same]
                left = [other for other, is_same in zip(left, same, strict=True) if not is_same]
            label += 1
        return labels

    def describe(self) -> str:
        return self.name


class LastMatch(Clusterer):
    """The algorithm of the Nature 2024 code.

    Each response without a cluster opens a cluster and takes all later responses that match, even from other clusters.
    This class clusters responses, not distinct answers. If the judge is not transitive, the Nature 2024 code can put
    equal texts into different clusters; clustering distinct answers would give other numbers.
    """

    name = "last-match"
    order: Order = "given"
    distinct = False

    def describe(self) -> str:
        return self.name

    def flow(self, size: int) -> Flow:
        labels, label = [-1] * size, 0
        for index in range(size):
            if labels[index] != -1:
                continue
            labels[index] = label
            later = range(index + 1, size)
            same = (yield [(index, other) for other in later]) if later else []
            for other, is_same in zip(later, same, strict=True):
                if is_same:
                    labels[other] = label
            label += 1
        return labels


def _check_choice(option: str, value: _T, choices: tuple[str, ...]) -> _T:
    if value not in choices:
        raise OptionError(f"{option}={value!r} is unknown: use one of {', '.join(map(repr, choices))}")
    return value

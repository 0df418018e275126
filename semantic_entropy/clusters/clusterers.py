"""Clusterers: from pairwise verdicts to a partition of a group's distinct answers.

A clusterer is a generator that does no IO: it yields the index pairs it needs to know about, is sent their verdicts (an
undecided one arrives as False), and returns labels. Whoever drives it can so ask one judge for many groups at once.

    representative   Algorithm 1 of the EMPO paper: compare with one member of each cluster, the first match wins;
                     or with all of them (`pick="all"`), which keeps a judge that is not transitive from chaining.
    components       all that is linked, directly or through others, is one cluster.
    last-match       the Nature 2024 code's: a later representative takes back what an earlier one had.

Algorithm 1 as printed also opens a new cluster after a match; that is an erratum, not followed here.

Order. Judges are not transitive, so the partition can depend on the order of comparison. By default the distinct
answers are taken in a canonical order (most frequent first, then shortest, then by text), so that the order of the
responses cannot change the entropy. `order="given"` is the order of first appearance, as printed.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Generator
from itertools import combinations
from typing import ClassVar, Literal, TypeVar, get_args

from semantic_entropy.errors import OptionError

Order = Literal["canonical", "given"]
Pick = Literal["first", "random", "all"]
_T = TypeVar("_T", bound=str)
Flow = Generator[list[tuple[int, int]], list[bool], list[int]]


class Clusterer(ABC):
    """Base of every clusterer: implement `flow`."""

    name: str = ""
    order: Order = "canonical"
    distinct: ClassVar[bool] = True
    """Whether it clusters distinct answers (those with equal keys are one) or every response by itself."""

    @abstractmethod
    def flow(self, size: int) -> Flow:
        """Cluster `size` answers: yield index pairs (i, j), be sent a bool for each, return labels (size,)."""

    def describe(self) -> str:
        """The name with the choices that set it apart, for a result's provenance."""
        return f"{self.name}(order={self.order})"


class Representative(Clusterer):
    """Algorithm 1: an answer joins the first cluster whose representative means the same, else opens one.

    With `pick="first"` the representative is the cluster's first member, and all that is left is compared with one
    representative a round: the same pairs and the same partition as one answer after the other, in as many rounds as
    there are clusters. With `pick="random"` it is a random member, drawn anew each time (seeded, the same for a group
    whatever else is in the call), and answers go one after the other. With `pick="all"` an answer joins only where it
    means the same as every member: more pairs, for judges that cost nothing.
    """

    name = "representative"

    def __init__(self, order: Order = "canonical", pick: Pick = "first", seed: int = 0) -> None:
        self.order = _one_of("order", order, get_args(Order))
        self.pick = _one_of("pick", pick, get_args(Pick))
        self.seed = seed

    def flow(self, size: int) -> Flow:
        flows = {"first": self._first_member, "random": self._random_member, "all": self._all_members}
        return flows[self.pick](size)

    def _first_member(self, size: int) -> Flow:
        labels, left, label = [0] * size, list(range(size)), 0
        while left:
            representative, *others = left
            same = (yield [(representative, other) for other in others]) if others else []
            for index in [representative, *(o for o, s in zip(others, same, strict=True) if s)]:
                labels[index] = label
            left = [o for o, s in zip(others, same, strict=True) if not s]
            label += 1
        return labels

    def _all_members(self, size: int) -> Flow:
        labels, left, label = [0] * size, list(range(size)), 0
        while left:
            members, others = left[:1], left[1:]
            same = (yield [(members[0], other) for other in others]) if others else []
            close = [o for o, s in zip(others, same, strict=True) if s]
            pairs = list(combinations(close, 2))
            verdicts = (yield pairs) if pairs else []
            linked = {pair for pair, s in zip(pairs, verdicts, strict=True) if s}
            for candidate in close:
                if all((member, candidate) in linked for member in members[1:]):
                    members.append(candidate)
            for member in members:
                labels[member] = label
            left = [o for o in others if o not in set(members)]
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
        return _labels(clusters, size)

    def describe(self) -> str:
        pick = {"first": "", "random": f", pick=random, seed={self.seed}", "all": ", pick=all"}[self.pick]
        return f"{self.name}(order={self.order}{pick})"


class Components(Clusterer):
    """Connected components: the same as anything in a cluster is the same as all of it."""

    name = "components"

    def flow(self, size: int) -> Flow:
        labels, left, label = [0] * size, list(range(size)), 0
        while left:
            frontier = [left.pop(0)]
            while frontier:
                member = frontier.pop(0)
                labels[member] = label
                same = (yield [(member, other) for other in left]) if left else []
                frontier += [o for o, s in zip(left, same, strict=True) if s]
                left = [o for o, s in zip(left, same, strict=True) if not s]
            label += 1
        return labels

    def describe(self) -> str:
        return self.name


class LastMatch(Clusterer):
    """The Nature 2024 code's: each response that no cluster has yet opens one and claims all later ones it matches.

    It goes over responses, not distinct answers: where the judge is not transitive, that code can put equal texts into
    different clusters, and its numbers follow from it.
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
            for other, claimed in zip(later, same, strict=True):
                if claimed:
                    labels[other] = label
            label += 1
        return labels


def _labels(clusters: list[list[int]], size: int) -> list[int]:
    labels = [0] * size
    for label, members in enumerate(clusters):
        for member in members:
            labels[member] = label
    return labels


def _one_of(option: str, value: _T, choices: tuple[str, ...]) -> _T:
    if value not in choices:
        raise OptionError(f"{option}={value!r} is unknown: use one of {', '.join(map(repr, choices))}")
    return value

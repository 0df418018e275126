"""Clusters many groups together, so that each judge gets one batch of pairs in each round.

Each group's clusterer asks for the pairs that it needs next. A round collects the pairs of all groups, drops those that
equal keys, the cache or another group of the round settle, sends the rest to each judge in one batch, and gives every
group its verdicts. A verdict is in the cache within a second of its arrival, so an error or an interruption loses no
verdict that was paid for.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from semantic_entropy.cache.memory import VerdictCache
from semantic_entropy.clusters.clusterers import Clusterer
from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.contracts import answer_keys, checked_flow, stream_verdicts
from semantic_entropy.errors import SemanticEntropyError
from semantic_entropy.progress import cancel_event
from semantic_entropy.types import Clustering, Pair, Usage, Verdict, by_first_appearance

_STORE_INTERVAL = 1.0  # seconds between two writes of arriving verdicts to the cache: what a kill may lose


@dataclass(frozen=True, slots=True)
class Job:
    """The valid answers of one group, with the judge and the clusterer that they go through."""

    question: str | None
    answers: Sequence[str]
    equivalence: Equivalence
    clusterer: Clusterer


def run(jobs: Sequence[Job], cache: VerdictCache) -> list[Clustering]:
    """Cluster every job: labels (n,) of its answers by first appearance, with counts of pairs.

    Verdicts that have arrived are in the cache even if this raises or is interrupted.
    """
    judges = {id(job.equivalence): judge_key(job.equivalence) for job in jobs}
    tasks = [_Task(job, judges[id(job.equivalence)]) for job in jobs]
    active = [task for task in tasks if task.wanted]
    undecided: dict[Hashable, Verdict] = {}  # the cache does not keep these; this run does not ask them again
    while active:
        round_ = _Round(cache, undecided)
        for task in active:
            task.look_up(round_)
        for batch in round_.batches.values():
            if batch.pairs:
                batch.judge(cache)
            undecided |= batch.undecided()
        for task in active:
            task.advance()
        active = [task for task in active if task.wanted]
    return [task.clustering() for task in tasks]


def judge_key(equivalence: Equivalence) -> tuple[Hashable, ...]:
    """What a verdict depends on, except the question and the answers: the first part of `verdict_key`."""
    versions = () if equivalence.cheap else tuple(sorted(equivalence.versions.items()))
    return type(equivalence), equivalence.settings, versions


def verdict_key(judge: tuple[Hashable, ...], equivalence: Equivalence, pair: Pair) -> tuple[Hashable, ...]:
    """The key of a verdict in the cache. `judge` is `judge_key(equivalence)`."""
    question = pair.question if equivalence.uses_question else None
    return (*judge, question, *sorted((pair.left, pair.right)))


class _Batch:
    """The pairs that one judge is asked about in one round, and its verdicts by the same index."""

    def __init__(self, equivalence: Equivalence) -> None:
        self.equivalence = equivalence
        self.pairs: list[Pair] = []
        self.keys: list[Hashable] = []  # in the cache; none for a judge that is not cached
        self.verdicts: list[Verdict] = []

    def judge(self, cache: VerdictCache) -> None:
        """Ask the judge. Arriving verdicts go to the cache every second, and when an error ends the call."""
        self.verdicts = [Verdict(None)] * len(self.pairs)
        new: list[int] = []
        cancelled, stored_at = cancel_event().is_set, time.monotonic()
        try:
            with contextlib.closing(stream_verdicts(self.equivalence, self.pairs)) as stream:
                for index, verdict in stream:
                    self.verdicts[index] = verdict
                    new.append(index)
                    if time.monotonic() - stored_at > _STORE_INTERVAL:
                        self._store(new, cache)
                        new, stored_at = [], time.monotonic()
                    if cancelled():
                        raise SemanticEntropyError("cancelled; the verdicts that arrived before are in the cache")
        finally:
            self._store(new, cache)

    def undecided(self) -> dict[Hashable, Verdict]:
        """The undecided verdicts by key, without their usage: another group of this run does not pay for them."""
        found = zip(self.keys, self.verdicts, strict=False)  # no keys: the judge is not cached
        return {key: verdict._replace(usage=None) for key, verdict in found if verdict.same is None}

    def _store(self, new: Sequence[int], cache: VerdictCache) -> None:
        """Put verdicts into the cache, unless a look into the cache costs more than asking again."""
        cache.arrived += len(new)
        if self.equivalence.cheap:
            cache.free.add(self.equivalence.name)
        elif new:
            cache.put_all((self.keys[index], self.verdicts[index]) for index in new)


class _Round:
    """The pairs of all groups in one round: a batch for each judge, and the index of each pair in its batch."""

    def __init__(self, cache: VerdictCache, undecided: Mapping[Hashable, Verdict]) -> None:
        self.cache, self.undecided = cache, undecided
        self.batches: dict[int, _Batch] = {}  # by the id of the judge
        self._asked: dict[Hashable, tuple[_Batch, dict[Hashable, int]]] = {}

    def asked(self, key: Hashable, equivalence: Equivalence) -> tuple[_Batch, dict[Hashable, int]]:
        """The batch for pairs whose verdict key begins with `key`, and the index of each of them by its answers."""
        if key not in self._asked:
            batch = self.batches.setdefault(id(equivalence), _Batch(equivalence))
            self._asked[key] = batch, {}
        return self._asked[key]


_EQUAL_KEYS = Verdict(same=True, reason="equal keys")


class _Task:
    """One group on its way through its clusterer's flow.

    Item i of the flow has the text `_texts[i]`; two items of one class (`_classes`) have equal keys.
    """

    def __init__(self, job: Job, judge: tuple[Hashable, ...]) -> None:
        self._judge, self._question, self._is_cached = job.equivalence, job.question, not job.equivalence.cheap
        self._key = (*judge, job.question if job.equivalence.uses_question else None)
        distinct, self._items = _distinct(job)  # the item of each answer
        if job.clusterer.distinct:
            self._texts, self._classes = distinct, list(range(len(distinct)))
        else:
            self._texts, self._classes = [distinct[item] for item in self._items], self._items
            self._items = list(range(len(self._texts)))
        self._flow = checked_flow(job.clusterer, len(self._texts))
        self._labels: list[int] = []
        self._found: list[Verdict | int] = []  # for each wanted pair its verdict, or its index in the batch
        self._own: list[int] = []  # the indices that this group added to the batch
        self._asked = self._cached = 0
        self._undecided: list[tuple[Pair, str | None]] = []
        self._decided: dict[str, int] = {}
        self._usage: Usage | None = None
        self.wanted: list[tuple[int, int]] = []
        self._send(None)

    def look_up(self, round_: _Round) -> None:
        """Find the verdicts that are known, and add the other pairs to the round's batch unless they are in it."""
        self._batch, asked = round_.asked(self._key, self._judge)
        pairs, texts, classes = self._batch.pairs, self._texts, self._classes
        undecided = round_.undecided
        first = self._key if self._is_cached else ()  # this dict of asked pairs is for one judge and one question
        found: list[Verdict | int] = []
        own: list[int] = []
        self._found, self._own = found, own
        for i, j in self.wanted:
            if classes[i] == classes[j]:
                found.append(_EQUAL_KEYS)
                continue
            left, right = texts[i], texts[j]
            key = (*first, left, right) if left <= right else (*first, right, left)
            index = asked.get(key)
            if index is None:
                if first:
                    if known := round_.cache.get(key) or (undecided and undecided.get(key)):
                        found.append(known)
                        continue
                    self._batch.keys.append(key)
                index = asked[key] = len(pairs)
                pairs.append(Pair(self._question, left, right))
                own.append(index)
            found.append(index)

    def advance(self) -> None:
        """Give the flow the verdicts on the pairs it wanted; undecided counts as not the same."""
        verdicts, decided = self._batch.verdicts, self._decided
        judged = [verdicts[source] if isinstance(source, int) else source for source in self._found]
        equal = 0
        for place, verdict in enumerate(judged):
            if verdict is _EQUAL_KEYS:
                equal += 1
            elif verdict.same is not None:
                name = verdict.by or self._judge.name
                decided[name] = decided.get(name, 0) + 1
            else:
                left, right = (self._texts[item] for item in self.wanted[place])
                self._undecided.append((Pair(self._question, left, right), verdict.reason))
        self._asked += len(self._own)
        self._cached += len(self._found) - len(self._own) - equal
        if paid := [usage for index in self._own if (usage := verdicts[index].usage)]:
            self._usage = sum(paid, self._usage or Usage())
        self._send([bool(verdict.same) for verdict in judged])

    def _send(self, same: list[bool] | None) -> None:
        try:
            self.wanted = next(self._flow) if same is None else self._flow.send(same)
        except StopIteration as end:
            self.wanted, self._labels = [], end.value

    def clustering(self) -> Clustering:
        return Clustering(
            by_first_appearance([self._labels[item] for item in self._items]),
            self._asked,
            self._cached,
            tuple(self._undecided),
            self._decided,
            self._usage,
        )


def _distinct(job: Job) -> tuple[list[str], list[int]]:
    """One text for each key, in the clusterer's order; and for each answer of the job, the index of its text."""
    counts: dict[str, int] = {}
    for answer in job.answers:
        counts[answer] = counts.get(answer, 0) + 1
    texts = list(counts)
    if len(texts) < 2:
        return texts, [0] * len(job.answers)
    classes: dict[Hashable, list[str]] = {}
    for text, key in zip(texts, answer_keys(job.equivalence, job.question, texts), strict=True):
        classes.setdefault((True, text) if key is None else (False, key), []).append(text)
    members = list(classes.values())
    if job.clusterer.order == "canonical":  # most frequent first, then shortest, then by text
        ranks = {text: (-count, len(text), text) for text, count in counts.items()}
        if len(members) == len(texts):
            members.sort(key=lambda same: ranks[same[0]])
        else:
            for same in members:
                same.sort(key=ranks.__getitem__)
            members.sort(key=lambda same: (sum([ranks[text][0] for text in same]), *ranks[same[0]][1:]))
    index = {text: i for i, same in enumerate(members) for text in same}
    return [same[0] for same in members], [index[answer] for answer in job.answers]

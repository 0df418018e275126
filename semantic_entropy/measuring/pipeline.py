"""Cluster many groups together, so that each judge gets one batch of pairs in each round.

In each round, the clusterer of each group asks for pairs. A pair is not sent to the judge if its answers have equal
keys, if its verdict is in the cache, or if another group of the round has asked for the pair. The other pairs of all
groups go to each judge in one batch, and each group gets its verdicts. Arriving verdicts are stored in the cache every
second and when an error or an interruption ends the round, so that no paid verdict is lost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semantic_entropy.cache.memory import VerdictCache
from semantic_entropy.clusters.clusterers import Clusterer
from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.contracts import answer_keys, checked_flow, component_versions, judge_settings, stream_verdicts
from semantic_entropy.errors import SemanticEntropyError
from semantic_entropy.progress import cancel_event
from semantic_entropy.types import Clustering, GroupPair, Pair, Usage, Verdict, by_first_appearance

_STORE_INTERVAL = 1.0  # seconds between two writes to the cache: a kill loses the verdicts of this time


@dataclass(frozen=True, slots=True)
class Job:
    """The valid answers of one group, with the judge and the clusterer for the group."""

    question: str | None
    answers: Sequence[str]
    equivalence: Equivalence
    clusterer: Clusterer


def run(jobs: Sequence[Job], cache: VerdictCache) -> list[Clustering]:
    """Cluster the answers of every job. Return a `Clustering` for each job.

    If this function raises or is interrupted, the verdicts that have arrived are in the cache.
    """
    judges = {id(job.equivalence): judge_key(job.equivalence) for job in jobs}
    tasks = [_Task(job, judges[id(job.equivalence)]) for job in jobs]
    active = [task for task in tasks if task.wanted]
    undecided: dict[Hashable, Verdict] = {}  # the cache does not store undecided verdicts; this run does not ask again
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
    """Return the judge's part of `verdict_key`: its class, settings, versions with rules, and types of the settings.

    Rules that never changed are left out: such keys are those of 0.1.0, so cache files of 0.1.0 stay useful. The types
    keep apart the settings 1, 1.0 and True, which are equal.
    """
    versions = () if equivalence.cheap else tuple(sorted(component_versions("equivalence", equivalence).items()))
    rules = () if equivalence.rules == 1 else (("rules", equivalence.rules),)
    settings = judge_settings(equivalence)
    return type(equivalence), settings, (*versions, *rules), _types(settings)


def _types(value: Hashable) -> Hashable:
    return tuple(map(_types, value)) if isinstance(value, tuple) else type(value)


def verdict_key(judge: tuple[Hashable, ...], equivalence: Equivalence, pair: Pair) -> tuple[Hashable, ...]:
    """Return the cache key of the verdict on a pair. `judge` is `judge_key(equivalence)`."""
    question = pair.question if equivalence.uses_question else None
    return (*judge, question, *sorted((pair.left, pair.right)))


class PairBatch:
    """The pairs that go to one judge in one round, and the judge's verdicts in the same order."""

    def __init__(self, equivalence: Equivalence) -> None:
        self.equivalence = equivalence
        self.pairs: list[Pair] = []
        self.keys: list[Hashable] = []  # cache keys of the pairs; empty if the judge is cheap
        self.verdicts: list[Verdict] = []

    def judge(self, cache: VerdictCache) -> None:
        """Ask the judge. Store arriving verdicts in the cache every second and when an error ends the call."""
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
        """Return the undecided verdicts by key, without their usage, because only the first group counts the usage."""
        found = zip(self.keys, self.verdicts, strict=False)  # no keys: the judge is cheap
        return {key: verdict._replace(usage=None) for key, verdict in found if verdict.same is None}

    def _store(self, new: Sequence[int], cache: VerdictCache) -> None:
        """Store verdicts in the cache, unless asking the judge again is faster than a cache lookup."""
        cache.arrived += len(new)
        if self.equivalence.cheap:
            cache.free.add(self.equivalence.name)
        elif new:
            cache.put_all((self.keys[index], self.verdicts[index]) for index in new)


class _Round:
    """The pairs of all groups in one round: a batch for each judge, and the index of each pair in the batch."""

    def __init__(self, cache: VerdictCache, undecided: Mapping[Hashable, Verdict]) -> None:
        self.cache, self.undecided = cache, undecided
        self.batches: dict[int, PairBatch] = {}  # by the id of the judge
        self._asked: dict[Hashable, tuple[PairBatch, dict[Hashable, int]]] = {}

    def asked(self, key: Hashable, equivalence: Equivalence) -> tuple[PairBatch, dict[Hashable, int]]:
        """Return the judge's batch, and a dict: key of a pair -> index of the pair in the batch.

        Groups with the same `key` share the dict. `key` is the judge's key, and the question if the judge uses the
        question. The key of a pair is its verdict key; for a cheap judge, it is the two answers in sorted order.
        """
        if key not in self._asked:
            batch = self.batches.setdefault(id(equivalence), PairBatch(equivalence))
            self._asked[key] = batch, {}
        return self._asked[key]


_EQUAL_KEYS = Verdict(same=True, reason="equal keys")


class _Task:
    """One group while its clusterer's flow runs.

    Item i of the flow has the text `_texts[i]`. Two items with equal keys have equal values in `_classes`.
    """

    def __init__(self, job: Job, judge: tuple[Hashable, ...]) -> None:
        self._judge, self._question, self._is_cached = job.equivalence, job.question, not job.equivalence.cheap
        self._key = (*judge, job.question if job.equivalence.uses_question else None)
        distinct, self._items = _distinct(job)  # _items: the index of the item of each answer
        if job.clusterer.distinct:
            self._texts, self._classes = distinct, list(range(len(distinct)))
        else:
            self._texts, self._classes = [distinct[item] for item in self._items], self._items
            self._items = list(range(len(self._texts)))
        self._flow = checked_flow(job.clusterer, len(self._texts))
        self._memory: dict[object, Any] = {}  # what a judge that `limits_groups` knows of this group
        self._labels: list[int] = []
        self._found: list[Verdict | int] = []  # for each wanted pair: its verdict, or its index in the batch
        self._own: list[int] = []  # the indices that this group added to the batch
        self._asked = self._cached = 0
        self._undecided: list[tuple[Pair, str | None]] = []
        self._decided: dict[str, int] = {}
        self._usage: Usage | None = None
        self.wanted: list[tuple[int, int]] = []
        self._send(None)

    def look_up(self, round_: _Round) -> None:
        """Find the known verdicts of the wanted pairs. Add each pair without a known verdict to the batch once."""
        self._batch, asked = round_.asked(self._key, self._judge)
        pairs, texts, classes = self._batch.pairs, self._texts, self._classes
        limits_groups = self._judge.limits_groups
        undecided = {} if limits_groups else round_.undecided  # each group has its own limit
        first = self._key if self._is_cached else ()  # (): `asked` belongs to one judge and one question
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
                pairs.append(
                    GroupPair(self._question, left, right, [self._memory])
                    if limits_groups
                    else Pair(self._question, left, right)
                )
                own.append(index)
            elif limits_groups:
                pair = pairs[index]
                assert isinstance(pair, GroupPair)
                if all(memory is not self._memory for memory in pair.groups):
                    pair.groups.append(self._memory)
            found.append(index)

    def advance(self) -> None:
        """Send the verdicts on the wanted pairs to the flow. An undecided verdict counts as not the same."""
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
        # A cheap judge has no cache. Its pairs count as asked, whichever group of the call had them first: so the
        # result of a row does not depend on the rows that were measured with it.
        asked = len(self._own if self._is_cached else {each for each in self._found if isinstance(each, int)})
        self._asked += asked
        self._cached += len(self._found) - asked - equal
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
    """Return one text for each key, in the clusterer's order, and the index of the text of each answer."""
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

"""Clusters many groups together, so that each judge gets one batch of pairs in each round.

Each group's clusterer asks for the pairs that it needs next. A round collects the pairs of all groups, drops those that
equal keys, the cache or another group of the round settle, sends the rest to each judge in one batch, and gives every
group its verdicts. A verdict is in the cache within a second of its arrival, so an error or an interruption loses no
verdict that was paid for.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from semantic_entropy.cache.memory import VerdictCache
from semantic_entropy.clusters.clusterers import Clusterer
from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.contracts import answer_keys, checked_flow, stream_verdicts
from semantic_entropy.errors import SemanticEntropyError
from semantic_entropy.progress import is_cancelled
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
        asked: dict[Hashable, _Asked] = {}
        found = [task.look_up(cache, undecided, asked) for task in active]
        batches: dict[int, list[_Asked]] = {}
        for question in asked.values():
            batches.setdefault(id(question.equivalence), []).append(question)
        for batch in batches.values():
            _judge(batch, cache)
        undecided |= {key: one.verdict._replace(usage=None) for key, one in asked.items() if one.verdict.same is None}
        for task, sources in zip(active, found, strict=True):
            task.send(sources)
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


@dataclass(slots=True, eq=False)
class _Asked:
    """A pair that a judge is asked about in this round, and the verdict when it has arrived."""

    equivalence: Equivalence
    pair: Pair
    key: Hashable
    verdict: Verdict = field(default=Verdict(None))


def _judge(batch: Sequence[_Asked], cache: VerdictCache) -> None:
    """Ask one judge about its pairs of a round. Arriving verdicts go to the cache every second."""
    equivalence = batch[0].equivalence
    new: list[_Asked] = []
    stored_at = time.monotonic()
    try:
        with contextlib.closing(stream_verdicts(equivalence, [question.pair for question in batch])) as stream:
            for index, verdict in stream:
                question = batch[index]
                question.verdict = verdict
                new.append(question)
                if time.monotonic() - stored_at > _STORE_INTERVAL:
                    _store(equivalence, new, cache)
                    new, stored_at = [], time.monotonic()
                if is_cancelled():
                    raise SemanticEntropyError("cancelled; the verdicts that arrived before are in the cache")
    finally:  # after an error too: what has arrived was paid for
        _store(equivalence, new, cache)


def _store(equivalence: Equivalence, new: Sequence[_Asked], cache: VerdictCache) -> None:
    """Put verdicts into the cache, unless a look into the cache costs more than asking again."""
    cache.arrived += len(new)
    if equivalence.cheap:
        cache.free.add(equivalence.name)
    elif new:
        cache.put_all((question.key, question.verdict) for question in new)


_EQUAL_KEYS = Verdict(same=True, reason="equal keys")


class _Task:
    """One group on its way through its clusterer's flow.

    Item i of the flow has the text `_texts[i]`; two items of one class (`_classes`) have equal keys.
    """

    def __init__(self, job: Job, judge: tuple[Hashable, ...]) -> None:
        self._judge, self._question, self._cheap = job.equivalence, job.question, job.equivalence.cheap
        self._key = (*judge, job.question if job.equivalence.uses_question else None)
        distinct, self._items = _distinct(job)  # the item of each answer
        if job.clusterer.distinct:
            self._texts, self._classes = distinct, list(range(len(distinct)))
        else:
            self._texts, self._classes = [distinct[item] for item in self._items], self._items
            self._items = list(range(len(self._texts)))
        self._flow = checked_flow(job.clusterer, len(self._texts))
        self._labels: list[int] = []
        self._asked: list[_Asked] = []
        self._cached = 0
        self._undecided: list[tuple[Pair, str | None]] = []
        self._decided: Counter[str] = Counter()
        self.wanted: list[tuple[int, int]] = []
        self._advance(None)

    def look_up(
        self, cache: VerdictCache, undecided: Mapping[Hashable, Verdict], asked: dict[Hashable, _Asked]
    ) -> list[Verdict | _Asked]:
        """For each pair that the flow wants, the known verdict, or the place where it will arrive.

        A pair that no one knows and no other group asks is added to `asked`.
        """
        found: list[Verdict | _Asked] = []
        for i, j in self.wanted:
            if self._classes[i] == self._classes[j]:
                found.append(_EQUAL_KEYS)
                continue
            left, right = self._texts[i], self._texts[j]
            key = (*self._key, left, right) if left <= right else (*self._key, right, left)
            source: Verdict | _Asked | None = asked.get(key)
            if source is None and not self._cheap:
                source = cache.get(key) or undecided.get(key)
            if source is None:
                source = asked[key] = _Asked(self._judge, Pair(self._question, left, right), key)
                self._asked.append(source)
            else:
                self._cached += 1
            found.append(source)
        return found

    def send(self, sources: Sequence[Verdict | _Asked]) -> None:
        """Give the flow its verdicts; undecided counts as not the same."""
        same: list[bool] = []
        for (i, j), source in zip(self.wanted, sources, strict=True):
            verdict = source.verdict if isinstance(source, _Asked) else source
            if verdict.same is None:
                self._undecided.append((Pair(self._question, self._texts[i], self._texts[j]), verdict.reason))
            elif source is not _EQUAL_KEYS:
                self._decided[verdict.by or self._judge.name] += 1
            same.append(bool(verdict.same))
        self._advance(same)

    def _advance(self, same: list[bool] | None) -> None:
        try:
            self.wanted = next(self._flow) if same is None else self._flow.send(same)
        except StopIteration as end:
            self.wanted, self._labels = [], end.value

    def clustering(self) -> Clustering:
        usage = [question.verdict.usage for question in self._asked if question.verdict.usage]
        return Clustering(
            by_first_appearance([self._labels[item] for item in self._items]),
            len(self._asked),
            self._cached,
            tuple(self._undecided),
            dict(self._decided),
            sum(usage, Usage()) if usage else None,
        )


def _distinct(job: Job) -> tuple[list[str], list[int]]:
    """One text for each key, in the clusterer's order; and for each answer of the job, the index of its text."""
    counts = Counter(job.answers)
    texts = list(counts)
    if len(texts) < 2:
        return texts, [0] * len(job.answers)
    classes: dict[Hashable, list[str]] = {}
    for text, key in zip(texts, answer_keys(job.equivalence, job.question, texts), strict=True):
        classes.setdefault((key is None, text if key is None else key), []).append(text)
    members = list(classes.values())
    if job.clusterer.order == "canonical":
        for same in members:
            if len(same) > 1:
                same.sort(key=lambda text: (-counts[text], len(text), text))
        members.sort(key=lambda same: (-sum([counts[text] for text in same]), len(same[0]), same[0]))
    index = {text: i for i, same in enumerate(members) for text in same}
    return [same[0] for same in members], [index[answer] for answer in job.answers]

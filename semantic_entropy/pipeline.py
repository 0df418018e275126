"""Drives many groups in lock-step, so that one judge call a round serves them all.

Each group's clusterer asks for the pairs it needs next. A round collects what all groups ask, drops what equal keys,
the cache or another group of the round already settle, sends the rest to each judge in one batch, and hands every group
its verdicts. The loop itself (`rounds`) waits for nobody: it yields batches for whoever drives it to fill. A verdict is
in the cache within a second of its arrival, so that an error or an interruption costs none that was paid for.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from semantic_entropy.cache.memory import VerdictCache
from semantic_entropy.clusters.clusterers import Clusterer, Flow
from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.errors import EquivalenceError, PluginError, SemanticEntropyError
from semantic_entropy.progress import is_cancelled
from semantic_entropy.types import Clustering, Pair, Usage, Verdict

_KEEP_EVERY = 1.0  # seconds between two writes of arriving verdicts to the cache: what a kill may cost


@dataclass(frozen=True, slots=True)
class Job:
    """The valid answers of one group, and who judges and clusters them."""

    question: str | None
    answers: Sequence[str]
    equivalence: Equivalence
    clusterer: Clusterer


def run(jobs: Sequence[Job], cache: VerdictCache) -> list[Clustering]:
    """Cluster every job: labels (n,) of its answers by first appearance, with counts of pairs.

    Verdicts that have arrived are in the cache even where this raises or is interrupted.
    """
    with contextlib.closing(rounds(jobs, cache)) as steps:
        try:
            batches = next(steps)
            while True:
                for batch in batches:
                    _judge(batch)
                batches = steps.send(None)
        except StopIteration as done:
            clusterings: list[Clustering] = done.value
            return clusterings


def rounds(jobs: Sequence[Job], cache: VerdictCache) -> Generator[list[Batch], None, list[Clustering]]:
    """One batch of pairs for each judge and round out, to be filled by its driver; clusterings at the end."""
    tasks = [_Task(job) for job in jobs]
    active = [task for task in tasks if task.wanted]
    undecided: dict[Hashable, Verdict] = {}  # which the cache does not keep: the next run may go better, not this one
    while active:
        asked: dict[Hashable, _Asked] = {}
        lookups = [[_look_up(task, i, j, (cache, undecided), asked) for i, j in task.wanted] for task in active]
        by_judge: dict[int, list[_Asked]] = {}
        for question in asked.values():
            by_judge.setdefault(id(question.equivalence), []).append(question)
        batches = [Batch(questions, cache) for questions in by_judge.values()]
        if batches:
            try:
                yield batches
            finally:  # also where the driver gives up: what has arrived was paid for
                for batch in batches:
                    batch.keep()
        undecided |= {key: one.verdict._replace(usage=None) for key, one in asked.items() if one.verdict.same is None}
        for task, found in zip(active, lookups, strict=True):
            task.send(found)
        active = [task for task in active if task.wanted]
    return [task.clustering() for task in tasks]


class Batch:
    """The pairs that one judge is asked about in one round, and its verdicts as they arrive."""

    def __init__(self, asked: Sequence[_Asked], cache: VerdictCache) -> None:
        self.equivalence, self.pairs = asked[0].equivalence, [question.pair for question in asked]
        self._asked, self._cache = asked, cache
        self._new: list[_Asked] = []
        self._kept_at = time.monotonic()

    def deliver(self, index: int, verdict: Verdict) -> None:
        """Take the verdict on a pair; into the cache it goes with others, every second."""
        question = self._asked[index]
        question.verdict = verdict
        self._new.append(question)
        if time.monotonic() - self._kept_at > _KEEP_EVERY:
            self.keep()

    def keep(self) -> None:
        """Put what has arrived into the cache, unless looking it up would cost more than asking."""
        self._cache.arrived += len(self._new)
        if self.equivalence.cheap:
            self._cache.free.add(self.equivalence.name)
        elif self._new:
            self._cache.put_all((question.key, question.verdict) for question in self._new)
        self._new, self._kept_at = [], time.monotonic()


def ask(equivalence: Equivalence, pairs: Sequence[Pair]) -> list[Verdict]:
    """The judge's verdicts in the order of the pairs, checked against its contract.

    Raises:
        EquivalenceError: it raised, left out a pair, or answered something that is not a `Verdict`.
    """
    found: dict[int, Verdict] = {}
    _stream(equivalence, pairs, found.__setitem__)
    return [found[index] for index in range(len(pairs))]


def _judge(batch: Batch) -> None:
    _stream(batch.equivalence, batch.pairs, batch.deliver)


def _stream(equivalence: Equivalence, pairs: Sequence[Pair], deliver: Callable[[int, Verdict], None]) -> None:
    """Ask, and deliver the verdicts as they come: exactly one for each pair."""
    waiting = set(range(len(pairs)))
    with (
        _named(equivalence, f"judge() on {len(pairs)} pairs, the first {pairs[:1]}"),
        contextlib.ExitStack() as stack,
    ):
        stream = equivalence.stream(pairs)
        stack.callback(getattr(stream, "close", lambda: None))  # an error below would keep it, and its calls, alive
        for index, verdict in stream:
            if index not in waiting:
                raise _miscounted(equivalence, pairs, len(pairs) - len(waiting) + 1 + sum(1 for _ in stream))
            if not _is_verdict(verdict):
                raise EquivalenceError(
                    f"equivalence {equivalence.name!r} returned {verdict!r} for {pairs[index]!r}; "
                    "return Verdict(True), Verdict(False), or Verdict(None) where it cannot decide"
                )
            waiting.remove(index)
            deliver(index, verdict)
            if is_cancelled():
                raise SemanticEntropyError("stopped: the verdicts that had come are in the cache")
        if waiting:
            raise _miscounted(equivalence, pairs, len(pairs) - len(waiting))


def _miscounted(equivalence: Equivalence, pairs: Sequence[Pair], count: int) -> EquivalenceError:
    return EquivalenceError(
        f"equivalence {equivalence.name!r} returned {count} verdicts for {len(pairs)} pairs; "
        "it returns one verdict for each pair: judge() in order, stream() with the index of each"
    )


def extracted(equivalence: Equivalence, responses: Sequence[str]) -> tuple[str | None, ...]:
    """The judge's own way to find the answers, checked: one for each response, a text with content or None.

    Raises:
        EquivalenceError: it raised, or returned something else.
    """
    answers = _call(equivalence, f"extract() on {len(responses)} responses", equivalence.extract, responses)
    if len(answers) != len(responses) or not all(a is None or isinstance(a, str) for a in answers):
        raise EquivalenceError(
            f"equivalence {equivalence.name!r} extracted {answers!r:.200} from {len(responses)} responses; "
            "extract() returns one str or None for each"
        )
    return tuple(a if a and a.strip() else None for a in answers)


def _call(equivalence: Equivalence, what: str, method: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The list that a judge's method returns, or an error with the judge's name."""
    with _named(equivalence, what):
        return list(method(*arguments))


@contextlib.contextmanager
def _named(equivalence: Equivalence, what: str) -> Iterator[None]:
    """Whatever a judge raises, as an error with its name."""
    try:
        yield
    except SemanticEntropyError:
        raise
    except Exception as error:
        raise EquivalenceError(
            f"equivalence {equivalence.name!r} raised {type(error).__name__}: {error} in {what}"
        ) from error


def _is_verdict(value: object) -> bool:
    return isinstance(value, Verdict) and value.same in (True, False, None)


@dataclass(slots=True, eq=False)
class _Asked:
    """A pair on its way to a judge in this round, and the verdict once it is back."""

    equivalence: Equivalence
    pair: Pair
    key: Hashable
    verdict: Verdict = field(default=Verdict(None))


class _Kept(Protocol):
    """Where verdicts may be found."""

    def get(self, key: Hashable, /) -> Verdict | None: ...


class _Lookup(NamedTuple):
    """Where a group finds the verdict on a pair it asked for; `own` where it was the one to ask the judge."""

    pair: Pair
    known: Verdict | None
    asked: _Asked | None
    own: bool

    @property
    def verdict(self) -> Verdict:
        return self.asked.verdict if self.asked else self.known or Verdict(None)


def _look_up(task: _Task, i: int, j: int, kept: Sequence[_Kept], asked: dict[Hashable, _Asked]) -> _Lookup:
    pair = Pair(task.job.question, task.texts[i], task.texts[j])
    if task.classes[i] == task.classes[j]:
        return _Lookup(pair, _EQUAL_KEYS, None, own=False)
    equivalence = task.job.equivalence
    key = verdict_key(task.judge, equivalence, pair)
    known = None if equivalence.cheap else next(filter(None, (one.get(key) for one in kept)), None)
    if known is not None:
        return _Lookup(pair, known, None, own=False)
    if key in asked:
        return _Lookup(pair, None, asked[key], own=False)
    asked[key] = _Asked(equivalence, pair, key)
    return _Lookup(pair, None, asked[key], own=True)


class _Task:
    """One group on its way through its clusterer's flow: item i has `texts[i]`, and its key is `classes[i]`."""

    def __init__(self, job: Job) -> None:
        self.job, self.judge = job, identity(job.equivalence)
        distinct, self._member = _distinct(job)
        if job.clusterer.distinct:
            self.texts, self.classes = distinct, list(range(len(distinct)))
        else:
            self.texts, self.classes = [distinct[one] for one in self._member], self._member
            self._member = list(range(len(self.texts)))
        self._flow: Flow = job.clusterer.flow(len(self.texts))
        self._labels: list[int] = []
        self._asked = self._cached = 0
        self._undecided: list[tuple[Pair, str | None]] = []
        self._decided: Counter[str] = Counter()
        self._usage: Usage | None = None
        self.wanted: list[tuple[int, int]] = []
        self._advance(None)

    def send(self, lookups: list[_Lookup]) -> None:
        """Hand the flow its verdicts; undecided counts as not the same."""
        verdicts = [lookup.verdict for lookup in lookups]
        for lookup, verdict in zip(lookups, verdicts, strict=True):
            self._asked += lookup.own
            self._cached += not lookup.own and lookup.known is not _EQUAL_KEYS
            if lookup.own and verdict.usage:
                self._usage = verdict.usage + (self._usage or Usage())
            if verdict.same is None:
                self._undecided.append((lookup.pair, verdict.reason))
            elif lookup.known is not _EQUAL_KEYS:
                self._decided[verdict.by or self.job.equivalence.name] += 1
        self._advance([bool(verdict.same) for verdict in verdicts])

    def _advance(self, verdicts: list[bool] | None) -> None:
        try:
            self.wanted = next(self._flow) if verdicts is None else self._flow.send(verdicts)
            while not self.wanted:
                self.wanted = self._flow.send([])
        except StopIteration as done:
            labels: Any = done.value
            self.wanted, self._labels = [], labels
            if not isinstance(labels, list) or len(labels) != len(self.texts):
                raise self._broken(
                    f"returned {self._labels!r:.200}; flow(size) returns a list of one label for each"
                ) from None
        except Exception as error:
            raise self._broken(f"raised {type(error).__name__}: {error}") from error
        size = len(self.texts)
        for i, j in self.wanted:
            if not (0 <= i < size and 0 <= j < size):
                raise self._broken(f"asked for the pairs {self.wanted!r:.200}")

    def _broken(self, how: str) -> PluginError:
        return PluginError(f"clusterer {self.job.clusterer.name!r}, on {len(self.texts)} answers, {how}")

    def clustering(self) -> Clustering:
        labels = by_first_appearance([self._labels[item] for item in self._member])
        undecided = tuple(self._undecided)
        return Clustering(labels, self._asked, self._cached, undecided, dict(self._decided), self._usage)


def verdict_key(judge: tuple[Hashable, ...], equivalence: Equivalence, pair: Pair) -> tuple[Hashable, ...]:
    """Under what the cache keeps the verdict of a judge, of which `identity` is the first part, on a pair."""
    question = pair.question if equivalence.uses_question else None
    return (*judge, question, *sorted((pair.left, pair.right)))


def identity(equivalence: Equivalence) -> tuple[Hashable, ...]:
    """What a verdict depends on beside the question and the answers: the first part of its key in the cache."""
    versions = () if equivalence.cheap else tuple(sorted(equivalence.versions.items()))
    return type(equivalence), equivalence.settings, versions


_EQUAL_KEYS = Verdict(same=True, reason="equal keys")


def _distinct(job: Job) -> tuple[list[str], list[int]]:
    """One text a key, in the clusterer's order; and for each answer of the job, which of them it is."""
    counts = Counter(job.answers)
    texts = list(counts)
    if len(texts) < 2:
        return texts, [0] * len(job.answers)
    classes: dict[Hashable, list[str]] = {}
    for text, key in zip(texts, _keys(job, texts), strict=True):
        classes.setdefault((key is None, text if key is None else key), []).append(text)
    members = list(classes.values())
    if job.clusterer.order == "canonical":
        for same in members:
            same.sort(key=lambda text: (-counts[text], len(text), text))
        members.sort(key=lambda same: (-sum(counts[text] for text in same), len(same[0]), same[0]))
    index = {text: i for i, same in enumerate(members) for text in same}
    return [same[0] for same in members], [index[answer] for answer in job.answers]


def _keys(job: Job, texts: list[str]) -> Sequence[Hashable | None]:
    keys = _call(job.equivalence, f"keys() on {len(texts)} answers", job.equivalence.keys, job.question, texts)
    if len(keys) != len(texts) or not all(isinstance(key, Hashable) for key in keys):
        raise EquivalenceError(
            f"equivalence {job.equivalence.name!r} returned the keys {keys!r:.200} for {len(texts)} answers; "
            "keys() returns one hashable key or None for each"
        )
    return keys


def by_first_appearance(labels: Sequence[Hashable]) -> tuple[int, ...]:
    """The same partition, numbered 0, 1, ... in order of first appearance."""
    seen: dict[Hashable, int] = {}
    return tuple(seen.setdefault(label, len(seen)) for label in labels)

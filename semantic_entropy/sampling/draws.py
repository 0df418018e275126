"""Groups as they are drawn: what is on disk is taken from there, the rest is asked for, each distinct question once.

Groups come out as they are complete, in any order, while the sampler goes on with the next ones: whoever reads them
judges meanwhile. A sample is written down before anything else happens to it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field

from semantic_entropy.errors import SamplingError
from semantic_entropy.progress.cancellation import stop_signal
from semantic_entropy.sampling.base import Request, SampleFailure, Sampler
from semantic_entropy.sampling.store import SampleStore
from semantic_entropy.types import Sample


@dataclass(frozen=True, slots=True)
class Drawn:
    """The samples for one question, and why there are fewer than asked for, where there are."""

    index: int
    question: str
    samples: tuple[Sample, ...]
    failure: SampleFailure | None = None

    @property
    def problem(self) -> str | None:
        """Why samples are missing."""
        return self.failure.reason if self.failure else None


@dataclass(slots=True)
class _Open:
    """A question on its way: who wants it, and what is there already."""

    indices: list[int]
    samples: list[Sample] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Done:
    """A question that is complete. samples: None where they are on disk, so that memory does not grow with the rows."""

    count: int
    samples: tuple[Sample, ...] | None
    failure: SampleFailure | None = None


@dataclass(frozen=True, slots=True)
class _Ready:
    """A group for its reader. samples: None where they are to be had from what is done."""

    index: int
    question: str
    samples: tuple[Sample, ...] | None = None


class Draw:
    """n samples for each of many questions.

    `problem` of what it yields says why samples are missing. Once nobody waits for what the thread that makes it works
    on, nothing more is asked.
    """

    def __init__(self, sampler: Sampler, n: int, store: SampleStore | None = None) -> None:
        self.sampler, self.n, self.store = sampler, n, store
        self._stop = stop_signal()  # here: a sampler may take requests from a thread of its own
        self._lock = threading.Lock()  # over what follows: a sampler may take requests from a thread of its own
        self._open: dict[str, _Open] = {}
        self._done: dict[str, _Done] = {}  # for questions that come again
        self._ready: deque[_Ready] = deque()

    def groups(self, questions: Iterable[str]) -> Generator[Drawn, None, None]:
        """A group for each question, in the order in which they are complete.

        Raises:
            SamplingError: the sampler cannot go on; the groups that were complete have been yielded before.
        """
        stream = self.sampler.stream(self._requests(questions))
        try:
            for request, drawn in stream:
                self._take(request, drawn)
                yield from self._finished()
                self._go_on()
        except SamplingError:
            yield from self._finished()
            raise
        finally:
            if isinstance(stream, Generator):
                stream.close()
        for question, one in list(self._open.items()):
            self._complete(question, SampleFailure(f"the sampler drew {len(one.samples)} of {self.n}"))
        yield from self._finished()

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise SamplingError("stopped: what had been drawn is kept where samples= names a file")

    def _finished(self) -> Iterator[Drawn]:
        while self._ready:
            one = self._ready.popleft()
            done = self._done[one.question]
            samples = self._again(one.question, done) if one.samples is None else one.samples
            yield Drawn(one.index, one.question, samples, done.failure)

    def _requests(self, questions: Iterable[str]) -> Iterator[Request]:
        """What has to be asked."""
        for index, question in enumerate(questions):
            if self._stop.is_set():
                return
            with self._lock:
                kept = self._already(index, question)
            if kept is not None:
                yield Request(index, question, self.n - len(kept), len(kept))

    def _already(self, index: int, question: str) -> list[Sample] | None:
        """The samples on disk where some are missing; None where nothing has to be asked."""
        if question in self._done:
            self._ready.append(_Ready(index, question))
        elif question in self._open:
            self._open[question].indices.append(index)
        else:
            kept = self.store.get(self.sampler, question, self.n) if self.store else []
            if len(kept) < self.n:
                self._open[question] = _Open([index], kept)
                return kept
            self._done[question] = _Done(len(kept), None)  # read when its turn comes: all of it may be on disk
            self._ready.append(_Ready(index, question))
        return None

    def _again(self, question: str, done: _Done) -> tuple[Sample, ...]:
        if done.samples is not None or self.store is None:
            return done.samples or ()
        return tuple(self.store.read(self.sampler, question, done.count))

    def _take(self, request: Request, drawn: Sample | SampleFailure) -> None:
        question = request.question
        if question not in self._open:
            raise SamplingError(f"sampler {self.sampler.name!r} drew more than the {request.n} samples of {request!r}")
        if isinstance(drawn, SampleFailure):
            self._complete(question, drawn)
            return
        if self.store:
            self.store.add(self.sampler, question, drawn)
        one = self._open[question]
        one.samples.append(drawn)
        if len(one.samples) == self.n:
            self._complete(question)

    def _complete(self, question: str, failure: SampleFailure | None = None) -> None:
        with self._lock:
            one = self._open.pop(question)
            samples = tuple(one.samples)
            self._done[question] = _Done(len(samples), None if self.store else samples, failure)
            self._ready.extend(_Ready(index, question, samples) for index in one.indices)

"""Draw n samples for each of many questions, and measure complete groups while the sampler draws other groups.

Stored samples are used first. Only missing samples are requested, once for each distinct question. A new sample is
stored on disk before it is used. Groups are yielded in the order in which they become complete.

A sample that reached the token limit before its text began is no response: the question has fewer responses, and a
failure that says so. Otherwise, ten such samples would be ten different answers.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from semantic_entropy.clusters import evidence_of_samples, one_group
from semantic_entropy.contracts import describe, stream_samples
from semantic_entropy.errors import EvidenceError, InputError, SamplingError
from semantic_entropy.plain_text import plural
from semantic_entropy.progress import cancel_event, progress_bar
from semantic_entropy.results import Result
from semantic_entropy.sampling.base import Sampler
from semantic_entropy.sampling.store import is_lost
from semantic_entropy.types import Group, Request, Sample, SampleFailure, Usage

MAX_GROUPS = 64  # most groups in one pipeline run: enough pairs to fill a model's batch
_MAX_WAIT = 2.0  # longest time in seconds that a complete group waits for other groups

Measure = Callable[[Sequence[Group]], Sequence[Result]]


@dataclass(frozen=True, slots=True)
class SampledQuestion:
    """The samples for one question. If samples are missing, `failure` has the reason; None: all samples exist.

    `lost` is the number of samples that are no responses, because they reached the token limit before any text.
    """

    index: int
    question: str
    samples: tuple[Sample, ...]
    failure: SampleFailure | None = None
    lost: int = 0

    @property
    def problem(self) -> str | None:
        """The reason why samples are missing; None: no sample is missing."""
        return self.failure.reason if self.failure else None


class SampleMemory(Protocol):
    """Where samples are kept: a `SampleStore`, or an object in memory."""

    def get(self, sampler: Sampler, question: str, n: int, /) -> list[Sample]: ...
    def read(self, sampler: Sampler, question: str, n: int, /) -> list[Sample]: ...
    def lost(self, sampler: Sampler, question: str, /) -> int: ...
    def add(self, sampler: Sampler, question: str, sample: Sample, /) -> None: ...


@dataclass(slots=True)
class _Pending:
    """A question with missing samples: the indices of the groups with this question, and the samples so far."""

    indices: list[int]
    samples: list[Sample] = field(default_factory=list)
    lost: list[Sample] = field(default_factory=list)  # these have no text


@dataclass(frozen=True, slots=True)
class _Complete:
    """A complete question. `samples` is None if the samples are on disk, so that memory does not grow."""

    count: int
    samples: tuple[Sample, ...] | None
    failure: SampleFailure | None = None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class _Ready:
    """A group that is ready to be yielded. `samples` is None if `_Complete` or the store has the samples."""

    index: int
    question: str
    samples: tuple[Sample, ...] | None = None


class SamplingRun:
    """Draws n samples for each of many questions.

    If the task that created the run is cancelled, the run sends no more requests.

    Attributes:
        responses: the number of samples of all groups that were yielded, with those that are no responses.
        cut_off: the number of these that reached the token limit.
        empty: the number of the other ones that have no text.
    """

    def __init__(self, sampler: Sampler, n: int, store: SampleMemory | None = None) -> None:
        self.sampler, self.n, self.store = sampler, n, store
        self._cancelled = cancel_event()  # read here: a sampler may take requests from another thread
        self._lock = threading.Lock()  # guards the fields below, for the same reason
        self._pending: dict[str, _Pending] = {}
        self._complete: dict[str, _Complete] = {}  # for later groups with the same question
        self._ready: deque[_Ready] = deque()
        self.responses = self.cut_off = self.empty = 0
        self.unfinished: list[str] = []  # the questions for which the sampler broke its contract: it ended its stream

    def groups(self, questions: Iterable[str]) -> Generator[SampledQuestion, None, None]:
        """Yield the samples of each question, in the order in which the questions become complete.

        Raises:
            SamplingError: the sampler cannot continue. The complete questions have been yielded.
        """
        try:
            with contextlib.closing(stream_samples(self.sampler, self._requests(questions))) as stream:
                for request, outcome in stream:
                    if outcome is None:  # after a cancellation, the missing samples are not the sampler's fault
                        self._check_cancelled()
                    self._take(request.question, outcome)
                    yield from self._yield_ready()
                    self._check_cancelled()
            self._check_cancelled()
        except SamplingError:
            yield from self._yield_ready()
            raise
        yield from self._yield_ready()

    def to_group(self, sampled: SampledQuestion) -> Group:
        """Convert the samples to a `Group`. It has log-probabilities only if those of all samples are usable."""
        texts = [sample.text for sample in sampled.samples]
        group = Group(tuple(texts), sampled.question)
        notes = [f"{len(texts)} of {self.n} responses: {sampled.problem}"] if sampled.failure else []
        notes += self.sampler.notes
        logprobs = [sample.logprobs for sample in sampled.samples if sample.logprobs]
        if texts and len(logprobs) == len(texts):
            try:
                group = one_group(texts, sampled.question, logprobs)
            except EvidenceError as error:  # a nan from a server must not make the responses unusable
                notes.append(f"log-probabilities left out: sampler {self.sampler.name!r}: {error}")
        return replace(
            group,
            evidence=evidence_of_samples(sampled.samples),
            samples=sampled.samples,
            sampler=describe("sampler", self.sampler),
            note="; ".join(notes) or None,
            lost_usage=sampled.failure.usage if sampled.failure else None,
            n=self.n,
        )

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise SamplingError("cancelled; the samples drawn so far are kept if samples= names a file")

    def _yield_ready(self) -> Iterator[SampledQuestion]:
        while self._ready:
            ready = self._ready.popleft()
            complete = self._complete[ready.question]
            samples = self._reread(ready.question, complete) if ready.samples is None else ready.samples
            self._count(samples, complete.lost)
            yield SampledQuestion(ready.index, ready.question, samples, complete.failure, complete.lost)

    def _count(self, samples: Sequence[Sample], lost: int) -> None:
        cut = [sample.finish_reason == "length" for sample in samples]
        self.responses += len(samples) + lost
        self.cut_off += sum(cut) + lost
        self.empty += sum(not (sample.text.strip() or was_cut) for sample, was_cut in zip(samples, cut, strict=True))

    def _requests(self, questions: Iterable[str]) -> Iterator[Request]:
        """Yield requests for the missing samples."""
        for index, question in enumerate(questions):
            if self._cancelled.is_set():
                return
            with self._lock:
                stored = self._register(index, question)
            if stored is not None:
                lost = self.store.lost(self.sampler, question) if self.store else 0
                yield Request(index, question, self.n - len(stored), len(stored) + lost)

    def _register(self, index: int, question: str) -> list[Sample] | None:
        """Return the stored samples if samples are missing; None if no request is needed for this question."""
        if question in self._complete:
            self._ready.append(_Ready(index, question))
        elif question in self._pending:
            self._pending[question].indices.append(index)
        else:
            stored = self.store.get(self.sampler, question, self.n) if self.store else []
            if len(stored) < self.n:
                self._pending[question] = _Pending([index], stored)
                return stored
            self._complete[question] = _Complete(len(stored), None)  # read again when the group is yielded
            self._ready.append(_Ready(index, question))
        return None

    def _reread(self, question: str, complete: _Complete) -> tuple[Sample, ...]:
        if complete.samples is not None or self.store is None:
            return complete.samples or ()
        return tuple(self.store.read(self.sampler, question, complete.count))

    def _take(self, question: str, outcome: Sample | SampleFailure | None) -> None:
        if outcome is None:
            self.unfinished.append(question)
            outcome = SampleFailure(
                f"the sampler {self.sampler.name!r} ended its stream without the missing samples and without a failure",
                transient=True,  # the next run asks for them again
            )
        if isinstance(outcome, SampleFailure):
            self._finish(question, outcome)
            return
        if self.store:
            self.store.add(self.sampler, question, outcome)
        pending = self._pending[question]
        (pending.lost if is_lost(outcome) else pending.samples).append(outcome)
        if len(pending.samples) + len(pending.lost) == self.n:
            self._finish(question)

    def _finish(self, question: str, failure: SampleFailure | None = None) -> None:
        with self._lock:
            pending = self._pending.pop(question)
            samples = tuple(pending.samples)
            failure = _with_lost(failure, pending.lost)
            kept = None if self.store else samples
            self._complete[question] = _Complete(len(samples), kept, failure, len(pending.lost))
            self._ready.extend(_Ready(index, question, samples) for index in pending.indices)


def _with_lost(failure: SampleFailure | None, lost: Sequence[Sample]) -> SampleFailure | None:
    """Return the failure of a question with these samples without text; None: no sample is missing."""
    if not lost:
        return failure
    reason = (
        f"{plural(len(lost), 'response')} reached the token limit before any text (finish_reason: length), as "
        "reasoning takes tokens: raise max_tokens of the sampler"
    )
    usages = [sample.usage for sample in lost if sample.usage]
    if failure is None:
        return SampleFailure(reason, sum(usages, Usage()) if usages else None)
    usages += [failure.usage] if failure.usage else []
    return replace(failure, reason=f"{failure.reason}; {reason}", usage=sum(usages, Usage()) if usages else None)


def check_questions(question: Any) -> list[str]:
    """Check one question or a list of questions, and return a list. No question may be blank."""
    questions = [question] if isinstance(question, str) else question
    if isinstance(questions, bytes) or not isinstance(questions, Sequence) or not questions:
        raise InputError(f"question={question!r:.80}: to sample responses, pass a question (str) or a list of them")
    for i, text in enumerate(questions):
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"question {i} is {text!r:.80}: to sample responses, pass a str that is not blank")
    return list(questions)


def sample_and_measure(run: SamplingRun, questions: Sequence[str], measure: Measure, *, progress: bool) -> list[Result]:
    """Draw the samples for all questions and measure them. Return the results in the order of the questions.

    Raises:
        SamplingError: the sampler cannot continue, or there is no response to any question, or the sampler ended its
            stream without a response and without a failure for a question. Responses that arrived are in the store.
    """
    results: dict[int, Result] = {}
    waiting: list[SampledQuestion] = []
    since = time.monotonic()
    with progress_bar("questions", len(questions), progress) as advance:

        def measure_waiting() -> None:
            measured = measure([run.to_group(sampled) for sampled in waiting])
            results.update(zip((sampled.index for sampled in waiting), measured, strict=True))
            advance(len(waiting))
            waiting.clear()

        for sampled in run.groups(questions):
            since = since if waiting else time.monotonic()
            waiting.append(sampled)
            if len(waiting) >= MAX_GROUPS or time.monotonic() - since > _MAX_WAIT:
                measure_waiting()
        measure_waiting()
    in_order = [results[index] for index in range(len(questions))]
    if not any(result.labels or result.answers for result in in_order):
        warnings = (warning for result in in_order for warning in result.warnings)
        raise SamplingError(
            f"no response from {run.sampler.describe()}: {next(warnings, 'the sampler gave no reason')}"
        )
    unfinished = set(run.unfinished)
    lost = [question for question, result in zip(questions, in_order, strict=True) if not result.answers]
    lost = [question for question in lost if question in unfinished]
    if lost:
        first = ", ".join(f"{question:.60}" for question in map(repr, lost[:3])) + ", ..." * (len(lost) > 3)
        raise SamplingError(
            f"sampler {run.sampler.name!r} ended its stream without a response and without a failure for {len(lost)} "
            f"of {len(questions)} questions: {first}. The other responses are kept if samples= names a file. Ask "
            "again, and tell the author of the sampler"
        )
    return in_order

"""Decides how many responses each request to a server asks for (`n`). No IO here.

The first request for a question asks for all responses to the question. If fewer responses arrive, further requests ask
for the missing responses. From then on, no request asks for more responses than arrived.

A server may refuse a request for more responses than the server has sent before. Then the sampler asks for one
response, to find out whether the number was the reason. If this request succeeds, no later request asks for more
responses than the server has sent in one reply. Responses that arrived are kept, even if later requests fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from semantic_entropy.plugin import Request, Sample, SampleFailure, Usage
from semantic_entropy_plugins.endpoint.failures import Failure
from semantic_entropy_plugins.endpoint.replies import Choice, Reply
from semantic_entropy_plugins.endpoint.retry import Call

_MOST_REPLIES = 100_000  # that are remembered: a cache repeats a reply soon, or often
_REFUSED = (400, 422)  # statuses of a server that does not accept `n`


@dataclass(slots=True)
class ServerCapacity:
    """The number of responses that a server sends in one reply.

    Attributes:
        limit: the largest number that a request may ask for; None: no limit is known.
        seen: the largest number that has arrived in one reply.
    """

    limit: int | None = None
    seen: int = 1


class RepeatedReplies:
    """Recognises a reply that the server has sent before: it has the same id, time of creation and texts.

    Such a reply comes from a cache, so its responses were not drawn. An id alone proves nothing: some servers draw it
    from few numbers.

    Attributes:
        count: the number of repeated replies.
    """

    def __init__(self) -> None:
        self.count = 0
        self._seen: set[int] = set()

    def add(self, reply: Reply) -> None:
        """Note a reply."""
        if reply.origin is None:
            return
        mark = hash((reply.origin, *(choice.text for choice in reply.choices)))
        self.count += mark in self._seen
        if len(self._seen) < _MOST_REPLIES:
            self._seen.add(mark)


@dataclass(slots=True, eq=False)
class _OpenQuestion:
    """A request of the caller that is not complete.

    Attributes:
        request: the caller's request.
        missing: ranges (first, count) of responses that no call asks for yet.
        held: the range (first, count) of responses that wait until the call for one response succeeds.
        in_flight: the number of calls in flight.
        failure: the failure because of which the missing responses will not arrive; None: no failure.
        unreported: the usage of calls without responses, which is added to the next sample or to the failure.
    """

    request: Request
    missing: deque[tuple[int, int]]
    held: tuple[int, int] | None = None
    in_flight: int = 0
    failure: Failure | None = None
    unreported: Usage = field(default=Usage())


@dataclass(frozen=True, slots=True)
class ResponseRange:
    """The responses that one call asks for: the numbers first, first + 1, ..., first + count - 1 of a question."""

    open_question: _OpenQuestion
    first: int
    count: int

    @property
    def question(self) -> str:
        """The text of the question."""
        return self.open_question.request.question


class SamplingPlan:
    """The `CallPlan` for a stream of requests. Missing responses of open questions come before the next request."""

    def __init__(
        self,
        requests: Iterator[Request],
        capacity: ServerCapacity,
        make_call: Callable[[ResponseRange], Call],
        make_samples: Callable[[Sequence[Choice], Usage], list[Sample]],
        repeated: RepeatedReplies,
    ) -> None:
        self._requests, self._capacity, self._repeated = requests, capacity, repeated
        self._make_call, self._make_samples = make_call, make_samples
        self._open: deque[_OpenQuestion] = deque()

    def next_call(self) -> Call | None:
        while self._open and not self._open[0].missing:
            self._open.popleft()
        if not self._open:
            request = next((request for request in self._requests if request.n > 0), None)
            if request is None:
                return None
            self._open.append(_OpenQuestion(request, deque([(request.first, request.n)])))
        question = self._open[0]
        first, missing = question.missing.popleft()
        count = min(missing, self._capacity.limit or missing)
        if count < missing:
            question.missing.appendleft((first + count, missing - count))
        question.in_flight += 1
        return self._make_call(ResponseRange(question, first, count))

    def results(self, call: Call, outcome: Reply | Failure) -> Iterator[tuple[Request, Sample | SampleFailure]]:
        asked: ResponseRange = call.tag
        question = asked.open_question
        question.in_flight -= 1
        samples: list[Sample] = []
        if isinstance(outcome, Reply):
            self._repeated.add(outcome)
            samples = self._make_samples(outcome.choices[: asked.count], outcome.usage + question.unreported)
            question.unreported = Usage()
            self._handle_reply(asked, len(samples))
        else:
            question.unreported += outcome.usage
            self._handle_failure(asked, outcome)
        for sample in samples:
            yield question.request, sample
        if question.failure and not question.in_flight:
            usage = question.unreported if question.unreported != Usage() else None
            yield question.request, SampleFailure(question.failure.reason, usage, question.failure.transient)

    def _handle_failure(self, asked: ResponseRange, failure: Failure) -> None:
        """Ask for one response if the number of responses may be the reason; otherwise the question has failed."""
        question = asked.open_question
        if asked.count > self._capacity.seen and failure.status in _REFUSED:
            question.held = (asked.first + 1, asked.count - 1)
            self._ask_later(question, (asked.first, 1))
        else:
            question.failure, question.held = question.failure or failure, None
            question.missing.clear()

    def _handle_reply(self, asked: ResponseRange, arrived: int) -> None:
        """Update the server's capacity, and ask for the responses that are still missing."""
        capacity, question = self._capacity, asked.open_question
        capacity.seen = max(capacity.seen, arrived)
        if question.held:
            capacity.limit = capacity.seen
            self._ask_later(question, question.held)
            question.held = None
        if arrived < asked.count:
            capacity.limit = min(arrived, capacity.limit or arrived)
            self._ask_later(question, (asked.first + arrived, asked.count - arrived))

    def _ask_later(self, question: _OpenQuestion, responses: tuple[int, int]) -> None:
        if question.failure:
            return
        question.missing.append(responses)
        if question not in self._open:
            self._open.appendleft(question)

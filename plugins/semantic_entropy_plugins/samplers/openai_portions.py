"""How n responses to a question are asked for, of a server that may give fewer at a time. No IO here.

One request asks for all n. Where fewer come, the rest is asked for, and from then on no more at a time than came. A
server that refuses a request for more than it has ever given is asked for one, as a probe: if that works, it is asked
for no more at a time than it has given before. What has come stands, whatever becomes of the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from semantic_entropy.plugin import Request, Sample, SampleFailure, Usage
from semantic_entropy_plugins.endpoint.attempts import Call
from semantic_entropy_plugins.endpoint.ends import Failure
from semantic_entropy_plugins.endpoint.replies import Choice, Reply

_REFUSED = (400, 422)


@dataclass(slots=True)
class Capacity:
    """Of a server, as far as it is known: how many it gives `at_once` at most, and the most that it has `given`."""

    at_once: int | None = None
    given: int = 1


@dataclass(slots=True, eq=False)
class _Task:
    """A request on its way.

    todo: (first, count) of responses to ask for. held: those that wait for a probe, whether one at a time works.
    lost: what was paid for calls that brought nothing, until something comes that can carry it.
    """

    request: Request
    todo: deque[tuple[int, int]]
    held: tuple[int, int] | None = None
    under_way: int = 0
    failure: Failure | None = None
    lost: Usage = field(default=Usage())


@dataclass(frozen=True, slots=True)
class Portion:
    """The responses number first, first + 1, ... to a task's question: what one call asks for."""

    task: _Task
    first: int
    count: int

    @property
    def question(self) -> str:
        """Of the request."""
        return self.task.request.question


class Portions:
    """The plan for a stream of requests: the rest of those that are begun, then the next one."""

    def __init__(
        self,
        requests: Iterator[Request],
        capacity: Capacity,
        call: Callable[[Portion], Call],
        read: Callable[[Sequence[Choice], Usage], list[Sample]],
    ) -> None:
        self._requests, self._capacity, self._call, self._read = requests, capacity, call, read
        self._begun: deque[_Task] = deque()

    def next(self) -> Call | None:
        while self._begun and not self._begun[0].todo:
            self._begun.popleft()
        if not self._begun:
            request = next((request for request in self._requests if request.n > 0), None)
            if request is None:
                return None
            self._begun.append(_Task(request, deque([(request.first, request.n)])))
        task = self._begun[0]
        first, count = task.todo.popleft()
        now = min(count, self._capacity.at_once or count)
        if now < count:
            task.todo.appendleft((first + now, count - now))
        task.under_way += 1
        return self._call(Portion(task, first, now))

    def take(self, call: Call, outcome: Reply | Failure) -> Iterator[tuple[Request, Sample | SampleFailure]]:
        ask: Portion = call.tag
        task = ask.task
        task.under_way -= 1
        came: list[Sample] = []
        if isinstance(outcome, Reply):
            came = self._read(outcome.choices[: ask.count], outcome.usage + task.lost)
            task.lost = Usage()
            self._learn(ask, len(came))
        else:
            task.lost += outcome.usage
            self._refused(ask, outcome)
        for sample in came:
            yield task.request, sample
        if task.failure and not task.under_way:
            lost = task.lost if task.lost != Usage() else None
            yield task.request, SampleFailure(task.failure.reason, lost, task.failure.transient)

    def _refused(self, ask: Portion, outcome: Failure) -> None:
        """Ask for less, where it may be the number that the server refuses; else the request has failed."""
        task = ask.task
        if ask.count > self._capacity.given and outcome.status in _REFUSED:
            task.held = (ask.first + 1, ask.count - 1)
            self._put(task, (ask.first, 1))
        else:
            task.failure, task.held = task.failure or outcome, None
            task.todo.clear()

    def _learn(self, ask: Portion, came: int) -> None:
        """What a reply says of how many the server gives at once; and what is to be asked for now."""
        capacity, task = self._capacity, ask.task
        capacity.given = max(capacity.given, came)
        if task.held:
            capacity.at_once = capacity.given
            self._put(task, task.held)
            task.held = None
        if came < ask.count:
            capacity.at_once = min(came, capacity.at_once or came)
            self._put(task, (ask.first + came, ask.count - came))

    def _put(self, task: _Task, responses: tuple[int, int]) -> None:
        """More to ask for; unless the task has failed meanwhile."""
        if task.failure:
            return
        task.todo.append(responses)
        if task not in self._begun:
            self._begun.appendleft(task)

"""An endpoint for calls that do not depend on earlier outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from semantic_entropy_plugins.endpoint.client import Endpoint
from semantic_entropy_plugins.endpoint.failures import Failure
from semantic_entropy_plugins.endpoint.replies import Reply
from semantic_entropy_plugins.endpoint.retry import Call

Outcome = tuple[Call, Reply | Failure]


class StreamingEndpoint(Endpoint):
    """`stream` sends the calls in their order, and yields each call with its outcome."""

    def stream(self, calls: Iterable[Call]) -> Iterator[Outcome]:
        return self.run_plan(_InOrder(iter(calls)))


class _InOrder:
    def __init__(self, calls: Iterator[Call]) -> None:
        self._calls = calls

    def next_call(self) -> Call | None:
        return next(self._calls, None)

    def results(self, call: Call, outcome: Reply | Failure) -> list[Outcome]:
        return [(call, outcome)]

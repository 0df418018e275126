"""What the tests of the endpoint share: calls, and an endpoint for calls that do not depend on earlier outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from semantic_entropy_plugins.endpoint.client import Endpoint
from semantic_entropy_plugins.endpoint.failures import Failure
from semantic_entropy_plugins.endpoint.replies import Reply
from semantic_entropy_plugins.endpoint.retry import Call
from tests.plugins.chat_server import ChatServer, says

Outcome = tuple[Call, Reply | Failure]
BACKOFF = 0.005  # seconds before the first retry
GOOD = says("good")


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


def call(tag=0, **options):
    return Call(tag, lambda refused: {"model": "m", "messages": [{"role": "user", "content": str(tag)}]}, **options)


def calls(count):
    return [call(tag) for tag in range(count)]


def send_one(endpoint):
    ((_, outcome),) = endpoint.stream([call()])
    return outcome


def endpoint(server, **options):
    return StreamingEndpoint(server.url, **{"backoff": BACKOFF, "timeout": 10.0, **options})


def free_port():
    with ChatServer(GOOD) as server:
        return server.port

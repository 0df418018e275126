"""The thread of a stream: how it ends, and errors that end it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from semantic_entropy import SemanticEntropyError
from semantic_entropy_plugins.endpoint.call_thread import CallThread
from semantic_entropy_plugins.endpoint.replies import Reply
from semantic_entropy_plugins.endpoint.retry import Call
from tests.plugins.chat_server import (
    ChatServer,
    choose_by,
    prompt,
    silent,
    status,
)
from tests.plugins.endpoint.streaming import GOOD, StreamingEndpoint, calls, endpoint, send_one


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_calls_in_flight_are_completed_before_a_fatal_error_is_raised(monkeypatch):
    seen, original = threading.Event(), CallThread._stop_retries
    monkeypatch.setattr(CallThread, "_stop_retries", lambda thread, fatal: (original(thread, fatal), seen.set()))

    def late(exchange, body):
        assert seen.wait(20)  # seconds: until the caller's thread has seen the error
        GOOD(exchange, body)

    picky = choose_by(lambda body: status(401, "key withdrawn") if prompt(body) == "3" else late)
    with ChatServer(picky) as server:
        outcomes = []
        with pytest.raises(SemanticEntropyError, match="key withdrawn"):
            outcomes += endpoint(server, concurrency=4).stream(calls(100))
        sent = {prompt(body) for body in server.requests}
    # A list that is extended by an iterator that raises keeps the earlier items.
    assert sent == {"3", *(str(c.tag) for c, _ in outcomes)}
    assert len(outcomes) == 3 or len(sent) < 4  # no request is sent after the error


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("semantic-entropy")]


def test_closing_the_stream_drops_the_calls_in_flight_and_ends_the_thread():
    with ChatServer(GOOD, silent) as server:
        stream = endpoint(server, timeout=3600).stream(calls(5))
        next(stream)
        assert threads()
        stream.close()
        assert threads() == []


def test_a_stream_without_references_closes():
    with ChatServer(GOOD, silent) as server:
        next(endpoint(server, timeout=3600).stream(calls(5)))
        assert threads() == []


def test_another_thread_can_end_the_stream_by_closing_the_endpoint():
    with ChatServer(GOOD, silent, silent, GOOD) as server:
        client, outcomes = endpoint(server, timeout=3600, concurrency=2), []
        stream = client.stream(calls(3))
        outcomes.append(next(stream))
        closing = threading.Timer(0.05, client.close)
        closing.start()
        with pytest.raises(SemanticEntropyError, match="closed while calls were in flight"):
            outcomes += stream
        closing.join()
        assert threads() == []
        client.close()
        assert isinstance(send_one(client), Reply)


def test_the_garbage_collector_can_close_a_stream_in_its_own_thread(caplog):
    thread = StreamingEndpoint("http://127.0.0.1:9/v1")._start_thread()
    thread._loop.call_soon_threadsafe(thread.close)  # a thread cannot join itself
    thread._thread.join(20)
    assert not thread._thread.is_alive()
    assert caplog.records == []


def test_it_works_inside_a_running_event_loop():
    async def main():
        with ChatServer(GOOD) as server:
            return list(endpoint(server).stream(calls(3)))

    assert len(asyncio.run(main())) == 3


def test_a_bug_in_the_client_raises_instead_of_waiting_forever():
    def body(refused):
        raise KeyError("a bug")

    with ChatServer(GOOD) as server, pytest.raises(SemanticEntropyError, match="unexpected KeyError") as raised:
        list(endpoint(server).stream([Call(0, body)]))
    assert "in body" in raised.value.__notes__[0]


def test_a_fatal_error_does_not_wait_for_a_silent_server(monkeypatch):
    monkeypatch.setattr("semantic_entropy_plugins.endpoint.call_thread._GRACE", 0.1)
    picky = choose_by(lambda body: silent if prompt(body) == "0" else status(401))
    with ChatServer(picky) as server, pytest.raises(SemanticEntropyError, match="HTTP 401"):
        next(endpoint(server, timeout=3600).stream(calls(2)))
    assert threads() == []

"""The endpoint: options, slots, and use by several threads."""

from __future__ import annotations

import itertools
import threading

import pytest

from semantic_entropy import SemanticEntropyError
from semantic_entropy.plugin import errors
from tests.plugins.chat_server import (
    ChatServer,
    slow,
)
from tests.plugins.endpoint.streaming import GOOD, StreamingEndpoint, call, calls, endpoint, send_one


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_as_many_calls_are_in_flight_as_allowed_and_no_more():
    five = threading.Barrier(5, timeout=20)  # seconds: fewer than 5 at a time would never pass the barrier

    def together(exchange, body):
        five.wait()
        GOOD(exchange, body)

    with ChatServer(together) as server:
        assert len(list(endpoint(server, concurrency=5).stream(calls(40)))) == 40
    assert server.peak == 5


def test_a_call_is_taken_from_the_source_only_when_a_slot_is_free():
    taken = []

    def source():
        for tag in itertools.count():
            taken.append(tag)
            yield call(tag)

    with ChatServer(GOOD) as server:
        stream = endpoint(server, concurrency=3).stream(source())
        next(stream)
        assert len(taken) == 3
        next(stream)
        assert len(taken) == 4
        stream.close()


def test_an_error_of_the_source_is_raised_after_the_calls_in_flight():
    def source():
        yield from calls(2)
        raise ZeroDivisionError

    outcomes = []
    with ChatServer(slow(0.05, GOOD)) as server, pytest.raises(ZeroDivisionError):
        outcomes += endpoint(server).stream(source())
    assert len(outcomes) == 2


def test_without_calls_no_connection_is_opened():
    assert list(StreamingEndpoint("http://127.0.0.1:9/v1").stream([])) == []


def test_several_threads_share_the_slots():
    with ChatServer(slow(0.02, GOOD)) as server:
        client, outcomes = endpoint(server, concurrency=8), []
        workers = [threading.Thread(target=lambda: outcomes.extend(client.stream(calls(20)))) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert len(outcomes) == 80
    assert 4 <= server.peak <= 8 + 4  # a thread may start a call before another thread's call is counted


def test_several_threads_can_use_one_endpoint():
    with ChatServer(slow(0.02, GOOD)) as server:
        client, outcomes = endpoint(server, concurrency=2), []
        workers = [threading.Thread(target=lambda: outcomes.extend(client.stream(calls(5)))) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert len(outcomes) == 20
    assert client.tokens_used == 20 * 12


OPTIONS = [
    ({"base_url": "localhost:8000/v1"}, "is not an address"),
    ({"base_url": "ftp://host/v1"}, "is not an address"),
    ({"base_url": ""}, "is not an address"),
    ({"base_url": None}, "is not an address"),
    ({"base_url": "http://host:99999/v1"}, "is not an address"),
    ({"base_url": "http://[half/v1"}, "is not an address"),
    ({"concurrency": 0}, "concurrency=0 must be a whole number of at least 1"),
    ({"concurrency": 2.5}, "concurrency=2.5"),
    ({"concurrency": True}, "concurrency=True"),
    ({"timeout": 0}, "timeout=0"),
    ({"timeout": float("nan")}, "timeout=nan"),
    ({"timeout": "60"}, "timeout='60'"),
    ({"retries": -1}, "retries=-1"),
    ({"token_budget": 0}, "token_budget=0"),
    ({"input_price": 1.0}, "input_price is given without output_price"),
    ({"input_price": -1.0, "output_price": 1.0}, "input_price=-1.0"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_an_invalid_option_is_refused_at_construction(options, message):
    with pytest.raises(errors.OptionError) as raised:
        StreamingEndpoint(**{"base_url": "http://127.0.0.1:9/v1", **options})
    assert message in str(raised.value)


@pytest.mark.parametrize("end", ["", "/", "/chat/completions", "/chat/completions/"])
def test_the_end_of_the_address_is_normalised(end):
    assert StreamingEndpoint(f"http://127.0.0.1:9/v1{end}").base_url == "http://127.0.0.1:9/v1"


def test_an_invalid_proxy_is_reported(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(SemanticEntropyError, match="the proxy that the environment sets cannot be used"):
        send_one(StreamingEndpoint("http://host.example/v1"))

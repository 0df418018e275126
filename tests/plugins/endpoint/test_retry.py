"""Calls to a real server that fails: retries, waits, failed calls, and errors that stop all calls."""

from __future__ import annotations

import gzip
import json
import threading
import time
import tracemalloc

import pytest

from semantic_entropy import SemanticEntropyError
from semantic_entropy.plugin import errors
from semantic_entropy_plugins.endpoint.failures import Failure
from semantic_entropy_plugins.endpoint.replies import Reply
from semantic_entropy_plugins.endpoint.retry import LONGEST_WAIT, Call
from tests.plugins.chat_server import (
    ChatServer,
    Exchange,
    choose_by,
    completion,
    prompt,
    reset,
    says,
    sends,
    silent,
    slow,
    status,
    trickle,
    truncated,
)
from tests.plugins.endpoint.streaming import GOOD, StreamingEndpoint, calls, endpoint, free_port, send_one


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


RETRIED = [  # an answer that is retried, and the reason in the failure after all retries
    (status(500, "out of memory"), "HTTP 500: out of memory"),
    (status(503, {"error": {"code": 503, "message": "Loading model"}}), "HTTP 503: Loading model"),  # llama.cpp
    (status(429, "slow down"), "HTTP 429: slow down"),
    (status(408, "too slow"), "HTTP 408: too slow"),
    (status(409, "conflict"), "HTTP 409: conflict"),
    (sends(b"<html>Bad gateway</html>"), "is not JSON: '<html>Bad gateway</html>'"),
    (sends(b""), "is not JSON: ''"),
    (sends(b"[" * 100_000), "is not JSON: '[[["),
    (sends(b"{}"), "holds no choices: '{}'"),
    (sends(b"null"), "is not JSON: 'null'"),
    (sends(b'{"choices": []}'), "holds no choices"),
    (sends(b'{"choices": [{"text": "an older form"}]}'), "holds no choices"),
    (sends(b'{"error": {"message": "upstream failed"}}'), "upstream failed"),
    (sends(b"abc", {"Content-Encoding": "gzip"}), "its answer is not valid gzip"),
    (truncated, "the connection broke"),
    (reset, "the connection broke"),
]


@pytest.mark.parametrize(("behaviour", "reason"), RETRIED)
def test_an_attempt_without_a_usable_answer_is_retried(behaviour, reason):
    with ChatServer(behaviour, GOOD) as server:
        outcome = send_one(endpoint(server))
    assert [choice.text for choice in outcome.choices] == ["good"]
    assert (outcome.usage.requests, outcome.usage.input_tokens, outcome.usage.output_tokens) == (2, 10, 2)


@pytest.mark.parametrize(("behaviour", "reason"), RETRIED)
def test_after_all_retries_only_this_call_fails(behaviour, reason):
    with ChatServer(GOOD, behaviour, behaviour, behaviour, GOOD) as server:
        client = endpoint(server, retries=2, concurrency=1)
        outcomes = [outcome for _, outcome in client.stream(calls(3))]
    assert isinstance(outcomes[0], Reply)
    assert isinstance(outcomes[1], Failure)
    assert "gave up after 3 attempts" in outcomes[1].reason
    assert reason in outcomes[1].reason
    assert outcomes[1].usage.requests == 3
    assert isinstance(outcomes[2], Reply)


def test_tokens_of_a_failed_attempt_are_counted_if_the_server_reports_them():
    failed = sends(json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}).encode())
    with ChatServer(failed, GOOD) as server:
        client = endpoint(server, input_price=2.0, output_price=10.0)
        usage = send_one(client).usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens) == (2, 17, 3)
    assert usage.cost == pytest.approx((17 * 2 + 3 * 10) / 1e6)
    assert client.tokens_used == 20


@pytest.mark.parametrize("behaviour", [silent, trickle])
def test_the_timeout_covers_the_whole_answer(behaviour):
    with ChatServer(behaviour, GOOD) as server:
        assert isinstance(send_one(endpoint(server, timeout=0.2)), Reply)
        assert len(server.requests) == 2


def test_a_call_without_an_answer_fails_alone():
    with ChatServer(choose_by(lambda body: silent if prompt(body) == "1" else GOOD)) as server:
        outcomes = {c.tag: o for c, o in endpoint(server, timeout=0.2, retries=1, concurrency=1).stream(calls(3))}
    assert "no complete answer within 0.2 s" in outcomes[1].reason
    assert isinstance(outcomes[0], Reply)
    assert isinstance(outcomes[2], Reply)


def test_reading_stops_when_an_answer_is_too_large():
    with ChatServer(says("x" * 300_000), GOOD) as server:
        outcome = send_one(endpoint(server, max_reply_mb=0.1))
    assert "larger than 0.1 MB" in outcome.reason


def bomb(encodings, size=10**8):
    """A small reply that unpacks to `size` bytes, with the encodings applied one after the other."""
    packed = b"[" * size
    for _ in encodings.split(","):
        packed = gzip.compress(packed)
    return sends(packed, {"Content-Encoding": encodings})


@pytest.mark.parametrize(
    ("encodings", "reason"),
    [("gzip", "larger than 1 MB"), ("gzip, gzip", "encoding 'gzip, gzip'"), ("gzip,gzip,gzip", "allows only gzip")],
)
def test_a_small_reply_that_unpacks_to_a_large_one_takes_no_more_memory_than_the_limit(encodings, reason):
    with ChatServer(bomb(encodings)) as server:
        tracemalloc.start()
        try:
            outcome = send_one(endpoint(server, max_reply_mb=1.0))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert reason in outcome.reason
    assert peak < 10_000_000  # bytes


def test_a_reply_that_is_larger_than_the_requested_tokens_can_be_is_not_read():
    limited = Call(0, lambda refused: {"model": "m", "messages": [], "n": 2, "max_tokens": 100})
    with ChatServer(sends(gzip.compress(b"{}," * 2_000_000), {"Content-Encoding": "gzip"})) as server:
        ((_, outcome),) = endpoint(server).stream([limited])
    assert "larger than 4.4 MB" in outcome.reason


def test_a_compressed_reply_is_read_and_only_gzip_is_requested():
    reply = gzip.compress(json.dumps(completion("good")).encode())
    with ChatServer(sends(reply, {"Content-Encoding": "GZIP"})) as server:
        assert send_one(endpoint(server)).choices[0].text == "good"
    assert server.headers[0]["Accept-Encoding"] == "gzip"


def test_a_list_of_models_that_unpacks_to_a_large_one_is_left_out_of_the_message(monkeypatch):
    packed = gzip.compress(gzip.compress(b"[" * 10**8))
    monkeypatch.setattr(Exchange, "do_GET", lambda self: self.send(packed, headers={"Content-Encoding": "gzip, gzip"}))
    with ChatServer(status(404)) as server, pytest.raises(SemanticEntropyError, match="usually ends with /v1"):
        send_one(endpoint(server))


REFUSED = [
    (400, {"error": {"message": "context of 4096 tokens exceeded", "code": None}}, "context of 4096 tokens exceeded"),
    (400, {"object": "error", "message": "too long", "code": 400}, "too long"),  # vLLM, older
    (400, {"error": "too long for this model"}, "too long for this model"),  # Ollama, older
    (422, {"detail": [{"loc": ["body", "n"], "msg": "too large", "input": 3}]}, "body.n: too large"),  # FastAPI
    (422, {"detail": "no such thing"}, "no such thing"),
    (413, {"error": {"message": "payload too large"}}, "payload too large"),
    (451, "filtered", "filtered"),
    (
        400,
        {"error": {"message": "blocked: 'what is insufficient_quota?'", "code": "content_filter"}},
        "blocked: 'what is insufficient_quota?'",  # the message quotes a text
    ),
    (400, [1, 2], "[1, 2]"),
    (400, {}, "{}"),
]


@pytest.mark.parametrize(("code", "body", "message"), REFUSED)
def test_a_refused_call_is_not_retried_and_its_reason_is_the_server_message(code, body, message):
    with ChatServer(status(code, body), GOOD) as server:
        outcome = send_one(endpoint(server))
        assert len(server.requests) == 1
    assert outcome.reason == f"HTTP {code}: {message}"
    assert outcome.status == code


FATAL = [
    (401, "no", "check the key in api_key= or OPENAI_API_KEY"),
    (403, "not in your country", "not in your country"),
    (402, "Insufficient Balance", "Insufficient Balance"),  # DeepSeek
    (429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}, "You exceeded your quota"),
    (404, {"detail": "Not Found"}, "it usually ends with /v1"),
    (405, "no POST here", "no POST here"),
]


@pytest.mark.parametrize(("code", "body", "message"), FATAL)
def test_a_status_that_concerns_every_call_stops_all_calls_at_once(code, body, message):
    with ChatServer(status(code, body)) as server:
        with pytest.raises(errors.EquivalenceError) as raised:
            send_one(StreamingEndpoint(server.url, "key-of-the-test", error=errors.EquivalenceError))
        assert len(server.requests) == 1
    assert message in str(raised.value)
    assert server.url in str(raised.value)


def test_the_error_says_that_no_key_was_given():
    with ChatServer(status(401, "unauthorized")) as server, pytest.raises(SemanticEntropyError) as raised:
        send_one(endpoint(server))
    assert "no key was given: pass api_key=, or set OPENAI_API_KEY" in str(raised.value)


def test_an_unknown_model_error_lists_the_models_of_the_server():
    with (
        ChatServer(status(404, "no model m"), models=["mm", "other"]) as server,
        pytest.raises(
            SemanticEntropyError, match="no model m .the server has these models: mm, other. Did you mean 'mm'"
        ),
    ):
        send_one(endpoint(server))


def test_a_404_for_a_model_that_the_server_lists_blames_the_address():
    with (
        ChatServer(status(404, "no such page"), models=["m", "mm"]) as server,
        pytest.raises(SemanticEntropyError, match="lists this model: check whether base_url=.* has chat completions"),
    ):
        send_one(endpoint(server))


def test_a_redirect_is_not_followed():
    with ChatServer(GOOD) as other:
        elsewhere = {"Location": f"http://user:word@127.0.0.1:{other.port}/v1/chat/completions?secret=1"}
        with ChatServer(status(307, headers=elsewhere)) as server, pytest.raises(SemanticEntropyError) as raised:
            send_one(StreamingEndpoint(server.url, "key-of-the-test"))
        assert other.requests == []
    assert f"moved to 'http://127.0.0.1:{other.port}/v1/chat/completions'" in str(raised.value)


def test_a_403_after_successful_calls_fails_one_call():
    with ChatServer(GOOD, status(403, "flagged"), GOOD) as server:  # OpenRouter
        outcomes = [outcome for _, outcome in endpoint(server, concurrency=1).stream(calls(3))]
    assert [type(outcome) for outcome in outcomes] == [Reply, Failure, Reply]


def test_a_server_that_does_not_run_is_reported_at_once():
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(SemanticEntropyError) as raised:
        list(StreamingEndpoint(url, backoff=1000.0).stream(calls(3)))  # a retry would take longer than the test
    assert f"{url} cannot be reached: connection refused. Is the server running?" in str(raised.value)


def test_an_unknown_host_name_is_reported_at_once(monkeypatch):
    def fail(*_, **__):
        import socket

        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    with pytest.raises(SemanticEntropyError, match="the host name cannot be resolved .Name or service not known"):
        send_one(StreamingEndpoint("http://no-such-host.example/v1", backoff=1000.0))


def test_https_to_a_server_without_tls_is_reported():
    with ChatServer(GOOD) as server, pytest.raises(SemanticEntropyError, match="use http:// instead of https://"):
        send_one(StreamingEndpoint(server.url.replace("http:", "https:"), backoff=1000.0))


def test_a_server_that_never_answered_is_a_fatal_error_after_the_retries():
    with ChatServer(silent) as server, pytest.raises(SemanticEntropyError, match="has never answered: gave up"):
        send_one(endpoint(server, timeout=0.1, retries=1))


def test_a_server_that_goes_away_is_retried_and_then_a_fatal_error_after_the_earlier_outcomes():
    with ChatServer(GOOD) as server:
        client = endpoint(server, retries=2, concurrency=1)
        stream = client.stream(calls(5))
        outcomes = [next(stream), next(stream)]
    with pytest.raises(
        SemanticEntropyError, match="answered before, and now cannot be reached: gave up after 3 attempts"
    ):
        outcomes += stream
    assert [c.tag for c, _ in outcomes] == [0, 1]


def test_a_server_that_comes_back_is_used():
    with ChatServer(GOOD) as server:
        client = endpoint(server, retries=100, backoff=0.02)
        assert isinstance(send_one(client), Reply)
        port = server.port

    def come_back():
        time.sleep(0.1)
        with ChatServer(GOOD, port=port) as restarted:
            over.wait(20)
            assert restarted.requests

    over, thread = threading.Event(), threading.Thread(target=come_back)
    thread.start()
    try:
        assert isinstance(send_one(client), Reply)
    finally:
        over.set()
        thread.join()


def test_many_failures_in_a_row_stop_all_calls():
    with ChatServer(GOOD, status(500, "broken")) as server:
        client, outcomes = endpoint(server, retries=1, concurrency=2), []
        with pytest.raises(SemanticEntropyError, match="20 calls in a row failed; the last error: .*HTTP 500: broken"):
            outcomes += client.stream(calls(1000))
    assert sum(isinstance(outcome, Failure) for _, outcome in outcomes) >= 19


def test_refusals_do_not_stop_all_calls_after_a_call_succeeded():
    with ChatServer(GOOD, status(400, "too long")) as server:
        outcomes = list(endpoint(server, concurrency=1).stream(calls(50)))
    assert len(outcomes) == 50


def test_refusals_of_the_first_calls_stop_all_calls():
    with (
        ChatServer(status(400, "temperature must be 1")) as server,
        pytest.raises(SemanticEntropyError, match="20 calls in a row failed.*temperature must be 1"),
    ):
        list(endpoint(server).stream(calls(1000)))


def test_no_call_starts_when_the_token_budget_is_spent():
    with ChatServer(says("x", usage=(50, 50))) as server:
        client = endpoint(server, token_budget=250, concurrency=1)
        outcomes = [outcome for _, outcome in client.stream(calls(6))]
        assert len(server.requests) == 3
    assert [type(outcome) for outcome in outcomes] == [Reply] * 3 + [Failure] * 3
    assert outcomes[-1].reason == "the token budget of 250 is spent"
    assert client.tokens_used == 300


def test_without_reported_tokens_only_requests_are_counted_and_there_is_no_cost():
    with ChatServer(says("x", usage=None)) as server:
        usage = send_one(endpoint(server, input_price=1, output_price=1)).usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens, usage.cost) == (1, 0, 0, None)


def test_retry_after_makes_all_calls_wait():
    moments = []

    def behave(exchange, body):
        moments.append(time.monotonic())
        busy = status(429, "wait", {"Retry-After": "0.4"})
        (busy if len(moments) == 1 else slow(0.05, GOOD))(exchange, body)

    with ChatServer(behave) as server:
        assert len(list(endpoint(server, concurrency=1).stream(calls(1)))) == 1
        client = endpoint(server, concurrency=2)
        moments.clear()
        assert all(isinstance(o, Reply) for _, o in client.stream(calls(6)))
    # Only a call that was already in flight may arrive before the pause is over.
    assert sum(moment - moments[0] < 0.39 for moment in moments[1:]) <= 1
    assert len(moments) == 7


def test_no_wait_exceeds_the_limit(monkeypatch):
    waits, pauses = [], []

    async def sleep(self, seconds):
        waits.append(seconds)
        pauses.append(self._state.paused_until - time.monotonic())
        self._state.paused_until = 0.0

    monkeypatch.setattr("semantic_entropy_plugins.endpoint.retry.Retrier._sleep", sleep)
    with ChatServer(*[status(503, headers={"Retry-After": "86400"})] * 12, GOOD) as server:
        assert isinstance(send_one(endpoint(server, retries=20, backoff=1.0)), Reply)
    assert len(waits) == 12
    assert LONGEST_WAIT / 2 <= max(waits) <= LONGEST_WAIT  # from the eighth retry on; without a limit it would be 2^7 s
    assert LONGEST_WAIT / 2 < max(pauses) <= LONGEST_WAIT


def test_waits_double_and_are_random(monkeypatch):
    waits = []

    async def sleep(self, seconds):
        waits.append(seconds)

    monkeypatch.setattr("semantic_entropy_plugins.endpoint.retry.Retrier._sleep", sleep)
    with ChatServer(*[status(500)] * 6, GOOD) as server:
        send_one(endpoint(server, backoff=1.0))
    for n, wait in enumerate(waits):
        assert 2**n / 2 <= wait <= 2**n
    assert len({wait / 2**n for n, wait in enumerate(waits)}) == 6


def test_a_parameter_that_the_server_refuses_is_not_sent_again():
    def body(refused):
        return {"model": "m", "messages": [], **({} if "logprobs" in refused else {"logprobs": True})}

    picky = choose_by(lambda sent: status(400, "logprobs is not supported") if "logprobs" in sent else GOOD)
    with ChatServer(picky) as server:
        client = endpoint(server, concurrency=1)
        outcomes = [o for _, o in client.stream([Call(i, body, ("logprobs",)) for i in range(3)])]
        assert ["logprobs" in sent for sent in server.requests] == [True, False, False, False]
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert outcomes[0].usage.requests == 2


def test_a_refusal_that_only_mentions_a_parameter_is_not_remembered():
    def body(refused):
        return {"model": "m", "messages": [], **({} if "logprobs" in refused else {"logprobs": True})}

    with ChatServer(status(400, "bad input (logprobs: 1)"), status(400, "bad input"), GOOD) as server:
        first, second = (
            o for _, o in endpoint(server, concurrency=1).stream([Call(i, body, ("logprobs",)) for i in "ab"])
        )
        assert ["logprobs" in sent for sent in server.requests] == [True, False, True]
    assert first.reason == "HTTP 400: bad input"
    assert isinstance(second, Reply)


def test_lone_surrogates_are_sent_as_question_marks():
    with ChatServer(GOOD) as server:
        with_surrogate = Call(0, lambda refused: {"model": "m", "messages": [{"content": "a\ud800b\x00"}]})
        ((_, outcome),) = endpoint(server).stream([with_surrogate])
        assert server.requests[0]["messages"][0]["content"] == "a?b\x00"
    assert isinstance(outcome, Reply)


def test_the_error_names_the_proxy_when_the_server_cannot_be_reached(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(SemanticEntropyError, match="through the proxy from the environment"):
        send_one(StreamingEndpoint("http://127.0.0.1:9/v1"))

"""The engine against a real server that misbehaves: what is tried again, what fails alone, and what ends it all."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import SemanticEntropyError
from semantic_entropy.plugin import errors
from semantic_entropy_plugins.endpoint.attempts import LONGEST_WAIT, Call
from semantic_entropy_plugins.endpoint.client import Endpoint
from semantic_entropy_plugins.endpoint.ends import Failure
from semantic_entropy_plugins.endpoint.key import Key
from semantic_entropy_plugins.endpoint.replies import Reply
from semantic_entropy_plugins.endpoint.thread import Line
from semantic_entropy_plugins.endpoint.trouble import Trouble, read_answer, read_retry_after
from tests.plugins.chat_server import (
    ChatServer,
    by,
    half,
    prompt,
    reset,
    says,
    sends,
    silent,
    slow,
    status,
    trickle,
)

SOON = 0.005  # seconds before the first retry: a test waits for nothing
GOOD = says("good")


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def call(tag=0, **options):
    return Call(tag, lambda refused: {"model": "m", "messages": [{"role": "user", "content": str(tag)}]}, **options)


def calls(count):
    return [call(tag) for tag in range(count)]


def only(endpoint):
    ((_, outcome),) = endpoint.stream([call()])
    return outcome


def endpoint(server, **options):
    return Endpoint(server.url, **{"backoff": SOON, "timeout": 10.0, **options})


AGAIN = [  # a first answer that is as good as none, and what a final failure says of it
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
    (sends(b"abc", {"Content-Encoding": "gzip"}), "the connection broke"),
    (half, "the connection broke"),
    (reset, "the connection broke"),
]


@pytest.mark.parametrize(("trouble", "reason"), AGAIN)
def test_what_is_as_good_as_no_answer_is_tried_again(trouble, reason):
    with ChatServer(trouble, GOOD) as server:
        outcome = only(endpoint(server))
    assert [choice.text for choice in outcome.choices] == ["good"]
    assert (outcome.usage.requests, outcome.usage.input_tokens, outcome.usage.output_tokens) == (2, 10, 2)


@pytest.mark.parametrize(("trouble", "reason"), AGAIN)
def test_after_all_retries_the_call_alone_fails(trouble, reason):
    with ChatServer(GOOD, trouble, trouble, trouble, GOOD) as server:
        asked = endpoint(server, retries=2, concurrency=1)
        outcomes = [outcome for _, outcome in asked.stream(calls(3))]
    assert isinstance(outcomes[0], Reply)
    assert isinstance(outcomes[1], Failure)
    assert "given up after 3 attempts" in outcomes[1].reason
    assert reason in outcomes[1].reason
    assert outcomes[1].usage.requests == 3
    assert isinstance(outcomes[2], Reply)


def test_tokens_of_an_attempt_that_failed_are_counted_where_the_server_reports_them():
    failed = sends(json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}).encode())
    with ChatServer(failed, GOOD) as server:
        asked = endpoint(server, input_price=2.0, output_price=10.0)
        usage = only(asked).usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens) == (2, 17, 3)
    assert usage.cost == pytest.approx((17 * 2 + 3 * 10) / 1e6)
    assert asked.tokens_used == 20


@pytest.mark.parametrize("never", [silent, trickle])
def test_the_deadline_holds_for_the_whole_answer_and_not_between_two_bytes(never):
    with ChatServer(never, GOOD) as server:
        assert isinstance(only(endpoint(server, timeout=0.2)), Reply)
        assert len(server.requests) == 2


def test_a_call_that_is_never_answered_fails_while_others_do_not():
    with ChatServer(by(lambda body: silent if prompt(body) == "1" else GOOD)) as server:
        outcomes = {c.tag: o for c, o in endpoint(server, timeout=0.2, retries=1, concurrency=1).stream(calls(3))}
    assert "no complete answer within 0.2 s" in outcomes[1].reason
    assert isinstance(outcomes[0], Reply)
    assert isinstance(outcomes[2], Reply)


def test_an_answer_that_is_too_large_is_not_read_to_its_end():
    with ChatServer(says("x" * 300_000), GOOD) as server:
        outcome = only(endpoint(server, max_reply_mb=0.1))
    assert "larger than 0.1 MB" in outcome.reason


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
        "blocked: 'what is insufficient_quota?'",  # a text that is quoted
    ),
    (400, [1, 2], "[1, 2]"),
    (400, {}, "{}"),
]


@pytest.mark.parametrize(("code", "body", "message"), REFUSED)
def test_a_refusal_is_not_tried_again_and_says_what_the_server_said(code, body, message):
    with ChatServer(status(code, body), GOOD) as server:
        outcome = only(endpoint(server))
        assert len(server.requests) == 1
    assert outcome.reason == f"HTTP {code}: {message}"
    assert outcome.status == code


@pytest.mark.timeout(60)  # a pattern that starts anew at every character would need hours
@pytest.mark.parametrize("parameter", ["response_format", "logprobs", "max_tokens"])
def test_a_refusal_that_is_a_long_page_is_read_once(parameter):
    page = "<html>" + "x" * 5_000_000
    got = read_answer(400, httpx.Headers(), page, Key(""))
    assert not got.refuses(parameter)
    assert len(got.said) == 10_000
    assert not Trouble("refused", "all of it", said=page).refuses(parameter)


FATAL = [
    (401, "no", "is the key in api_key= or OPENAI_API_KEY right?"),
    (403, "not in your country", "not in your country"),
    (402, "Insufficient Balance", "Insufficient Balance"),  # DeepSeek
    (429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}, "You exceeded your quota"),
    (404, {"detail": "Not Found"}, "It usually ends with /v1"),
    (405, "no POST here", "no POST here"),
]


@pytest.mark.parametrize(("code", "body", "message"), FATAL)
def test_what_concerns_every_call_ends_it_at_once(code, body, message):
    with ChatServer(status(code, body)) as server:
        with pytest.raises(errors.EquivalenceError) as raised:
            only(Endpoint(server.url, "key-of-the-test", error=errors.EquivalenceError))
        assert len(server.requests) == 1
    assert message in str(raised.value)
    assert server.url in str(raised.value)


def test_a_missing_key_is_named():
    with ChatServer(status(401, "who are you?")) as server, pytest.raises(SemanticEntropyError) as raised:
        only(endpoint(server))
    assert "no key was given: pass api_key=, or set OPENAI_API_KEY" in str(raised.value)


def test_a_missing_model_is_answered_with_those_that_exist():
    with (
        ChatServer(status(404, "no model m"), models=["mm", "other"]) as server,
        pytest.raises(SemanticEntropyError, match="no model m .the models there: mm, other. Did you mean 'mm'"),
    ):
        only(endpoint(server))


def test_a_redirect_is_not_followed_with_the_key():
    with ChatServer(GOOD) as other:
        elsewhere = {"Location": f"http://user:word@127.0.0.1:{other.port}/v1/chat/completions?secret=1"}
        with ChatServer(status(307, headers=elsewhere)) as server, pytest.raises(SemanticEntropyError) as raised:
            only(Endpoint(server.url, "key-of-the-test"))
        assert other.requests == []
    assert f"moved to 'http://127.0.0.1:{other.port}/v1/chat/completions'" in str(raised.value)


def test_a_filter_that_answers_403_after_others_went_well_concerns_its_call():
    with ChatServer(GOOD, status(403, "flagged"), GOOD) as server:  # OpenRouter
        outcomes = [outcome for _, outcome in endpoint(server, concurrency=1).stream(calls(3))]
    assert [type(outcome) for outcome in outcomes] == [Reply, Failure, Reply]


def free_port():
    with ChatServer(GOOD) as server:
        return server.port


def test_a_server_that_is_not_there_is_said_at_once():
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(SemanticEntropyError) as raised:
        list(Endpoint(url, backoff=1000.0).stream(calls(3)))  # a retry would outlast the test
    assert f"{url} cannot be reached: connection refused. Is the server running?" in str(raised.value)


def test_a_name_that_does_not_exist_is_said_at_once(monkeypatch):
    def look_up(*_, **__):
        import socket

        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    with pytest.raises(SemanticEntropyError, match="the host's name cannot be resolved .Name or service not known"):
        only(Endpoint("http://no-such-host.example/v1", backoff=1000.0))


def test_https_to_a_server_without_it_is_said():
    with ChatServer(GOOD) as server, pytest.raises(SemanticEntropyError, match="no TLS there"):
        only(Endpoint(server.url.replace("http:", "https:"), backoff=1000.0))


def test_a_server_that_has_never_answered_when_the_retries_end_is_fatal():
    with ChatServer(silent) as server, pytest.raises(SemanticEntropyError, match="has never answered: given up"):
        only(endpoint(server, timeout=0.1, retries=1))


def test_a_server_that_goes_away_is_tried_again_and_then_fatal_after_what_had_come():
    with ChatServer(GOOD) as server:
        asked = endpoint(server, retries=2, concurrency=1)
        stream = asked.stream(calls(5))
        came = [next(stream), next(stream)]
    with pytest.raises(SemanticEntropyError, match="has answered before and is gone: given up after 3 attempts"):
        came += stream
    assert [c.tag for c, _ in came] == [0, 1]


def test_a_server_that_comes_back_is_used_again():
    with ChatServer(GOOD) as server:
        asked = endpoint(server, retries=100, backoff=0.02)
        assert isinstance(only(asked), Reply)
        port = server.port

    def come_back():
        time.sleep(0.1)
        with ChatServer(GOOD, port=port) as again:
            over.wait(20)
            assert again.requests

    over, thread = threading.Event(), threading.Thread(target=come_back)
    thread.start()
    try:
        assert isinstance(only(asked), Reply)
    finally:
        over.set()
        thread.join()


def test_what_is_under_way_comes_before_an_error_that_ends_it_all(monkeypatch):
    known, hurry = threading.Event(), Line._hurry
    monkeypatch.setattr(Line, "_hurry", lambda line, fatal: (hurry(line, fatal), known.set()))

    def late(exchange, body):
        assert known.wait(20)  # seconds: until the caller's side has seen the error
        GOOD(exchange, body)

    picky = by(lambda body: status(401, "key withdrawn") if prompt(body) == "3" else late)
    with ChatServer(picky) as server:
        came = []
        with pytest.raises(SemanticEntropyError, match="key withdrawn"):
            came += endpoint(server, concurrency=4).stream(calls(100))
        asked = {prompt(body) for body in server.requests}
    # A list that is extended by an iterator that raises keeps what came before.
    assert asked == {"3", *(str(c.tag) for c, _ in came)}
    assert len(came) == 3 or len(asked) < 4  # a call whose request was not yet sent never is


def test_after_many_failures_in_a_row_nothing_more_is_tried():
    with ChatServer(GOOD, status(500, "broken")) as server:
        asked, came = endpoint(server, retries=1, concurrency=2), []
        with pytest.raises(
            SemanticEntropyError, match="20 calls in a row have failed, this one so: .*HTTP 500: broken"
        ):
            came += asked.stream(calls(1000))
    assert sum(isinstance(outcome, Failure) for _, outcome in came) >= 19


def test_refusals_are_no_reason_to_stop_once_a_call_has_succeeded():
    with ChatServer(GOOD, status(400, "too long")) as server:
        came = list(endpoint(server, concurrency=1).stream(calls(50)))
    assert len(came) == 50


def test_where_every_call_is_refused_from_the_start_it_stops():
    with (
        ChatServer(status(400, "temperature must be 1")) as server,
        pytest.raises(SemanticEntropyError, match="20 calls in a row have failed.*temperature must be 1"),
    ):
        list(endpoint(server).stream(calls(1000)))


def test_no_more_calls_are_under_way_than_allowed_and_all_slots_are_used():
    five = threading.Barrier(5, timeout=20)  # seconds: fewer at a time would never pass it

    def together(exchange, body):
        five.wait()
        GOOD(exchange, body)

    with ChatServer(together) as server:
        assert len(list(endpoint(server, concurrency=5).stream(calls(40)))) == 40
    assert server.peak == 5


def test_calls_are_taken_only_when_there_is_a_slot_for_them():
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


def test_an_error_of_the_source_comes_after_what_was_under_way():
    def source():
        yield from calls(2)
        raise ZeroDivisionError

    came = []
    with ChatServer(slow(0.05, GOOD)) as server, pytest.raises(ZeroDivisionError):
        came += endpoint(server).stream(source())
    assert len(came) == 2


def test_no_calls_open_no_connection():
    assert list(Endpoint("http://127.0.0.1:9/v1").stream([])) == []


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("semantic-entropy")]


def test_closing_ends_at_once_what_is_under_way_and_leaves_no_thread():
    with ChatServer(GOOD, silent) as server:
        stream = endpoint(server, timeout=3600).stream(calls(5))
        next(stream)
        assert threads()
        stream.close()
        assert threads() == []


def test_a_stream_that_is_dropped_closes():
    with ChatServer(GOOD, silent) as server:
        next(endpoint(server, timeout=3600).stream(calls(5)))
        assert threads() == []


def test_another_thread_may_end_it_by_closing():
    with ChatServer(GOOD, silent, silent, GOOD) as server:
        asked, came = endpoint(server, timeout=3600, concurrency=2), []
        stream = asked.stream(calls(3))
        came.append(next(stream))
        closing = threading.Timer(0.05, asked.close)
        closing.start()
        with pytest.raises(SemanticEntropyError, match="closed while calls were under way"):
            came += stream
        closing.join()
        assert threads() == []
        asked.close()
        assert isinstance(only(asked), Reply)


def test_the_collector_of_garbage_may_close_it_in_any_thread(caplog):
    line = Endpoint("http://127.0.0.1:9/v1")._line()
    line._loop.call_soon_threadsafe(line.close)  # in the line's own thread, where waiting for itself is an error
    line._thread.join(20)
    assert not line._thread.is_alive()
    assert caplog.records == []


def test_the_token_budget_ends_what_has_not_started():
    with ChatServer(says("x", usage=(50, 50))) as server:
        asked = endpoint(server, token_budget=250, concurrency=1)
        outcomes = [outcome for _, outcome in asked.stream(calls(6))]
        assert len(server.requests) == 3
    assert [type(outcome) for outcome in outcomes] == [Reply] * 3 + [Failure] * 3
    assert outcomes[-1].reason == "the token budget of 250 is spent"
    assert asked.tokens_used == 300


def test_a_server_that_reports_no_usage_counts_as_requests_and_costs_what_nobody_knows():
    with ChatServer(says("x", usage=None)) as server:
        usage = only(endpoint(server, input_price=1, output_price=1)).usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens, usage.cost) == (1, 0, 0, None)


def test_retry_after_makes_all_calls_wait():
    moments = []

    def behave(exchange, body):
        moments.append(time.monotonic())
        busy = status(429, "wait", {"Retry-After": "0.4"})
        (busy if len(moments) == 1 else slow(0.05, GOOD))(exchange, body)

    with ChatServer(behave) as server:
        assert len(list(endpoint(server, concurrency=1).stream(calls(1)))) == 1
        asked = endpoint(server, concurrency=2)
        moments.clear()
        assert all(isinstance(o, Reply) for _, o in asked.stream(calls(6)))
    # At most the one that was under way beside it came before the pause was over.
    assert sum(moment - moments[0] < 0.39 for moment in moments[1:]) <= 1
    assert len(moments) == 7


RETRY_AFTER = [
    (None, None, None),
    ("7", 7, 7),
    ("1.5", 1.5, 1.5),
    ("-3", 0, 0),
    ("soon", None, None),
    ("nan", None, None),
    ("1e999", None, None),
    ("", None, None),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 1e9, 1e12),
]


@pytest.mark.parametrize(("header", "least", "most"), RETRY_AFTER)
def test_retry_after_is_read_as_seconds_or_as_a_date(header, least, most):
    seconds = read_retry_after(header)
    assert seconds is None if least is None else least <= seconds <= most


@pytest.mark.parametrize(("ahead", "least", "most"), [(3600, 3000, 3600), (-3600, 0, 0)])
def test_a_date_is_so_many_seconds_from_now(ahead, least, most):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    assert least <= read_retry_after(date) <= most


@given(st.text())
def test_no_retry_after_is_an_error(header):
    seconds = read_retry_after(header)
    assert seconds is None or seconds >= 0


def test_no_wait_is_longer_than_the_longest(monkeypatch):
    waits, pauses = [], []

    async def sleep(self, seconds):
        waits.append(seconds)
        pauses.append(self._standing.resume_at - time.monotonic())
        self._standing.resume_at = 0.0

    monkeypatch.setattr("semantic_entropy_plugins.endpoint.attempts.Attempts._sleep", sleep)
    with ChatServer(*[status(503, headers={"Retry-After": "86400"})] * 12, GOOD) as server:
        assert isinstance(only(endpoint(server, retries=20, backoff=1.0)), Reply)
    assert len(waits) == 12
    assert LONGEST_WAIT / 2 <= max(waits) <= LONGEST_WAIT  # the eighth retry's and later: 2^7 s, were there no limit
    assert LONGEST_WAIT / 2 < max(pauses) <= LONGEST_WAIT


def test_waits_grow_and_differ(monkeypatch):
    waits = []

    async def sleep(self, seconds):
        waits.append(seconds)

    monkeypatch.setattr("semantic_entropy_plugins.endpoint.attempts.Attempts._sleep", sleep)
    with ChatServer(*[status(500)] * 6, GOOD) as server:
        only(endpoint(server, backoff=1.0))
    for n, wait in enumerate(waits):
        assert 2**n / 2 <= wait <= 2**n
    assert len({wait / 2**n for n, wait in enumerate(waits)}) == 6


def test_a_parameter_that_the_server_refuses_is_left_out_from_then_on():
    def body(refused):
        return {"model": "m", "messages": [], **({} if "logprobs" in refused else {"logprobs": True})}

    picky = by(lambda sent: status(400, "logprobs is not supported") if "logprobs" in sent else GOOD)
    with ChatServer(picky) as server:
        asked = endpoint(server, concurrency=1)
        outcomes = [o for _, o in asked.stream([Call(i, body, ("logprobs",)) for i in range(3)])]
        assert ["logprobs" in sent for sent in server.requests] == [True, False, False, False]
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert outcomes[0].usage.requests == 2


def test_a_refusal_that_names_a_parameter_in_passing_is_not_remembered():
    def body(refused):
        return {"model": "m", "messages": [], **({} if "logprobs" in refused else {"logprobs": True})}

    with ChatServer(status(400, "bad input (logprobs: 1)"), status(400, "bad input"), GOOD) as server:
        first, second = (
            o for _, o in endpoint(server, concurrency=1).stream([Call(i, body, ("logprobs",)) for i in "ab"])
        )
        assert ["logprobs" in sent for sent in server.requests] == [True, False, True]
    assert first.reason == "HTTP 400: bad input"
    assert isinstance(second, Reply)


def test_several_threads_share_the_slots():
    with ChatServer(slow(0.02, GOOD)) as server:
        asked, came = endpoint(server, concurrency=8), []
        workers = [threading.Thread(target=lambda: came.extend(asked.stream(calls(20)))) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert len(came) == 80
    assert 4 <= server.peak <= 8 + 4  # a thread may look a moment before another's call counts


def test_several_threads_may_ask_at_once():
    with ChatServer(slow(0.02, GOOD)) as server:
        asked, came = endpoint(server, concurrency=2), []
        workers = [threading.Thread(target=lambda: came.extend(asked.stream(calls(5)))) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert len(came) == 20
    assert asked.tokens_used == 20 * 12


def test_it_works_inside_a_running_event_loop():
    async def main():
        with ChatServer(GOOD) as server:
            return list(endpoint(server).stream(calls(3)))

    assert len(asyncio.run(main())) == 3


def test_an_error_of_this_code_is_an_error_and_not_a_wait_for_ever():
    def body(refused):
        raise KeyError("a mistake")

    with ChatServer(GOOD) as server, pytest.raises(SemanticEntropyError, match="unexpected KeyError") as raised:
        list(endpoint(server).stream([Call(0, body)]))
    assert "in body" in raised.value.__notes__[0]


def test_lone_surrogates_are_sent_as_question_marks():
    with ChatServer(GOOD) as server:
        only_one = Call(0, lambda refused: {"model": "m", "messages": [{"content": "a\ud800b\x00"}]})
        ((_, outcome),) = endpoint(server).stream([only_one])
        assert server.requests[0]["messages"][0]["content"] == "a?b\x00"
    assert isinstance(outcome, Reply)


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
def test_an_option_that_cannot_be_used_is_refused_at_construction(options, message):
    with pytest.raises(errors.OptionError) as raised:
        Endpoint(**{"base_url": "http://127.0.0.1:9/v1", **options})
    assert message in str(raised.value)


@pytest.mark.parametrize("end", ["", "/", "/chat/completions", "/chat/completions/"])
def test_an_address_may_end_as_people_write_it(end):
    assert Endpoint(f"http://127.0.0.1:9/v1{end}").base_url == "http://127.0.0.1:9/v1"


def test_a_proxy_that_cannot_be_used_is_said(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(SemanticEntropyError, match="the proxy that the environment names cannot be used"):
        only(Endpoint("http://host.example/v1"))


def test_the_proxy_is_mentioned_where_nothing_can_be_reached(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(SemanticEntropyError, match="through the proxy that the environment names"):
        only(Endpoint("http://127.0.0.1:9/v1"))


def test_a_fatal_error_waits_for_nobody_who_is_silent(monkeypatch):
    monkeypatch.setattr("semantic_entropy_plugins.endpoint.thread._GRACE", 0.1)
    picky = by(lambda body: silent if prompt(body) == "0" else status(401))
    with ChatServer(picky) as server, pytest.raises(SemanticEntropyError, match="HTTP 401"):
        next(endpoint(server, timeout=3600).stream(calls(2)))
    assert threads() == []

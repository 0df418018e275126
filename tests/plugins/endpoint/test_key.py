"""The API key leaves the process only in a request's header: every other place is searched for it."""

from __future__ import annotations

import base64
import copy
import io
import json
import logging
import pickle
import traceback
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import Pair, Scorer, SemanticEntropyError, load_equivalence
from semantic_entropy.plugin import Request, errors
from semantic_entropy_plugins.endpoint.client import Endpoint
from semantic_entropy_plugins.endpoint.key import VARIABLE, Key
from semantic_entropy_plugins.judge.llm_judge import Judge
from semantic_entropy_plugins.samplers.openai_sampler import OpenAISampler
from tests.plugins.chat_server import ChatServer, says, sends, silent, status, with_fast_retries
from tests.plugins.endpoint.streaming import StreamingEndpoint

SECRET = "sk-test-0123456789abcdefghijklmnop"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def log():
    """The messages of all loggers, at level DEBUG."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def full_report(error):
    """A traceback as a crash reporter shows it: causes, notes and local variables, without those of this test."""
    seen, errors_seen = [], [error]
    for current in errors_seen:
        seen += [str(current), repr(current), repr(current.args), *getattr(current, "__notes__", ())]
        frames = traceback.StackSummary.extract(traceback.walk_tb(current.__traceback__), capture_locals=True)
        seen += [repr(frame.locals) + str(frame) for frame in frames if "semantic_entropy_plugins" in frame.filename]
        errors_seen += [cause for cause in (current.__cause__, current.__context__) if cause is not None]
    return "\n".join(seen)


def echo(code):
    """A server that sends the key back: in the body, in a header, and in the status line."""

    def behave(exchange, body):
        key = exchange.headers["Authorization"]
        exchange.send_response(code, f"no {key}")
        data = json.dumps({"error": {"message": f"bad credentials: {key}!", "param": key}}).encode()
        exchange.send_header("Content-Length", str(len(data)))
        exchange.send_header("X-Echo", key)
        exchange.end_headers()
        exchange.wfile.write(data)

    return behave


BEHAVIOURS = [
    *(echo(code) for code in (200, 302, 400, 401, 404, 429, 500)),
    sends(f"<html>{SECRET}</html>".encode()),
    status(302, headers={"Location": f"http://elsewhere.example/{SECRET}"}),
    silent,
]


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_no_message_log_or_traceback_shows_the_key_even_if_the_server_sends_it_back(behaviour, log):
    with ChatServer(behaviour, models=[SECRET]) as server:
        judge = Judge("m", server.url, SECRET, retries=1, timeout=0.2)
        with_fast_retries(judge)
        seen = [repr(judge), str(vars(judge)), str(judge.settings), judge.describe(), repr(judge.endpoint._key)]
        try:
            seen += map(repr, judge.judge([Pair("q", "a", "b")]))
        except SemanticEntropyError as error:
            seen.append(full_report(error))
        assert f"Bearer {SECRET}" in [headers.get("Authorization") for headers in server.headers]
    seen.append(log.getvalue())
    assert "send_request_headers" in log.getvalue()
    assert SECRET not in "\n".join(seen)


def test_a_connection_error_does_not_show_the_key(log):
    with ChatServer(says("x")) as server:
        url = server.url
    with pytest.raises(SemanticEntropyError) as raised:
        list(OpenAISampler("m", url, SECRET).stream([Request(0, "q", 1)]))
    assert SECRET not in full_report(raised.value) + log.getvalue()
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_a_bug_in_the_client_does_not_show_the_key():
    from semantic_entropy_plugins.endpoint.retry import Call

    with ChatServer(says("x")) as server, pytest.raises(SemanticEntropyError) as raised:
        list(
            StreamingEndpoint(server.url, SECRET).stream(
                [Call(0, lambda refused: {"mistake": object(), "key": SECRET})]
            )
        )
    assert "unexpected TypeError" in str(raised.value)
    assert SECRET not in full_report(raised.value).replace('"key": SECRET', "")


def test_a_key_in_a_response_is_redacted(tmp_path):
    with ChatServer(says(f"it is {SECRET}", message={"reasoning_content": f"so {SECRET}"})) as server:
        sampler = OpenAISampler("m", server.url, SECRET)
        ((_, sample),) = sampler.stream([Request(0, "q", 1)])
    assert (sample.text, sample.reasoning) == ("it is ***", "so ***")


def test_the_cache_file_does_not_hold_the_key(tmp_path):
    cache = tmp_path / "verdicts.sqlite"
    with ChatServer(says('{"same": true}')) as server:
        judge = load_equivalence("judge", model="m", base_url=server.url, api_key=SECRET)
        with Scorer(judge, cache=cache) as scorer:
            scorer.estimate(["a", "b"], question="q")
    assert any(tmp_path.iterdir())
    assert all(SECRET.encode() not in file.read_bytes() for file in tmp_path.iterdir())


BAD_KEYS = [SECRET + "\n", f"{SECRET}\u00e9", f"Bearer {SECRET}", SECRET + "\x00", 12345678901234]


@pytest.mark.parametrize("key", BAD_KEYS)
@pytest.mark.parametrize("factory", [Judge, OpenAISampler])
def test_an_invalid_key_is_refused_and_not_shown(factory, key):
    with pytest.raises(errors.OptionError) as raised:
        factory("m", "http://127.0.0.1:9/v1", key)
    assert "api_key" in str(raised.value)
    assert str(key).strip() not in full_report(raised.value)


def test_an_invalid_key_in_the_environment_is_reported_by_its_variable(monkeypatch):
    monkeypatch.setenv(VARIABLE, SECRET + "\n")
    with pytest.raises(errors.OptionError, match=f"{VARIABLE} holds a character that is not allowed in a key"):
        Judge("m")


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"policy": "x"}, {"template": "x"}, {"temperature": "hot"}])
def test_the_error_about_another_option_does_not_show_the_key(options):
    with pytest.raises(errors.OptionError) as raised:
        load_equivalence("judge", model="m", api_key=SECRET, **options)
    assert SECRET not in full_report(raised.value)
    assert SECRET not in str(raised.value)


URLS = [
    f"http://user:{SECRET}@host/v1",
    f"http://{SECRET}@host/v1",
    f"http://host/v1?key={SECRET}",
    f"http://host/v1#{SECRET}",
    f"http://{SECRET}@[half/v1",
]


@pytest.mark.parametrize("url", URLS)
def test_a_key_in_the_address_is_refused_and_not_shown(url):
    with pytest.raises(errors.OptionError) as raised:
        Endpoint(url)
    assert SECRET not in str(raised.value)


def test_the_environment_is_read_at_each_use_of_the_key(monkeypatch):
    with ChatServer(says("yes")) as server:
        judge = Judge("m", server.url)
        judge.judge([Pair(None, "a", "b")])
        monkeypatch.setenv(VARIABLE, SECRET)
        judge.judge([Pair(None, "a", "b")])
        Judge("m", server.url, "").judge([Pair(None, "a", "b")])  # no key, although the variable is set
        assert [headers.get("Authorization") for headers in server.headers] == [None, f"Bearer {SECRET}", None]
    assert SECRET.encode() not in pickle.dumps(judge)


@pytest.mark.parametrize("kind", [Judge, OpenAISampler])
def test_a_key_is_copied_but_not_pickled(kind):
    given = kind("m", api_key=SECRET)
    with pytest.raises(TypeError, match="set OPENAI_API_KEY in both") as raised:
        pickle.dumps(given)
    assert SECRET not in full_report(raised.value)
    assert copy.deepcopy(given).endpoint._key.redact(SECRET) == copy.copy(given.endpoint._key).redact(SECRET) == "***"


def test_a_pickle_without_a_key_reads_the_environment_where_it_is_loaded(monkeypatch):
    pickled, without = pickle.dumps(Judge("m")), pickle.dumps(Judge("m", api_key=""))
    monkeypatch.setenv(VARIABLE, SECRET)
    assert pickle.loads(pickled).endpoint._key
    assert not pickle.loads(without).endpoint._key


@pytest.mark.parametrize("slash", ["/", "\\/", "%2F"])
def test_an_escaped_key_is_redacted_from_an_error_message(slash):
    key = 'sk/proj"abcdef/0123456789'
    shown = json.dumps(key)[1:-1].replace("/", slash) if slash != "%2F" else quote(key, safe="")
    with ChatServer(sends(f'{{"note": "nothing for {shown}"}}'.encode())) as server:
        verdict = with_fast_retries(Judge("m", server.url, key, retries=0)).judge([Pair(None, "a", "b")])[0]
    assert "nothing for ***" in verdict.reason
    assert "0123456789" not in verdict.reason


DISGUISES = {
    "the first 20 characters": SECRET[:20],
    "the last 20 characters": SECRET[-20:],
    "with spaces": " ".join(SECRET),
    "on several lines": "\n".join(SECRET[i : i + 4] for i in range(0, len(SECRET), 4)),
    "in quotes": ", ".join(map(repr, SECRET)),
    "reversed": SECRET[::-1],
    "in capitals": SECRET.upper(),
    "in hexadecimal digits": SECRET.encode().hex(" "),
    **{f"in base64 after {n} characters": base64.b64encode(b"x" * n + SECRET.encode()).decode() for n in range(3)},
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_key_that_the_server_sends_back_in_disguise_is_redacted(disguise, log):
    shown = DISGUISES[disguise]
    with ChatServer(status(400, f"no: {shown}!"), says(f"I saw {shown}.")) as server:
        judge = with_fast_retries(Judge("m", server.url, SECRET, retries=0, concurrency=1))
        refused, undecided = judge.judge([Pair(None, "a", "b"), Pair(None, "a", "c")])
    for reason in (refused.reason, undecided.reason):
        assert "***" in reason
        assert not any(shown[i : i + 8] in reason for i in range(len(shown) - 7) if len(set(shown[i : i + 8])) > 4)


@pytest.mark.parametrize(
    "text", ["keys begin with sk-test-, as in sk-te***mnop", "0123, abcd, efgh and ijkl", "x" * 200_000]
)
def test_a_text_that_looks_like_a_part_of_the_key_is_not_redacted(text):
    assert Key(SECRET).redact_answer(text) == text


def test_a_long_text_with_a_part_of_the_key_is_replaced_as_a_whole():
    assert Key(SECRET).redact_answer("x" * 200_000 + SECRET[5:]) == "***"


def test_a_short_key_is_redacted_only_as_a_whole_word():
    assert Key("none").redact("none of the nonentities") == "*** of the nonentities"
    assert Key("x").redact_answer("x = 1") == "x = 1"


@given(st.text("!#$%&'<>/abcXYZ09-_.~", min_size=1), st.text(), st.text())
def test_redacted_text_does_not_contain_the_key(value, before, after):
    for text in (before + value + after, f"{before} {value} {after}"):
        redacted = Key(value).redact(text)
        if len(value) >= 8 and value not in before + "***" + after and "*" not in value:
            assert value not in redacted
    assert Key("").redact(before) == Key(None).redact(before) == before


def test_log_filters_are_removed_when_a_stream_ends():
    logger = logging.getLogger("httpcore.http11")
    with ChatServer(says("yes")) as server:
        stream = Judge("m", server.url, SECRET).stream([Pair(None, "a", "b"), Pair(None, "a", "c")])
        next(stream)
        assert logger.filters
        stream.close()
    assert logger.filters == []

"""Reading replies: the form of each server, and any other JSON or bytes without an exception."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy.plugin import Usage
from semantic_entropy_plugins.endpoint.replies import (
    BodyReader,
    parse_json,
    read_choices,
    read_error,
    read_models,
    read_usage,
    shorten,
)


def decode(body):
    reader = BodyReader("", 10**6)
    reader.add(body)
    return reader.text()


def unchanged(text):
    return text


@given(
    members=st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 3)), min_size=1, max_size=4),
    size=st.integers(1, 50),
)
def test_all_members_of_a_gzip_body_are_read_in_parts_of_any_size(members, size):
    packed = b"".join(gzip.compress(text) + b"\0" * zeros for text, zeros in members)
    reader = BodyReader("gzip", 10**6)
    for start in range(0, len(packed), size):
        reader.add(packed[start : start + size])
    expected = b"".join(text for text, _ in members)
    assert reader.text() == expected.decode("utf-8-sig", errors="replace")


CONTENT = [  # a message, its text, its reasoning
    ({"content": "hi"}, "hi", None),
    ({"content": None}, "", None),
    ({"content": ""}, "", None),
    ({}, "", None),
    ({"content": "hi", "reasoning_content": "thus"}, "hi", "thus"),  # vLLM, DeepSeek
    ({"content": "hi", "reasoning": "thus"}, "hi", "thus"),  # OpenRouter, Ollama
    ({"content": "hi", "reasoning_content": None}, "hi", None),
    ({"content": None, "refusal": "I can't help with that."}, "I can't help with that.", None),  # OpenAI
    ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", None),
    (  # Mistral
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "so"}]},
                {"type": "text", "text": "hi"},
            ]
        },
        "hi",
        "so",
    ),
    ({"content": [{"type": "image"}, "x", None]}, "", None),
    ({"content": "<think>so</think>hi"}, "<think>so</think>hi", None),
]


@pytest.mark.parametrize(("message", "text", "reasoning"), CONTENT)
def test_content_in_the_form_of_each_server(message, text, reasoning):
    (choice,) = read_choices({"choices": [{"message": message, "finish_reason": "stop"}]}, unchanged)
    assert (choice.text, choice.reasoning, choice.finish_reason) == (text, reasoning, "stop")


TOKENS = [
    ([{"token": "a", "logprob": -0.5}], [(b"a", -0.5, ())]),
    ([{"token": "a", "logprob": 0}], [(b"a", 0.0, ())]),
    ([{"token": "a", "logprob": 1e-6}], [(b"a", 0.0, ())]),  # rounding
    ([{"token": "?", "logprob": -1.0, "bytes": [0xE2, 0x82]}], [(b"\xe2\x82", -1.0, ())]),  # part of a character
    ([{"token": "a", "logprob": -1.0, "bytes": [999]}], [(b"a", -1.0, ())]),
    (
        [{"token": "a", "logprob": -1, "top_logprobs": [{"token": "b", "logprob": -2}, {"token": 5}, None]}],
        [(b"a", -1.0, (("b", -2.0),))],
    ),
    ([{"token": "a", "logprob": 0.7}], None),  # a probability instead of a log-probability
    ([{"token": "a", "logprob": None}], None),
    ([{"token": "a", "logprob": True}], None),
    ([{"token": "a", "logprob": float("nan")}], None),
    ([{"token": "a", "logprob": float("-inf")}], None),
    ([{"token": "a", "logprob": -(10**400)}], None),
    ([{"token": "a", "logprob": -1}, {"token": "b"}], None),
    ([{"logprob": -1}], None),
    ([], None),
    (None, None),
    ("x", None),
]


@pytest.mark.parametrize(("content", "tokens"), TOKENS)
def test_one_malformed_log_probability_drops_all(content, tokens):
    body = {"choices": [{"message": {"content": "a"}, "logprobs": {"content": content}}]}
    (choice,) = read_choices(body, unchanged)
    assert choice.tokens == (None if tokens is None else tuple(tokens))


ERRORS = [  # a body; its message, code and parameter
    ('{"error": {"message": "m", "code": "c", "param": "p"}}', ("m", "c", "p")),
    ('{"error": {"message": "m", "code": 404}}', ("m", "404", "")),
    ('{"error": "m"}', ("m", "", "")),
    ('{"object": "error", "message": "m", "param": null, "code": 400}', ("m", "400", "")),
    ('{"detail": "m"}', ("m", "", "")),
    ('{"detail": [{"loc": ["body", "n"], "msg": "m"}, {"msg": "k"}]}', ("body.n: m; k", "", "")),
    ('{"errors": 1}', ('{"errors": 1}', "", "")),
    ("  Bad\n gateway ", ("Bad gateway", "", "")),
    ("", ("(no message)", "", "")),
]


@pytest.mark.parametrize(("text", "error"), ERRORS)
def test_an_error_in_the_form_of_each_server(text, error):
    assert read_error(text) == error


USAGE = [
    ({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}, Usage(1, 3, 4)),
    ({"usage": {"prompt_tokens": 3}}, Usage(1, 3, 0)),
    ({"usage": {"prompt_tokens": -3, "completion_tokens": "4"}}, Usage(1, 0, 0)),
    ({"usage": {"prompt_tokens": 2**70, "completion_tokens": 10**400}}, Usage(1, 0, 0)),
    ({"usage": None}, Usage(1, 0, 0)),
    ({}, Usage(1, 0, 0)),
    (None, Usage(1, 0, 0)),
]


@pytest.mark.parametrize(("body", "usage"), USAGE)
def test_usage_as_far_as_the_server_reports_it(body, usage):
    assert read_usage(body) == usage


def test_bytes_that_are_not_utf_8_are_replaced():
    text = decode(b'\xef\xbb\xbf{"choices": [{"message": {"content": "caf\xe9"}}]}')
    (choice,) = read_choices(parse_json(text), unchanged)
    assert choice.text == "caf\ufffd"


def test_a_long_message_is_cut_to_one_line():
    assert len(shorten("a\nb " * 1000)) == 500
    assert "\n" not in shorten("a\nb " * 1000)


NAMES = st.sampled_from(
    ["choices", "message", "content", "logprobs", "token", "bytes", "usage", "error", "detail", "data", "id", "text"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | NAMES, inner),
)


@given(JSON)
def test_no_json_value_raises(value):
    for body in (value, {"choices": [value]}, {"choices": [{"message": value}]}, {"usage": value}, {"error": value}):
        text = json.dumps(body)
        read_choices(parse_json(text), unchanged)
        read_usage(parse_json(text))
        assert read_error(text).message
        read_models(text)
    for part in (value, [value]):
        read_choices({"choices": [{"message": {"content": part}, "logprobs": {"content": part}}]}, unchanged)


@given(st.binary())
def test_no_bytes_raise(body):
    parse_json(decode(body))
    read_error(decode(body))

"""Verdicts in the LLM judge's replies."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy_plugins.endpoint.replies import Choice, Token
from semantic_entropy_plugins.judge.verdict_reading import read_verdict

REPLIES = [  # a reply, its verdict
    ('{"same": true}', True),
    ('{"same": false}', False),
    (' \n{"same":\ttrue} ', True),
    ('```json\n{"same": true}\n```', True),
    ("```\nno\n```", False),
    ('{"same": true, "why": "both name Paris"}', True),
    ('<think>yes? no!</think>{"same": false}', False),
    ("yes", True),
    ("Yes.", True),
    ("**No**", False),
    ("TRUE", True),
    ("false", False),
    ("`no`", False),
    ("<think>hm</think>\n\nYes", True),
    ('{"same": "true"}', None),
    ('{"same": 1}', None),
    ('{"same": null}', None),
    ('{"same": true, "same": false}', None),
    ('{"different": true}', None),
    ('[["same", true]]', None),
    ('[{"same": true}]', None),
    ("Yes, but no", None),
    ("Yes, they mean the same.", None),
    ('The verdict is {"same": true}', None),
    ("yes no", None),
    ("I cannot decide that.", None),
    ("maybe", None),
    ("1", None),
    ("", None),
    ("<think>yes", None),
    ('{"same": tru', None),
    ("[" * 100_000, None),
]


@pytest.mark.parametrize(("reply", "same"), REPLIES)
def test_a_verdict_is_a_json_boolean_or_a_bare_word(reply, same):
    verdict = read_verdict(Choice(reply))
    assert verdict.same is same
    assert (verdict.reason is None) == (same is not None)


@given(st.text())
def test_no_reply_raises(reply):
    verdict = read_verdict(Choice(reply))
    assert verdict.same is not None or verdict.reason


def test_the_reason_shows_the_reply_and_whether_it_was_cut_off():
    assert "I cannot tell" in read_verdict(Choice("I cannot tell " * 50)).reason
    assert len(read_verdict(Choice("I cannot tell " * 50)).reason) < 150
    assert "raise max_tokens=" in read_verdict(Choice("<think>well", finish_reason="length")).reason
    assert "content_filter" in read_verdict(Choice("", finish_reason="content_filter")).reason


def token(text, p, **top):
    return Token(text.encode(), math.log(p), tuple((other, math.log(q)) for other, q in top.items()))


SCORES = [  # tokens, P(yes) / (P(yes) + P(no))
    ([token("yes", 0.6, yes=0.6, no=0.2, Yes=0.1)], 0.7 / 0.9),
    ([token('{"', 1), token("same", 1), token('":', 1), token(" true", 0.9, **{" true": 0.9, " false": 0.1})], 0.9),
    ([token("No", 0.8, No=0.8)], 0.0),
    ([token("no", 0.5), token("</think>", 1), token("yes", 0.9, no=0.1)], 0.9),
    ([token("\u0120yes", 0.5, **{"\u2581no": 0.25})], 2 / 3),
    ([token("ye", 1), token("s", 1)], None),
    ([], None),
]


@pytest.mark.parametrize(("tokens", "score"), SCORES)
def test_the_score_is_the_probability_of_yes_at_the_deciding_token(tokens, score):
    found = read_verdict(Choice("yes", tokens=tuple(tokens))).score
    assert found == (None if score is None else pytest.approx(score))

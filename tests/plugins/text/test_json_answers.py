"""Markdown fences: what is removed, and that a degenerate text is read once."""

from __future__ import annotations

import pytest

from semantic_entropy import Pair, load_equivalence
from semantic_entropy_plugins.endpoint.replies import Choice
from semantic_entropy_plugins.judge.verdict_reading import read_verdict
from semantic_entropy_plugins.text.json_answers import without_fence


@pytest.mark.parametrize(
    ("text", "languages", "inside"),
    [
        (' \n```json\n {"a": 1}\n\n```\n', (), '{"a": 1}'),
        ("```\nno\n```", (), "no"),
        ("```Python no```", (), "no"),
        ("```json\n[1]```", ("json",), "[1]"),
        ("```python\n[1]\n```", ("json",), "python\n[1]"),
        ("```\n[1]", (), "```\n[1]"),  # not closed
        ("`````", (), "`````"),  # too short to open and close
        ("``````", (), ""),
        ("it is ```no```", (), "it is ```no```"),  # not around the whole text
        ("  no ", (), "no"),
    ],
)
def test_a_fence_around_the_whole_text_is_removed(text, languages, inside):
    assert without_fence(text, *languages) == inside


@pytest.mark.timeout(60)  # an algorithm that tries every division of the line breaks would take days
@pytest.mark.parametrize("text", ["```" + "\n" * 49_000 + "x", "```" + " " * 24_000 + "x" + " " * 24_000])
def test_an_unclosed_fence_of_any_length_is_read_once(text):
    assert load_equivalence("text").judge([Pair("q", text, "y")])[0].same is False
    assert read_verdict(Choice(text)).same is None


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ('{"a": 1, "a": 2}', '{"a": 2}', False),
        ('{"a": 1, "a": 2}', '{"a": 1}', False),
        ('{"a": 1, "a": 2}', '{"a": 2, "a": 1}', False),
        ('{"a": 1, "a": 1}', '{"a": 1}', False),
        ('{"a": 1, "a": 2}', '{"a":1,"a":2.0}', True),
        ('{"x": [{"a": 1, "a": 2}]}', '{"x": [{"a": 2}]}', False),
        ("{'a': 1, 'a': 2}", "{'a': 2}", False),
        ("{'a': 1, 'a': 2}", "{'a':1,'a':2}", False),  # a split: the text of such a literal is compared
        ("[{'a': 1, 'a': 2}]", "[{'a': 2}]", False),
        ("{1: 'x', True: 'y'}", "{1: 'y'}", False),
        ("{'a': 1, u'a': 2}", "{'a': 2}", False),
        ('{"A": 1, "a": 2}', '{"a": 1, "A": 2}', False),
        ('{"A": 1, "a": 2}', '{"a": 2, "A": 1}', True),
        ('{"A": 1}', '{"a": 1}', True),
        ("[1e400]", "[1e500]", False),
        ("[1e99999999999999999999]", "[1e99999999999999999998]", False),
        ("[0.1]", "[1e-1]", True),
        ('{"a": 0.1}', "{'a': 0.1}", True),
        ("[0.1000000000000000001]", "[0.1]", False),
        ("[1.0]", "[1]", True),
        ('{"a": NaN}', '{"a":NaN}', True),
    ],
)
def test_json_answers_are_the_same_only_if_every_program_reads_the_same_in_them(left, right, same):
    judge = load_equivalence("text")
    assert judge.judge([Pair(None, left, right)])[0].same is same
    assert judge.judge([Pair(None, right, left)])[0].same is same

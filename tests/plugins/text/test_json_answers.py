"""What stands inside a fence, and that a degenerate text costs no more than its length."""

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
        ("```\n[1]", (), "```\n[1]"),  # never closed
        ("`````", (), "`````"),  # too short to open and close
        ("``````", (), ""),
        ("it is ```no```", (), "it is ```no```"),  # not around the whole
        ("  no ", (), "no"),
    ],
)
def test_a_fence_around_the_whole_is_taken_off(text, languages, inside):
    assert without_fence(text, *languages) == inside


@pytest.mark.timeout(60)  # a reader that tries every division of the line breaks would need days
@pytest.mark.parametrize("text", ["```" + "\n" * 100_000 + "x", "```" + " " * 100_000 + "x" + " " * 100_000])
def test_a_fence_that_never_closes_is_read_once_however_long_it_is(text):
    assert load_equivalence("text").judge([Pair("q", text, "y")])[0].same is False
    assert read_verdict(Choice(text)).same is None

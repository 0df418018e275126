"""Prompts of the LLM judge."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import Pair
from semantic_entropy_plugins.judge.judge_prompts import PRESETS, fill_template


@pytest.mark.parametrize("preset", PRESETS)
@given(left=st.text(), right=st.text(), question=st.none() | st.text())
def test_no_answer_can_write_its_own_end_tag(preset, left, right, question):
    prompt_text = fill_template(PRESETS[preset], Pair(question, left, right))
    mark = re.search(r"marked (\w{12})", prompt_text)[1]
    assert mark not in left + right + (question or "")
    assert prompt_text.count(f"</answer 1 {mark}>") == prompt_text.count(f"</answer 2 {mark}>") == 1


def test_an_own_template_is_filled_once_and_other_braces_stay():
    template = 'Q={question} L={left} R={right} {"same": {mark}} {left}'
    prompt_text = fill_template(template, Pair(None, "{right}", "x{left}{0}"))
    assert re.fullmatch(r'Q=\(not given\) L=\{right\} R=x\{left\}\{0\} \{"same": \w{12}\} \{right\}', prompt_text)

"""Which field of a row is the question."""

from __future__ import annotations

import pytest

from semantic_entropy.tables import FieldNames

CHAT = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": "Capital of Spain?"},
    {"role": "assistant", "content": "Madrid"},
    {"role": "user", "content": [{"type": "text", "text": "And of"}, {"type": "text", "text": "Italy?"}]},
]


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"question": "a?", "prompt": "b?"}, ("question", "a?")),
        ({"question": None, "prompt": "b?"}, ("question", None)),
        ({"input": "", "instruction": "Add 2 and 2."}, ("instruction", "Add 2 and 2.")),
        ({"Prompt": "b?", "query": "c?"}, ("Prompt", "b?")),
        ({"prompt": None, "query": "c?"}, ("query", "c?")),
        ({"input": 5, "messages": CHAT}, ("messages", "And of\nItaly?")),
        ({"prompt": CHAT[:2]}, ("prompt", "Capital of Spain?")),
        ({"prompt": {"model": "m", "messages": CHAT[:2]}}, ("prompt", "Capital of Spain?")),
        ({"input": {"model": "m"}}, (None, None)),
        ({"messages": CHAT[:1]}, (None, None)),
        ({"messages": []}, (None, None)),
        ({"text": "not a common name"}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_the_question_is_found_under_common_names(fields, found):
    assert FieldNames().question_in(fields) == found


def test_a_named_field_is_the_question_whatever_other_fields_there_are():
    names = FieldNames(question="ask")
    assert names.question_in({"question": "a?", "ask": "b?"}) == ("ask", "b?")
    assert names.question_in({"question": "a?"}) == ("ask", None)

"""Logged answers become groups and scores without any of the tools; no entry is lost."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import estimate
from semantic_entropy.integrations.evaluators import (
    LoggedAnswers,
    LoggedText,
    ScoringSummary,
    group_by_question,
    score_answers,
)
from semantic_entropy.integrations.evaluators.logged_answers import answer_texts, input_key, question_text

CHOICES = {"choices": [{"message": {"role": "assistant", "content": text}} for text in ("Paris", "Lyon")]}


@pytest.mark.parametrize(
    ("output", "texts"),
    [
        ("Paris", ("Paris",)),
        ('"Paris"', ("Paris",)),
        (["Paris", "Lyon"], ("Paris", "Lyon")),
        (CHOICES, ("Paris", "Lyon")),
        (json.dumps(CHOICES), ("Paris", "Lyon")),
        ({"role": "assistant", "content": "Paris"}, ("Paris",)),
        ([{"role": "user", "content": "Capital?"}, {"role": "assistant", "content": "Paris"}], ("Paris",)),
        ({"answer": "Paris", "latency": 0.2}, ("Paris",)),
        ({"whatever": "Paris"}, ("Paris",)),
        ({"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Paris"}]}, ("Paris",)),
        ("{not JSON", ("{not JSON",)),
        ("42", ("42",)),
    ],
)
def test_an_output_has_its_answers(output, texts):
    assert answer_texts(output) == texts


@pytest.mark.parametrize(
    ("output", "field", "reason"),
    [
        (None, None, "there is no output"),
        ("", None, "there is no output"),
        (7, None, "not a text"),
        ({"a": "x", "b": "y"}, None, "name the field"),
        ({"answer": "x", "text": "y"}, None, "name the field"),
        ({"a": "x"}, "b", "no field 'b'; it has a"),
        ({"result": {"a": "x"}}, "result.b", "no field 'result.b'; it has a"),
    ],
)
def test_an_output_without_an_answer_gives_the_reason(output, field, reason):
    found = answer_texts(output, field)
    assert isinstance(found, str)
    assert reason in found


def test_a_path_names_the_answer():
    assert answer_texts({"result": {"a": "x", "b": "y"}}, "result.b") == ("y",)


@pytest.mark.parametrize(
    ("value", "question"),
    [
        ("Capital of France?", "Capital of France?"),
        ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Capital?"}], "Capital?"),
        ({"messages": [{"role": "user", "content": "Capital?"}]}, "Capital?"),
        ({"question": "Capital?", "k": 3}, "Capital?"),
        ({"user_text": "Capital?"}, "Capital?"),
        ('{"question": "Capital?"}', "Capital?"),
        (None, None),
        ({"a": 1, "b": 2}, None),
    ],
)
def test_an_input_has_its_question(value, question):
    assert question_text(value) == question


def test_equal_inputs_have_equal_keys_and_other_conversations_have_others():
    first = [{"role": "user", "content": "And Peru?"}]
    same = json.dumps({"b": first, "a": 1})
    assert input_key({"a": 1, "b": first}, entry="1") == input_key(same, entry="2")
    longer = [{"role": "user", "content": "Capital of France?"}, *first]
    assert input_key(first, entry="1") != input_key(longer, entry="2")
    assert input_key(first, "m1", entry="1") != input_key(first, "m2", entry="2")


@pytest.mark.parametrize("empty", [None, "", {}, [], "{}", "[]", '""'])
def test_entries_without_an_input_are_questions_of_their_own(empty):
    assert input_key(empty, "m", entry="1") != input_key(empty, "m", entry="2")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from(["x", "y"]), min_size=1)), max_size=12))
def test_every_entry_and_every_text_is_in_one_group(entries):
    logged = [LoggedText(str(n), key, key, tuple(texts)) for n, (key, texts) in enumerate(entries)]
    groups = group_by_question(logged)
    assert sorted(entry for group in groups for entry in group.entries) == sorted(entry.id for entry in logged)
    assert sum(len(group.responses) for group in groups) == sum(len(entry.texts) for entry in logged)
    assert len({group.question for group in groups}) == len(groups)


def test_a_score_is_the_entropy_of_estimate_and_a_group_without_two_valid_answers_has_a_reason():
    mixed = ("Paris", "It is Paris.", "Lyon")
    groups = [LoggedAnswers("?", texts) for texts in (mixed, ("Paris",), (), ("I don't know.", "Paris"), ("a", "a"))]
    scores = score_answers(groups)
    assert [score.value for score in scores] == [estimate(mixed, question="?").entropy, None, None, None, 0.0]
    assert [score.reason for score in scores] == [
        "",
        "1 answer; at least 2 are needed",
        "0 answers; at least 2 are needed",
        "1 of 2 answers are valid; at least 2 are needed",
        "",
    ]
    assert scores[3].comment.startswith("no score: ")
    assert "2 x" in scores[0].comment
    assert all(json.dumps(score.metadata(), allow_nan=False) for score in scores)
    summary = str(ScoringSummary(tuple(scores), 2, {"t1": "there is no output", "t2": "there is no output"}))
    assert "2 questions scored, 2 scores written, 3 questions without a score, 2 entries not readable" in summary
    assert "2 x there is no output (first: t1)" in summary


def test_metadata_is_small_whatever_the_answers_are():
    long = [f"{n} " + "word " * 5000 for n in range(60)]
    (score,) = score_answers([LoggedAnswers(None, tuple(long))], equivalence="exact", long=False)
    assert len(json.dumps([score.metadata(), score.comment])) < 30_000
    assert score.metadata()["meanings"] == 60


def test_choices_are_those_of_estimate():
    (score,) = score_answers([LoggedAnswers(None, ("x = 4", "4", "5"))], equivalence="exact", extract="number")
    assert score.metadata()["judge"].startswith("exact")
    assert math.isclose(score.value, estimate(["4", "4", "5"]).entropy)

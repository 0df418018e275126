"""Questions from local files with the columns of the datasets on the hub."""

from __future__ import annotations

import dataclasses
import json

import pytest

from empo_rl.data.suites import SETS, QuestionSet, SetColumns
from empo_rl.evaluate.questions import load_questions
from semantic_entropy import InputError
from tests.shared_data import SHARED, rows


@pytest.fixture
def load(tmp_path):
    def loaded(name, *records, **how):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return load_questions(SETS[name], path, **how)

    return loaded


@pytest.mark.parametrize(
    ("name", "record", "text", "gold"),
    [
        ("math500", {"problem": "1+1?", "answer": "2", "solution": r"\boxed{3}"}, "1+1?", "2"),
        ("aime24", {"problem": "1+1?", "answer": 2}, "1+1?", "2"),
        ("olympiadbench", {"question": "1+1?", "final_answer": ["$2$"]}, "1+1?", "$2$"),
        ("olympiadbench", {"question": "Roots?", "final_answer": ["1", "2"]}, "Roots?", "1, 2"),
        # a search for the first closing brace would give \frac{1
        (
            "minerva_math",
            {"problem": "Half?", "solution": r"So \boxed{\frac{1}{2 \mathrm{~s}}}."},
            "Half?",
            r"\frac{1}{2 \mathrm{~s}}",
        ),
        ("minerva_math", {"problem": "?", "solution": r"\boxed{1} then \boxed{\{2\}}"}, "?", r"\{2\}"),
    ],
)
def test_a_row_gives_its_question_and_its_gold_answer(load, name, record, text, gold):
    (question,) = load(name, record)
    assert (question.text, question.gold) == (text, gold)


def test_choices_of_mmlu_pro_get_letters_and_its_categories_a_group(load):
    record = {"question": "Which?", "options": ["one", "two", "three"], "answer": "C", "category": "law"}
    (question,) = load("mmlu_pro", record)
    assert question.text == "Which?\nA. one\nB. two\nC. three\n"
    assert (question.gold, question.category, question.group) == ("C", "law", "Humanities")


def test_choices_of_gpqa_are_shuffled_with_the_seed_together_with_the_gold_answer(load):
    record = {"Question": "Which?", "Correct Answer": "yes", **{f"Incorrect Answer {i}": f"no {i}" for i in (1, 2, 3)}}
    loaded = [load("gpqa_diamond", *[record] * 40, seed=seed) for seed in (0, 0, 1)]
    assert loaded[0] == loaded[1] != loaded[2]
    assert {question.gold for question in loaded[0]} == set("ABCD")
    assert all(f"{question.gold}. yes" in question.text.splitlines() for question in loaded[0])


@pytest.mark.parametrize(
    ("name", "record", "says"),
    [
        (
            "math500",
            {"text": "1+1?", "answer": "2"},
            "rows.jsonl:1: no question.*'question', 'problem'.*Columns: text, answer",
        ),
        ("math500", {"question": "1+1?"}, "no answer: none of the columns 'answer', 'final_answer'"),
        ("minerva_math", {"question": "?", "solution": r"so \boxed{1"}, "no answer, and the solution has no complete"),
        (
            "mmlu_pro",
            {"question": "?", "options": ["a", "b"], "answer": "C", "category": "law"},
            "a letter A-B, not 'C'",
        ),
        (
            "mmlu_pro",
            {"question": "?", "options": ["a", "b"], "answer": "A", "category": "arts"},
            "unknown category 'arts'. Choose from: math",
        ),
        ("gpqa_diamond", {"Question": "?", "Correct Answer": "ab"}, "must be a letter A-P, not 'ab'"),
    ],
)
def test_the_error_for_an_incomplete_row_names_its_place(load, name, record, says):
    with pytest.raises(InputError, match=says):
        load(name, record)


def test_a_file_of_several_sets_gives_the_rows_of_the_requested_set(load):
    mixed = [{"source": "amc23", "question": "a", "answer": "1"}, {"source": "aime24", "question": "b", "answer": "2"}]
    assert [question.text for question in load("aime24", *mixed, source_column="source")] == ["b"]
    with pytest.raises(InputError, match="contains no questions with source='math500'"):
        load("math500", *mixed, source_column="source")
    with pytest.raises(InputError, match="no column 'set' .--source-column"):
        load("aime24", *mixed, source_column="set")


def test_the_real_suites_load_from_one_file():
    wanted = {name: sum(row["source"] == name for row in rows("questions.jsonl")) for name in ("minerva_math", "amc23")}
    for name, count in wanted.items():
        found = load_questions(SETS[name], SHARED / "data" / "questions.jsonl", source_column="source")
        assert len(found) == count > 0
        assert len({question.id for question in found}) == count


OWN = QuestionSet("own", "own", "", "", "math", "math", golds="optional")


def own(tmp_path, *records, **changes):
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return load_questions(dataclasses.replace(OWN, **changes), path)


def test_a_question_of_own_data_may_lack_a_gold_answer(tmp_path):
    rows = [
        {"question": "1+1?"},
        {"question": "1+1?", "answer": None},
        {"question": "1+1?", "answer": " "},
        {"question": "Prove it.", "answer": None, "solution": "Clearly."},  # as `empo-data numina` writes a proof
        {"question": "1+1?", "answer": None, "solution": r"\boxed{2}"},
        {"question": "1+1?", "answer": 2},
    ]
    assert [question.gold for question in own(tmp_path, *rows)] == [None, None, None, None, "2", "2"]


def test_a_named_answer_column_must_exist_and_may_be_null(tmp_path):
    columns = SetColumns(answer=("gold",))
    found = own(tmp_path, {"question": "1+1?", "gold": None}, golds="nullable", columns=columns)
    assert found[0].gold is None
    with pytest.raises(InputError, match="no answer: none of the columns 'gold'"):
        own(tmp_path, {"question": "1+1?", "answer": "2"}, golds="nullable", columns=columns)


def test_choices_without_a_gold_answer_get_letters(tmp_path):
    (question,) = own(tmp_path, {"question": "Which?", "options": ["one", "two"]}, kind="choice")
    assert (question.text, question.gold) == ("Which?\nA. one\nB. two\n", None)


def test_a_question_can_be_a_conversation(tmp_path):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}]
    (question,) = own(tmp_path, {"prompt": turns, "answer": "2"}, columns=SetColumns(question=("prompt",)))
    assert (question.text, question.messages, question.gold) == ("1+1?", turns, "2")
    reply = [*turns, {"role": "assistant", "content": "2"}]
    with pytest.raises(InputError, match="own.jsonl:1: column 'prompt' .*ends with a message of the assistant"):
        own(tmp_path, {"prompt": reply}, columns=SetColumns(question=("prompt",)))
    with pytest.raises(InputError, match="put the lettered choices into the last message"):
        own(tmp_path, {"question": turns, "options": ["1", "2"]}, kind="choice")

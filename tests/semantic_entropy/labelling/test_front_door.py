"""`label_file`, the Python front door of `semantic-entropy label`: the same output and the same summary."""

from __future__ import annotations

import pytest

from semantic_entropy import InputError
from semantic_entropy.labelling import label_file
from tests.semantic_entropy.cli.command import call, read, write

ROWS = [
    {"question": "Capital of France?", "responses": ["Paris"], "gold": "Paris"},
    {"question": "Capital of Australia?", "responses": ["Sydney"], "gold": ["Canberra"]},
    {"question": "Who?", "responses": ["I don't know."], "gold": "Homer"},
]


def test_it_writes_what_the_command_writes(tmp_path):
    source = write(tmp_path / "in.jsonl", ROWS)
    summary = label_file(source, tmp_path / "python.jsonl", gold="gold", equivalence="exact")
    ran = call("label", source, "-o", tmp_path / "command.jsonl", "--gold", "gold", "-e", "exact", "--quiet")
    assert (tmp_path / "python.jsonl").read_bytes() == (tmp_path / "command.jsonl").read_bytes()
    assert [row["answer_correct"] for row in read(tmp_path / "python.jsonl")] == [True, False, None]
    assert (summary.rows, summary.labelled, summary.wrong) == (3, 2, 1)
    assert summary.still_needed(0.1, 0.1) in ran.stderr


def test_labels_of_another_file_are_taken_over_and_the_judge_labels_the_rest(tmp_path):
    source = write(tmp_path / "in.jsonl", ROWS[:2])
    label_file(source, tmp_path / "first.jsonl", gold="gold", equivalence="exact")
    summary = label_file(source, tmp_path / "second.jsonl", labels=tmp_path / "first.jsonl")
    assert (summary.labelled, summary.wrong) == (2, 1)
    assert [row["answer_correct"] for row in read(tmp_path / "second.jsonl")] == [True, False]


def test_nobody_who_decides_and_a_judge_without_gold_answers_are_errors(tmp_path):
    source = write(tmp_path / "in.jsonl", ROWS)
    with pytest.raises(InputError, match="pass gold=, the field with the gold answers, or labels="):
        label_file(source, tmp_path / "out.jsonl")
    with pytest.raises(InputError, match="equivalence: these choose a judge, which needs gold="):
        label_file(source, tmp_path / "out.jsonl", labels=source, equivalence="exact")
    assert not (tmp_path / "out.jsonl").exists()

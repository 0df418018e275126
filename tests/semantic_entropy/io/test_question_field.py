"""The question of a row of a file: named, found under a common name, or missing."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from semantic_entropy import InputError, register
from semantic_entropy.cli import main
from tests.semantic_entropy.io.measured_files import measure, read, write
from tests.semantic_entropy.sampling.dice import Dice

# The judge `text` reads the question: with it, the two answers are the two options of the question, and differ.
QUESTION, RESPONSES = "Is the glass half full or half empty?", ["half full", "half empty", "half full"]
SUFFIXES = pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])


def rows(field, count=3):
    return [{"id": i, field: QUESTION, "responses": RESPONSES} for i in range(count)]


def entropies(path):
    return [row["entropy"] for row in read(path)]


@SUFFIXES
def test_a_question_under_another_name_gives_the_same_numbers(tmp_path, suffix, capsys):
    results = {}
    for field in ("question", "prompt", "ask"):
        source, output = write(tmp_path / f"{field}{suffix}", rows(field)), tmp_path / f"{field}.out{suffix}"
        named = "ask" if field == "ask" else None
        assert not measure(source, output, equivalence="text", question=named).warning
        results[field] = entropies(output)
    assert results["question"] == results["prompt"] == results["ask"]
    said = capsys.readouterr().err
    assert said.count("question: the field 'prompt'") == 1  # once, and not for a named field
    assert "'ask'" not in said


@SUFFIXES
def test_rows_without_a_question_are_counted_in_the_summary_if_the_judge_uses_it(tmp_path, suffix):
    source = write(tmp_path / f"in{suffix}", rows("ask") + rows("ask", 1))
    summary = str(measure(source, tmp_path / f"out{suffix}", equivalence="text"))
    assert "warning: 4 of 4 rows have no field with a question" in summary
    assert "--question FIELD (fields with a text: ask)" in summary or suffix == ".parquet"
    assert "warning" not in str(measure(source, tmp_path / f"exact{suffix}", equivalence="exact"))


@SUFFIXES
def test_a_named_field_that_does_not_exist_is_an_error_that_lists_the_fields(tmp_path, suffix):
    source = write(tmp_path / f"in{suffix}", rows("ask"))
    if suffix == ".parquet":
        with pytest.raises(InputError, match="no column 'aks' for --question; it has id, ask, responses"):
            measure(source, tmp_path / "out.parquet", question="aks")
    else:
        assert measure(source, tmp_path / "out.jsonl", question="aks").rejected == 3
        problems = {row["problem"] for row in read(tmp_path / "out.jsonl.bad.jsonl")}
        assert problems == {"no field 'aks'; it has id, ask, responses"}


def test_a_sampler_gets_the_found_question_and_refuses_a_conversation(tmp_path):
    made = []
    register("sampler", "dice", lambda: made.append(Dice()) or made[-1])
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "two?"}]
    source = write(tmp_path / "in.jsonl", [{"prompt": "one?"}, {"messages": turns[1:]}, {"messages": turns}])
    arguments = ["estimate", str(source), "-o", str(tmp_path / "out.jsonl"), "--sampler", "dice", "-n", "2"]
    done = CliRunner().invoke(main, arguments)
    assert [question for question, *_ in made[0].asked] == ["one?", "two?"]
    assert "'messages' holds 2 messages, and a sampler gets only the text of the question" in done.output
    assert done.exit_code == 1


def test_explain_takes_the_fields_of_a_file_by_name(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"id": 7, "ask": QUESTION, "texts": RESPONSES}])
    call = ["explain", "--file", str(source), "--id", "7", "--responses", "texts"]
    assert QUESTION in CliRunner().invoke(main, [*call, "--question", "ask"]).output
    assert QUESTION not in CliRunner().invoke(main, call).output
    assert "no field 'aks'" in CliRunner().invoke(main, [*call, "--question", "aks"]).output
    for option in ("--responses", "--group-by", "--id"):
        done = CliRunner().invoke(main, ["explain", "a", "b", option, "texts"])
        assert f"{option} is for a row of a file: add --file" in done.output

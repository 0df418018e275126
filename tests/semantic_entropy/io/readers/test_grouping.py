"""Rows with one response each, joined by a field."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import subprocess
import sys
from random import Random

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from semantic_entropy import Scorer
from semantic_entropy.cli import main
from semantic_entropy.io import FileRun
from semantic_entropy.io.formats import FOUND, InputOptions
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.io.measured_files import measure, read, write

BY_ID = InputOptions(group_by="qid")
ROWS = [
    {"qid": 1, "prompt": "Capital of France?", "response": "Paris", "score": 0.1, "logprobs": [-0.1]},
    {"qid": 1, "prompt": "Capital of France?", "response": "It is Paris", "score": 0.2, "logprobs": [-0.2, -0.1]},
    {"qid": 1, "prompt": "Capital of France?", "response": "Rome", "score": 0.1, "logprobs": [-0.1]},
    {"qid": 2, "prompt": "Capital of Italy?", "response": "Rome", "score": 0.3, "logprobs": [-0.1]},
    {"qid": 3, "prompt": "none?", "response": "nothing"},
]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_rows_of_a_group_become_one_row_with_lists_of_what_differs(tmp_path, suffix, capsys):
    measure(write(tmp_path / f"in{suffix}", ROWS), tmp_path / "out.jsonl", options=BY_ID, equivalence="text")
    first, second, third = read(tmp_path / "out.jsonl")
    assert first["prompt"] == "Capital of France?"
    assert first["response"] == ["Paris", "It is Paris", "Rome"]
    assert first["score"] == [0.1, 0.2, 0.1]
    assert first["labels"] == [0, 0, 1]
    assert "likelihood" in first["scores"]
    assert second["response"] == ["Rome"]
    assert second["score"] == [0.3]  # a list, as in the other groups
    assert third["qid"] == 3
    said = capsys.readouterr().err
    assert "responses: the field 'response'" in said
    assert "question: the field 'prompt'" in said
    assert "memory" not in said


def test_rows_of_a_group_that_are_not_adjacent_are_kept_in_memory_which_is_said(tmp_path, capsys):
    rows = ROWS[:4]
    measure(write(tmp_path / "sorted.jsonl", rows), tmp_path / "sorted.out.jsonl", options=BY_ID)
    assert "memory" not in capsys.readouterr().err
    mixed = [rows[0], rows[3], rows[1], rows[2]]
    measure(write(tmp_path / "mixed.jsonl", mixed), tmp_path / "mixed.out.jsonl", options=BY_ID)
    assert read(tmp_path / "mixed.out.jsonl") == read(tmp_path / "sorted.out.jsonl")
    assert "rows with the same qid are not adjacent, so all 4 rows are kept in memory; sort" in capsys.readouterr().err


def test_bad_rows_are_reported_by_themselves_and_their_group_is_measured_without_them(tmp_path):
    rows = [
        ROWS[0],
        "{broken",
        {"qid": 1, "prompt": "Capital of France?", "response": None},
        ROWS[1],
        {"response": "a"},
    ]
    assert measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", options=BY_ID).rejected == 3
    assert [row["response"] for row in read(tmp_path / "out.jsonl")] == [["Paris", "It is Paris"]]
    lines = [row["line"] for row in read(tmp_path / "out.jsonl.bad.jsonl")]
    assert lines == [2, 3, 5]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_rows_without_a_value_to_group_by_are_bad_rows_and_no_group(tmp_path, suffix):
    empty = ["", " "] if suffix == ".csv" else [None, float("nan")] if suffix == ".parquet" else [None, ""]
    source = tmp_path / f"in{suffix}"
    frame = pd.DataFrame({"qid": [1.0, 1.0, *empty], "response": ["Paris", "Rome", "a", "b"]})
    days = [dt.date(2026, 1, 1)] * 4
    if suffix == ".parquet":
        pq.write_table(
            pa.table({"qid": pa.array([1.0, 1.0, *empty]), "response": frame["response"], "day": days}), source
        )
    elif suffix == ".csv":
        frame.to_csv(source, index=False)
    else:
        write(source, frame.to_dict("records"))
    assert measure(source, tmp_path / "out.jsonl", options=BY_ID).rejected == 2
    assert [row["answers"] for row in read(tmp_path / "out.jsonl")] == [["Paris", "Rome"]]
    problems = [row["problem"] for row in read(tmp_path / "out.jsonl.bad.jsonl")]
    assert problems == [f"no value in the field 'qid' for --group-by ({value!r})" for value in empty]


def test_a_group_with_two_questions_is_a_bad_row(tmp_path):
    rows = [ROWS[0], {**ROWS[1], "prompt": "Capital of Peru?"}]
    assert measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", options=BY_ID).rejected == 1
    problem = read(tmp_path / "out.jsonl.bad.jsonl")[0]["problem"]
    assert problem == "rows with the same qid have different questions: 'Capital of France?' and 'Capital of Peru?'"


@pytest.mark.parametrize("order", ["adjacent", "mixed"])
def test_csv_from_standard_input_is_grouped(tmp_path, order):
    rows = [f"{i // 2},{'same' if i % 2 else 'text'}\n" for i in range(20)]
    if order == "mixed":
        Random(0).shuffle(rows)
    text = "qid,response\n" + "".join(rows)
    arguments = ["estimate", "-", "--group-by", "qid", "-o", str(tmp_path / "out.jsonl"), "-e", "exact"]
    done = CliRunner().invoke(main, arguments, input=text)
    assert done.exit_code == 0, done.output
    assert [sorted(row["response"]) for row in read(tmp_path / "out.jsonl")] == [["same", "text"]] * 10
    assert ("kept in memory" in done.output) == (order == "mixed")


MEMORY = """
import resource, sys
from semantic_entropy.io.formats import InputOptions, open_reader
from semantic_entropy.tables import FieldNames
reader = open_reader(sys.argv[1], FieldNames(), InputOptions(group_by="qid"))
print(sum(1 for _ in reader.rows()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_adjacent_groups_are_streamed(tmp_path):
    def peak(groups):
        path = tmp_path / f"{groups}.jsonl"
        with path.open("w") as out:
            for i in range(groups):
                out.writelines(json.dumps({"qid": i, "response": "x" * 2000}) + "\n" for _ in range(5))
        done = subprocess.run([sys.executable, "-c", MEMORY, path], capture_output=True, text=True, check=True)
        count, kilobytes = map(int, done.stdout.split())
        assert count == groups
        return kilobytes

    assert peak(2000) - peak(40) < 8_000  # kilobytes; the texts alone have 20,000


def test_without_group_by_rows_with_one_response_get_the_hint(tmp_path):
    summary = measure(write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl")
    assert summary.hint.startswith("hint: the field 'response' has one response in each row: add --group-by FIELD")


def test_the_last_message_of_a_conversation_is_a_response_of_its_last_user_turn(tmp_path):
    def log(question, *answer):
        turns = [("system", "Be brief."), ("user", question), *(("assistant", text) for text in answer)]
        return {"messages": [{"role": role, "content": text} for role, text in turns]}

    rows = [log("France?", "Paris"), log("France?", "Lyon"), log("Italy?", "Rome"), log("France?")]
    measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", options=InputOptions(group_by="question"))
    assert [row["answers"] for row in read(tmp_path / "out.jsonl")] == [["Paris", "Lyon"], ["Rome"]]
    problem = read(tmp_path / "out.jsonl.bad.jsonl")[0]["problem"]
    assert problem == "'messages' ends with a message of the user, so it has no response"


@pytest.mark.parametrize("options", [BY_ID, FOUND])
def test_a_run_in_which_no_row_has_two_responses_says_so(tmp_path, options):
    rows = [{"qid": i, "responses" if options is FOUND else "response": "a"} for i in range(3)]
    if options is FOUND:
        rows = [{**row, "responses": ["a"]} for row in rows]
    summary = measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", options=options)
    assert "each of the 3 rows has one response, so there is nothing to compare" in str(summary)


LOG = [{"conv_id": n // 2, "user_message": "Where?", "bot_reply": "Paris"} for n in range(4)]


@pytest.mark.parametrize(
    ("names", "group_by", "says"),
    [
        (
            FieldNames("bot_reply"),
            "convid",
            "hint: rows have no field 'convid', which --group-by names. Did you mean 'conv_id'?",
        ),
        (
            FieldNames("reply"),
            "conv_id",
            "hint: rows have no field 'reply', which --responses names. Did you mean 'bot_reply'?",
        ),
        (
            FieldNames("bot_reply", "usermessage"),
            "conv_id",
            "hint: rows have no field 'usermessage', which --question names. Did you mean 'user_message'?",
        ),
        (FieldNames(), None, "hint: name the field with the responses with --responses FIELD; if each row has one"),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_the_hint_of_rows_without_a_field_is_about_the_option_that_names_it(tmp_path, names, group_by, says, suffix):
    path = tmp_path / f"in.{suffix}"
    if suffix == "csv":
        pd.DataFrame(LOG).to_csv(path, index=False)
    else:
        write(path, LOG)
    options = InputOptions(group_by=group_by)
    with contextlib.closing(Scorer("exact")) as scorer:
        run = FileRun(
            scorer, str(path), str(tmp_path / "out.jsonl"), names=names, overwrite=False, strict=False, options=options
        )
        assert run.execute(progress=False).hint.startswith(says)

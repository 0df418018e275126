"""A run over any input continues an output, also in Parquet, and finds each row again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from semantic_entropy.io.formats import FOUND, InputOptions
from tests.semantic_entropy.io.measured_files import ROWS, measure, read

LOGS = Path(__file__).parent / "logs"
LONG = "qid,question,response\n1,a?,x\n2,b?,y\n1,a?,z\n2,b?,y\n3,c?,w\n"
REPLY = {"choices": [{"index": i, "message": {"role": "assistant", "content": text}} for i, text in enumerate("xyx")]}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("name", "content", "options", "rows"),
    [
        ("array.json", json.dumps(ROWS), FOUND, 3),
        ("several.csv", "id,response_1,response_2\n1,a,b\n2,a,a\n", FOUND, 2),
        ("long.csv", LONG, InputOptions(group_by="qid"), 3),
        ("batch.jsonl", json.dumps({"custom_id": "q", "response": {"body": REPLY}, "error": None}), FOUND, 1),
        ("lm_eval.jsonl", (LOGS / "lm_eval.jsonl").read_text(), FOUND, 4),
        ("inspect_ai.json", (LOGS / "inspect_ai.json").read_text(), FOUND, 2),
    ],
)
def test_the_same_command_measures_nothing_again(tmp_path, name, content, options, rows, suffix):
    source, output = tmp_path / name, tmp_path / f"out{suffix}"
    source.write_text(content)
    first = measure(source, output, options=options)
    assert first.rows == rows
    before = read(output)
    again = measure(source, output, options=options)
    assert (again.rows, again.skipped, again.rejected) == (0, rows, first.rejected)
    assert read(output) == before


def test_appended_rows_of_a_csv_are_measured_and_the_others_are_kept(tmp_path):
    source, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text(LONG)
    measure(source, output, options=InputOptions(group_by="qid"))
    source.write_text(LONG + "3,c?,v\n4,d?,u\n")  # the group 3 is another one now
    summary = measure(source, output, options=InputOptions(group_by="qid"))
    assert (summary.rows, summary.skipped, summary.removed) == (2, 2, 1)
    fresh = tmp_path / "fresh.jsonl"
    measure(source, fresh, options=InputOptions(group_by="qid"))
    assert read(output) == read(fresh)

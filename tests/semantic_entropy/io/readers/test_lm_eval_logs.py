"""Sample logs of lm-evaluation-harness.

`logs/lm_eval.jsonl` was written by lm_eval 0.4.13: a task with `repeats: 3` and two filters, and a task of choices.
"""

from __future__ import annotations

import json
from pathlib import Path

from semantic_entropy.io import find_row
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.io.measured_files import measure, read, write

LOG = Path(__file__).parent / "logs" / "lm_eval.jsonl"


def test_the_repeats_of_a_document_are_its_responses_and_a_choice_task_is_a_bad_row(tmp_path):
    summary = measure(LOG, tmp_path / "out.jsonl", equivalence="text")
    rows = read(tmp_path / "out.jsonl")
    assert [(row["doc_id"], row["filter"], row["answers"]) for row in rows[::2]] == [
        (0, "all", ["Paris", "It is Paris", "Rome"]),
        (0, "first", ["Paris", "It is Paris", "Rome"]),
    ]
    assert (summary.rows, summary.rejected, summary.warning) == (4, 1, "")
    problem = read(tmp_path / "out.jsonl.bad.jsonl")[0]["problem"]
    assert problem == "resps has 2 requests: only tasks of the type generate_until have responses"


def test_a_malformed_row_is_a_bad_row_and_the_other_rows_are_measured(tmp_path):
    good = json.loads(LOG.read_text().splitlines()[0])
    malformed = [5, None, "Paris", {"a": 1}, [], [5], [None], [[]], [["a", 5]]]
    rows = [good, *({**good, "resps": value} for value in malformed), {**good, "doc": [1], "resps": 5}]
    summary = measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", equivalence="text")
    assert (summary.rows, summary.rejected) == (1, len(malformed) + 1)
    assert read(tmp_path / "out.jsonl.bad.jsonl")[0]["problem"] == "resps is not a list of responses"


def test_the_question_is_a_field_of_the_document_and_filtered_responses_can_be_named():
    assert find_row(str(LOG), None, FieldNames()).group.question == "Capital of France?"
    assert find_row(str(LOG), None, FieldNames(question="answer")).group.question == "Paris"
    names = FieldNames("filtered_resps", id="filter")
    assert find_row(str(LOG), "first", names).group.responses == ("Paris",)
    assert find_row(str(LOG), "all", names).group.responses == ("Paris", "It is Paris", "Rome")

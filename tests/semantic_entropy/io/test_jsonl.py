"""JSON lines: cells that JSON lacks, and files that are not results."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from semantic_entropy import InputError
from tests.semantic_entropy.io.measured_files import ROWS, measure, read, write


def test_a_cell_that_json_lacks_becomes_text_or_is_an_error_that_names_the_format_to_write(tmp_path):
    dated = pa.table({"responses": [["a"]], "day": [dt.date(2026, 1, 2)], "score": [float("nan")]})
    measure(write(tmp_path / "in.parquet", dated), tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl")[0]["day"] == "2026-01-02"
    assert measure(tmp_path / "in.parquet", tmp_path / "out.jsonl").skipped == 1
    with pytest.raises(InputError, match="write to a .parquet file"):
        measure(write(tmp_path / "b.parquet", dated.add_column(0, "b", pa.array([b"x"]))), tmp_path / "b.jsonl")


def test_a_text_without_an_end_of_line_is_not_mistaken_for_a_partial_result(tmp_path):
    notes = tmp_path / "notes.jsonl"
    notes.write_text("my notes")
    with pytest.raises(InputError, match="line 1 is not a result"):
        measure(write(tmp_path / "in.jsonl", ROWS), notes)
    assert notes.read_text() == "my notes"

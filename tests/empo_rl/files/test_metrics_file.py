import json
import math

import pytest

from empo_rl.files.metrics_file import MetricsFile, read_metrics
from semantic_entropy import InputError


def test_rows_are_on_disk_line_by_line(tmp_path):
    file = MetricsFile(tmp_path / "run" / "metrics.jsonl")
    file.append({"step": 1, "loss": 0.5})
    file.append({"step": 2, "loss": 0.25})
    assert read_metrics(file.path) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]


def test_a_resumed_file_loses_the_steps_that_are_done_again_and_a_cut_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"step": 4, "lo')
    file = MetricsFile(path, after=2)
    file.append({"step": 3})
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3]


def test_a_new_run_starts_with_an_empty_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')
    MetricsFile(path)
    assert path.read_text() == ""


def test_what_json_cannot_hold_becomes_null(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.append({"step": 1, "a": math.nan, "b": math.inf})
    assert json.loads(file.path.read_text()) == {"step": 1, "a": None, "b": None}


def test_a_kill_in_the_middle_of_a_character_leaves_the_complete_rows(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes('{"step": 1}\n{"step": 2, "answer": "Größe'.encode()[:-2])
    with pytest.raises(UnicodeDecodeError):
        path.read_text(encoding="utf-8")
    MetricsFile(path, after=1).append({"step": 2})
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]


def test_a_line_that_is_no_row_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step"\n')
    with pytest.raises(InputError, match="metrics.jsonl, line 2 is not JSON"):
        read_metrics(tmp_path / "metrics.jsonl")

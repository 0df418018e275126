"""Parquet outputs: the working file, the finished file, fields that Parquet cannot hold, damaged files."""

from __future__ import annotations

import datetime as dt
import json
import random
import subprocess
import sys

import pyarrow as pa
import pytest

from semantic_entropy import InputError, SemanticEntropyError, install_command
from semantic_entropy.io.parquet import FinishedResults
from tests.semantic_entropy.io.measured_files import ROWS, measure, read, write
from tests.semantic_entropy.sampling.dice import Dice


def test_rows_that_were_appended_to_the_input_are_added_to_a_finished_parquet_output(tmp_path):
    source, out = write(tmp_path / "in.parquet", ROWS[:2]), tmp_path / "out.parquet"
    measure(source, out)
    done = measure(write(source, [*ROWS[:2], {**ROWS[1], "id": 3}]), out)
    assert (done.rows, done.skipped) == (1, 2)
    assert [row["id"] for row in read(out)] == [1, 2, 3]


def test_a_finished_output_of_an_unchanged_input_is_left_alone(tmp_path):
    source, out = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.parquet"
    measure(source, out)
    before = out.stat().st_ino, out.stat().st_mtime_ns
    assert measure(source, out).skipped == 3
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == before
    write(source, [{**row, "note": "new"} for row in ROWS])
    assert measure(source, out).skipped == 3
    assert [row["note"] for row in read(out)] == ["new"] * 3


@pytest.mark.parametrize("choices", [{}, {"sampler": Dice, "n": 2}], ids=["given", "sampled"])
def test_a_shuffled_input_reads_each_part_of_the_finished_output_once(tmp_path, monkeypatch, choices):
    rows = [{"id": i, "question": f"{i}?", "responses": [f"a{i}", f"b{i % 2}"]} for i in range(600)]
    if choices:
        choices = choices | {"sampler": Dice()}
        rows[::2] = [{"id": row["id"], "question": row["question"]} for row in rows[::2]]
    rows += [rows[1]] * 2  # rows with one key
    source, out, fresh = tmp_path / "in.jsonl", tmp_path / "out.parquet", tmp_path / "fresh.parquet"
    measure(write(source, rows), out, **choices)
    rows[-1:] = [{"id": 600, "responses": ["new"]}]
    random.Random(0).shuffle(rows)
    write(source, rows)
    loaded, load = [], FinishedResults._load
    monkeypatch.setattr(FinishedResults, "_load", lambda self, index: loaded.append(index) or load(self, index))
    done = measure(source, out, **choices)
    assert (done.rows, done.skipped) == (1, 601)
    assert len(loaded) == 3  # 256 rows each
    measure(source, fresh, **choices)
    kept, new = read(out), read(fresh)
    assert [row["id"] for row in kept] == [row["id"] for row in rows]
    for row in (*kept, *new):
        del row["provenance"]  # how many requests and pairs a run needed depends on its cache
    assert kept == new


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_time_that_python_does_not_have_is_an_error_that_names_the_column(tmp_path, suffix):
    far = pa.array([10**13], pa.int64()).cast(pa.timestamp("s"))
    source = write(tmp_path / "in.parquet", pa.table({"responses": [["a"]], "id": far}))
    with pytest.raises(InputError, match=r"column 'id' \(timestamp\[ms\]\) holds a value that Python does not have"):
        measure(source, tmp_path / f"out.{suffix}")


def test_a_score_that_no_row_of_a_continued_output_has_any_more_has_no_column(tmp_path):
    source, out, fresh = tmp_path / "in.jsonl", tmp_path / "out.parquet", tmp_path / "fresh.parquet"
    measure(write(source, ROWS), out)
    measure(write(source, [ROWS[0], ROWS[2]]), out)
    measure(source, fresh)
    assert list(read(out)[0]["scores"]) == list(read(fresh)[0]["scores"])


def test_a_missing_column_is_an_error_that_lists_the_columns(tmp_path):
    source = write(tmp_path / "in.parquet", [{"texts": ["a"], "id": 1}])
    with pytest.raises(InputError, match="no column 'responses'; it has texts, id"):
        measure(source, tmp_path / "out.parquet")
    assert measure(source, tmp_path / "out.parquet", field="texts").rows == 1


def test_without_pyarrow_the_error_names_the_install_command(tmp_path):
    source = write(tmp_path / "in.parquet", ROWS)
    hide = "import sys; sys.modules['pyarrow'] = None; from semantic_entropy.cli import main; main()"
    for arguments in ([str(source)], [str(write(tmp_path / "in.jsonl", ROWS)), "-o", str(tmp_path / "o.parquet")]):
        command = [sys.executable, "-c", hide, "estimate", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert install_command("semantic-entropy[parquet]") in done.stderr
        assert "Traceback" not in done.stderr


def test_after_a_kill_between_the_finished_file_and_the_removal_of_the_working_file_nothing_is_measured(tmp_path):
    source, out, lines = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.parquet", tmp_path / "lines.jsonl"
    measure(source, lines)
    measure(source, out)
    work = tmp_path / "out.parquet.partial.jsonl"
    work.write_bytes(lines.read_bytes())
    done = measure(source, out)
    assert (done.rows, done.skipped, done.removed) == (0, 3, 0)
    assert len(read(out)) == 3
    assert not work.exists()


def test_parts_of_version_0_1_0_are_refused(tmp_path):
    (tmp_path / "out.parquet.parts").mkdir()
    with pytest.raises(InputError, match=r"results of version 0\.1\.0, which cannot be continued"):
        measure(write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.parquet")


def nested(depth, kind):
    value = 1
    for _ in range(depth):
        value = [value] if kind == "lists" else {"a": value}
    return value


@pytest.mark.parametrize("kind", ["lists", "objects"])
@pytest.mark.parametrize("depth", [24, 25, 50, 100, 400])
def test_a_deeply_nested_field_becomes_json_text_and_the_file_can_be_read(tmp_path, kind, depth):
    rows = [{"id": 1, "responses": ["a"], "deep": nested(depth, kind)}, {"id": 2, "responses": ["b"]}]
    assert measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet").rows == 2
    first, second = read(tmp_path / "out.parquet")
    assert (json.loads(first["deep"]) if isinstance(first["deep"], str) else first["deep"]) == rows[0]["deep"]
    assert (second["id"], second["deep"]) == (2, None)


def test_a_row_that_no_encoder_can_write_is_a_bad_row_before_it_is_measured(tmp_path, capsys):
    deep = '{"responses": ["a"], "deep": ' + '{"a":' * 900 + "1" + "}" * 901
    rows = ['{"responses": ["a"], "x": 1e400}', deep, '{"responses": ["b"]}']
    done = measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet")
    assert done.rows + done.rejected == 3
    assert "line 1: field 'x' holds a number beyond the range of floats" in capsys.readouterr().err
    assert len(read(tmp_path / "out.parquet")) == done.rows


def test_a_row_with_a_date_and_an_infinite_number_is_a_bad_row_in_a_run_with_a_sampler(tmp_path, capsys):
    day = dt.date(2026, 1, 2)
    rows = [{"question": f"{x}?", "day": day, "x": x} for x in (1.5, float("inf"), float("nan"))]
    source, out = write(tmp_path / "in.parquet", rows), tmp_path / "out.parquet"
    done = measure(source, out, sampler=Dice(), n=2)
    assert (done.rows, done.rejected) == (2, 1)
    assert "row 2: field 'x' holds a number beyond the range of floats" in capsys.readouterr().err
    assert [(row["day"], row["x"]) for row in read(out)] == [("2026-01-02", 1.5), ("2026-01-02", None)]
    assert "1 row with a nan in a field: null was written" in str(done)


def test_a_field_name_with_a_lone_surrogate_is_written_with_an_escape(tmp_path, capsys):
    rows = [
        {"responses": ["a"], "bad\udc80": 1, "o": {"in\udc80": 2}},
        {"responses": ["b"], "x\udc80": 1, r"x\udc80": 2},
    ]
    assert measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet").rows == 1
    (first,) = read(tmp_path / "out.parquet")
    assert (first[r"bad\udc80"], first["o"]) == (1, {r"in\udc80": 2})
    assert "have one name without lone surrogates: rename one" in capsys.readouterr().err


def test_if_the_table_cannot_be_written_the_results_stay_and_the_next_run_uses_them(tmp_path, monkeypatch):
    source, out = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.parquet"

    def fail(path):
        raise pa.ArrowInvalid("unreadable")

    monkeypatch.setattr("semantic_entropy.io.parquet.read_whole", fail)
    with pytest.raises(SemanticEntropyError, match=r"The results stay in .*out\.parquet\.partial\.jsonl"):
        measure(source, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.parquet.partial.jsonl"]
    monkeypatch.undo()
    assert measure(source, out).skipped == 3
    assert len(read(out)) == 3


def test_a_damaged_input_is_an_error_that_names_the_row(tmp_path):
    source = write(tmp_path / "in.parquet", [{"responses": [f"answer {i}"]} for i in range(5000)])
    content = bytearray(source.read_bytes())
    content[40:4000] = b"\xff" * 3960
    source.write_bytes(content)
    with pytest.raises(SemanticEntropyError, match="cannot be read after row"):
        measure(source, tmp_path / "out.parquet")


def test_a_damaged_name_of_a_column_is_an_error_that_names_the_file(tmp_path):
    """pyarrow decodes the names when it opens the file, and the footer has no checksum."""
    source = write(tmp_path / "in.parquet", ROWS)
    source.write_bytes(source.read_bytes().replace(b"responses", b"respons\xe9s"))
    with pytest.raises(InputError, match=r"in\.parquet: not a Parquet file: 'utf-8' codec"):
        measure(source, tmp_path / "out.jsonl")

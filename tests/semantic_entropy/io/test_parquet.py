"""Parquet outputs: parts, the finished file, missing columns, damaged files."""

from __future__ import annotations

import subprocess
import sys

import pytest

from semantic_entropy import InputError, SemanticEntropyError
from tests.semantic_entropy.io.measured_files import ROWS, measure, read, write


def test_a_finished_parquet_output_is_not_appended_to(tmp_path):
    source = write(tmp_path / "in.parquet", ROWS[:2])
    measure(source, tmp_path / "out.parquet")
    with pytest.raises(InputError, match="cannot be appended to"):
        measure(write(source, [*ROWS[:2], {**ROWS[1], "id": 3}]), tmp_path / "out.parquet")


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
        assert "pip install 'semantic-entropy[parquet]'" in done.stderr
        assert "Traceback" not in done.stderr


def test_after_a_kill_between_merge_and_removal_of_the_parts_the_finished_file_counts(tmp_path):
    source, out = write(tmp_path / "in.parquet", ROWS), tmp_path / "out.parquet"
    measure(source, out)
    parts = tmp_path / "out.parquet.parts"
    parts.mkdir()
    (parts / "000000000000.parquet").write_bytes(out.read_bytes())
    assert measure(source, out).skipped == 3
    assert len(read(out)) == 3
    assert not parts.exists()


def test_a_missing_part_is_an_error(tmp_path):
    rows = [{"id": i, "responses": ["a"]} for i in range(600)] + [{"id": 600, "responses": []}]
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet"
    with pytest.raises(InputError, match="line 601: responses is empty"):
        measure(source, out, strict=True)  # the bad row is in the third chunk
    next((tmp_path / "out.parquet.parts").glob("*0.parquet")).unlink()
    with pytest.raises(InputError, match="is missing: use --overwrite"):
        measure(source, out)


def test_a_damaged_input_is_an_error_that_names_the_row(tmp_path):
    source = write(tmp_path / "in.parquet", [{"responses": [f"answer {i}"]} for i in range(5000)])
    content = bytearray(source.read_bytes())
    content[40:4000] = b"\xff" * 3960
    source.write_bytes(content)
    with pytest.raises(SemanticEntropyError, match="cannot be read after row"):
        measure(source, tmp_path / "out.parquet")

"""A folder of Parquet files is read like one file."""

from __future__ import annotations

import pytest

from semantic_entropy.errors import InputError
from semantic_entropy.io import InputOptions, find_row, open_reader
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.bulk.bulk_runs import estimate, rows, write
from tests.semantic_entropy.cli.command import call

pa = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def folder(tmp_path):
    given, out = rows(10), tmp_path / "out"
    out.mkdir()
    pq.write_table(pa.Table.from_pylist(given[:4]), out / "part-0.parquet")
    pq.write_table(pa.Table.from_pylist(given[4:]), out / "part-1.parquet")
    (out / "_manifest.json").write_text("{}")
    return out


def test_the_rows_of_all_files_come_in_order_with_numbers(folder):
    reader = open_reader(str(folder), FieldNames())
    assert reader.total() == 10
    found = list(reader.rows())
    assert [(row.number, row.fields["id"]) for row in found] == [(i + 1, i) for i in range(10)]
    assert all(row.group is not None for row in found)
    assert find_row(str(folder), "7", FieldNames()).fields["id"] == 7


def test_a_folder_without_parquet_files_is_an_error(tmp_path):
    with pytest.raises(InputError, match="is a folder without Parquet files"):
        open_reader(str(tmp_path), FieldNames())
    with pytest.raises(InputError, match="leave --input-format"):
        open_reader(str(tmp_path), FieldNames(), InputOptions("csv"))


def test_report_and_evaluate_read_the_folder_of_a_run_as_they_read_its_file(tmp_path):
    given = [{**row, "correct": row["id"] % 3 > 0} for row in rows(120)]
    source = write(tmp_path / "in.jsonl", given)
    assert estimate(source, "-o", f"{tmp_path}/out/", "-e", "text", "--shard-mb", 0.005, "--quiet").returncode == 0
    assert estimate(source, "-o", tmp_path / "one.parquet", "-e", "text", "--quiet").returncode == 0
    assert len(list((tmp_path / "out").glob("part-*"))) > 2
    texts = [call("evaluate", tmp_path / name, "--json").stdout for name in ("one.parquet", "out")]
    assert len(texts[0]) > 100
    assert texts[0].replace("one.parquet", "out") == texts[1]
    done = call("report", tmp_path / "out", "-o", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").stat().st_size > 10_000

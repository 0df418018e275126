"""A folder of Parquet files is read like one file; if its run is not finished, the commands say so and fail."""

from __future__ import annotations

import json

import pytest

from semantic_entropy.errors import InputError
from semantic_entropy.io import InputOptions, find_row, open_reader, unfinished_shards
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


LABELLED = [
    {
        "id": i,
        "question": f"Question {i}?",
        "responses": [*["Paris"] * (i % 4 + 1), "Rome", "Lyon"],
        "answer_correct": bool(i % 3),
    }
    for i in range(60)
]


@pytest.fixture
def unfinished(tmp_path):
    """The folder of a run of 3 shards, as a kill leaves it before the third one."""
    out = tmp_path / "out"
    source = write(tmp_path / "in.jsonl", LABELLED)
    assert call("estimate", source, "-o", f"{out}/", "-e", "exact", "--shard-mb", "0.003", "--quiet").returncode == 0
    values = json.loads((out / "_manifest.json").read_text())
    assert values["planned_shards"] == len(values["shards"]) == 3
    values["finished"] = False
    (out / "_manifest.json").write_text(json.dumps(values))
    max(out.glob("part-*")).unlink()
    return out


def test_commands_that_read_an_unfinished_folder_say_so_and_fail(unfinished, tmp_path):
    words = f"{unfinished} has 2 of 3 shards, because its run is not finished: run the same `estimate` command again"
    page, learned = tmp_path / "page.html", tmp_path / "c.json"
    report = call("report", unfinished, "-o", page)
    evaluate = call("evaluate", unfinished, "--resamples", 0)
    calibrate = call("calibrate", unfinished, "-o", learned, "--alpha", "0.9", "--delta", "0.5")
    drift = call("drift", learned, unfinished)
    for done, shown in ((report, page), (evaluate, None), (calibrate, learned), (drift, None)):
        assert done.returncode == 1, done.stdout + done.stderr
        assert f"warning: {words}" in done.stderr
        assert f"exit status 1: {words}" in done.stderr
        assert done.stdout
        assert shown is None or shown.exists()
    assert words in report.stdout


def test_a_finished_folder_is_read_without_a_warning_and_explain_finds_its_rows(unfinished, tmp_path):
    assert call("estimate", tmp_path / "in.jsonl", "-o", unfinished, "-e", "exact", "--quiet").returncode == 0
    report = call("report", unfinished, "-o", tmp_path / "page.html")
    assert (report.returncode, report.stderr) == (0, ""), report.stderr
    shown = call("explain", "--file", unfinished, "--id", 7)
    assert shown.returncode == 0, shown.stderr
    assert "judge: exact (as asked)" in shown.stdout
    assert "the stored result of this row" in shown.stdout


def test_a_report_that_leaves_rows_out_fails(tmp_path):
    scored = tmp_path / "scored.jsonl"
    assert call("estimate", write(tmp_path / "in.jsonl", LABELLED[:3]), "-o", scored, "-e", "exact").returncode == 0
    write(scored, [*map(json.loads, scored.read_text().splitlines()), {"responses": ["a", "b"]}])
    done = call("report", scored, "-o", tmp_path / "page.html")
    assert done.returncode == 1
    assert "left out: 1 row without a usable result" in done.stdout
    assert "exit status 1: rows were left out" in done.stderr


def test_a_folder_without_a_manifest_is_whole_and_a_damaged_manifest_is_an_error(tmp_path):
    assert not unfinished_shards(str(tmp_path))
    assert not unfinished_shards("-")
    (tmp_path / "_manifest.json").write_text('{"shards')
    with pytest.raises(InputError, match=r"_manifest.json cannot be read"):
        unfinished_shards(str(tmp_path))

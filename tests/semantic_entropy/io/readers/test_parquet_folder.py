"""A folder of Parquet files is read like one file; if its run is not finished, the commands say so and fail."""

from __future__ import annotations

import json
import shutil

import pytest

from semantic_entropy.errors import InputError
from semantic_entropy.files import sealed, unsealed
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
    values = unsealed((out / "_manifest.json").read_bytes())
    assert values["planned_shards"] == len(values["shards"]) == 3
    values["finished"] = False
    (out / "_manifest.json").write_bytes(sealed(values))
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


@pytest.fixture
def finished(tmp_path):
    """The folder of a finished run of 3 shards."""
    source, out = write(tmp_path / "in.jsonl", LABELLED), tmp_path / "out"
    assert call("estimate", source, "-o", f"{out}/", "-e", "exact", "--shard-mb", "0.003", "--quiet").returncode == 0
    return out


def lose(out):
    max(out.glob("part-*")).unlink()
    return "part-00000-000002.parquet is missing"


def copy_over(out):
    first, second, _ = sorted(out.glob("part-*"))
    sizes = [each.stat().st_size for each in (first, second)]
    assert sizes[0] != sizes[1]
    shutil.copy(first, second)
    return f"{second.name} has {sizes[0]:,} bytes, and the run wrote {sizes[1]:,}"


def add(out):
    shutil.copy(min(out.glob("part-*")), out / "zz.parquet")
    return "zz.parquet is not a file of this run: move it to another folder"


def add_shard(out):
    shutil.copy(min(out.glob("part-*")), out / "part-00000-000003.parquet")
    return "part-00000-000003.parquet is not a file of this run"


def flip_a_bit(out):
    path = min(out.glob("part-*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 8] ^= 1
    path.write_bytes(content)
    return f"Remove {path}, and run the same `estimate` command again"


@pytest.mark.parametrize("change", [copy_over, add, add_shard])
def test_a_finished_folder_that_was_changed_is_an_error(change, finished):
    words = change(finished)
    done = call("evaluate", finished, "--resamples", 0)
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize("change", [lose, flip_a_bit])
def test_a_finished_folder_that_was_changed_is_an_error_in_every_command(change, finished, tmp_path):
    learned = tmp_path / "c.json"
    made = call("calibrate", finished, "-o", learned, "--alpha", "0.9", "--delta", "0.5")
    assert made.returncode == 0, made.stderr
    words = change(finished)
    for command in (
        ("report", finished, "-o", tmp_path / "page.html"),
        ("evaluate", finished, "--resamples", 0),
        ("calibrate", finished, "-o", tmp_path / "c2.json", "--alpha", "0.9", "--delta", "0.5"),
        ("drift", learned, finished),
        ("explain", "--file", finished, "--id", 7),
        ("estimate", finished, "-o", f"{tmp_path}/out2/", "-e", "exact"),
    ):
        done = call(*command)
        if change is flip_a_bit and command[0] == "estimate":
            words = "cannot be read"
        assert done.returncode == 1, (command, done.stdout, done.stderr)
        assert words in done.stderr, (command, done.stderr)
    assert not (tmp_path / "page.html").exists()
    assert not (tmp_path / "c2.json").exists()


def test_a_strange_file_in_an_unfinished_folder_is_an_error(unfinished):
    words = add(unfinished)
    done = call("evaluate", unfinished, "--resamples", 0)
    assert done.returncode == 1
    assert words in done.stderr


def test_what_overwrite_has_not_yet_removed_is_not_whole(finished):
    (finished / "_manifest.json").write_text('{"semantic_entropy_bulk": 1, "removing": true}')
    done = call("evaluate", finished, "--resamples", 0)
    assert done.returncode == 1
    assert "because its run is not finished" in done.stderr


def test_a_changed_byte_of_a_parquet_output_is_an_error_when_a_run_continues_it(tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(200)), tmp_path / "out.parquet"
    assert call("estimate", source, "-o", out, "-e", "text", "--quiet").returncode == 0
    content = bytearray(out.read_bytes())
    content[len(content) // 8] ^= 1
    out.write_bytes(content)
    write(source, rows(210))
    done = call("estimate", source, "-o", out, "-e", "text", "--quiet")
    assert done.returncode == 1
    assert "remove it, or use --overwrite" in done.stderr
    assert out.read_bytes() == content

"""One file as output: the bytes of one process on any number of workers, kills, and inputs of many files."""

from __future__ import annotations

import datetime as dt
import functools
import json
from pathlib import Path

import pytest

from semantic_entropy import Equivalence, InputError, Scorer, Verdict
from semantic_entropy.bulk import BulkRun, one_file
from semantic_entropy.io import FileRun
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.bulk.bulk_runs import SLOW, estimate, kill, rows, sitecustomize, start, wait_for, write
from tests.shared_data import rows as shared_rows

pa = pytest.importorskip("pyarrow", reason="the extra bulk is not installed")
pq = pytest.importorskip("pyarrow.parquet")

SMALL = ["--shard-mb", "0.02", "--quiet"]  # about 120 rows in a shard


def hidden(folder):
    """The files in a folder that a run must not leave."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".") or path.name.endswith(".lock")]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("judge", ["text", "auto"])
def test_the_file_is_that_of_one_process_byte_for_byte(judge, suffix, tmp_path):
    given = rows(500, x=1) if judge == "text" else shared_rows("samples.jsonl")[::30]
    source = write(
        tmp_path / "in.jsonl", [*given[:40], {**given[1], "x": 0.5, "y": [{"z": None}]}, "no JSON", *given[40:]]
    )
    one = tmp_path / f"one.{suffix}"
    assert estimate(source, "-o", one, "-e", judge, "--quiet").returncode == 1  # the bad row
    for workers in (1, 2):
        out = tmp_path / f"out{workers}.{suffix}"
        done = estimate(source, "-o", out, "-e", judge, "--workers", workers, *SMALL)
        assert done.returncode == 1, done.stderr
        assert f"{source}, line 42: not JSON" in done.stderr
        assert f"1 bad row: see {out}.bad.jsonl" in done.stderr
        assert out.read_bytes() == one.read_bytes()
        assert (tmp_path / f"{out}.bad.jsonl").read_bytes() == (tmp_path / f"{one}.bad.jsonl").read_bytes()
    assert not hidden(tmp_path)
    again = estimate(source, "-o", out, "-e", judge, "--workers", 2, *SMALL)
    assert f"{len(given) + 1} rows were done before" in again.stderr, again.stderr
    assert out.read_bytes() == one.read_bytes()


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_run_that_was_killed_continues_with_its_shards(suffix, tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(800)), tmp_path / f"out.{suffix}"
    folder = tmp_path / f".out.{suffix}.shards"
    command = [source, "-o", out, "-e", "text"]
    process = start(*command, "--workers", 2, *SMALL, env=sitecustomize(tmp_path / "slow", SLOW))
    wait_for(lambda: len(list(folder.glob("_shards/*.json"))) >= 2, process)
    kill(process)
    assert not out.exists()
    finished = {path.stem for path in folder.glob("_shards/*.json")}
    wait_for_lock = estimate(*command, "--quiet")  # without --workers: the shards say how the run began
    assert wait_for_lock.returncode == 0, wait_for_lock.stderr
    assert f"{len(finished)} of them finished" in wait_for_lock.stderr
    assert estimate(source, "-o", tmp_path / f"whole.{suffix}", "-e", "text", "--quiet").returncode == 0
    assert out.read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()
    assert not hidden(tmp_path)


@pytest.mark.parametrize(("suffix", "at"), [("jsonl", "replacement"), ("parquet", "open_writer")])
def test_a_run_that_was_killed_while_the_shards_became_the_file_continues(suffix, at, monkeypatch, tmp_path):
    source, out, whole = (
        write(tmp_path / "in.jsonl", rows(300)),
        tmp_path / f"out.{suffix}",
        tmp_path / f"whole.{suffix}",
    )

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(one_file, at, killed)
        run = BulkRun(
            functools.partial(Scorer, "text"),
            [str(source)],
            one_file.OneFile(str(out)),
            names=FieldNames(),
            options=one_file.InputOptions(),
            shard_mb=0.02,
            workers=1,
        )
        with pytest.raises(KeyboardInterrupt):
            run.execute(progress=False)
    assert not out.exists()
    done = estimate(source, "-o", out, "-e", "text", "--quiet")
    assert "0 rows in" in done.stderr, done.stderr
    assert estimate(source, "-o", whole, "-e", "text", "--quiet").returncode == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not hidden(tmp_path)


def test_a_pattern_is_read_by_one_process_if_an_option_needs_it(tmp_path):
    given = [{**row, "greedy": "It is Paris. It is not Rome."} for row in rows(60)]
    write(tmp_path / "rows" / "a.jsonl", given[:30])
    write(tmp_path / "rows" / "b.jsonl", given[30:])
    out, sentences = tmp_path / "out.jsonl", tmp_path / "sentences.jsonl"
    done = estimate(
        f"{tmp_path}/rows/*",
        "-o",
        out,
        "-e",
        "text",
        "--long",
        "--answer",
        "greedy",
        "--sentences",
        sentences,
        "--quiet",
    )
    assert done.returncode == 0, done.stderr
    assert [row["id"] for row in read(out)] == list(range(60))
    assert len(sentences.read_text().splitlines()) == 120


def test_shards_that_were_left_after_the_file_was_written_are_removed(tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(300)), tmp_path / "out.jsonl"
    command = [source, "-o", out, "-e", "text", "--workers", 1, *SMALL]
    assert estimate(*command).returncode == 0
    left = tmp_path / ".out.jsonl.shards"
    write(left / "_manifest.json", [{}])
    assert "300 rows were done before" in estimate(*command).stderr
    assert not left.exists()


def test_results_of_one_process_are_kept_and_the_message_says_so(tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(200)), tmp_path / "out.jsonl"
    assert estimate(source, "-o", out, "-e", "text", "--quiet").returncode == 0
    write(source, rows(250))
    done = estimate(source, "-o", out, "-e", "text", "--workers", 2, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "has results, which are kept" in done.stderr
    assert "50 rows in" in done.stderr
    other = estimate(source, "-o", out, "-e", "exact", "--workers", 2, *SMALL, "--overwrite")
    assert "250 rows in" in other.stderr, other.stderr
    assert len(out.read_text().splitlines()) == 250


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_pattern_of_json_lines_becomes_one_file(suffix, tmp_path):
    given = rows(300)
    write(tmp_path / "rows" / "a.jsonl", given[:100])
    write(tmp_path / "rows" / "b.jsonl", [*given[100:200], "no JSON", *given[200:]])
    write(tmp_path / "rows" / "notes.txt", ["x"])
    write(tmp_path / "whole.jsonl", given)
    out = tmp_path / f"out.{suffix}"
    done = estimate(tmp_path / "rows", "-o", out, "-e", "text", "--workers", 2, *SMALL)
    assert done.returncode == 1, done.stderr
    assert "1 file in the input not read (1 .txt)" in done.stderr
    (bad,) = map(json.loads, (tmp_path / f"out.{suffix}.bad.jsonl").read_text().splitlines())
    assert (bad["input"], bad["line"]) == (str(tmp_path / "rows" / "b.jsonl"), 101)
    assert estimate(tmp_path / "whole.jsonl", "-o", tmp_path / f"one.{suffix}", "-e", "text", "--quiet").returncode == 0
    found, expected = ([*read(path)] for path in (out, tmp_path / f"one.{suffix}"))
    assert found == expected
    again = estimate(f"{tmp_path}/rows/*.jsonl", "-o", out, "-e", "text", "--quiet")
    assert "300 rows were done before" in again.stderr, again.stderr
    assert [*read(out)] == found


def read(path):
    return (
        pq.read_table(path).to_pylist() if path.suffix == ".parquet" else map(json.loads, path.read_text().splitlines())
    )


def test_the_columns_of_parquet_files_keep_their_types_in_one_file(tmp_path):
    given = [{**row, "day": dt.date(2026, 11, 27), "raw": b"\xff"} for row in rows(200)]
    (tmp_path / "rows").mkdir()
    for name, part in (("a", given[:120]), ("b", given[120:])):
        pq.write_table(pa.Table.from_pylist(part), tmp_path / "rows" / f"{name}.parquet", row_group_size=30)
    pq.write_table(pa.Table.from_pylist(given), tmp_path / "whole.parquet", row_group_size=30)
    out, one = tmp_path / "out.parquet", tmp_path / "one.parquet"
    command = [tmp_path / "rows", "-o", out, "-e", "text"]
    done = estimate(*command, "--workers", 2, "--shard-mb", "0.002", "--quiet")
    assert done.returncode == 0, done.stderr
    assert estimate(tmp_path / "whole.parquet", "-o", one, "-e", "text", "--quiet").returncode == 0
    assert pq.read_table(out).equals(pq.read_table(one))
    assert pq.read_schema(out).field("day").type == pa.date32()
    before = out.stat().st_mtime_ns
    assert "200 rows were done before" in estimate(*command, "--quiet").stderr
    assert out.stat().st_mtime_ns == before
    single = tmp_path / "single.parquet"
    assert estimate(tmp_path / "whole.parquet", "-o", single, "-e", "text", "--shard-mb", "0.002").returncode == 0
    assert single.read_bytes() == one.read_bytes()


def test_a_large_file_is_cut_without_an_option_and_a_small_one_is_not(tmp_path):
    long = [{**row, "note": "x" * 10_000} for row in rows(450)]
    source, out = write(tmp_path / "in.jsonl", long), tmp_path / "out.jsonl"
    done = estimate(source, "-o", out, "-e", "text", "--quiet")
    assert "in 2 shards of 4 MB" in done.stderr, done.stderr
    grouped = estimate(source, "-o", tmp_path / "g.jsonl", "-e", "text", "--quiet", "--sentences", tmp_path / "s.jsonl")
    assert "shards" not in grouped.stderr
    small = estimate(write(tmp_path / "s.jsonl", rows(20)), "-o", tmp_path / "small.jsonl", "-e", "text", "--quiet")
    assert "shards" not in small.stderr


def test_what_is_worth_shards_is_found_without_an_error(tmp_path):
    options = one_file.InputOptions()
    (tmp_path / "rows.csv").write_text("id,responses\n" + '1,"[""a"", ""b""]"\n' * 300_000)
    assert not one_file.is_worth_shards(str(tmp_path / "rows.csv"), options)
    assert not one_file.is_worth_shards(str(tmp_path), options)
    assert not one_file.is_worth_shards("-", options)


def test_an_output_that_its_own_pattern_matches_is_an_error(tmp_path):
    write(tmp_path / "rows" / "a.jsonl", rows(30))
    done = estimate(tmp_path / "rows", "-o", tmp_path / "rows" / "out.jsonl", "-e", "text", "--quiet")
    assert done.returncode == 1
    assert "is in the input" in done.stderr


def test_a_gate_and_a_strict_run_end_as_in_one_process(tmp_path):
    given = [{"id": i, "responses": ["Paris"] * 4 if i % 100 else ["a", "b", "c", str(i)]} for i in range(600)]
    source, out = write(tmp_path / "in.jsonl", given), tmp_path / "out.jsonl"
    done = estimate(source, "-o", out, "-e", "exact", "--workers", 2, *SMALL, "--fail-above", "0.5")
    assert done.returncode == 3
    assert "gate: FAILED, 6 of 600 rows failed" in done.stderr
    write(source, [*given, "no JSON"])
    before = out.read_bytes()
    strict = estimate(source, "-o", out, "-e", "exact", "--workers", 2, *SMALL, "--strict", "--overwrite")
    assert strict.returncode == 1
    assert "not JSON" in strict.stderr
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-", "-o", "{}/out.jsonl", "--workers", "2"], "shards need an input and an output on a disk"),
        (["{}/in.jsonl", "--workers", "2"], "shards need an input and an output on a disk"),
        (["{}/in.jsonl", "-o", "{}/o.jsonl", "--workers", "2", "--group-by", "id"], "--group-by is for one process"),
        (["{}/in.jsonl", "-o", "{}/o.jsonl", "--engine", "ray", "--sampler", "ray-llm"], "ray-llm writes a folder"),
        (["{}/in.jsonl", "-o", "memory://bucket/out.jsonl"], "a URL is a folder of shards"),
        (["{}/*.jsonl", "-o", "{}/out.csv"], "results cannot be written as .csv"),
        (["{}/in.jsonl", "-o", "{}/out.CSV", "--workers", "2"], "results cannot be written as .csv"),
        (["{}/in.csv", "-o", "{}/o.jsonl", "--workers", "2"], "is csv, which cannot be cut into shards"),
    ],
)
def test_what_shards_cannot_do_is_an_error(arguments, message, tmp_path):
    write(tmp_path / "in.jsonl", rows(5))
    (tmp_path / "in.csv").write_text('id,responses\n1,"[""a"", ""b""]"\n')
    done = estimate(*(each.format(tmp_path) for each in arguments), "--quiet")
    assert done.returncode in (1, 2)
    assert message in done.stderr


@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
def test_all_columns_of_parquet_files_are_in_json_lines(names, tmp_path):
    given = [{**row, "gold": f"gold {row['id']}", "greedy": "It is Paris."} for row in rows(40)]

    def add(name, part):
        (tmp_path / "rows").mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(part), tmp_path / "rows" / f"{name}.parquet")

    for place, name in enumerate(names):
        add(name, given[place * 10 : (place + 1) * 10])
    some, out = given[: 10 * len(names)], tmp_path / "out.jsonl"
    command = [tmp_path / "rows", "-e", "text", "--quiet"]
    for _ in range(2):  # in shards, then in one process
        assert estimate(*command, "-o", out).returncode == 0
        assert [{name: row[name] for name in given[0]} for row in read(out)] == some
    add("c", given[30:])
    assert "10 rows in" in estimate(*command, "-o", out).stderr
    assert [row["gold"] for row in read(out)] == [row["gold"] for row in [*some, *given[30:]]]
    streamed = map(json.loads, estimate(*command).stdout.splitlines())
    assert [row["gold"] for row in streamed] == [row["gold"] for row in [*some, *given[30:]]]
    long = tmp_path / "long.jsonl"
    written = estimate(*command, "-o", long, "--long", "--answer", "greedy", "--sentences", tmp_path / "s.jsonl")
    assert written.returncode == 0, written.stderr
    assert [row["gold"] for row in read(long)] == [row["gold"] for row in [*some, *given[30:]]]


def test_a_bad_row_of_a_folder_has_the_file_and_its_line_in_one_process(tmp_path):
    write(tmp_path / "rows" / "a.jsonl", [*rows(3), "no JSON"])
    write(tmp_path / "rows" / "b.jsonl", ["", *rows(2), "no JSON"])
    pq.write_table(pa.Table.from_pylist([*rows(2), {"id": 2, "responses": []}]), tmp_path / "rows" / "c.parquet")
    places = [("a.jsonl", "line", 4), ("b.jsonl", "line", 4), ("c.parquet", "row_number", 3)]
    done = estimate(tmp_path / "rows", "-e", "text", "--quiet", "--fail-above", "9", "--min-samples", "2")
    for name, key, number in places:
        assert f"{tmp_path}/rows/{name}, {key.removesuffix('_number')} {number}: " in done.stderr, done.stderr
    assert f"row 4: ({tmp_path}/rows/b.jsonl) " in done.stderr
    out = tmp_path / "out.jsonl"
    estimate(tmp_path / "rows", "-e", "text", "--quiet", "-o", out, "--sentences", tmp_path / "s.jsonl")
    found = list(read(tmp_path / "out.jsonl.bad.jsonl"))
    assert [bad["input"] for bad in found] == [f"{tmp_path}/rows/{name}" for name, _, _ in places]
    assert [bad[key] for bad, (_, key, _) in zip(found, places, strict=True)] == [4, 4, 3]


def test_a_wrong_folder_is_refused_before_a_pair_is_judged(tmp_path):
    judged = []

    class Counting(Equivalence):
        name = "counting"

        def judge(self, pairs):
            judged.extend(pairs)
            return [Verdict(pair.left == pair.right) for pair in pairs]

    out = str(tmp_path / "out.jsonl")
    for tag in ("one", "two"):
        for name in ("a", "b"):
            given = [{"question": f"{tag} {name} {i}", "responses": [f"{tag} {i}", "x"]} for i in range(20)]
            write(tmp_path / tag / f"{name}.jsonl", given)

    def measure(tag):
        with Scorer(Counting()) as scorer:
            source = one_file.open_input(str(tmp_path / tag), out, one_file.InputOptions())
            run = FileRun(scorer, source, out, names=FieldNames(), overwrite=False, strict=False)
            return run.execute(progress=False)

    assert measure("one").rows == 40
    judged.clear()
    with pytest.raises(InputError, match="results of another input"):
        measure("two")
    assert not judged


@pytest.mark.parametrize(
    "broken",
    [
        ["-e", "nli", "--option", "model=/nonexistent"],
        ["-e", "text", "--calibration", "bad.json"],
        ["-e", "judge", "--option", "base_url=http://127.0.0.1:1/v1", "--option", "model=x", "--option", "retries=0"],
    ],
)
def test_overwriting_that_cannot_begin_keeps_the_file_and_its_report(broken, tmp_path):
    write(tmp_path / "in.jsonl", [*rows(20), "no JSON"])
    (tmp_path / "bad.json").write_text("{}")
    options = {"cwd": tmp_path}
    assert estimate("in.jsonl", "-o", "out.jsonl", "-e", "text", "--quiet", **options).returncode == 1  # a bad row
    kept = {name: (tmp_path / name).read_bytes() for name in ("out.jsonl", "out.jsonl.bad.jsonl")}
    command = ["in.jsonl", "-o", "out.jsonl", *broken, "--overwrite", "--workers", 2, "--shard-mb", 0.001, "--quiet"]
    done = estimate(*command, **options)
    assert done.returncode in (1, 2), done.stderr
    assert {name: (tmp_path / name).read_bytes() for name in kept} == kept
    folder = tmp_path / ".out.jsonl.shards"
    assert not folder.exists() or (folder / "_manifest.json").exists()  # no empty folder stays


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_overwriting_that_was_killed_keeps_the_file_until_the_shards_replace_it(suffix, tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(800)), tmp_path / f"out.{suffix}"
    folder = tmp_path / f".out.{suffix}.shards"
    assert estimate(source, "-o", out, "-e", "exact", "--quiet").returncode == 0
    before = out.read_bytes()
    command = [source, "-o", out, "-e", "text"]
    slow = sitecustomize(tmp_path / "slow", SLOW)
    process = start(*command, "--overwrite", "--workers", 2, *SMALL, env=slow)
    wait_for(lambda: len(list(folder.glob("_shards/*.json"))) >= 2, process)
    kill(process)
    assert out.read_bytes() == before
    finished = {path.stem for path in folder.glob("_shards/*.json")}
    done = estimate(*command, "--quiet")  # without --overwrite: it continues
    assert done.returncode == 0, done.stderr
    assert f"{len(finished)} of them finished" in done.stderr
    assert estimate(source, "-o", tmp_path / f"whole.{suffix}", "-e", "text", "--quiet").returncode == 0
    assert out.read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()
    assert not hidden(tmp_path)


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("count", range(4))
def test_a_kill_while_the_shards_are_removed_costs_nothing(count, overwrite, monkeypatch, tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(300)), tmp_path / "out.jsonl"
    unlink, removed = Path.unlink, []

    def killed(path, **options):
        if path.parent.name == ".out.jsonl.shards" and path.name.startswith("part-"):
            removed.append(path)
            if len(removed) > count:
                raise KeyboardInterrupt
        unlink(path, **options)

    run = BulkRun(
        functools.partial(Scorer, "text"),
        [str(source)],
        one_file.OneFile(str(out)),
        names=FieldNames(),
        options=one_file.InputOptions(),
        shard_mb=0.01,
        workers=1,
    )
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            run.execute(progress=False)
    before = out.read_bytes()
    command = [source, "-o", out, "-e", "text", "--workers", 1, *SMALL, *overwrite]
    for _ in range(2):
        done = estimate(*command)
        assert done.returncode == 0, done.stderr
        assert out.read_bytes() == before
        assert not hidden(tmp_path)


def test_shards_without_a_manifest_are_removed_and_other_files_are_not(tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(300)), tmp_path / "out.jsonl"
    command = [source, "-o", out, "-e", "text", "--workers", 1, *SMALL]
    left = tmp_path / ".out.jsonl.shards"
    write(left / "part-00000-000001.jsonl", [{}])
    write(left / ".part-00000-000002.jsonl.tmp", [{}])
    done = estimate(*command)
    assert done.returncode == 0, done.stderr
    assert not left.exists()
    before = out.read_bytes()
    write(left / "mine.jsonl", [{}])
    done = estimate(*command, "--overwrite")
    assert done.returncode == 1
    assert "it holds mine.jsonl" in done.stderr
    assert out.read_bytes() == before
    assert (left / "mine.jsonl").exists()

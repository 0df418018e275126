"""The engine `local`: the same bytes on any number of workers; dead workers, kills, Ctrl-C and bad rows."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
import time

import pytest
from click.testing import CliRunner

from semantic_entropy import Scorer
from semantic_entropy.bulk import BulkRun
from semantic_entropy.cli import main
from semantic_entropy.files import sealed
from semantic_entropy.io import InputOptions
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.bulk.bulk_runs import (
    DEADLY,
    SECONDS,
    SLOW,
    children,
    command_of,
    estimate,
    kill,
    manifest,
    rows,
    scored,
    shards,
    sitecustomize,
    start,
    wait_for,
    write,
)
from tests.semantic_entropy.sampling.dice import Dice
from tests.shared_data import rows as shared_rows

pytest.importorskip("pyarrow", reason="the extra bulk is not installed")

SMALL = ["--shard-mb", "0.02", "--quiet"]  # about 120 rows in a shard


@pytest.mark.parametrize("judge", ["text", "auto"])
def test_the_shards_are_equal_byte_for_byte_on_any_number_of_workers(judge, tmp_path):
    given = rows(600) if judge == "text" else shared_rows("samples.jsonl")[::30]
    source = write(tmp_path / "in.jsonl", given)
    found = []
    for workers in (1, 2, 3):
        out = tmp_path / f"out{workers}"
        done = estimate(source, "-o", f"{out}/", "-e", judge, "--workers", workers, *SMALL)
        assert done.returncode == 0, done.stderr
        found.append(shards(out))
    assert len(found[0]) > 3
    assert found[0] == found[1] == found[2]


def test_the_rows_are_those_of_a_run_over_one_file(tmp_path):
    source = write(tmp_path / "in.jsonl", rows(300))
    assert estimate(source, "-o", tmp_path / "one.parquet", "-e", "text").returncode == 0
    assert estimate(source, "-o", f"{tmp_path}/many/", "-e", "text", "--workers", 2, *SMALL).returncode == 0
    import pyarrow.parquet as pq

    assert scored(tmp_path / "many") == pq.read_table(tmp_path / "one.parquet").to_pylist()


def test_the_manifest_lists_the_inputs_the_shards_and_their_counts(tmp_path):
    source = write(tmp_path / "in.jsonl", [*rows(200), "no JSON", *rows(200)])
    done = estimate(source, "-o", f"{tmp_path}/out/", "-e", "text", "--workers", 2, *SMALL)
    assert done.returncode == 1  # a bad row, as for one file
    assert "400 rows in" in done.stderr
    assert "1 bad row: see" in done.stderr
    found = manifest(tmp_path / "out")
    assert found["finished"]
    assert found["rows"] == 400 == sum(each["rows"] for each in found["shards"])
    assert found["bad_rows"] == 1
    assert found["inputs"][0]["name"] == str(source)
    assert found["runs"][0]["equivalence"]["name"] == "text"
    assert [each["file"] for each in found["shards"]] == list(shards(tmp_path / "out"))
    (bad,) = [json.loads(line) for line in (tmp_path / "out" / "_bad.jsonl").read_text().splitlines()]
    assert (bad["input"], bad["line"], bad["row"]) == (str(source), 201, "no JSON")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_was_killed_redoes_only_the_shards_in_flight(workers, tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(800)), tmp_path / "out"
    command = [source, "-o", f"{out}/", "-e", "text", "--workers", workers, *SMALL]
    process = start(*command, env=sitecustomize(tmp_path / "slow", SLOW))
    wait_for(lambda: len(list(out.glob("_shards/*.json"))) >= 2, process)
    workers_of_run = [pid for pid in children(process.pid) if "spawn_main" in command_of(pid)]
    kill(process)
    finished = {path.stem for path in out.glob("_shards/*.json")}
    before = {f"{name}.parquet": (out / f"{name}.parquet").stat().st_mtime_ns for name in finished}
    wait_for_end(workers_of_run)
    assert not manifest(out)["finished"]

    again = estimate(*command)
    assert again.returncode == 0, again.stderr
    assert f"{len(finished)} of them finished" in again.stderr
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert estimate(source, "-o", f"{tmp_path}/whole/", "-e", "text", *SMALL).returncode == 0
    assert shards(out) == shards(tmp_path / "whole")
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith("part-")) == ["_manifest.json"]


def wait_for_end(pids):
    """The workers of a killed run end by themselves."""
    end = time.monotonic() + SECONDS
    while any("spawn_main" in command_of(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_ctrl_c_leaves_the_finished_shards(tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(800)), tmp_path / "out"
    command = [source, "-o", f"{out}/", "-e", "text", "--workers", 2, *SMALL]
    process = start(*command, env=sitecustomize(tmp_path / "slow", SLOW))
    wait_for(lambda: list(out.glob("_shards/*.json")), process)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all processes of the command
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "run the same command again to continue" in said
    assert "Traceback" not in said
    assert list(out.glob("part-*"))
    assert estimate(*command).returncode == 0
    assert manifest(out)["rows"] == 800


def test_the_shard_of_a_dead_worker_is_retried(tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(600)), tmp_path / "out"
    process = start(
        *[source, "-o", f"{out}/", "-e", "text", "--workers", 2, *SMALL], env=sitecustomize(tmp_path / "slow", SLOW)
    )
    wait_for(lambda: list(out.glob("_shards/*.json")), process)
    os.kill(next(pid for pid in children(process.pid) if "spawn_main" in command_of(pid)), signal.SIGKILL)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert manifest(out)["rows"] == 600
    assert estimate(source, "-o", f"{tmp_path}/whole/", "-e", "text", *SMALL).returncode == 0
    assert shards(out) == shards(tmp_path / "whole")


def test_a_shard_that_kills_each_worker_ends_the_run_with_its_name(tmp_path):
    given = rows(400)
    given[250]["responses"] = ["poison", "b"]
    source, out = write(tmp_path / "in.jsonl", given), tmp_path / "out"
    environment = sitecustomize(tmp_path / "deadly", DEADLY)
    done = estimate(source, "-o", f"{out}/", "-e", "text", "--workers", 2, *SMALL, env=environment)
    assert done.returncode == 1
    assert "3 workers died while they scored it; the last one was ended by SIGKILL" in done.stderr
    assert f"{source}, bytes" in done.stderr
    assert estimate(source, "-o", f"{out}/", "-e", "text", *SMALL).returncode == 0
    assert manifest(out)["rows"] == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["-e", "exact"], "was made with equivalence 'text'"),
        (["-e", "text", "--invalid", "drop"], "and this run has invalid 'drop'"),
        (["-e", "text", "--question", "topic"], "question field 'topic'"),
        (["-e", "text", "--shard-mb", "1"], "was made with --shard-mb 0.02, and this run has 1"),
    ],
)
def test_another_run_is_refused_with_what_differs(change, message, tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(50, topic="t")), tmp_path / "out"
    assert estimate(source, "-o", f"{out}/", "-e", "text", *SMALL).returncode == 0
    done = estimate(source, "-o", f"{out}/", "--quiet", *change)
    assert done.returncode == 1
    assert message in done.stderr
    assert "use --overwrite" in done.stderr
    assert estimate(source, "-o", f"{out}/", "--quiet", "--overwrite", *change).returncode == 0


def test_a_missing_input_is_refused_and_a_new_one_is_added(tmp_path):
    folder, out = tmp_path / "rows", tmp_path / "out"
    write(folder / "b.jsonl", rows(50))
    command = [folder, "-o", f"{out}/", "-e", "text", "--quiet"]
    assert estimate(*command).returncode == 0
    write(folder / "a.jsonl", rows(30))
    added = estimate(*command)
    assert added.returncode == 0, added.stderr
    assert "30 rows in" in added.stderr
    assert "50 rows were done before" in added.stderr
    assert [each["name"] for each in manifest(out)["inputs"]] == [str(folder / name) for name in ("b.jsonl", "a.jsonl")]
    (folder / "a.jsonl").unlink()
    assert "a.jsonl, which is not in the input" in estimate(*command).stderr


def test_a_damaged_record_costs_a_count_and_no_results(tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(300)), tmp_path / "out"
    assert estimate(source, "-o", f"{out}/", "-e", "text", *SMALL).returncode == 0
    complete = shards(out)
    (out / "_shards").mkdir()
    for number, content in enumerate((b"", b'{"name": "part', b'{"name": "x", "unknown": 1}')):
        (out / f"_shards/part-00000-{number:06d}.json").write_bytes(content)
    done = estimate(source, "-o", f"{out}/", "-e", "text", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("its shard is counted again") == 3
    assert shards(out) == complete
    assert not (out / "_shards").exists()


@pytest.mark.parametrize("damage", ["cut off", "longer", "not Parquet"])
def test_a_damaged_shard_is_found_and_scored_again(damage, tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(300)), tmp_path / "out"
    assert estimate(source, "-o", f"{out}/", "-e", "text", *SMALL).returncode == 0
    complete = shards(out)
    path = sorted(out.glob("part-*"))[1]
    content = path.read_bytes()
    path.write_bytes({"cut off": content[:-100], "longer": content + b"x", "not Parquet": b""}[damage])
    done = estimate(source, "-o", f"{out}/", "-e", "text", "--quiet")
    assert done.returncode == 0, done.stderr
    assert f"{path} is damaged: it has " in done.stderr
    assert "1 of them finished" in done.stderr
    assert shards(out) == complete


@pytest.mark.parametrize("damage", ["cut off", "a name of a column"])
def test_a_damaged_shard_without_a_record_is_scored_again(damage, tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(300)), tmp_path / "out"
    assert estimate(source, "-o", f"{out}/", "-e", "text", *SMALL).returncode == 0
    complete, values = shards(out), manifest(out)
    values["shards"].pop()
    (out / "_manifest.json").write_bytes(sealed(values))
    path = max(out.glob("part-*"))
    content = path.read_bytes()
    path.write_bytes(content[:-100] if damage == "cut off" else content.replace(b"responses", b"respons\xe9s"))
    done = estimate(source, "-o", f"{out}/", "-e", "text", "--quiet")
    assert done.returncode == 0, done.stderr
    assert f"{path} is damaged (" in done.stderr
    assert shards(out) == complete


def test_notes_beyond_the_tenth_are_counted(capsys, tmp_path):
    run = BulkRun(functools.partial(Scorer, "text"), [], str(tmp_path), names=FieldNames(), options=InputOptions())
    for name in "abcdefghijklm":
        run._say(f"note {name} of shard 1")
        run._say(f"note {name} of shard 2")
    run._say_rest()
    assert capsys.readouterr().err.splitlines()[9:] == ["note j of shard 1", "... and 3 other notes"]


def test_the_rows_of_a_shard_are_shown_while_it_is_scored(monkeypatch, tmp_path):
    source = write(tmp_path / "in.jsonl", rows(300))
    opened = functools.partial(Scorer, "text")
    run = BulkRun(
        opened,
        [str(source)],
        str(tmp_path / "out"),
        names=FieldNames(),
        options=InputOptions(),
        workers=1,
        batch_size=90,
    )
    shown = []
    note_rows = run._note_rows
    monkeypatch.setattr(run, "_note_rows", lambda rows: (note_rows(rows), shown.append(run._activity())))
    run.execute(progress=False)
    assert shown == ["90 rows", "180 rows", "270 rows", "300 rows"]
    assert run._activity() == "300 rows"


def test_a_folder_that_is_no_output_of_a_run_is_left_alone(tmp_path):
    source = write(tmp_path / "in.jsonl", rows(5))
    (tmp_path / "out").mkdir()
    mine = write(tmp_path / "out" / "mine.txt", ["x"])
    done = estimate(source, "-o", f"{tmp_path}/out", "-e", "text", "--quiet")
    assert done.returncode == 1
    assert "it holds mine.txt and no _manifest.json" in done.stderr
    assert estimate(source, "-o", f"{tmp_path}/out", "-e", "text", "--quiet", "--overwrite").returncode == 1
    assert mine.exists()


def test_a_gate_counts_the_rows_of_all_shards_and_of_earlier_runs(tmp_path):
    given = [{"id": i, "responses": ["Paris"] * 4 if i % 100 else ["a", "b", "c", str(i)]} for i in range(600)]
    source, out = write(tmp_path / "in.jsonl", given), tmp_path / "out"
    command = [source, "-o", f"{out}/", "-e", "exact", "--workers", 2, *SMALL]
    first = estimate(*command, "--fail-above", "0.5")
    assert first.returncode == 3, first.stderr
    assert "gate: FAILED, 6 of 600 rows failed" in first.stderr
    assert "row 101: " in first.stderr
    other = estimate(*command, "--fail-above", "2")
    assert other.returncode == 0, other.stderr
    assert "gate: passed, 0 of 600 rows failed" in other.stderr
    assert "0 rows in" in other.stderr  # nothing was measured again


def test_a_strict_run_stops_at_a_bad_row_and_names_its_place(tmp_path):
    source = write(tmp_path / "in.jsonl", [*rows(150), "no JSON", *rows(150)])
    done = estimate(source, "-o", f"{tmp_path}/out/", "-e", "text", "--strict", "--workers", 2, *SMALL)
    assert done.returncode == 1
    assert f"{source}, bytes" in done.stderr
    assert "not JSON" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rows/", "-o", "-", "--workers", "2"], "shards need an input and an output on a disk"),
        (["in.jsonl", "-o", "out/", "--group-by", "id"], "--group-by joins rows that can be in two shards"),
        (["in.csv", "-o", "out/"], "cannot be cut into shards"),
        (["nothing.jsonl", "-o", "out/"], "nothing.jsonl: no such file"),
        (["in.jsonl", "-o", "out/", "--sentences", "s.jsonl"], "for an output file, and the output is a folder"),
    ],
)
def test_a_command_that_a_folder_cannot_serve_says_what_to_do(arguments, message, tmp_path):
    write(tmp_path / "in.jsonl", rows(5))
    write(tmp_path / "rows" / "in.jsonl", rows(5))
    (tmp_path / "in.csv").write_text("question,responses\nq,[]\n")
    done = estimate(*arguments, "-e", "text", cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr


@contextlib.contextmanager
def scorer_that_draws(*, fails):
    with Scorer("exact", sampler=Dice(fails="two" if fails else ""), n=3) as scorer:
        yield scorer


@pytest.mark.filterwarnings("ignore:no response")
def test_a_row_whose_server_failed_is_asked_again_by_the_next_run(tmp_path):
    source, out = write(tmp_path / "in.jsonl", [{"question": "one?"}, {"question": "two?"}]), tmp_path / "out"
    found = []
    for fails in (True, False, False):
        opened = functools.partial(scorer_that_draws, fails=fails)
        run = BulkRun(opened, [str(source)], str(out), names=FieldNames(), options=InputOptions(), workers=1)
        summary = run.execute(progress=False)
        found.append((summary.rows, summary.skipped, summary.rejected, summary.retryable, summary.responses))
    assert found == [(1, 0, 1, 1, 3), (1, 1, 0, 0, 6), (0, 2, 0, 0, 6)]  # the responses of all runs
    assert [row["question"] for row in scored(out)] == ["one?", "two?"]
    assert not (out / "_bad.jsonl").exists()


def test_without_ray_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "in.jsonl").write_text('{"question": "q", "responses": ["a", "b"]}\n')
    done = CliRunner().invoke(
        main, ["estimate", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out"), "--engine", "ray"]
    )
    assert "--engine ray needs Ray Data" in done.output
    assert done.exit_code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]

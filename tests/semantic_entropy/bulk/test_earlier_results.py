"""Runs whose input has changed since an earlier run: no finished row is measured again, and no other row is taken."""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_entropy import InputError, Scorer
from semantic_entropy.bulk import BulkRun, OneFile, bulk_run, earlier_results
from semantic_entropy.io import InputOptions
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.bulk.bulk_runs import (
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

pq = pytest.importorskip("pyarrow.parquet", reason="the extra bulk is not installed")

# A row that is measured without end, so that a kill always comes at the same place.
ENDLESS = """
import time
from semantic_entropy.scorer import Scorer
measure = Scorer.measure
def endless(self, groups):
    if any("a row that never ends" in group.responses for group in groups):
        time.sleep(600)
    return measure(self, groups)
Scorer.measure = endless
"""
SMALL = ["--shard-mb", "0.02", "--workers", "1"]  # about 120 rows in a shard
GIVEN = [{**row, "greedy": "It is Paris."} for row in rows(500)]
EDITED = [{**GIVEN[0], "id": 1000}, *GIVEN[:3], {**GIVEN[3], "responses": ["x", "y"]}, *GIVEN[4:300], *GIVEN[302:]]


open_text = functools.partial(Scorer, "text")


def place(name):
    """A file as output, or a folder if the name ends with a slash."""
    return str(name) if str(name).endswith("/") else OneFile(str(name))


def measure(source, output, monkeypatch=None, stop=None, open_scorer=open_text):
    """Run in this process; with `stop`, only until this number of shards is finished."""
    run = BulkRun(
        open_scorer,
        [str(source)],
        place(output),
        names=FieldNames(),
        options=InputOptions(),
        shard_mb=0.02,
        workers=1,
        batch_size=16,
    )
    if stop is None:
        return run.execute(progress=False)
    score = bulk_run.score_alone

    def some(*arguments):
        yield from itertools.islice(score(*arguments), stop)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(bulk_run, "score_alone", some)
        with pytest.raises(KeyboardInterrupt):
            run.execute(progress=False)
    return None


def results(output):
    """All bytes of a finished output."""
    path = Path(output)
    return shards(path) if path.is_dir() else path.read_bytes()


def fresh(source, output):
    """The bytes of a run that nothing interrupted, with the same input."""
    name = f"{Path(output).parent}/fresh-{Path(output).name}{'/' if str(output).endswith('/') else ''}"
    measure(source, name)
    return results(name)


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".") or ".partial" in path.name]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_results_of_unchanged_rows_are_kept_if_the_input_was_edited_after_a_kill(suffix, tmp_path):
    row = 299  # the third shard has the rows from 287 on
    given = [*GIVEN[:row], {**GIVEN[row], "responses": ["a row that never ends", "x"]}, *GIVEN[row + 1 :]]
    source, out = write(tmp_path / "in.jsonl", given), tmp_path / f"out.{suffix}"
    folder = tmp_path / f".out.{suffix}.shards"
    process = start(
        *(source, "-o", out, "-e", "text", *SMALL, "--batch-size", 8), env=sitecustomize(tmp_path / "hook", ENDLESS)
    )
    wait_for(lambda: len(list(folder.glob("_shards/*.json"))) == 2, process)
    written = folder / "_work" / f"part-00000-000002.{suffix}{'.partial.jsonl' if suffix == 'parquet' else ''}"
    wait_for(lambda: written.exists() and written.stat().st_size, process)
    kill(process)
    finished = sum(json.loads(path.read_text())["rows"] for path in folder.glob("_shards/*.json"))
    write(source, EDITED)
    done = estimate(source, "-o", out, "-e", "text", "--quiet")
    assert done.returncode == 0, done.stderr
    kept = int(done.stderr.split(" results of unchanged rows kept")[0].rsplit(" ", 1)[1])
    assert kept >= finished  # one was edited; there are some of the shard that was not finished
    assert f"{len(EDITED) - kept} rows in" in done.stderr, done.stderr
    assert "1 result removed" in done.stderr
    assert out.read_bytes() == fresh(source, out)
    assert not hidden(tmp_path)


@pytest.mark.parametrize("output", ["out.jsonl", "out.parquet", "out/"])
def test_an_input_that_was_only_touched_costs_nothing(output, monkeypatch, capsys, tmp_path):
    source, out = write(tmp_path / "in.jsonl", GIVEN), f"{tmp_path}/{output}"
    measure(source, out, monkeypatch, stop=2)
    os.utime(source, ns=(0, 0))
    measure(source, out)
    assert ", 2 of them finished" in capsys.readouterr().err
    assert results(out) == fresh(source, out)


def test_rows_are_added_to_a_finished_folder_and_edited_in_it(tmp_path):
    source, out = write(tmp_path / "in.jsonl", GIVEN[:400]), f"{tmp_path}/out/"
    measure(source, out)
    write(source, GIVEN)
    summary = measure(source, out)
    assert (summary.rows, summary.skipped, summary.removed) == (100, 400, 0)
    assert results(out) == fresh(source, out)
    write(source, EDITED)
    summary = measure(source, out)
    assert (summary.rows, summary.skipped, summary.removed) == (2, 497, 3)
    assert [row["id"] for row in scored(Path(out))] == [row["id"] for row in EDITED]
    assert sorted(path.name for path in Path(out).iterdir() if path.name.startswith("_")) == ["_manifest.json"]
    shorter = write(source, EDITED[:260])
    assert measure(source, out).rows == 0
    assert [row["id"] for row in scored(Path(out))] == [row["id"] for row in EDITED[:260]]
    assert manifest(Path(out))["planned_shards"] == len(shards(Path(out)))
    assert shorter.stat().st_size == manifest(Path(out))["inputs"][0]["size"]


def test_fields_that_are_not_measured_have_the_values_of_the_new_input(monkeypatch, tmp_path):
    source, out = write(tmp_path / "in.jsonl", GIVEN), f"{tmp_path}/out.jsonl"
    measure(source, out, monkeypatch, stop=2)
    write(source, [{**row, "note": row["id"]} for row in GIVEN])
    assert measure(source, out).skipped > 200
    assert [json.loads(line)["note"] for line in Path(out).read_text().splitlines()] == list(range(500))


@pytest.mark.parametrize("output", ["out.jsonl", "out/"])
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_any_edit_gives_the_file_of_a_run_that_began_with_it(output, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("edit")
    source, out = write(folder / "in.jsonl", GIVEN), f"{folder}/{output}"
    with pytest.MonkeyPatch.context() as patch:
        measure(source, out, patch, stop=data.draw(st.integers(1, 3)))
        for _ in range(2):  # each edit of the edited file; half of the results stay
            removed = data.draw(st.sets(st.integers(0, 12), max_size=3))
            kept = [row for row in GIVEN if row["id"] % 13 not in removed]
            edit = data.draw(st.sampled_from(["responses", "question", "id"]))
            values = {"responses": ["x", "y"], "question": "Another?", "id": 1002}
            at = data.draw(st.integers(0, 300))
            kept[at] = {**kept[at], edit: values[edit]}
            if data.draw(st.booleans()):
                kept.reverse()
            kept[at:at] = [kept[at]] * data.draw(st.integers(0, 3))  # equal rows
            write(source, kept)
            measure(source, out, patch, stop=1)
        summary = measure(source, out)
    assert summary.rows + summary.skipped == len(kept)
    assert results(out) == fresh(source, out)


def test_another_content_is_refused_and_nothing_is_changed(monkeypatch, tmp_path):
    source, out = write(tmp_path / "in.jsonl", GIVEN), f"{tmp_path}/out.jsonl"
    measure(source, out, monkeypatch, stop=2)
    write(source, [{**row, "id": 2000 + row["id"]} for row in GIVEN])
    before = contents(tmp_path)
    for _ in range(2):
        with pytest.raises(InputError, match=r"belong to no row of the input, and would be removed\. Nothing was"):
            measure(source, out)
        assert contents(tmp_path) == before
    write(source, GIVEN)
    assert measure(source, out).skipped > 200
    assert results(out) == fresh(source, out)


def contents(folder):
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_another_file_is_refused_and_its_shards_stay(monkeypatch, capsys, tmp_path):
    source, out = write(tmp_path / "in.jsonl", GIVEN), f"{tmp_path}/out.jsonl"
    measure(source, out, monkeypatch, stop=2)
    with pytest.raises(InputError, match="in.jsonl, which is not in the input"):
        measure(write(tmp_path / "other.jsonl", GIVEN), out)
    measure(source, out)
    assert ", 2 of them finished" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["out.jsonl", "out.parquet", "out/"])
@pytest.mark.parametrize("step", ["gather", "sort", "sync", "save", "saved", "moved"])
def test_a_kill_at_any_step_of_the_sort_costs_no_result(step, output, monkeypatch, capsys, tmp_path):
    source, out = write(tmp_path / "in.jsonl", GIVEN), f"{tmp_path}/{output}"
    measure(source, out, monkeypatch, stop=3)
    write(source, EDITED)

    class KilledError(BaseException):
        """Nothing is cleaned up, as after a kill."""

    def killed(*_, **__):
        raise KilledError

    monkeypatch.setattr(earlier_results._Sort, "undo", killed)  # a kill undoes nothing
    changes = earlier_results._Changes
    save = changes.save
    with monkeypatch.context() as patched:
        if step == "gather":
            patched.setattr(earlier_results, "ResultLines", killed)
        if step == "sort":
            patched.setattr(earlier_results, "_write_lines", killed)
        if step == "sync":
            patched.setattr(earlier_results, "sync", killed)
        if step == "save":
            patched.setattr(changes, "save", killed)
        if step == "saved":
            patched.setattr(changes, "save", lambda self: (save(self), killed()))
        if step == "moved":
            patched.setattr(Path, "rmdir", killed)
        with pytest.raises(KilledError):
            measure(source, out)
    monkeypatch.undo()
    write(source, [*EDITED, {**GIVEN[0], "id": 1001}])  # it is edited once more
    capsys.readouterr()
    summary = measure(source, out)
    assert summary.skipped > 300
    assert f": {summary.skipped} results of unchanged rows kept" in capsys.readouterr().err
    assert results(out) == fresh(source, out)
    assert not hidden(tmp_path)
    assert not list(tmp_path.rglob("_kept*")) + list(tmp_path.rglob("_sorted"))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_result_that_a_killed_retry_left_twice_is_counted_once(suffix, monkeypatch, capsys, tmp_path):
    """A shard that is retried is copied to the folder of the work first."""
    given = [*GIVEN[:50], GIVEN[49], *GIVEN[50:]]  # a row twice
    source, out = write(tmp_path / "in.jsonl", given), f"{tmp_path}/out.{suffix}"
    measure(source, out, monkeypatch, stop=2)
    folder = tmp_path / f".out.{suffix}.shards"
    (folder / "_work").mkdir(exist_ok=True)
    finished = sum(json.loads(path.read_text())["rows"] for path in folder.glob("_shards/*.json"))
    for file in folder.glob("part-*"):
        shutil.copy(file, folder / "_work" / file.name)
    write(source, [*given[:20], *given[23:]])
    capsys.readouterr()
    summary = measure(source, out)
    assert (summary.skipped, summary.removed) == (finished - 3, 3)
    assert f": {finished - 3} results of unchanged rows kept" in capsys.readouterr().err
    assert results(out) == fresh(source, out)


def test_equal_rows_that_are_far_apart_are_not_measured_again(tmp_path):
    source = write(tmp_path / "in.jsonl", [*GIVEN[:250], *GIVEN[:250]])
    measure(source, f"{tmp_path}/out/")
    write(source, [GIVEN[250], *GIVEN[:250], *GIVEN[:250]])
    summary = measure(source, f"{tmp_path}/out/")
    assert (summary.rows, summary.skipped, summary.removed) == (1, 500, 0)


def test_a_file_that_is_added_before_the_others_is_in_the_order_of_the_input(monkeypatch, tmp_path):
    write(tmp_path / "rows" / "b.jsonl", GIVEN[:300])
    out = f"{tmp_path}/out.jsonl"
    measure(tmp_path / "rows", out, monkeypatch, stop=2)
    write(tmp_path / "rows" / "a.jsonl", GIVEN[300:])
    summary = measure(tmp_path / "rows", out)
    assert summary.skipped > 200
    assert results(out) == fresh(tmp_path / "rows", out)


def test_files_that_have_not_changed_are_not_read_again(monkeypatch, tmp_path):
    for number in range(3):
        write(tmp_path / "rows" / f"{number}.jsonl", GIVEN[number * 150 : number * 150 + 150])
    out = f"{tmp_path}/out/"
    measure(tmp_path / "rows", out)
    write(tmp_path / "rows" / "1.jsonl", GIVEN[150:310])
    read, write_section = [], earlier_results.write_section
    monkeypatch.setattr(
        earlier_results, "write_section", lambda *given: (read.append(given[0].source.name), write_section(*given))[1]
    )
    assert measure(tmp_path / "rows", out).rows == 10
    assert set(read) == {f"{tmp_path}/rows/1.jsonl"}


def open_dice():
    return Scorer("exact", sampler=Dice(), n=3)


def test_a_changed_file_of_drawn_rows_is_refused_and_a_touched_one_is_not(tmp_path):
    questions = [{"question": f"Question {i}?"} for i in range(5)]
    source, out = write(tmp_path / "in.jsonl", questions), f"{tmp_path}/out/"
    measure(source, out, open_scorer=open_dice)
    os.utime(source, ns=(0, 0))
    assert measure(source, out, open_scorer=open_dice).rows == 0
    write(source, [*questions, {"question": "Another?"}])
    with pytest.raises(InputError, match=r"has changed .* its responses were drawn: put the earlier file back"):
        measure(source, out, open_scorer=open_dice)


def test_one_process_is_refused_until_the_shards_are_the_file(monkeypatch, tmp_path):
    source, out, sentences = write(tmp_path / "in.jsonl", GIVEN), tmp_path / "out.jsonl", tmp_path / "s.jsonl"
    measure(source, out, monkeypatch, stop=2)
    command = [source, "-o", out, "-e", "text", "--quiet"]
    refused = [estimate(*command, "--sentences", sentences)]
    with source.open() as lines:
        refused.append(estimate("-", *command[1:], stdin=lines))
    for done, fix in zip(refused, ("without --sentences, and then with it", "with the file as the input"), strict=True):
        assert done.returncode == 1
        assert f"{out} is not finished: an earlier run left its results in {tmp_path}/.out.jsonl.shards" in done.stderr
        assert f"Run the command {fix}, which keeps these results" in done.stderr
    assert ", 2 of them finished" in estimate(*command).stderr
    done = estimate(*command, "--sentences", sentences)
    assert done.returncode == 0, done.stderr
    assert "0 rows in" in done.stderr
    assert results(out) == fresh(source, out)

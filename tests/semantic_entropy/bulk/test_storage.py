"""Buckets of fsspec as input and output: `memory://` stands for a bucket, `file://` for a local folder."""

from __future__ import annotations

import functools
import json
import tempfile

import pytest

from semantic_entropy import Scorer
from semantic_entropy.bulk import BulkRun
from semantic_entropy.bulk.shard_scoring import work_folder
from semantic_entropy.bulk.storage import LocalStorage, open_storage
from semantic_entropy.errors import InputError
from semantic_entropy.files import sealed, unsealed
from semantic_entropy.io import InputOptions
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.bulk.bulk_runs import manifest, rows, scored, shards, write

fsspec = pytest.importorskip("fsspec", reason="the extra bulk is not installed")
pytest.importorskip("pyarrow", reason="the extra bulk is not installed")


TEXT = functools.partial(Scorer, "text")


@pytest.fixture
def bucket(monkeypatch, tmp_path_factory):
    """The file system of `memory://`, empty.

    The folder for its unfinished shards is in a temporary folder of the test: tests run side by side.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    yield memory
    memory.store.clear()


def run(source, output, *, open_scorer=TEXT, **options):
    names = FieldNames()
    made = BulkRun(
        open_scorer, [source], output, names=names, options=InputOptions(), workers=1, **{"shard_mb": 0.02, **options}
    )
    return made.execute(progress=False)


def test_a_run_from_bucket_to_bucket_has_the_files_of_a_local_run(bucket, tmp_path):
    given = rows(300)
    source = write(tmp_path / "in.jsonl", given)
    bucket.pipe_file("/rows/in.jsonl", source.read_bytes())
    summary = run("memory://rows", "memory://results/run1")
    assert (summary.rows, summary.rejected) == (300, 0)
    run(str(source), str(tmp_path / "out"))
    in_bucket = {path.rpartition("/")[2]: bucket.cat_file(path) for path in bucket.glob("/results/run1/part-*")}
    assert in_bucket == shards(tmp_path / "out")
    found = json.loads(bucket.cat_file("/results/run1/_manifest.json"))
    assert found["inputs"][0]["name"] == "memory://rows/in.jsonl"
    assert sorted(path.rpartition("/")[2] for path in bucket.find("/results/run1")) == [
        "_manifest.json",
        *sorted(in_bucket),
    ]


def test_a_run_to_a_bucket_continues(bucket, tmp_path):
    source = write(tmp_path / "in.jsonl", rows(300))
    run(str(source), "memory://out")
    kept = bucket.glob("/out/part-*")
    values = unsealed(bucket.cat_file("/out/_manifest.json"))
    lost = values["shards"].pop()  # as if the run had been killed in the last shard
    bucket.pipe_file("/out/_manifest.json", sealed(values))
    bucket.rm_file(f"/out/{lost['file']}")
    summary = run(str(source), "memory://out")
    assert (summary.rows, summary.skipped) == (lost["rows"], 300 - lost["rows"])
    assert bucket.glob("/out/part-*") == kept
    with pytest.raises(InputError, match="has changed since"):
        run(str(write(tmp_path / "in.jsonl", rows(301))), "memory://out")


def test_bad_rows_of_a_bucket_have_their_lines_in_the_input(bucket):
    lines = [json.dumps(row) for row in rows(300)]
    lines[200:200] = ["", "no JSON"]
    bucket.pipe_file("/rows/in.jsonl", "\n".join(lines).encode())
    assert run("memory://rows/in.jsonl", "memory://out").rejected == 1
    bad = json.loads(bucket.cat_file("/out/_bad.jsonl"))
    assert (bad["line"], bad["input"]) == (202, "memory://rows/in.jsonl")


def test_a_file_url_is_a_local_folder(tmp_path):
    assert isinstance(open_storage(f"file://{tmp_path}/out"), LocalStorage)
    source = write(tmp_path / "in.jsonl", rows(30))
    run(f"file://{source}", f"file://{tmp_path}/out")
    assert len(scored(tmp_path / "out")) == manifest(tmp_path / "out")["rows"] == 30


def test_an_unknown_kind_of_url_is_an_error(tmp_path):
    with pytest.raises(InputError, match="nosuch://bucket/in"):
        run("nosuch://bucket/in", str(tmp_path / "out"))


def test_an_output_in_a_folder_of_the_input_is_an_error_before_any_work(bucket, tmp_path):
    write(tmp_path / "rows" / "in.jsonl", rows(30))
    for out in ("rows", "rows/out"):
        with pytest.raises(InputError, match="is in the input"):
            run(str(tmp_path / "rows"), str(tmp_path / out))
    assert run(str(tmp_path / "rows"), str(tmp_path / "rows-out")).rows == 30
    for _ in range(2):  # names with _ are no input
        run(str(tmp_path / "rows"), str(tmp_path / "rows" / "_out"))
    with pytest.raises(InputError, match="is in the output"):
        run(str(tmp_path / "rows-out" / "*.parquet"), str(tmp_path / "rows-out"))
    bucket.pipe_file("/rows/in.jsonl", (tmp_path / "rows" / "in.jsonl").read_bytes())
    with pytest.raises(InputError, match="is in the input"):
        run("memory://rows", "memory://rows/out")
    assert run("memory://rows", "memory://rows-out").rows == 30


def test_a_shard_whose_file_is_gone_is_scored_again(tmp_path):
    source, out = write(tmp_path / "in.jsonl", rows(300)), tmp_path / "out"
    run(str(source), str(out))
    before = shards(out)
    (out / list(before)[1]).unlink()
    assert 0 < run(str(source), str(out)).rows < 300
    assert shards(out) == before


def test_overwriting_that_was_killed_is_finished_by_the_next_run(tmp_path, monkeypatch):
    source, out = write(tmp_path / "in.jsonl", rows(300)), tmp_path / "out"
    run(str(source), str(out), shard_mb=0.01)
    removed = []

    def remove_two(storage, name):
        removed.append(name)
        if len(removed) > 2:
            raise KeyboardInterrupt
        return remove(storage, name)

    remove = LocalStorage.remove
    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "remove", remove_two)
        with pytest.raises(KeyboardInterrupt):
            run(str(source), str(out), overwrite=True)
    assert run(str(source), str(out)).rows == 300
    run(str(source), str(tmp_path / "whole"))
    assert shards(out) == shards(tmp_path / "whole")


def test_what_an_earlier_run_to_a_bucket_left_on_this_machine_is_not_read(bucket, tmp_path):
    source = write(tmp_path / "in.jsonl", rows(300))
    run(str(source), str(tmp_path / "other"), shard_mb=0.02)
    folder = work_folder(open_storage("memory://out"))
    folder.mkdir(exist_ok=True)
    for name, content in shards(tmp_path / "other").items():  # of a run with another judge
        (folder / name).write_bytes(content)
    summary = run(str(source), "memory://out", open_scorer=functools.partial(Scorer, "exact"))
    assert (summary.rows, summary.skipped) == (300, 0)
    assert not folder.exists()

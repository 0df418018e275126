"""Buckets of fsspec as input and output: `memory://` stands for a bucket, `file://` for a local folder."""

from __future__ import annotations

import functools
import json

import pytest

from semantic_entropy import Scorer
from semantic_entropy.bulk import BulkRun
from semantic_entropy.bulk.storage import LocalStorage, open_storage
from semantic_entropy.errors import InputError
from semantic_entropy.io import InputOptions
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.bulk.bulk_runs import manifest, rows, scored, shards, write

fsspec = pytest.importorskip("fsspec", reason="the extra bulk is not installed")
pytest.importorskip("pyarrow", reason="the extra bulk is not installed")


@pytest.fixture
def bucket():
    """The file system of `memory://`, empty."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    yield memory
    memory.store.clear()


def run(source, output, **options):
    opened = functools.partial(Scorer, "text")
    names = FieldNames()
    made = BulkRun(
        opened, [source], output, names=names, options=InputOptions(), workers=1, **{"shard_mb": 0.02, **options}
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
    values = json.loads(bucket.cat_file("/out/_manifest.json"))
    lost = values["shards"].pop()  # as if the run had been killed in the last shard
    bucket.pipe_file("/out/_manifest.json", json.dumps(values).encode())
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

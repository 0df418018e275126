"""A changed byte in a finished file of a run is an error, or its rows are measured again: it never becomes a number.

The results of a shard that is not finished have no digest (docs/how-to/bulk.md).
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from semantic_entropy.bulk import one_file
from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.io.readers.parquet_folder import ParquetFolderReader
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.bulk.bulk_runs import estimate, rows, write
from tests.semantic_entropy.bulk.test_earlier_results import fresh, measure, results

pytest.importorskip("pyarrow", reason="the extra bulk is not installed")

GIVEN = [*rows(150), "no JSON", *rows(150)]


def flipped(content, draw, start=0):
    """The content with one bit changed, at a random place after `start`."""
    changed = bytearray(content)
    changed[draw.randrange(start, len(changed))] ^= 1 << draw.randrange(8)
    return changed


def footer(content):
    """Where the footer of a Parquet file begins; 0: it is another file."""
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little") if content[:4] == b"PAR1" else 0


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_changed_byte_of_shards_is_an_error_or_is_measured_again(suffix, monkeypatch, capsys, tmp_path):
    source, kept = write(tmp_path / "in.jsonl", GIVEN), tmp_path / "kept"
    out = kept / f"out.{suffix}"
    kept.mkdir()
    measure(source, out, monkeypatch, stop=2)
    whole, report = fresh(source, out), (kept / f"fresh-out.{suffix}.bad.jsonl").read_bytes()
    draw, found = random.Random(0), set()
    for file in [path for path in (kept / f".out.{suffix}.shards").rglob("*") if path.is_file()] * 4:
        work = tmp_path / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(kept, work)
        content = file.read_bytes()
        (work / file.relative_to(kept)).write_bytes(flipped(content, draw, footer(content)))
        capsys.readouterr()
        try:
            measure(source, work / out.name)
        except InputError as error:
            found.add("refused" if "_manifest.json cannot be read" in str(error) else str(error))
        else:
            assert (work / out.name).read_bytes() == whole
            assert (work / f"{out.name}.bad.jsonl").read_bytes() == report
            found.add("again" if "again" in capsys.readouterr().err else "harmless")
    assert {"refused", "again"} <= found <= {"refused", "again", "harmless"}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_byte_that_changes_before_the_shards_become_the_file_is_an_error(suffix, monkeypatch, tmp_path):
    source, out = write(tmp_path / "in.jsonl", GIVEN), tmp_path / f"out.{suffix}"
    join = one_file.OneFile.join

    def damaged(self, *arguments):
        shard = self.folder / f"part-00000-000001.{suffix}"
        shard.write_bytes(flipped(shard.read_bytes(), random.Random(0)))
        join(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(one_file.OneFile, "join", damaged)
        with pytest.raises(
            SemanticEntropyError, match=rf"part-00000-000001\.{suffix} was changed after it was written"
        ):
            measure(source, out)
    assert not out.exists()
    assert 0 < measure(source, out).rows < 300
    assert results(out) == fresh(source, out)


def test_a_changed_byte_of_a_folder_is_an_error_that_the_next_run_mends(tmp_path):
    source, out = write(tmp_path / "in.jsonl", GIVEN), f"{tmp_path}/out/"
    measure(source, out)
    whole, draw = results(out), random.Random(0)

    def read():
        reader = ParquetFolderReader(out, FieldNames(), has_sampler=False, check=None)
        return sum(1 for _ in reader.rows())

    assert read() == 300
    for name, content in [*whole.items()] * 10:  # about 4 of 100 changed bytes of a footer change a value
        file = Path(out, name)
        file.write_bytes(flipped(content, draw, footer(content)))
        with pytest.raises(InputError, match=rf"{name}"):
            read()
        file.write_bytes(content)
    file.write_bytes(flipped(content, draw))
    explained = estimate(source, "-o", out, "-e", "text", "--quiet")
    assert f"{out.rstrip('/')}/{name} is damaged: it was changed after it was written" in explained.stderr
    assert results(out) == whole


def test_a_record_of_a_shard_that_is_retried_is_newer_than_the_manifest(tmp_path):
    source, out = write(tmp_path / "in.jsonl", GIVEN), tmp_path / "out"
    measure(source, f"{out}/")
    record = b'{"name": "part-00000-000000", "digest": "of another file"}'
    (out / "_shards").mkdir(exist_ok=True)
    (out / "_shards" / "part-00000-000000.json").write_bytes(record)
    reader = ParquetFolderReader(str(out), FieldNames(), has_sampler=False, check=None)
    with pytest.raises(InputError, match="part-00000-000000.parquet was changed after the run wrote it"):
        next(reader.rows())


def test_a_run_that_ends_while_its_folder_is_read_is_no_error(tmp_path):
    """Its records are removed when the manifest has them: a link without a target is listed, and cannot be read."""
    source, out = write(tmp_path / "in.jsonl", GIVEN), tmp_path / "out"
    measure(source, f"{out}/")
    (out / "_shards").mkdir(exist_ok=True)
    (out / "_shards" / "part-00000-000000.json").symlink_to(tmp_path / "removed")
    reader = ParquetFolderReader(str(out), FieldNames(), has_sampler=False, check=None)
    assert sum(1 for _ in reader.rows()) == 300

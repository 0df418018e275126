"""The reader of a folder of Parquet files, such as the output of a run with a folder (`bulk`): one file after another.

The rows have numbers that go on from file to file. Files whose names begin with `_` or `.` are not read. A line on
standard error says if the run that writes the folder is not finished. If it is finished, the files must be those that
its manifest lists, with their sizes: a copy, a lost file or another file would change every number. A file is read if
it has the digest in the manifest: the pages of a Parquet file have checksums, and its footer has none.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from semantic_entropy.errors import InputError
from semantic_entropy.files import digest_of, unsealed
from semantic_entropy.io.rows import InputRow, RowCheck, RowReader
from semantic_entropy.plain_text import plural
from semantic_entropy.tables import FieldNames

MANIFEST = "_manifest.json"
"""The file in the folder of a run that says which of its shards are finished."""
RECORDS = "_shards"
"""The folder in it with the records of shards that the manifest does not have yet."""
SHARD_FILE = re.compile(r"part-\d+-\d+\.parquet")
_REPAIR = "Remove {}, and run the same `estimate` command again: it measures these rows again"
_SHOWN = 3  # problems in a message


def unfinished_shards(name: str) -> str:
    """Return why a folder does not have all rows of its run; empty: it has them, or is no folder of a run.

    Raises:
        InputError: the manifest of the run cannot be read, or the files are not those of the run.
    """
    path = Path(name) / MANIFEST
    if not path.is_file():
        return ""
    try:
        values = unsealed(path.read_bytes())
        is_finished = bool(values.get("finished", not values.get("removing")))
        planned = values.get("planned_shards")
        listed = {each["file"]: each.get("size", 0) for each in values.get("shards", ())}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}): run `estimate` again with the same options") from error
    if "semantic_entropy_bulk" in values:
        _check_files(name, listed, is_finished=is_finished)
    if is_finished:
        return ""
    there = len(_files(name))
    of_all = f"{there:,} of {plural(planned, 'shard')}" if isinstance(planned, int) else plural(there, "shard")
    return f"{name} has {of_all}, because its run is not finished: run the same `estimate` command again to finish it"


def _check_files(name: str, listed: dict[str, int], *, is_finished: bool) -> None:
    """Raise InputError if a folder has other files than its manifest lists, as {name: bytes; 0: not known}.

    The manifest of a run that is not finished does not list all files: then their names must be those of shards.
    """
    sizes = {each.name: each.stat().st_size for each in _files(name)}
    problems = [
        f"{file} is not a file of this run: move it to another folder"
        for file in sizes
        if file not in listed and (is_finished or not SHARD_FILE.fullmatch(file))
    ]
    if is_finished:
        problems += [f"{file} is missing" for file in listed if file not in sizes]
        problems += [
            f"{file} has {sizes[file]:,} bytes, and the run wrote {size:,}"
            for file, size in listed.items()
            if size and sizes.get(file, size) != size
        ]
    if problems:
        more = f" (and {plural(len(problems) - _SHOWN, 'other problem')})" if len(problems) > _SHOWN else ""
        raise InputError(
            f"{name} is not as its run left it: {'; '.join(problems[:_SHOWN])}{more}. Then run the same `estimate` "
            "command again: it measures the rows of missing and changed files again"
        )


def _digests(name: str) -> dict[str, str]:
    """Return the digests of the files in the folder of a run by their names without suffix, as far as it has them."""
    records = []  # of a run that is not finished: these are newer than the manifest
    for each in (Path(name) / RECORDS).glob("part-*[0-9].json"):
        # A damaged record: the next run says so, and counts its shard again. If a record is gone, the run has just
        # ended, and the manifest, which is read next, has it.
        with contextlib.suppress(ValueError, FileNotFoundError):
            records.append(unsealed(each.read_bytes()))
    path = Path(name) / MANIFEST
    shards = unsealed(path.read_bytes()).get("shards", ()) if path.is_file() else ()
    return {each["name"]: each["digest"] for each in (*shards, *records) if each.get("digest")}


def _files(name: str) -> list[Path]:
    return sorted(each for each in Path(name).glob("*.parquet") if not each.name.startswith(("_", ".")))


class ParquetFolderReader(RowReader):
    """Reads the Parquet files of a folder in the order of their names.

    Raises:
        InputError: the folder has no Parquet file.
    """

    unit = "row"
    number_key = "row_number"

    def __init__(self, name: str, names: FieldNames, *, has_sampler: bool, check: RowCheck | None) -> None:
        from semantic_entropy.io.parquet import ParquetReader  # needs pyarrow

        super().__init__(name, names)
        files = _files(name)
        if not files:
            raise InputError(f"{name} is a folder without Parquet files: name a file, or the folder of a run")
        if missing := unfinished_shards(name):
            sys.stderr.write(f"warning: {missing}\n")
        self.readers = [
            ParquetReader(str(each), names, all_columns=True, has_sampler=has_sampler, check=check) for each in files
        ]

    def rows(self) -> Generator[InputRow, None, None]:
        before, digests = 0, _digests(self.name)
        for reader in self.readers:
            path = Path(reader.name)
            if digests.get(path.stem) not in (None, digest_of(path)):
                raise InputError(
                    f"{reader.name} was changed after the run wrote it. If a run works in this folder now, wait until "
                    f"it ends. {_REPAIR.format(reader.name)}"
                )
            try:
                for row in reader.rows():
                    yield replace(row, number=before + row.number)
            except InputError as error:
                if not (Path(self.name) / MANIFEST).is_file():
                    raise
                raise InputError(f"{error}. {_REPAIR.format(reader.name)}") from error
            before += reader.total()

    def total(self) -> int:
        return sum(reader.total() for reader in self.readers)

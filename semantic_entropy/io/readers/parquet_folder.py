"""The reader of a folder of Parquet files, such as the output of a run with a folder (`bulk`): one file after another.

The rows have numbers that go on from file to file. Files whose names begin with `_` or `.` are not read. A line on
standard error says if the run that writes the folder is not finished.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from semantic_entropy.errors import InputError
from semantic_entropy.io.rows import InputRow, RowCheck, RowReader
from semantic_entropy.plain_text import plural
from semantic_entropy.tables import FieldNames

MANIFEST = "_manifest.json"
"""The file in the folder of a run that says which of its shards are finished."""


def unfinished_shards(name: str) -> str:
    """Return why a folder does not have all rows of its run; empty: it has them, or is no folder of a run.

    Raises:
        InputError: the manifest of the run cannot be read.
    """
    path = Path(name) / MANIFEST
    if not path.is_file():
        return ""
    try:
        values = json.loads(path.read_bytes())
        if values.get("finished", True):
            return ""
        planned = values.get("planned_shards")
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}): run `estimate` again with the same options") from error
    there = len(_files(name))
    of_all = f"{there:,} of {plural(planned, 'shard')}" if isinstance(planned, int) else plural(there, "shard")
    return f"{name} has {of_all}, because its run is not finished: run the same `estimate` command again to finish it"


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
        before = 0
        for reader in self.readers:
            for row in reader.rows():
                yield replace(row, number=before + row.number)
            before += reader.total()

    def total(self) -> int:
        return sum(reader.total() for reader in self.readers)

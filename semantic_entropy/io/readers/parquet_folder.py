"""The reader of a folder of Parquet files, such as the output of a run with a folder (`bulk`): one file after another.

The rows have numbers that go on from file to file. Files whose names begin with `_` or `.` are not read.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from semantic_entropy.errors import InputError
from semantic_entropy.io.parquet import ParquetReader
from semantic_entropy.io.rows import InputRow, RowCheck, RowReader
from semantic_entropy.tables import FieldNames


class ParquetFolderReader(RowReader):
    """Reads the Parquet files of a folder in the order of their names.

    Raises:
        InputError: the folder has no Parquet file.
    """

    unit = "row"
    number_key = "row_number"

    def __init__(self, name: str, names: FieldNames, *, has_sampler: bool, check: RowCheck | None) -> None:
        super().__init__(name, names)
        files = sorted(each for each in Path(name).glob("*.parquet") if not each.name.startswith(("_", ".")))
        if not files:
            raise InputError(f"{name} is a folder without Parquet files: name a file, or the folder of a run")
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

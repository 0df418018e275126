"""Select the reader and the writer of a file: Parquet for the suffixes .parquet and .pq, else JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semantic_entropy.errors import InputError
from semantic_entropy.io.jsonl import JsonlReader, JsonlWriter
from semantic_entropy.io.rows import ResultWriter, RowReader

_PARQUET_SUFFIXES = (".parquet", ".pq")


def is_parquet(name: str | None) -> bool:
    """Whether the name has the suffix of a Parquet file."""
    return name is not None and Path(name).suffix.lower() in _PARQUET_SUFFIXES


def open_reader(name: str, field: str, *, copies_cells: bool = False, has_sampler: bool = False) -> RowReader:
    """Return the reader for a file, or for standard input ("-").

    Args:
        name: the path of the file.
        field: the name of the field that holds the responses.
        copies_cells: True if the writer copies the cells of a Parquet input. Then the reader converts only the columns
            that are measured.
        has_sampler: True if rows may have a question and no responses.

    Raises:
        InputError: the file does not exist, or does not have the format of its suffix.
        MissingDependencyError: the file is a Parquet file, and pyarrow is not installed.
    """
    if name != "-" and (not Path(name).exists() or Path(name).is_dir()):
        raise InputError(f"{name}: no such file")
    if not is_parquet(name):
        return JsonlReader(name, field)
    from semantic_entropy.io.parquet import ParquetReader

    return ParquetReader(name, field, all_columns=not copies_cells, has_sampler=has_sampler)


def open_writer(name: str | None, reader: RowReader) -> ResultWriter:
    """Return the writer for a file, or for standard output (None or "-"). Raises the errors of `open_reader`."""
    if name is None or name == "-":
        return JsonlWriter(None)
    if reader.name != "-" and Path(name).resolve() == Path(reader.name).resolve():
        raise InputError(f"{name} is both input and output: choose another output")
    if not is_parquet(name):
        return JsonlWriter(Path(name))
    from semantic_entropy.io.parquet import ParquetReader, ParquetWriter
    from semantic_entropy.io.parquet_columns import CopiedColumns, JsonColumns

    if isinstance(reader, ParquetReader) and not reader.all_columns:
        return ParquetWriter(Path(name), CopiedColumns(reader.schema))
    return ParquetWriter(Path(name), JsonColumns())


def find_row(name: str, row_id: str | None) -> dict[str, Any]:
    """Return the fields of the row with this id; None: the fields of the first row.

    Raises:
        InputError: the file has no such row, or the row cannot be measured.
    """
    reader = open_reader(name, "responses")
    for row in reader.rows():
        if row.problem and row_id is None:
            raise InputError(f"{name}, {reader.unit} {row.number}: {row.problem}")
        if row.fields and not row.problem and (row_id is None or str(row.fields.get("id")) == row_id):
            return row.fields
    raise InputError(f"{name} has no usable row" + (f" with id {row_id!r}" if row_id is not None else ""))

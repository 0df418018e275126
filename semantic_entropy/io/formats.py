"""Select the reader and the writer of a file by its suffix, and find one row of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semantic_entropy.errors import InputError
from semantic_entropy.io.fingerprints import RunChoices
from semantic_entropy.io.jsonl import JsonlReader, JsonlWriter, StreamWriter
from semantic_entropy.io.rows import ResultWriter, RowReader
from semantic_entropy.tables import FieldNames
from semantic_entropy.types import Group

_PARQUET_SUFFIXES = (".parquet", ".pq")
_LINE_SUFFIXES = (".jsonl", ".ndjson", "")


def is_parquet(name: str | None) -> bool:
    """Whether the name has the suffix of a Parquet file."""
    return name is not None and Path(name).suffix.lower() in _PARQUET_SUFFIXES


def open_reader(name: str, names: FieldNames, *, copies_cells: bool = False, has_sampler: bool = False) -> RowReader:
    """Return the reader for a file, or for standard input ("-").

    Args:
        name: the path of the file.
        names: the names of the fields that are measured.
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
        return JsonlReader(name, names)
    from semantic_entropy.io.parquet import ParquetReader

    return ParquetReader(name, names, all_columns=not copies_cells, has_sampler=has_sampler)


def is_stream(output: str | None) -> bool:
    """Whether the output is standard output, a pipe or a device: a run writes to it, and cannot continue it."""
    return output is None or output == "-" or (Path(output).exists() and not Path(output).is_file())


def open_writer(output: str | None, reader: RowReader, runs: Sequence[RunChoices]) -> ResultWriter:
    """Return the writer for a file, or for standard output (None or "-").

    Args:
        output: the path of the file. If it is a symbolic link, the writer writes its target.
        reader: the reader of the input.
        runs: the choices that the results of this run have.

    Raises:
        InputError: the suffix of the file is that of another format.
        MissingDependencyError: the file is a Parquet file, and pyarrow is not installed.
    """
    if output is None or is_stream(output):
        return StreamWriter(None if output in (None, "-") else Path(str(output)), runs)
    path = Path(output).resolve()
    if not is_parquet(output):
        if (suffix := Path(output).suffix.lower()) not in _LINE_SUFFIXES:
            raise InputError(
                f"{output}: results cannot be written as {suffix}. The suffix decides the format: .jsonl or .ndjson "
                "for JSON lines, .parquet or .pq for Parquet"
            )
        return JsonlWriter(path, output, reader.names, runs)
    from semantic_entropy.io.parquet import ParquetReader, ParquetWriter
    from semantic_entropy.io.parquet_columns import CopiedColumns, JsonColumns

    if isinstance(reader, ParquetReader) and not reader.all_columns:
        return ParquetWriter(path, output, runs, CopiedColumns(reader))
    return ParquetWriter(path, output, runs, JsonColumns(reader.names, path.parent))


def find_row(name: str, row_id: str | None, names: FieldNames) -> Group:
    """Return the responses, question and log-probabilities of the row with this id; None: those of the first row.

    Raises:
        InputError: the file has no such row, or the row cannot be measured.
    """
    reader = open_reader(name, names)
    for row in reader.rows():
        if row.problem and row_id is None:
            raise InputError(f"{name}, {reader.unit} {row.number}: {row.problem}")
        if row_id is not None and str((row.fields or {}).get(names.id)) != row_id:
            continue
        if row.group is None:
            raise InputError(f"{name}, {reader.unit} {row.number}: {row.problem}")
        return row.group
    raise InputError(f"{name} has no row" + (f" with {names.id} {row_id!r}" if row_id is not None else ""))

"""The reader and the writer of Parquet files. They need pyarrow (extra `parquet`).

Each row has a reference to its record batch, so the writer can copy the columns of the input with their types. Only the
fields that are measured are converted to Python values.

A Parquet file cannot be appended to, so the writer writes parts until all rows are measured:

    OUT.parquet.parts/000000000000.parquet    the results of a chunk; the name is the number of results before the chunk
    OUT.parquet.parts/000000000256.parquet    ...
    OUT.parquet                               all results, merged at the end; then the folder is removed

Each file is written with a temporary name, synced and renamed: after a kill, the file is complete or does not exist. If
both OUT.parquet and the folder exist, the run was killed before it removed the folder, and OUT.parquet is used. The
footer of each file has a note under the key `semantic_entropy`. The note has the digests of the first and the last row
and the settings; the next run compares them with its own.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.files import replacement
from semantic_entropy.io.parquet_columns import InputColumns
from semantic_entropy.io.rows import (
    FIXED_SAMPLING,
    FIXED_SETTINGS,
    ExistingOutput,
    InputRow,
    MeasuredRow,
    ResultWriter,
    RowReader,
    check_row,
)
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables import FieldNames, free_name, open_keys, result_columns, result_from_fields, result_shape
from semantic_entropy.tables.arrow import arrow_type, pa, pq, to_array

_NOTE_KEY = b"semantic_entropy"
_BATCH = 256  # rows read at once
_ROW_GROUP = 8192  # rows in a row group of the merged file: small row groups are slow to read
_OPEN_COLUMNS = ("scores", "provenance")  # result columns with mappings that may have different keys in each part


class ParquetReader(RowReader):
    """Reads a Parquet file in batches. At most one row group of the file is in memory.

    Args:
        name: the path of the file.
        names: the names of the columns that are measured.
        all_columns: True: `InputRow.fields` has all columns; False: `InputRow.fields` has only the measured columns.
        has_sampler: True if the file may have a column of questions and no column of responses.
    """

    unit = "row"
    number_key = "row_number"

    def __init__(self, name: str, names: FieldNames, *, all_columns: bool, has_sampler: bool = False) -> None:
        super().__init__(name, names)
        self.all_columns = all_columns
        try:
            with pq.ParquetFile(name) as file:
                self.schema: Any = file.schema_arrow
                self._total: int = file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{name}: not a Parquet file: {error}") from error
        columns = self.schema.names
        questions = names.question_fields(columns)
        if missing := [column for column in questions if column not in columns]:
            raise InputError(f"{name}: no column {missing[0]!r} for --question; it has {', '.join(columns) or 'none'}")
        if names.responses not in columns and not (has_sampler and questions):
            hint = "; or pass --sampler NAME to send the questions to a model" if questions else ""
            raise InputError(
                f"{name}: no column {names.responses!r}; it has {', '.join(columns) or 'none'}. Name the column of the "
                f"responses with --responses{hint}"
            )
        if repeated := [column for column in columns if columns.count(column) > 1]:
            raise InputError(f"{name}: several columns are named {repeated[0]!r}: rename them")
        self._measured = tuple(c for c in (names.responses, *questions, names.logprobs) if c in columns)

    def rows(self) -> Generator[InputRow, None, None]:
        columns, number = self.schema.names if self.all_columns else list(self._measured), 0
        try:
            with pq.ParquetFile(self.name) as file:
                for batch in file.iter_batches(batch_size=_BATCH):
                    for index, fields in enumerate(batch.select(columns).to_pylist()):
                        number += 1
                        group, problem = check_row(fields, self.names)
                        text = json.dumps(fields, default=str) if problem else ""
                        cells = (batch, index)
                        yield InputRow(number, text, fields, group, problem, cells, identity=self._measured)
        except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: no Python type for a value
            raise InputError(f"{self.name}: cannot be read after row {number}: {error}") from error

    def total(self) -> int:
        return self._total


@dataclass(frozen=True, slots=True)
class _Note(ExistingOutput):
    """The note in the footer of an output file. The field names are part of the file format.

    Attributes:
        written: the number of results.
        first: the digest of the first row.
        last: the digest of the last row.
        provenance: the `FIXED_SETTINGS` values of the last result.
        keys: the keys of the open mappings.
        drawn: the `FIXED_SAMPLING` values of the last result with a sampler; empty if there is none.
    """

    written: int
    first: str
    last: str
    provenance: dict[str, Any]
    keys: dict[str, list[str]]
    drawn: dict[str, Any] = field(default_factory=dict)

    def comes_from(self, first: InputRow, last: InputRow) -> bool:
        return (self.first, self.last) == (_digest(first), _digest(last))

    def settings(self, last: InputRow) -> Mapping[str, Any]:
        return self.provenance

    @classmethod
    def of(cls, measured: Sequence[MeasuredRow], keys: dict[str, list[str]]) -> _Note:
        """Return the note for a part with these rows."""
        rows, provenances = [row for row, _ in measured], [result.provenance for _, result in measured]
        settings = {name: getattr(provenances[-1], name) for name in FIXED_SETTINGS}
        sampled = [{name: getattr(each, name) for name in FIXED_SAMPLING} for each in provenances if each.sampler]
        return cls(len(rows), _digest(rows[0]), _digest(rows[-1]), settings, keys, sampled[-1] if sampled else {})

    def __add__(self, later: _Note) -> _Note:
        keys = {name: list(dict.fromkeys([*own, *later.keys[name]])) for name, own in self.keys.items()}
        first = self.first if self.written else later.first
        drawn = later.drawn or self.drawn
        return _Note(self.written + later.written, first, later.last, later.provenance, keys, drawn)


_EMPTY_NOTE = _Note(0, "", "", {}, {"scores": [], "versions": []})


class ParquetWriter(ResultWriter):
    """Writes parts, and merges the parts into one file at the end."""

    def __init__(self, path: Path, columns: InputColumns) -> None:
        self.path, self.name, self.columns = path, str(path), columns
        self.folder = path.with_name(path.name + ".parts")
        self._written = 0

    def existing(self) -> ExistingOutput | None:
        if self.path.exists():
            return _read_note(self.path)
        return self._note_of_parts() if self.folder.exists() else None

    @property
    def is_final(self) -> bool:
        return self.path.exists()

    def read_back(self, rows: Iterable[InputRow]) -> Iterator[MeasuredRow]:
        names = list(_result_types(_read_note(self.path).keys))
        with pq.ParquetFile(self.path) as file:
            own = len(file.schema_arrow) - len(names)  # the columns of the result come last
            outputs = (output for batch in file.iter_batches(batch_size=_BATCH) for output in batch.to_pylist())
            for output, row in zip(outputs, rows, strict=False):
                result = dict(zip(names, list(output.values())[own:], strict=True))
                yield row.with_sampled_fields(dict(list(output.items())[:own])), result_from_fields(result)

    def __enter__(self) -> Self:
        if self.path.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            return self
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SemanticEntropyError(f"{self.folder}: cannot be made: {error.strerror}") from error
        for incomplete in self.folder.glob("*.tmp"):
            incomplete.unlink()
        self._written = self._note_of_parts().written
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing, because `write` closes each part."""

    def write(self, measured: Sequence[MeasuredRow]) -> None:
        if not measured:
            return
        if self.path.exists():
            raise InputError(
                f"{self.path} is finished, and the input has more rows. A Parquet file cannot be appended to: use "
                "--overwrite, or another output"
            )
        columns = result_columns(result for _, result in measured)
        keys = open_keys(columns)
        results = {name: to_array(columns[name], kind) for name, kind in _result_types(keys).items()}
        own = self.columns.to_part([row for row, _ in measured])
        metadata = _with_note(own.schema.metadata, _Note.of(measured, keys))
        table = _joined(own, results).replace_schema_metadata(metadata)
        with replacement(self.folder / f"{self._written:012}.parquet", self.folder) as temporary:
            pq.write_table(table, temporary)
        self._written += len(measured)

    def finish(self) -> None:
        if self.path.exists():
            return
        note = self._note_of_parts()
        with replacement(self.path, self.folder) as temporary:
            self._merge(note, temporary)
        shutil.rmtree(self.folder, ignore_errors=True)

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _note_of_parts(self) -> _Note:
        note = _EMPTY_NOTE
        for part in self._parts():
            if int(part.stem) != note.written:
                raise InputError(f"{self.folder}: a part before {part.name} is missing: use --overwrite")
            note += _read_note(part)
        return note

    def _parts(self) -> list[Path]:
        return sorted(part for part in self.folder.glob("*.parquet") if part.stem.isdigit())

    def _merge(self, note: _Note, target: Path) -> None:
        types = _result_types(note.keys)
        self.columns.find_types(lambda: (_split(part, types)[0] for part in self._parts()))
        own_schema = self.columns.schema
        empty = _joined(own_schema.empty_table(), {name: pa.array([], kind) for name, kind in types.items()})
        schema = empty.schema.with_metadata(_with_note(own_schema.metadata, note))
        with pq.ParquetWriter(target, schema) as writer:
            collected: list[Any] = []
            for part in self._parts():
                own, results = _split(part, types)
                collected.append(_joined(self.columns.from_part(own), results).cast(schema))
                if sum(map(len, collected)) >= _ROW_GROUP:
                    writer.write_table(pa.concat_tables(collected))
                    collected = []
            if collected:
                writer.write_table(pa.concat_tables(collected))


def _result_types(keys: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {name: arrow_type(shape) for name, shape in result_shape(keys).items()}


def _joined(own: Any, results: Mapping[str, Any]) -> Any:
    """Join the columns of the input and of the result. A result column gets a prefix if its name is taken."""
    taken = own.schema.names
    for name, column in results.items():
        own = own.append_column(free_name(name, taken), column)
    return own


def _split(path: Path, types: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the input columns and the result columns of a part. The result columns are converted to `types`."""
    with pq.ParquetFile(path) as file:  # read_table would add columns for folders with names like key=value
        part = file.read()
    own = len(part.schema) - len(types)
    results = dict(zip(types, part.columns[own:], strict=True))
    reopened = {name: to_array(results[name].to_pylist(), types[name]) for name in _OPEN_COLUMNS}
    return part.select(range(own)), results | reopened


def _digest(row: InputRow) -> str:
    """Return the SHA-256 of the row's identity fields and, for a Parquet input, of the schema."""
    schema = row.batch[0].schema.to_string(show_schema_metadata=False) if row.batch else ""
    own = {name: value for name, value in row.input_fields.items() if row.identity is None or name in row.identity}
    text = json.dumps([own, schema], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _with_note(metadata: Mapping[bytes, bytes] | None, note: _Note) -> dict[bytes, bytes]:
    return {**(metadata or {}), _NOTE_KEY: to_json_line(asdict(note)).encode()}


def _read_note(path: Path) -> _Note:
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a Parquet file ({error}): remove it, or use --overwrite") from error
    try:
        return _Note(**json.loads(metadata[_NOTE_KEY]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is a Parquet file that this command did not write: choose another output, or --overwrite"
        ) from error

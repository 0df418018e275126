"""Parquet as a sink. A Parquet file cannot be appended to, so what is done lies in parts until all is.

    OUT.parquet.parts/000000000000.parquet    the results of a chunk; the number is that of the results before it
    OUT.parquet.parts/000000000256.parquet    ...
    OUT.parquet                               all of them, merged at the end; then the folder goes

Each file is written under another name, synced and renamed: a kill leaves it whole or not at all. A kill between the
last rename and the removal of the parts leaves both, and the finished file counts. Its footer holds, under the key
`semantic_entropy`, what resumption asks for: digests of the first and the last row, and the settings.

A part of a Parquet input has the input's own columns as they are. A part of JSON lines has the row as its text, in the
column `row`: which type each field has is known only at the end (`json_columns`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.files import replacement
from semantic_entropy.io.parquet_reader import OwnColumns, read_metadata
from semantic_entropy.io.rows import DRAWN, SETTINGS, Before, Measured, Row, Sink
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables import free_name, open_keys, result_columns, result_from_fields, result_shape
from semantic_entropy.tables.arrow import arrow_type, pa, pq, to_array

_NOTE = b"semantic_entropy"
_ROW_GROUP = 8192  # rows gathered before they are written to the merged file: small groups read slowly


@dataclass(frozen=True, slots=True)
class _Note(Before):
    """What a file's footer says of its rows. first, last: digests of rows; keys: of the results' open mappings."""

    written: int
    first: str
    last: str
    provenance: dict[str, Any]
    keys: dict[str, list[str]]
    drawn: dict[str, Any] = field(default_factory=dict)

    def holds(self, first: Row, last: Row) -> bool:
        return (self.first, self.last) == (_digest(first), _digest(last))

    def settings(self, last: Row) -> Mapping[str, Any]:
        return self.provenance

    @classmethod
    def of(cls, measured: Sequence[Measured], keys: dict[str, list[str]]) -> _Note:
        """Of these rows and their results."""
        rows, said = [row for row, _ in measured], [result.provenance for _, result in measured]
        settings = {name: getattr(said[-1], name) for name in SETTINGS}
        drawn = [{name: getattr(how, name) for name in DRAWN} for how in said if how.sampler]
        return cls(len(rows), _digest(rows[0]), _digest(rows[-1]), settings, keys, drawn[-1] if drawn else {})

    def __add__(self, later: _Note) -> _Note:
        keys = {name: list(dict.fromkeys([*own, *later.keys[name]])) for name, own in self.keys.items()}
        first = self.first if self.written else later.first
        drawn = later.drawn or self.drawn
        return _Note(self.written + later.written, first, later.last, later.provenance, keys, drawn)


_NOTHING = _Note(0, "", "", {}, {"scores": [], "versions": []})


class ParquetSink(Sink):
    """A Parquet file by way of parts."""

    def __init__(self, path: Path, own: OwnColumns) -> None:
        self.path, self.name, self.own = path, str(path), own
        self.folder = path.with_name(path.name + ".parts")
        self._written = 0

    def before(self) -> Before | None:
        if self.path.exists():
            return _read_note(self.path)
        return self._note() if self.folder.exists() else None

    @property
    def is_final(self) -> bool:
        return self.path.exists()

    def held(self, rows: Iterable[Row]) -> Iterator[Measured]:
        names = list(_types(_read_note(self.path).keys))
        with pq.ParquetFile(self.path) as file:
            at = len(file.schema_arrow) - len(names)
            written = (one for batch in file.iter_batches(batch_size=256) for one in batch.to_pylist())
            for fields, row in zip(written, rows, strict=False):
                results = dict(zip(names, list(fields.values())[at:], strict=True))
                yield row.with_filled(dict(list(fields.items())[:at])), result_from_fields(results)

    def __enter__(self) -> Self:
        if self.path.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            return self
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SemanticEntropyError(f"{self.folder}: cannot be made: {error.strerror}") from error
        for half_written in self.folder.glob("*.tmp"):
            half_written.unlink()
        self._written = self._note().written
        return self

    def __exit__(self, *_: object) -> None:
        """Every part is closed when it is written."""

    def write(self, measured: Sequence[Measured]) -> None:
        if not measured:
            return
        if self.path.exists():
            raise InputError(
                f"{self.path} is finished, and the input has further rows: a Parquet file cannot be added to; use "
                "--overwrite, or another output"
            )
        rows = [row for row, _ in measured]
        values = result_columns(result for _, result in measured)
        keys = open_keys(values)
        results = {name: to_array(values[name], kind) for name, kind in _types(keys).items()}
        own = self.own.put(rows)
        table = _joined(own, results).replace_schema_metadata(_noted(own.schema.metadata, _Note.of(measured, keys)))
        with replacement(self.folder / f"{self._written:012}.parquet", self.folder) as temporary:
            pq.write_table(table, temporary)
        self._written += len(rows)

    def finish(self) -> None:
        if self.path.exists():
            return
        note = self._note()
        with replacement(self.path, self.folder) as temporary:
            self._merge(note, temporary)
        shutil.rmtree(self.folder, ignore_errors=True)

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _note(self) -> _Note:
        """All parts together, which follow one another."""
        note = _NOTHING
        for part in self._parts():
            if int(part.stem) != note.written:
                raise InputError(f"{self.folder}: a part before {part.name} is missing: use --overwrite")
            note += _read_note(part)
        return note

    def _parts(self) -> list[Path]:
        return sorted(part for part in self.folder.glob("*.parquet") if part.stem.isdigit())

    def _merge(self, note: _Note, target: Path) -> None:
        types = _types(note.keys)
        self.own.settle(lambda: (_split(part, types)[0] for part in self._parts()))
        empty = _joined(self.own.schema.empty_table(), {name: pa.array([], kind) for name, kind in types.items()})
        schema = empty.schema.with_metadata(_noted(self.own.schema.metadata, note))
        with pq.ParquetWriter(target, schema) as writer:
            waiting: list[Any] = []
            for part in self._parts():
                own, results = _split(part, types)
                waiting.append(_joined(self.own.take(own), results).cast(schema))
                if sum(map(len, waiting)) >= _ROW_GROUP:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting = []
            if waiting:
                writer.write_table(pa.concat_tables(waiting))


_OPEN = ("scores", "provenance")  # whose mappings may have other keys in another part


def _types(keys: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {name: arrow_type(shape) for name, shape in result_shape(keys).items()}


def _joined(own: Any, results: Mapping[str, Any]) -> Any:
    """A table with these columns added, each under a name that is free."""
    taken = own.schema.names
    for name, column in results.items():
        own = own.append_column(free_name(name, taken), column)
    return own


def _split(path: Path, types: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What was put into a part, and the results, which come last, with the keys of all parts."""
    with pq.ParquetFile(path) as file:  # read_table would make columns of folders that are named key=value
        part = file.read()
    own = len(part.schema) - len(types)
    results = dict(zip(types, part.columns[own:], strict=True))
    return part.select(range(own)), results | {name: to_array(results[name].to_pylist(), types[name]) for name in _OPEN}


def _digest(row: Row) -> str:
    """What tells a row from another, short."""
    schema = row.cells[0].schema.to_string(show_schema_metadata=False) if row.cells else ""
    own = {name: value for name, value in row.own.items() if row.told is None or name in row.told}
    text = json.dumps([own, schema], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _noted(metadata: Mapping[bytes, bytes] | None, note: _Note) -> dict[bytes, bytes]:
    return {**(metadata or {}), _NOTE: to_json_line(asdict(note)).encode()}


def _read_note(path: Path) -> _Note:
    metadata = read_metadata(path).metadata or {}
    try:
        return _Note(**json.loads(metadata[_NOTE]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is a Parquet file that this command did not write: choose another output, or --overwrite"
        ) from error

"""Records (a column's name -> its value) from a JSONL or Parquet file or a hub dataset, each with where it stands.

`open_records` reads one at a time, so that a source may be larger than memory; `jsonl_records` and `hub_records` are
lists of the same. Whoever reads says by which key or option the source and its columns were chosen, so that an error
can name it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semantic_entropy import InputError, MissingDependencyError, nearest

Record = tuple[str, Mapping[str, Any]]
"""(where it stands, its columns)."""

_FILES = (".jsonl", ".json", ".ndjson", ".parquet")


@dataclass
class RecordStream:
    """Records of one source, read once. `done` of `total` says how far: rows, or bytes of a JSONL file."""

    name: str
    total: int
    read: Callable[[RecordStream], Iterator[Record]] = field(repr=False)
    done: int = 0

    def __iter__(self) -> Iterator[Record]:
        return self.read(self)


def open_records(
    source: str,
    *,
    subset: str | None = None,
    split: str = "train",
    columns: Collection[str] = (),
    key: str = "data.path",
) -> RecordStream:
    """A local file (.jsonl, .parquet), or a hub dataset.

    Args:
        source: its path, or its hub name.
        subset: of a hub dataset.
        split: of a hub dataset.
        columns: where the source has all of these, no other is read; none means every column.
        key: what the source was given as, for errors.

    Raises:
        InputError: there is no such file or data set.
    """
    path = Path(source)
    if path.is_file():
        return _parquet(path, columns, key) if path.suffix.lower() == ".parquet" else _jsonl(path, key)
    if is_file_name(source):
        raise InputError(f"{key}: {source} is no file.")
    return _hub(source, subset, split, columns, key)


def is_local(source: str) -> bool:
    """Whether `open_records` reads this without a hub: a file that is there, or a name that only a file can have."""
    return Path(source).is_file() or is_file_name(source)


def is_file_name(source: str) -> bool:
    """Whether this can only mean a local file, be it there or not."""
    return Path(source).suffix.lower() in _FILES or source.startswith((".", "/", "~"))


def hub_records(dataset: str, subset: str | None, split: str, key: str = "data.dataset") -> list[Record]:
    """(where it stands, its columns) for each row of a hub dataset."""
    return list(_hub(dataset, subset, split, (), key))


def jsonl_records(path: Path, key: str = "data.path") -> list[Record]:
    """(file:line, its columns) for each line; empty lines count and hold nothing."""
    return list(_jsonl(path, key))


def column_value(record: Mapping[str, Any], column: str, place: str, key: str) -> Any:
    """What a record holds there. `key` is what chose the column."""
    if column not in record:
        raise InputError(
            f"{place}: no column {column!r} ({key}).{nearest(column, list(record))} Columns: {', '.join(record)}."
        )
    return record[column]


def column_text(record: Mapping[str, Any], column: str, role: str, place: str, key: str | None = None) -> str:
    """What a record holds there, which must be some text or a number. `key` is `data.columns.ROLE` unless given."""
    key = key or f"data.columns.{role}"
    value = column_value(record, column, place, key)
    if not isinstance(value, str | int | float) or not str(value).strip():
        raise InputError(f"{place}: column {column!r} ({key}) holds {value!r}, which is no text.")
    return str(value)


def _jsonl(path: Path, key: str) -> RecordStream:
    if not path.is_file():
        raise InputError(f"{key}: {path} is no file.")

    def read(stream: RecordStream) -> Iterator[Record]:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                stream.done += len(line)
                if line.strip():
                    place = f"{path}:{number}"
                    yield place, _object(line, place)

    return RecordStream(str(path), path.stat().st_size, read)


def _object(line: bytes, place: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not JSON: {error.msg} at column {error.colno}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: not UTF-8: {error.reason} at byte {error.start}.") from error
    if not isinstance(record, dict):
        raise InputError(f"{place}: expected an object with columns, found {type(record).__name__}.")
    return record


def _parquet(path: Path, columns: Collection[str], key: str) -> RecordStream:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"{key}: {path} is a Parquet file, which needs pyarrow: pip install 'semantic-entropy[parquet]'"
        ) from error
    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{key}: {path} is no Parquet file that can be read: {error}") from error

    def read(stream: RecordStream) -> Iterator[Record]:
        for batch in file.iter_batches(batch_size=1000, columns=_wanted(columns, file.schema_arrow.names)):
            for record in batch.to_pylist():
                place = f"{path}[{stream.done}]"
                stream.done += 1
                yield place, record

    return RecordStream(str(path), file.metadata.num_rows, read)


def _hub(dataset: str, subset: str | None, split: str, columns: Collection[str], key: str) -> RecordStream:
    import datasets

    try:
        loaded = datasets.load_dataset(dataset, subset, split=split)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{key}: {dataset!r} (subset {subset!r}, split {split!r}) could not be loaded: {error}"
        ) from error
    wanted = _wanted(columns, loaded.column_names)
    rows: Iterable[Mapping[str, Any]] = loaded if wanted is None else loaded.select_columns(wanted)

    def read(stream: RecordStream) -> Iterator[Record]:
        for index, record in enumerate(rows):
            stream.done = index + 1
            yield f"{dataset}[{index}]", record

    return RecordStream(dataset, len(loaded), read)


def _wanted(columns: Collection[str], there: Sequence[str]) -> list[str] | None:
    """All columns where one is missing: the error that follows shall list those that exist."""
    return sorted(columns) if columns and set(columns) <= set(there) else None

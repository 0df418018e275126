"""Records (a column's name -> its value) from a JSONL file or a hub dataset, each with the place it stands at.

Whoever reads a column says which role it plays, so that an error can name the key that chose it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from semantic_entropy import InputError


def hub_records(dataset: str, subset: str | None, split: str) -> list[tuple[str, Mapping[str, Any]]]:
    """(where it stands, its columns) for each row of a hub dataset."""
    import datasets

    try:
        loaded: Iterable[Mapping[str, Any]] = datasets.load_dataset(dataset, subset, split=split)
    except (OSError, ValueError) as error:
        raise InputError(
            f"data.dataset: {dataset!r} (subset {subset!r}, split {split!r}) could not be loaded: {error}"
        ) from error
    return [(f"{dataset}[{index}]", record) for index, record in enumerate(loaded)]


def jsonl_records(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """(file:line, its columns) for each line; empty lines count and hold nothing."""
    if not path.is_file():
        raise InputError(f"data.path: {path} is no file.")
    records: list[tuple[str, Mapping[str, Any]]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}.") from error
        if not isinstance(record, dict):
            raise InputError(f"{path}:{number}: expected an object with columns, found {type(record).__name__}.")
        records.append((f"{path}:{number}", record))
    return records


def column_text(record: Mapping[str, Any], column: str, role: str, place: str) -> str:
    """What a record holds there, which must be some text or a number. `role` is the key below `data.columns`."""
    if column not in record:
        raise InputError(
            f"{place}: no column {column!r} (data.columns.{role}).{_near(column, list(record))} "
            f"Columns: {', '.join(record)}."
        )
    value = record[column]
    if not isinstance(value, str | int | float) or not str(value).strip():
        raise InputError(f"{place}: column {column!r} (data.columns.{role}) holds {value!r}, which is no text.")
    return str(value)


def _near(word: str, choices: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, choices, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""

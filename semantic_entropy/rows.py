"""Rows of a JSON lines file: read and checked one by one, results merged in, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.groups import one_group
from semantic_entropy.types import Result, to_json_line


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the input: its fields, or what is wrong with it."""

    number: int  # 1-based line in the input
    text: str
    fields: dict[str, Any] | None
    problem: str | None


def find_row(path: Path, row_id: str | None) -> dict[str, Any]:
    """The row with this id, or the first.

    Raises:
        InputError: no such row, or it is not usable.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            row = parse(number, line, "responses")
            if row.fields and (row_id is None or str(row.fields.get("id")) == row_id):
                return row.fields
            if row.problem and row_id is None:
                raise InputError(f"{path}, line {number}: {row.problem}")
    raise InputError(f"{path} has no usable row" + (f" with id {row_id!r}" if row_id is not None else ""))


def parse(number: int, line: bytes, field: str) -> Row:
    """Read and check one line; `field` holds the responses."""
    text = line.decode("utf-8", errors="replace").rstrip("\r\n")
    try:
        fields = json.loads(line)
    except ValueError as error:
        return Row(number, text, None, f"not JSON: {error}")
    if not isinstance(fields, dict):
        return Row(number, text, None, f"a row is a JSON object, not a {type(fields).__name__}")
    if field not in fields:
        return Row(number, text, fields, f"no field {field!r}; it has {', '.join(fields) or 'none'}")
    try:
        one_group(fields[field], fields.get("question"), fields.get("logprobs"))
    except InputError as error:
        return Row(number, text, fields, str(error))
    return Row(number, text, fields, None)


def merged(fields: dict[str, Any], result: Result) -> str:
    """A row's own fields and its result, as one line."""
    return to_json_line(fields | {result_key(key, fields): value for key, value in result.to_dict().items()})


def result_key(key: str, fields: dict[str, Any]) -> str:
    """The row's own fields stay as they are: a field of the result that has the same name gets a prefix."""
    return f"result_{key}" if key in fields else key


def came_from(result: dict[str, Any], row: Row) -> bool:
    """Whether the row's own fields stand in the result as they are."""
    return row.fields is not None and all(result.get(key) == value for key, value in row.fields.items())


def ends(path: Path) -> tuple[tuple[bytes, bytes], int]:
    """The first and the last line of a file, and how many there are."""
    first, last, count = b"", b"", 0
    with path.open("rb") as lines:
        for line in lines:
            first, last, count = first or line, line, count + 1
    return (first, last), count


def write(out: IO[Any], lines: list[str], path: Path | None) -> None:
    """Write whole lines and flush; a full disk is an error that says how to go on."""
    text = "".join(line + "\n" for line in lines)
    try:
        out.write(text.encode() if path else text)
        out.flush()
    except OSError as error:
        raise SemanticEntropyError(
            f"{path or 'standard output'}: {error.strerror}; what is written so far is complete, run again to go on"
        ) from error


def drop_cut_line(path: Path) -> None:
    """Remove a last line that a kill cut short."""
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def appending(path: Path) -> IO[bytes]:
    """Open for appending, with its folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise SemanticEntropyError(f"{path}: cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def open_source(source: str) -> Iterator[IO[bytes]]:
    """A file, or standard input for "-"."""
    if source == "-":
        yield sys.stdin.buffer
    else:
        with Path(source).open("rb") as file:
            yield file

"""JSON lines as source and sink: a row a line, standard streams included.

A result is its row's own fields followed by those of the result. Lines are only ever appended, so a kill can cut the
last one short and nothing else: it is removed when the next run begins.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import json
import sys
import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from semantic_entropy.errors import InputError
from semantic_entropy.files import close_flushed, drop_partial_line, open_append, write_lines
from semantic_entropy.io.rows import DRAWN, Before, Measured, Row, Sink, Source, problem_of
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables import RESULT_FIELDS, free_name, result_from_fields

_AS_TEXT = (dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID)  # a table's, JSON has none


STANDARD_OUTPUT = "standard output"


class JsonlSource(Source):
    """The lines of a file, or of standard input for "-"; empty ones are no rows."""

    unit = "line"
    key = "line"

    def __init__(self, name: str, field: str) -> None:
        super().__init__(name)
        self.field = field

    def rows(self) -> Generator[Row, None, None]:
        with _open(self.name) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield parse(number, line, self.field)

    def total(self) -> int | None:
        if self.name == "-" or not Path(self.name).is_file():  # a pipe can be read once
            return None
        with _open(self.name) as lines:
            return sum(1 for line in lines if line.strip())


def parse(number: int, line: bytes, field: str) -> Row:
    """Read and check one line; `field` holds the responses."""
    text = line.decode("utf-8", errors="replace").rstrip("\r\n")
    try:
        fields = json.loads(line)
    except ValueError as error:
        return Row(number, text, None, f"not JSON: {error}")
    except RecursionError:
        return Row(number, text, None, "not usable JSON: nested too deeply")
    if not isinstance(fields, dict):
        return Row(number, text, None, f"a row is a JSON object, not a {type(fields).__name__}")
    return Row(number, text, fields, problem_of(fields, field))


class JsonlSink(Sink):
    """Lines appended to a file, or to standard output for None."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.name = path, str(path or STANDARD_OUTPUT)
        self._out: IO[bytes] = sys.stdout.buffer  # UTF-8, whatever the terminal's encoding

    def before(self) -> Before | None:
        if not self.path or not self.path.exists():
            return None
        (first, last), written, drawn = _ends(self.path)
        try:
            if not first:
                return _Lines(0, {}, {}, {})
            return _Lines(written, _fields(first), _fields(last), _drawn(_fields(drawn or last)))
        except ValueError as error:
            raise InputError(
                f"{self.path} holds something else than results ({error}): choose another output, or --overwrite"
            ) from error

    def held(self, rows: Iterable[Row]) -> Iterator[Measured]:
        assert self.path
        with self.path.open("rb") as lines:
            for line, row in zip(lines, rows, strict=False):
                fields, own = _fields(line), row.fields or {}
                yield (
                    row.with_filled(fields),
                    result_from_fields({name: fields.get(free_name(name, own)) for name in RESULT_FIELDS}),
                )

    def __enter__(self) -> Self:
        if self.path:
            self._out = open_append(self.path)
            drop_partial_line(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        if self.path:
            close_flushed(self._out)

    def write(self, measured: Sequence[Measured]) -> None:
        write_lines(self._out, [_merged(row, result.to_dict()) for row, result in measured], self.path)

    def clear(self) -> None:
        if self.path:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Lines(Before):
    """The first and the last line that an earlier run wrote, and who drew the responses, where they were drawn."""

    written: int
    first: dict[str, Any]
    last: dict[str, Any]
    drawn: dict[str, Any]

    def holds(self, first: Row, last: Row) -> bool:
        return _came_from(self.first, first) and _came_from(self.last, last)

    def settings(self, last: Row) -> Mapping[str, Any]:
        found = self.last.get(free_name("provenance", last.fields or {}))
        return found if isinstance(found, dict) else {}


def _came_from(result: dict[str, Any], row: Row) -> bool:
    """Whether the row's own fields stand in the result as they are."""
    own = json.loads(_encode(row.own))
    return all(key in result and json.dumps(result[key]) == json.dumps(value) for key, value in own.items())


def _fields(line: bytes) -> dict[str, Any]:
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError(f"a line holds a {type(fields).__name__}")  # noqa: TRY004  # as json.loads says it
    return fields


def _merged(row: Row, result: dict[str, Any]) -> str:
    own = row.fields or {}
    return _encode(own | {free_name(key, own): value for key, value in result.items()})


def _encode(fields: Mapping[str, Any]) -> str:
    """One line; a NaN among the row's own fields stays what it is, as Python's json reads and writes it."""
    try:
        return to_json_line(fields)
    except TypeError:
        return json.dumps(fields, default=_plain)
    except ValueError:
        return json.dumps(fields)


def _plain(value: object) -> str:
    if isinstance(value, _AS_TEXT):
        return str(value)
    raise InputError(f"JSON lines cannot hold {value!r}, a {type(value).__name__}: write to a .parquet file")


def _drawn(fields: dict[str, Any]) -> dict[str, Any]:
    """What a result says of who drew its responses; empty where it was nobody."""
    names = [f"{'result_' * times}provenance" for times in range(len(fields))]
    found = [how for name in reversed(names) if isinstance(how := fields.get(name), dict)][:1]  # the latest is its own
    return {name: how[name] for how in found if how.get("sampler") for name in DRAWN if name in how}


_UNDRAWN = b'"sampler": null'  # in the line of a row that came with its responses; in a text its quotes are escaped


def _ends(path: Path) -> tuple[tuple[bytes, bytes], int, bytes]:
    """The first and the last complete line of a file, how many there are, and the last with drawn responses."""
    first, last, count, drawn = b"", b"", 0, b""
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):  # the last may have been cut short
                first, last, count = first or line, line, count + 1
                drawn = drawn if _UNDRAWN in line else line
            elif not count and not line.startswith(b"{"):  # no result cut short: someone else's only line
                first = last = line + b"\n"
    return (first, last), count, drawn


@contextlib.contextmanager
def _open(name: str) -> Iterator[IO[bytes]]:
    """A file, or standard input for "-"."""
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error
    with file:
        yield file

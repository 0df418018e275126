"""The reader and the writer of JSON lines, in files and in standard input and output. Each line has one row.

An output line has the fields of the input row, then the fields of the result. Lines are only appended. If a run is
killed, only the last line can be incomplete; the next run removes the incomplete line.
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
from semantic_entropy.io.rows import (
    FIXED_SAMPLING,
    ExistingOutput,
    InputRow,
    MeasuredRow,
    ResultWriter,
    RowReader,
    check_row,
)
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables import RESULT_FIELDS, FieldNames, free_name, result_from_fields

STANDARD_OUTPUT = "standard output"
_AS_TEXT = (dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID)  # Parquet types that JSON does not have


class JsonlReader(RowReader):
    """Reads the lines of a file, or of standard input for "-". Blank lines are not rows."""

    unit = "line"
    number_key = "line"

    def rows(self) -> Generator[InputRow, None, None]:
        with _open_input(self.name) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parse_row(number, line, self.names)

    def total(self) -> int | None:
        if self.name == "-" or not Path(self.name).is_file():  # a pipe can be read only once
            return None
        with _open_input(self.name) as lines:
            return sum(1 for line in lines if line.strip())


def _parse_row(number: int, line: bytes, names: FieldNames) -> InputRow:
    text = line.decode("utf-8", errors="replace").rstrip("\r\n")
    try:
        fields = json.loads(line)
    except ValueError as error:
        return InputRow(number, text, None, problem=f"not JSON: {error}")
    except RecursionError:
        return InputRow(number, text, None, problem="not usable JSON: nested too deeply")
    if not isinstance(fields, dict):
        return InputRow(number, text, None, problem=f"a row is a JSON object, not a {type(fields).__name__}")
    return InputRow(number, text, fields, *check_row(fields, names))


class JsonlWriter(ResultWriter):
    """Appends lines to a file. A path of None means standard output."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.name = path, str(path or STANDARD_OUTPUT)
        self._out: IO[bytes] = sys.stdout.buffer  # bytes: UTF-8 in any terminal encoding

    def existing(self) -> ExistingOutput | None:
        if not self.path or not self.path.exists():
            return None
        first, last, count, last_sampled = _scan(self.path)
        try:
            if not first:
                return _JsonlOutput(0, {}, {}, {})
            return _JsonlOutput(count, _sampling(_fields(last_sampled or last)), _fields(first), _fields(last))
        except ValueError as error:
            raise InputError(
                f"{self.path} does not hold results ({error}): choose another output, or --overwrite"
            ) from error

    def read_back(self, rows: Iterable[InputRow]) -> Iterator[MeasuredRow]:
        assert self.path
        with self.path.open("rb") as lines:
            for line, row in zip(lines, rows, strict=False):
                fields, own = _fields(line), row.fields or {}
                result = result_from_fields({name: fields.get(free_name(name, own)) for name in RESULT_FIELDS})
                yield row.with_sampled_fields(fields), result

    def __enter__(self) -> Self:
        if self.path:
            self._out = open_append(self.path)
            drop_partial_line(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        if self.path:
            close_flushed(self._out)

    def write(self, measured: Sequence[MeasuredRow]) -> None:
        write_lines(
            self._out, [_output_line(row.fields or {}, result.to_dict()) for row, result in measured], self.path
        )

    def clear(self) -> None:
        if self.path:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _JsonlOutput(ExistingOutput):
    """An existing output file, described by the fields of its first and its last line."""

    written: int
    drawn: dict[str, Any]
    first: dict[str, Any]
    last: dict[str, Any]

    def comes_from(self, first: InputRow, last: InputRow) -> bool:
        return _has_fields_of(first, self.first) and _has_fields_of(last, self.last)

    def settings(self, last: InputRow) -> Mapping[str, Any]:
        provenance = self.last.get(free_name("provenance", last.fields or {}))
        return provenance if isinstance(provenance, dict) else {}


def _has_fields_of(row: InputRow, output: dict[str, Any]) -> bool:
    """Whether the output row has all fields of the input row, with equal values."""
    own = json.loads(_encode(row.input_fields))
    return all(name in output and json.dumps(output[name]) == json.dumps(value) for name, value in own.items())


def _fields(line: bytes) -> dict[str, Any]:
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError(f"a line holds a {type(fields).__name__}")  # noqa: TRY004  # json.loads raises ValueError too
    return fields


def _output_line(own: dict[str, Any], result: dict[str, Any]) -> str:
    return _encode(own | {free_name(name, own): value for name, value in result.items()})


def _encode(fields: Mapping[str, Any]) -> str:
    """Encode the fields as one line. A NaN in a field of the input row stays NaN, like in Python's json module."""
    try:
        return to_json_line(fields)
    except TypeError:
        return json.dumps(fields, default=_cell_as_text)
    except ValueError:
        return json.dumps(fields)


def _cell_as_text(value: object) -> str:
    if isinstance(value, _AS_TEXT):
        return str(value)
    raise InputError(f"JSON lines cannot hold {value!r}, a {type(value).__name__}: write to a .parquet file")


def _sampling(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the `FIXED_SAMPLING` values of an output row; empty if its responses were not sampled."""
    names = [f"{'result_' * times}provenance" for times in range(len(fields))]
    found = [value for name in reversed(names) if isinstance(value := fields.get(name), dict)]
    provenance = found[0] if found else {}  # the field with the longest prefix belongs to the last result
    return (
        {name: provenance[name] for name in FIXED_SAMPLING if name in provenance} if provenance.get("sampler") else {}
    )


_NO_SAMPLER = b'"sampler": null'  # in each result without a sampler; inside a JSON text, the quotes would be escaped


def _scan(path: Path) -> tuple[bytes, bytes, int, bytes]:
    """Return the first and the last complete line, the number of complete lines, and the last line with a sampler."""
    first, last, count, sampled = b"", b"", 0, b""
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):  # otherwise a killed run left an incomplete line
                first, last, count = first or line, line, count + 1
                sampled = sampled if _NO_SAMPLER in line else line
            elif not count and not line.startswith(b"{"):  # an incomplete result would begin with "{"
                first = last = line + b"\n"
    return first, last, count, sampled


@contextlib.contextmanager
def _open_input(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error
    with file:
        yield file

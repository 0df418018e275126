"""The reader and the writers of JSON lines, in files and in standard input and output. Each line has one row.

An output line has the fields of the input row, the fields of the result, the key of the row and the choices of the run
(`result_lines`). A nan in a field of the row becomes null, because JSON has no nan.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from semantic_entropy.errors import InputError
from semantic_entropy.files import close_flushed, open_append, remove, write_lines
from semantic_entropy.io.fingerprints import RunChoices
from semantic_entropy.io.readers.input_file import InputFile
from semantic_entropy.io.readers.json_array import nested_rows
from semantic_entropy.io.result_lines import KeyIndex, ResultLines
from semantic_entropy.io.rows import (
    InputRow,
    MeasuredRow,
    ResultWriter,
    RowCheck,
    RowReader,
    UnwritableFieldError,
    check_row,
    has_nan,
    json_fields,
)
from semantic_entropy.plain_fields import unique_keys
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables import RESULT_FIELDS, FieldNames, bare_name, free_name

STANDARD_OUTPUT = "standard output"


class JsonlReader(RowReader):
    """Reads the lines of a file, or of standard input for "-". Blank lines are not rows."""

    unit = "line"
    number_key = "line"
    file: InputFile

    def __init__(self, file: InputFile, names: FieldNames, check: RowCheck = check_row) -> None:
        super().__init__(file.name, names)
        self.file, self._check = file, check

    def rows(self) -> Generator[InputRow, None, None]:
        with self.file.open() as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield self._parse(number, line)

    def total(self) -> int | None:
        if not self.file.is_repeatable:
            return None
        with self.file.open() as lines:
            return sum(1 for line in lines if line.strip())

    def _parse(self, number: int, line: bytes) -> InputRow:
        text = line.decode("utf-8", errors="replace").rstrip("\r\n")
        try:
            fields = json.loads(line, object_pairs_hook=unique_keys)
        except ValueError as error:
            return InputRow(number, text, None, problem=f"not JSON: {error}")
        except RecursionError:
            return InputRow(number, text, None, problem="not usable JSON: nested too deeply")
        if not isinstance(fields, dict):
            return InputRow(number, text, None, problem=f"a row is a JSON object, not a {type(fields).__name__}")
        group, problem = self._check(fields, self.names)
        return InputRow(number, text, fields, group, problem and problem + nested_rows(fields))


class _LineWriter(ResultWriter):
    """A writer of JSON lines."""

    def prepare(self, row: InputRow) -> str | None:
        try:
            to_json_line(row.fields)
        except (RecursionError, TypeError, ValueError):
            problem = unwritable(row)
            self.nulls += problem is None and has_nan(row.fields)
            return problem
        return None


class StreamWriter(_LineWriter):
    """Writes lines to standard output, or to a pipe or device. Such an output cannot be continued."""

    def __init__(self, path: Path | None, runs: Sequence[RunChoices]) -> None:
        self._target, self.name, self._runs = path, str(path or STANDARD_OUTPUT), runs
        self._out: IO[bytes] = sys.stdout.buffer  # bytes: UTF-8 in any terminal encoding

    def __enter__(self) -> Self:
        if self._target:
            self._out = open_append(self._target)
        return self

    def __exit__(self, *_: object) -> None:
        if self._target:
            close_flushed(self._out)

    def write(self, measured: Sequence[MeasuredRow]) -> None:
        lines = [to_line(row, row.fields or {}, result.to_dict(), self._runs) for row, result in measured]
        write_lines(self._out, lines, self._target)


class JsonlWriter(_LineWriter):
    """Appends lines to a file, and keeps the lines of earlier runs."""

    path: Path

    def __init__(self, path: Path, name: str, names: FieldNames, runs: Sequence[RunChoices]) -> None:
        self.path, self.name, self._names, self._runs = path, name, names, runs

    def __enter__(self) -> Self:
        self._lines = ResultLines(self.path, self.name, self._runs).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.__exit__(*error)

    @property
    def index(self) -> KeyIndex:
        return self._lines.index

    def keep(self, row: InputRow) -> bool:
        if (found := self._lines.take(row.key)) is None:
            return False
        offset, line = found
        own, result, _ = split_line(line)
        self.count_pairs(*pairs_of(result["provenance"]))
        row = row.marked_as_sampled(self._names).with_sampled_fields(own)
        new = to_line(row, row.fields or {}, result, self._runs)
        if new.encode() == line.rstrip(b"\r\n"):
            self._lines.place(row.number, offset)
        else:  # the fields that are not measured have changed
            self._lines.append([(row.number, new)])
        return True

    def kept(self, number: int) -> Mapping[str, Any]:
        return split_line(self._lines.line_of(number))[1]

    def write(self, measured: Sequence[MeasuredRow]) -> None:
        self._lines.append(
            [(row.number, to_line(row, row.fields or {}, result.to_dict(), self._runs)) for row, result in measured]
        )

    def finish(self) -> None:
        self._lines.settle()

    def drop_written(self) -> None:
        self._lines.drop_appended()

    def clear(self) -> None:
        remove(self.path)


def unwritable(row: InputRow) -> str | None:
    """Return why JSON cannot hold the fields of the row; None: it can."""
    try:
        to_json_line(row.fields)
    except RecursionError:
        return "nested too deeply to be written"
    except (TypeError, ValueError):
        try:
            json_fields(row.fields or {})
        except UnwritableFieldError as error:
            return str(error)
    return None


def to_line(row: InputRow, own: Mapping[str, Any], result: Mapping[str, Any], runs: Sequence[RunChoices]) -> str:
    """Return the output line of a row: its own fields, those of its result, its key, and the choices of its run."""
    added = {**result, "row_key": row.key, "run": runs[-1 if row.sampled else 0]}
    fields = {**own, **{free_name(name, own): value for name, value in added.items()}}
    try:
        return to_json_line(fields)
    except (TypeError, ValueError):
        return to_json_line(json_fields(fields))


def pairs_of(provenance: Mapping[str, Any]) -> tuple[int, int]:
    """Return (compared pairs, undecided pairs) of a result, from the fields of its provenance.

    Raises:
        InputError: the fields are missing, or no numbers: another version wrote them, or they were changed.
    """
    try:
        return provenance["asked"] + provenance["cached"], provenance["undecided"] + 0
    except (KeyError, TypeError) as error:
        raise InputError(
            f"a stored result does not say how many pairs were compared ({type(error).__name__}: {error}): use "
            "--overwrite to measure its row again"
        ) from error


def split_line(line: bytes) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return (own fields, fields of the result, key) of an output line.

    Raises:
        InputError: the line was changed, and is no result any more.
    """
    try:
        fields: dict[str, Any] = json.loads(line)
        names = list(fields)
        start = max(i for i, name in enumerate(names) if bare_name(name) == RESULT_FIELDS[0])
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"a stored result cannot be read ({error}): remove its line {line[:60]!r}..., or use --overwrite"
        ) from error
    result = {bare_name(name): fields[name] for name in names[start:-2]}  # the last two are the key and the choices
    return {name: fields[name] for name in names[:start]}, result, fields[names[-2]]

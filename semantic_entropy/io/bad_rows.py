"""The rows of a run that have no result: they are counted, the first ones are printed, and all are written to a file.

The file OUTPUT.bad.jsonl is a report of the last run, with one line for each of these rows in the order of the input:

    {"semantic_entropy_bad_row": true, "line": 4, "problem": "...", "row": "..."}
    {"semantic_entropy_bad_row": true, "line": 7, "problem": "...", "retry": true, "row": "..."}

A row with "retry" has no result because its server failed: the same command may give a result. A file whose first line
has another first key is not removed: it belongs to a user.
No run reads the report: each run looks at all rows of the input again, and writes its own report.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Self

from semantic_entropy.errors import InputError, nearest
from semantic_entropy.files import close_flushed, open_append, remove, write_lines
from semantic_entropy.io.rows import InputRow, RowReader
from semantic_entropy.plain_text import one_line, to_json_line
from semantic_entropy.tables import FieldNames

_MARK = "semantic_entropy_bad_row"  # the first key of each line: no data of a user has it
_SHOWN = 10  # most rows that are printed, if a report has all of them

BadRow = tuple[InputRow, str]
"""A row, and the reason why it has no result."""


class BadRows:
    """The rows without a result of one run. `with` removes the report of an earlier run.

    Args:
        reader: the reader of the input, for messages.
        path: the path of the report; None: all rows are printed, and there is no report.
        has_sampler: True if rows with a question and no responses are sampled.

    Attributes:
        count: the number of rows without a result.
        retryable: the number of these rows for which the same command may give a result.
    """

    def __init__(self, reader: RowReader, path: Path | None, *, has_sampler: bool) -> None:
        self.reader, self.path, self._has_sampler = reader, path, has_sampler
        self.count = self.retryable = 0
        self._out: IO[bytes] | None = None
        self._unanswered = 0  # rows with a question and no responses, in a run without a sampler
        self._similar_field = ""  # a field of such rows that may hold the responses
        self._single_field = ""  # a field of such rows with one text, which may be one of several responses
        self._missing: dict[str, tuple[str, str]] = {}  # an option of the user -> its field, which a row lacks; advice

    def check(self) -> None:
        """Raise InputError if the path of the report is another file, which must not be removed."""
        if self.path:
            check_report(self.path)

    def __enter__(self) -> Self:
        if self.path:
            remove(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._out:
            close_flushed(self._out)

    def add(self, rows: Sequence[BadRow]) -> None:
        """Print and write these rows."""
        for row, problem in rows:
            self.count += 1
            if not self.path or self.count <= _SHOWN:
                sys.stderr.write(self.located(row, problem) + "\n")
            self.retryable += row.retry
            names = self.reader.names
            self._note_missing(row, problem)
            if not self._has_sampler and row.fields and not row.fields.get(names.responses):
                self._unanswered += row.needs_responses(names)
                self._similar_field = self._similar_field or _field_of_texts(row)
                single = names.single_response(row.fields)
                if isinstance(row.fields.get(single), str):
                    self._single_field = single
        if self.path and rows:
            if self.count > _SHOWN >= self.count - len(rows):
                sys.stderr.write(f"... and more bad rows: all of them are in {self.path}\n")
            self._out = self._out or open_append(self.path)
            write_lines(self._out, [self._line(row, problem) for row, problem in rows], self.path)

    def located(self, row: InputRow, problem: str) -> str:
        """Return the problem with the place of the row, on one line."""
        return one_line(f"{self.reader.place(row.number)}: {problem}")

    def hint(self) -> str:
        """Return advice for the user; empty if there is none."""
        typed = [
            f"hint: rows have no field {field!r}, which {option} names.{advice}"
            for option, (field, advice) in self._missing.items()
            if option
        ]
        if typed:
            return one_line("; ".join(typed))
        hints = []
        if self._single_field and not self.reader.group_by:
            hints.append(
                f"hint: the field {self._single_field!r} has one response in each row: add --group-by FIELD, with a "
                "field that the rows of one question share"
            )
        elif self._unanswered:
            hints.append(
                f"hint: {self._unanswered} rows have a question and no responses: add --sampler NAME to ask a model; "
                "if another field has the responses, name it with --responses FIELD"
            )
        elif "" in self._missing and not self._similar_field:
            hints.append(
                "hint: name the field with the responses with --responses FIELD; if each row has one response, add "
                "--group-by FIELD too, with a field that the rows of one question share"
            )
        if self._similar_field:
            field = one_line(self._similar_field)
            hints.append(f"hint: the field {field!r} holds texts: add --responses {field} to use it")
        return "\n".join(hints)

    def _note_missing(self, row: InputRow, problem: str) -> None:
        """Note the field that the row lacks by the option that names it; the option is empty if none does."""
        names = self.reader.names
        responses = "--responses" if names.responses != FieldNames().responses else ""
        options = {"--group-by": self.reader.group_by, "--question": names.question, responses: names.responses}
        for option, field in options.items():
            if field is not None and problem.startswith(f"no field {field!r}"):
                self._missing.setdefault(option, (field, nearest(field, row.fields or ())))

    def _line(self, row: InputRow, problem: str) -> str:
        place = self.reader.place(row.number)
        retry = {"retry": True} if row.retry else {}
        source = {"input": place.name} if place.name != self.reader.name else {}  # one of several files
        fields = {_MARK: True, place.number_key: place.number, "problem": problem, **retry, "row": row.text, **source}
        return to_json_line(fields)


def check_report(path: Path) -> None:
    """Raise InputError if the file exists and is no report of bad rows: it must not be removed."""
    if path.exists() and not _is_report(path):
        raise InputError(
            f"{path} is not a report of this command, which writes the bad rows to this path: rename it, or choose "
            "another output"
        )


def _is_report(path: Path) -> bool:
    """Whether the file is empty or begins like a report."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        beginning = f'{{"{_MARK}": '.encode()
        return file.read(len(beginning)) in (b"", beginning)
    return False


def _field_of_texts(row: InputRow) -> str:
    """Return the name of a field with a list of texts, which may be the responses; empty: there is no such field."""
    fields = (row.fields or {}).items()
    return next((name for name, value in fields if value and isinstance(value, list) and _are_texts(value)), "")


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)

"""CSV and TSV: the first row names the columns. Cells are texts; only the measured cells are converted.

The responses of a row are a JSON list in one cell, a Python list as `DataFrame.to_csv` of pandas writes it, or several
columns (`response_1`, `response_2`, ...; `--responses 'answer*'` names others). Of several columns, empty cells are
left out: CSV cannot tell an empty response from none. A cell of log-probabilities is a JSON list of lists.

Left out: files without names of columns; comments.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import sys
import tokenize
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from semantic_entropy.errors import InputError
from semantic_entropy.io.readers.input_file import InputFile
from semantic_entropy.io.rows import InputRow, RowCheck, RowReader, check_row
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables import FieldNames
from semantic_entropy.types import Group

_LARGEST_CELL = 2**31 - 1  # bytes; the default of the csv module (131,072) is too small for long responses


class DelimitedReader(RowReader):
    """Reads CSV or TSV.

    Args:
        file: the input, in UTF-8.
        names: the names of the fields that are measured. `responses` can be a pattern with `*` for several columns.
        check: returns the group, or the problem, of a row with converted cells.
        delimiter: the character between two cells; None: the most frequent one of `,` `;` and tab in the first line.
    """

    unit = "line"
    number_key = "line"
    file: InputFile

    def __init__(
        self, file: InputFile, names: FieldNames, check: RowCheck = check_row, delimiter: str | None = None
    ) -> None:
        super().__init__(file.name, names)
        self.file, self._check = file, check
        header = file.first_line().decode("utf-8-sig", errors="replace")
        self.delimiter = delimiter or max(",;\t", key=header.count)
        columns = self._header(header)
        if repeated := [name for name, count in Counter(columns).items() if count > 1]:
            raise InputError(f"{file.name}: several columns are named {repeated[0]!r}: rename them")
        self.columns = columns
        self.several = self._response_columns()

    def _header(self, line: str) -> list[str]:
        if "\r" in line.rstrip("\r\n"):
            raise InputError(
                f"{self.name}: the lines end with a carriage return alone: convert the file with "
                f"tr '\\r' '\\n' < {self.name} > lines.csv"
            )
        try:
            return next(csv.reader([line], delimiter=self.delimiter, strict=True), [])
        except csv.Error as error:
            raise InputError(f"{self.name}: the first line does not name columns of a CSV: {error}") from error

    @property
    def description(self) -> str:
        """How the file is read, for the user."""
        name = {",": "CSV", "\t": "tab-separated values"}.get(self.delimiter, f"CSV separated by {self.delimiter!r}")
        return f"{name}, responses in the columns {', '.join(self.several)}" if self.several else name

    def _response_columns(self) -> list[str]:
        """Return the columns that hold one response each; empty if one column holds all responses."""
        wanted = self.names.responses
        if wanted in self.columns or (self._check is not check_row and self._has_single_response()):
            return []
        found = self.names.response_columns(self.columns)
        if "*" in wanted and not found:
            raise InputError(f"{self.name}: no column fits {wanted!r}; it has {', '.join(self.columns) or 'none'}")
        return found

    def _has_single_response(self) -> bool:
        return self.names.single_response(self.columns) in self.columns

    def rows(self) -> Generator[InputRow, None, None]:
        csv.field_size_limit(min(_LARGEST_CELL, sys.maxsize))
        with self.file.open() as source:
            lines = _text_lines(source, self.name)
            rows = csv.reader(lines, delimiter=self.delimiter, strict=True)
            line, after_header = 1, False
            while True:
                try:
                    cells = next(rows)
                except StopIteration:
                    return
                except csv.Error as error:  # the next row begins in the next line
                    read = f" (lines {line} to {rows.line_num} were read as one row)" if rows.line_num > line else ""
                    yield InputRow(line, "", None, problem=f"not CSV: {error}{read}")
                else:
                    if cells and after_header:
                        yield self._row(line, cells)
                    after_header = after_header or any(cell.strip() for cell in cells)
                line = rows.line_num + 1  # of the next row; a row can have several lines

    def _row(self, number: int, cells: list[str]) -> InputRow:
        if len(cells) != len(self.columns):
            wrong = f"{len(cells)} cells, and the first line names {len(self.columns)} columns"
            return InputRow(number, to_json_line(cells), None, problem=wrong)
        fields: dict[str, Any] = dict(zip(self.columns, cells, strict=True))
        group, problem = self._check_cells(fields)
        return InputRow(number, to_json_line(fields) if problem else "", fields, group, problem)

    def _check_cells(self, fields: Mapping[str, str]) -> tuple[Group | None, str | None]:
        converted: dict[str, Any] = dict(fields)
        if self.several:
            given = [fields[name] for name in self.several if fields[name]]
            if not given:
                return None, f"no response: the cells {self.several[0]} to {self.several[-1]} are empty"
            converted[self.names.responses] = given
        elif self._check is check_row and self.names.responses in fields:
            cell = fields[self.names.responses]
            if (texts := _list_in(cell)) is None:
                return None, (
                    f"{self.names.responses}={cell!r:.60} is not a JSON list of texts; if each row has one response, "
                    "add --group-by FIELD, with the column that the rows of one question share"
                )
            converted[self.names.responses] = texts
        if fields.get(self.names.logprobs):
            try:
                converted[self.names.logprobs] = json.loads(fields[self.names.logprobs])
            except (ValueError, RecursionError):
                return None, f"{self.names.logprobs}={fields[self.names.logprobs]!r:.60} is not JSON"
        else:
            converted.pop(self.names.logprobs, None)
        return self._check(converted, self.names)


def _text_lines(source: Any, name: str) -> Iterator[str]:
    """Decode lines. Ends of lines inside a quoted cell are kept."""
    for number, line in enumerate(source, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name}, line {number}: not UTF-8 ({error.reason}): convert the file first, such as with "
                f"iconv -f WINDOWS-1252 -t UTF-8 {name} > utf8.csv"
            ) from error


def _list_in(cell: str) -> list[str] | None:
    """Return the texts of a list in a cell, in JSON or as Python writes it; None: it is no list of texts."""
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return _python_list_in(cell)
    return value if isinstance(value, list) and all(isinstance(text, str) for text in value) else None


def _python_list_in(cell: str) -> list[str] | None:
    """Return the texts of `['a', "b"]`, token by token; None for NumPy's `['a' 'b']`, which Python would join."""
    try:
        tokens = [
            token
            for token in tokenize.generate_tokens(io.StringIO(cell.strip()).readline)
            if token.type not in (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER)
        ]
        texts, between = tokens[1:-1:2], tokens[2:-1:2]
        if [tokens[0].string, tokens[-1].string] != ["[", "]"] or any(token.string != "," for token in between):
            return None
        values = [ast.literal_eval(token.string) for token in texts if token.type == tokenize.STRING]
    except (tokenize.TokenError, SyntaxError, ValueError, IndexError, RecursionError):
        return None
    return values if len(values) == len(texts) and all(isinstance(value, str) for value in values) else None

"""A JSON array of objects, and a single JSON object: each object is a row.

The array is read piece by piece, so that one row at a time is in memory.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Generator, Mapping
from typing import IO, Any

from semantic_entropy.clusters import is_messages, read_replies
from semantic_entropy.errors import InputError
from semantic_entropy.io.readers.input_file import InputFile
from semantic_entropy.io.rows import InputRow, RowCheck, RowReader, check_row
from semantic_entropy.plain_fields import unique_keys
from semantic_entropy.tables import FieldNames

_PIECE = 2**16  # bytes read at once, doubled while a row is not complete
_SPACE = " \t\r\n"


class JsonArrayReader(RowReader):
    """Reads the objects of a JSON array, or one JSON object.

    Args:
        file: the input, in UTF-8.
        names: the names of the fields that are measured.
        check: returns the group, or the problem, of a row.
    """

    unit = "row"
    number_key = "row_number"
    file: InputFile

    def __init__(self, file: InputFile, names: FieldNames, check: RowCheck = check_row) -> None:
        super().__init__(file.name, names)
        self.file, self._check = file, check

    def rows(self) -> Generator[InputRow, None, None]:
        for number, value in enumerate(array_items(self.file), start=1):
            if isinstance(value, dict):
                group, problem = self._check(value, self.names)
                text = json.dumps(value) if problem else ""
                yield InputRow(number, text, value, group, problem and problem + nested_rows(value))
            else:
                wrong = f"a row is a JSON object, not a {type(value).__name__}"
                yield InputRow(number, json.dumps(value), None, problem=wrong)


def nested_rows(fields: Mapping[str, Any]) -> str:
    """Return advice for an object that holds rows in a list of objects; empty if it does not."""
    lists = [
        name
        for name, value in fields.items()
        if isinstance(value, list)
        and value
        and all(isinstance(item, dict) for item in value)
        and not is_messages(value)
        and read_replies(value) is None  # else they are the responses of one row
    ]
    return (
        f". If {lists[0]!r} has the rows, take them out with: jq -c '.[{json.dumps(lists[0])}][]' FILE" if lists else ""
    )


def array_items(file: InputFile) -> Generator[Any, None, None]:
    """Yield the items of a JSON array; of another value, the value itself.

    Raises:
        InputError: the text is not JSON. The items before the error were yielded.
    """
    with file.open() as source:
        text = _Text(source, file.name)
        if text.next_character() != "[":
            yield text.value()
        else:
            text.skip()
            while text.next_character() != "]":
                yield text.value()
                if text.next_character() == ",":
                    text.skip()
                    if text.next_character() == "]":
                        raise text.error("an item is missing after the last ','")
                elif text.next_character() != "]":
                    raise text.error("',' or ']' is missing after an item")
            text.skip()
        if text.next_character():
            raise text.error("text after the end of the JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


class _Text:
    """The text of a JSON value, of which a part is in memory."""

    def __init__(self, source: IO[bytes], name: str) -> None:
        self._source, self._name = source, name
        self._decoder, self._json = (
            codecs.getincrementaldecoder("utf-8-sig")(),
            _DECODER,
        )
        self._text, self._position, self._before, self._ended = "", 0, 0, False

    def next_character(self) -> str:
        """Return the next character that is no space; empty at the end."""
        while True:
            while self._position < len(self._text) and self._text[self._position] in _SPACE:
                self._position += 1
            if self._position < len(self._text) or not self._read(_PIECE):
                return self._text[self._position : self._position + 1]

    def skip(self) -> None:
        """Skip a character."""
        self._position += 1

    def value(self) -> Any:
        """Return the value that begins at the next character."""
        size = _PIECE
        self.next_character()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                if not self._read(size):
                    raise self.error(error.msg, error.pos) from error
            except RecursionError as error:
                raise self.error("nested too deeply") from error
            except ValueError as error:  # a key twice, or a number of more than 4,300 digits
                raise self.error(str(error)) from error
            else:
                if end < len(self._text) or not self._read(size):  # a number may go on in the next piece
                    self._position = end
                    return value
            size *= 2

    def error(self, problem: str, position: int | None = None) -> InputError:
        """Return the error for a problem at the position, or at the next character."""
        place = self._before + (self._position if position is None else position)
        return InputError(f"{self._name}: not JSON: {problem} (character {place})")

    def _read(self, size: int) -> bool:
        """Read more text. Return False at the end of the input."""
        while not self._ended:
            data = self._source.read(size)
            self._ended = not data
            try:
                more = self._decoder.decode(data, final=self._ended)
            except UnicodeDecodeError as error:
                raise InputError(f"{self._name}: not UTF-8 ({error.reason})") from error
            if more:
                self._before += self._position
                self._text, self._position = self._text[self._position :] + more, 0
                return True
        return False

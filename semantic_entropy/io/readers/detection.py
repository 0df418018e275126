"""Find the format of an input from its suffix and its first line, and refuse what is not text with the fix.

first line                            format
[ ...                                 a JSON array
{ without its end                     one JSON object on several lines; a log of inspect_ai
{"custom_id": ..., "response": ...}   replies of an OpenAI-compatible API, and other known rows (JSON lines)
a,b,c                                 CSV or TSV, if the suffix is not that of JSON lines
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from semantic_entropy.errors import InputError
from semantic_entropy.io.readers.input_file import STANDARD_INPUT, InputFile
from semantic_entropy.io.readers.inspect_logs import is_inspect_zip
from semantic_entropy.io.readers.json_array import array_items
from semantic_entropy.io.readers.lm_eval_logs import is_sample_row
from semantic_entropy.io.readers.openai_replies import is_reply_row, is_request_row

FORMATS = ("jsonl", "json", "csv", "tsv", "openai", "lm-eval", "inspect", "parquet")
"""The names of the formats, for `--input-format`. "openai" and "lm-eval" are rows of JSON lines or of a JSON array."""

_BY_SUFFIX = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
}
_LINE_SUFFIXES = (".jsonl", ".ndjson")
_UNPACK = {b"\x1f\x8b": "gunzip -c", b"BZh": "bunzip2 -c", b"\xfd7zXZ\x00": "xz -dc", b"\x28\xb5\x2f\xfd": "zstd -dc"}
_OTHER = {  # the first bytes of a file that is not text -> what it is and what to do
    b"PAR1": "a Parquet file: give it the suffix .parquet",
    b"ARROW1": (
        'an Arrow file: write Parquet first, with python -c "import pandas; '
        "pandas.read_feather('{name}').to_parquet('rows.parquet')\""
    ),
    b"SQLite format 3": "an SQLite database: write CSV first, with sqlite3 -header -csv {name} 'SELECT ...' > rows.csv",
    b"\xd0\xcf\x11\xe0": "an old Office file: save it as CSV in the program that wrote it",
    b"\x80\x04\x95": "a pickle, which can run code: write JSON lines with the program that wrote it",
}
_SPREADSHEET = (
    'a spreadsheet or another zip file: write CSV first, with python -c "import pandas; '
    "pandas.read_excel('{name}').to_csv('rows.csv', index=False)\""
)


def find_format(file: InputFile) -> str:
    """Return one of `FORMATS`.

    Raises:
        InputError: the input is not text in UTF-8, or a format that is not read. The message has a command that
            converts it.
    """
    by_suffix = _BY_SUFFIX.get(file.suffix)
    if by_suffix == "parquet":
        return by_suffix
    line = file.first_line()
    if line.startswith(b"PK\x03\x04") and file.is_repeatable and is_inspect_zip(file):
        return "inspect"
    _check_text(file, line)
    if by_suffix:
        return by_suffix
    return _of_line(line.removeprefix(b"\xef\xbb\xbf").strip(), file)


def _of_line(line: bytes, file: InputFile) -> str:
    """Return the format that begins with this line."""
    row = _parse(line)
    if isinstance(row, dict):
        return _of_row(row, "jsonl")
    if is_document(file):
        return "inspect" if _begins_as_inspect_log(file) else _of_row(_first_object(file), "json")
    if file.suffix in _LINE_SUFFIXES or not any(mark in line for mark in (b",", b";", b"\t")) or line.startswith(b"{"):
        return "jsonl"
    return "tsv" if line.count(b"\t") > max(line.count(b","), line.count(b";")) else "csv"


def _of_row(row: dict[str, Any], other: str) -> str:
    if is_request_row(row):
        raise InputError(
            "these are requests of a batch, without responses: give the output of the batch as the input, and this "
            "file as --requests"
        )
    if "responses" in row:
        return other
    if is_sample_row(row):
        return "lm-eval"
    if {"eval", "status", "version"} <= row.keys():
        return "inspect"
    return "openai" if is_reply_row(row) else other


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def is_document(file: InputFile) -> bool:
    """Whether the input is one JSON value on several lines, or an array, and not JSON lines."""
    line = file.first_line().removeprefix(b"\xef\xbb\xbf").strip()
    row = _parse(line)
    if line.startswith(b"["):
        return row is None or file.suffix not in _LINE_SUFFIXES
    return line.startswith(b"{") and row is None and (file.suffix == ".json" or line.endswith((b"{", b"[", b",")))


def _first_object(file: InputFile) -> dict[str, Any]:
    """Return the first object of an array, or the object that a file is; empty if it is another value."""
    file.copy_to_disk()
    with contextlib.closing(array_items(file)) as items:
        value = next(items, None)
    return value if isinstance(value, dict) else {}


def _begins_as_inspect_log(file: InputFile) -> bool:
    """Whether a JSON object begins like a log of inspect_ai, which can be too large to be read twice."""
    file.copy_to_disk()
    with file.open() as source:
        beginning = source.read(2**16)
    return all(name in beginning for name in (b'"version"', b'"status"', b'"eval"'))


def _check_text(file: InputFile, line: bytes) -> None:
    """Raise InputError if the first line is not the beginning of a text in UTF-8."""
    shown = "FILE" if file.name == STANDARD_INPUT else file.name
    for beginning, unpack in _UNPACK.items():
        if line.startswith(beginning):
            raise InputError(
                f"{file.name} is compressed: unpack it with {unpack} {shown} | semantic-entropy estimate - ..."
            )
    for beginning, what in _OTHER.items():
        if line.startswith(beginning):
            raise InputError(f"{file.name} is {what.format(name=shown)}")
    if line.startswith(b"PK\x03\x04") and file.suffix == ".eval":
        raise InputError(f"{file.name} is not a complete log of inspect_ai: try inspect log recover {shown}")
    if line.startswith(b"PK\x03\x04"):
        raise InputError(f"{file.name} is {_SPREADSHEET.format(name=shown)}")
    if line.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in line[:64]:
        raise InputError(
            f"{file.name} is not UTF-8 but probably UTF-16: convert it with iconv -f UTF-16 -t UTF-8 {shown} > utf8.txt"
        )

"""The format of an input is found from its suffix and its first line; what is not read is refused with a command."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile

import pytest

from semantic_entropy import InputError
from semantic_entropy.cli.options import FORMATS as OFFERED
from semantic_entropy.io.formats import InputOptions, open_reader
from semantic_entropy.io.readers.detection import FORMATS, find_format
from semantic_entropy.io.readers.input_file import InputFile
from semantic_entropy.tables import FieldNames

ROW = json.dumps({"responses": ["a, b", "c"]}).encode()


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("in.jsonl", ROW, "jsonl"),
        ("in.ndjson", b"\xef\xbb\xbf" + ROW, "jsonl"),
        ("in.jsonl", b"{broken, json", "jsonl"),
        ("in.jsonl", b'["a"]\n' + ROW, "jsonl"),
        ("in.jsonl", b"[\n" + ROW + b"\n]", "json"),
        ("in.json", b"\n\n" + ROW, "jsonl"),
        ("in.json", b"[" + ROW + b"]", "json"),
        ("in.json", b'{\n "responses": ["a"]\n}', "json"),
        ("in.json", b'[{"choices": [{"text": "a", "index": 0}]}]', "openai"),
        ("in.json", b'{"custom_id": "a", "response": null, "error": {}}', "openai"),
        ("in.json", b'{"choices": ["red", "blue"], "answer": 1}', "jsonl"),  # a multiple-choice question
        ("in.txt", b'{"doc": {}, "arguments": {}, "resps": []}', "lm-eval"),
        ("in.json", b'{\n "version": 2,\n "status": "success",\n "eval": {}\n}', "inspect"),
        ("in.json", b'{"version": 2, "status": "success", "eval": {}}', "inspect"),
        ("in.csv", b"a\tb,c", "csv"),
        ("in.tab", b"a,b\tc", "tsv"),
        ("in.txt", b"id,response", "csv"),
        ("in", b"id\tresponse,with comma\tx", "tsv"),
        ("in.txt", b"one column", "jsonl"),
        ("in.pq", b"whatever", "parquet"),
        ("in.jsonl", b"", "jsonl"),
    ],
)
def test_the_suffix_and_the_first_line_decide(tmp_path, name, content, found):
    (tmp_path / name).write_bytes(content)
    assert find_format(InputFile(str(tmp_path / name))) == found


def spreadsheet():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(ROW), r"gunzip -c \S+ \| semantic-entropy estimate -"),
        (bz2.compress(ROW), "bunzip2 -c"),
        (lzma.compress(ROW), "xz -dc"),
        (b"\x28\xb5\x2f\xfd\x00", "zstd -dc"),
        (spreadsheet(), r"read_excel\('\S+'\).to_csv"),
        (ROW.decode().encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
        (ROW.decode().encode("utf-16-le"), "iconv -f UTF-16 -t UTF-8"),
        (b"PAR1\x15\x04", "give it the suffix .parquet"),
        (b"SQLite format 3\x00", "sqlite3 -header -csv"),
        (b"\x80\x04\x95\x00", "a pickle"),
    ],
    # without ids, the header of gzip, which holds the time, would be an id
    ids=["gzip", "bzip2", "xz", "zstd", "xlsx", "utf-16", "utf-16-le", "parquet", "sqlite", "pickle"],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".xlsx"])
def test_what_is_not_text_is_refused_with_a_command_that_converts_it(tmp_path, suffix, content, says):
    (tmp_path / f"in{suffix}").write_bytes(content)
    with pytest.raises(InputError, match=says):
        find_format(InputFile(str(tmp_path / f"in{suffix}")))


def test_the_command_offers_the_formats_that_are_found():
    assert OFFERED == FORMATS


def test_an_unknown_format_is_an_error_that_lists_the_formats(tmp_path):
    (tmp_path / "in.jsonl").write_bytes(ROW)
    with pytest.raises(InputError, match="'xml' is unknown: use one of jsonl, json, csv"):
        open_reader(str(tmp_path / "in.jsonl"), FieldNames(), InputOptions(format="xml"))

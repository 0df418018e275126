"""Logs of inspect_ai.

`logs/inspect_ai.json` was written by inspect_ai 0.3.285 with `epochs=3`; events, times and usage were removed.
"""

from __future__ import annotations

import json
import struct
import sys
import zipfile
from pathlib import Path

import pytest

from semantic_entropy import InputError, MissingDependencyError
from semantic_entropy.io.formats import InputOptions
from tests.semantic_entropy.io.measured_files import measure, read

LOG = Path(__file__).parent / "logs" / "inspect_ai.json"


def as_zip(path, samples):
    """A log in the format `eval`, with the names of members that inspect_ai gives."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", "{}")
        for sample in samples:
            archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
        archive.writestr("header.json", "{}")
    return path


def test_the_epochs_of_a_sample_are_its_responses_in_both_formats(tmp_path, capsys):
    samples = json.loads(LOG.read_text())["samples"]
    measure(LOG, tmp_path / "json.jsonl", equivalence="text")
    measure(as_zip(tmp_path / "log.eval", samples), tmp_path / "eval.jsonl", equivalence="text")
    rows = read(tmp_path / "json.jsonl")
    assert rows == read(tmp_path / "eval.jsonl")
    expected = {"id": 2, "question": "Capital of Italy?", "responses": ["It is Paris"] * 3, "target": "Rome"}
    assert expected.items() <= rows[0].items()  # the reasoning is left out
    assert rows[1]["id"] == "q1"
    assert rows[1]["scores"] == [{"includes": "C"}] * 3
    assert "logprobs" not in rows[1]  # some epochs have reasoning, and its tokens cannot be told apart
    assert "log.eval: read as a log of inspect_ai" in capsys.readouterr().err


def test_a_failed_epoch_is_a_warning_and_a_sample_without_output_is_a_bad_row(tmp_path):
    samples = json.loads(LOG.read_text())["samples"]
    for sample in samples:
        if sample["id"] == 2 or sample["epoch"] == 3:
            sample["error"] = {"message": "out of memory", "traceback": "", "traceback_ansi": ""}
    measure(as_zip(tmp_path / "log.eval", samples), tmp_path / "out.jsonl")
    row = read(tmp_path / "out.jsonl")[0]
    assert row["responses"] == ["Paris", "Paris"]
    assert "1 of 3 epochs have no output: out of memory" in row["warnings"]
    assert read(tmp_path / "out.jsonl.bad.jsonl")[0]["problem"] == "3 of 3 epochs have no output: out of memory"


def test_a_text_that_inspect_stored_as_an_attachment_is_read(tmp_path):
    sample = json.loads(LOG.read_text())["samples"][1]
    sample |= {"input": "attachment://1a", "attachments": {"1a": "a long question?"}}
    measure(as_zip(tmp_path / "log.eval", [sample]), tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl")[0]["question"] == "a long question?"


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python reads Zstandard since 3.14")
def test_a_log_compressed_with_zstandard_is_read_or_refused_with_the_fix(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zipfile_zstd", None)
    path = as_zip(tmp_path / "log.eval", [json.loads(LOG.read_text())["samples"][1]])
    deflated, zstandard = struct.pack("<H", zipfile.ZIP_DEFLATED), struct.pack("<H", 93)
    data = path.read_bytes()
    for beginning, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):  # the two places of the compression
        data = beginning.join(
            part[: offset - 4] + part[offset - 4 :].replace(deflated, zstandard, 1) for part in data.split(beginning)
        )
    path.write_bytes(data)
    with pytest.raises(
        MissingDependencyError, match="pip install zipfile-zstd, or convert the log with inspect log convert"
    ):
        measure(path, tmp_path / "out.jsonl")


def test_group_by_is_refused_because_the_epochs_are_grouped(tmp_path):
    with pytest.raises(InputError, match="grouped by its samples: leave --group-by out"):
        measure(LOG, tmp_path / "out.jsonl", options=InputOptions(group_by="id"))

"""Logs of inspect_ai.

`logs/inspect_ai.json` was written by inspect_ai 0.3.285 with `epochs=3`; events, times and usage were removed.
"""

from __future__ import annotations

import json
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from semantic_entropy import InputError, MissingDependencyError, estimate
from semantic_entropy.io.formats import InputOptions
from semantic_entropy.io.readers import inspect_logs
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


MALFORMED = [
    ({"epoch": "x"}, "epoch='x' of a sample is not a whole number"),
    ({"epoch": None}, "epoch=None of a sample is not a whole number"),
    ({"output": "x"}, "output='x' of a sample is not a JSON object"),
    ({"attachments": [1]}, "attachments=[1] of a sample is not a JSON object"),
    ({"scores": [1]}, "scores=[1] of a sample is not a JSON object"),
    ({"scores": {"a": 1}}, "the score 'a' of a sample is 1, not a JSON object"),
    ({"error": "boom", "scores": {"a": {"value": float("nan")}}}, "1 of 1 epochs have no output: boom"),
    ({"output": {"choices": 5}}, "1 of 1 epochs have no output: no choices"),
    ({"output": {"choices": [5]}}, "1 of 1 epochs have no output: no choices"),
    ([1], "a sample is a JSON object, not a list"),
    (None, "a sample is a JSON object, not a NoneType"),
]


@pytest.mark.parametrize(("change", "problem"), MALFORMED)
@pytest.mark.parametrize("suffix", [".json", ".eval"])
def test_a_malformed_sample_is_a_bad_row_and_the_others_are_measured(tmp_path, change, problem, suffix):
    log = json.loads(LOG.read_text())
    good, other = log["samples"][1], log["samples"][0]
    bad = {**other, **change} if isinstance(change, dict) else change
    path = tmp_path / f"log{suffix}"
    if suffix == ".eval":
        with zipfile.ZipFile(as_zip(path, [good]), "a") as archive:
            archive.writestr("samples/bad_epoch_1.json", json.dumps(bad))
    else:
        path.write_text(json.dumps({**log, "samples": [good, bad]}, indent=1))
    summary = measure(path, tmp_path / "out.jsonl")
    assert (summary.rows, summary.rejected) == (1, 1)
    assert read(tmp_path / "out.jsonl.bad.jsonl")[0]["problem"] == problem


def test_a_member_that_cannot_be_read_is_a_bad_row_with_its_name(tmp_path):
    good = json.loads(LOG.read_text())["samples"][1]
    path = as_zip(tmp_path / "log.eval", [good])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("samples/a_epoch_1.json", "{bad")
        archive.writestr("samples/b_epoch_1.json", '{"id": ' + "[" * 100_000)
        archive.writestr("samples/c_epoch_1.json", '{"id": "crc"}')
        archive.writestr("samples/d_epoch_1.json", "{}", zipfile.ZIP_LZMA)
    path.write_bytes(path.read_bytes().replace(b'{"id": "crc"}', b'{"id": "crx"}'))
    summary = measure(path, tmp_path / "out.jsonl")
    assert (summary.rows, summary.rejected) == (1, 4)
    problems = [row["problem"] for row in read(tmp_path / "out.jsonl.bad.jsonl")]
    assert problems[0].startswith("samples/a_epoch_1.json is not JSON: Expecting property name")
    assert problems[1].startswith("samples/b_epoch_1.json is not JSON: maximum recursion depth")
    assert problems[2].startswith("samples/c_epoch_1.json is damaged: Bad CRC-32")
    assert problems[3] == "samples/d_epoch_1.json has a compression that inspect_ai does not write (14)"


@pytest.mark.parametrize("says_its_size", [True, False])
def test_a_sample_that_unpacks_to_more_than_the_limit_is_a_bad_row_and_is_not_unpacked(
    tmp_path, monkeypatch, says_its_size
):
    monkeypatch.setattr(inspect_logs, "_LARGEST_SAMPLE", 2**20)
    size = 40 * 2**20
    path = as_zip(tmp_path / "log.eval", [json.loads(LOG.read_text())["samples"][1]])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("samples/bomb_epoch_1.json", " " * size)
    if not says_its_size:
        path.write_bytes(path.read_bytes().replace(struct.pack("<L", size), struct.pack("<L", 100)))
    tracemalloc.start()
    summary = measure(path, tmp_path / "out.jsonl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (summary.rows, summary.rejected) == (1, 1)
    assert peak < size / 2
    if says_its_size:
        problem = read(tmp_path / "out.jsonl.bad.jsonl")[0]["problem"]
        assert problem == "samples/bomb_epoch_1.json is larger than 1 MiB, the limit for a sample"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_epoch_that_is_in_the_log_twice_is_a_bad_row(tmp_path):
    samples = json.loads(LOG.read_text())["samples"]
    first = samples[0]
    summary = measure(as_zip(tmp_path / "log.eval", [*samples, first]), tmp_path / "out.jsonl")
    assert (summary.rows, summary.rejected) == (1, 1)
    problem = read(tmp_path / "out.jsonl.bad.jsonl")[0]["problem"]
    assert problem == f"epoch 1 of the sample {json.dumps(first['id'])} is in the log 2 times"


def test_the_ids_1_and_a_text_of_1_are_two_samples(tmp_path):
    log = json.loads(LOG.read_text())
    sample = log["samples"][1]
    log["samples"] = [{**sample, "id": 1, "epoch": 1}, {**sample, "id": "1", "epoch": 1}]
    (tmp_path / "log.json").write_text(json.dumps(log, indent=1))
    measure(tmp_path / "log.json", tmp_path / "out.jsonl")
    assert [(row["id"], row["responses"]) for row in read(tmp_path / "out.jsonl")] == [(1, ["Paris"]), ("1", ["Paris"])]
    log["samples"][1]["epoch"] = 2  # the .eval format has no place for both: their members have names with 1
    summary = measure(as_zip(tmp_path / "log.eval", log["samples"]), tmp_path / "eval.jsonl")
    assert (summary.rows, summary.rejected) == (0, 1)


def test_the_log_probabilities_of_the_outputs_are_evidence(tmp_path):
    """In the form of `Logprobs` of inspect_ai.model, which a log has with the options `logprobs` and `top_logprobs`."""
    samples = [sample for sample in json.loads(LOG.read_text())["samples"] if sample["id"] == 2]
    for epoch, sample in enumerate(samples, start=1):
        top = [{"token": "x", "logprob": each, "bytes": None} for each in (-0.5 / epoch, -3.0)]
        tokens = [{"token": "Paris", "logprob": -0.5 / epoch, "bytes": None, "top_logprobs": top}]
        choice = {"message": {"role": "assistant", "content": "Paris"}, "stop_reason": "stop"}
        sample["output"]["choices"] = [{**choice, "logprobs": {"content": tokens}}]
    estimators = ["discrete", "predictive", "epr"]
    measure(as_zip(tmp_path / "log.eval", samples), tmp_path / "out.jsonl", equivalence="text", estimator=estimators)
    (row,) = read(tmp_path / "out.jsonl")
    known = {
        "logprobs": [[-0.5 / epoch] for epoch in (1, 2, 3)],
        "top_logprobs": [[[-0.5 / epoch, -3.0]] for epoch in (1, 2, 3)],
    }
    assert row["result_scores"] == estimate(["Paris"] * 3, **known, equivalence="text", estimator=estimators).scores
    samples[2]["output"]["choices"][0]["logprobs"] = None  # one epoch without them: they are missing
    measure(as_zip(tmp_path / "log.eval", samples), tmp_path / "other.jsonl", equivalence="text", estimator="discrete")
    assert "logprobs" not in read(tmp_path / "other.jsonl")[0]
    with pytest.raises(InputError, match="estimator 'epr' needs top_logprobs"):
        measure(tmp_path / "log.eval", tmp_path / "third.jsonl", equivalence="text", estimator=["discrete", "epr"])

"""Logs of inspect_ai: the samples of an evaluation, each with one output for each epoch.

    LOG.json        {"version": 2, "status": "success", "eval": {...}, "samples": [{"id": ..., "epoch": 1, ...}, ...]}
    LOG.eval        a zip file with samples/ID_epoch_1.json, samples/ID_epoch_2.json, ...

A row is a sample: its outputs of all epochs are the responses, its input is the question. From a `.eval` log, one
sample at a time is in memory; a `.json` log is read as a whole. The rows of the output have the id, the input, the
target, the metadata and the scores of the sample, and its responses; not the transcript.

An epoch that ended with an error has no response: the result has a warning. Source: EvalSample of inspect_ai.log.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from semantic_entropy.clusters import last_user_turn, read_replies
from semantic_entropy.errors import InputError, MissingDependencyError
from semantic_entropy.io.readers.input_file import InputFile
from semantic_entropy.io.readers.json_array import array_items
from semantic_entropy.io.rows import InputRow, RowReader, check_row
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables import FieldNames

_ATTACHMENT = "attachment://"
_ZSTANDARD = 93  # the compression of the .eval files of newer versions; zipfile has it since Python 3.14


class InspectReader(RowReader):
    """Reads the samples of a log. The subclasses are the two formats of a log.

    Args:
        file: the input.
        names: the names of the fields in the output that hold responses, log-probabilities and id.
    """

    unit = "sample"
    number_key = "sample"

    def __init__(self, file: InputFile, names: FieldNames) -> None:
        super().__init__(file.name, names)
        self.file = file

    @abstractmethod
    def samples(self) -> Iterator[Sequence[Any]]:
        """Yield the epochs of each sample."""

    def rows(self) -> Generator[InputRow, None, None]:
        for number, found in enumerate(self.samples(), start=1):
            epochs = sorted((sample for sample in found if isinstance(sample, dict)), key=_epoch)
            if len(epochs) < len(found):
                problem: str | None = "an epoch of the sample is not a JSON object"
                yield InputRow(number, json.dumps(found, default=str), None, problem=problem)
                continue
            fields, note = _row_fields(epochs, self.names)
            group, problem = check_row(fields, self.names)
            if not fields[self.names.responses]:
                group, problem = None, note or "no epoch has an output"
            if group and note:
                group = replace(group, note=note)
            yield InputRow(number, to_json_line(fields) if problem else "", fields, group, problem)


class InspectJsonReader(InspectReader):
    """Reads a log in the format `json`."""

    def samples(self) -> Iterator[Sequence[Any]]:
        with contextlib.closing(array_items(self.file)) as items:
            log = next(items, None)
        samples = log.get("samples") if isinstance(log, dict) else None
        if not isinstance(samples, list):
            raise InputError(f"{self.name} has no samples: it is not a log of inspect_ai, or only the header of one")
        epochs = defaultdict(list)
        for sample in samples:
            epochs[str(sample.get("id")) if isinstance(sample, dict) else None].append(sample)
        yield from epochs.values()


class InspectZipReader(InspectReader):
    """Reads a log in the format `eval`.

    Raises:
        MissingDependencyError: the file is compressed with Zstandard, and this Python cannot read it.
    """

    def samples(self) -> Iterator[Sequence[Any]]:
        with self.file.open() as source, zipfile.ZipFile(source) as archive:
            for members in self._members(archive).values():
                yield [self._read(archive, name) for name in members]

    def _read(self, archive: zipfile.ZipFile, member: str) -> Any:
        try:
            return json.loads(archive.read(member))
        except (ValueError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
            return f"{member}: {type(error).__name__}"

    def total(self) -> int:
        with self.file.open() as source, zipfile.ZipFile(source) as archive:
            return len(self._members(archive))

    def _members(self, archive: zipfile.ZipFile) -> dict[str, list[str]]:
        """Return the names of the members for each sample."""
        members = defaultdict(list)
        for member in archive.infolist():
            folder, _, name = member.filename.partition("/")
            if folder == "samples" and name.endswith(".json"):
                if member.compress_type == _ZSTANDARD and not hasattr(zipfile, "ZIP_ZSTANDARD"):
                    _add_zstandard(self.name)
                members[name.rpartition("_epoch_")[0]].append(member.filename)
        return members


def _add_zstandard(name: str) -> None:
    try:
        import zipfile_zstd  # noqa: F401  # adds Zstandard to zipfile; inspect_ai depends on it
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} is compressed with Zstandard, which Python reads since version 3.14: pip install zipfile-zstd, or "
            f"convert the log with inspect log convert {name} --to json --output-dir logs-json"
        ) from error


def is_inspect_zip(file: InputFile) -> bool:
    """Whether the file is a zip file with the samples of a log."""
    with file.open() as source:
        try:
            names = zipfile.ZipFile(source).namelist()
        except (zipfile.BadZipFile, OSError):
            return False
    return "header.json" in names or any(name.startswith(("samples/", "_journal/")) for name in names)


def _row_fields(epochs: Sequence[Mapping[str, Any]], names: FieldNames) -> tuple[dict[str, Any], str | None]:
    """Return the fields of a row, and what is missing."""
    first, texts, failures = epochs[0], [], []
    logprobs: list[Any] = []
    for sample in epochs:
        output, attachments = _object(sample.get("output")), _object(sample.get("attachments"))
        replies = read_replies(_with_attachments(output.get("choices") or [], attachments))
        if sample.get("error") or not replies or not replies.texts:
            failures.append(_failure(sample))
        else:
            texts += replies.texts
            logprobs += replies.logprobs or [None] * len(replies.texts)
    given = _with_attachments(first.get("input"), _object(first.get("attachments")))
    fields = {
        names.id: first.get("id"),
        "question": last_user_turn(given),
        names.responses: texts,
        **{name: first[name] for name in ("target", "choices", "metadata") if first.get(name)},
        "scores": [
            {name: _object(score).get("value") for name, score in _object(sample.get("scores")).items()}
            for sample in epochs
        ],
    }
    if texts and None not in logprobs:
        fields[names.logprobs] = logprobs
    note = f"{len(failures)} of {len(epochs)} epochs have no output: {failures[0]}" if failures else None
    return fields, note


def _failure(sample: Mapping[str, Any]) -> str:
    message = _object(sample.get("error")).get("message") or _object(sample.get("output")).get("error")
    return str(message or "no choices")[:200]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _epoch(sample: Mapping[str, Any]) -> int:
    epoch = sample.get("epoch")
    return epoch if isinstance(epoch, int) else 0


def _with_attachments(value: Any, attachments: Mapping[str, str]) -> Any:
    """Replace references to attachments by their texts."""
    if isinstance(value, str) and value.startswith(_ATTACHMENT):
        return attachments.get(value.removeprefix(_ATTACHMENT), value)
    if isinstance(value, list):
        return [_with_attachments(item, attachments) for item in value]
    if isinstance(value, dict):
        return {name: _with_attachments(item, attachments) for name, item in value.items()}
    return value

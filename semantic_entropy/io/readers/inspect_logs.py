"""Logs of inspect_ai: the samples of an evaluation, each with one output for each epoch.

    LOG.json        {"version": 2, "status": "success", "eval": {...}, "samples": [{"id": ..., "epoch": 1, ...}, ...]}
    LOG.eval        a zip file with samples/ID_epoch_1.json, samples/ID_epoch_2.json, ...

A row is a sample: its outputs of all epochs are the responses, its input is the question. The log-probabilities of the
outputs, and those of the most probable tokens (the options `logprobs` and `top_logprobs` of inspect_ai), are evidence.
From a `.eval` log, one sample at a time is in memory; a `.json` log is read as a whole. The rows of the output have the
id, the input, the target, the metadata and the scores of the sample, and its responses; not the transcript.

An epoch that ended with an error has no response: the result has a warning. A sample that is not as inspect_ai writes
it, has an epoch twice, or is larger than 64 MiB in a `.eval` log is a bad row. Source: EvalSample of inspect_ai.log.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from semantic_entropy.clusters import OF_REPLIES, last_user_turn, read_replies
from semantic_entropy.errors import InputError, MissingDependencyError
from semantic_entropy.io.readers.input_file import InputFile
from semantic_entropy.io.readers.json_array import array_items
from semantic_entropy.io.rows import InputRow, RowReader, check_row
from semantic_entropy.tables import FieldNames

_ATTACHMENT = "attachment://"
_ZSTANDARD = 93  # the compression of the .eval files of newer versions; zipfile has it since Python 3.14
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, _ZSTANDARD)  # those that inspect_ai writes
_LARGEST_SAMPLE = 64 * 2**20  # bytes of a sample in a zip file, unpacked: a small file can unpack to any size
_OBJECTS = ("output", "attachments", "scores")  # the fields of a sample that are objects, or null


class InspectReader(RowReader):
    """Reads the samples of a log. The subclasses are the two formats of a log.

    Args:
        file: the input.
        names: the names of the fields in the output that hold responses, log-probabilities and id.
    """

    unit = "sample"
    number_key = "sample"
    file: InputFile

    def __init__(self, file: InputFile, names: FieldNames) -> None:
        super().__init__(file.name, names)
        self.file = file

    @abstractmethod
    def samples(self) -> Iterator[Sequence[Any]]:
        """Yield the epochs of each sample. In place of an epoch that cannot be read, the problem as a text."""

    def rows(self) -> Generator[InputRow, None, None]:
        for number, epochs in enumerate(self.samples(), start=1):
            try:
                yield self._row(number, epochs)
            except RecursionError:
                yield InputRow(number, "", None, problem="a sample is nested too deeply")

    def _row(self, number: int, epochs: Sequence[Any]) -> InputRow:
        if malformed := next(filter(None, map(_malformed, epochs)), None) or _not_one_sample(epochs):
            return InputRow(number, json.dumps(epochs, default=str), None, problem=malformed)
        fields, note = _row_fields(sorted(epochs, key=lambda sample: sample["epoch"]), self.names)
        group, problem = check_row(fields, self.names)
        if not fields[self.names.responses]:
            group, problem = None, note or "no epoch has an output"
        if group and note:
            group = replace(group, note=note)
        text = json.dumps(fields) if problem else ""  # a score can be nan
        return InputRow(number, text, fields, group, problem)


class InspectJsonReader(InspectReader):
    """Reads a log in the format `json`."""

    def samples(self) -> Iterator[Sequence[Any]]:
        with contextlib.closing(array_items(self.file)) as items:
            log = next(items, None)
        samples = log.get("samples") if isinstance(log, dict) else None
        if not isinstance(samples, list):
            raise InputError(f"{self.name} has no samples: it is not a log of inspect_ai, or only the header of one")
        epochs = defaultdict(list)
        for place, sample in enumerate(samples):  # 1 and "1" are two ids
            epochs[json.dumps(sample.get("id")) if isinstance(sample, dict) else place].append(sample)
        yield from epochs.values()


class InspectZipReader(InspectReader):
    """Reads a log in the format `eval`.

    Raises:
        MissingDependencyError: the file is compressed with Zstandard, and this Python cannot read it.
    """

    def samples(self) -> Iterator[Sequence[Any]]:
        with self.file.open() as source, zipfile.ZipFile(source) as archive:
            for members in self._members(archive).values():
                yield [self._read(archive, member) for member in members]

    def _read(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
        if member.compress_type not in _COMPRESSIONS:
            return f"{member.filename} has a compression that inspect_ai does not write ({member.compress_type})"
        too_large = f"{member.filename} is larger than {_LARGEST_SAMPLE // 2**20} MiB, the limit for a sample"
        if member.file_size > _LARGEST_SAMPLE:
            return too_large
        try:
            with archive.open(member) as source:  # the size in the zip file may be wrong: read no more than the limit
                text = source.read(_LARGEST_SAMPLE + 1)
            return json.loads(text) if len(text) <= _LARGEST_SAMPLE else too_large
        except (ValueError, RecursionError) as error:
            return f"{member.filename} is not JSON: {error}"
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            return f"{member.filename} is damaged: {error}"

    def total(self) -> int:
        with self.file.open() as source, zipfile.ZipFile(source) as archive:
            return len(self._members(archive))

    def _members(self, archive: zipfile.ZipFile) -> dict[str, list[zipfile.ZipInfo]]:
        """Return the members for each sample."""
        members = defaultdict(list)
        for member in archive.infolist():
            folder, _, name = member.filename.partition("/")
            if folder == "samples" and name.endswith(".json"):
                if member.compress_type == _ZSTANDARD and not hasattr(zipfile, "ZIP_ZSTANDARD"):
                    _add_zstandard(self.name)
                members[name.rpartition("_epoch_")[0]].append(member)
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


def _malformed(sample: Any) -> str | None:
    """Return why this is not a sample; None: it is one."""
    if isinstance(sample, str):  # the problem of a sample that could not be read
        return sample
    if not isinstance(sample, dict):
        return f"a sample is a JSON object, not a {type(sample).__name__}"
    if type(sample.get("epoch")) is not int:
        return f"epoch={sample.get('epoch')!r:.60} of a sample is not a whole number"
    for name in _OBJECTS:
        if not isinstance(sample.get(name) or {}, dict):
            return f"{name}={sample[name]!r:.60} of a sample is not a JSON object"
    for name, score in (sample.get("scores") or {}).items():
        if not isinstance(score, dict):
            return f"the score {name!r:.60} of a sample is {score!r:.60}, not a JSON object"
    return None


def _not_one_sample(epochs: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why these are not the epochs of one sample; None: they are."""
    ids = list(dict.fromkeys(json.dumps(sample.get("id")) for sample in epochs))
    if len(ids) > 1:
        return f"the epochs of a sample have different ids: {ids[0]:.60} and {ids[1]:.60}"
    epoch, count = Counter(sample["epoch"] for sample in epochs).most_common(1)[0]
    return f"epoch {epoch} of the sample {ids[0]:.60} is in the log {count} times" if count > 1 else None


def _row_fields(epochs: Sequence[Mapping[str, Any]], names: FieldNames) -> tuple[dict[str, Any], str | None]:
    """Return the fields of a row, and what is missing."""
    first, texts, failures = epochs[0], [], []
    known: dict[str, list[Any]] = {name: [] for name in (names.logprobs, *sorted(names.evidence & set(OF_REPLIES)))}
    for sample in epochs:
        output, attachments = _object(sample.get("output")), _object(sample.get("attachments"))
        replies = read_replies(_with_attachments(output.get("choices") or [], attachments))
        if sample.get("error") or not replies or not replies.texts:
            failures.append(_failure(sample))
        else:
            texts += replies.texts
            own = {names.logprobs: replies.logprobs, **replies.evidence}
            for name, values in known.items():
                values.extend(own.get(name) or [None] * len(replies.texts))
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
    fields |= {name: values for name, values in known.items() if values and None not in values}
    note = f"{len(failures)} of {len(epochs)} epochs have no output: {failures[0]}" if failures else None
    return fields, note


def _failure(sample: Mapping[str, Any]) -> str:
    error = sample.get("error")
    message = _object(error).get("message") or _object(sample.get("output")).get("error") or error
    return str(message or "no choices")[:200]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _with_attachments(value: Any, attachments: Mapping[str, str]) -> Any:
    """Replace references to attachments by their texts."""
    if isinstance(value, str) and value.startswith(_ATTACHMENT):
        return attachments.get(value.removeprefix(_ATTACHMENT), value)
    if isinstance(value, list):
        return [_with_attachments(item, attachments) for item in value]
    if isinstance(value, dict):
        return {name: _with_attachments(item, attachments) for name, item in value.items()}
    return value

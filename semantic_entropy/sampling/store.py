"""The sample store: a file that keeps each sample when it arrives, so that no sample is drawn twice.

Each sample is a JSON line with a key (a digest of the sampler's class, its settings and the question), the sampler's
description, the question and the sample. Lines are only appended. If a kill or a power cut left the last line
incomplete, this line is removed when the file is opened again. Only the offsets of the lines are in memory.

A sample without text that reached the token limit is no response (`is_lost`). It stays in the file, because it was paid
for, but it is not returned, and a later run asks for another sample in its place.

The store does not delete old samples. To draw all samples again, delete the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import threading
import weakref
from collections import Counter
from os import PathLike
from pathlib import Path
from typing import Any

from semantic_entropy.cache.identity import class_identity
from semantic_entropy.errors import InputError
from semantic_entropy.files import close_flushed, drop_partial_line, open_append, try_lock, write_lines
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.sampling.base import Sampler
from semantic_entropy.types import Sample, Usage

_LINE_START = b'{"key": "'  # the start of every line
_OPEN: weakref.WeakValueDictionary[Path, SampleStore] = weakref.WeakValueDictionary()  # the stores of this process


def is_lost(sample: Sample) -> bool:
    """Whether the token limit was reached before the text began, such as in the reasoning before it."""
    return sample.finish_reason == "length" and not sample.text.strip()


class SampleStore:
    """The samples in a file, by sampler and question.

    Only one process at a time can open the file. The threads of the process can share the store.

    Raises:
        InputError: the file is not a sample store, or another process has opened it.
        SemanticEntropyError: the file cannot be written, for example because the disk is full. Stored samples stay.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.found = self.added = 0
        self._lock = threading.Lock()
        self._offsets: dict[str, list[int]] = {}
        self._lost: Counter[str] = Counter()
        self._out = open_append(self.path)
        try:
            self._lock_file()
            self._read_offsets()
            drop_partial_line(self.path)
            self._out.seek(0, os.SEEK_END)  # the file may be shorter now
        except BaseException:
            close_flushed(self._out)
            raise

    def get(self, sampler: Sampler, question: str, n: int) -> list[Sample]:
        """Return the first n samples (or fewer) of this sampler for this question, and add their number to `found`."""
        samples = self.read(sampler, question, n)
        with self._lock:
            self.found += len(samples)
        return samples

    def read(self, sampler: Sampler, question: str, n: int) -> list[Sample]:
        """Like `get`, but do not change `found`: for samples that this run drew or has counted."""
        with self._lock:
            offsets = self._offsets.get(_key(sampler, question), [])[:n]
            if not offsets:
                return []
            with self.path.open("rb") as file:
                return [_to_sample(_read_line(file, offset)["sample"]) for offset in offsets]

    def lost(self, sampler: Sampler, question: str) -> int:
        """The number of samples in the file that are no responses. Their numbers and seeds are not used again."""
        with self._lock:
            return self._lost[_key(sampler, question)]

    def add(self, sampler: Sampler, question: str, sample: Sample) -> None:
        """Append one sample."""
        key = _key(sampler, question)
        line = {"key": key, "sampler": sampler.describe(), "question": question, "sample": _to_fields(sample)}
        with self._lock:
            offset = self._out.tell()
            write_lines(self._out, [to_json_line(line)], self.path)
            self._register(key, sample, offset)
            self.added += not is_lost(sample)

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        close_flushed(self._out)

    def __str__(self) -> str:
        held = sum(map(len, self._offsets.values()))
        return f"{self.path}: {held} responses, {self.added} of them new"

    def _register(self, key: str, sample: Sample, offset: int) -> None:
        if is_lost(sample):
            self._lost[key] += 1
        else:
            self._offsets.setdefault(key, []).append(offset)

    def _lock_file(self) -> None:
        if not try_lock(self._out.fileno()):
            raise InputError(self._lock_problem())
        _OPEN[self.path.resolve()] = self

    def _lock_problem(self) -> str:
        other = _OPEN.get(self.path.resolve())
        if other is None or other._out.closed:  # noqa: SLF001  # the same class
            return f"another run is writing {self.path}: wait for it, or choose another file"
        return (
            f"this process is already writing {self.path}: pass all questions in one list, or share one "
            "Scorer(sampler=..., samples=...) between the tasks and threads"
        )

    def _read_offsets(self) -> None:
        offset = 0
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                written = line.rstrip(b"\0")  # a power cut can leave zeros at the end
                if not line.endswith(b"\n") and written[: len(_LINE_START)] == _LINE_START[: len(written)]:
                    return  # a kill cut the line short
                try:
                    fields = json.loads(line)
                    sample = _to_sample(fields["sample"])
                    key = str(fields["key"])
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    raise InputError(
                        f"{self.path}, line {number}: not a sample ({type(error).__name__}: {error}): use another file"
                    ) from None
                self._register(key, sample, offset)
                offset += len(line)


def _key(sampler: Sampler, question: str) -> str:
    """Return a digest of sampler and question. It is equal in every process, because `settings` are plain values."""
    rules = () if sampler.rules == 1 else (sampler.rules,)  # without rules: the keys of 0.1.0
    text = repr((*class_identity(type(sampler)), *rules, sampler.settings, question))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _to_fields(sample: Sample) -> dict[str, Any]:
    """Convert the sample to JSON fields. A list of numbers with a nan or an infinity becomes None."""
    fields = dataclasses.asdict(sample)
    for name in ("logprobs", "token_entropies", "hidden_state"):
        if fields[name] is not None and not all(map(math.isfinite, fields[name])):
            fields[name] = None
    if fields["tokens"] is None:
        del fields["tokens"]  # 0.1.0 has no such field
    top, tokens = fields.pop("top_logprobs"), fields.pop("top_tokens")  # nor these
    if top is not None and any(math.isnan(number) for row in top for number in row):
        fields["top_logprobs"] = None  # as the run that drew it does not use it
    elif top is not None:  # -inf: a token that cannot be drawn
        fields["top_logprobs"] = [[number for number in row if math.isfinite(number)] for row in top]
        if tokens is not None:
            fields["top_tokens"] = [
                [text for text, number in zip(texts, row, strict=True) if math.isfinite(number)]
                for texts, row in zip(tokens, top, strict=True)
            ]
    return fields


def _read_line(file: Any, offset: int) -> dict[str, Any]:
    file.seek(offset)
    fields: dict[str, Any] = json.loads(file.readline())
    return fields


def _to_sample(fields: dict[str, Any]) -> Sample:
    """Build a sample from JSON fields. Raise TypeError if a sample has other fields."""
    usage = fields.get("usage")
    lists: dict[str, Any] = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    for name in ("top_logprobs", "top_tokens"):
        if name in lists:
            lists[name] = tuple(map(tuple, lists[name]))
    sample = Sample(**{**fields, **lists, "usage": Usage(**usage) if usage else None})
    if not isinstance(sample.text, str):
        raise TypeError("its text is not a str")
    return sample

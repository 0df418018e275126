"""Samples on disk: written one by one as they arrive, and not asked for again.

One JSON line a sample: who drew it (a digest of the sampler's class and settings, its description for a reader), the
question, the sample. The file is only ever appended to; a line that a kill or a power cut left unfinished is removed at
the next opening. In memory are only the places of the lines.

Left out: forgetting. Delete the file to have everything drawn anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import threading
import weakref
from os import PathLike
from pathlib import Path
from typing import Any

from semantic_entropy.errors import InputError
from semantic_entropy.files import close_flushed, drop_partial_line, open_append, try_lock, write_lines
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.sampling.base import Sampler
from semantic_entropy.types import Sample, Usage, class_identity

_BEGIN = b'{"key": "'  # of every line
_HERE: weakref.WeakValueDictionary[Path, SampleStore] = weakref.WeakValueDictionary()  # what this process holds


class SampleStore:
    """The samples in a file, by sampler and question; of one process at a time, and of any of its threads.

    Raises:
        InputError: the file holds something else, or another process is writing to it.
        SemanticEntropyError: it cannot be written, or the disk is full; what it holds stays whole.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.found = self.added = 0
        self._lock = threading.Lock()
        self._places: dict[str, list[int]] = {}
        self._out = open_append(self.path)
        try:
            self._hold()
            self._read()
            drop_partial_line(self.path)
        except BaseException:
            close_flushed(self._out)
            raise

    def get(self, sampler: Sampler, question: str, n: int) -> list[Sample]:
        """The first samples of this sampler for this question, n at most, counted as found."""
        samples = self.read(sampler, question, n)
        with self._lock:
            self.found += len(samples)
        return samples

    def read(self, sampler: Sampler, question: str, n: int) -> list[Sample]:
        """As `get`, without counting them: this run has had them before."""
        with self._lock:
            places = self._places.get(_key(sampler, question), [])[:n]
            if not places:
                return []
            with self.path.open("rb") as file:
                return [_sample(_line(file, place)["sample"]) for place in places]

    def add(self, sampler: Sampler, question: str, sample: Sample) -> None:
        """Write one sample down."""
        key = _key(sampler, question)
        line = {"key": key, "sampler": sampler.describe(), "question": question, "sample": _fields(sample)}
        with self._lock:
            place = self._out.tell()
            write_lines(self._out, [to_json_line(line)], self.path)
            self._places.setdefault(key, []).append(place)
            self.added += 1

    def close(self) -> None:
        """Close the file; may be called twice."""
        close_flushed(self._out)

    def __str__(self) -> str:
        held = sum(map(len, self._places.values()))
        return f"{self.path}: {held} responses, {self.added} of them new"

    def _hold(self) -> None:
        if not try_lock(self._out.fileno()):
            raise InputError(self._held())
        _HERE[self.path.resolve()] = self

    def _held(self) -> str:
        here = _HERE.get(self.path.resolve())
        if here is None or here._out.closed:  # noqa: SLF001  # its like
            return f"another run is writing {self.path}: wait for it, or choose another file"
        return (
            f"this process is writing {self.path} already: ask all questions in one list, or share one "
            "Scorer(sampler=..., samples=...) among the tasks and threads that ask"
        )

    def _read(self) -> None:
        place = 0
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                written = line.rstrip(b"\0")  # a power cut may leave space that was never written
                if not line.endswith(b"\n") and written[: len(_BEGIN)] == _BEGIN[: len(written)]:
                    return  # cut short by a kill
                try:
                    fields = json.loads(line)
                    _sample(fields["sample"])
                    key = str(fields["key"])
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    raise InputError(
                        f"{self.path}, line {number}: not a sample ({type(error).__name__}: {error}): use another file"
                    ) from None
                self._places.setdefault(key, []).append(place)
                place += len(line)


def _key(sampler: Sampler, question: str) -> str:
    """Who drew it and for what, the same in every process. Settings are plain values: their repr says all of them."""
    text = repr((*class_identity(type(sampler)), sampler.settings, question))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _fields(sample: Sample) -> dict[str, Any]:
    """The sample for JSON, which knows no nan: numbers of which one is not finite are no evidence, and are left out."""
    fields = dataclasses.asdict(sample)
    for name in ("logprobs", "token_entropies", "hidden_state"):
        if fields[name] is not None and not all(map(math.isfinite, fields[name])):
            fields[name] = None
    return fields


def _line(file: Any, place: int) -> dict[str, Any]:
    file.seek(place)
    fields: dict[str, Any] = json.loads(file.readline())
    return fields


def _sample(fields: dict[str, Any]) -> Sample:
    """A sample as `dataclasses.asdict` wrote it. Raises TypeError where it is something else."""
    usage = fields.get("usage")
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    sample = Sample(**{**fields, **lists, "usage": Usage(**usage) if usage else None})
    if not isinstance(sample.text, str):
        raise TypeError("its text is not a text")
    return sample

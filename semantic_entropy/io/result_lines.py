"""A file of results as JSON lines, where each result is found by the key of its row.

Each line ends with the key of its row (`row_key`) and the choices of its run (`run`, see `Scorer.identity`):

    {..., "row_key": "5f0c2a9b77d1e3ac41f6a0b2c9d8e7f6", "run": {"invalid": "drop"}}

Lines are only appended while a run measures. If the run is killed, only the last line can be incomplete; the next run
removes it. At the end, if the file holds other lines than those of the input, or holds them in another order, it is
written again in the order of the input and replaced in one step. A kill before this step costs nothing, because the
next run finds the results by their keys.

In memory are 20 bytes for each existing line (twice as many while they are sorted), and 8 bytes for each input row.
"""

from __future__ import annotations

import json
import re
import threading
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, Self

from semantic_entropy.errors import InputError
from semantic_entropy.files import close_flushed, open_append, replacement, write_lines
from semantic_entropy.io.fingerprints import RunChoices, check_choices
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables import bare_name

_KEY_TAIL = 200  # bytes before the choices at the end of a line that hold the key: both names may have prefixes
_ROW_KEY = rb'"(?:result_)*row_key": ?"([0-9a-f]{32})", ?"(?:result_)*run": ?'


class KeyIndex:
    """The places of results by the keys of their rows: 64 bits of each key, and an offset or a row number.

    Attributes:
        unused: the number of places whose key was not taken.
        left: the number of places that were not taken.
    """

    def __init__(self) -> None:
        self.unused = self.left = 0
        self._keys, self._places = array("Q"), array("q")
        self._sorted: Any = None  # (keys, places, number of taken places of the key that begins here), sorted by key

    def __len__(self) -> int:
        return len(self._keys) if self._sorted is None else len(self._sorted[0])

    def add(self, key: str, place: int) -> None:
        """Add a place. Call it before the first look-up."""
        self._keys.append(_prefix(key))
        self._places.append(place)
        self.unused += 1
        self.left += 1

    def unused_by(self, keys: Iterable[str]) -> int:
        """Return the number of places with another key than these. Stop reading when they are at most half."""
        for key in keys:
            self.take(key)
            if self.unused * 2 <= len(self):
                break
        unused, self.unused, self.left = self.unused, len(self), len(self)
        if self._sorted is not None:
            self._sorted[2].fill(0)  # the places can be taken again
        return unused

    def take(self, key: str) -> int | None:
        """Return the next place of this key; the last one again if all are taken; None if there is none."""
        first = self._find(key)
        if first is None:
            return None
        keys, places, taken = self._sorted
        if not taken[first]:
            self.unused -= int(keys.searchsorted(keys[first], "right")) - first
        index = first + int(taken[first])
        if index < len(keys) and keys[index] == keys[first]:
            taken[first] += 1
            self.left -= 1
            return int(places[index])
        return int(places[index - 1])

    def _find(self, key: str) -> int | None:
        """Return the index of the first place of this key in the sorted arrays."""
        if not len(self):
            return None
        if self._sorted is None:
            self._sort()
        keys, _, _ = self._sorted
        wanted = keys.dtype.type(_prefix(key))
        index = int(keys.searchsorted(wanted))
        return index if index < len(keys) and keys[index] == wanted else None

    def _sort(self) -> None:
        import numpy as np  # only for a run that continues: the import takes longer than a small run

        keys, places = np.frombuffer(self._keys, np.uint64), np.frombuffer(self._places, np.int64)
        order = np.argsort(keys, kind="stable")
        self._sorted = keys[order], places[order], np.zeros(len(keys), np.int32)
        self._keys, self._places = array("Q"), array("q")  # not needed any more


def work_file(output: Path) -> Path:
    """Return the path of the file that holds the results of a run until its Parquet output is written."""
    return output.with_name(f"{output.name}.partial.jsonl")


def _prefix(key: str) -> int:
    return int(key[:16], 16)


class ResultLines:
    """The results in a file of JSON lines, by the keys of their rows. `with` opens the file for appending.

    Args:
        path: the path of the file. It need not exist.
        name: the name of the output in messages.
        runs: the choices that results of this run have: without and with a sampler.

    Attributes:
        places: by row number, the offset of the line of the row; -1: the row has no line.

    Raises:
        InputError: the file holds something else, or results of other choices. The message names the choices.
    """

    def __init__(self, path: Path, name: str, runs: Sequence[RunChoices]) -> None:
        self.path, self.name, self.runs = path, name, runs
        self.index = KeyIndex()
        self._tail = _KEY_TAIL + max(len(to_json_line(run).encode()) for run in runs)
        self._size = self._scan() if path.exists() else 0  # bytes of complete lines
        self._lines, self._old_size = len(self.index), self._size
        self.places = array("q")
        self._lock = threading.Lock()  # a sampler may read rows, and look up their results, in another thread

    def __enter__(self) -> Self:
        self._out = open_append(self.path)
        self._out.truncate(self._size)
        self._in: IO[bytes] = self.path.open("rb")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        close_flushed(self._out)
        self._in.close()

    def take(self, key: str) -> tuple[int, bytes] | None:
        """Return (offset, line) of a result with this key that no other row has taken; None if there is none.

        If all are taken, return the last one again: rows with equal keys have equal results.
        """
        with self._lock:
            offset = self.index.take(key)
            if offset is None:
                return None
            line = self.read(offset)
        return (offset, line) if key.encode() in line[-self._tail :] else None  # the index has half of each key

    def place(self, number: int, offset: int) -> None:
        """Note that the line at this offset belongs to the row with this number."""
        self.places.extend([-1] * (number + 1 - len(self.places)))
        self.places[number] = offset

    def line_of(self, number: int) -> bytes:
        """Return the line that belongs to the row with this number."""
        with self._lock:
            return self.read(self.places[number])

    def append(self, lines: Sequence[tuple[int, str]]) -> None:
        """Append lines, given as (row number, line). If a write fails, the lines before the failure are in the file."""
        with self._lock:
            write_lines(self._out, [line for _, line in lines], self.path)
            for number, line in lines:
                self.place(number, self._size)
                self._size += len(line.encode()) + 1
            self._lines += len(lines)

    def drop_appended(self) -> None:
        """Remove the lines that were appended since the file was opened."""
        with self._lock:
            self._out.truncate(self._old_size)

    def settle(self) -> None:
        """Write the file again in the order of the rows, if it holds other lines or another order."""
        rows, last, in_order = 0, -1, True
        for offset in self.places:
            if offset >= 0:
                rows, last, in_order = rows + 1, offset, in_order and offset > last
        if in_order and rows == self._lines:
            return
        with replacement(self.path) as temporary:
            with temporary.open("wb") as file:
                file.writelines(self.read(offset) for offset in self.places if offset >= 0)
            self.close()  # some systems cannot replace an open file

    def read(self, offset: int) -> bytes:
        """Return the line at this offset."""
        self._in.seek(offset)
        return self._in.readline()

    def _scan(self) -> int:
        """Read the keys of all lines, and check their choices. Return the number of bytes of complete lines."""
        ends = [re.compile(_ROW_KEY + re.escape(to_json_line(run).encode()) + rb"\}\r?\n\Z") for run in self.runs]
        size = 0
        try:
            with self.path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if _is_cut_off(line):
                        break
                    tail = line[-self._tail :]
                    found = next(filter(None, (end.search(tail) for end in ends)), None)
                    self.index.add(found[1].decode() if found else self._checked(number, line), size)
                    size += len(line)
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read: {error.strerror}") from error
        return size

    def _checked(self, number: int, line: bytes) -> str:
        """Return the key in a line of another form. Raise InputError if it is no result, or has other choices."""
        place, fix = f"{self.name}, line {number}", "choose another output, or use --overwrite"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{place} is not a result ({error}): {fix}") from None
        names = list(fields) if isinstance(fields, dict) else []
        if "provenance" in names and not any(bare_name(name) == "row_key" for name in names):
            raise InputError(f"{place} is a result of version 0.1.0 without a key, so it cannot be continued: {fix}")
        if list(map(bare_name, names[-2:])) != ["row_key", "run"] or not isinstance(fields[names[-1]], dict):
            raise InputError(f"{place} is not a result: {fix}")
        check_choices(self.name, fields[names[-1]], self.runs)
        return str(fields[names[-2]])


def _is_cut_off(line: bytes) -> bool:
    """Whether the line is the beginning of a result that a kill cut off. A power cut can leave zeros at the end."""
    if line.endswith(b"\n"):
        return False
    written = line.rstrip(b"\0")
    if not written.startswith(b"{"):
        return not written
    try:
        return bare_name(list(json.loads(written))[-1]) == "run"  # only the end of the line is missing
    except (ValueError, IndexError, RecursionError):
        return True

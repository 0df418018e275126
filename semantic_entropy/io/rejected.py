"""The rows that a run set aside, in OUTPUT.bad.jsonl: a line for each, in the order of the input.

    {"line": 4, "problem": "...", "row": "..."}                  wrong in itself: never looked at again
    {"line": 7, "problem": "...", "again": true, "row": "..."}   it was the server, or nobody was there to be asked

A row to be tried again gets its result in the place where it belongs. For that the output is written anew beside the
old one, and both files change places in steps, of which a kill may leave any:

    OUTPUT.again, then OUTPUT.bad.jsonl.again are written whole    a kill: both are removed, nothing has happened
    OUTPUT.again becomes OUTPUT                                    from here on it counts
    OUTPUT.bad.jsonl.again becomes OUTPUT.bad.jsonl                a kill before it: it is done at the next start
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from semantic_entropy.files import append_lines, drop_partial_line
from semantic_entropy.io.rows import Row, Sink
from semantic_entropy.plain_text import to_json_line

Entry = dict[str, Any]


def entry_of(key: str, row: Row, problem: str, *, again: bool) -> Entry:
    """A row's line; `key` names its number."""
    return {key: row.number, "problem": problem, **({"again": True} if again else {}), "row": row.text}


class SetAside:
    """The file of an output's bad rows; `key` is the field that holds a row's number."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self._next = path.with_name(f"{path.name}.again")

    def read(self) -> dict[int, Entry]:
        """What is there, by the row's number."""
        if not self.path.exists():
            return {}
        drop_partial_line(self.path)
        with self.path.open("rb") as lines:
            entries: list[Entry] = [json.loads(line) for line in lines]
        return {entry[self.key]: entry for entry in entries}

    def add(self, entries: Iterable[Entry]) -> None:
        """Append these rows."""
        append_lines(self.path, list(map(to_json_line, entries)))

    def replace(self, entries: Mapping[int, Entry]) -> None:
        """Hold these rows, whole or not at all."""
        self.prepare(entries)
        self._take_over()

    def prepare(self, entries: Mapping[int, Entry]) -> None:
        """Write down what the file will hold once the output has changed."""
        half = self._next.with_name(f"{self._next.name}.tmp")
        half.unlink(missing_ok=True)
        append_lines(half, [to_json_line(entries[number]) for number in sorted(entries)])
        sync(half)
        half.replace(self._next)

    def exchange(self, new: Path, old: Path) -> None:
        """The output written anew takes the old one's place, and what was prepared this file's."""
        new.replace(old)
        self._take_over()

    def recover(self, fresh: Sink, new: Path) -> None:
        """After a kill: finish what counted already, undo what did not. `fresh` writes to `new`."""
        if self._next.exists():
            if new.exists():
                self._next.unlink()  # before the other: alone, it would count
            else:
                self._take_over()
        fresh.clear()

    def clear(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        self._next.unlink(missing_ok=True)

    def _take_over(self) -> None:
        self._next.replace(self.path)
        if not self.path.stat().st_size:
            self.path.unlink()


def sync(path: Path) -> None:
    """Wait until a file is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

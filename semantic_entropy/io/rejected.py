"""Rejected rows, in OUTPUT.bad.jsonl: one line for each input row without a result, in input order.

    {"line": 4, "problem": "...", "row": "..."}                  the row itself is wrong: never tried again
    {"line": 7, "problem": "...", "again": true, "row": "..."}   the server failed, or there was no sampler: tried again

When a rejected row gets a result in a later run, the result belongs between the results of its neighbours. Therefore
the output is written again to a second file, and both files are replaced in steps that survive a kill:

    1. write OUTPUT.again, then OUTPUT.bad.jsonl.again       a kill before step 2: the next run removes both
    2. rename OUTPUT.again to OUTPUT                         from here on the new results count
    3. rename OUTPUT.bad.jsonl.again to OUTPUT.bad.jsonl     a kill before step 3: the next run does step 3
"""

from __future__ import annotations

import contextlib
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from semantic_entropy.files import append_lines, drop_partial_line, sync
from semantic_entropy.io.rows import InputRow, MeasuredRow, ResultWriter, RowReader
from semantic_entropy.plain_text import to_json_line

Rejection = dict[str, Any]
_ROWS_AT_ONCE = 256  # rows written at once


def to_rejection(number_key: str, row: InputRow, problem: str, *, retry: bool) -> Rejection:
    """The line for a row without a result. `number_key`: the name of the field for its number."""
    return {number_key: row.number, "problem": problem, **({"again": True} if retry else {}), "row": row.text}


def can_retry(rejection: Rejection) -> bool:
    """Whether a later run tries the row again."""
    return bool(rejection.get("again"))


class RejectedRows:
    """The file of an output's rejected rows. `number_key`: the field that holds a row's number."""

    def __init__(self, path: Path, number_key: str) -> None:
        self.path, self.number_key = path, number_key
        self._next = path.with_name(f"{path.name}.again")

    def read(self) -> dict[int, Rejection]:
        """The rejections by row number."""
        if not self.path.exists():
            return {}
        drop_partial_line(self.path)
        with self.path.open("rb") as lines:
            rejections: list[Rejection] = [json.loads(line) for line in lines]
        return {rejection[self.number_key]: rejection for rejection in rejections}

    def add(self, rejections: Iterable[Rejection]) -> None:
        """Append these rejections."""
        append_lines(self.path, list(map(to_json_line, rejections)))

    def replace(self, rejections: Mapping[int, Rejection]) -> None:
        """Replace the content of the file, completely or not at all."""
        self.prepare(rejections)
        self._take_next()

    def prepare(self, rejections: Mapping[int, Rejection]) -> None:
        """Write the future content to the second file."""
        temporary = self._next.with_name(f"{self._next.name}.tmp")
        temporary.unlink(missing_ok=True)
        append_lines(temporary, [to_json_line(rejections[number]) for number in sorted(rejections)])
        sync(temporary)
        temporary.replace(self._next)

    def exchange(self, new_output: Path, output: Path) -> None:
        """Replace the output, then this file by its prepared content: steps 2 and 3 of the module's docstring."""
        new_output.replace(output)
        self._take_next()

    def recover(self, writer: ResultWriter, new_output: Path) -> None:
        """After a kill during `exchange`: finish it if step 2 was done, else undo it. `writer` writes `new_output`."""
        if self._next.exists():
            if new_output.exists():
                self._next.unlink()  # first: without `new_output` it would mean that step 2 was done
            else:
                self._take_next()
        writer.clear()

    def clear(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self._next.unlink(missing_ok=True)

    def _take_next(self) -> None:
        self._next.replace(self.path)
        if not self.path.stat().st_size:
            self.path.unlink()


def second_path(output: Path) -> Path:
    """The second file to which an output is written again; it has the same suffix."""
    return output.with_name(f"{output.name}.again{output.suffix}")


def insert_results(
    new: Mapping[int, MeasuredRow],
    writer: ResultWriter,
    second_writer: ResultWriter,
    reader: RowReader,
    field: str,
    rejected: RejectedRows,
) -> None:
    """Insert results of rejected rows into a finished output, and remove these rows from the rejected ones.

    Args:
        new: the measured rows by number.
        writer: of the finished output.
        second_writer: writes to `second_path`.
        reader: of the input.
        field: the input field that holds the responses.
        rejected: the rows without a result.
    """
    rejections = rejected.read()
    second_writer.clear()
    with contextlib.closing(reader.rows()) as rows:
        old = writer.read_back(row.marked_as_sampled(field) for row in rows if row.number not in rejections)
        merged = heapq.merge(old, (new[number] for number in sorted(new)), key=lambda measured: measured[0].number)
        with second_writer:
            for chunk in _chunks(merged):
                second_writer.write(chunk)
            second_writer.finish()
    output = Path(writer.name)
    sync(second_path(output))
    rejected.prepare({number: rejection for number, rejection in rejections.items() if number not in new})
    rejected.exchange(second_path(output), output)


def _chunks(measured: Iterator[MeasuredRow]) -> Iterator[list[MeasuredRow]]:
    while chunk := list(islice(measured, _ROWS_AT_ONCE)):
        yield chunk

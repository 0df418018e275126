"""The file of rejected rows, OUTPUT.bad.jsonl: one line for each input row without a result, in input order.

    {"line": 4, "problem": "...", "row": "..."}                  the row is wrong: no run retries the row
    {"line": 7, "problem": "...", "again": true, "row": "..."}   the server failed, or no sampler: the next run retries

If a retried row gets a result, this result must be inserted between the results of its neighbours. Therefore the whole
output is written to a second file. Then both files are replaced in steps that can be finished after a kill:

    1. write OUTPUT.again, then OUTPUT.bad.jsonl.again       a kill before step 2: the next run removes both
    2. rename OUTPUT.again to OUTPUT                         from now on, the output has the new results
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
from semantic_entropy.tables import FieldNames

Rejection = dict[str, Any]
_ROWS_AT_ONCE = 256  # number of rows that are written at once


def to_rejection(number_key: str, row: InputRow, problem: str, *, retry: bool) -> Rejection:
    """Return the line for a row without a result. The row number is stored under `number_key`."""
    return {number_key: row.number, "problem": problem, **({"again": True} if retry else {}), "row": row.text}


def can_retry(rejection: Rejection) -> bool:
    """Whether a later run retries the row."""
    return bool(rejection.get("again"))


class RejectedRows:
    """Reads and writes the file of rejected rows, OUTPUT.bad.jsonl.

    Args:
        path: the path of the file.
        number_key: the key of the row number in each line: "line" or "row_number".
    """

    def __init__(self, path: Path, number_key: str) -> None:
        self.path, self.number_key = path, number_key
        self._next = path.with_name(f"{path.name}.again")

    def read(self) -> dict[int, Rejection]:
        """Return the rejections by row number."""
        if not self.path.exists():
            return {}
        drop_partial_line(self.path)
        with self.path.open("rb") as lines:
            rejections: list[Rejection] = [json.loads(line) for line in lines]
        return {rejection[self.number_key]: rejection for rejection in rejections}

    def add(self, rejections: Iterable[Rejection]) -> None:
        """Append rejections to the file."""
        append_lines(self.path, list(map(to_json_line, rejections)))

    def replace(self, rejections: Mapping[int, Rejection]) -> None:
        """Replace the content of the file, completely or not at all."""
        self.prepare(rejections)
        self._take_next()

    def prepare(self, rejections: Mapping[int, Rejection]) -> None:
        """Write the new content to the second file, OUTPUT.bad.jsonl.again."""
        temporary = self._next.with_name(f"{self._next.name}.tmp")
        temporary.unlink(missing_ok=True)
        append_lines(temporary, [to_json_line(rejections[number]) for number in sorted(rejections)])
        sync(temporary)
        temporary.replace(self._next)

    def exchange(self, new_output: Path, output: Path) -> None:
        """Replace the output by `new_output`, then this file by its second file: steps 2 and 3 of this module."""
        new_output.replace(output)
        self._take_next()

    def recover(self, writer: ResultWriter, new_output: Path) -> None:
        """Finish the exchange of a killed run if step 2 was done; else undo step 1.

        Args:
            writer: the writer of `new_output`.
            new_output: the second file of the output, OUTPUT.again.
        """
        if self._next.exists():
            if new_output.exists():
                self._next.unlink()  # before new_output: this file without new_output means that step 2 was done
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
    """Return the path of the second file of an output. It has the same suffix as the output."""
    return output.with_name(f"{output.name}.again{output.suffix}")


def insert_results(
    new: Mapping[int, MeasuredRow],
    writer: ResultWriter,
    second_writer: ResultWriter,
    reader: RowReader,
    names: FieldNames,
    rejected: RejectedRows,
) -> None:
    """Insert the results of retried rows into a finished output, and remove these rows from the rejected rows.

    Args:
        new: the retried rows that have a result now, by row number.
        writer: the writer of the finished output.
        second_writer: the writer of the second file (`second_path`).
        reader: the reader of the input.
        names: the names of the fields that are measured.
        rejected: the file of the rejected rows.
    """
    rejections = rejected.read()
    second_writer.clear()
    with contextlib.closing(reader.rows()) as rows:
        old = writer.read_back(row.marked_as_sampled(names) for row in rows if row.number not in rejections)
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

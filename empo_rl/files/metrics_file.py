"""Read and write `metrics.jsonl`, which has one line, a JSON object with the key `step`, for each training step.

A line is written at the end of its step. A resumed run starts from a checkpoint, and the file may have lines of steps
after the checkpoint. `MetricsFile(path, after=step)` deletes these lines, so no step appears twice. It also deletes an
incomplete last line, which a kill leaves behind.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from empo_rl.files.atomic_writes import write_atomically
from semantic_entropy import InputError


class MetricsFile:
    """A metrics file to which rows are appended. Each row is flushed before `append` returns.

    Args:
        path: the file. A new `MetricsFile` rewrites an existing file.
        after: the step of the checkpoint. Rows of later steps are deleted.
    """

    def __init__(self, path: Path, after: int = 0) -> None:
        self.path = path
        kept = [row for row in read_metrics(path) if row["step"] <= after] if path.exists() else []
        write_atomically(path, "".join(_line(row) for row in kept))

    def append(self, row: Mapping[str, Any]) -> None:
        """Append the row of a step. nan and infinity are written as null, because JSON has neither."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the complete rows of a metrics file. An incomplete last line, which a kill leaves behind, is ignored.

    Raises:
        InputError: a complete line is not a JSON object with an integer `step`. The message names the line.
    """
    rows, _is_cut = read_rows(path)
    return rows


def read_rows(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """Return the same rows as `read_metrics`, and whether an incomplete last line follows the rows."""
    *lines, cut_line = path.read_bytes().split(b"\n")  # not str.splitlines: a text may contain U+2028
    return [_row(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)], bool(cut_line)


def _row(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:  # also UnicodeDecodeError
        raise InputError(f"{place} is not JSON ({error}). Was the file edited?") from error
    if not isinstance(row, dict):
        raise InputError(f"{place} is not a JSON object: {line.decode().strip()[:60]}. Was the file edited?")
    if type(row.get("step")) is not int:
        raise InputError(f"{place}: 'step' is missing or is not an integer. Was the file edited?")
    return row


def _line(row: Mapping[str, Any]) -> str:
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
    }
    return json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n"

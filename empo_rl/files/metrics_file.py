"""`metrics.jsonl`: one JSON object a line for each training step, with the key `step`.

A line is written at the end of its step. A resumed run starts from a checkpoint, which may be older than the last line:
`MetricsFile(path, after=step)` deletes the later lines, and a last line that a kill cut short, so that no step appears
twice.
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
    """Appends rows to a file. Each row is flushed before `append` returns."""

    def __init__(self, path: Path, after: int = 0) -> None:
        self.path = path
        kept = [row for row in read_metrics(path) if row["step"] <= after] if path.exists() else []
        write_atomically(path, "".join(_line(row) for row in kept))

    def append(self, row: Mapping[str, Any]) -> None:
        """Write the row of one step. JSON has no nan and no infinity: both are written as null."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The complete rows of a metrics file. Leaves out an incomplete last line, which a kill leaves behind.

    Raises:
        InputError: another line is not a JSON object; names the line.
    """
    rows, _is_cut = read_rows(path)
    return rows


def read_rows(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """As `read_metrics`, and whether an incomplete line follows the rows."""
    *lines, cut_line = path.read_bytes().split(b"\n")  # not str.splitlines: a text may contain U+2028
    return [_row(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)], bool(cut_line)


def _row(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:  # UnicodeDecodeError too
        raise InputError(f"{place} is not JSON ({error}). Was the file edited?") from error
    if not isinstance(row, dict):
        raise InputError(f"{place} is not a JSON object: {line.decode().strip()[:60]}. Was the file edited?")
    return row


def _line(row: Mapping[str, Any]) -> str:
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
    }
    return json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n"

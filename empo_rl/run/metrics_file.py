"""`metrics.jsonl`: one line a training step, key `step`, written as the step ends.

A resumed run starts again from a checkpoint, which may lie before the last line: `MetricsFile(path, after=step)`
drops the lines after it, and a line that a killed process left unfinished, so that no step appears twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semantic_entropy import InputError


class MetricsFile:
    """Appends rows to a file, each complete and out of this process before the next step starts."""

    def __init__(self, path: Path, after: int = 0) -> None:
        self.path = path
        kept = [row for row in read_metrics(path) if row["step"] <= after] if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        replacement = path.with_suffix(".tmp")
        replacement.write_text("".join(_line(row) for row in kept), encoding="utf-8")
        replacement.replace(path)  # in one move: a kill here loses neither version

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one step's row; a nan or an infinity becomes null, which JSON has."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The complete rows of a metrics file. Only the last line can be incomplete, after a kill; it is left out.

    Raises:
        InputError: another line is no JSON object; names it.
    """
    rows, _unfinished = read_rows(path)
    return rows


def read_rows(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """As `read_metrics`, and whether an unfinished line follows the rows."""
    *lines, unfinished = path.read_bytes().split(b"\n")  # not at U+2028, which a text may hold
    return [_row(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)], bool(unfinished)


def _row(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:  # UnicodeDecodeError too
        raise InputError(f"{place} is not JSON ({error}): was the file edited?") from error
    if not isinstance(row, dict):
        raise InputError(f"{place} is no JSON object, as every row is: {line.decode().strip()[:60]}")
    return row


def _line(row: Mapping[str, Any]) -> str:
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
    }
    return json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n"

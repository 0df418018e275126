"""Real data, and outputs of other code, in the folder ../shared. A test is skipped if a file is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def golden(name: str) -> Any:
    """A file of expected outputs, parsed."""
    return json.loads(_path("golden", name).read_text())


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of a JSON lines file."""
    return [json.loads(line) for line in _path("data", name).read_text().splitlines()]


def _path(folder: str, name: str) -> Path:
    path = SHARED / folder / name
    if not path.exists():
        pytest.skip(f"{folder}/{name} is missing in ../shared")
    return path

"""Run the command `semantic-entropy` as a process, for the tests of the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "semantic_entropy"]


ROWS = [
    {"id": "a", "question": "Capital of France?", "responses": ["Paris", "It is Paris", "Rome"], "gold": "Paris"},
    {"id": "b", "responses": [r"\boxed{\frac12}", r"\boxed{0.5}"], "logprobs": [[-0.1], [-0.2, -0.3]]},
    {"id": "c", "responses": ["x"], "answer": "the row's own", "entropy": "also the row's own"},
]


def call(*arguments, **options):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, **options)


def write(path: Path, rows) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def read(path: Path):
    return [json.loads(line) for line in path.read_text().splitlines()]

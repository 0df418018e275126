"""The demo's output directory. A run never mixes with another one's files.

    base/  final/     the models, before and after
    metrics.jsonl     one line a training step
    summary.json      the table's numbers, AUROC, seconds
    training.png      entropy and accuracy along training

A directory that holds an earlier demo is emptied of exactly these and used again: a demo is made anew in
minutes. One that holds anything else is refused.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from semantic_entropy import InputError

METRICS, SUMMARY, PICTURE, BASE, FINAL = "metrics.jsonl", "summary.json", "training.png", "base", "final"
_OURS = frozenset({METRICS, SUMMARY, PICTURE, BASE, FINAL})


def prepare(directory: Path) -> bool:
    """Make the directory, without an earlier demo's files. Returns whether there were any."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"--output-dir {directory} is a file: name a directory.")
    directory.mkdir(parents=True, exist_ok=True)
    present = {entry.name for entry in directory.iterdir()}
    if foreign := sorted(present - _OURS):
        raise InputError(
            f"--output-dir {directory} holds {foreign[0]!r}, which no demo wrote: name an empty or new directory."
        )
    for name in present:
        entry = directory / name
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return bool(present)

"""A training run's directory, and what starting in one that is not empty means.

    config.yaml      the configuration as it was run       metrics.jsonl    one line a step
    checkpoint-N/    to resume from                        final/           the trained model
    base/            only for `model: demo`                README.md        the model card that TRL writes

An earlier run is never mixed with a new one: starting where one lies is refused, unless it is resumed or overwritten.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from semantic_entropy import InputError

CONFIG, METRICS, FINAL, BASE, CARD = "config.yaml", "metrics.jsonl", "final", "base", "README.md"
_CHECKPOINT, _STATE = "checkpoint-", "trainer_state.json"


def start(directory: Path, *, resume: bool, overwrite: bool) -> Path | None:
    """Make the directory ready. Returns the checkpoint to go on from; None starts at the beginning."""
    if resume and overwrite:
        raise InputError("resume and overwrite exclude each other: go on from the last checkpoint, or begin anew.")
    if directory.exists() and not directory.is_dir():
        raise InputError(f"output_dir: {directory} is a file: name a directory.")
    directory.mkdir(parents=True, exist_ok=True)
    earlier = _earlier_run(directory)
    if earlier and not resume and not overwrite:
        raise InputError(
            f"output_dir: {directory} holds an earlier run ({earlier[0].name}). Add --resume to go on with it, "
            "--overwrite to delete it and begin anew, or output_dir=OTHER."
        )
    if overwrite:
        for entry in earlier:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return last_checkpoint(directory) if resume else None


def last_checkpoint(directory: Path) -> Path | None:
    """The latest complete checkpoint. The trainer's state is written last, so one without it was cut off by a kill."""
    complete = [entry for entry in directory.glob(f"{_CHECKPOINT}*") if _step(entry) is not None]
    return max(complete, key=lambda entry: _step(entry) or 0, default=None)


def checkpoint_step(checkpoint: Path | None) -> int:
    """The step after which it was saved; 0 for none."""
    return 0 if checkpoint is None else _step(checkpoint) or 0


def write_config(directory: Path, config: Mapping[str, Any]) -> list[str]:
    """Keep the configuration as it is run. Returns what differs from the one that was kept before, a line a key."""
    path, changes = directory / CONFIG, []
    if path.exists():
        before = dict(_flat(yaml.safe_load(path.read_text(encoding="utf-8"))))
        now = dict(_flat(config))
        changes = [f"{key}: {before.get(key)!r} -> {value!r}" for key, value in now.items() if before.get(key) != value]
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return [change for change in changes if not change.startswith("resume:")]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _step(checkpoint: Path) -> int | None:
    try:
        state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return int(state["global_step"])


def _earlier_run(directory: Path) -> list[Path]:
    ours = {CONFIG, METRICS, FINAL, BASE, CARD}
    return sorted(e for e in directory.iterdir() if e.name in ours or e.name.startswith(_CHECKPOINT))

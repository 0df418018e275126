"""A training run's directory, and what starting in one that is not empty means.

    config.yaml      the configuration as it was run       metrics.jsonl    one line a step
    checkpoint-N/    to resume from                        final/           the trained model
    cost.json        seconds by part, peak memory       base/            only for `model: demo`
    alarms.jsonl     one line an alarm that fired
    adapter/         only for `lora.merge`

An earlier run is never mixed with a new one: starting where one lies is refused, unless it is resumed or overwritten.
And where a process is still at work, another one starts nothing (`alone`).
What a run left that ended before its first step is no earlier run, and makes room. `look` writes nothing; `prepare`
does what it decided, once everything else about the run has been checked.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.run import checkpoints
from empo_rl.run.files import write_whole
from semantic_entropy import InputError
from semantic_entropy.files import try_lock

CONFIG, METRICS, COSTS, ALARMS = "config.yaml", "metrics.jsonl", "cost.json", "alarms.jsonl"
FINAL, BASE, ADAPTER = "final", "base", "adapter"
_SAVED = (checkpoints.PREFIX, f"{checkpoints.BROKEN}{checkpoints.PREFIX}")


@dataclass(frozen=True, slots=True)
class Start:
    """checkpoint: to go on from; None begins at step 1. broken: set aside. remains: deleted. notes: what to say."""

    checkpoint: Path | None = None
    broken: tuple[Path, ...] = ()
    remains: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold a directory that is there against other processes; the system lets go of it when this one dies, however.

    Leaves out Windows, where a directory cannot be locked.

    Raises:
        InputError: another process holds it.
    """
    if sys.platform == "win32" or not directory.is_dir():
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        if not try_lock(handle):
            raise InputError(
                f"output_dir: another process is at work in {directory}. Wait for it, stop it, or name another "
                "directory."
            )
        yield
    finally:
        os.close(handle)


def look(directory: Path, *, resume: bool, overwrite: bool) -> Start:
    """How to start here, or why not."""
    if resume and overwrite:
        raise InputError("resume and overwrite exclude each other: go on from the last checkpoint, or begin anew.")
    if directory.exists() and not directory.is_dir():
        raise InputError(f"output_dir: {directory} is a file: name a directory.")
    earlier = _earlier_run(directory) if directory.exists() else ()
    if resume:
        return _resume(directory)
    stepless = bool(earlier) and _made_no_step(directory)
    if earlier and not overwrite and not stepless:
        raise InputError(
            f"output_dir: {directory} holds an earlier run ({earlier[0].name}). Add --resume to go on with it, "
            "--overwrite to delete it and begin anew, or output_dir=OTHER."
        )
    notes = (f"{directory} holds what is left of a run that made no step: it makes room",) if stepless else ()
    return Start(remains=earlier, notes=notes)


def prepare(directory: Path, start: Start) -> None:
    """Make the directory ready. The empty metrics file says that what lies here is a run, and made no step yet."""
    for entry in start.remains:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for checkpoint in start.broken:
        checkpoints.set_aside(checkpoint)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / METRICS).touch()


def write_config(directory: Path, config: Mapping[str, Any]) -> list[str]:
    """Keep the configuration as it is run. Returns what differs from the one that was kept before, a line a key."""
    import yaml

    differing = changes(directory, config)
    write_whole(directory / CONFIG, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
    return [change for change in differing if not change.startswith("resume:")]


def changes(directory: Path, config: Mapping[str, Any]) -> list[str]:
    """What differs from the configuration that was kept here, a line a key; nothing where none was kept."""
    import yaml

    path = directory / CONFIG
    if not path.exists():
        return []
    before = dict(_flat(yaml.safe_load(path.read_text(encoding="utf-8")) or {}))
    now = dict(_flat(config))
    return [f"{key}: {before.get(key)!r} -> {value!r}" for key, value in now.items() if before.get(key) != value]


def _resume(directory: Path) -> Start:
    checkpoint, broken = checkpoints.latest(directory)
    notes = [f"{path} is passed over and set aside: {fault}" for path, fault in broken.items()]
    notes.append(
        f"resuming from {checkpoint}" if checkpoint else f"nothing to resume in {directory}: starting at step 1"
    )
    return Start(checkpoint, broken=tuple(broken), notes=tuple(notes))


def _made_no_step(directory: Path) -> bool:
    """Ours, by its metrics file, which has no complete line; and nothing that a step leaves."""
    metrics = directory / METRICS
    if not metrics.is_file() or b"\n" in metrics.read_bytes():
        return False
    return not any(entry.name.startswith((FINAL, *_SAVED)) for entry in directory.iterdir())


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _earlier_run(directory: Path) -> tuple[Path, ...]:
    ours = {ALARMS, CONFIG, METRICS, COSTS, FINAL, BASE, ADAPTER}
    return tuple(sorted(e for e in directory.iterdir() if e.name in ours or e.name.startswith(_SAVED)))

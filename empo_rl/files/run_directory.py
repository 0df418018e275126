"""The directory of a training run, and how a run starts in a directory that is not empty.

    config.yaml      the configuration of the run          metrics.jsonl    one line a step
    checkpoint-N/    a checkpoint to resume from           final/           the trained model
    cost.json        seconds by part, peak memory          base/            only for `model: demo`
    alarms.jsonl     one line for each alarm that fired    adapter/         only for `lora.merge`

A new run never mixes with an earlier one: a directory with an earlier run is refused, unless the run is resumed or
overwritten. A run that ended before its first step does not count: its files are deleted. `lock` keeps a second process
out. `plan_start` only reads; `prepare` carries out its plan, after everything else about the run has been checked.
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

from empo_rl.files import checkpoints
from empo_rl.files.atomic_writes import write_atomically
from semantic_entropy import InputError
from semantic_entropy.files import try_lock

CONFIG, METRICS, COSTS, ALARMS = "config.yaml", "metrics.jsonl", "cost.json", "alarms.jsonl"
FINAL, BASE, ADAPTER = "final", "base", "adapter"
_SAVED = (checkpoints.PREFIX, f"{checkpoints.BROKEN}{checkpoints.PREFIX}")


@dataclass(frozen=True, slots=True)
class StartPlan:
    """How a run starts in its directory."""

    checkpoint: Path | None = None  # to resume from; None starts at step 1
    broken: tuple[Path, ...] = ()  # checkpoints to rename
    leftovers: tuple[Path, ...] = ()  # files and folders of an earlier run to delete
    notes: tuple[str, ...] = ()  # sentences for the user


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Keep other processes out of an existing directory. The operating system releases the lock when the process dies.

    Leaves out Windows, where a directory cannot be locked.

    Raises:
        InputError: another process has the lock.
    """
    if sys.platform == "win32" or not directory.is_dir():
        yield
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        if not try_lock(handle):
            raise InputError(
                f"output_dir: another process is running in {directory}. Wait until it ends, stop it, or choose "
                "another directory."
            )
        yield
    finally:
        os.close(handle)


def plan_start(directory: Path, *, resume: bool, overwrite: bool) -> StartPlan:
    """Decide how a run starts in the directory. Writes nothing.

    Raises:
        InputError: the run cannot start there; says why and what to do.
    """
    if resume and overwrite:
        raise InputError(
            "resume and overwrite exclude each other: resume continues the earlier run, overwrite deletes it."
        )
    if directory.exists() and not directory.is_dir():
        raise InputError(f"output_dir: {directory} is a file: choose a directory.")
    earlier = _earlier_run(directory) if directory.exists() else ()
    if resume:
        return _resume(directory)
    without_step = bool(earlier) and _made_no_step(directory)
    if earlier and not overwrite and not without_step:
        raise InputError(
            f"output_dir: {directory} contains an earlier run ({earlier[0].name}). Add --resume to continue it, add "
            "--overwrite to delete it and start again, or set output_dir=OTHER."
        )
    notes = (f"deleting the files of a run in {directory} that ended before its first step",) if without_step else ()
    return StartPlan(leftovers=earlier, notes=notes)


def prepare(directory: Path, start: StartPlan) -> None:
    """Carry out the plan. Leaves an empty metrics file, which marks a run that has made no step yet."""
    for entry in start.leftovers:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for checkpoint in start.broken:
        checkpoints.rename_broken(checkpoint)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / METRICS).touch()


def write_config(directory: Path, config: Mapping[str, Any]) -> list[str]:
    """Write `config.yaml`. Returns one line for each key that differs from the file that was there."""
    import yaml

    differing = config_changes(directory, config)
    write_atomically(directory / CONFIG, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
    return [change for change in differing if not change.startswith("resume:")]


def config_changes(directory: Path, config: Mapping[str, Any]) -> list[str]:
    """One line for each key that differs from `config.yaml`; an empty list if there is no such file."""
    import yaml

    path = directory / CONFIG
    if not path.exists():
        return []
    before = dict(_flat(yaml.safe_load(path.read_text(encoding="utf-8")) or {}))
    now = dict(_flat(config))
    return [f"{key}: {before.get(key)!r} -> {value!r}" for key, value in now.items() if before.get(key) != value]


def _resume(directory: Path) -> StartPlan:
    checkpoint, broken = checkpoints.latest(directory)
    notes = [f"skipping and renaming the broken {path}: {fault}" for path, fault in broken.items()]
    notes.append(
        f"resuming from {checkpoint}" if checkpoint else f"no checkpoint to resume in {directory}: starting at step 1"
    )
    return StartPlan(checkpoint, broken=tuple(broken), notes=tuple(notes))


def _made_no_step(directory: Path) -> bool:
    """Whether the metrics file exists without a complete line, and nothing is there that a step leaves."""
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
    names = {ALARMS, CONFIG, METRICS, COSTS, FINAL, BASE, ADAPTER}
    return tuple(sorted(e for e in directory.iterdir() if e.name in names or e.name.startswith(_SAVED)))

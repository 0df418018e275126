"""The directory of a training run, and the start of a run in a directory that is not empty.

    config.yaml      the configuration of the run          metrics.jsonl    one line per step
    checkpoint-N/    a checkpoint to resume from           final/           the trained model
    cost.json        seconds by part, peak memory          base/            only for `model: demo`
    alarms.jsonl     one line for each alarm that fired    adapter/         only for `lora.merge`
    samples.jsonl    completions of a few prompts          evaluation.jsonl one line per held-out evaluation

The files of two runs never mix: a new run cannot start in the directory of an earlier run, unless it resumes or
overwrites the earlier run. If the earlier run ended before its first step, its files are deleted. `lock` prevents two
processes from using the same directory. `plan_start` returns a plan and writes nothing. `prepare` executes the plan,
after all other checks of the run have passed.
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
SAMPLES, EVALUATION = "samples.jsonl", "evaluation.jsonl"
FINAL, BASE, ADAPTER = "final", "base", "adapter"
_SAVED = (checkpoints.PREFIX, f"{checkpoints.BROKEN}{checkpoints.PREFIX}")


@dataclass(frozen=True, slots=True)
class StartPlan:
    """The plan for the start of a run in its directory.

    Attributes:
        checkpoint: the checkpoint from which the run continues; None starts the run at step 1.
        broken: the checkpoints to rename.
        leftovers: the files and folders of an earlier run to delete.
        notes: sentences for the user.
    """

    checkpoint: Path | None = None
    broken: tuple[Path, ...] = ()
    leftovers: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Lock an existing directory for this process. The operating system releases the lock when the process ends.

    Windows cannot lock a directory, so there the function does nothing.

    Raises:
        InputError: another process holds the lock.
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
    """Return the plan for the start of a run in the directory. This function writes nothing.

    Args:
        directory: the directory of the run. It may not exist yet.
        resume: whether the run continues an earlier run from its latest complete checkpoint.
        overwrite: whether the run deletes the files of an earlier run.

    Raises:
        InputError: the run cannot start in the directory. The message says why, and what to do.
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
    """Execute the plan, and create an empty metrics file, which marks a run before its first step."""
    for entry in start.leftovers:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for checkpoint in start.broken:
        checkpoints.rename_broken(checkpoint)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / METRICS).touch()


def write_config(directory: Path, config: Mapping[str, Any]) -> list[str]:
    """Write `config.yaml`. Return one line for each key that differs from the previous `config.yaml`."""
    import yaml

    differing = config_changes(directory, config)
    write_atomically(directory / CONFIG, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
    return [change for change in differing if not change.startswith("resume:")]


def config_changes(directory: Path, config: Mapping[str, Any]) -> list[str]:
    """Return one line for each key that differs from `config.yaml`; an empty list if the file does not exist."""
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
    """Whether the metrics file exists without a complete line, and there is neither a checkpoint nor a final model."""
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
    names = {ALARMS, CONFIG, METRICS, COSTS, SAMPLES, EVALUATION, FINAL, BASE, ADAPTER}
    return tuple(sorted(e for e in directory.iterdir() if e.name in names or e.name.startswith(_SAVED)))

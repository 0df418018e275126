"""The demo's output directory. A run never mixes with another one's files.

    config.yaml       the options, and the versions that the numbers depend on
    base/  final/     the models, before and after
    metrics.jsonl     one line a training step
    summary.json      the table's numbers, AUROC, seconds; written last: with it, a demo is finished
    training.png      entropy and accuracy along training

and until it is finished, to go on from: checkpoint-N/, seconds.json.

A directory that holds an earlier demo is emptied of exactly these and used again, unless it is resumed: a demo is made
anew in minutes. One that holds anything else is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.demo.demo_options import VERSIONS
from empo_rl.files import TEMPORARY_SUFFIX, checkpoints, run_directory
from empo_rl.files.run_directory import BASE, CONFIG, FINAL, METRICS
from empo_rl.plot.run_files import SUMMARY
from semantic_entropy import InputError

PICTURE, SECONDS = "training.png", "seconds.json"
_WHOLE = (BASE, FINAL, SUMMARY, SECONDS, CONFIG, METRICS)  # put in their places when they are whole
_OURS = frozenset({SUMMARY, CONFIG, METRICS, PICTURE, SECONDS, BASE, FINAL})
_CHECKPOINTS = (checkpoints.PREFIX, f"{checkpoints.BROKEN}{checkpoints.PREFIX}")


@dataclass(frozen=True, slots=True)
class DemoStart:
    """resumed: an earlier demo goes on. finished: it has nothing left to do. checkpoint: of its training, where there
    is one. notes: what to say.
    """

    resumed: bool = False
    finished: bool = False
    checkpoint: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def resumed_from(self) -> int | None:
        """The step after which this process went on: 0 before the first checkpoint, None in a demo begun by it."""
        return checkpoints.step(self.checkpoint) if self.resumed else None


def prepare(directory: Path, options: Mapping[str, Any]) -> DemoStart:
    """Make the directory ready for a new demo with these options, without an earlier demo's files."""
    ours = _present(directory)
    for name in ours:
        _remove(directory / name)
    run_directory.write_config(directory, options)
    return DemoStart(notes=(f"replacing the earlier demo in {directory}",) if ours else ())


def resume(directory: Path, options: Mapping[str, Any]) -> DemoStart:
    """Make the directory ready for going on with the demo in it; where there is none, for a new one.

    Raises:
        InputError: the demo there was begun with other options, or finished by a version that wrote none down.
    """
    ours = _present(directory)
    if CONFIG not in ours:
        if SUMMARY in ours:
            raise InputError(
                f"{directory} holds a finished demo without {CONFIG}, so its options are unknown: "
                "leave --resume out to replace it, or name another --output-dir."
            )
        return _begin_anew(directory, options)
    changes = run_directory.config_changes(directory, options)
    refused = [change for change in changes if not change.startswith(f"{VERSIONS}.")]
    if refused:
        raise InputError(
            f"the demo in {directory} was begun with other options ({'; '.join(refused)}): give the same ones, "
            "or leave --resume out to replace it."
        )
    if SUMMARY in ours:
        tidy(directory)
        return DemoStart(resumed=True, finished=True, notes=(f"the demo in {directory} is finished",))
    start = run_directory.plan_start(directory, resume=True, overwrite=False)
    run_directory.prepare(directory, start)
    differ = tuple(f"{change} since this demo began: the numbers may differ" for change in changes)
    made = (f"the base model in {directory / BASE} is there",) if (directory / BASE).exists() else ()
    return DemoStart(True, checkpoint=start.checkpoint, notes=(*differ, *made, *start.notes))


def way_on(directory: Path) -> str:
    """For someone who interrupted a demo: where it goes on."""
    checkpoint, _ = checkpoints.latest(directory)
    if checkpoint:
        return f"The last checkpoint is {checkpoint}: the same command with --resume goes on from there."
    if (directory / BASE).exists():
        return "The base model is made: the same command with --resume goes on with it at step 1."
    return "The same command with --resume begins the pre-training again."


def tidy(directory: Path) -> None:
    """Delete what only an unfinished demo needs."""
    for entry in directory.iterdir():
        if entry.name == SECONDS or _is_passing(entry.name) or entry.name.startswith(_CHECKPOINTS):
            _remove(entry)


def _begin_anew(directory: Path, options: Mapping[str, Any]) -> DemoStart:
    """Where a kill came before the options were written down, nothing of worth is there."""
    prepare(directory, options)
    return DemoStart(notes=(f"nothing to resume in {directory}: beginning with the pre-training",))


def _present(directory: Path) -> list[str]:
    """Our files there, in the order in which they are deleted: without its summary a demo is not finished, and without
    its options it is none.
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(f"--output-dir {directory} is a file: name a directory.")
    directory.mkdir(parents=True, exist_ok=True)
    present = {entry.name for entry in directory.iterdir()}
    ours = {name for name in present if name in _OURS or _is_passing(name) or name.startswith(_CHECKPOINTS)}
    if foreign := sorted(present - ours):
        raise InputError(
            f"--output-dir {directory} holds {foreign[0]!r}, which no demo wrote: name an empty or new directory."
        )
    first = [name for name in (SUMMARY, CONFIG) if name in ours]
    return [*first, *sorted(ours.difference(first))]


def _is_passing(name: str) -> bool:
    """What a kill leaves of a file or folder that is put in its place when it is whole."""
    if name in {"metrics.tmp", f".{PICTURE}"}:
        return True
    return name.endswith(TEMPORARY_SUFFIX) and name.startswith(tuple(f"{one}." for one in _WHOLE))


def _remove(entry: Path) -> None:
    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

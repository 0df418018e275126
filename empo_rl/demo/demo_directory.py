"""Prepare the output directory of the demo. A directory never mixes the files of a demo with those of another run.

    config.yaml       the options, and the versions of the libraries that compute the numbers
    base/  final/     the models before and after training
    metrics.jsonl     one line per training step            alarms.jsonl, cost.json, samples.jsonl    as for every run
    summary.json      the numbers of the table, AUROC, seconds; written last: the demo is finished
    training.png      entropy and accuracy during training

The directory of an unfinished demo also contains checkpoint-N/; `--resume` continues from the last checkpoint.

Without `--resume`, a new demo first deletes these files of an earlier demo; a demo takes only minutes. If the directory
contains any other file, an error is raised.
"""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from empo_rl.files import TEMPORARY_SUFFIX, checkpoints, run_directory
from empo_rl.files.run_directory import ALARMS, BASE, CONFIG, COSTS, FINAL, LOCK, METRICS, SAMPLES
from empo_rl.plot.run_files import SUMMARY
from semantic_entropy import InputError

PICTURE = "training.png"
HELD_OUT = "held_out"  # key of the evaluations in the state file of a checkpoint
_VERSIONS = "versions"  # key of config.yaml with the versions of the libraries
_RECORDED_VERSIONS = ("semantic-entropy", "torch", "transformers", "trl")
_SECONDS = "seconds.json"  # a file that demos of version 0.1.0 wrote
_OWN_FILES = frozenset({SUMMARY, CONFIG, METRICS, PICTURE, COSTS, ALARMS, SAMPLES, _SECONDS, BASE, FINAL})
_CHECKPOINTS = (checkpoints.PREFIX, f"{checkpoints.BROKEN}{checkpoints.PREFIX}")


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of the command line; docs/empo/demo.md explains each option."""

    seed: int
    steps: int
    learning_rate: float
    reward: str
    pretrain_steps: int

    def to_dict(self) -> dict[str, Any]:
        """The content of `config.yaml`: the options, and the versions of the libraries that compute the numbers."""
        versions = {"python": platform.python_version(), **{name: version(name) for name in _RECORDED_VERSIONS}}
        return {**asdict(self), _VERSIONS: versions}


@dataclass(frozen=True, slots=True)
class DemoStart:
    """The start of a demo in its directory: new, resumed, or already finished.

    Attributes:
        resumed: whether the demo continues an earlier demo.
        finished: whether the earlier demo is complete.
        checkpoint: the checkpoint from which the training continues; None: the training starts at step 1.
        notes: sentences for the user.
    """

    resumed: bool = False
    finished: bool = False
    checkpoint: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def resumed_from(self) -> int | None:
        """The last step of the checkpoint. 0 if a resumed demo has no checkpoint; None if the demo is new."""
        return checkpoints.step(self.checkpoint) if self.resumed else None


def prepare(directory: Path) -> DemoStart:
    """Make the directory ready for a new demo: delete the files of an earlier demo.

    Raises:
        InputError: the directory contains a file that no demo writes.
    """
    own = _own_files(directory)
    for name in own:
        _remove(directory / name)
    return DemoStart(notes=(f"replacing the earlier demo in {directory}",) if own else ())


def resume_demo(directory: Path, options: DemoOptions) -> DemoStart:
    """Make the directory ready to continue its demo. If it contains no demo, make it ready for a new demo.

    Raises:
        InputError: the earlier demo has other options, is finished and did not record its options, or has a checkpoint
            without evaluations (of version 0.1.0).
    """
    own = _own_files(directory)
    if CONFIG not in own:
        if SUMMARY in own:
            raise InputError(
                f"{directory} contains a finished demo without {CONFIG}, so its options are unknown. Leave out "
                "--resume to replace the demo, or choose another --output-dir."
            )
        prepare(directory)  # a kill before the options were recorded leaves nothing useful
        return DemoStart(notes=(f"no demo to resume in {directory}: starting with the pre-training",))
    changes = run_directory.config_changes(directory, options.to_dict())
    refused = [change for change in changes if not change.startswith(f"{_VERSIONS}.")]
    if refused:
        raise InputError(
            f"the demo in {directory} was started with other options ({'; '.join(refused)}). Give the same options, "
            "or leave out --resume to replace the demo."
        )
    if SUMMARY in own:
        tidy(directory)
        return DemoStart(resumed=True, finished=True, notes=(f"the demo in {directory} is finished",))
    checkpoint, _ = checkpoints.latest(directory)
    if checkpoint and not _keeps_evaluations(checkpoint):
        raise InputError(
            f"{directory}: {checkpoint.name} was written by another version and contains no evaluations. Start again "
            "without --resume."
        )
    run_directory.write_config(directory, options.to_dict())
    differences = tuple(f"{change} since this demo was started: the numbers may differ" for change in changes)
    base = (f"the base model {directory / BASE} exists",) if (directory / BASE).exists() else ()
    return DemoStart(True, checkpoint=checkpoint, notes=(*differences, *base))


def resume_hint(directory: Path) -> str:
    """A sentence for the user who interrupted the demo: the effect of `--resume`."""
    checkpoint, _ = checkpoints.latest(directory)
    if checkpoint:
        return f"The last checkpoint is {checkpoint}: the same command with --resume continues from it."
    if (directory / BASE).exists():
        return "The base model is complete: the same command with --resume continues with it at step 1."
    return "The same command with --resume starts the pre-training again."


def tidy(directory: Path) -> None:
    """Delete the files that only an unfinished demo needs."""
    for entry in directory.iterdir():
        if entry.name == _SECONDS or _is_temporary(entry.name) or entry.name.startswith(_CHECKPOINTS):
            _remove(entry)


def _keeps_evaluations(checkpoint: Path) -> bool:
    file = checkpoints.state_file(checkpoint, 0)
    return file.exists() and HELD_OUT in json.loads(file.read_text(encoding="utf-8"))


def _own_files(directory: Path) -> list[str]:
    """The demo's files in the directory, in the order of deletion.

    The summary is deleted first, because it marks a finished demo. The options are next: without them, `--resume`
    starts a new demo.
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(f"--output-dir {directory} is a file: choose a directory.")
    directory.mkdir(parents=True, exist_ok=True)
    present = {entry.name for entry in directory.iterdir()} - {LOCK}
    own = {n for n in present if n in _OWN_FILES or _is_temporary(n) or n.startswith(_CHECKPOINTS)}
    if foreign := sorted(present - own):
        raise InputError(
            f"--output-dir {directory} contains {foreign[0]!r}, which is not a file of a demo. Choose an empty or new "
            "directory."
        )
    first = [name for name in (SUMMARY, CONFIG) if name in own]
    return [*first, *sorted(own.difference(first))]


def _is_temporary(name: str) -> bool:
    """Whether this name is that of an unfinished file or folder, which a killed demo leaves."""
    if name in {"metrics.tmp", f".{PICTURE}"}:  # metrics.tmp: of version 0.1.0
        return True
    return name.endswith(TEMPORARY_SUFFIX) and name.startswith(tuple(f"{own}." for own in _OWN_FILES))


def _remove(entry: Path) -> None:
    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

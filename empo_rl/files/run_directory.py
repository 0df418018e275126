"""The directory of a training run, and the start of a run in a directory that is not empty.

    config.yaml      the configuration of the run          metrics.jsonl    one line per step
    checkpoint-N/    a checkpoint to resume from           final/           the trained model
    cost.json        seconds by part, peak memory          base/            only for `model: demo`
    alarms.jsonl     one line for each alarm that fired    adapter/         only for `lora.merge`
    samples.jsonl    completions of a few prompts          evaluation.jsonl one line per held-out evaluation
    questions.json   the number and the digest of the prompts, which a resumed run must read again
    code.json        the digests of the files of the user from which rewards are computed: Python code, votes

The files of two runs never mix: a new run cannot start in the directory of an earlier run, unless it resumes or
overwrites the earlier run. If the earlier run ended before its first step, its files are deleted. `lock` prevents two
processes from using the same directory, from before the first look at its files until the end of the run. `plan_start`
returns a plan and writes nothing. `prepare` executes the plan, after all other checks of the run have passed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.files import checkpoints
from empo_rl.files.atomic_writes import write_atomically
from empo_rl.files.metrics_file import read_metrics
from semantic_entropy import InputError
from semantic_entropy.files import try_lock
from semantic_entropy.plain_text import plural

CONFIG, METRICS, COSTS, ALARMS = "config.yaml", "metrics.jsonl", "cost.json", "alarms.jsonl"
SAMPLES, EVALUATION = "samples.jsonl", "evaluation.jsonl"
QUESTIONS, HELD_OUT, CODE = "questions.json", "held_out.json", "code.json"
FINAL, BASE, ADAPTER = "final", "base", "adapter"
LOCK = ".lock"
NO_VALUE: Any = object()  # the value of a key that does not exist
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
    """Create the directory if it does not exist, and lock it for this process.

    Take the lock before the files of the directory are read: a run that starts at the same time cannot come between.
    The lock is on the file `.lock`, open for reading and writing, because NFS locks only such files for all machines.
    The operating system releases the lock when the process ends. At the end of the block, the file is deleted, and so
    are folders that this function created, if they are still empty. Windows has no such lock: there the function only
    creates the directory.

    Raises:
        InputError: another process holds the lock, or the directory cannot be created or locked.
    """
    created = _create(directory)
    handle = None if sys.platform == "win32" else _lock(directory)
    try:
        yield
    finally:
        with suppress(OSError):  # a folder with files stays
            (directory / LOCK).unlink(missing_ok=True)
            for folder in created:
                folder.rmdir()
        if handle is not None:
            os.close(handle)


def plan_start(directory: Path, *, resume: bool, overwrite: bool, stateful: bool = False) -> StartPlan:
    """Return the plan for the start of a run in the directory. This function writes nothing.

    Args:
        directory: the directory of the run. It may not exist yet.
        resume: whether the run continues an earlier run from its latest complete checkpoint.
        overwrite: whether the run deletes the files of an earlier run.
        stateful: whether the checkpoints contain the state of the provider and of the monitor.

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
        return _resume(directory, stateful=stateful)
    without_step = bool(earlier) and _made_no_step(directory)
    if earlier and overwrite and not any(e.name.startswith((METRICS, *_SAVED)) for e in earlier):
        raise InputError(
            f"output_dir: {directory} contains {earlier[0].name} but neither {METRICS} nor a checkpoint, so it may not "
            "be the directory of a run, and --overwrite deletes nothing in it. Choose another directory."
        )
    if earlier and not overwrite and not without_step:
        raise InputError(
            f"output_dir: {directory} contains an earlier run ({earlier[0].name}). Add --resume to continue it, add "
            "--overwrite to delete it and start again, or set output_dir=OTHER."
        )
    notes = (f"deleting the files of a run in {directory} that ended before its first step",) if without_step else ()
    return StartPlan(leftovers=earlier, notes=notes)


def prepare(directory: Path, start: StartPlan) -> None:
    """Execute the plan in an existing directory. Create an empty metrics file, which marks a run before its first step.

    The caller holds the lock of the directory.
    """
    for entry in start.leftovers:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for checkpoint in start.broken:
        checkpoints.rename_broken(checkpoint)
    (directory / METRICS).touch()


def delete_final(directory: Path) -> None:
    """Delete the final model of an earlier end of the run. Call this function before the first new step of the run."""
    for name in (FINAL, ADAPTER):
        if (folder := directory / name).exists():
            shutil.rmtree(folder)


def write_config(directory: Path, config: Mapping[str, Any]) -> list[str]:
    """Write `config.yaml`. Return one line for each key that differs from the previous `config.yaml`."""
    import yaml

    differing = config_changes(directory, config)
    write_atomically(directory / CONFIG, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
    return differing


def write_questions(directory: Path, rows: Sequence[Mapping[str, Any]], name: str = QUESTIONS) -> None:
    """Write the number of prompts of the run, and a digest of their rows in order. name: the file of the directory."""
    write_atomically(directory / name, json.dumps(_summary(rows)) + "\n")


def check_questions(directory: Path, rows: Sequence[Mapping[str, Any]], name: str = QUESTIONS) -> None:
    """Check that a resumed run reads the prompts with which it began. A run of version 0.1.0 recorded nothing.

    Raises:
        InputError: the prompts differ. The position in the data, which a checkpoint contains, would be meaningless. The
            numbers of other held-out questions could not be compared with the numbers before the checkpoint.
    """
    path = directory / name
    if not path.is_file():
        return
    try:
        began = json.loads(path.read_text(encoding="utf-8"))
        before = int(began["prompts"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}). Was it edited? Delete it to resume without a check."
        ) from error
    if began != _summary(rows):
        key = "evaluation.data" if name == HELD_OUT else "data"
        counts = f"{plural(before, 'prompt')} then, {plural(len(rows), 'prompt')} now"
        raise InputError(
            f"{key}: the questions differ from those with which the run in {directory} began ({counts}). Restore the "
            "data to continue the run, or start a new run."
        )


def write_code(directory: Path, files: Iterable[Path]) -> None:
    """Write `code.json`: the digest of each file. Without files, the run has no `code.json`."""
    digests = _digests(files)
    if digests:
        write_atomically(directory / CODE, json.dumps(digests, indent=2) + "\n")
    else:
        (directory / CODE).unlink(missing_ok=True)


def check_code(directory: Path, files: Iterable[Path]) -> None:
    """Check that a resumed run executes the files with which it began. A run of version 0.1.0 recorded nothing.

    Raises:
        InputError: a file has other contents: the rewards before and after the checkpoint could differ.
    """
    path = directory / CODE
    if not path.is_file():
        return
    try:
        began = set(json.loads(path.read_text(encoding="utf-8")).values())
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}). Was it edited? Delete it to resume without a check."
        ) from error
    changed = [file for file, digest in _digests(files).items() if digest not in began]
    if changed:
        raise InputError(
            f"empo: {', '.join(changed)} changed since the run in {directory} began, so the rewards could differ. "
            f"Restore the file to continue the run, or start a new run. (To continue with the new file, delete {path}.)"
        )


def _digests(files: Iterable[Path]) -> dict[str, str]:
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
    return {"prompts": len(rows), "sha256": digest.hexdigest()}


def config_changes(directory: Path, config: Mapping[str, Any]) -> list[str]:
    """Return one line for each key that differs from `config.yaml`; an empty list if the file does not exist.

    Raises:
        InputError: `config.yaml` cannot be read.
    """
    import yaml

    path = directory / CONFIG
    if not path.exists():
        return []
    before, reason = None, "it has no keys"
    try:
        before = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError) as error:  # no YAML, or no UTF-8
        reason = " ".join(str(error).split())
    if not isinstance(before, Mapping):
        raise InputError(
            f"{path} cannot be read ({reason}). Was it edited? Restore it, or start again without --resume."
        )
    none = (None, NO_VALUE)  # a version that does not know a key, and one in which it is not set
    changes = [(key, *values) for key, values in differences(before, config).items()]
    return [f"{key}: {_text(old)} -> {_text(new)}" for key, old, new in changes if old not in none or new not in none]


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The keys with different values, with dots, and both values; `NO_VALUE` where a key does not exist.

    A section that is empty on one side only is compared by its keys.
    """
    first, second = dict(flat_keys(one)), dict(flat_keys(other))
    found = {key: (first.get(key, NO_VALUE), second.get(key, NO_VALUE)) for key in dict.fromkeys([*first, *second])}
    filled = {key for key, values in found.items() if {} in values and any(k.startswith(f"{key}.") for k in found)}
    return {key: (old, new) for key, (old, new) in found.items() if old != new and key not in filled}


def flat_keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of nested sections, such as `training.steps`, and their values; an empty section is a value."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat_keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return "no value" if value is NO_VALUE else repr(value)


def _resume(directory: Path, *, stateful: bool) -> StartPlan:
    checkpoint, broken = checkpoints.latest(directory)
    if checkpoint is not None and checkpoints.is_unsharded(checkpoint):
        raise InputError(
            f"{checkpoint} was written with launch.strategy=fsdp2 by version 0.1.0, as one file; later versions read "
            "shards. Finish the run with version 0.1.0, or start a new run from its weights: empo-train merge "
            f"{checkpoint} OUT, then model=OUT."
        )
    if stateful and checkpoint is not None and not checkpoints.state_file(checkpoint, 0).is_file():
        raise InputError(
            f"{checkpoint} has no file {checkpoints.state_file(checkpoint, 0).name}, so the random rewards, the guards "
            f"and the alarms would start again. Restore the file, or delete {checkpoint} to continue from the "
            "checkpoint before it."
        )
    for name in (METRICS, SAMPLES, EVALUATION, ALARMS):  # report a damaged file before anything is written
        if (directory / name).is_file():
            read_metrics(directory / name)
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


def _earlier_run(directory: Path) -> tuple[Path, ...]:
    names = {ALARMS, CONFIG, METRICS, COSTS, SAMPLES, EVALUATION, FINAL, BASE, ADAPTER, QUESTIONS, HELD_OUT, CODE}
    return tuple(sorted(e for e in directory.iterdir() if e.name in names or e.name.startswith(_SAVED)))


def _create(directory: Path) -> list[Path]:
    """Create the directory and its parents. Return the folders that did not exist, the innermost first."""
    try:
        missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next((path for path in (directory, *directory.parents) if path.is_file()), directory)
        raise InputError(f"output_dir: {file} is a file: choose a directory.") from error
    except OSError as error:
        raise InputError(f"output_dir: {directory} cannot be created: {error.strerror}.") from error
    return missing


def _lock(directory: Path) -> int:
    """Lock the file `.lock` of the directory, and return its open handle."""
    while True:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # another process that ended in between has deleted the empty directory
            continue
        except OSError as error:
            raise InputError(f"output_dir: {directory / LOCK} cannot be opened: {error.strerror}.") from error
        try:
            locked = try_lock(handle)
        except OSError as error:
            os.close(handle)
            raise InputError(
                f"output_dir: {directory} cannot be locked: {error.strerror}. Its file system has no locks: choose a "
                "directory on another file system, or have it mounted with locks (Lustre: the option flock)."
            ) from error
        if not locked:
            os.close(handle)
            raise InputError(
                f"output_dir: another process is running in {directory}. Wait until it ends, stop it, or choose "
                "another directory."
            )
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), (directory / LOCK).stat()):
                return handle
        os.close(handle)  # another process that ended in between has deleted the file

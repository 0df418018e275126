"""Find the latest complete checkpoint of a run, and describe the fault of a broken checkpoint.

A checkpoint is complete if the trainer's state, the weights, the optimizer, the schedule and the random state of each
process exist and can be opened. The layouts of a checkpoint:

    one process or DDP   model.safetensors (or shards with an index, or a LoRA adapter's file), optimizer.pt
    FSDP                 pytorch_model_fsdp.bin and optimizer.bin, or folders of shards, each with its .metadata
    DeepSpeed            `latest`, which names the folder of *_model_states.pt and *_optim_states.pt

Each format stores a table of contents with sizes, so the check finds a truncated file without reading the whole file.
The shards of FSDP have no such table: the check is that the shards exist and are not empty. The check does not find
changed bits in a tensor.
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path

PREFIX = "checkpoint-"
BROKEN = "broken-"  # the prefix of a renamed broken checkpoint; the trainer ignores folders with this prefix
STATE_FILE = "empo_state"  # one file per process: the number of processes; for EMPO the provider and the monitor
_WEIGHTS, _INDEX, _STATE = "model.safetensors", "model.safetensors.index.json", "trainer_state.json"
_ADAPTER, _ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
_FSDP, _DEEPSPEED = "pytorch_model_fsdp", "latest"
SHARDS = f"{_FSDP}_0"  # the folder in which each process of FSDP writes its shard of the weights

_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)  # raised for unexpected JSON


def latest(directory: Path, before: float = math.inf) -> tuple[Path | None, dict[Path, str]]:
    """Return the latest complete checkpoint, and the broken checkpoints that are later, with their faults.

    Args:
        directory: the directory of the run.
        before: checkpoints of this step and of later steps are ignored.
    """
    candidates = (entry for entry in directory.glob(f"{PREFIX}*") if 0 < step(entry) < before)
    broken: dict[Path, str] = {}
    for checkpoint in sorted(candidates, key=step, reverse=True):
        fault = _fault(checkpoint)
        if fault is None:
            return checkpoint, broken
        broken[checkpoint] = fault
    return None, broken


def step(checkpoint: Path | None) -> int:
    """Return the step after which the checkpoint was saved; 0 for None or another file name."""
    number = checkpoint.name.removeprefix(PREFIX) if checkpoint else ""
    return int(number) if number.isdecimal() else 0


def state_file(checkpoint: Path, process: int) -> Path:
    """Return the path of the file in which a process saves the state of the provider and of the monitor."""
    return checkpoint / f"{STATE_FILE}_{process}.json"


def rename_broken(checkpoint: Path) -> Path:
    """Rename a broken checkpoint, and return the new path.

    The trainer deletes old checkpoints when there are too many. It does not count renamed checkpoints.
    """
    number = 0
    while (renamed := checkpoint.with_name(f"{BROKEN}{checkpoint.name}{f'-{number}' if number else ''}")).exists():
        number += 1
    return checkpoint.rename(renamed)


def is_unsharded(checkpoint: Path) -> bool:
    """Return whether FSDP wrote the whole model as one file, as in version 0.1.0."""
    return unsharded_file(checkpoint).is_file() and not (checkpoint / SHARDS).is_dir()


def unsharded_file(checkpoint: Path) -> Path:
    """Return the path of the file to which FSDP writes the whole model, if it does not write shards."""
    return checkpoint / f"{_FSDP}.bin"


def is_incomplete(checkpoint: Path) -> bool:
    """Return whether the checkpoint is only partly written. The trainer writes `trainer_state.json` last."""
    return not (checkpoint / _STATE).exists()


def weights_fault(folder: Path) -> str | None:
    """Return the fault of the weights of a model or an adapter; None if the weights are complete."""
    names = [_ADAPTER if (folder / _ADAPTER_CONFIG).exists() else _WEIGHTS]
    if (folder / _INDEX).exists():
        try:
            index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
            names = sorted(set(index["weight_map"].values()))
        except _UNREADABLE as error:
            return f"{_INDEX} is unreadable ({error})"
    return next((fault for name in names if (fault := _tensors_fault(folder / name))), None)


def model_fault(checkpoint: Path) -> str | None:
    """Return the fault of the model or the adapter of a checkpoint, or of its shards; None if it is complete."""
    if any(checkpoint.glob(f"{_FSDP}*")):
        return _archive_or_shards_fault(unsharded_file(checkpoint), checkpoint / SHARDS)
    return weights_fault(checkpoint)


def _fault(checkpoint: Path) -> str | None:
    try:
        state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        saved = state["global_step"]
    except FileNotFoundError:
        return f"{_STATE}, which is written last, is missing"
    except _UNREADABLE:
        return f"{_STATE} is unreadable"
    if saved != step(checkpoint):
        return f"{_STATE} belongs to step {saved}"
    return _training_fault(checkpoint) or _processes_fault(checkpoint)


def _training_fault(checkpoint: Path) -> str | None:
    """The fault of the weights, the optimizer or the schedule; None without a fault."""
    if (checkpoint / _DEEPSPEED).exists():
        return _deepspeed_fault(checkpoint)
    archive, shards = checkpoint / "optimizer.bin", checkpoint / "optimizer_0"  # of FSDP
    if archive.exists() or shards.exists():
        optimizer_fault = _archive_or_shards_fault(archive, shards)
    else:
        optimizer_fault = _archive_fault(checkpoint / "optimizer.pt")
    return model_fault(checkpoint) or optimizer_fault or _archive_fault(checkpoint / "scheduler.pt")


def _deepspeed_fault(checkpoint: Path) -> str | None:
    """The fault of the weights or of the optimizer states, which contain the schedule; None without a fault."""
    folder = checkpoint / (checkpoint / _DEEPSPEED).read_text(encoding="utf-8", errors="replace").strip()
    for pattern in ("*_model_states.pt", "*_optim_states.pt"):
        files = sorted(folder.glob(pattern)) if folder != checkpoint else []
        if not files:
            return f"{folder.name}/{pattern} is missing"
        if fault := next((fault for file in files if (fault := _archive_fault(file))), None):
            return fault
    return None


def _processes_fault(checkpoint: Path) -> str | None:
    """The fault of the files of the processes; None without a fault.

    Each process has a file with its random state and a state file, which stores the number of processes. A checkpoint
    without state files (SFT and online DPO in version 0.1.0) is only checked for the random state.
    """
    processes = 0
    for file in sorted(checkpoint.glob(f"{STATE_FILE}_*.json")):
        try:
            processes = int(json.loads(file.read_text(encoding="utf-8"))["processes"])
        except _UNREADABLE:
            return f"{file.name} is unreadable"
    missing = [n for n in range(processes) if not state_file(checkpoint, n).exists()]
    if missing:
        return f"{state_file(checkpoint, missing[0]).name} is missing"
    shared = sorted(checkpoint.glob("rng_state*.pth"))
    expected = [checkpoint / f"rng_state_{n}.pth" for n in range(processes)] if processes > 1 else shared
    if not expected:
        return "rng_state*.pth is missing"
    return next((fault for file in expected if (fault := _archive_fault(file))), None)


def _archive_or_shards_fault(archive: Path, shards: Path) -> str | None:
    if not shards.is_dir():
        return _archive_fault(archive)
    if not (shards / ".metadata").is_file():
        return f"{shards.name}/.metadata, which is written last, is missing"
    files = list(shards.glob("*.distcp"))
    return (
        None if files and all(file.stat().st_size for file in files) else f"{shards.name} has no shard or an empty one"
    )


def _archive_fault(file: Path) -> str | None:
    """The fault of a file of torch.save, which has its table of contents at the end; None without a fault."""
    try:
        zipfile.ZipFile(file).close()
    except FileNotFoundError:
        return f"{file.name} is missing"
    except (OSError, zipfile.BadZipFile):
        return f"{file.name} is truncated or unreadable"
    return None


def _tensors_fault(file: Path) -> str | None:
    """The fault of a safetensors file; None without a fault.

    The file consists of 8 bytes with the length of the header, the header, and the bytes of the tensors.
    """
    try:
        with file.open("rb") as stream:
            header_size = int.from_bytes(stream.read(8), "little")
            size = file.stat().st_size
            if not 0 < header_size <= size - 8:
                return f"{file.name} is truncated or unreadable"
            header = json.loads(stream.read(header_size))
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    except FileNotFoundError:
        return f"{file.name} is missing"
    except _UNREADABLE:
        return f"{file.name} is unreadable"
    return None if size == 8 + header_size + end else f"{file.name} is truncated or unreadable"

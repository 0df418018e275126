"""A run's checkpoints, and which of them can be gone on from.

A checkpoint is whole where the trainer's state, the weights, the optimizer, the schedule and each process's random
numbers are there and can be opened, as they are laid out by

    one process or DDP   model.safetensors (shards with an index; a LoRA adapter's own name), optimizer.pt
    FSDP                 pytorch_model_fsdp.bin and optimizer.bin, or folders of shards, each with its .metadata
    DeepSpeed            `latest`, which names the folder of *_model_states.pt and *_optim_states.pt

Every format here keeps a table of contents with the sizes, so a file that a kill or a full disk cut short is found
without reading it all (of FSDP's shards, that they are there and not empty). Leaves out a flipped bit inside a tensor.
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path

PREFIX = "checkpoint-"
BROKEN = "broken-"  # a checkpoint that was passed over: out of the way of those that the trainer keeps and counts
STATE_FILE = "empo_state"  # what the provider and the monitor keep, a file a process
_WEIGHTS, _INDEX, _STATE = "model.safetensors", "model.safetensors.index.json", "trainer_state.json"
_ADAPTER, _ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
_FSDP, _DEEPSPEED = "pytorch_model_fsdp", "latest"

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)  # whatever stands in a JSON file instead


def latest(directory: Path, before: float = math.inf) -> tuple[Path | None, dict[Path, str]]:
    """The latest whole checkpoint of a step less than `before`, and those after it with what is wrong with each."""
    there = (entry for entry in directory.glob(f"{PREFIX}*") if 0 < step(entry) < before)
    found = sorted(there, key=step, reverse=True)
    broken: dict[Path, str] = {}
    for checkpoint in found:
        fault = _fault(checkpoint)
        if fault is None:
            return checkpoint, broken
        broken[checkpoint] = fault
    return None, broken


def step(checkpoint: Path | None) -> int:
    """The step after which it was saved; 0 for none."""
    number = checkpoint.name.removeprefix(PREFIX) if checkpoint else ""
    return int(number) if number.isdecimal() else 0


def state_file(checkpoint: Path, process: int) -> Path:
    """Where a process keeps the state of what is not torch's."""
    return checkpoint / f"{STATE_FILE}_{process}.json"


def set_aside(checkpoint: Path) -> Path:
    """Rename a broken one, so that the trainer does not count it among the newest when it deletes old ones."""
    number = 0
    while (aside := checkpoint.with_name(f"{BROKEN}{checkpoint.name}{f'-{number}' if number else ''}")).exists():
        number += 1
    return checkpoint.rename(aside)


def is_unfinished(checkpoint: Path) -> bool:
    """Whether it was being written: the trainer's state completes it."""
    return not (checkpoint / _STATE).exists()


def weights_fault(folder: Path) -> str | None:
    """What is wrong with a model's weights, or an adapter's; None where all of them are there."""
    names = [_ADAPTER if (folder / _ADAPTER_CONFIG).exists() else _WEIGHTS]
    if (folder / _INDEX).exists():
        try:
            index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
            names = sorted(set(index["weight_map"].values()))
        except _UNREADABLE as error:
            return f"{_INDEX} is unreadable ({error})"
    return next((fault for name in names if (fault := _tensors_fault(folder / name))), None)


def _fault(checkpoint: Path) -> str | None:
    try:
        state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        saved = state["global_step"]
    except FileNotFoundError:
        return f"{_STATE}, which is written last, is missing"
    except _UNREADABLE:
        return f"{_STATE} is unreadable"
    if saved != step(checkpoint):
        return f"{_STATE} is of step {saved}"
    return _model_fault(checkpoint) or _processes_fault(checkpoint)


def _model_fault(checkpoint: Path) -> str | None:
    """Of the weights, the optimizer and the schedule."""
    if (checkpoint / _DEEPSPEED).exists():
        return _deepspeed_fault(checkpoint)
    if any(checkpoint.glob(f"{_FSDP}*")):
        fault = _archive_or_shards_fault(checkpoint / f"{_FSDP}.bin", checkpoint / f"{_FSDP}_0")
    else:
        fault = weights_fault(checkpoint)
    fault = fault or (
        _archive_fault(checkpoint / "optimizer.pt")
        if not any(checkpoint.glob("optimizer[._][b0]*"))
        else _archive_or_shards_fault(checkpoint / "optimizer.bin", checkpoint / "optimizer_0")
    )
    return fault or _archive_fault(checkpoint / "scheduler.pt")


def _deepspeed_fault(checkpoint: Path) -> str | None:
    """Its optimizer states hold the schedule too."""
    folder = checkpoint / (checkpoint / _DEEPSPEED).read_text(encoding="utf-8", errors="replace").strip()
    for pattern in ("*_model_states.pt", "*_optim_states.pt"):
        files = sorted(folder.glob(pattern)) if folder != checkpoint else []
        if not files:
            return f"{folder.name}/{pattern} is missing"
        if fault := next((fault for file in files if (fault := _archive_fault(file))), None):
            return fault
    return None


def _processes_fault(checkpoint: Path) -> str | None:
    """Each process keeps its random numbers, and a state whose file names their number.

    A checkpoint of an older version, and of a trainer that keeps no state of ours, has none of the latter to miss.
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
        None if files and all(file.stat().st_size for file in files) else f"{shards.name} has an empty shard, or none"
    )


def _archive_fault(file: Path) -> str | None:
    """Of what torch.save writes; its table of contents stands at the end."""
    try:
        zipfile.ZipFile(file).close()
    except FileNotFoundError:
        return f"{file.name} is missing"
    except (OSError, zipfile.BadZipFile):
        return f"{file.name} is cut short or unreadable"
    return None


def _tensors_fault(file: Path) -> str | None:
    """A safetensors file: the header's length in 8 bytes, the header, and as many bytes as it promises."""
    try:
        with file.open("rb") as stream:
            header_size = int.from_bytes(stream.read(8), "little")
            size = file.stat().st_size
            if not 0 < header_size <= size - 8:
                return f"{file.name} is cut short or unreadable"
            header = json.loads(stream.read(header_size))
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    except FileNotFoundError:
        return f"{file.name} is missing"
    except _UNREADABLE:
        return f"{file.name} is unreadable"
    return None if size == 8 + header_size + end else f"{file.name} is cut short or unreadable"

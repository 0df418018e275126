"""A run's checkpoints, and which of them can be gone on from.

A checkpoint is whole where the trainer's state, the weights, the optimizer, the schedule and the random numbers are
there and can be opened. Every format here keeps a table of contents with the sizes, so a file that a kill or a full
disk cut short is found without reading it all. Leaves out a flipped bit inside a tensor.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

PREFIX = "checkpoint-"
BROKEN = "broken-"  # a checkpoint that was passed over: out of the way of those that the trainer keeps and counts
STATE_FILE = "empo_state"  # what the provider and the monitor keep, a file a process
_ADAPTER, _ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
_WEIGHTS, _INDEX, _STATE = "model.safetensors", "model.safetensors.index.json", "trainer_state.json"


def latest(directory: Path) -> tuple[Path | None, dict[Path, str]]:
    """The latest whole checkpoint, and those after it with what is wrong with each."""
    found = sorted((entry for entry in directory.glob(f"{PREFIX}*") if step(entry) > 0), key=step, reverse=True)
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


def weights_fault(folder: Path) -> str | None:
    """What is wrong with a model's weights; None where all of them are there."""
    if any(folder.glob("pytorch_model_fsdp*")):
        return None  # FSDP's own files, which its loader checks
    names = [_ADAPTER if (folder / _ADAPTER_CONFIG).exists() else _WEIGHTS]
    if (folder / _INDEX).exists():
        try:
            index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
            names = sorted(set(index["weight_map"].values()))
        except (OSError, ValueError, KeyError) as error:
            return f"{_INDEX} is unreadable ({error})"
    return next((fault for name in names if (fault := _tensors_fault(folder / name))), None)


def _fault(checkpoint: Path) -> str | None:
    try:
        state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"{_STATE}, which is written last, is missing"
    except (OSError, ValueError):
        return f"{_STATE} is unreadable"
    if state.get("global_step") != step(checkpoint):
        return f"{_STATE} is of step {state.get('global_step')}"
    return weights_fault(checkpoint) or _archives_fault(checkpoint) or _states_fault(checkpoint)


def _archives_fault(checkpoint: Path) -> str | None:
    if any(checkpoint.glob("pytorch_model_fsdp*")):
        return None
    for pattern in ("optimizer.pt", "scheduler.pt", "rng_state*.pth"):
        files = sorted(checkpoint.glob(pattern))
        if not files:
            return f"{pattern} is missing"
        for file in files:
            try:
                zipfile.ZipFile(file).close()  # what torch.save writes; the table of contents stands at the end
            except (OSError, zipfile.BadZipFile):
                return f"{file.name} is cut short or unreadable"
    return None


def _states_fault(checkpoint: Path) -> str | None:
    """Each process's file names their number. A checkpoint of an older version has none, and nothing to miss."""
    for file in sorted(checkpoint.glob(f"{STATE_FILE}_*.json")):
        try:
            processes = json.loads(file.read_text(encoding="utf-8"))["processes"]
        except (OSError, ValueError, KeyError):
            return f"{file.name} is unreadable"
        missing = [n for n in range(processes) if not state_file(checkpoint, n).exists()]
        if missing:
            return f"{state_file(checkpoint, missing[0]).name} is missing"
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
    except (OSError, ValueError, KeyError, TypeError):
        return f"{file.name} is unreadable"
    return None if size == 8 + header_size + end else f"{file.name} is cut short or unreadable"

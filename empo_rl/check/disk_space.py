"""Check whether the checkpoints fit on the disk.

    checkpoint = w N + 2 w T bytes      (stored weights, Adam's two moments)

N is the number of weights, T the number of trained weights, and w the bytes per stored weight (4, or 2 for bf16). With
fsdp2, the shards together have this size. With zero3, a checkpoint has 12 T bytes of DeepSpeed's fp32 weights and
moments, and w N bytes of gathered weights. With LoRA, a checkpoint contains only the adapter, not the weights.
`final/` contains the weights once more.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

from empo_rl.check.findings import CheckFinding, format_gib, has_gpu, ok, problem, unchecked
from empo_rl.check.gpu_memory import Shape, trained_weights
from empo_rl.config import Config


def findings(config: Config, shape: Shape | None, rows: int | None) -> Iterator[CheckFinding]:
    """Compare the free space with the size of the files of the run. rows: number of questions; None: not known."""
    if config.model == "demo":
        return
    if shape is None:
        yield unchecked("disk", f"the size of {config.model} is not known here")
        return
    kept = _kept_checkpoints(config, rows)
    if kept is None:
        yield unchecked(
            "disk",
            "the number of checkpoints is not known: training.steps, training.keep_checkpoints and data.limit are not "
            "given",
        )
        return
    one = _checkpoint_bytes(config, shape)
    # the oldest checkpoint is deleted after the newest is written, so the disk needs room for one more checkpoint
    needed = (kept + (1 if config.training.keep_checkpoints else 0)) * one + _final_bytes(config, shape)
    free = shutil.disk_usage(_existing_folder(Path(config.output_dir))).free
    text = f"{kept} checkpoints of {format_gib(one)} and final/: {format_gib(needed)}"
    if needed <= free:
        yield ok("disk", f"{text}; {format_gib(free)} are free")
    elif config.device != "cpu" and not has_gpu():
        yield unchecked(f"disk ({text})", "this machine has no GPU, so the run will write to another machine")
    else:
        yield problem(
            "disk",
            f"{text}; only {format_gib(free)} are free in {config.output_dir}. Set training.keep_checkpoints=2, or "
            f"save less often: training.save_every above {config.training.save_every}",
        )


def _kept_checkpoints(config: Config, rows: int | None) -> int | None:
    training = config.training
    steps = training.steps
    if steps is None and rows is not None:
        steps = math.ceil(rows * training.epochs / training.prompts_per_step)
    written = None if steps is None else math.ceil(steps / training.save_every)
    counts = [count for count in (training.keep_checkpoints, written) if count is not None]
    return min(counts) if counts else None


def _checkpoint_bytes(config: Config, shape: Shape) -> float:
    width = 2 if config.weights_precision() == "bf16" else 4
    count = trained_weights(config, shape)
    if config.lora is not None:
        return 12 * count  # adapters are fp32
    if config.launch.strategy == "zero3":
        return (width + 12) * count
    return 3 * width * count


def _final_bytes(config: Config, shape: Shape) -> float:
    if config.lora is not None and not config.lora.merge:
        return 4 * trained_weights(config, shape)
    return 4 * shape.parameters


def _existing_folder(directory: Path) -> Path:
    return next(folder for folder in [directory.absolute(), *directory.absolute().parents] if folder.exists())

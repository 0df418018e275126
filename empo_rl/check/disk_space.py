"""Whether the checkpoints that are kept fit on the disk.

    checkpoint = w N + 2 w T      (weights as stored, Adam's two moments); fsdp2 and zero3 keep the weights twice

and `final/` is the weights once more. With LoRA, the adapter in place of the weights.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

from empo_rl.check.findings import Finding, gib, has_gpu, ok, problem, unchecked
from empo_rl.check.gpu_memory import trained
from empo_rl.check.shape import Shape
from empo_rl.config.precision import stored_in
from empo_rl.config.schema import Config


def findings(config: Config, shape: Shape | None, rows: int | None) -> Iterator[Finding]:
    """Free space against what the run will write."""
    if config.model == "demo":
        return
    if shape is None:
        yield unchecked("disk", f"the size of {config.model} is not known here")
        return
    kept = _checkpoints(config, rows)
    if kept is None:
        yield unchecked(
            "disk", "neither training.steps, training.keep_checkpoints nor data.limit says how many are kept"
        )
        return
    one = _checkpoint_bytes(config, shape)
    # one more than is kept: the oldest goes when the newest is there
    needed = (kept + (1 if config.training.keep_checkpoints else 0)) * one + _final_bytes(config, shape)
    free = shutil.disk_usage(_existing(Path(config.output_dir))).free
    text = f"{kept} checkpoints of {gib(one)} and final/: {gib(needed)}"
    if needed <= free:
        yield ok("disk", f"{text}; {gib(free)} are free")
    elif config.device != "cpu" and not has_gpu():
        yield unchecked(f"disk ({text})", "no GPU is here, so the run will write on another machine")
    else:
        yield problem(
            "disk",
            f"{text}; {gib(free)} are free in {config.output_dir}. Set training.keep_checkpoints=2, or less often: "
            f"training.save_every above {config.training.save_every}",
        )


def _checkpoints(config: Config, rows: int | None) -> int | None:
    training = config.training
    steps = training.steps
    if steps is None and rows is not None:
        steps = math.ceil(rows * training.epochs / training.prompts_per_step)
    made = None if steps is None else math.ceil(steps / training.save_every)
    counts = [count for count in (training.keep_checkpoints, made) if count is not None]
    return min(counts) if counts else None


def _checkpoint_bytes(config: Config, shape: Shape) -> float:
    width = 2 if stored_in(config) == "bf16" else 4
    count = trained(config, shape)
    if config.lora is not None:
        return 12 * count  # fp32 adapters
    copies = 1 if config.launch.strategy == "ddp" else 2
    return (copies + 2) * width * count


def _final_bytes(config: Config, shape: Shape) -> float:
    if config.lora is not None and not config.lora.merge:
        return 4 * trained(config, shape)
    return 4 * shape.parameters


def _existing(directory: Path) -> Path:
    return next(folder for folder in [directory.absolute(), *directory.absolute().parents] if folder.exists())

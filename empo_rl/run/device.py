"""Where a run computes and in which precision: `device: auto` and `training.precision: auto` made definite.

bf16 where the accelerator computes in it, else fp32; without an accelerator, fp32 on the CPU. A precision that was
asked for and cannot be had is an error, before any model is loaded. Leaves out fp16, which needs a scaled loss.
"""

from __future__ import annotations

from transformers.utils.import_utils import is_torch_bf16_gpu_available

from empo_rl.config.schema import Config
from semantic_entropy import InputError


def fit_to_device(config: Config, kind: str) -> tuple[Config, list[str]]:
    """The configuration with both choices made, and what to say about them.

    `kind` is the type of torch device that a process of this run gets: `cpu`, `cuda`, ...
    """
    asked = config.training.precision
    if config.device == "cpu":
        return _with(config, "cpu", "fp32" if asked == "auto" else asked), []
    if kind == "cpu":
        if asked == "bf16":
            raise InputError(
                "training.precision=bf16 needs a GPU, and torch finds none here. Add device=cpu "
                "training.precision=fp32 to train on the CPU all the same; `empo-train tiny` is a run made for one."
            )
        return _with(config, "cpu", "fp32"), ["no GPU found: training on the CPU in fp32"]
    able = is_torch_bf16_gpu_available()
    if asked == "bf16" and not able:
        raise InputError(
            f"training.precision=bf16: the {kind} device here does not compute in it. Use training.precision=fp32."
        )
    best = "bf16" if able else "fp32"
    return _with(config, "auto", best if asked == "auto" else asked), []


def _with(config: Config, device: str, precision: str) -> Config:
    training = config.training.model_copy(update={"precision": precision})
    return config.model_copy(update={"device": device, "training": training})

"""Estimate the memory of the host (not of the GPU) that a run needs on each machine.

N: number of weights; T: number of trained weights; w: bytes per stored weight (4, or 2 for bf16); L: processes of a
machine; M: machines. The parts follow each other in time, so a machine needs the largest one:

    loading        ddp: each process loads the model on the CPU first, L w N
                   fsdp2: one process of each machine loads the weights, w N (`empo_rl.run.models.load_model`)
                   zero3: the first process reads the weights and sends them, w N
    checkpoints    fsdp2: accelerate copies the shards of the optimizer to the CPU, 2 w T / M
                   zero3: the first process gathers the weights, w N; to resume reads 12 T / M
    final          fsdp2, zero3: the first process gathers the trained weights, w T
                   lora.merge: the first process loads the base model in fp32, 4 N

The estimate leaves out the libraries, the data, CUDA's own memory on the host, and judges.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from empo_rl.check.findings import GIB, CheckFinding, format_gib, has_gpu, ok, problem, unchecked
from empo_rl.check.gpu_memory import RESERVE, Shape, trained_weights
from empo_rl.config import Config


def findings(config: Config, shape: Shape | None) -> Iterator[CheckFinding]:
    """Compare the estimate with the memory of this machine, or with `check.host_gib`."""
    if config.model == "demo" or shape is None:  # the finding about the GPU says that the size is not known
        return
    parts = estimate(config, shape)
    most = max(parts.values())
    listed = ", ".join(f"{name} {value / GIB:.1f}" for name, value in parts.items())
    text = f"about {format_gib(most)} on each machine under {config.launch.strategy} ({listed})"
    this_machine = has_gpu() or config.device == "cpu"
    host = config.check.host_gib or (_host_gib() if this_machine else None)
    if host is None:
        yield ok("host memory", text)
        yield unchecked("whether the host has it", "this machine has no GPU, and check.host_gib is not given")
    elif most > host * GIB * (1 - RESERVE):
        yield problem("host memory", f"{text}: more than {host:.0f} GiB less a tenth. {_advice(config)}")
    else:
        yield ok("host memory", f"{text}, of {host:.0f} GiB")


def estimate(config: Config, shape: Shape) -> dict[str, float]:
    """Name of a part, such as "loading" -> bytes of the host of one machine."""
    launch = config.launch
    width = 2 if config.weights_precision() == "bf16" else 4
    model, trained = width * shape.parameters, trained_weights(config, shape)
    trained_width = 4 if config.lora is not None else width  # adapters are fp32
    parts = {"loading": model * (launch.processes // launch.machines if launch.strategy == "ddp" else 1)}
    if launch.strategy == "fsdp2":
        parts["checkpoints"] = 2 * trained_width * trained / launch.machines
    elif launch.strategy == "zero3":
        parts["checkpoints"] = max(trained_width * trained, 12 * trained / launch.machines)
    if config.lora is not None and config.lora.merge:
        parts["final/"] = 4 * shape.parameters
    elif launch.strategy != "ddp":
        parts["final/"] = trained_width * trained
    return parts


def _advice(config: Config) -> str:
    if config.launch.strategy == "ddp":
        return "Try launch.strategy=fsdp2, which loads the model once on each machine."
    return "Try more machines, training.weights=bf16, or lora.r=16."


def _host_gib() -> float | None:
    """The memory of this machine; None if the operating system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (AttributeError, ValueError, OSError):
        return None

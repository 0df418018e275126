"""The sections of the configuration that say where a run computes: processes, strategy, vLLM, and what `--check` may
assume about the model and the device.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from empo_rl.config.section import Positive, Section


class Launch(Section):
    """How many processes `empo-train` starts, where, and what each of them holds of the model.

    ddp: all of it. fsdp2, zero3: its share of the weights, gradients and optimizer states.
    """

    processes: Positive = 1  # over all machines; a GPU each
    machines: Positive = 1
    machine_rank: Annotated[int, Field(ge=0)] = 0
    main_address: str | None = None  # of the machine with rank 0
    main_port: Annotated[int, Field(ge=0, le=65535)] | None = None  # None: on one machine, any free port
    strategy: Literal["ddp", "fsdp2", "zero3"] = "ddp"

    @model_validator(mode="after")
    def _machines_agree(self) -> Launch:
        if self.processes % self.machines:
            raise ValueError(
                f"launch.processes={self.processes} counts those of all machines, and is no multiple of "
                f"launch.machines={self.machines}"
            )
        if self.machine_rank >= self.machines:
            raise ValueError(
                f"launch.machine_rank={self.machine_rank}: the ranks of {self.machines} machines are 0 to "
                f"{self.machines - 1}"
            )
        if self.machines > 1 and (self.main_address is None or not self.main_port):
            raise ValueError("launch.machines > 1 needs launch.main_address and launch.main_port, those of rank 0")
        return self


class VLLM(Section):
    """Where `rollout.engine` is a vLLM one."""

    host: str = "127.0.0.1"  # of the server
    port: Annotated[int, Field(gt=0, le=65535)] = 8000
    gpu_memory: Annotated[float, Field(gt=0, le=1)] = 0.3  # colocated: vLLM's share of each GPU
    tensor_parallel: Positive = 1  # colocated: GPUs that share one copy of the model


class ModelShape(Section):
    """What `--check` takes the model to be where its config.json is not at hand, and the GPU it is to fit."""

    parameters: Annotated[float, Field(gt=0)] | None = None
    hidden: Positive | None = None
    layers: Positive | None = None
    vocabulary: Positive | None = None
    keys: Positive | None = None  # the width of a token's keys in one layer
    device_gib: Annotated[float, Field(gt=0)] | None = None

"""Measure the costs of each training step: a mixin for the trainers of transformers, which logs the `cost/*` columns.

A step lasts from its first forward pass to the end of its optimizer step; logging, checkpoints and evaluation are not
part of a step. `empo_rl.files.cost_summary` explains the columns. CUDA is synchronized once per step, at the end of the
step. This costs little, because the log reads the loss directly afterwards, which synchronizes too. Generation needs no
other synchronization, because it copies the tokens to the host.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import TrainerCallback

from empo_rl.files.cost_summary import COST_PREFIX

MEMORY_ON_CPU = "largest resident memory of the process since it began"
MEMORY_ON_CUDA = "torch.cuda.max_memory_allocated within a step"


class StepTimer:
    """Measures the seconds of one step after another."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._parts = {"generation": 0.0, "judging": 0.0}
        self._columns: dict[str, float] = {}

    def begin(self) -> None:
        """Start a step."""
        self._parts = dict.fromkeys(self._parts, 0.0)
        self._started = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the duration of the `with` block to a part: `generation` or `judging`. A part may have several blocks."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._parts[name] += time.perf_counter() - started

    def end(self, peak_memory_gib: float) -> None:
        """End the step."""
        step = time.perf_counter() - self._started
        seconds = {**self._parts, "loss": step - sum(self._parts.values()), "step": step}
        self._columns = {f"{COST_PREFIX}{name}_seconds": value for name, value in seconds.items()}
        self._columns[f"{COST_PREFIX}peak_memory_gib"] = peak_memory_gib

    def columns(self) -> dict[str, float]:
        """The columns of the last complete step."""
        return dict(self._columns)


class CostsMixin:
    """Logs the costs of each step.

    The mixin is the first base class, before the trainer. The trainer runs its generation inside
    `costs.part("generation")` and its judging inside `costs.part("judging")`.

    Attributes:
        costs: the timer of the steps.
    """

    accelerator: Any

    def __init__(self, *args: Any, callbacks: Any = None, **kwargs: Any) -> None:
        self.costs = StepTimer()
        timer = _TimeSteps(self)  # the first callback: the step ends before another callback evaluates or writes
        kwargs["callbacks"] = [timer, *(callbacks or ())]
        super().__init__(*args, **kwargs)

    @property
    def memory(self) -> str:
        """The method that measures `cost/peak_memory_gib`, in words."""
        return MEMORY_ON_CUDA if self.on_cuda else MEMORY_ON_CPU

    @property
    def on_cuda(self) -> bool:
        """Whether this process computes on a CUDA device."""
        return bool(self.accelerator.device.type == "cuda")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write the trainer's log and the costs of the step."""
        if "loss" in logs:  # the summary at the end of the run has no loss and is not a step
            logs = {**logs, **self.costs.columns()}
        super().log(logs, start_time)  # type: ignore[misc]  # defined by the trainer, the next base


class _TimeSteps(TrainerCallback):
    """Starts and ends the timer's steps."""

    def __init__(self, trainer: CostsMixin) -> None:
        self._trainer = trainer

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._trainer.on_cuda:
            torch.cuda.reset_peak_memory_stats()
        self._trainer.costs.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._trainer.on_cuda:
            torch.cuda.synchronize()
            peak = torch.cuda.max_memory_allocated() / 2**30
        else:
            peak = _peak_resident_gib()
        self._trainer.costs.end(peak)


def _peak_resident_gib() -> float:
    """The largest resident memory of this process since its start, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20  # macOS counts bytes, other systems KiB

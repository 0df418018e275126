"""Measure what each training step costs: a mixin for any trainer of transformers that logs the `cost/*` columns.

A step lasts from its first forward pass to the end of its optimizer step; logging, checkpoints and evaluation are not
part of it. `empo_rl.files.cost_summary` says what the columns mean. CUDA is synchronized once a step, at its end, where
the log is about to read the loss anyway. Generation ends with tokens on the host, which synchronizes too.
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
        """Add the time of the block to `generation` or `judging`; a step may have several blocks of each."""
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
    """Goes before the trainer in the list of bases. The trainer enters `costs.part("generation")` and `("judging")`."""

    accelerator: Any

    def __init__(self, *args: Any, callbacks: Any = None, **kwargs: Any) -> None:
        self.costs = StepTimer()
        timer = _TimeSteps(self)  # the first callback, so that the step ends before others evaluate or write
        kwargs["callbacks"] = [timer, *(callbacks or ())]
        super().__init__(*args, **kwargs)

    @property
    def memory(self) -> str:
        """How `cost/peak_memory_gib` is measured."""
        return MEMORY_ON_CUDA if self.on_cuda else MEMORY_ON_CPU

    @property
    def on_cuda(self) -> bool:
        """Whether this process computes on a CUDA device."""
        return bool(self.accelerator.device.type == "cuda")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The trainer's log with the costs of the step."""
        if "loss" in logs:  # the summary at the end of the run has none and is not a step
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
    """Of this process, in GiB; the number never decreases."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20  # macOS counts bytes, other systems KiB

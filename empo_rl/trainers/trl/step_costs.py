"""What a step costs, for any trainer of transformers: a mixin that puts `cost/*` into each step's log.

CUDA is waited for once a step, at its end, where the log is about to read the loss anyway. Generation ends with tokens
on the host, which is a wait of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback

from empo_rl.trainers.trl.costs import ON_CPU, ON_CUDA, StepCosts, peak_resident_gib


class Costed:
    """Before the trainer among the bases. `costs.part("generation")` and `("judging")` are its methods' to enter."""

    accelerator: Any

    def __init__(self, *args: Any, callbacks: Any = None, **kwargs: Any) -> None:
        self.costs = StepCosts()
        watch = _WatchSteps(self)  # the first of the callbacks: a step ends before others evaluate or write
        kwargs["callbacks"] = [watch, *(callbacks or ())]
        super().__init__(*args, **kwargs)

    @property
    def memory(self) -> str:
        """What `cost/peak_memory_gib` is."""
        return ON_CUDA if self.on_cuda else ON_CPU

    @property
    def on_cuda(self) -> bool:
        """Whether this process computes on a CUDA device."""
        return bool(self.accelerator.device.type == "cuda")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The trainer's log, with the costs of the step."""
        if "loss" in logs:  # the summary at the end is no step
            logs = {**logs, **self.costs.columns()}
        super().log(logs, start_time)  # type: ignore[misc]  # the trainer's, which comes after this mixin


class _WatchSteps(TrainerCallback):
    """Tells the stopwatch when steps begin and end."""

    def __init__(self, trainer: Costed) -> None:
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
            peak = peak_resident_gib()
        self._trainer.costs.end(peak)

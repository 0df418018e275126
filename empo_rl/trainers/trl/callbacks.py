"""What happens beside the training steps of a run: metrics to a file, and a progress bar to stderr."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from empo_rl.files.metrics_file import MetricsFile


class WriteMetrics(TrainerCallback):
    """A row of `metrics.jsonl` for every logged step; `extra(step)` may add columns of its own."""

    def __init__(self, file: MetricsFile, extra: Callable[[int], dict[str, float]] | None = None) -> None:
        self._file = file
        self._extra = extra

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or "loss" not in logs:  # the summary at the end is no step
            return
        extra = self._extra(state.global_step) if self._extra else {}
        self._file.append({"step": state.global_step, **logs, **extra})


class ReportProgress(TrainerCallback):
    """Calls `report(step, steps, logs)` after every logged step."""

    def __init__(self, report: Callable[[int, int, dict[str, float]], None]) -> None:
        self._report = report

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and "loss" in logs:
            self._report(state.global_step, state.max_steps, logs)

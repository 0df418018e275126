"""What a training step costs: seconds for generation, judging and the loss, and the peak memory (the paper, Tables
4-5).

    generation  sampling the completions, with tokenizing and, for vLLM, handing over the weights
    judging     from completions to rewards: extracting, comparing, clustering, and waiting for other processes' rewards
    loss        the rest of the step: forward, backward, optimizer

    generation + judging + loss = step

A step lasts from its first forward pass to the end of its optimizer step; logging, checkpoints and evaluation are
not part of it. Knows no trainer; the numbers are those of the process that measures.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

PREFIX = "cost/"
PARTS = ("generation", "judging", "loss")
ON_CPU = "largest resident memory of the process since it began"
ON_CUDA = "torch.cuda.max_memory_allocated within a step"


class StepCosts:
    """A stopwatch for one step after another."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._parts = {"generation": 0.0, "judging": 0.0}
        self._columns: dict[str, float] = {}

    def begin(self) -> None:
        """A step begins."""
        self._parts = dict.fromkeys(self._parts, 0.0)
        self._began = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """`generation` or `judging` goes on inside; a step may hold several of each."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._parts[name] += time.perf_counter() - began

    def end(self, peak_memory_gib: float) -> None:
        """The step is over."""
        step = time.perf_counter() - self._began
        seconds = {**self._parts, "loss": step - sum(self._parts.values()), "step": step}
        self._columns = {f"{PREFIX}{name}_seconds": value for name, value in seconds.items()}
        self._columns[f"{PREFIX}peak_memory_gib"] = peak_memory_gib

    def columns(self) -> dict[str, float]:
        """The columns of the step that ended last."""
        return dict(self._columns)


def peak_resident_gib() -> float:
    """Of this process, in GiB; it never falls."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20  # macOS counts bytes, others KiB


def summary(rows: Iterable[Mapping[str, Any]], memory: str) -> dict[str, Any]:
    """`cost.json`: totals over the rows of a `metrics.jsonl` that hold costs, and each part's share of the seconds."""
    costed = [row for row in rows if f"{PREFIX}step_seconds" in row]
    seconds = {name: sum(row[f"{PREFIX}{name}_seconds"] for row in costed) for name in (*PARTS, "step")}
    whole = seconds["step"] or 1.0
    return {
        "steps": len(costed),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "shares": {name: round(seconds[name] / whole, 4) for name in PARTS},
        "peak_memory_gib": round(max((row[f"{PREFIX}peak_memory_gib"] for row in costed), default=0.0), 3),
        "memory": memory,
    }


def sentence(costs: Mapping[str, Any]) -> str:
    """The summary in a line."""
    shares = ", ".join(f"{name} {costs['shares'][name]:.1%}" for name in PARTS)
    return (
        f"{costs['seconds']['step']:.1f} s in {costs['steps']} steps: {shares}; "
        f"peak memory {costs['peak_memory_gib']:.2f} GiB ({costs['memory']})"
    )

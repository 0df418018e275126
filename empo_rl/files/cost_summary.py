"""Compute `cost.json`, the costs of a training run, from the metrics file of the run (the paper, Tables 4-5).

A step has three parts:

    generation  sample the completions, including tokenization and, with vLLM, the transfer of the weights
    judging     compute rewards: extract answers, compare, cluster, wait for the rewards of other processes
    loss        all other work of the step: forward pass, backward pass, optimizer

The columns of the metrics file are `cost/NAME_seconds`, with NAME `generation`, `judging`, `loss` or `step` (the sum of
the three parts), and `cost/peak_memory_gib`. One process measures the columns (`empo_rl.trainers.trl.costs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from semantic_entropy.plain_text import plural

COST_PREFIX = "cost/"
COST_PARTS = ("generation", "judging", "loss")


def summarize_costs(rows: Iterable[Mapping[str, Any]], memory: str) -> dict[str, Any]:
    """Return the content of `cost.json`: the total seconds of each part, and the share of each part in the step time.

    Args:
        rows: the rows of a `metrics.jsonl`. Rows without costs are ignored.
        memory: the method that measured the peak memory, in words.
    """
    with_costs = [row for row in rows if f"{COST_PREFIX}step_seconds" in row]
    seconds = {name: sum(row[f"{COST_PREFIX}{name}_seconds"] for row in with_costs) for name in (*COST_PARTS, "step")}
    total = seconds["step"] or 1.0
    return {
        "steps": len(with_costs),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "shares": {name: round(seconds[name] / total, 4) for name in COST_PARTS},
        "peak_memory_gib": round(max((row[f"{COST_PREFIX}peak_memory_gib"] for row in with_costs), default=0.0), 3),
        "memory": memory,
    }


def cost_sentence(costs: Mapping[str, Any]) -> str:
    """Return the costs as one sentence, from the content of `cost.json`."""
    shares = ", ".join(f"{name} {costs['shares'][name]:.1%}" for name in COST_PARTS)
    return (
        f"{costs['seconds']['step']:.1f} s in {plural(costs['steps'], 'step')}: {shares}; "
        f"peak memory {costs['peak_memory_gib']:.2f} GiB ({costs['memory']})"
    )

"""What a training run cost, from its metrics file to `cost.json` (the paper, Tables 4-5).

    generation  sampling the completions, including tokenization and, with vLLM, the transfer of the weights
    judging     from completions to rewards: extract, compare, cluster, wait for the rewards of other processes
    loss        the rest of the step: forward, backward, optimizer

    generation + judging + loss = step

The columns are `cost/NAME_seconds` and `cost/peak_memory_gib`, measured by one process (`empo_rl.trainers.trl.costs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

COST_PREFIX = "cost/"
COST_PARTS = ("generation", "judging", "loss")


def summarize_costs(rows: Iterable[Mapping[str, Any]], memory: str) -> dict[str, Any]:
    """`cost.json`: the totals over the rows of a `metrics.jsonl` that have costs, and each part's share of the time.

    `memory` says how the peak memory was measured.
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
    """The summary in one line."""
    shares = ", ".join(f"{name} {costs['shares'][name]:.1%}" for name in COST_PARTS)
    return (
        f"{costs['seconds']['step']:.1f} s in {costs['steps']} steps: {shares}; "
        f"peak memory {costs['peak_memory_gib']:.2f} GiB ({costs['memory']})"
    )

"""Draw panels that summarise a run: the cost of a training step, and accuracy against entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from empo_rl.files.cost_summary import COST_PARTS, COST_PREFIX
from empo_rl.plot.run_files import Run
from empo_rl.plot.style import NEUTRAL, hatch, line_style

_PAIRS = (("eval/semantic_entropy", "eval/pass@1"), ("empo/entropy", "empo/accuracy"))
_PART_COLOURS = ("#0072B2", "#E69F00", "#BBBBBB")  # these colours also differ in lightness


def has_cost(run: Run) -> bool:
    """True if the run has the columns `cost/*`."""
    return bool(run.series(f"{COST_PREFIX}step_seconds"))


def draw_cost(axes: Any, runs: Sequence[Run]) -> None:
    """Draw one bar for each run: the mean seconds and the share of each part of a step, and the peak memory."""
    names = [run.name for run in runs]
    for number, run in enumerate(runs):
        left, means = 0.0, [_mean(run, part) for part in COST_PARTS]
        for index, (part, mean) in enumerate(zip(COST_PARTS, means, strict=True)):
            kind = {"color": _PART_COLOURS[index], "hatch": hatch(index), "edgecolor": "white", "linewidth": 0}
            axes.barh(number, mean, left=left, height=0.6, label=part if number == 0 else None, **kind)
            left += mean
        if left:
            shares = ", ".join(f"{mean / left:.0%}" for mean in means)
            peak = max(run.series(f"{COST_PREFIX}peak_memory_gib").values, default=None)
            memory = "" if peak is None else f"\n peak memory {peak:.1f} GiB"
            axes.annotate(f" {shares}{memory}", (left, number), va="center", fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.25)
    axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("mean time of a training step (seconds)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(COST_PARTS))


def scatter_columns(runs: Sequence[Run]) -> tuple[str, str] | None:
    """The columns of entropy and accuracy: from held-out questions if a run has both columns, else from training."""
    return next((pair for pair in _PAIRS if any(len(_points(run, pair)) > 1 for run in runs)), None)


def draw_scatter(axes: Any, runs: Sequence[Run]) -> None:
    """Draw one point for each step; earlier steps are lighter. The legend shows Pearson's r over the steps of a run."""
    import numpy as np

    pair = scatter_columns(runs)
    assert pair is not None, "the caller checks this"
    for number, run in enumerate(runs):
        points = _points(run, pair)
        if not points:
            continue
        style, (x, y) = line_style(number), np.array(points).T
        varies = len(points) > 2 and np.ptp(x) > 0 and np.ptp(y) > 0
        name = f"{run.name}: " if len(runs) > 1 else ""
        r = f"r = {np.corrcoef(x, y)[0, 1]:.2f}, {len(points)} steps" if varies else f"{len(points)} steps"
        fading = np.linspace(0.25, 1, len(points))
        axes.scatter(x, y, c=style.colour, marker=style.marker, s=25, alpha=fading, linewidths=0)
        axes.scatter([], [], c=style.colour, marker=style.marker, s=25, label=f"{name}{r}")
    where = "held-out questions" if pair[0].startswith("eval/") else "training batches"
    axes.set_xlabel(f"semantic entropy (nats), {where}")
    axes.set_ylabel(f"{pair[1].split('/')[1]} (share right)")
    axes.set_xlim(left=0)
    axes.set_ylim(-0.03, 1.03)
    # the frame separates the markers of the legend from the points
    axes.legend(title="earlier steps lighter", frameon=True, edgecolor=NEUTRAL)


def _mean(run: Run, part: str) -> float:
    values = run.series(f"{COST_PREFIX}{part}_seconds").values
    return sum(values) / len(values) if values else 0.0


def _points(run: Run, pair: tuple[str, str]) -> list[tuple[float, float]]:
    entropy, accuracy = (run.series(column) for column in pair)
    right = dict(zip(accuracy.steps, accuracy.values, strict=True))
    return [(h, right[s]) for s, h in zip(entropy.steps, entropy.values, strict=True) if s in right]

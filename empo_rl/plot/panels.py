"""What there is to draw along the training steps: a panel a quantity, the columns that it reads, and its axis.

A panel draws what the runs have. One run shows all of a panel's curves; several are compared on one curve each for
training and for held-out questions, so that what differs between two lines is the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from empo_rl.plot.run_files import Run


@dataclass(frozen=True, slots=True)
class Curve:
    """column: of metrics.jsonl. held_out: measured now and then on held-out questions, so drawn with marks."""

    column: str
    label: str
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class StepPanel:
    """axis: with its unit. low, high: of the axis; None where the data decide. marks: columns whose nonzero steps are
    marked at the foot, with their names.
    """

    name: str
    axis: str
    curves: tuple[Curve, ...]
    low: float | None = None
    high: float | None = None
    marks: tuple[Curve, ...] = ()

    def found(self, runs: Sequence[Run]) -> tuple[Curve, ...]:
        """The curves that a run has; for several runs at most one of each kind, preferring what most of them have."""
        having = {curve: sum(bool(run.series(curve.column)) for run in runs) for curve in self.curves}
        there = [curve for curve in self.curves if having[curve]]
        if len(runs) == 1:
            return tuple(there)
        kinds = ([curve for curve in there if curve.held_out == kind] for kind in (False, True))
        return tuple(max(kind, key=having.__getitem__) for kind in kinds if kind)


TRAINED, HELD_OUT = "training batches", "held-out questions"

STEP_PANELS = (
    StepPanel(
        "entropy",
        "semantic entropy (nats)",
        (Curve("empo/entropy", TRAINED), Curve("eval/semantic_entropy", HELD_OUT, held_out=True)),
        low=0,
    ),
    StepPanel(
        "accuracy",
        "accuracy (share right)",
        (
            Curve("empo/accuracy", TRAINED),
            Curve("eval/pass@1", f"pass@1, {HELD_OUT}", held_out=True),
            Curve("eval/mean@8", f"mean@8, {HELD_OUT}", held_out=True),
            Curve("eval/majority@8", f"majority@8, {HELD_OUT}", held_out=True),
        ),
        low=0,
        high=1,
    ),
    StepPanel(
        "correlation",
        "correlation of the reward\nwith right answers (Pearson's r)",
        (Curve("empo/golden_correlation", TRAINED),),
        low=-1,
        high=1,
    ),
    StepPanel("reward", "mean reward of a completion", (Curve("empo/reward", TRAINED),)),
    StepPanel(
        "keep",
        "groups kept (share)",
        (Curve("empo/keep_fraction", "kept"),),
        low=0,
        high=1,
        marks=(Curve("empo/step_skipped", "step skipped: nothing kept"),),
    ),
    StepPanel(
        "lengths",
        "mean completion length (tokens)",
        (
            Curve("completions/mean_length", "all"),
            Curve("completions/mean_terminated_length", "without those cut off"),
        ),
        low=0,
    ),
)
ALARMS, COST, SCATTER, PASS_AT_K = "alarms", "cost", "scatter", "pass@k"
FIGURES = {
    "training": ("entropy", "accuracy", "correlation"),
    "dynamics": ("reward", "keep", "lengths", ALARMS),
    "cost": (COST,),
    "scatter": (SCATTER,),
    "pass-at-k": (PASS_AT_K,),
}
"""The file that each panel goes to where the output is a directory. `training` is the paper's Figure 2."""

NAMES = tuple(name for names in FIGURES.values() for name in names)
BY_NAME = {panel.name: panel for panel in STEP_PANELS}

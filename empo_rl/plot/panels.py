"""Define the panels: the columns of `metrics.jsonl` that a panel shows, its y axis, and the figures with their panels.

A panel draws the columns that the runs have. With one run, a panel shows all its curves. With several runs, a panel
shows one training curve and one held-out curve for each run, so two training curves always belong to different runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from empo_rl.plot.run_files import Run


@dataclass(frozen=True, slots=True)
class Curve:
    """The curve of one column of `metrics.jsonl`.

    Attributes:
        held_out: True: the column is measured at some steps on held-out questions, and is drawn with markers.
    """

    column: str
    label: str
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class StepPanel:
    """A panel with training steps on the x axis.

    Attributes:
        name: name in `--only`.
        axis: label of the y axis, with the unit.
        curves: the curves that the panel can show.
        low, high: limits of the y axis; None: the limit depends on the data.
        marks: columns whose nonzero steps get a mark at the bottom of the panel.
    """

    name: str
    axis: str
    curves: tuple[Curve, ...]
    low: float | None = None
    high: float | None = None
    marks: tuple[Curve, ...] = ()

    def available_curves(self, runs: Sequence[Run]) -> tuple[Curve, ...]:
        """The curves to draw. With several runs, the training curve and the held-out curve that most runs have."""
        counts = {curve: sum(bool(run.series(curve.column)) for run in runs) for curve in self.curves}
        available = [curve for curve in self.curves if counts[curve]]
        if len(runs) == 1:
            return tuple(available)
        kinds = ([curve for curve in available if curve.held_out == kind] for kind in (False, True))
        return tuple(max(kind, key=counts.__getitem__) for kind in kinds if kind)


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
            Curve("eval/accuracy", f"mean over the samples, {HELD_OUT}", held_out=True),
            Curve("eval/majority", f"majority answer, {HELD_OUT}", held_out=True),
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
"""Figure -> its panels. If the output is a directory, each figure is one file. The paper's Figure 2 is `training`."""

NAMES = tuple(name for names in FIGURES.values() for name in names)
BY_NAME = {panel.name: panel for panel in STEP_PANELS}

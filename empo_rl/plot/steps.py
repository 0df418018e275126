"""Curves along the training steps on matplotlib axes: smoothed ones with what was measured behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from empo_rl.plot.panels import Curve, StepPanel
from empo_rl.plot.run_files import Run, Series
from empo_rl.plot.smoothing import smooth
from empo_rl.plot.style import QUIET, Look, look

_ALARMED = (0, (1, 2))


def draw_steps(axes: Any, panel: StepPanel, runs: Sequence[Run], window: int, *, explain: bool = False) -> None:
    """One panel. A single run's curves have looks of their own; of several runs, each has one, for all its curves.

    A dotted line stands where a run's first alarm was raised; with `explain` the legend says so.
    """
    curves = panel.found(runs)
    for number, run in enumerate(runs):
        for index, curve in enumerate(curves):
            series = run.series(curve.column)
            if series:
                style = look(index if len(runs) == 1 else number)
                _draw(axes, series, curve, style, window)
        for mark in panel.marks:
            _mark(axes, run.series(mark.column), look(number), number)
        if run.alarms:
            colour = QUIET if len(runs) == 1 else look(number).colour
            axes.axvline(min(alarm.step for alarm in run.alarms), color=colour, linestyle=_ALARMED, linewidth=1)
    axes.set_ylabel(panel.axis)
    _limit(axes, panel, runs, curves)
    handles = _kinds(panel, runs, curves)
    if explain and any(run.alarms for run in runs):
        handles.append(_alarm_handle())
    if handles:
        axes.legend(handles=handles, loc="best")


def draw_alarms(axes: Any, runs: Sequence[Run]) -> None:
    """A row an alarm, a mark each time that it was raised."""
    names = sorted({alarm.name for run in runs for alarm in run.alarms})
    for number, run in enumerate(runs):
        style, shift = look(number), 0.0 if len(runs) == 1 else 0.5 * (number / (len(runs) - 1) - 0.5)
        steps = [alarm.step for alarm in run.alarms]
        rows = [names.index(alarm.name) + shift for alarm in run.alarms]
        axes.plot(steps, rows, style.mark, color=style.colour, markersize=5)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_ylabel("alarms")


def _draw(axes: Any, series: Series, curve: Curve, style: Look, window: int) -> None:
    if curve.held_out:  # few, exact points: a mean over them would hide what was measured
        marks = {"marker": style.mark, "markersize": 5, "linewidth": 0.8}
        axes.plot(series.steps, series.values, color=style.colour, linestyle=style.dashes, zorder=3, **marks)
        return
    if window > 1:
        axes.plot(series.steps, series.values, color=style.colour, alpha=0.25, linewidth=0.8)
    alone = {"marker": style.mark} if len(series.steps) == 1 else {}  # a line through one point is invisible
    means = smooth(series.values, window)
    axes.plot(series.steps, means, color=style.colour, linestyle=style.dashes, linewidth=1.6, **alone)


def _alarm_handle() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=QUIET, linestyle=_ALARMED, linewidth=1, label="first alarm")


def _mark(axes: Any, series: Series, style: Look, row: int) -> None:
    steps = [step for step, value in zip(series.steps, series.values, strict=True) if value]
    if not steps:
        return
    heights = [0.03 + 0.035 * row] * len(steps)
    across = axes.get_xaxis_transform()  # steps along, a share of the panel's height up
    axes.plot(steps, heights, "x", color=style.colour, markersize=5, transform=across)


def _limit(axes: Any, panel: StepPanel, runs: Sequence[Run], curves: Sequence[Curve]) -> None:
    """A share is drawn on all of its range, with room for marks on its edge; other axes begin at 0 unless values fall
    below it.
    """
    if panel.low is not None and panel.high is not None:
        room = 0.03 * (panel.high - panel.low)
        axes.set_ylim(panel.low - room, panel.high + room)
        if panel.low < 0:
            axes.axhline(0, color=QUIET, linewidth=0.8)
        return
    values = [value for run in runs for curve in curves for value in run.series(curve.column).values]
    if min(values, default=-1.0) >= 0 < max(values, default=0.0):
        axes.set_ylim(0, 1.08 * max(values))


def _kinds(panel: StepPanel, runs: Sequence[Run], curves: Sequence[Curve]) -> list[Any]:
    """The panel's legend: what its curves are, and its marks. What the runs are stands above all panels."""
    from matplotlib.lines import Line2D

    handles = []
    for index, curve in enumerate(curves):
        one = len(runs) == 1
        style = look(index) if one else Look(QUIET, "-", "o")
        marked = {"marker": style.mark, "markersize": 5, "linewidth": 0.8} if curve.held_out else {"linewidth": 1.6}
        handles.append(Line2D([], [], color=style.colour, linestyle=style.dashes, label=curve.label, **marked))
    if len(handles) == 1 and not any(curve.held_out for curve in panel.curves):
        handles = []  # the axis says it
    for mark in panel.marks:
        if any(any(run.series(mark.column).values) for run in runs):
            handles.append(Line2D([], [], color=QUIET, linestyle="", marker="x", label=mark.label))
    return handles

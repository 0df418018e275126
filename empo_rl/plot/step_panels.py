"""Draw panels with training steps on the x axis: curves, smoothed on request, and alarms.

`smooth` is a running mean, like in the paper's Figure 2:

    smooth(x, N)[t] = mean of x[max(0, t - N + 1)], ..., x[t]

The mean at step t uses only values up to step t. The first N - 1 means use fewer than N values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from empo_rl.plot.panels import Curve, StepPanel
from empo_rl.plot.run_files import Run, Series
from empo_rl.plot.style import NEUTRAL, LineStyle, line_style
from semantic_entropy import InputError

_ALARM_DASHES = (0, (1, 2))


def draw_steps(axes: Any, panel: StepPanel, runs: Sequence[Run], window: int, *, explain: bool = False) -> None:
    """Draw one panel. With one run, each curve has its own style; with several runs, each run has its own style.

    A dotted line marks the first alarm of a run. With `explain`, the legend has an entry for this line.
    """
    curves = panel.available_curves(runs)
    for number, run in enumerate(runs):
        for index, curve in enumerate(curves):
            series = run.series(curve.column)
            if series:
                style = line_style(index if len(runs) == 1 else number)
                _draw_curve(axes, series, curve, style, window)
        for mark in panel.marks:
            _draw_marks(axes, run.series(mark.column), line_style(number), number)
        if run.alarms:
            colour = NEUTRAL if len(runs) == 1 else line_style(number).colour
            axes.axvline(min(alarm.step for alarm in run.alarms), color=colour, linestyle=_ALARM_DASHES, linewidth=1)
    axes.set_ylabel(panel.axis)
    _set_limits(axes, panel, runs, curves)
    handles = _legend_handles(panel, runs, curves)
    if explain and any(run.alarms for run in runs):
        handles.append(_alarm_handle())
    if handles:
        axes.legend(handles=handles, loc="best")


def draw_alarms(axes: Any, runs: Sequence[Run]) -> None:
    """Draw one row for each kind of alarm, with a marker at each step where the alarm was raised."""
    names = sorted({alarm.name for run in runs for alarm in run.alarms})
    for number, run in enumerate(runs):
        style, shift = line_style(number), 0.0 if len(runs) == 1 else 0.5 * (number / (len(runs) - 1) - 0.5)
        steps = [alarm.step for alarm in run.alarms]
        rows = [names.index(alarm.name) + shift for alarm in run.alarms]
        axes.plot(steps, rows, style.marker, color=style.colour, markersize=5)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_ylabel("alarms")


def smooth(values: Sequence[float], window: int) -> list[float]:
    """The running mean of `values` (steps,) over `window` steps. If `window` is 1, the result equals `values`.

    Raises:
        InputError: the window is smaller than 1.
    """
    if window < 1:
        raise InputError(f"cannot smooth over {window} steps: give 1 (no smoothing) or more.")
    if window == 1:
        return list(values)
    parts = (values[max(0, end - window) : end] for end in range(1, len(values) + 1))
    return [_mean(part) for part in parts]


def _mean(values: Sequence[float]) -> float:
    """The mean of one window. A running sum would carry rounding errors, nan and infinity to later windows."""
    if all(map(math.isfinite, values)):
        return math.fsum(values) / len(values)
    return sum(values) / len(values)  # returns nan or infinity; fsum raises an error on inf - inf


def _draw_curve(axes: Any, series: Series, curve: Curve, style: LineStyle, window: int) -> None:
    if curve.held_out:  # the curve has a few exact points, which smoothing would hide
        marks = {"marker": style.marker, "markersize": 5, "linewidth": 0.8}
        axes.plot(series.steps, series.values, color=style.colour, linestyle=style.dashes, zorder=3, **marks)
        return
    if window > 1:
        axes.plot(series.steps, series.values, color=style.colour, alpha=0.25, linewidth=0.8)
    single = {"marker": style.marker} if len(series.steps) == 1 else {}  # a line with one point is invisible
    means = smooth(series.values, window)
    axes.plot(series.steps, means, color=style.colour, linestyle=style.dashes, linewidth=1.6, **single)


def _alarm_handle() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=NEUTRAL, linestyle=_ALARM_DASHES, linewidth=1, label="first alarm")


def _draw_marks(axes: Any, series: Series, style: LineStyle, row: int) -> None:
    steps = [step for step, value in zip(series.steps, series.values, strict=True) if value]
    if not steps:
        return
    heights = [0.03 + 0.035 * row] * len(steps)
    across = axes.get_xaxis_transform()  # x in steps, y as a share of the height of the panel
    axes.plot(steps, heights, "x", color=style.colour, markersize=5, transform=across)


def _set_limits(axes: Any, panel: StepPanel, runs: Sequence[Run], curves: Sequence[Curve]) -> None:
    """Set the limits of the y axis.

    If the panel has both limits, use both, with space for markers at the edge. Else the axis starts at 0. If a value is
    negative, matplotlib chooses the limits.
    """
    if panel.low is not None and panel.high is not None:
        margin = 0.03 * (panel.high - panel.low)
        axes.set_ylim(panel.low - margin, panel.high + margin)
        if panel.low < 0:
            axes.axhline(0, color=NEUTRAL, linewidth=0.8)
        return
    values = [value for run in runs for curve in curves for value in run.series(curve.column).values]
    if min(values, default=-1.0) >= 0 < max(values, default=0.0):
        axes.set_ylim(0, 1.08 * max(values))


def _legend_handles(panel: StepPanel, runs: Sequence[Run], curves: Sequence[Curve]) -> list[Any]:
    """Legend entries for the curves and marks of a panel. The legend of the figure shows the names of the runs."""
    from matplotlib.lines import Line2D

    handles = []
    for index, curve in enumerate(curves):
        style = line_style(index) if len(runs) == 1 else LineStyle(NEUTRAL, "-", "o")
        marked = {"marker": style.marker, "markersize": 5, "linewidth": 0.8} if curve.held_out else {"linewidth": 1.6}
        handles.append(Line2D([], [], color=style.colour, linestyle=style.dashes, label=curve.label, **marked))
    if len(handles) == 1 and not any(curve.held_out for curve in panel.curves):
        handles = []  # a single curve needs only the label of the axis
    for mark in panel.marks:
        if any(any(run.series(mark.column).values) for run in runs):
            handles.append(Line2D([], [], color=NEUTRAL, linestyle="", marker="x", label=mark.label))
    return handles

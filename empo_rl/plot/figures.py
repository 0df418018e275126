"""Draw figures with several panels, one below the other, and write them as PNG and SVG files.

Panels with training steps on the x axis share this axis. For several runs, one legend above the panels shows the names
of the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.plot.panels import ALARMS, BY_NAME, COST, NAMES, PASS_AT_K, SCATTER
from empo_rl.plot.pass_at_k_panel import PassAtKCurve, draw_pass_at_k
from empo_rl.plot.run_files import Run
from empo_rl.plot.step_panels import draw_alarms, draw_steps
from empo_rl.plot.style import SETTINGS, line_style
from empo_rl.plot.summary_panels import draw_cost, draw_scatter, has_cost, scatter_columns

FORMATS = (".png", ".svg")
_WIDTH, _HEIGHT, _LOW_HEIGHT = 7.0, 2.5, 1.0  # inches: figure width, panel height, height of a panel with rows
_DPI = 110


@dataclass(frozen=True, slots=True)
class PlotData:
    """The data of a figure.

    Attributes:
        runs: training runs.
        evaluations: pass@k curves.
        window: number of steps of the running mean; 1: no smoothing.
    """

    runs: tuple[Run, ...]
    evaluations: tuple[PassAtKCurve, ...] = ()
    window: int = 1

    def missing(self, name: str) -> str | None:
        """The reason why a panel cannot be drawn; None if it can be drawn."""
        if name == PASS_AT_K:
            return None if self.evaluations else "no directory of `empo-eval` is given"
        if not self.runs:
            return "no training run is given"
        if name == ALARMS:
            return None if any(run.alarms for run in self.runs) else "no alarm was raised, or the runs had no monitor"
        if name == COST:
            return None if any(map(has_cost, self.runs)) else "no run has the columns cost/*"
        if name == SCATTER:
            return None if scatter_columns(self.runs) else "no run has entropy and accuracy at two or more steps"
        panel = BY_NAME[name]
        columns = " or ".join(curve.column for curve in panel.curves)
        return None if panel.available_curves(self.runs) else f"no run has {columns}{_HINTS.get(name, '')}"


_HINTS = {"correlation": " (empo.measure_gold=true writes it)"}


def require_matplotlib(purpose: str) -> None:
    """Raise MissingDependencyError if matplotlib is not installed."""
    from importlib.util import find_spec

    from semantic_entropy import MissingDependencyError, install_command

    if find_spec("matplotlib") is None:
        command = install_command("semantic-entropy[report]")
        raise MissingDependencyError(f"{purpose} needs matplotlib, which is not installed: {command}")


def draw_figure(names: Sequence[str], data: PlotData, paths: Sequence[Path], title: str | None = None) -> None:
    """Draw one figure and write it to each path, in the format of its suffix.

    Args:
        names: names of the panels; `data.missing(name)` must be None for each name.
        data: the runs and the evaluations.
        paths: files with the suffix .png or .svg.
        title: text above the figure.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [_height(name, data) for name in names]
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(_WIDTH, sum(heights) + 0.6), layout="constrained")
        FigureCanvasAgg(figure)  # works without a screen and with any backend in matplotlibrc
        _add_panels(figure, names, data, heights)
        _add_heading(figure, names, data, title)
        for path in paths:
            unfinished = path.with_name(f".{path.name}")
            metadata: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
            figure.savefig(unfinished, format=path.suffix[1:], dpi=_DPI, metadata=metadata)
            unfinished.replace(path)  # atomic: a viewer never reads an incomplete file


def _height(name: str, data: PlotData) -> float:
    if name == COST:
        return _LOW_HEIGHT + 0.5 * len(data.runs)
    if name == ALARMS:
        return _LOW_HEIGHT + 0.2 * len({alarm.name for run in data.runs for alarm in run.alarms})
    return _HEIGHT if name in BY_NAME else 1.5 * _HEIGHT


def _add_panels(figure: Any, names: Sequence[str], data: PlotData, heights: Sequence[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    grid = figure.add_gridspec(len(names), 1, height_ratios=heights)
    first: Any = None
    for row, name in enumerate(names):
        stepwise = name in BY_NAME or name == ALARMS
        axes = figure.add_subplot(grid[row], sharex=first if stepwise else None)
        _draw_panel(axes, name, data, explain=row == 0)
        if not stepwise:
            continue
        first = first or axes
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        last = not any(other in BY_NAME or other == ALARMS for other in names[row + 1 : row + 2])
        axes.tick_params(labelbottom=last)
        axes.set_xlabel(f"training step{_smoothing_note(data.window)}" if last else "")


def _draw_panel(axes: Any, name: str, data: PlotData, *, explain: bool) -> None:
    if name == PASS_AT_K:
        draw_pass_at_k(axes, data.evaluations)
    elif name == COST:
        draw_cost(axes, data.runs)
    elif name == SCATTER:
        draw_scatter(axes, data.runs)
    elif name == ALARMS:
        draw_alarms(axes, data.runs)
    else:
        draw_steps(axes, BY_NAME[name], data.runs, data.window, explain=explain)


def _smoothing_note(window: int) -> str:
    return f" (running mean of {window} steps; lighter: single steps)" if window > 1 else ""


def _add_heading(figure: Any, names: Sequence[str], data: PlotData, title: str | None) -> None:
    """Add the title. For several runs, add a legend with their names if a panel shows training steps."""
    from matplotlib.lines import Line2D

    if title:
        figure.suptitle(title, fontsize=10)
    if len(data.runs) < 2 or not set(names) & {*BY_NAME, ALARMS}:
        return
    handles = [
        Line2D([], [], color=style.colour, linestyle=style.dashes, marker=style.marker, markersize=5, label=run.name)
        for run, style in ((run, line_style(number)) for number, run in enumerate(data.runs))
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(3, len(handles)))


def in_order(names: Sequence[str]) -> list[str]:
    """The names of the panels in the order in which the figures contain them, without repetitions."""
    return [name for name in NAMES if name in names]

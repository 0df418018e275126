"""Figures of several panels, one under the other, as PNG and SVG files.

Panels along the training steps share that axis where they follow each other. Several runs are named once, above all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.plot.evaluations import Evaluated, draw_pass_at_k
from empo_rl.plot.other_sources import draw_cost, draw_scatter, has_cost, scatter_columns
from empo_rl.plot.panels import ALARMS, BY_NAME, COST, NAMES, PASS_AT_K, SCATTER
from empo_rl.plot.run_files import Run
from empo_rl.plot.steps import draw_alarms, draw_steps
from empo_rl.plot.style import SETTINGS, look

FORMATS = (".png", ".svg")
_WIDTH, _HEIGHT, _LOW = 7.0, 2.5, 1.0  # inches: of a figure, of a panel, and of each row of a panel of rows
_DPI = 110


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to draw, and how: the runs, the evaluations, and over how many steps curves are averaged."""

    runs: tuple[Run, ...]
    evaluated: tuple[Evaluated, ...] = ()
    window: int = 1

    def missing(self, name: str) -> str | None:
        """Why a panel cannot be drawn; None where it can."""
        if name == PASS_AT_K:
            return None if self.evaluated else "no directory of `empo-eval` is given"
        if not self.runs:
            return "no training run is given"
        if name == ALARMS:
            return None if any(run.alarms for run in self.runs) else "no alarm was raised, or no monitor watched"
        if name == COST:
            return None if any(map(has_cost, self.runs)) else "no run has the columns cost/*"
        if name == SCATTER:
            return None if scatter_columns(self.runs) else "no run has both entropy and accuracy at two steps"
        panel = BY_NAME[name]
        asked = " or ".join(curve.column for curve in panel.curves)
        return None if panel.found(self.runs) else f"no run has {asked}{_HINTS.get(name, '')}"


_HINTS = {"correlation": " (empo.measure_gold=true writes it)"}


def require_matplotlib(purpose: str) -> None:
    """Raise MissingDependencyError where it is not installed."""
    from importlib.util import find_spec

    from semantic_entropy import MissingDependencyError

    if find_spec("matplotlib") is None:
        raise MissingDependencyError(
            f"{purpose} needs matplotlib, not installed here: pip install 'semantic-entropy[report]'"
        )


def draw(names: Sequence[str], material: Material, paths: Sequence[Path], title: str | None = None) -> None:
    """One figure of these panels, none of which may be missing, written to each of the paths by its ending."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [_height(name, material) for name in names]
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(_WIDTH, sum(heights) + 0.6), layout="constrained")
        FigureCanvasAgg(figure)  # no screen, whatever the user's matplotlibrc asks for
        _fill(figure, names, material, heights)
        _head(figure, names, material, title)
        for path in paths:
            unfinished = path.with_name(f".{path.name}")
            dated: Mapping[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
            figure.savefig(unfinished, format=path.suffix[1:], dpi=_DPI, metadata=dict(dated))
            unfinished.replace(path)  # in one move: a viewer that watches the file never reads half of it


def _height(name: str, material: Material) -> float:
    if name == COST:
        return _LOW + 0.5 * len(material.runs)
    if name == ALARMS:
        return _LOW + 0.2 * len({alarm.name for run in material.runs for alarm in run.alarms})
    return _HEIGHT if name in BY_NAME else 1.5 * _HEIGHT


def _fill(figure: Any, names: Sequence[str], material: Material, heights: Sequence[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    grid = figure.add_gridspec(len(names), 1, height_ratios=heights)
    along: Any = None
    for row, name in enumerate(names):
        stepwise = name in BY_NAME or name == ALARMS
        axes = figure.add_subplot(grid[row], sharex=along if stepwise else None)
        _panel(axes, name, material, explain=row == 0)
        if not stepwise:
            continue
        along = along or axes
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        last = not any(other in BY_NAME or other == ALARMS for other in names[row + 1 : row + 2])
        axes.tick_params(labelbottom=last)
        axes.set_xlabel(f"training step{_averaged(material.window)}" if last else "")


def _panel(axes: Any, name: str, material: Material, *, explain: bool) -> None:
    if name == PASS_AT_K:
        draw_pass_at_k(axes, material.evaluated)
    elif name == COST:
        draw_cost(axes, material.runs)
    elif name == SCATTER:
        draw_scatter(axes, material.runs)
    elif name == ALARMS:
        draw_alarms(axes, material.runs)
    else:
        draw_steps(axes, BY_NAME[name], material.runs, material.window, explain=explain)


def _averaged(window: int) -> str:
    return f" (running mean of {window} steps; lighter: each step by itself)" if window > 1 else ""


def _head(figure: Any, names: Sequence[str], material: Material, title: str | None) -> None:
    """The runs' names above several of them; the other panels name them in their own legends."""
    from matplotlib.lines import Line2D

    if title:
        figure.suptitle(title, fontsize=10)
    if len(material.runs) < 2 or not set(names) & {*BY_NAME, ALARMS}:
        return
    handles = [
        Line2D([], [], color=style.colour, linestyle=style.dashes, marker=style.mark, markersize=5, label=run.name)
        for run, style in ((run, look(number)) for number, run in enumerate(material.runs))
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(3, len(handles)))


def in_order(names: Sequence[str]) -> list[str]:
    """Each once, in the order of the figures."""
    return [name for name in NAMES if name in names]

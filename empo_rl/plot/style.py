"""Define the styles of the runs. Runs differ in colour, dashes and marker, so a printout without colours is readable.

Colour-blind people can distinguish the colours, which come from Okabe and Ito (https://jfly.uni-koeln.de/color/).
Neighbouring colours in the list differ in lightness. Yellow is left out because it is too light for lines on white.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_COLOURS = ("#0072B2", "#E69F00", "#000000", "#56B4E9", "#D55E00", "#CC79A7", "#009E73")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 3)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_HATCHES = ("", "///", "...")
NEUTRAL = "#555555"  # colour of lines that belong to no run
SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 3,  # long enough to show the dashes
    "svg.fonttype": "path",  # the text looks the same on a machine without the font
    "svg.hashsalt": "empo",  # equal figures give equal files
}


@dataclass(frozen=True, slots=True)
class LineStyle:
    """The style of one run, or of one curve if there is only one run."""

    colour: str
    dashes: Any
    marker: str


def line_style(index: int) -> LineStyle:
    """The style of the run or curve with this index. After 35 styles, the combinations repeat."""
    return LineStyle(_COLOURS[index % len(_COLOURS)], _DASHES[index % len(_DASHES)], _MARKERS[index % len(_MARKERS)])


def hatch(index: int) -> str:
    """The hatch pattern for a part of a bar."""
    return _HATCHES[index % len(_HATCHES)]

"""How runs are told apart: by colour, by dashes and by the form of their marks, so that grey paper tells them too.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which the colour-blind tell apart, in an order in
which neighbours differ in lightness; yellow, too light for a line on white, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_COLOURS = ("#0072B2", "#E69F00", "#000000", "#56B4E9", "#D55E00", "#CC79A7", "#009E73")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 3)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_HATCHES = ("", "///", "...")
QUIET = "#555555"  # of what belongs to no run
SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 3,  # long enough to show the dashes
    "svg.fonttype": "path",  # looks the same where the font is missing
    "svg.hashsalt": "empo",  # the same picture is the same file
}


@dataclass(frozen=True, slots=True)
class Look:
    """Of one run, or of one curve of a single run."""

    colour: str
    dashes: Any
    mark: str


def look(index: int) -> Look:
    """The seven colours, five dashes and seven marks repeat together only after 35 runs."""
    return Look(_COLOURS[index % len(_COLOURS)], _DASHES[index % len(_DASHES)], _MARKS[index % len(_MARKS)])


def hatch(index: int) -> str:
    """Of a part of a bar."""
    return _HATCHES[index % len(_HATCHES)]

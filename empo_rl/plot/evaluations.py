"""pass@k of an evaluation's directory, as `empo-eval` writes it to results.json, drawn over k with its intervals.

    {"suites": {NAME: {"pass@k": {"1": {"value": 0.41, "low": 0.36, "high": 0.46}, "2": ...}}}}

Leaves out everything else in there. A shape that it does not know is refused with what it found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.plot.look import look
from semantic_entropy import InputError

RESULTS = "results.json"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One suite's curve: k, pass@k and its interval, each (ks,). name: of the evaluation and the suite."""

    name: str
    ks: tuple[int, ...]
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def read_evaluation(directory: Path, name: str) -> list[Evaluated]:
    """The suites that were sampled more than once.

    Raises:
        InputError: results.json is of another shape, or no suite in it has pass@k.
    """
    path = directory / RESULTS
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): was the evaluation interrupted?") from error
    suites = results.get("suites") if isinstance(results, dict) else None
    if not isinstance(suites, dict) or not all(isinstance(suite, dict) for suite in suites.values()):
        found = f"the keys {sorted(results)}" if isinstance(results, dict) else f"a {type(results).__name__}"
        raise InputError(f"{path} has {found}, not 'suites' with an object a suite: did another program write it?")
    curves = [_curve(path, f"{name}, {key}", suite["pass@k"]) for key, suite in suites.items() if suite.get("pass@k")]
    if not curves:
        raise InputError(f"{path} has no pass@k: evaluate with several samples a question.")
    return curves


def draw_pass_at_k(axes: Any, curves: Sequence[Evaluated]) -> None:
    """A line a suite with its interval as a band, k on a scale of doublings."""
    from matplotlib.ticker import NullLocator, ScalarFormatter

    for number, curve in enumerate(curves):
        style = look(number)
        axes.fill_between(curve.ks, curve.low, curve.high, color=style.colour, alpha=0.15, linewidth=0)
        line = {"color": style.colour, "linestyle": style.dashes, "marker": style.mark, "markersize": 5}
        axes.plot(curve.ks, curve.values, label=curve.name, **line)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({k for curve in curves for k in curve.ks}))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("k (samples a question)")
    axes.set_ylabel("pass@k (share of questions)")
    axes.legend(loc="best")


def _curve(path: Path, name: str, table: Any) -> Evaluated:
    try:
        points = sorted((int(k), *_point(entry)) for k, entry in table.items())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: pass@k of {name} is not {{k: {{value, low, high}}}} ({type(error).__name__}: {error}): "
            "was it written by another version?"
        ) from error
    ks, values, low, high = zip(*points, strict=True)
    return Evaluated(name, ks, values, low, high)


def _point(entry: Mapping[str, Any]) -> tuple[float, float, float]:
    return float(entry["value"]), float(entry["low"]), float(entry["high"])

"""Read pass@k from the `results.json` of `empo-eval`, and draw pass@k and its intervals against k.

    {"label": NAME, "sets": {SET: {"title": ..., "n": 8, "mean@8": NUMBER, "pass@2": NUMBER, "pass@4": NUMBER, ...}}}
    NUMBER = {"value": 0.41, "low": 0.36, "high": 0.46}

The first point of a curve (k = 1) is mean@n, the unbiased pass@1 of the samples. The `pass@1` in the file is that of
the greedy responses, which are decoded differently, so the curve does not contain this value. A file with an unknown
structure raises an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.evaluate import RESULTS
from empo_rl.plot.style import line_style
from semantic_entropy import InputError

_PASS = re.compile(r"pass@(\d+)")


@dataclass(frozen=True, slots=True)
class PassAtKCurve:
    """The curve of one set: k, pass@k and both ends of the interval, each (ks,). Also the names for the legend."""

    model: str
    data: str
    ks: tuple[int, ...]
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def read_evaluations(directories: Mapping[Path, str]) -> list[PassAtKCurve]:
    """The curves of all sets with more than one sample.

    Args:
        directories: directory -> name. If two evaluations have the same label, the legend shows the names.

    Raises:
        InputError: a results.json has an unknown structure, or contains no pass@k.
    """
    results = {path: _read(path / RESULTS) for path in directories}
    labels = [str(found.get("label", "")) for found in results.values()]
    unique = "" not in labels and len(set(labels)) == len(labels)
    names = labels if unique else list(directories.values())
    return [
        curve
        for (path, found), name in zip(results.items(), names, strict=True)
        for curve in _curves(path, found, name)
    ]


def draw_pass_at_k(axes: Any, curves: Sequence[PassAtKCurve]) -> None:
    """Draw one line for each set, with its interval as a band. The axis of k is logarithmic (base 2)."""
    from matplotlib.ticker import NullLocator, ScalarFormatter

    models, data = ({getattr(curve, part) for curve in curves} for part in ("model", "data"))
    for number, curve in enumerate(curves):
        style = line_style(number)
        names = [curve.data] if len(models) == 1 else [curve.model] if len(data) == 1 else [curve.model, curve.data]
        axes.fill_between(curve.ks, curve.low, curve.high, color=style.colour, alpha=0.15, linewidth=0)
        line = {"color": style.colour, "linestyle": style.dashes, "marker": style.marker, "markersize": 5}
        axes.plot(curve.ks, curve.values, label=", ".join(names), **line)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({k for curve in curves for k in curve.ks}))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("k (samples a question)")
    axes.set_ylabel(f"pass@k (share of questions{f', {data.pop()}' if len(data) == 1 else ''})")
    axes.legend(loc="best", title="95% intervals")


def _read(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): was it written by `empo-eval`?") from error
    sets = results.get("sets") if isinstance(results, dict) else None
    if not isinstance(sets, dict) or not all(isinstance(found, dict) for found in sets.values()):
        content = f"the keys {sorted(results)}" if isinstance(results, dict) else f"a {type(results).__name__}"
        raise InputError(
            f"{path} contains {content}, not 'sets' with one object for each set: was it written by `empo-eval`?"
        )
    return dict(results)


def _curves(directory: Path, results: Mapping[str, Any], name: str) -> list[PassAtKCurve]:
    path = directory / RESULTS
    found = {numbers.get("title", key): _points(path, key, numbers) for key, numbers in results["sets"].items()}
    curves = [
        PassAtKCurve(name, str(title), *map(tuple, zip(*points, strict=True)))
        for title, points in found.items()
        if len(points) > 1
    ]
    if not curves:
        raise InputError(
            f"{path} contains no pass@k: evaluate with several samples for each question (`empo-eval --samples 8`)."
        )
    return curves


def _points(path: Path, key: str, numbers: Mapping[str, Any]) -> list[tuple[int, float, float, float]]:
    """(k, value, low, high) of each point, in the order of k; empty if the set has no samples."""
    ks = {int(match[1]): name for name in numbers if (match := _PASS.fullmatch(name))}
    first = f"mean@{numbers.get('n')}"
    columns = {**ks, 1: first} if first in numbers else {k: name for k, name in ks.items() if k > 1}
    try:
        return sorted((k, *_number(numbers[name])) for k, name in columns.items())
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: a pass@k of {key} does not have the form {{value, low, high}} ({type(error).__name__}: {error}): "
            "was it written by another version of `empo-eval`?"
        ) from error


def _number(entry: Mapping[str, Any]) -> tuple[float, float, float]:
    """(value, low, high) of one number. An undefined interval (null) becomes an interval of width 0."""
    value = float(entry["value"])
    low, high = (value if entry[end] is None else float(entry[end]) for end in ("low", "high"))
    return value, low, high

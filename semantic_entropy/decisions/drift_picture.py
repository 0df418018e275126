"""Draw the scores then and now, with matplotlib (the extra `report`): the shares of groups up to each score.

The curves are the cumulative distributions that `score_drift` compares. A curve ends below 1 if groups have no score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from semantic_entropy.decisions.score_drift import Drift
from semantic_entropy.files import save_figure


def draw_drift(drift: Drift, then: Sequence[float], now: Sequence[float], path: str) -> None:
    """Write the picture.

    Args:
        drift: the comparison, for the title and the threshold.
        then: (N,) the scores of the labelled groups; inf: unknown.
        now: (M,) the scores of the other groups; inf or nan: unknown.
        path: a file with the suffix .png, .svg or .pdf.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes: Any = figure.subplots()
    known = [value for value in (*then, *now) if math.isfinite(value)]
    for values, label in ((then, f"then: {drift.then:,} labelled groups"), (now, f"now: {drift.now:,} groups")):
        finite = sorted(value for value in values if math.isfinite(value))
        shares = [(i + 1) / len(values) for i in range(len(finite))]
        steps = [0, *shares, shares[-1] if shares else 0]
        axes.step([min(known), *finite, max(known)], steps, where="post", label=label)
    if drift.threshold is not None:
        axes.axvline(drift.threshold, color="0.4", linestyle="--", label=f"threshold {drift.threshold:.4g}")
    axes.set_xlabel(f"{drift.risk.score} (more uncertain to the right)")
    axes.set_ylabel("share of groups up to this score")
    axes.set_ylim(0, 1.02)
    verdict = "drift" if drift.is_seen else "no drift found, which certifies nothing"
    axes.set_title(f"{verdict} (p = {drift.p_value:.2g}, distance {drift.risk.distance:.3f})")
    axes.legend()
    save_figure(figure, path)

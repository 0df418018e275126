"""Draw the ROC curve and the rejection curve of each score, with matplotlib (the extra `report`).

Left: the share of wrong answers above a threshold against the share of right answers above it. Right: the accuracy of
the answers that are kept when the most uncertain ones are rejected; the grey lines are a score without information and
a perfect one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semantic_entropy.errors import InputError, MissingDependencyError, install_command
from semantic_entropy.evaluation.comparison import ScoreTable
from semantic_entropy.evaluation.metrics import Ranking
from semantic_entropy.files import save_figure

_SUFFIXES = (".png", ".svg", ".pdf")
_GREY = {"color": "0.6", "linewidth": 1}


def check_picture(path: str) -> None:
    """Raise an error if no picture can be written to this path: before rows are measured.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        InputError: the suffix is not .png, .svg or .pdf, or the folder does not exist.
    """
    try:
        import matplotlib as _  # noqa: F401, ICN001  # only whether it can be imported
    except ImportError as error:
        command = install_command("semantic-entropy[report]")
        raise MissingDependencyError(f"a picture needs matplotlib: {command}") from error
    if Path(path).suffix.lower() not in _SUFFIXES:
        raise InputError(f"{path}: a picture has the suffix {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}")
    if not Path(path).parent.is_dir():
        raise InputError(f"{path}: there is no folder {Path(path).parent}: create it first, or correct the path")


def save_picture(
    scores: Mapping[str, Sequence[float]],
    wrong: Sequence[bool],
    confidences: Collection[str],
    table: ScoreTable,
    path: str,
) -> None:
    """Write the picture.

    Args:
        scores: (N,) values of each score; nan: unknown.
        wrong: (N,) whether the answer is wrong.
        confidences: the scores that are higher for more certain answers.
        table: the metrics, for the legend. Scores that it does not have are not drawn.
        path: the file; its suffix is .png, .svg or .pdf.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        InputError: the path cannot be used, or there are no wrong or no right answers.
    """
    check_picture(path)
    truth = np.asarray(wrong, dtype=bool)
    if truth.all() or not truth.any():
        kind = "wrong" if truth.all() else "right"
        raise InputError(f"all {len(truth)} answers are {kind}: there is no curve to draw")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    roc, rejection = figure.subplots(1, 2)
    for name in table:
        values = np.asarray(scores[name], dtype=np.float64)
        ranking = Ranking(-values if name in confidences else values, truth)
        (line,) = roc.plot(*ranking.roc(), label=f"{name}: {table[name].auroc.value:.3f}")
        coverage, accuracy = ranking.curve()
        label = f"{name}: {table[name].metrics['aurac'].value:.3f}"
        rejection.plot(1 - coverage, accuracy, color=line.get_color(), label=label)
    roc.plot([0, 1], [0, 1], **_GREY)
    kept = np.arange(1, len(truth) + 1)
    rejection.plot(1 - kept / len(truth), np.minimum(1, (~truth).sum() / kept), **_GREY)
    rejection.axhline(1 - truth.mean(), **_GREY)
    _label(roc, "right answers above the threshold", "wrong answers above the threshold", "ROC", "AUROC")
    _label(rejection, "share of answers rejected", "accuracy of the rest", "Rejection", "AURAC")
    save_figure(figure, path)


def _label(axes: Any, x: str, y: str, title: str, metric: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title)
    axes.set_xlim(0, 1)
    axes.legend(title=metric, fontsize="small")
    axes.grid(alpha=0.3)

"""Draw a calibration with matplotlib (the extra `report`): three panels, all of the certifying groups.

Left: the ROC curve of the risk score. Middle: precision and recall of the flag, by the share of flagged answers. Right:
the share of wrong answers against p(wrong), in bins, with exact 95% intervals. The certified threshold is marked.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from semantic_entropy.errors import InputError
from semantic_entropy.evaluation.calibration_report import CalibrationReport
from semantic_entropy.evaluation.metrics import Ranking
from semantic_entropy.evaluation.picture import check_picture
from semantic_entropy.files import save_figure

_GREY = {"color": "0.6", "linewidth": 1}


def save_calibration_picture(report: CalibrationReport, path: str) -> None:
    """Write the picture.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        InputError: the path cannot be used, or there are no wrong or no right answers.
    """
    check_picture(path)
    wrong = np.array(report.wrong, dtype=bool)
    if wrong.all() or not wrong.any():
        kind = "wrong" if wrong.all() else "right"
        raise InputError(f"all {len(wrong)} certifying answers are {kind}: there is no curve to draw")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5), layout="constrained")
    roc, flag, reliability = figure.subplots(1, 3)
    marked = report.at_threshold
    false, true = Ranking(np.array(report.risks), wrong).roc()
    roc.plot(false, true, label=f"AUROC {report.auroc}")
    roc.plot([0, 1], [0, 1], **_GREY)
    share, precision, recall = flag_curves(np.array(report.risks), wrong)
    flag.step(share, precision, where="post", label="precision: wrong among the flagged")
    flag.step(share, recall, where="post", label="recall: flagged among the wrong")
    flag.axhline(wrong.mean(), **_GREY)
    if marked:
        flagged = 1 - marked["coverage"].value
        right_flagged = marked["precision"].n - marked["precision"].k
        point = (right_flagged / (~wrong).sum(), marked["recall"].value)
        roc.plot(*point, "ko", label="certified threshold")
        flag.axvline(flagged, color="k", linestyle="--", linewidth=1, label="certified threshold")
    _draw_reliability(reliability, report)
    _label(roc, "right answers flagged", "wrong answers flagged", "ROC")
    _label(flag, "share of answers flagged", "share", "Precision and recall of the flag")
    _label(reliability, "p(wrong)", "share of wrong answers", "Reliability")
    names = ", ".join(report.calibration.names)
    figure.suptitle(f"{names}: {len(wrong):,} labelled groups that nothing was fitted on", fontsize="medium")
    save_figure(figure, path)


def flag_curves(risks: Any, wrong: Any) -> tuple[Any, Any, Any]:
    """Return (share flagged, precision, recall) for each distinct risk, from the most uncertain to the most certain.

    nan is the most uncertain. Equal risks are flagged together.
    """
    values = np.where(np.isnan(risks), np.inf, risks)
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.r_[values[order][1:] != values[order][:-1], True]) + 1
    found = np.cumsum(wrong[order])[ends - 1]
    return ends / len(wrong), found / ends, found / wrong.sum()


def _draw_reliability(axes: Any, report: CalibrationReport) -> None:
    bins = report.reliability
    means = np.array([each.mean for each in bins])
    values = np.array([each.wrong.value for each in bins])
    lows, highs = np.array([each.wrong.interval for each in bins]).reshape(-1, 2).T
    errors = np.maximum(0, [values - lows, highs - values])
    axes.errorbar(means, values, yerr=errors, fmt="o", capsize=3, label="groups in bins, 95%")
    axes.plot([0, 1], [0, 1], **_GREY)


def _label(axes: Any, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)

"""How well scores find the wrong answers of labelled rows, for the charts: `semantic_entropy.evaluation` on the rows.

    rejection      accuracy of the answers that are kept when the most uncertain share is rejected
    roc            share of the wrong answers above a threshold against the share of the right answers above it
    calibration    share of wrong answers among rows of similar score, with a 95% Wilson interval

The bins of the calibration have about equal numbers of rows; equal scores are in one bin. For a score that is a
probability of a wrong answer, `calibration` says whether it can be believed; for another score, how the share of wrong
answers grows with it. An unknown score counts as the most uncertain one, and is in no bin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from semantic_entropy.report.findings import RankScore, score_of
from semantic_entropy.report.scored_rows import ReportRow, known

MOST_POINTS = 200  # of a curve: more cannot be seen on a screen
_BINS = 10
_Z = 1.959964  # of the 95% interval
_RESAMPLES = 1000  # as in `evaluate`
_SHOWN_METRICS = ("auroc", "aurac", "prr", "accuracy@80%", "accuracy@90%", "brier", "ece")


def labelled_curves(rows: Sequence[ReportRow], ranked_by: RankScore) -> dict[str, Any] | None:
    """Return the metrics of all scores and the curves of each; None: there are no wrong or no right labelled answers.

    Args:
        rows: the rows of the report.
        ranked_by: the score of the ranking: it is the first one, and the reference of the others.
    """
    labelled = [row for row in rows if row.wrong is not None]
    wrong = [bool(row.wrong) for row in labelled]
    if not any(wrong) or all(wrong):
        return None
    import numpy as np  # here, so that a report without labels is made without numpy

    from semantic_entropy.evaluation import compare
    from semantic_entropy.evaluation.labelled_scores import LabelledScores
    from semantic_entropy.evaluation.metrics import Ranking

    columns = LabelledScores((), "main", "correct", "source")
    columns.scores = _scores(labelled, ranked_by)
    confidences, probabilities, _ = columns.direction_and_kind(())
    table = compare(
        columns.scores,
        wrong,
        confidences=confidences,
        probabilities={*probabilities, *({"p_wrong"} & columns.scores.keys())},
        reference=ranked_by,
        resampled=_RESAMPLES,
    )
    truth = np.asarray(wrong, dtype=bool)
    curves = {}
    for name in table:
        values = np.asarray(columns.scores[name], dtype=np.float64)
        ranking = Ranking(-values if name in confidences else values, truth)
        coverage, accuracy = ranking.curve()
        false, true = ranking.roc()
        curves[name] = {
            "rejection": thinned((1 - coverage).tolist()[::-1], accuracy.tolist()[::-1]),
            "roc": thinned(false.tolist(), true.tolist()),
            "calibration": calibration_bins(columns.scores[name], wrong),
        }
    shown = [name for name in _SHOWN_METRICS if any(name in score.metrics for score in table.values())]
    return {
        "groups": table.groups,
        "wrong": table.wrong,
        "metrics": shown,
        "scores": [
            {
                "name": name,
                "confidence": name in confidences,
                "probability": name == "p_wrong",
                "metrics": {m: _interval(score.metrics[m]) for m in shown if m in score.metrics},
                "unknown": score.unknown,
                **curves[name],
            }
            for name, score in table.items()
        ],
    }


def calibration_bins(scores: Sequence[float], wrong: Sequence[bool], bins: int = _BINS) -> list[list[float]]:
    """Return [mean score, share wrong, low, high, rows] of each bin, by increasing score.

    Args:
        scores: (N,) the scores; nan: unknown, in no bin.
        wrong: (N,) whether the answers are wrong.
        bins: the largest number of bins.
    """
    pairs = sorted((score, bad) for score, bad in zip(scores, wrong, strict=True) if math.isfinite(score))
    found: list[list[float]] = []
    start = 0
    while start < len(pairs):
        end = start + math.ceil((len(pairs) - start) / (bins - len(found)))
        while end < len(pairs) and pairs[end][0] - pairs[end - 1][0] < 1e-9:  # equal scores stay together
            end += 1
        part = pairs[start:end]
        count, bad = len(part), sum(bad for _, bad in part)
        low, high = wilson(bad, count)
        found.append([sum(score for score, _ in part) / count, bad / count, low, high, count])
        start = end
    return found


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the 95% score interval of a share (Wilson 1927)."""
    share, z2 = hits / count, _Z * _Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, min(share, middle - half)), min(
        1.0, max(share, middle + half)
    )  # equal at 0 and 1, but for rounding


def histogram(values: Sequence[float | None], wrong: Sequence[bool | None], bins: int = 20) -> dict[str, Any] | None:
    """Return the edges (bins + 1,) and the counts of right, wrong and unlabelled rows in each bin; None: no value."""
    placed = [(value, label) for value, label in zip(values, wrong, strict=True) if value is not None]
    if not placed:
        return None
    low, high = min(0.0, *(v for v, _ in placed), 0.0), max(v for v, _ in placed)
    width = (high - low) / bins or 1 / bins
    counts = {"right": [0] * bins, "wrong": [0] * bins, "unlabelled": [0] * bins}
    for value, label in placed:
        kind = "unlabelled" if label is None else "wrong" if label else "right"
        counts[kind][min(bins - 1, int((value - low) / width))] += 1
    return {"edges": [low + width * i for i in range(bins + 1)], **counts}


def thinned(x: Sequence[float], y: Sequence[float]) -> list[list[float]]:
    """Return at most about `MOST_POINTS` points of a curve, with its first and its last one, rounded to 4 digits."""
    step = max(1, len(x) // MOST_POINTS)
    kept = [*range(0, len(x), step)]
    if kept and kept[-1] != len(x) - 1:
        kept.append(len(x) - 1)
    return [[round(x[i], 4), round(y[i], 4)] for i in kept]


def _scores(rows: Sequence[ReportRow], ranked_by: RankScore) -> dict[str, list[float]]:
    """Return the values of all scores; the score of the ranking is first."""
    names = dict.fromkeys(name for row in rows for name in row.result.scores)
    for row in rows:  # the entropy is one of the scores, under the name of its estimator
        if ranked_by == "entropy":
            names.pop(row.result.provenance.estimator, None)
    columns: dict[str, list[float]] = {ranked_by: [_number(score_of(row.result, ranked_by)) for row in rows]}
    names.pop(ranked_by, None)
    columns |= {name: [_number(row.result.scores.get(name)) for row in rows] for name in names}
    return columns


def _number(value: float | None) -> float:
    found = known(value)
    return math.nan if found is None else found


def _interval(value: Any) -> list[float | None]:
    return [known(each) for each in value]

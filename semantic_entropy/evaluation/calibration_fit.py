"""Fit p(wrong) on labelled groups, with scikit-learn (the extra `stats`): the parameters that a calibration keeps.

    platt        StandardScaler and LogisticRegression (L2 penalty, C = 1), of one or several scores
    isotonic     IsotonicRegression, clipped outside of the fitted scores
    histogram    KBinsDiscretizer with at most ten bins of equal size, and the share of wrong answers in each bin

The penalty keeps the slope of `platt` finite if a score separates the two kinds, as the changed targets of Platt (1999)
do. If all fitted answers are right, or all are wrong, no score can be mapped: p(wrong) is then the constant
(wrong + 1) / (n + 2) (Laplace's rule), for all methods.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from semantic_entropy.decisions.calibration import CalibrationMethod, Mapped
from semantic_entropy.errors import MissingDependencyError, install_command
from semantic_entropy.evaluation.comparison import Bools, has_scikit_learn
from semantic_entropy.evaluation.metrics import Floats

_MOST_BINS = 10
_FEWEST_IN_BIN = 10  # groups: a share of fewer has an interval that is wider than a half


def check_scikit_learn() -> None:
    """Raise MissingDependencyError if scikit-learn is not installed: before rows are measured."""
    if not has_scikit_learn():
        command = install_command("semantic-entropy[stats]")
        raise MissingDependencyError(f"calibrating needs scikit-learn: {command}")


def fit_probability(values: Floats, wrong: Bools, method: CalibrationMethod) -> Mapped:
    """Fit p(wrong).

    Args:
        values: (N, scores) finite, higher for more uncertain answers.
        wrong: (N,) whether the answer is wrong.
        method: "platt", "isotonic" or "histogram"; the latter two are for one score.
    """
    n, scores = values.shape
    if not wrong.any() or wrong.all():
        return _constant((int(wrong.sum()) + 1) / (n + 2), scores, method)
    if method == "isotonic":
        return _isotonic(values[:, 0], wrong)
    if method == "histogram":
        return _histogram(values[:, 0], wrong)
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(values)
    regression = LogisticRegression(max_iter=5000).fit(scaler.transform(values), wrong)
    return Mapped(
        intercept=float(regression.intercept_[0]),
        weights=tuple(map(float, regression.coef_[0])),
        mean=tuple(map(float, scaler.mean_)),
        scale=tuple(map(float, scaler.scale_)),
    )


def _constant(p: float, scores: int, method: CalibrationMethod) -> Mapped:
    if method == "isotonic":
        return Mapped(x=(0.0,), y=(p,))
    if method == "histogram":
        return Mapped(y=(p,))
    zeros, ones = (0.0,) * scores, (1.0,) * scores
    return Mapped(math.log(p / (1 - p)), zeros, zeros, ones)


def _isotonic(values: Floats, wrong: Bools) -> Mapped:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(values, wrong)
    return Mapped(x=tuple(map(float, fitted.X_thresholds_)), y=tuple(map(float, fitted.y_thresholds_)))


def _histogram(values: Floats, wrong: Bools) -> Mapped:
    from sklearn.preprocessing import KBinsDiscretizer

    bins = max(2, min(_MOST_BINS, len(values) // _FEWEST_IN_BIN))
    binned = KBinsDiscretizer(bins, encode="ordinal", strategy="quantile", subsample=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bins of equal scores are joined
        numbers = binned.fit_transform(values[:, None])[:, 0].astype(int)
    edges = list(map(float, binned.bin_edges_[0][1:-1]))
    found = np.unique(numbers)  # a bin between two equal quantiles can be empty: it is joined with the next one
    shares = [float(wrong[numbers == number].mean()) for number in found]
    return Mapped(x=tuple([edges[number - 1] for number in found[1:]]), y=tuple(shares))

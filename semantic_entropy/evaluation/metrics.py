"""Metrics of one score on labelled groups, on all resamples of a bootstrap at once.

u_i is the uncertainty of group i, y_i = 1 if its answer is wrong. N groups, acc = the share of right answers, acc(k) =
the share of right answers among the k groups of lowest u.

    auroc          P(u_i > u_j) + P(u_i = u_j) / 2 for a wrong i and a right j
    auprc          average precision: sum over thresholds of precision x gain in recall; wrong is the positive class
    aurac          mean of acc(k), k = 1..N: the area under the rejection-accuracy curve (Nadeem et al. 2009). Farquhar
                   et al. 2024 average over coverages from 10% to 100% only
    prr            (aurac - acc) / (best aurac - acc): 0 is random, 1 ranks each wrong answer above all right answers;
                   the prediction-rejection ratio of Malinin et al. 2017, as in lm-polygraph (all groups are rejected)
    accuracy@C     acc(k) at coverage C: k = C N, rounded up
    brier          mean of (p_i - y_i)^2, with p_i a probability that the answer is wrong
    ece            sum over 10 bins of equal width in p: share of the bin x |mean p - mean y| (Guo et al. 2017)

Groups with equal u have no order: acc(k) is its mean over all their orders, so the order of rows changes no number. Two
u count as equal if their first 9 digits agree, because the last digits depend on the order of sums. A nan is an unknown
score, and the most uncertain one.

A resample is a number of copies w_i of each group. All metrics are sums over the sorted groups with weights w_i, which
numpy computes for all resamples together; the metrics of the data itself have all w_i = 1. scikit-learn computes the
first two metrics, for one resample a call, so the tests compare with it and this module does not call it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
ECE_BINS = 10
_EQUAL_DIGITS = 30  # bits of the mantissa that are compared: 9 decimal digits
_CHUNK_CELLS = 2_000_000  # numbers in an array of resamples: 16 MB


def resamples(groups: int, count: int, seed: int = 0) -> Iterator[Counts]:
    """Yield the weights of bootstrap resamples, in arrays (some, groups): `count` rows in total.

    Each resample has `groups` groups, drawn with replacement; a weight is the number of copies of a group.
    """
    draw = np.random.default_rng(seed)
    at_once = max(1, _CHUNK_CELLS // groups)
    for first in range(0, count, at_once):
        rows = min(at_once, count - first)
        chosen = draw.integers(0, groups, (rows, groups)) + np.arange(rows)[:, None] * groups
        yield np.bincount(chosen.ravel(), minlength=rows * groups).reshape(rows, groups)


class Ranking:
    """The groups in the order of their uncertainty, from certain to uncertain, and the metrics of this order.

    Args:
        uncertainty: (N,) a higher number is more uncertain; nan: unknown, ranked as the most uncertain.
        wrong: (N,) whether the answer of the group is wrong.
    """

    def __init__(self, uncertainty: Floats, wrong: NDArray[np.bool_]) -> None:
        values = _comparable(uncertainty)
        self._order = np.argsort(values, kind="stable")
        in_order = values[self._order]
        self._starts = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])  # of the blocks of equal values
        self._wrong = wrong[self._order]
        self.ranks = np.unique(values, return_inverse=True)[1]  # (N,) 0, 1, ... by uncertainty
        self._harmonic = np.r_[0.0, np.cumsum(1 / np.arange(1, len(values) + 1))]  # H_k = 1 + 1/2 + ... + 1/k

    def metrics(self, weights: Counts, coverages: Sequence[float]) -> dict[str, Floats]:
        """Return each metric (R,) for weights (R, N) of R resamples; nan where the metric is not defined.

        Args:
            weights: numbers of copies; each row has the sum N.
            coverages: the coverages in (0, 1] for which the accuracy is computed.
        """
        sizes, wrong = self._blocks(weights)
        counts, errors = np.cumsum(sizes, axis=1), np.cumsum(wrong, axis=1)
        total, total_wrong = counts[:, -1], errors[:, -1]
        total_right = total - total_wrong
        right_below = (counts - errors) - (sizes - wrong) / 2
        wrong_above, above = total_wrong[:, None] - errors + wrong, total[:, None] - counts + sizes
        with np.errstate(divide="ignore", invalid="ignore"):
            share = wrong / sizes
            precision = np.where(above > 0, wrong_above / above, 0.0)
            auroc = (wrong * right_below).sum(axis=1) / (total_wrong * total_right)
            auprc = (wrong * precision).sum(axis=1) / total_wrong
            accuracy = total_right / total
            area = self._area(sizes, counts, errors, np.where(sizes > 0, 1 - share, 0.0)) / total
            best = (total_right + total_right * (self._harmonic[total] - self._harmonic[total_right])) / total
            found = {"auroc": auroc, "auprc": auprc, "aurac": area, "prr": (area - accuracy) / (best - accuracy)}
        defined = (total_wrong > 0) & (total_right > 0)
        found = {name: np.where(defined, value, np.nan) for name, value in found.items()}
        for coverage in coverages:
            kept = np.maximum(1, np.ceil(coverage * total - 1e-9)).astype(np.int64)
            found[coverage_name(coverage)] = _right_among(kept, sizes, wrong, counts, errors) / kept
        return found

    def curve(self) -> tuple[Floats, Floats]:
        """Return the coverages k / N, k = 1..N, and acc(k)."""
        sizes, wrong = self._blocks(np.ones((1, len(self._order)), dtype=np.int64))
        kept = np.arange(1, len(self._order) + 1)
        right = np.interp(kept, np.r_[0, np.cumsum(sizes)], np.r_[0, np.cumsum(sizes - wrong)])
        return kept / len(kept), right / kept

    def roc(self) -> tuple[Floats, Floats]:
        """Return the false and the true positive rates, from the highest threshold to the lowest; wrong is positive."""
        sizes, wrong = self._blocks(np.ones((1, len(self._order)), dtype=np.int64))
        true = np.r_[0, np.cumsum(wrong[0, ::-1])]
        false = np.r_[0, np.cumsum((sizes - wrong)[0, ::-1])]
        return false / false[-1], true / true[-1]

    def _blocks(self, weights: Counts) -> tuple[Counts, Counts]:
        """Return the numbers of groups and of wrong answers (R, blocks) in each block of equal values."""
        in_order = weights[:, self._order]
        sizes = np.add.reduceat(in_order, self._starts, axis=1)
        return sizes, np.add.reduceat(in_order * self._wrong, self._starts, axis=1)

    def _area(self, sizes: Counts, counts: Counts, errors: Counts, right_share: Floats) -> Floats:
        """Return the sum of acc(k), k = 1..N.

        In a block that begins after n groups with c right ones, acc(k) = (c + (k - n) q) / k with q = the share of
        right answers in the block. Its sum is (c - n q) (H_end - H_n) + q x the size of the block.
        """
        before = counts - sizes
        right_before = np.concatenate([np.zeros((len(counts), 1)), (counts - errors)[:, :-1]], axis=1)
        steps = self._harmonic[counts] - self._harmonic[before]
        return ((right_before - before * right_share) * steps + right_share * sizes).sum(axis=1)  # type: ignore[no-any-return]


def calibration_metrics(probabilities: Floats, wrong: NDArray[np.bool_], weights: Counts) -> dict[str, Floats]:
    """Return `brier` and `ece` (R,) of probabilities (N,) that the answers are wrong, for weights (R, N)."""
    total = weights.sum(axis=1)
    bins = np.minimum((probabilities * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gaps = np.zeros((len(wrong), ECE_BINS))
    gaps[np.arange(len(wrong)), bins] = probabilities - wrong
    return {
        "brier": weights @ (probabilities - wrong) ** 2 / total,
        "ece": np.abs(weights @ gaps).sum(axis=1) / total,
    }


def coverage_name(coverage: float) -> str:
    """Return the name of the accuracy at a coverage in (0, 1], such as "accuracy@80%"."""
    return f"accuracy@{100 * coverage:.4g}%"


def _right_among(kept: Counts, sizes: Counts, wrong: Counts, counts: Counts, errors: Counts) -> Floats:
    """Return the mean number (R,) of right answers among the `kept` (R,) most certain groups."""
    rows = np.arange(len(counts))
    block = (counts >= kept[:, None]).argmax(axis=1)
    size, wrong_here = sizes[rows, block], wrong[rows, block]
    missing = counts[rows, block] - kept  # groups of the block that are not kept
    right = counts[rows, block] - errors[rows, block]
    return right - missing * (size - wrong_here) / size  # type: ignore[no-any-return]


def _comparable(uncertainty: Floats) -> Floats:
    """Round to 9 digits, and replace nan by infinity."""
    mantissa, exponent = np.frexp(np.where(np.isnan(uncertainty), np.inf, uncertainty))
    return np.ldexp(np.round(np.ldexp(mantissa, _EQUAL_DIGITS)), exponent - _EQUAL_DIGITS)  # type: ignore[no-any-return]

"""Compute metrics over questions, with confidence intervals.

pass@k   1 - C(n - c, k) / C(n, k) for a question with n samples, of which c are right; averaged over questions. This is
         the unbiased estimator of Chen et al. 2021 (Codex), Eq. 1. For k = 1, it equals c / n.
AUROC    the probability that a question with a wrong greedy answer has a higher entropy than a question with a right
         greedy answer; equal entropies count half.
interval the 2.5th and the 97.5th percentile over 1,000 seeded bootstrap resamples of the questions (Efron's percentile
         bootstrap). The interval covers the choice of questions. It does not cover the sampling of responses or the
         seed of a training run. If every question has the same value, the interval has width 0 and is too narrow.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semantic_entropy import InputError

RESAMPLES = 1000  # with 1,000 resamples, another seed moves the ends of a 95% interval by about 1/20 of its width
_DIGITS = 9  # decimals of rounded entropies: equal entropies must tie, but the order of clusters changes the last bits

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Number:
    """A value and its 95% interval; nan if the value or the interval is undefined."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """A dict for JSON, with None in place of nan."""
        return {name: _or_none(getattr(self, name)) for name in ("value", "low", "high")}


def pass_at_k(n: int, c: int, k: int) -> float:
    """The probability that at least one of k samples is right, if c of n samples are right.

    The k samples are chosen from the n samples without replacement.

    Raises:
        InputError: 1 <= k <= n or 0 <= c <= n is false.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise InputError(f"pass@k: n={n}, c={c}, k={k}: needs 0 <= c <= n and 1 <= k <= n.")
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def powers_up_to(n: int) -> list[int]:
    """The powers of 2 below n (1, 2, 4, ...), then n. These are the values of k in a pass@k curve."""
    return sorted({2**i for i in range(n.bit_length())} | {n})


def bootstrap_indices(questions: int, seed: int, name: str) -> list[NDArray[np.int32]]:
    """RESAMPLES arrays of (questions,) indices, chosen with replacement. `seed` and `name` determine the indices."""
    digest = hashlib.sha256(f"bootstrap {seed} {name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return [rng.integers(0, questions, questions, dtype=np.int32) for _ in range(RESAMPLES)]


def mean(values: Floats) -> float:
    """The mean of the values that are not nan."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def with_interval(
    statistic: Callable[[Floats], float], values: Floats, resamples: Sequence[NDArray[np.int32]]
) -> tuple[Number, Floats]:
    """The statistic of `values` (questions, ...) with its interval, and the statistic of each resample (RESAMPLES,)."""
    resampled = np.array([statistic(values[indices]) for indices in resamples])
    return number(statistic(values), resampled), resampled


def number(value: float, resampled: Floats) -> Number:
    """`value` with the interval of its resamples. Undefined resamples (nan: AUROC of a single class) do not count."""
    known = resampled[~np.isnan(resampled)]
    if math.isnan(value) or not len(known):
        return Number(value, math.nan, math.nan)
    low, high = np.percentile(known, [2.5, 97.5])
    return Number(value, float(low), float(high))


def auroc(pairs: Floats) -> float:
    """The AUROC of pairs (questions, 2): wrong (1 or 0), entropy. nan if all answers are right or all are wrong."""
    from sklearn.metrics import roc_auc_score

    known = pairs[~np.isnan(pairs).any(axis=1)]
    if len(set(known[:, 0])) < 2:
        return math.nan
    return float(roc_auc_score(known[:, 0], known[:, 1].round(_DIGITS)))


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value

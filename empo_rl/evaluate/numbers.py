"""The numbers over questions, and how far they would move with other questions.

pass@k   1 - C(n - c, k) / C(n, k) of a question with c right samples of n, averaged over questions: the unbiased
         estimator of Chen et al. 2021 (Codex), Eq. 1. pass@1 is the share c / n.
AUROC    the probability that a question whose greedy answer is wrong has a higher entropy than one whose greedy
         answer is right; equal entropies count half.
interval the 2.5th and 97.5th percentile over 1,000 resamples of the questions, seeded (Efron's percentile
         bootstrap). It is about the choice of questions alone: not about sampling, nor about seeds of training.
         Where every question has the same value it has no width, and says too little.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semantic_entropy import InputError

RESAMPLES = 1000  # the ends of a 95% interval then move by about a twentieth of its width from seed to seed
_DIGITS = 9  # clusters of the same sizes in another order give entropies that differ in the last bits: those are ties

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Number:
    """A value and its 95% interval; all nan where there is nothing to say."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """For JSON, which has no nan."""
        return {name: _or_none(getattr(self, name)) for name in ("value", "low", "high")}


def pass_at_k(n: int, c: int, k: int) -> float:
    """Of n samples c are right: the probability that of k drawn without replacement at least one is.

    Raises:
        InputError: not 1 <= k <= n, or not 0 <= c <= n.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise InputError(f"pass@k: n={n}, c={c}, k={k}: needs 0 <= c <= n and 1 <= k <= n.")
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def powers_up_to(n: int) -> list[int]:
    """1, 2, 4, ... and n itself: the k of a pass@k curve."""
    return sorted({2**i for i in range(n.bit_length())} | {n})


def resamples(questions: int, seed: int, name: str) -> list[NDArray[np.int32]]:
    """RESAMPLES draws of (questions,) indices with replacement; the same for the same seed and name."""
    digest = hashlib.sha256(f"bootstrap {seed} {name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return [rng.integers(0, questions, questions, dtype=np.int32) for _ in range(RESAMPLES)]


def mean(values: Floats) -> float:
    """Of those that are not nan."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def with_interval(
    statistic: Callable[[Floats], float], values: Floats, draws: Sequence[NDArray[np.int32]]
) -> tuple[Number, Floats]:
    """The statistic of values (questions, ...), and (RESAMPLES,) what it was in each resample."""
    spread = np.array([statistic(values[draw]) for draw in draws])
    return number(statistic(values), spread), spread


def number(value: float, spread: Floats) -> Number:
    """A value with the interval of its resamples; those without a value (a single class) say nothing."""
    known = spread[~np.isnan(spread)]
    if math.isnan(value) or not len(known):
        return Number(value, math.nan, math.nan)
    low, high = np.percentile(known, [2.5, 97.5])
    return Number(value, float(low), float(high))


def auroc(pairs: Floats) -> float:
    """Of (questions, 2): wrong (1 or 0), entropy. nan where all are right or all are wrong."""
    from sklearn.metrics import roc_auc_score

    known = pairs[~np.isnan(pairs).any(axis=1)]
    if len(set(known[:, 0])) < 2:
        return math.nan
    return float(roc_auc_score(known[:, 0], known[:, 1].round(_DIGITS)))


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value

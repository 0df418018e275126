"""Probabilities of meanings, in plain numpy and log space.

    counts       p(c) = |c| / n                                            (EMPO Eq. 1)
    likelihoods  p(c) = sum_{i in c} l_i / sum_j l_j                       ("Rao", Farquhar et al. 2024)
                 l_i = exp(mean token log-probability), or exp(sum) where not length-normalised

and their entropy H = -sum_c p(c) ln p(c), in nats (Eq. 2). Everything stays in logs until the end: a sequence
log-likelihood of -800 is an ordinary number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def from_counts(labels: Sequence[int]) -> Floats:
    """(G,) labels in 0..M-1 -> (M,) shares."""
    counts = np.bincount(np.asarray(labels, dtype=np.intp))
    shares: Floats = counts / counts.sum()
    return shares


def from_likelihoods(labels: Sequence[int], log_likelihoods: Sequence[float]) -> Floats:
    """(G,) labels and (G,) log-likelihoods in nats -> (M,) normalised probabilities."""
    logs = np.asarray(log_likelihoods, dtype=np.float64)
    weights = np.exp(logs - logs.max())  # the largest becomes 1: no underflow of all, no overflow
    sums = np.bincount(np.asarray(labels, dtype=np.intp), weights=weights)
    probabilities: Floats = sums / sums.sum()
    return probabilities


def sequence_log_likelihood(token_logprobs: Sequence[float], length_normalized: bool = True) -> float:
    """Sum of the token log-probabilities in nats, or their mean."""
    total = float(np.sum(token_logprobs))
    return total / len(token_logprobs) if length_normalized else total


def entropy(probabilities: Sequence[float] | Floats) -> float:
    """-sum p ln p in nats; a p of 0 adds nothing."""
    p = np.asarray(probabilities, dtype=np.float64)
    p = p[p > 0]
    return max(0.0, float(-np.sum(p * np.log(p))))  # one cluster gives 0, not -0.0 or a rounding error below it

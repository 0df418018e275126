"""Probabilities of meanings, in log space until the end.

    counts       p(c) = |c| / n                                            (EMPO Eq. 1)
    likelihoods  p(c) = sum_{i in c} l_i / sum_j l_j                       ("Rao", Farquhar et al. 2024)
                 l_i = exp(mean token log-probability), or exp(sum) where not length-normalised

and their entropy H = -sum_c p(c) ln p(c), in nats (Eq. 2). A sequence log-likelihood of -800 is an ordinary number.

Plain floats with `math.fsum`: a group has tens of responses, where it is exact and faster than an array, and importing
the package does not import numpy.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def from_counts(labels: Sequence[int]) -> list[float]:
    """(G,) labels in 0..M-1 -> (M,) shares."""
    counts = Counter(labels)
    return [counts[label] / len(labels) for label in range(len(counts))]


def from_likelihoods(labels: Sequence[int], log_likelihoods: Sequence[float]) -> list[float]:
    """(G,) labels in 0..M-1 and (G,) log-likelihoods in nats -> (M,) normalised probabilities."""
    largest = max(log_likelihoods)
    weights: list[list[float]] = [[] for _ in range(len(set(labels)))]
    for label, log_likelihood in zip(labels, log_likelihoods, strict=True):
        weights[label].append(math.exp(log_likelihood - largest))  # the largest is 1: they cannot all underflow
    sums = [math.fsum(of_cluster) for of_cluster in weights]
    total = math.fsum(sums)
    return [one / total for one in sums]


def sequence_log_likelihood(token_logprobs: Sequence[float], length_normalized: bool = True) -> float:
    """Sum of the token log-probabilities in nats, or their mean."""
    total = math.fsum(token_logprobs)
    return total / len(token_logprobs) if length_normalized else total


def entropy(probabilities: Sequence[float]) -> float:
    """-sum p ln p in nats; a p of 0 adds nothing."""
    # max: one cluster gives 0, not -0.0 or a rounding error below it
    return max(0.0, -math.fsum(p * math.log(p) for p in probabilities if p > 0))

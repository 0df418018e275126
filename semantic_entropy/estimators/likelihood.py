"""Estimators that use the token log-probabilities of the sampling model.

    likelihood   H over p(c) = sum_{i in c} l_i / sum_j l_j     "Rao", Farquhar et al. 2024
    predictive   -mean log l_i, no clusters                     Malinin & Gales 2021

    l_i = likelihood of response i: exp(mean token log-probability), or exp(sum) if not length-normalised

The computation stays in log space until the last step, because exp(-800) is 0 and a log-likelihood of -800 is common.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from semantic_entropy.estimators.base import EntropyEstimator, entropy
from semantic_entropy.types import Estimate, Evidence


class _LogprobEstimator(EntropyEstimator):
    """Base class of both estimators: the option `length_normalized`, and the sequence log-likelihoods."""

    requires = frozenset({"logprobs"})

    def __init__(self, length_normalized: bool = True) -> None:
        self.length_normalized = length_normalized

    def describe(self) -> str:
        return f"{self.name}(length_normalized={self.length_normalized})"

    def _log_likelihoods(self, evidence: Evidence) -> list[float]:
        """(G,) in nats."""
        assert evidence.logprobs is not None  # `check` ensures it
        return [sequence_log_likelihood(tokens, self.length_normalized) for tokens in evidence.logprobs]


class Likelihood(_LogprobEstimator):
    """Semantic entropy weighted by the model's own likelihoods, length-normalised (default) or not."""

    name = "likelihood"

    def estimate(self, evidence: Evidence) -> Estimate:
        probabilities = cluster_likelihoods(evidence.labels, self._log_likelihoods(evidence))
        return Estimate(entropy(probabilities), tuple(probabilities))


class Predictive(_LogprobEstimator):
    """Monte Carlo predictive entropy: minus the mean log-likelihood, length-normalised (default) or not."""

    name = "predictive"

    def estimate(self, evidence: Evidence) -> Estimate:
        log_likelihoods = self._log_likelihoods(evidence)
        return Estimate(0.0 - sum(log_likelihoods) / len(log_likelihoods))  # 0.0 and not -0.0 if all are 0


def cluster_likelihoods(labels: Sequence[int], log_likelihoods: Sequence[float]) -> list[float]:
    """Return the probabilities (M,) of the clusters from labels (G,) in 0..M-1 and log-likelihoods (G,) in nats."""
    largest = max(log_likelihoods)
    weights: list[list[float]] = [[] for _ in range(len(set(labels)))]
    for label, log_likelihood in zip(labels, log_likelihoods, strict=True):
        weights[label].append(math.exp(log_likelihood - largest))  # the largest weight is 1, so one is not 0
    sums = [math.fsum(of_cluster) for of_cluster in weights]
    total = math.fsum(sums)
    return [each / total for each in sums]


def sequence_log_likelihood(token_logprobs: Sequence[float], length_normalized: bool = True) -> float:
    """Return the mean of the token log-probabilities in nats; their sum if not `length_normalized`."""
    total = math.fsum(token_logprobs)
    return total / len(token_logprobs) if length_normalized else total

"""Estimators that use only the sizes of the clusters.

discrete     H = -sum p(c) ln p(c), p(c) = |c| / n     EMPO Eq. 1-2; Farquhar et al. 2024
num_sets     M, the number of clusters                 Lin et al. 2024
majority     max p(c): higher is MORE certain
margin       max p(c) minus the second largest p(c): higher is MORE certain
"""

from __future__ import annotations

from functools import lru_cache

from semantic_entropy.estimators.base import EntropyEstimator, entropy
from semantic_entropy.types import Estimate, Evidence


class Discrete(EntropyEstimator):
    """Discrete semantic entropy: p(c) = |c| / n."""

    name = "discrete"

    def estimate(self, evidence: Evidence) -> Estimate:
        shares = cluster_shares(evidence.labels)
        return Estimate(entropy(shares), shares)


class NumSets(EntropyEstimator):
    """The number of clusters."""

    name = "num_sets"

    def estimate(self, evidence: Evidence) -> Estimate:
        return Estimate(float(len(set(evidence.labels))))


class Majority(EntropyEstimator):
    """The share of the largest cluster, in (0, 1]. It is a confidence: higher is more certain."""

    name = "majority"
    higher_is_uncertain = False
    is_probability = True

    def estimate(self, evidence: Evidence) -> Estimate:
        return Estimate(max(cluster_shares(evidence.labels)))


class Margin(EntropyEstimator):
    """The share of the largest cluster minus that of the second largest, in [0, 1]; 1 if there is one cluster.

    It is a confidence: higher is more certain.
    """

    name = "margin"
    higher_is_uncertain = False

    def estimate(self, evidence: Evidence) -> Estimate:
        first, second = sorted((*cluster_shares(evidence.labels), 0.0), reverse=True)[:2]
        return Estimate(first - second)


@lru_cache(maxsize=1024)  # two estimators call this for the same group, and many groups have equal labels
def cluster_shares(labels: tuple[int, ...]) -> tuple[float, ...]:
    """Convert labels (G,) in 0..M-1 to the shares (M,) of the clusters."""
    counts = [0] * (max(labels) + 1)
    for label in labels:
        counts[label] += 1
    return tuple([count / len(labels) for count in counts])

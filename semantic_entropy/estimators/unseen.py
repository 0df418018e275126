"""Entropies of the clusters with a correction for meanings that no response has.

The plug-in entropy of n responses is too low on average, because n responses show at most n meanings. Each correction
reads the sizes n_i of the M clusters, with the sum n; f_1 is the number of clusters with one response.

    miller_madow   H + (M - 1) / (2 n)                                        Miller 1955
    chao_shen      -sum C p_i ln(C p_i) / (1 - (1 - C p_i)^n),  C = 1 - f_1/n    Chao & Shen 2003, Eq. 8
    coverage       the same sum, C = M / K, K the semantic alphabet size      McCabe et al. 2025, arXiv 2509.14478
    grassberger    ln n - sum n_i G(n_i) / n                                  Grassberger 2003, Eq. 35

p_i = n_i / n, and H = -sum p_i ln p_i is `discrete`. All values are in nats, and can be higher than ln n. A lower bias
does not make a score rank better: `docs/explanation/intervals.md` has the measured bias of each.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from semantic_entropy.estimators.base import EntropyEstimator
from semantic_entropy.estimators.counts import Discrete, cluster_shares
from semantic_entropy.estimators.spectral import EigV
from semantic_entropy.types import Estimate, Evidence, Labels


class MillerMadow(EntropyEstimator):
    """Plug-in entropy plus (M - 1) / (2 n), the first term of its bias, with the M meanings that were seen."""

    name = "miller_madow"

    def estimate(self, evidence: Evidence) -> Estimate:
        n, meanings = len(evidence.labels), len(set(evidence.labels))
        return Estimate(Discrete().estimate(evidence).value + (meanings - 1) / (2 * n))


class ChaoShen(EntropyEstimator):
    """Coverage-adjusted entropy: C = 1 - f_1/n estimates the probability of all meanings that were seen.

    If all n responses differ, C would be 0; C is then 1 / n, as in other implementations (f_1 = n - 1).
    """

    name = "chao_shen"

    def estimate(self, evidence: Evidence) -> Estimate:
        n, singles = len(evidence.labels), _singles(evidence.labels)
        return Estimate(_coverage_adjusted(evidence.labels, max(n - singles, 1) / n))


class Coverage(EntropyEstimator):
    """Coverage-adjusted entropy with the hybrid semantic alphabet size K, an estimate of the number of all meanings.

        K = max(M n / (n - f_1), U_EigV);  K = U_EigV if all responses differ;  C = min(1, M / K)

    U_EigV is the estimator `eigv` of Lin et al. 2024: it counts the groups of similar responses. The paper computes the
    similarity with an NLI model: `similarity="nli"`.
    """

    name = "coverage"
    requires = frozenset({"similarity"})

    def estimate(self, evidence: Evidence) -> Estimate:
        n, singles, meanings = len(evidence.labels), _singles(evidence.labels), len(set(evidence.labels))
        alphabet = EigV().estimate(evidence).value
        if singles < n:
            alphabet = max(alphabet, meanings * n / (n - singles))
        return Estimate(_coverage_adjusted(evidence.labels, min(1.0, meanings / alphabet)))


class Grassberger(EntropyEstimator):
    """ln n - sum n_i G(n_i) / n, where G(1) = -gamma - ln 2, G(2) = G(1) + 2, G(2k + 2) = G(2k) + 2 / (2k + 1).

    G(2k + 1) = G(2k). For a single cluster the formula gives values down to -0.04; the estimate is then 0.
    """

    name = "grassberger"

    def estimate(self, evidence: Evidence) -> Estimate:
        n = len(evidence.labels)
        sizes = cluster_sizes(evidence.labels)
        mean = math.fsum(size * _g(size) for size in sizes) / n
        return Estimate(max(0.0, math.log(n) - mean))


def cluster_sizes(labels: Labels) -> tuple[int, ...]:
    """Convert labels (G,) in 0..M-1 to the sizes (M,) of the clusters, largest first. Labels of -1 are left out."""
    counted = [label for label in labels if label >= 0]
    return tuple(sorted(Counter(counted).values(), reverse=True))


def _singles(labels: Labels) -> int:
    return cluster_sizes(labels).count(1)


def _coverage_adjusted(labels: Labels, coverage: float) -> float:
    """The Horvitz-Thompson sum of Chao & Shen: each term is divided by the probability that its meaning is seen."""
    n = len(labels)
    probabilities = [coverage * share for share in cluster_shares(labels)]
    # the probability of a seen meaning is at least 1 / n^2, so no divisor is 0
    return max(0.0, -math.fsum(p * math.log(p) / -math.expm1(n * math.log1p(-p)) for p in probabilities if p < 1))


def _g(size: int) -> float:
    """G(size) of Grassberger 2003, Eq. 31."""
    return -float(np.euler_gamma) - math.log(2) + math.fsum(2 / odd for odd in range(1, 2 * (size // 2), 2))

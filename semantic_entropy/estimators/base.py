"""Entropy estimators: from clustered responses to one number.

    discrete     H over p(c) = |c| / n                              EMPO Eq. 1-2; Farquhar et al. 2024
    likelihood   H over clusters' summed, normalised likelihoods    "Rao", Farquhar et al. 2024
    predictive   -mean log-likelihood of the responses              no clusters; Malinin & Gales 2021
    num_sets     M, how many meanings                               Lin et al. 2024
    majority     max p(c), the share of the majority: higher is MORE certain

Entropies are in nats. An estimator sees only the responses that count (see the `invalid` policy).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from semantic_entropy.errors import EvidenceError
from semantic_entropy.estimators.probabilities import entropy, from_counts, from_likelihoods, sequence_log_likelihood
from semantic_entropy.types import Estimate, Evidence


class EntropyEstimator(ABC):
    """Base of every estimator: implement `estimate`, and say in `requires` what it needs beside the labels."""

    name: str = ""
    requires: ClassVar[frozenset[str]] = frozenset()
    """Fields of `Evidence` that must be given, of {"logprobs"}."""
    higher_is_uncertain: ClassVar[bool] = True

    @abstractmethod
    def estimate(self, evidence: Evidence) -> Estimate:
        """The value for one group of at least one response."""

    def check(self, evidence: Evidence) -> None:
        """Raise EvidenceError, which names what to pass, unless all that is required was given."""
        for requirement in sorted(self.requires):
            if not evidence.has(requirement):
                raise EvidenceError(
                    f"estimator {self.name!r} needs {requirement}, one entry for each response, and there are none"
                )

    def describe(self) -> str:
        """The name with the choices that set it apart, for a result's provenance."""
        return self.name


class Discrete(EntropyEstimator):
    """Discrete semantic entropy: p(c) = |c| / n."""

    name = "discrete"

    def estimate(self, evidence: Evidence) -> Estimate:
        return _over(from_counts(evidence.labels))


class Likelihood(EntropyEstimator):
    """Semantic entropy weighted by the model's own likelihoods, length-normalised (default) or not."""

    name = "likelihood"
    requires = frozenset({"logprobs"})

    def __init__(self, length_normalized: bool = True) -> None:
        self.length_normalized = length_normalized

    def estimate(self, evidence: Evidence) -> Estimate:
        logs = _log_likelihoods(evidence, self.length_normalized)
        return _over(from_likelihoods(evidence.labels, logs))

    def describe(self) -> str:
        return f"{self.name}(length_normalized={self.length_normalized})"


class Predictive(EntropyEstimator):
    """Monte Carlo predictive entropy: minus the mean log-likelihood, length-normalised (default) or not."""

    name = "predictive"
    requires = frozenset({"logprobs"})

    def __init__(self, length_normalized: bool = True) -> None:
        self.length_normalized = length_normalized

    def estimate(self, evidence: Evidence) -> Estimate:
        logs = _log_likelihoods(evidence, self.length_normalized)
        return Estimate(-sum(logs) / len(logs))

    def describe(self) -> str:
        return f"{self.name}(length_normalized={self.length_normalized})"


class NumSets(EntropyEstimator):
    """How many meanings there are."""

    name = "num_sets"

    def estimate(self, evidence: Evidence) -> Estimate:
        return Estimate(float(len(set(evidence.labels))))


class Majority(EntropyEstimator):
    """Share of the largest cluster, in (0, 1]: a confidence."""

    name = "majority"
    higher_is_uncertain = False

    def estimate(self, evidence: Evidence) -> Estimate:
        return Estimate(max(from_counts(evidence.labels)))


def _over(probabilities: list[float]) -> Estimate:
    return Estimate(entropy(probabilities), tuple(probabilities))


def _log_likelihoods(evidence: Evidence, length_normalized: bool) -> list[float]:
    assert evidence.logprobs is not None  # `check` has been through
    return [sequence_log_likelihood(tokens, length_normalized) for tokens in evidence.logprobs]

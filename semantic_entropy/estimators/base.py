"""The `EntropyEstimator` interface, and the entropy that the estimators share.

Plain floats with `math.fsum`: a group has tens of responses, where fsum is exact and faster than an array, and the
package does not import numpy.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from semantic_entropy.errors import EvidenceError
from semantic_entropy.types import Estimate, Evidence


class EntropyEstimator(ABC):
    """Base of every estimator: implement `estimate`, and list in `requires` the evidence that it needs."""

    name: str = ""
    requires: ClassVar[frozenset[str]] = frozenset()
    """Fields of `Evidence` that must be given besides the labels, such as "logprobs"."""
    higher_is_uncertain: ClassVar[bool] = True

    @abstractmethod
    def estimate(self, evidence: Evidence) -> Estimate:
        """The value for one group of at least one response."""

    def check(self, evidence: Evidence) -> None:
        """Raise EvidenceError, which names what to pass, if required evidence is missing."""
        for requirement in sorted(self.requires):
            if not evidence.has(requirement):
                raise EvidenceError(
                    f"estimator {self.name!r} needs {requirement}, one entry for each response, and there are none"
                )

    def describe(self) -> str:
        """The name with the options, for a result's provenance."""
        return self.name


def entropy(probabilities: Sequence[float]) -> float:
    """-sum p ln p in nats; a p of 0 adds nothing."""
    # max: one cluster gives 0, not -0.0 or a rounding error below it
    return max(0.0, -math.fsum([p * math.log(p) for p in probabilities if p > 0]))

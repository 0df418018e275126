"""The `EntropyEstimator` interface, and the function `entropy` that the estimators share.

The estimators use floats and `math.fsum`, not numpy. A group has tens of responses: for so few numbers, fsum is exact
and faster than an array, and the package does not have to import numpy.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from semantic_entropy.errors import EvidenceError
from semantic_entropy.types import Estimate, Evidence


class EntropyEstimator(ABC):
    """Base class of every estimator. Implement `estimate`, and list the needed fields of `Evidence` in `requires`.

    class Distinct(EntropyEstimator):
        name = "distinct"
        requires = frozenset({"texts"})

        def estimate(self, evidence):
            return Estimate(len(set(evidence.texts)) / len(evidence.texts))
    """

    name: str = ""
    """The name in results; default: the name of the class."""
    requires: ClassVar[frozenset[str]] = frozenset()
    """Names of `Evidence` fields that the estimator needs in addition to the labels, such as "logprobs"."""
    uses: ClassVar[frozenset[str]] = frozenset()
    """Names of `Evidence` fields that the estimator reads if they are known, such as "greedy"."""
    higher_is_uncertain: ClassVar[bool] = True
    is_probability: bool = False
    """Whether the score is a probability: of a wrong answer, or of a right one if a higher score is more certain."""
    rules: int = 1
    """The version of the rules: raise it when the same evidence can give another estimate."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.name or cls.__name__

    @abstractmethod
    def estimate(self, evidence: Evidence) -> Estimate:
        """Return the estimate for one group, which has at least one response."""

    def estimate_batch(self, evidences: Sequence[Evidence]) -> Sequence[Estimate]:
        """Return the estimates of many groups. Override it where computing them together is faster."""
        return [self.estimate(evidence) for evidence in evidences]

    def prompts(self, evidence: Evidence) -> Sequence[str]:
        """Return what to ask the model about this group, for an estimator with "replies" in `requires`.

        The sampler of the user gets each prompt once, at temperature 0. `evidence.replies` has its reply, with the
        log-probabilities of its most probable tokens if the model or server sends them; or why there is none.
        """
        return ()

    def check(self, evidence: Evidence) -> None:
        """Raise EvidenceError if required evidence is missing. The message names the missing evidence."""
        for requirement in sorted(self.requires):
            if not evidence.has(requirement):
                raise EvidenceError(
                    f"estimator {self.name!r} needs {requirement}, one entry for each response, and there are none"
                )

    def describe(self) -> str:
        """Return the name with the options. `Provenance` contains this text."""
        return self.name


def entropy(probabilities: Sequence[float]) -> float:
    """-sum p ln p in nats; a p of 0 adds nothing."""
    # max: the entropy of one cluster is 0, not -0.0 or a negative rounding error
    return max(0.0, -math.fsum([p * math.log(p) for p in probabilities if p > 0]))


def name_with_options(name: str, **options: tuple[object, object]) -> str:
    """Return the name, with the options that are not the default: `kle(t=0.5)`. An option is (value, default)."""
    changed = [f"{option}={value}" for option, (value, default) in options.items() if value != default]
    return f"{name}({', '.join(changed)})" if changed else name

"""Estimators that score one answer by the probabilities of its tokens, or by its length.

    perplexity       exp(-1/T sum_t ln p_t)                                        1 / uqlm's normalized_probability
    min_probability  min_t p_t: higher is MORE certain                             Manakul et al. 2023
    epr              1/T sum_t sum_{k <= K} -p_tk ln p_tk, in nats                 Moslonka et al., arXiv 2509.04492
    self_certainty   1/T sum_t KL(uniform || q_t), in nats: higher is MORE certain Kang et al., arXiv 2502.18581
    length           the number of characters: a baseline                          Janiak et al., arXiv 2508.08285

T tokens; p_t: probability of token t; p_tk: probability of the k-th most probable alternative of token t.

The answer is the greedy answer (`greedy=`) if it is given. Otherwise, the score is the mean over the responses.

EPR does not renormalise the probabilities of the K alternatives, like the code of its authors (artefactual 2026-01).
The definition of self-certainty sums over the whole vocabulary, which no server sends. Here q_t has the probabilities
of the k alternatives that are known, divided by their sum; with the whole vocabulary, this is the definition. Without
the division, a distribution that is flat over the whole vocabulary would look certain, because its k alternatives have
small probabilities.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from semantic_entropy.errors import EvidenceError, OptionError
from semantic_entropy.estimators.base import EntropyEstimator
from semantic_entropy.types import Estimate, Evidence

RANKS = 15
"""The number of alternatives of a token that EPR reads: the number in its paper."""
_LARGEST = 1e300  # the largest perplexity: a mean over many of these is still a finite number


class AnswerEstimator(EntropyEstimator):
    """Base class of estimators that score one answer: the greedy answer, else each response, with the mean.

    Implement `score_answer`, and set `reads` to the field of `Evidence` that it gets for one answer.
    """

    reads: ClassVar[str] = "logprobs"

    @abstractmethod
    def score_answer(self, values: Any) -> float:
        """Return the score of one answer. `values` is its part of the field `reads`."""

    def check(self, evidence: Evidence) -> None:
        name, greedy = self.reads, evidence.greedy
        if greedy is not None and not getattr(greedy, name):
            raise EvidenceError(
                f"estimator {self.name!r} scores the greedy answer, and this answer has no {name}: add {name} to "
                "greedy=, or leave greedy= out to score the mean over the responses"
            )
        if greedy is None and not evidence.has(name):
            raise EvidenceError(
                f"estimator {self.name!r} needs {name}: pass {name}= with one entry for each response, or greedy= with "
                f"the text and the {name} of the answer to score"
            )
        for place, values in self._answers(evidence):
            self.check_answer(values, place)

    def check_answer(self, values: Any, place: str) -> None:
        """Raise EvidenceError if the score of an answer is not defined. `place` names the answer for the message."""

    def estimate(self, evidence: Evidence) -> Estimate:
        scores = [self.score_answer(values) for _, values in self._answers(evidence)]
        return Estimate(math.fsum([score / len(scores) for score in scores]))

    def _answers(self, evidence: Evidence) -> list[tuple[str, Any]]:
        """The values of each scored answer, with the name of the answer."""
        if evidence.greedy is not None:
            return [("the greedy answer", getattr(evidence.greedy, self.reads))]
        return [(f"response {i}", values) for i, values in enumerate(getattr(evidence, self.reads))]


class Perplexity(AnswerEstimator):
    """The perplexity of the answer, at least 1: exp of minus the mean token log-probability. At most 1e300.

    The mean over responses is dominated by the response with the largest perplexity; `predictive` is the logarithm of
    their geometric mean.
    """

    name = "perplexity"
    uses = frozenset({"logprobs", "greedy"})

    def score_answer(self, values: Sequence[float]) -> float:
        log_perplexity = max(0.0, -math.fsum(values) / len(values))  # a log-probability can be rounded above 0
        return math.exp(log_perplexity) if log_perplexity < math.log(_LARGEST) else _LARGEST


class MinProbability(AnswerEstimator):
    """The probability of the least probable token of the answer, in [0, 1]. Higher is more certain."""

    name = "min_probability"
    uses = frozenset({"logprobs", "greedy"})
    higher_is_uncertain = False

    def score_answer(self, values: Sequence[float]) -> float:
        return math.exp(min(0.0, *values))  # a log-probability can be rounded above 0


class _AlternativesEstimator(AnswerEstimator):
    """Base class of the estimators on the most probable alternatives of each token."""

    reads = "top_logprobs"
    uses = frozenset({"top_logprobs", "greedy"})

    def check_answer(self, values: Sequence[Sequence[float]], place: str) -> None:
        if max(map(len, values)) < 2:
            raise EvidenceError(
                f"estimator {self.name!r}: {place} has one alternative for each token in top_logprobs, which says "
                f"nothing about the others: pass at least 2, better {RANKS}"
            )


class EPR(_AlternativesEstimator):
    """Entropy production rate: the mean over tokens of the entropy of the most probable alternatives, in nats.

    Args:
        k: the number of alternatives of each token that count. With fewer in the evidence, all of them count.
    """

    name = "epr"

    def __init__(self, k: int = RANKS) -> None:
        if k < 2:
            raise OptionError(f"epr: k={k!r} must be at least 2: one alternative says nothing about the others")
        self.k = k

    def describe(self) -> str:
        return self.name if self.k == RANKS else f"{self.name}(k={self.k})"

    def score_answer(self, values: Sequence[Sequence[float]]) -> float:
        return math.fsum([share for token in values for share in entropy_contributions(token, self.k)]) / len(values)


class SelfCertainty(_AlternativesEstimator):
    """Mean divergence of the uniform distribution from the alternatives of a token, in nats. Higher is more certain.

    Compare scores only if they are computed from the same number of alternatives.
    """

    name = "self_certainty"
    higher_is_uncertain = False

    def check_answer(self, values: Sequence[Sequence[float]], place: str) -> None:
        for i, token in enumerate(values):
            if sum(map(math.isfinite, token)) < 2:
                raise EvidenceError(
                    f"estimator {self.name!r}: token {i} of {place} has {len(token)} top_logprobs, and it needs at "
                    "least 2 with a probability above 0: pass more alternatives, from the model's distribution before "
                    "top_k and top_p"
                )

    def score_answer(self, values: Sequence[Sequence[float]]) -> float:
        return math.fsum(map(_divergence_from_uniform, values)) / len(values)


class Length(AnswerEstimator):
    """The number of characters of the answer. It is a baseline: a method that does not rank better has no use.

    Characters, because scripts without spaces have no words, and tokens are known for few data.
    """

    name = "length"
    requires = frozenset({"responses"})
    uses = frozenset({"greedy"})

    def check(self, evidence: Evidence) -> None:
        EntropyEstimator.check(self, evidence)

    def score_answer(self, values: str) -> float:
        return float(len(values))

    def _answers(self, evidence: Evidence) -> list[tuple[str, Any]]:
        texts = (evidence.greedy.text,) if evidence.greedy is not None else evidence.responses or ()
        return [("", text) for text in texts]


def entropy_contributions(token: Sequence[float], k: int) -> list[float]:
    """Return -p ln p in nats of the k most probable alternatives of a token, the most probable first."""
    ranked = sorted(token, reverse=True)[:k]
    return [-math.exp(logprob) * min(logprob, 0.0) if logprob > -math.inf else 0.0 for logprob in ranked]


def _divergence_from_uniform(token: Sequence[float]) -> float:
    """KL(uniform || q) = -mean ln q - ln k, with the k alternatives whose probability is not 0, and q summing to 1."""
    known = [logprob for logprob in token if logprob > -math.inf]
    largest = max(known)
    log_sum = math.log(math.fsum([math.exp(logprob - largest) for logprob in known]))
    mean = math.fsum([logprob - largest for logprob in known]) / len(known)
    return max(0.0, log_sum - mean - math.log(len(known)))

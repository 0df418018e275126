"""Shifting attention to relevance (SAR): estimators that weigh tokens and responses by their relevance.

    R_t   1 - similarity of the response and the response without token t, divided by the sum over the tokens
    E_i   sum_t R_t (-ln p_t)             token SAR of response i, in nats
    e_i   -ln(q_i + sum_{j != i} s_ij q_j / temperature), q_j the probability of response j

    token_sar     mean_i E_i                                       Duan et al. 2024
    sentence_sar  mean_i e_i, q_j = exp(sum_t ln p_t)              Duan et al. 2024
    sar           mean_i e_i, q_j = exp(-E_j)                      Duan et al. 2024

The similarities of the tokens are computed by `similarity=`, a name or a function, if the texts of the tokens are known
(`tokens=`). The paper compares by a cross-encoder, with the question before both texts.

The values are in nats and can be negative, because 1 / temperature = 1000 makes the sum larger than a probability. The
computation stays in log space, because exp(-800) is 0. The similarity s_ij is read from response i to response j.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.estimators.base import EntropyEstimator, name_with_options
from semantic_entropy.estimators.likelihood import sequence_log_likelihood
from semantic_entropy.types import Estimate, Evidence

_TEMPERATURE = 1e-3  # of the paper


class TokenSAR(EntropyEstimator):
    """The mean token SAR of the responses, in nats.

    If no token of a response is relevant (all similarities are 1), all its tokens count the same.
    """

    name = "token_sar"
    requires = frozenset({"logprobs", "token_similarity"})
    uses = frozenset({"tokens"})

    def check(self, evidence: Evidence) -> None:
        _check_tokens(self, evidence)

    def estimate(self, evidence: Evidence) -> Estimate:
        scores = _token_relevance(evidence)
        return Estimate(math.fsum(scores) / len(scores))


class SentenceSAR(EntropyEstimator):
    """The mean of -ln(probability of a response, raised by the probabilities of similar responses), in nats.

    Args:
        temperature: a smaller temperature gives more weight to similar responses.

    Raises:
        InputError: the temperature is not a positive number.
    """

    name = "sentence_sar"
    requires = frozenset({"logprobs", "similarity"})

    def __init__(self, temperature: float = _TEMPERATURE) -> None:
        if not 0 < temperature < math.inf:
            raise InputError(f"temperature={temperature!r} of the estimator {self.name!r} must be a positive number")
        self.temperature = temperature

    def describe(self) -> str:
        return name_with_options(self.name, temperature=(self.temperature, _TEMPERATURE))

    def estimate(self, evidence: Evidence) -> Estimate:
        assert evidence.similarity is not None  # `check` ensures it
        log_probabilities = self._log_probabilities(evidence)
        scores = []
        for i, row in enumerate(evidence.similarity):
            terms = [
                log_probability + (0.0 if i == j else math.log(similarity / self.temperature))
                for j, (log_probability, similarity) in enumerate(zip(log_probabilities, row, strict=True))
                if i == j or similarity > 0
            ]
            largest = max(terms)
            scores.append(-largest - math.log(math.fsum([math.exp(term - largest) for term in terms])))
        return Estimate(math.fsum(scores) / len(scores))

    def _log_probabilities(self, evidence: Evidence) -> list[float]:
        """(G,) in nats."""
        assert evidence.logprobs is not None
        return [sequence_log_likelihood(tokens, length_normalized=False) for tokens in evidence.logprobs]


class SAR(SentenceSAR):
    """Sentence SAR with the token SAR of each response in place of its log-probability, in nats.

    Args:
        temperature: as for `sentence_sar`.

    Raises:
        InputError: the temperature is not a positive number.
    """

    name = "sar"
    requires = frozenset({"logprobs", "similarity", "token_similarity"})
    uses = frozenset({"tokens"})

    def check(self, evidence: Evidence) -> None:
        _check_tokens(self, evidence)

    def _log_probabilities(self, evidence: Evidence) -> list[float]:
        return [-score for score in _token_relevance(evidence)]


def _token_relevance(evidence: Evidence) -> list[float]:
    """Return the token SAR of each response, shape (G,), in nats."""
    assert evidence.logprobs is not None
    assert evidence.token_similarity is not None
    pairs = zip(evidence.logprobs, evidence.token_similarity, strict=True)
    return [_token_sar(logprobs, similarities) for logprobs, similarities in pairs]


def _token_sar(logprobs: Sequence[float], similarities: Sequence[float]) -> float:
    relevance = [1.0 - similarity for similarity in similarities]
    total = math.fsum(relevance)
    if total <= 0:
        return -sequence_log_likelihood(logprobs)
    return math.fsum([-logprob * each / total for logprob, each in zip(logprobs, relevance, strict=True)])


def _check_tokens(estimator: EntropyEstimator, evidence: Evidence) -> None:
    name = estimator.name
    if evidence.has("logprobs") and not evidence.has("token_similarity"):
        reason = (
            "similarity= is a matrix, which compares whole responses: pass a name, such as 'embedding', or a function"
            if evidence.has("tokens")
            else "pass tokens=, the text of each token, and similarity= as a name, such as 'embedding', or a function"
        )
        raise EvidenceError(
            f"estimator {name!r} needs token_similarity, the similarity of each response to itself without each token. "
            f"It is computed if the tokens are known: {reason}. Or pass token_similarity= itself"
        )
    EntropyEstimator.check(estimator, evidence)
    assert evidence.logprobs is not None
    assert evidence.token_similarity is not None
    for i, (logprobs, similarities) in enumerate(zip(evidence.logprobs, evidence.token_similarity, strict=True)):
        if len(logprobs) != len(similarities):
            raise EvidenceError(
                f"estimator {name!r}: response {i} has {len(logprobs)} logprobs and {len(similarities)} "
                "token_similarity: pass one similarity for each token"
            )

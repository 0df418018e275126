"""Estimators from the similarities s_ij of pairs of responses, without clusters and without a graph.

    luq               1 - mean_i mean_{j != i} s_ij                           LUQ without sentences
    luq_sentences     1 - mean_i mean_{j != i} mean_k s(r_j, sentence k of r_i)  Zhang et al. 2024 (LUQ), Eq. 1-3
    snne              -mean_i ln sum_j exp(s_ij / temperature)                Nguyen et al. 2025, Eq. 5
    lexical           mean_{i < j} ROUGE-L or BLEU: higher is MORE certain    Kuhn et al. 2023; Fomicheva et al. 2020
    semantic_density  sum_j w_j s_j / sum_j w_j: higher is MORE certain       Qiu & Miikkulainen 2024
    cocoa             u mean_j (1 - s_j)                                      Vashurin et al. 2025 (CoCoA)

The last two score one answer: s_j is the similarity of the greedy answer to response j, w_j = exp(mean log-probability)
of response j, and u the model's own uncertainty of the answer. Without a greedy answer they are means over the
responses. With one response, a mean over j != i does not exist, and the value is nan.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, get_args

from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.estimators.base import EntropyEstimator, name_with_options
from semantic_entropy.estimators.likelihood import sequence_log_likelihood
from semantic_entropy.types import Estimate, Evidence

Metric: TypeAlias = Literal["rougeL", "rouge1", "rouge2", "bleu"]
Uncertainty: TypeAlias = Literal["ppl", "msp", "mte"]
_Compare: TypeAlias = Callable[[str, str], float]


class LUQ(EntropyEstimator):
    """The mean dissimilarity of each response to the others, in [0, 1]. One response: nan."""

    name = "luq"
    requires = frozenset({"similarity"})

    def estimate(self, evidence: Evidence) -> Estimate:
        assert evidence.similarity is not None  # `check` ensures it
        return Estimate(_mean_disagreement(evidence.similarity))


class LUQSentences(EntropyEstimator):
    """How little the sentences of each response are supported by the other responses, in [0, 1]. One response: nan.

    LUQ of the paper, for long texts: a response is compared with each sentence of the others, as premise and
    hypothesis. The paper divides P(entailment) by P(entailment) + P(contradiction); `similarity="nli"` is
    P(entailment). Without sentences, use `luq`.
    """

    name = "luq_sentences"
    requires = frozenset({"sentence_support"})

    def check(self, evidence: Evidence) -> None:
        if not evidence.has("sentence_support"):
            raise EvidenceError(
                f"estimator {self.name!r} needs sentence_support, and similarity= is a matrix, which compares whole "
                "responses: pass a name, such as 'nli', or a function; or pass sentence_support= itself"
            )

    def estimate(self, evidence: Evidence) -> Estimate:
        assert evidence.sentence_support is not None
        return Estimate(_mean_disagreement(evidence.sentence_support))


class SNNE(EntropyEstimator):
    """Semantic nearest neighbour entropy: minus the mean log of the soft number of neighbours.

    For G equal responses it is -1 / temperature - ln G, its minimum; compare only groups of equal size. With a low
    temperature and similarities of 0 and 1, it is the discrete entropy - ln G - 1 / temperature.

    Args:
        temperature: a lower temperature gives more weight to the most similar responses.

    Raises:
        InputError: the temperature is not a positive number.
    """

    name = "snne"
    requires = frozenset({"similarity"})

    def __init__(self, temperature: float = 1.0) -> None:
        if not 0 < temperature < math.inf:
            raise InputError(f"temperature={temperature!r} of the estimator 'snne' must be a positive number")
        self.temperature = temperature

    def describe(self) -> str:
        return name_with_options(self.name, temperature=(self.temperature, 1.0))

    def estimate(self, evidence: Evidence) -> Estimate:
        assert evidence.similarity is not None
        logs = []
        for row in evidence.similarity:
            largest = max(row)
            total = math.fsum([math.exp((value - largest) / self.temperature) for value in row])
            logs.append(largest / self.temperature + math.log(total))
        return Estimate(-math.fsum(logs) / len(logs))


def _mean_disagreement(matrix: Sequence[Sequence[float]]) -> float:
    """1 - the mean of the numbers off the diagonal; nan for one response."""
    others = [value for i, row in enumerate(matrix) for j, value in enumerate(row) if i != j]
    return 1.0 - math.fsum(others) / len(others) if others else math.nan


class Lexical(EntropyEstimator):
    """The mean similarity of the words of two responses, in [0, 1]. It is a confidence. One response: nan.

    Two equal responses are compared as other pairs. An invalid answer (empty, a refusal) is similar to no answer, or
    only to those of its cluster.

    Args:
        metric: "rougeL", "rouge1" or "rouge2" (F-measure with stemming, by rouge-score), or "bleu" (by nltk, up to four
            words, fewer for shorter responses). BLEU is the mean of both directions, because it is not symmetric.

    Raises:
        InputError: the metric is unknown.
    """

    name = "lexical"
    requires = frozenset({"texts"})
    uses = frozenset({"answers"})
    higher_is_uncertain = False

    def __init__(self, metric: Metric = "rougeL") -> None:
        if metric not in get_args(Metric):
            raise InputError(
                f"metric={metric!r} of the estimator 'lexical' is unknown: use one of {', '.join(get_args(Metric))}"
            )
        self.metric = metric
        self._compare = _bleu_of_both_directions if metric == "bleu" else _rouge(metric)

    def describe(self) -> str:
        return name_with_options(self.name, metric=(self.metric, "rougeL"))

    def estimate(self, evidence: Evidence) -> Estimate:
        assert evidence.texts is not None
        texts, invalid = evidence.texts, [answer is None for answer in evidence.answers or evidence.texts]
        found: dict[tuple[str, str], float] = {}
        values = []
        for i, j in itertools.combinations(range(len(texts)), 2):
            if invalid[i] or invalid[j]:
                values.append(float(evidence.labels[i] == evidence.labels[j]))
                continue
            pair = (texts[i], texts[j]) if texts[i] <= texts[j] else (texts[j], texts[i])
            if pair not in found:
                found[pair] = self._compare(*pair)
            values.append(found[pair])
        return Estimate(math.fsum(values) / len(values) if values else math.nan)


def _rouge(metric: str) -> _Compare:
    from rouge_score.rouge_scorer import RougeScorer  # its import takes a second

    scorer = RougeScorer([metric], use_stemmer=True)
    return lambda left, right: float(scorer.score(left, right)[metric].fmeasure)


_BLEU_WEIGHTS = {1: (1.0,), 2: (0.5, 0.5), 3: (0.33, 0.33, 0.33)}  # as in lm-polygraph; .33 is rounded there too


def bleu(reference: str, hypothesis: str) -> float:
    """Return BLEU of one direction, as in lm-polygraph; 0 if a text has no words."""
    from nltk.translate.bleu_score import sentence_bleu

    expected, found = reference.split(), hypothesis.split()
    shortest = min(len(expected), len(found))
    if not shortest:
        return 0.0
    weights = _BLEU_WEIGHTS.get(shortest, (0.25, 0.25, 0.25, 0.25))
    with warnings.catch_warnings():  # nltk warns where no group of words is common, which is usual here
        warnings.simplefilter("ignore")
        return float(sentence_bleu([expected], found, weights=weights))


def _bleu_of_both_directions(left: str, right: str) -> float:
    return (bleu(left, right) + bleu(right, left)) / 2


class SemanticDensity(EntropyEstimator):
    """The similarity of the answer to the different responses, weighted by their probabilities, in [0, 1].

    It is a confidence. The kernel of the paper, 1 - P(contradiction) - P(neutral) / 2, is the similarity here: pass
    `similarity` with P(entailment) + P(neutral) / 2 for the numbers of the paper. A response that repeats counts once,
    with its largest probability. The greedy answer itself counts only if it is one of the responses.
    """

    name = "semantic_density"
    requires = frozenset({"logprobs", "responses", "similarity"})
    uses = frozenset({"greedy", "greedy_similarity"})
    higher_is_uncertain = False

    def check(self, evidence: Evidence) -> None:
        super().check(evidence)
        _check_greedy(self.name, evidence)

    def estimate(self, evidence: Evidence) -> Estimate:
        assert evidence.similarity is not None
        weights = _weights_of_responses(evidence)
        rows = evidence.similarity if evidence.greedy_similarity is None else (evidence.greedy_similarity,)
        total = math.fsum(weights)
        densities = [math.fsum([w * s for w, s in zip(weights, row, strict=True)]) / total for row in rows]
        return Estimate(math.fsum(densities) / len(densities))


def _weights_of_responses(evidence: Evidence) -> list[float]:
    """(G,) exp(mean log-probability) up to a factor. Equal responses share the largest weight of one of them."""
    assert evidence.logprobs is not None
    assert evidence.responses is not None
    logs: dict[str, list[float]] = {}
    for response, tokens in zip(evidence.responses, evidence.logprobs, strict=True):
        logs.setdefault(response, []).append(sequence_log_likelihood(tokens))
    largest = max(map(max, logs.values()))  # the largest weight is 1, so that not all are 0
    weights = {response: math.exp(max(values) - largest) / len(values) for response, values in logs.items()}
    return [weights[response] for response in evidence.responses]


class CoCoA(EntropyEstimator):
    """The model's uncertainty of the answer, times the mean dissimilarity of the responses to the answer.

    With a greedy answer, the evidence is about this answer: its logprobs (or token_entropies), and its similarity to
    each response. Without it, the value is the mean over the responses, each compared with the others; nan for one.

    Args:
        uncertainty: of the answer: "ppl" is minus the mean log-probability of a token, "msp" minus their sum, "mte" the
            mean entropy of the tokens, all in nats. The paper calls them CoCoA_PPL, CoCoA_MSP, CoCoA_MTE.

    Raises:
        InputError: the uncertainty is unknown.
    """

    name = "cocoa"
    requires = frozenset({"similarity"})
    uses = frozenset({"greedy", "greedy_similarity", "logprobs", "token_entropies"})

    def __init__(self, uncertainty: Uncertainty = "ppl") -> None:
        if uncertainty not in get_args(Uncertainty):
            raise InputError(
                f"uncertainty={uncertainty!r} of the estimator 'cocoa' is unknown: use one of "
                f"{', '.join(get_args(Uncertainty))}"
            )
        self.uncertainty = uncertainty
        self._field: Literal["token_entropies", "logprobs"] = "token_entropies" if uncertainty == "mte" else "logprobs"

    def describe(self) -> str:
        return name_with_options(self.name, uncertainty=(self.uncertainty, "ppl"))

    def check(self, evidence: Evidence) -> None:
        super().check(evidence)
        _check_greedy(self.name, evidence)
        if evidence.greedy is None and not evidence.has(self._field):
            raise EvidenceError(
                f"estimator 'cocoa' needs a greedy answer with {self._field}, or {self._field} of each response, and "
                f"there are none: pass greedy={{'text': ..., {self._field!r}: ...}} or {self._field}="
            )
        if evidence.greedy is not None and not getattr(evidence.greedy, self._field):
            raise EvidenceError(
                f"estimator 'cocoa' needs {self._field} of the greedy answer {evidence.greedy.text[:60]!r}, and there "
                f"are none: pass greedy={{'text': ..., {self._field!r}: ...}}"
            )

    def estimate(self, evidence: Evidence) -> Estimate:
        if evidence.greedy is not None:
            assert evidence.greedy_similarity is not None
            own = getattr(evidence.greedy, self._field)
            return Estimate(self._of_answer(own) * _mean_dissimilarity(evidence.greedy_similarity))
        assert evidence.similarity is not None
        values = [
            self._of_answer(tokens) * _mean_dissimilarity([*row[:i], *row[i + 1 :]])
            for i, (tokens, row) in enumerate(zip(getattr(evidence, self._field), evidence.similarity, strict=True))
        ]
        return Estimate(math.fsum(values) / len(values))

    def _of_answer(self, tokens: Sequence[float]) -> float:
        mean_or_sum = sequence_log_likelihood(tokens, length_normalized=self.uncertainty != "msp")
        return mean_or_sum if self.uncertainty == "mte" else -mean_or_sum


def _mean_dissimilarity(similarities: Sequence[float]) -> float:
    if not similarities:
        return math.nan
    return 1.0 - math.fsum(similarities) / len(similarities)


def _check_greedy(name: str, evidence: Evidence) -> None:
    """Raise EvidenceError if there is a greedy answer, and it was not compared with the responses."""
    if evidence.greedy is not None and evidence.greedy_similarity is None:
        raise EvidenceError(
            f"estimator {name!r} needs the similarity of the greedy answer {evidence.greedy.text[:60]!r} to each "
            "response, and there is none: pass similarity= as a matrix (G + 1, G + 1) with the greedy answer last, or "
            "greedy_similarity=, or leave similarity= out"
        )

"""The data types that the stages of the pipeline exchange. `semantic_entropy.results` has the final `Result`.

All are frozen. Shapes: G responses in a group, M clusters. Entropies are in nats.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    from semantic_entropy.long_answers import LongAnswer

Labels = tuple[int, ...]
"""The label of each response's cluster, shape (G,): 0..M-1 by first appearance; -1: the response was dropped."""


def by_first_appearance(labels: Sequence[Hashable]) -> Labels:
    """Renumber the labels as 0, 1, ... in order of first appearance. The partition stays the same."""
    numbers: dict[Hashable, int] = {}
    return tuple([numbers.setdefault(label, len(numbers)) for label in labels])


class Pair(NamedTuple):
    """Two different answers to one question. A judge decides whether they mean the same."""

    question: str | None
    left: str
    right: str


class GroupPair(Pair):
    """A pair with the groups that want its verdict, for a judge with `limits_groups`.

    Attributes:
        groups: a dict for each group. Every pair of the group, in every call of the judge, has the same dict. The judge
            keeps what it knows of the group there, under its own object as key.
    """

    groups: list[dict[object, Any]]

    def __new__(cls, question: str | None, left: str, right: str, groups: Iterable[dict[object, Any]] = ()) -> Self:
        pair = super().__new__(cls, question, left, right)
        pair.groups = list(groups)
        return pair


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of a call.

    Attributes:
        requests: the number of requests to a server or model.
        input_tokens: the number of tokens in the prompts.
        output_tokens: the number of generated tokens.
        cost: the price, in the currency of the prices that the user set; None: the user set no prices.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None

    def __add__(self, other: Usage) -> Usage:
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Usage(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            sum(costs) if costs else None,
        )

    def __str__(self) -> str:
        cost = "" if self.cost is None else f", cost {self.cost:.4g}"
        return f"{self.requests} requests, {self.input_tokens} tokens in, {self.output_tokens} out{cost}"


class Verdict(NamedTuple):
    """A judge's decision on a pair.

    Attributes:
        same: True if the answers mean the same, False if they differ. None: undecided (time-out, refusal, too long
            text). Undecided pairs count as different, and the result has their number.
        score: the judge's confidence that the answers mean the same, in [0, 1]; None: the judge has no scores.
        reason: the reason of the verdict, for the user.
        by: the name of the judge that decided, if a judge asks other judges.
        usage: the cost of the verdict; None: no cost is known.
    """

    same: bool | None
    score: float | None = None
    reason: str | None = None
    by: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One response that a sampler drew, with optional data from the model or server.

    Attributes:
        text: the response.
        logprobs: (T,) log-probabilities of the text's tokens in nats, under the sampling distribution. Some servers
            return those of the model's distribution, before temperature and top_p. Tokens of separate reasoning are not
            included. The end token is included only if a sampler's option asks for it, or if it is the only token.
        finish_reason: "stop", "length" (cut off at the completion length limit), or another word of the server.
        reasoning: the reasoning text that the server or the chat template separates from the response.
        token_entropies: (T,) entropy of the sampling distribution at each token, in nats; None: not requested.
        hidden_state: (d,) hidden state of the last layer at the text's last token; None: not requested.
        usage: the cost of the sample; None: no cost is known.
        top_logprobs: (T, k) log-probabilities of the k most probable tokens at each token, in nats; None: not
            requested. Some servers return fewer than k at some tokens.
        top_tokens: (T, k) the texts of these tokens; None: not requested.
        tokens: (T,) the text of each token; None: not known. If several tokens write one character, it belongs to the
            last of them, and the others are "".
    """

    text: str
    logprobs: tuple[float, ...] | None = None
    finish_reason: str | None = None
    reasoning: str | None = None
    token_entropies: tuple[float, ...] | None = None
    hidden_state: tuple[float, ...] | None = None
    usage: Usage | None = None
    top_logprobs: tuple[tuple[float, ...], ...] | None = None
    top_tokens: tuple[tuple[str, ...], ...] | None = None
    tokens: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request for n responses to one question.

    Attributes:
        index: the number of the request.
        question: the text to send to the model.
        n: the number of responses to draw.
        first: the number of existing responses to this question. A sampler with a seed must draw other responses.
    """

    index: int
    question: str
    n: int
    first: int = 0


@dataclass(frozen=True, slots=True)
class SampleFailure:
    """The failure of a request with missing responses: refused by a filter, too long for the model, timed out.

    Attributes:
        reason: the reason of the failure, for the user.
        usage: the cost of the missing responses; None: no cost is known.
        transient: True if the same request may succeed later, because the server failed.
    """

    reason: str
    usage: Usage | None = None
    transient: bool = False


@dataclass(frozen=True, slots=True)
class GivenEvidence:
    """What is known about the responses of a group in addition to their log-probabilities. None: not known.

    Attributes:
        top_logprobs: ragged (G, T, k) log-probabilities of the k most probable tokens at each token, in nats.
        token_entropies: ragged (G, T) entropy of the sampling distribution at each token, in nats.
        tokens: ragged (G, T) the text of each token of a response.
        token_similarity: ragged (G, T) similarity, in [0, 1], of each response to itself without the token.
        sentence_support: (G, G), in [0, 1]; row i, column j: the mean, over the sentences of response i, of the
            similarity of response j to the sentence.
        similarity: (G, G) similarity of each two responses, in [0, 1]; row i, column j: of response i to response j.
        greedy_similarity: (G,) similarity of the greedy answer to each response, in [0, 1].
        embeddings: (G, d) an embedding of each response.
        hidden_state: (G, d) a hidden state of the model for each response.
        greedy: the one answer that is scored, with what is known about it.
    """

    top_logprobs: tuple[tuple[tuple[float, ...], ...], ...] | None = None
    token_entropies: tuple[tuple[float, ...], ...] | None = None
    tokens: tuple[tuple[str, ...], ...] | None = None
    token_similarity: tuple[tuple[float, ...], ...] | None = None
    sentence_support: tuple[tuple[float, ...], ...] | None = None
    similarity: tuple[tuple[float, ...], ...] | None = None
    greedy_similarity: tuple[float, ...] | None = None
    embeddings: tuple[tuple[float, ...], ...] | None = None
    hidden_state: tuple[tuple[float, ...], ...] | None = None
    greedy: Sample | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """One question, the responses to this question, and data about the responses.

    If the caller passed the responses, the fields from `samples` to `n` are None, except `note`.

    Attributes:
        responses: (G,) the texts of the responses.
        question: the question; None: the caller passed no question.
        logprobs: token log-probabilities of each response in nats, ragged (G, tokens); None: not known.
        samples: (G,) the samples that the sampler drew.
        sampler: the description of the sampler.
        note: a warning for the result, such as the reason why responses are missing.
        lost_usage: the cost of the missing responses.
        n: the number of responses that were requested from the sampler.
        cut_off: the number of responses that ended at the token limit, if the caller passed replies of a chat model;
            None: not known.
        evidence: what is known in addition, for estimators that use it; None: nothing.
        asked: the number of pairs that a judge was asked for in earlier rounds of sampling (`n="auto"`).
        judging_usage: the cost of these verdicts.
        stopping_rule: the rule of `n="auto"` that ended the sampling; None: the number of responses was fixed.
    """

    responses: tuple[str, ...]
    question: str | None = None
    logprobs: tuple[tuple[float, ...], ...] | None = None
    samples: tuple[Sample, ...] | None = None
    sampler: str | None = None
    note: str | None = None
    lost_usage: Usage | None = None
    n: int | None = None
    cut_off: int | None = None
    evidence: GivenEvidence | None = None
    asked: int = 0
    judging_usage: Usage | None = None
    stopping_rule: str | None = None


@dataclass(frozen=True, slots=True)
class Clustering:
    """The clusters of the valid answers of a group, and the numbers of compared pairs.

    Attributes:
        labels: (n,) the cluster labels of the n valid answers.
        asked: the number of pairs that this group sent to the judge.
        cached: the number of pairs with a verdict in the cache, or from another group of the call.
        undecided: the pairs without a verdict, each with the judge's reason.
        decided: the number of pairs that each judge decided, by the name of the judge.
        usage: the cost of the verdicts that this group asked for; None: no cost is known.
    """

    labels: Labels
    asked: int = 0
    cached: int = 0
    undecided: tuple[tuple[Pair, str | None], ...] = ()
    decided: Mapping[str, int] = field(default_factory=dict)
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """The input of an estimator: the G responses that are not dropped. None: not known.

    Attributes:
        labels: (G,) the cluster label of each response, in 0..M-1.
        logprobs: ragged (G, T) token log-probabilities of each response, in nats.
        responses: (G,) the responses.
        texts: (G,) the answer in each response; the response itself if it has no answer.
        question: the question.
        top_logprobs: as in `GivenEvidence`, like the fields below.
        token_entropies: ragged (G, T), in nats.
        tokens: ragged (G, T) texts.
        token_similarity: ragged (G, T), in [0, 1].
        sentence_support: (G, G), in [0, 1]. The diagonal is 1, and the matrix may be asymmetric.
        similarity: (G, G), in [0, 1]. The diagonal is 1, and the matrix may be asymmetric.
        greedy_similarity: (G,), in [0, 1].
        embeddings: (G, d).
        hidden_state: (G, d).
        greedy: the one answer that is scored.
        answers: (G,) the answer in each response; None: it is invalid (empty, a refusal, nothing to extract).
        replies: the reply of the model to each prompt of the estimators (`EntropyEstimator.prompts`), or why there is
            none.
        long_answer: the uncertainty of each sentence of the answer that is doubted, if the answers are long.
    """

    labels: Labels
    logprobs: tuple[tuple[float, ...], ...] | None = None
    responses: tuple[str, ...] | None = None
    texts: tuple[str, ...] | None = None
    question: str | None = None
    top_logprobs: tuple[tuple[tuple[float, ...], ...], ...] | None = None
    token_entropies: tuple[tuple[float, ...], ...] | None = None
    tokens: tuple[tuple[str, ...], ...] | None = None
    token_similarity: tuple[tuple[float, ...], ...] | None = None
    sentence_support: tuple[tuple[float, ...], ...] | None = None
    similarity: tuple[tuple[float, ...], ...] | None = None
    greedy_similarity: tuple[float, ...] | None = None
    embeddings: tuple[tuple[float, ...], ...] | None = None
    hidden_state: tuple[tuple[float, ...], ...] | None = None
    greedy: Sample | None = None
    answers: tuple[str | None, ...] | None = None
    replies: Mapping[str, Sample | SampleFailure] | None = None
    long_answer: LongAnswer | None = None

    def has(self, requirement: str) -> bool:
        """Whether the field with this name, such as "logprobs", is not None."""
        return getattr(self, requirement, None) is not None


@dataclass(frozen=True, slots=True)
class Estimate:
    """The output of an estimator.

    Attributes:
        value: the score, a finite number. It is nan only for one response, if a score of one response is not defined,
            and if there is a note.
        probabilities: (M,) the distribution over the clusters, with the sum 1, if `value` is its entropy; else None.
        note: why the score is unknown, such as a reply of the model without an answer. It becomes a warning of the
            result.
    """

    value: float
    probabilities: tuple[float, ...] | None = None
    note: str | None = None


class Interval(NamedTuple):
    """Intervals for what infinitely many responses would show. Nominal level: 90%.

    On average over kinds of questions, nine of ten intervals contain the true value; for one kind of question it can be
    fewer. Docs: explanation/intervals.md.

    Attributes:
        entropy: the interval (low, high) for the entropy of the meanings, in nats.
        majority: the interval (low, high) for the probability of the meaning of the largest cluster.
    """

    entropy: tuple[float, float]
    majority: tuple[float, float]


class Extractor(Protocol):
    """A function that returns the answer in a response; None: the response has no answer."""

    def __call__(self, response: str, /) -> str | None: ...

"""The data types that the stages of the pipeline exchange. `semantic_entropy.results` has the final `Result`.

All are frozen. Shapes: G responses in a group, M clusters. Entropies are in nats.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Labels = tuple[int, ...]
"""The cluster of each response, shape (G,): 0..M-1 by first appearance; -1 for a response that was left out."""


def by_first_appearance(labels: Sequence[Hashable]) -> Labels:
    """The same partition, numbered 0, 1, ... in order of first appearance."""
    numbers: dict[Hashable, int] = {}
    return tuple([numbers.setdefault(label, len(numbers)) for label in labels])


class Pair(NamedTuple):
    """Two different answers to one question, for a judge."""

    question: str | None
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call cost: requests to a server or model, tokens in and out, and money where prices are known.

    `cost` is in the currency of the given prices; None: no prices were given.
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
        same: whether the answers mean the same. None is undecided (time-out, refusal, too long): it counts as not the
            same, and the result counts it.
        score: how strongly the judge holds them the same, in [0, 1]; None where the judge has no score.
        reason: for the reader.
        by: the judge that decided, where a judge asks other judges.
        usage: what this verdict cost, if anything.
    """

    same: bool | None
    score: float | None = None
    reason: str | None = None
    by: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One response that a sampler drew, and what is known about it.

    Attributes:
        text: the response.
        logprobs: (T,) log-probabilities of the text's tokens in nats, under the distribution that the sampler drew
            from; a server may give the model's own, before temperature and top_p. Tokens of separate reasoning and the
            end token are left out, unless a sampler is asked for the end token or there is no other token.
        finish_reason: "stop", "length" (cut off at the limit), or the server's own word.
        reasoning: thinking that the server or the template separates from the response.
        token_entropies: (T,) entropy of that distribution at each of these tokens, in nats; on request.
        hidden_state: (d,) of the last layer at the text's last token; on request.
        usage: what it cost, if anything.
    """

    text: str
    logprobs: tuple[float, ...] | None = None
    finish_reason: str | None = None
    reasoning: str | None = None
    token_entropies: tuple[float, ...] | None = None
    hidden_state: tuple[float, ...] | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """One question, the responses to it, and what is known about each.

    Attributes:
        responses: (G,).
        question: None where the caller gave none.
        logprobs: token log-probabilities of each response in nats, ragged (G, tokens).
        samples: (G,) the responses as a sampler drew them; None where the caller gave them. The next fields belong to
            the sampler too.
        sampler: its description.
        note: a warning for the result, such as why responses are missing.
        lost_usage: what the missing responses cost.
        n: how many responses were requested.
    """

    responses: tuple[str, ...]
    question: str | None = None
    logprobs: tuple[tuple[float, ...], ...] | None = None
    samples: tuple[Sample, ...] | None = None
    sampler: str | None = None
    note: str | None = None
    lost_usage: Usage | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Clustering:
    """The clusters of the valid answers of a group, and what finding them took.

    Attributes:
        labels: (n,) of the valid answers.
        asked: how many pairs went to the judge.
        cached: how many pairs were in the cache, or another group asked them.
        undecided: the pairs without a verdict, each with the judge's reason.
        decided: how many pairs each judge decided, by its name.
        usage: what the verdicts that this group asked for cost.
    """

    labels: Labels
    asked: int = 0
    cached: int = 0
    undecided: tuple[tuple[Pair, str | None], ...] = ()
    decided: Mapping[str, int] = field(default_factory=dict)
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an estimator sees: the G responses that count, with their clusters.

    labels (G,) in 0..M-1; logprobs ragged (G, tokens) in nats.
    """

    labels: Labels
    logprobs: tuple[tuple[float, ...], ...] | None = None

    def has(self, requirement: str) -> bool:
        """Whether this kind of evidence is given."""
        return getattr(self, requirement, None) is not None


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimator's value. `probabilities` (M,) if `value` is the entropy of a distribution over the clusters."""

    value: float
    probabilities: tuple[float, ...] | None = None


class Extractor(Protocol):
    """A function from a response to its answer; None where there is no answer."""

    def __call__(self, response: str, /) -> str | None: ...

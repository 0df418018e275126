"""The values that flow from left to right: groups in, pairs and verdicts between, results out.

All are frozen. Shapes: G responses in a group, M clusters. Entropies are in nats.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol, overload

from semantic_entropy.plain_text import shorten, to_json_line, to_json_value

Labels = tuple[int, ...]
"""Cluster of each response, shape (G,): 0..M-1 by first appearance; -1 for a response that was left out."""


def class_identity(component_class: type) -> tuple[str, str]:
    """The (module, qualified name) by which cache files and sample stores know the class of a judge or a sampler.

    Default: where the class is defined. A class that moved pins its first place with
    `cache_identity = "old.module:OldName"`, so that files written before the move are still found. Subclasses do not
    inherit the pin: their verdicts and samples can differ.
    """
    pinned = component_class.__dict__.get("cache_identity")
    if pinned is None:
        return component_class.__module__, component_class.__qualname__
    module, _, name = pinned.partition(":")
    return module, name


class Pair(NamedTuple):
    """Two distinct answers to one question, to be judged."""

    question: str | None
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What was paid: requests to a server or model, tokens in and out, and money where prices are known.

    `cost` is in the currency of the prices that were given; None: no prices were.
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
    """What a judge says of a pair.

    `same=None` is undecided (time-out, refusal, too long): it counts as not the same and is counted in the result.
    `score`, in [0, 1] where a judge has one, is how strongly it holds them the same. `by` names the judge that decided,
    where one asks others; `usage` is what this verdict cost, where it cost something.
    """

    same: bool | None
    score: float | None = None
    reason: str | None = None
    by: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One response that a sampler drew, and what is known about it.

    logprobs (T,): of the text's tokens, in nats, under the distribution it was drawn from, where the sampler has it (a
    server may give the model's own, before temperature and top_p). Tokens of reasoning set apart, and the end token,
    have none here, unless a sampler is asked for the latter or there is nothing else.
    finish_reason: "stop", "length" (cut off at the limit), or the server's own word.
    reasoning: thinking that the server or template sets apart from the response.
    token_entropies (T,): entropy of that distribution at each of these tokens, in nats. hidden_state (d,): of the last
    layer, at the text's last token. Both on request, where a sampler has them.
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
    """One question, the responses sampled for it, and what is known about each.

    responses (G,); logprobs: per response its token log-probabilities in nats, ragged (G, tokens). Where a sampler drew
    them: samples (G,), who that was, what a reader should know of it (why some are missing), what was paid for what did
    not come, and the n asked for.
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
    """Who means the same among the distinct answers of a group, and what it took to find out."""

    labels: Labels
    asked: int = 0
    cached: int = 0
    undecided: tuple[tuple[Pair, str | None], ...] = ()
    decided: Mapping[str, int] = field(default_factory=dict)
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an estimator sees: the G responses that count, already clustered.

    labels (G,) in 0..M-1; logprobs ragged (G, tokens) in nats.
    """

    labels: Labels
    logprobs: tuple[tuple[float, ...], ...] | None = None

    def has(self, requirement: str) -> bool:
        """Whether this kind of evidence was given."""
        return getattr(self, requirement, None) is not None


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimator's answer. `probabilities` (M,) where `value` is the entropy of a distribution over the clusters."""

    value: float
    probabilities: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Responses that mean the same: their indices, the answer that stands for them, and their probability."""

    indices: tuple[int, ...]
    representative: str | None
    share: float

    @property
    def size(self) -> int:
        """How many responses."""
        return len(self.indices)


@dataclass(frozen=True, slots=True)
class Undecided:
    """Two answers that the judge could not decide on, and why: they count as different."""

    left: str
    right: str
    reason: str


@dataclass(frozen=True, slots=True)
class DecidedBy:
    """How many pairs a judge decided: of a cascade, each of its judges."""

    judge: str
    pairs: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a result came about, so that it can be compared with another.

    `asked`, `cached`, `undecided` count pairs of distinct answers: sent to the judge, found in the verdict cache, and
    left without a verdict. `decided_by` says which judge decided how many of them; `usage` what the verdicts asked for
    cost, where they cost something; `sampler` who drew the responses, where it was not you, and `n` how many it was
    asked for.
    """

    convention: str
    equivalence: str
    equivalence_reason: str
    clusterer: str
    estimator: str
    extract: str
    invalid: str
    asked: int
    cached: int
    undecided: int
    versions: Mapping[str, str]
    decided_by: tuple[DecidedBy, ...] = ()
    usage: Usage | None = None
    sampler: str | None = None
    sampling_usage: Usage | None = None
    n: int | None = None

    def costs(self) -> list[str]:
        """For a reader: who drew and who decided, where that is not plain, and what each cost."""
        lines = []
        if len(self.decided_by) > 1:
            lines.append("decided by " + ", ".join(f"{one.judge} {one.pairs}" for one in self.decided_by))
        if self.usage:
            lines.append(f"judging took {self.usage}")
        if self.sampler:
            lines.append(f"drawn by {self.sampler}" + (f": {self.sampling_usage}" if self.sampling_usage else ""))
        return lines


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """The uncertainty of one group, and why.

    Attributes:
        entropy: semantic entropy over the clusters, in nats; nan where no response counts.
        normalized: entropy / ln(n_valid), at most 1; 0 where n_valid <= 1.
        probabilities: (M,) of the clusters, by label.
        labels: (G,) cluster of each response; -1 where an invalid answer was dropped.
        clusters: (M,) by label.
        answer: representative of the most probable valid cluster (the first to appear of several), or None.
        answers: (G,) what was extracted from each response; None is invalid.
        n_valid: how many responses gave an answer.
        invalid: how many did not (empty, refusal, nothing to extract).
        scores: every estimator's value, by name.
        warnings: what a reader should know before trusting the number.
        provenance: convention, judge, versions, and counts of pairs.
        undecided: the pairs without a verdict, with reasons.
        samples: (G,) the responses as drawn, where a sampler drew them; else None.
    """

    entropy: float
    normalized: float
    probabilities: tuple[float, ...]
    labels: Labels
    clusters: tuple[Cluster, ...]
    answer: str | None
    answers: tuple[str | None, ...]
    n_valid: int
    invalid: int
    scores: Mapping[str, float]
    warnings: tuple[str, ...]
    provenance: Provenance
    undecided: tuple[Undecided, ...] = ()
    samples: tuple[Sample, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts, strings and numbers; nan becomes None (JSON has none). `samples` only where there are."""
        fields = {key: to_json_value(value) for key, value in asdict(self).items()}
        return fields if self.samples else {key: value for key, value in fields.items() if key != "samples"}

    def to_json(self) -> str:
        """One line of JSON."""
        return to_json_line(self.to_dict())

    def __repr__(self) -> str:
        share = f" ({self.normalized:.0%} of the maximum)" if self.n_valid > 1 else ""
        lines = []
        lines.append(
            f"Result: entropy {self.entropy:.3f} nats{share}, "
            f"{len(self.clusters)} meaning{'s' * (len(self.clusters) != 1)} in {len(self.answers)} responses"
        )
        ranked = sorted(self.clusters, key=lambda cluster: -cluster.share)
        lines += [
            f"  {c.share:6.1%}  {c.size:>3} x  {shorten(c.representative or '(no answer)')}" for c in ranked[:_SHOWN]
        ]
        if len(ranked) > _SHOWN:
            lines.append(f"  ... and {len(ranked) - _SHOWN} more")
        if self.invalid:
            lines.append(f"  invalid answers: {self.invalid}")
        lines += [f"  warning: {warning}" for warning in self.warnings]
        how = self.provenance
        lines.append(
            f"  by {how.equivalence} ({how.equivalence_reason}), {how.clusterer}, {how.estimator}, "
            f"convention {how.convention}; pairs asked {how.asked}, cached {how.cached}, undecided {how.undecided}"
        )
        return "\n".join([*lines, *(f"  {line}" for line in how.costs())])


class BatchResult(Sequence[Result]):
    """The results of many groups, in their order, from one pipeline run. Behaves like a list of `Result`."""

    __slots__ = ("_results",)

    def __init__(self, results: Sequence[Result]) -> None:
        self._results = tuple(results)

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> BatchResult: ...
    def __getitem__(self, index: int | slice) -> Result | BatchResult:
        return BatchResult(self._results[index]) if isinstance(index, slice) else self._results[index]

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BatchResult | list | tuple):
            return self._results == tuple(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # holds dicts, like the list it behaves as

    @property
    def entropies(self) -> tuple[float, ...]:
        """(B,) in nats."""
        return tuple(result.entropy for result in self._results)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dict a group."""
        return [result.to_dict() for result in self._results]

    def __repr__(self) -> str:
        finite = [h for h in self.entropies if not math.isnan(h)]
        mean = f", mean entropy {sum(finite) / len(finite):.3f} nats" if finite else ""
        return f"BatchResult: {len(self)} groups{mean}"


class Extractor(Protocol):
    """Response in, answer out; None where there is nothing to extract."""

    def __call__(self, response: str, /) -> str | None: ...


_SHOWN = 8  # clusters in a repr: what fits on a screen

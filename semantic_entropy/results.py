"""The class `Result` for one group, with its repr and its JSON. `semantic_entropy.measuring` builds results.

Entropies are in nats. Shapes: G responses, M clusters.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, overload

from semantic_entropy.errors import InputError
from semantic_entropy.long_answers import LongAnswer
from semantic_entropy.plain_fields import from_plain
from semantic_entropy.plain_text import plural, shorten, to_json_line
from semantic_entropy.types import Interval, Labels, Sample, Usage

MAX_UNDECIDED = 0.1
"""The share of undecided pairs above which a batch and a file have a warning: the entropies say more about the judge
than about the model."""
CALIBRATION_FIELDS = ("p_wrong", "flag", "threshold")
"""The fields of a result that only a calibration fills. A table or file without a calibration does not have them."""
_ROUNDING = 1e-6  # sums of float32 probabilities exceed 1 by less
_MAX_CLUSTERS_SHOWN = 8  # most clusters in a repr, so that it fits on a screen


@dataclass(frozen=True, slots=True)
class Cluster:
    """Responses that mean the same: their indices, a representative answer, and the probability of the cluster."""

    indices: tuple[int, ...]
    representative: str | None
    share: float

    @property
    def size(self) -> int:
        """The number of responses."""
        return len(self.indices)


@dataclass(frozen=True, slots=True)
class Undecided:
    """Two answers without a verdict, and the judge's reason. They count as different."""

    left: str
    right: str
    reason: str


@dataclass(frozen=True, slots=True)
class DecidedBy:
    """A judge and the number of pairs that it decided. A cascade has an entry for each of its judges."""

    judge: str
    pairs: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """The method and the costs of a result. Compare results only if their methods are equal.

    Attributes:
        convention: the name of the convention, which sets the choices that the user does not set.
        equivalence: the judge, with the options that differ from their defaults.
        equivalence_reason: "as asked" if the user chose the judge; else the reason why `auto` chose this judge.
        clusterer: the clusterer, with the options that differ from their defaults.
        estimator: the estimator of `Result.entropy`.
        extract: the extractor of the answers.
        invalid: the policy for invalid answers: "separate", "together" or "drop".
        asked: the number of pairs of distinct answers that were sent to the judge.
        cached: the number of pairs with a verdict in the cache, or from another group of the call; 0: a cheap judge.
        undecided: the number of pairs without a verdict.
        versions: the versions of this package, and of the libraries and models of the judge.
        decided_by: the number of pairs that each judge decided.
        usage: the cost of the verdicts; None: no cost is known.
        sampler: the sampler that drew the responses; None: the caller passed the responses.
        sampling_usage: the cost of drawing the responses; None: no cost is known.
        n: the number of responses that were requested from the sampler; with `n="auto"`, as many as were needed.
        similarity: the similarity that an estimator reads; None: no estimator reads one. "given": the caller's matrix.
        replies_by: the sampler that replied to the prompts of estimators, such as `p_true`; None: nothing was asked.
        replies_usage: the cost of these replies; None: no cost is known.
        estimators: the estimators of `Result.scores`, with the options that differ from their defaults.
        stopping_rule: the rule of `n="auto"` that ended the sampling; None: the number of responses was fixed.
        model: the model that the caller declares for its responses; None: undeclared, or a sampler drew them.
        calibration: the digest of the calibration that was applied; None: none was.
        claims_by: the function or sampler that found the claims that were scored; None: no claims were scored.
        cut_off: the number of responses that ended at the token limit, as far as a sampler or the replies say so.
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
    similarity: str | None = None
    replies_by: str | None = None
    replies_usage: Usage | None = None
    estimators: tuple[str, ...] = ()
    stopping_rule: str | None = None
    model: str | None = None
    calibration: str | None = None
    claims_by: str | None = None
    cut_off: int = 0

    @property
    def pairs(self) -> int:
        """The number of compared pairs, undecided pairs included."""
        return self.asked + self.cached

    def costs(self) -> list[str]:
        """Return lines for the user about the judges (if there are several), the sampler, and their costs."""
        lines = []
        if len(self.decided_by) > 1:
            lines.append("decided by " + ", ".join(f"{each.judge} {each.pairs}" for each in self.decided_by))
        if self.usage:
            lines.append(f"judging took {self.usage}")
        if self.sampler:
            lines.append(f"drawn by {self.sampler}" + (f": {self.sampling_usage}" if self.sampling_usage else ""))
        if self.replies_usage:
            lines.append(f"prompts of estimators took {self.replies_usage}")
        return lines


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """The uncertainty of one group, with the evidence.

    Attributes:
        entropy: semantic entropy over the clusters, in nats; nan if no response counts.
        normalized: entropy / ln(n_valid), at most 1; nan if n_valid < 2: with nine refusals and one answer, nothing is
            known about the answer. A comparison with nan is false, so a threshold on it decides nothing.
        probabilities: (M,) probability of each cluster.
        labels: (G,) label of the cluster of each response; -1 if the answer is invalid and dropped.
        clusters: (M,) the clusters; `clusters[label]` is the cluster with this label.
        answer: the representative of the most probable cluster with valid answers (of equally probable clusters, the
            first); None: there is no valid answer.
        answers: (G,) the answer extracted from each response; None: the answer is invalid.
        n_valid: the number of responses with a valid answer.
        invalid: the number of responses with an invalid answer (empty, refusal, nothing to extract).
        scores: the value of every estimator, by name.
        warnings: problems that make the entropy less reliable.
        provenance: the convention, the judge, the versions, the numbers of pairs, and the costs.
        undecided: the pairs without a verdict, with reasons.
        samples: (G,) the samples that the sampler drew; None: the caller passed the responses.
        greedy_sample: the greedy answer that the sampler drew, with `greedy=True`.
        p_wrong: the probability that the answer is wrong, from a calibration; None: there is no calibration, or it
            knows no probability for this result.
        flag: whether the calibration says not to answer with this result; None: there is no calibration. True unless
            the score is known and at most the threshold.
        threshold: the highest score that the calibration answers with; None: there is no calibration, or it certified
            no threshold.
        long_answer: the uncertainty of each sentence, or claim, of one answer; None: they are short, or `long=False`.
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
    greedy_sample: Sample | None = None
    p_wrong: float | None = None
    flag: bool | None = None
    threshold: float | None = None
    long_answer: LongAnswer | None = None

    @property
    def interval(self) -> Interval | None:
        """The 90% intervals for the entropy and for the probability of the largest cluster's meaning.

        They are computed from the sizes of the clusters when you ask for them; None: no response counts. The entropy is
        that of the distribution that responses are drawn from, whichever estimator gave `entropy`. The 90% hold on
        average over kinds of questions, and with 5 responses or fewer the intervals are wide. Docs:
        explanation/intervals.md.
        """
        from semantic_entropy.estimators.posterior import interval  # imports numpy, which most results do not need
        from semantic_entropy.estimators.unseen import cluster_sizes

        sizes = cluster_sizes(self.labels)
        return interval(sizes) if sizes else None

    def to_dict(self, *, interval: bool = False) -> dict[str, Any]:
        """Return lists, dicts, strings and numbers, with None for nan.

        The keys `samples` and `greedy_sample` exist only with a sampler; `p_wrong`, `flag` and `threshold` only with a
        calibration; `long_answer` only for long answers.

        Args:
            interval: True: add the key "interval" with {"entropy": [low, high], "majority": [low, high]} of the
                property `interval`.
        """
        fields: dict[str, Any] = {
            "entropy": _finite(self.entropy),
            "normalized": _finite(self.normalized),
            "probabilities": _finite_list(self.probabilities),
            "labels": list(self.labels),
            "clusters": [
                {"indices": list(c.indices), "representative": c.representative, "share": _finite(c.share)}
                for c in self.clusters
            ],
            "answer": self.answer,
            "answers": list(self.answers),
            "n_valid": self.n_valid,
            "invalid": self.invalid,
            "scores": {name: _finite(score) for name, score in self.scores.items()},
            "warnings": list(self.warnings),
            "provenance": _provenance_fields(self.provenance),
            "undecided": [{"left": u.left, "right": u.right, "reason": u.reason} for u in self.undecided],
        }
        if self.samples:
            fields["samples"] = list(map(_sample_fields, self.samples))
        if self.greedy_sample:
            fields["greedy_sample"] = _sample_fields(self.greedy_sample)
        if self.flag is not None:
            fields |= {"p_wrong": _finite(self.p_wrong), "flag": self.flag, "threshold": _finite(self.threshold)}
        if self.long_answer:
            fields["long_answer"] = self.long_answer.to_dict()
        if interval:
            found = self.interval
            fields["interval"] = found and {name: list(ends) for name, ends in found._asdict().items()}
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Rebuild a result from `to_dict()`, from decoded JSON of `to_json()`, or from a row of an output file.

        None in place of a number that is always known becomes nan. Fields of other names are ignored, such as those
        that a row of a file has besides.

        Raises:
            InputError: a field is missing, has a wrong type, or contradicts another. The message names the field and
                its value.
        """
        if not isinstance(fields, Mapping):
            raise InputError(f"a result is a dict, as from Result.to_dict(), and not {fields!r:.80}")
        provenance = fields.get("provenance")
        if not isinstance(provenance, Mapping) or provenance.get("calibration") is None:
            fields = {name: value for name, value in fields.items() if name not in CALIBRATION_FIELDS}  # of the row
        if not (isinstance(long := fields.get("long_answer"), Mapping) and "sentences" in long):  # of the row
            fields = {name: value for name, value in fields.items() if name != "long_answer"}
        result: Self = from_plain(cls, fields, of="a result", missing="pass the dict of Result.to_dict()", sparse=True)
        _check_clusters(result)
        return result

    def to_json(self) -> str:
        """Return the result as one line of JSON."""
        return to_json_line(self.to_dict())

    def _repr_html_(self) -> str:
        from semantic_entropy.html_views.notebook import result_html  # only for a notebook

        return result_html(self.to_dict())

    def __repr__(self) -> str:
        share = f" ({self.normalized:.0%} of the maximum)" if self.n_valid > 1 else ""
        valid = sum(cluster.representative is not None for cluster in self.clusters)
        meanings = f"{valid} meaning{'s' * (valid != 1)} in {len(self.answers)} responses"
        lines = [f"Result: entropy {self.entropy:.3f} nats{share}, {meanings}"]
        ranked = sorted(self.clusters, key=lambda cluster: -cluster.share)
        lines += [
            f"  {c.share:6.1%}  {c.size:>3} x  {shorten(c.representative or '(no answer)')}"
            for c in ranked[:_MAX_CLUSTERS_SHOWN]
        ]
        if len(ranked) > _MAX_CLUSTERS_SHOWN:
            lines.append(f"  ... and {len(ranked) - _MAX_CLUSTERS_SHOWN} more")
        lines += [f"  invalid answers: {self.invalid}"] * (self.invalid > 0)
        lines += [f"  {line}" for line in (self.long_answer.lines() if self.long_answer else ())]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        lines += [self._decision()] * (self.flag is not None)
        judge = self.provenance.equivalence + " (auto)" * self.provenance.equivalence_reason.startswith("auto")
        compared = f"{plural(self.provenance.pairs, 'pair')} compared"
        return "\n".join([*lines, f"  judge: {judge} \u00b7 {compared} \u00b7 details: result.provenance"])

    def _decision(self) -> str:
        known = self.p_wrong is not None and not math.isnan(self.p_wrong)
        chance = f"p(wrong) {self.p_wrong:.1%}" if known else "p(wrong) unknown"
        limit = "no threshold is certified" if self.threshold is None else f"threshold {self.threshold:.6g}"
        return f"  {'flagged: do not answer with this' if self.flag else 'not flagged'} ({chance}, {limit})"


def undecided_warning(undecided: int, pairs: int) -> str:
    """The warning about the share of the compared pairs that have no verdict."""
    share = f"{undecided:,} of {pairs:,} pairs ({undecided / pairs:.0%}) are undecided and count as different"
    return f"{share}: the entropies may be too high"


class BatchResult(Sequence[Result]):
    """A sequence of `Result`: the results of many groups, in the order of the groups."""

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

    __hash__ = None  # type: ignore[assignment]  # a Result holds dicts, which have no hash

    @property
    def entropies(self) -> tuple[float, ...]:
        """The entropies (B,) in nats."""
        return tuple(result.entropy for result in self._results)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A warning if more than a tenth of all compared pairs (`MAX_UNDECIDED`) is undecided; else empty.

        The warnings of a group are in its result.
        """
        pairs = sum(result.provenance.pairs for result in self._results)
        undecided = sum(result.provenance.undecided for result in self._results)
        return (undecided_warning(undecided, pairs),) if undecided > MAX_UNDECIDED * pairs else ()

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a list with `Result.to_dict()` of each group."""
        return [result.to_dict() for result in self._results]

    def _repr_html_(self) -> str:
        from semantic_entropy.html_views.notebook import batch_html

        return batch_html(self.to_dicts(), repr(self))

    def __repr__(self) -> str:
        finite = [h for h in self.entropies if not math.isnan(h)]
        mean = f", mean entropy {sum(finite) / len(finite):.3f} nats" if finite else ""
        unknown = f", {len(self) - len(finite)} unknown (nan)" if len(finite) < len(self) else ""
        return "\n  warning: ".join([f"BatchResult: {len(self)} groups{mean}{unknown}", *self.warnings])


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None


def _finite_list(values: Sequence[float] | None) -> list[float | None] | None:
    return None if values is None else [value if math.isfinite(value) else None for value in values]


def _usage_fields(usage: Usage) -> dict[str, Any]:
    return {**dataclasses.asdict(usage), "cost": _finite(usage.cost)}


def _provenance_fields(provenance: Provenance) -> dict[str, Any]:
    fields = {field.name: getattr(provenance, field.name) for field in dataclasses.fields(provenance)}
    usages = {name: _usage_fields(value) for name, value in fields.items() if isinstance(value, Usage)}
    plain = {"versions": dict(provenance.versions), "estimators": list(provenance.estimators)}
    return {**fields, **usages, **plain, "decided_by": [dataclasses.asdict(each) for each in provenance.decided_by]}


def _sample_fields(sample: Sample) -> dict[str, Any]:
    return {
        "text": sample.text,
        "logprobs": _finite_list(sample.logprobs),
        "finish_reason": sample.finish_reason,
        "reasoning": sample.reasoning,
        "token_entropies": _finite_list(sample.token_entropies),
        "hidden_state": _finite_list(sample.hidden_state),
        "usage": sample.usage and _usage_fields(sample.usage),
        "top_logprobs": sample.top_logprobs and [_finite_list(tokens) for tokens in sample.top_logprobs],
        "top_tokens": sample.top_tokens and list(map(list, sample.top_tokens)),
        "tokens": None if sample.tokens is None else list(sample.tokens),
    }


def _check_clusters(result: Result) -> None:
    """Raise InputError for a label, a cluster or a probability that no measured result has."""
    size = len(result.answers)
    members: list[list[int]] = [[] for _ in result.clusters]
    if len(result.labels) != size:
        raise InputError(f"the field labels of a result has {len(result.labels)} labels for {size} answers")
    for i, label in enumerate(result.labels):
        if not -1 <= label < len(members):
            what = f"a label is -1 (dropped) or the number of one of the {len(members)} clusters"
            raise InputError(f"the field labels[{i}] of a result is {label!r:.80}; {what}")
        if label >= 0:
            members[label].append(i)
    for i, (cluster, indices) in enumerate(zip(result.clusters, members, strict=True)):
        if list(cluster.indices) != indices:
            found = f"the field clusters[{i}].indices of a result is {list(cluster.indices)!r:.80}"
            raise InputError(f"{found}; the field labels has this label at {indices!r:.80}")
    shares = [(f"clusters[{i}].share", cluster.share) for i, cluster in enumerate(result.clusters)]
    for name, share in [*((f"probabilities[{i}]", p) for i, p in enumerate(result.probabilities)), *shares]:
        if not (math.isnan(share) or -_ROUNDING <= share <= 1 + _ROUNDING):
            raise InputError(f"the field {name} of a result is {share!r}; a probability is in [0, 1]")

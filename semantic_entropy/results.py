"""From a group's clustering to its Result: the invalid policy, the estimators, and what a reader should be warned of.

With n responses of which n_valid gave an answer, an invalid answer counts

    separate    as a cluster of its own: p = 1/n over all n responses
    together    with all other invalid ones as one cluster: p over all n
    drop        not at all: its label is -1 and p is over the n_valid

and `normalized` = min(1, H / ln n_valid) under each (0 where n_valid <= 1).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.errors import PluginError
from semantic_entropy.estimators.base import Discrete, EntropyEstimator
from semantic_entropy.pipeline import by_first_appearance
from semantic_entropy.types import (
    Cluster,
    Clustering,
    DecidedBy,
    Estimate,
    Evidence,
    Group,
    Labels,
    Provenance,
    Result,
    Undecided,
    Usage,
)

DROPPED = -1


@dataclass(frozen=True, slots=True)
class Judged:
    """All that a result is made of."""

    group: Group
    answers: tuple[str | None, ...]
    clustering: Clustering
    invalid: str
    estimators: Sequence[EntropyEstimator]
    convention: str
    equivalence: Equivalence
    equivalence_reason: str
    clusterer: str
    extract: str


def assemble(judged: Judged) -> Result:
    """Apply the invalid policy, run the estimators, gather clusters, warnings and provenance."""
    labels = _labels(judged)
    n_valid = sum(answer is not None for answer in judged.answers)
    scores, main, estimator = _estimates(judged, labels)
    probabilities = main.probabilities or ()
    clusters = _clusters(labels, judged.answers, probabilities)
    return Result(
        entropy=main.value,
        normalized=_normalized(main.value, n_valid),
        probabilities=probabilities,
        labels=labels,
        clusters=clusters,
        answer=_answer(clusters),
        answers=judged.answers,
        n_valid=n_valid,
        invalid=len(labels) - n_valid,
        scores=scores,
        warnings=_warnings(judged, n_valid),
        provenance=Provenance(
            convention=judged.convention,
            equivalence=judged.equivalence.describe(),
            equivalence_reason=judged.equivalence_reason,
            clusterer=judged.clusterer,
            estimator=estimator,
            extract=judged.extract,
            invalid=judged.invalid,
            asked=judged.clustering.asked,
            cached=judged.clustering.cached,
            undecided=len(judged.clustering.undecided),
            versions={"semantic-entropy": _own_version(), **judged.equivalence.versions},
            decided_by=tuple(DecidedBy(judge, pairs) for judge, pairs in judged.clustering.decided.items()),
            usage=judged.clustering.usage,
            sampler=judged.group.sampler,
            sampling_usage=_paid(judged.group),
            n=judged.group.n,
        ),
        undecided=tuple(
            Undecided(pair.left, pair.right, reason or "no reason given")
            for pair, reason in judged.clustering.undecided
        ),
        samples=judged.group.samples,
    )


def _paid(group: Group) -> Usage | None:
    """For all that was asked, what did not come included."""
    paid = [usage for usage in (*(sample.usage for sample in group.samples or ()), group.lost_usage) if usage]
    return sum(paid, Usage()) if paid else None


def _labels(judged: Judged) -> Labels:
    """(G,) by first appearance; the valid answers' labels come from the clustering, in order."""
    valid = iter(judged.clustering.labels)
    names: list[object] = []
    for index, answer in enumerate(judged.answers):
        if answer is not None:
            names.append(next(valid))
        else:
            names.append(("invalid", index if judged.invalid == "separate" else None))
    if judged.invalid != "drop":
        return by_first_appearance(names)
    kept = iter(by_first_appearance([name for name in names if isinstance(name, int)]))
    return tuple(next(kept) if isinstance(name, int) else DROPPED for name in names)


def _estimates(judged: Judged, labels: Labels) -> tuple[dict[str, float], Estimate, str]:
    """Every estimator's value by name; the estimate that gives the entropy and the clusters' probabilities; its name.

    That is the first which has probabilities; discrete where none has.
    """
    evidence = _evidence(labels, judged.group)
    names = Counter(estimator.name for estimator in judged.estimators)
    scores: dict[str, float] = {}
    main: tuple[Estimate, str] | None = None
    for estimator in judged.estimators:
        estimate = _estimate(estimator, evidence)
        described = estimator.describe()
        scores[described if names[estimator.name] > 1 else estimator.name] = estimate.value
        if main is None and estimate.probabilities is not None:
            main = estimate, described
    return scores, *(main or (_estimate(Discrete(), evidence), Discrete.name))


def _estimate(estimator: EntropyEstimator, evidence: Evidence) -> Estimate:
    if not evidence.labels:
        return Estimate(math.nan, ())  # no response counts: neither certain nor uncertain, unknown
    estimator.check(evidence)
    estimate = estimator.estimate(evidence)
    clusters = len(set(evidence.labels))
    if math.isnan(estimate.value) or len(estimate.probabilities or range(clusters)) != clusters:
        raise PluginError(
            f"estimator {estimator.name!r} returned {estimate!r:.200} for {clusters} clusters; "
            "it returns a number, and one probability a cluster or none at all"
        )
    return estimate


def _evidence(labels: Labels, group: Group) -> Evidence:
    counted = [i for i, label in enumerate(labels) if label != DROPPED]
    logprobs = tuple(group.logprobs[i] for i in counted) if group.logprobs else None
    return Evidence(tuple(labels[i] for i in counted), logprobs)


def _clusters(labels: Labels, answers: Sequence[str | None], probabilities: Sequence[float]) -> tuple[Cluster, ...]:
    members: list[list[int]] = [[] for _ in probabilities]
    for index, label in enumerate(labels):
        if label != DROPPED:
            members[label].append(index)
    return tuple(
        Cluster(tuple(indices), _representative([answers[i] for i in indices]), share)
        for indices, share in zip(members, probabilities, strict=True)
    )


def _representative(answers: Sequence[str | None]) -> str | None:
    """The cluster's most frequent wording, then the shortest, then by text: the same in any order of responses."""
    if len(answers) == 1:
        return answers[0]
    counts = Counter(answer for answer in answers if answer is not None)
    return min(counts, key=lambda text: (-counts[text], len(text), text)) if counts else None


def _answer(clusters: Sequence[Cluster]) -> str | None:
    valid = [cluster for cluster in clusters if cluster.representative is not None]
    return max(valid, key=lambda cluster: cluster.share).representative if valid else None


def _normalized(entropy: float, n_valid: int) -> float:
    if math.isnan(entropy):
        return math.nan
    return min(1.0, entropy / math.log(n_valid)) if n_valid > 1 else 0.0


_TREATED = {
    "separate": "each counts as a cluster of its own",
    "together": "together they count as one cluster",
    "drop": "left out",
}


def _warnings(judged: Judged, n_valid: int) -> tuple[str, ...]:
    n, undecided = len(judged.answers), judged.clustering.undecided
    warnings = [judged.group.note] if judged.group.note else []
    if n_valid < n:
        warnings.append(
            f"{n - n_valid} of {n} answers are invalid (empty, refusal, nothing to extract): {_TREATED[judged.invalid]}"
        )
    if n_valid < 2:
        warnings.append(f"{n_valid} valid answer{'s' * (n_valid != 1)}: nothing to compare, the entropy says little")
    if undecided:
        pair, reason = undecided[0]
        warnings.append(
            f"{len(undecided)} pairs undecided, counted as different; the first: {pair.left[:60]!r} and "
            f"{pair.right[:60]!r} ({reason or 'no reason given'})"
        )
    return tuple(warnings)


@lru_cache(maxsize=1)
def _own_version() -> str:
    from importlib.metadata import version  # a fifth of this package's import time

    return version("semantic-entropy")

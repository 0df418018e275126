"""Build the `Result` of a group from its answers and clusters: invalid policy, estimators, warnings, provenance.

A group has n responses; n_valid of them have a valid answer. The option `invalid=` says how invalid answers count:

    separate    each invalid answer is a cluster of its own, with p = 1/n
    together    all invalid answers are one cluster; p = cluster size / n
    drop        invalid answers have the label -1 and no cluster; p = cluster size / n_valid

`normalized` = min(1, H / ln n_valid) in all three cases; nan if n_valid < 2, because one answer alone says nothing.
Entropies are in nats. Shapes: G responses, M clusters.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from semantic_entropy.clusters import (
    EVIDENCE_FIELDS,
    WHOLE_TEXT,
    is_doubted,
    is_error_message,
    strip_reasoning,
    without_dropped,
)
from semantic_entropy.contracts import check_requirements, describe, run_estimator
from semantic_entropy.errors import InputError
from semantic_entropy.estimators import Discrete, EntropyEstimator
from semantic_entropy.long_answers import LongAnswer
from semantic_entropy.measuring.similarities import COMPARED
from semantic_entropy.registry import default_registry
from semantic_entropy.results import Cluster, DecidedBy, Provenance, Result, Undecided
from semantic_entropy.types import (
    Clustering,
    Estimate,
    Evidence,
    GivenEvidence,
    Group,
    Labels,
    Sample,
    Usage,
    by_first_appearance,
)

DROPPED = -1


@dataclass(frozen=True, slots=True)
class NamedEstimator:
    """An estimator with its name in `Result.scores` and its description for the provenance."""

    estimator: EntropyEstimator
    name: str
    description: str

    @property
    def reads(self) -> frozenset[str]:
        """The fields of `Evidence` that the estimator reads, besides the labels."""
        return self.estimator.requires | self.estimator.uses


def name_estimators(estimators: Sequence[EntropyEstimator]) -> list[NamedEstimator]:
    """Choose the names for `Result.scores`: the estimator's name, or its description if two names are equal.

    Raises:
        InputError: two estimators have the same name and the same description, so one score would replace the other.
    """
    names = Counter(estimator.name for estimator in estimators)
    named = []
    for estimator in estimators:
        check_requirements(estimator)
        described = describe("estimator", estimator)
        named.append(NamedEstimator(estimator, described if names[estimator.name] > 1 else estimator.name, described))
    twice = [name for name, count in Counter(each.name for each in named).items() if count > 1]
    if twice:
        raise InputError(
            f"two estimators are named {twice[0]!r}, and a result has one score for each name: name each estimator "
            "once; if their options differ, let describe() return the options"
        )
    return named


def check_is_read(given: Iterable[str], estimators: Sequence[NamedEstimator]) -> None:
    """Raise InputError if no estimator reads a field of `Evidence` that the caller gave, so that it changes nothing."""
    read = frozenset[str]().union(*(each.reads for each in estimators))
    if read & COMPARED:
        read |= {"similarity"}  # a matrix compares no tokens and sentences: the estimator says what to pass
    if "greedy_similarity" in read:
        read |= {"greedy"}  # it is computed from the answer
    for name in sorted(set(given) - read):
        named = ", ".join(each.name for each in estimators)
        hint = "; the judge that makes the clusters is equivalence=" if name == "similarity" else ""
        raise InputError(
            f"{name}= is given, and no estimator of this call reads it ({named}). These read it: "
            f"{', '.join(_readers(name)) or 'none'}. Name one in estimator=, or leave {name}= out{hint}"
        )


def _readers(field: str) -> Iterator[str]:
    """The names of the registered estimators that read this field of `Evidence`."""
    registry = default_registry()
    for entry in registry.entries("estimator"):
        with contextlib.suppress(Exception):  # a plugin that cannot be loaded is no part of this error
            component: Any = entry.component.load()
            if field in component.requires | component.uses:
                yield registry.name_of(entry)


@dataclass(frozen=True, slots=True)
class Method:
    """The part of the provenance that groups with the same judge share."""

    convention: str
    equivalence: str
    equivalence_reason: str
    clusterer: str
    extract: str
    invalid: str
    versions: Mapping[str, str]
    similarity: str | None = None
    replies_by: str | None = None
    model: str | None = None


def build_result(
    group: Group,
    answers: tuple[str | None, ...],
    clustering: Clustering,
    labels: Labels,
    evidence: Evidence,
    estimates: Sequence[tuple[NamedEstimator, Estimate]],
    method: Method,
    replies_usage: Usage | None = None,
) -> Result:
    """Collect the scores, clusters, warnings and provenance of a group.

    Args:
        group: the responses.
        answers: (G,) the answer in each response; None: invalid.
        clustering: the clusters of the valid answers.
        labels: (G,) the label of each response; -1: dropped.
        evidence: what the estimators read.
        estimates: the estimates, with their estimators.
        method: how the group was measured.
        replies_usage: the cost of the model's replies to prompts of estimators.
    """
    n_valid = len(answers) - answers.count(None)
    main, main_name = _main(estimates, evidence)
    probabilities = main.probabilities or ()
    clusters = _clusters(labels, answers, probabilities)
    return Result(
        entropy=main.value,
        normalized=_normalized(main.value, n_valid),
        probabilities=probabilities,
        labels=labels,
        clusters=clusters,
        answer=_answer(clusters),
        answers=answers,
        n_valid=n_valid,
        invalid=len(labels) - n_valid,
        scores={named.name: estimate.value for named, estimate in estimates},
        warnings=(
            *_warnings(group, answers, n_valid, clustering, method),
            *[estimate.note for _, estimate in estimates if estimate.note],
        ),
        provenance=Provenance(
            convention=method.convention,
            equivalence=method.equivalence,
            equivalence_reason=method.equivalence_reason,
            clusterer=method.clusterer,
            estimator=main_name,
            extract=method.extract,
            invalid=method.invalid,
            asked=group.asked + clustering.asked,
            cached=max(0, clustering.cached - group.asked),  # the verdicts of earlier rounds are in the cache
            undecided=len(clustering.undecided),
            versions=method.versions,
            decided_by=tuple([DecidedBy(judge, pairs) for judge, pairs in clustering.decided.items()]),
            usage=_sum(group.judging_usage, clustering.usage),
            sampler=group.sampler,
            sampling_usage=_sampling_usage(group) if group.samples or group.lost_usage else None,
            n=group.n,
            similarity=method.similarity,
            replies_by=method.replies_by,
            replies_usage=replies_usage,
            model=method.model,
            estimators=tuple([named.description for named, _ in estimates]),
            stopping_rule=group.stopping_rule,
            cut_off=_n_cut_off(group),
        ),
        undecided=tuple(
            [Undecided(pair.left, pair.right, reason or "no reason given") for pair, reason in clustering.undecided]
        ),
        samples=group.samples,
        greedy_sample=_drawn_greedy(group),
    )


_MOSTLY_ALONE = 0.8  # meanings for each answer: then the entropy is near its maximum, whatever the model knows


def with_long_answer(result: Result, answer: LongAnswer | None, warnings: Sequence[str]) -> Result:
    """Return the result with the sentences of its long answer, and with what this says about its entropy."""
    notes = list(warnings)
    meanings = sum(cluster.representative is not None for cluster in result.clusters)
    if answer and result.n_valid > 1 and meanings >= _MOSTLY_ALONE * result.n_valid:
        notes.append(
            f"{meanings} meanings in {result.n_valid} long answers: compared as wholes, long answers seldom mean the "
            f"same, so the entropy says little; result.long_answer has the uncertainty of each {answer.unit}"
        )
    if not answer and not notes:
        return result
    provenance = replace(result.provenance, claims_by=answer.claims_by) if answer else result.provenance
    return replace(result, long_answer=answer, warnings=(*result.warnings, *notes), provenance=provenance)


def _sampling_usage(group: Group) -> Usage | None:
    """Return the usage of sampling, including the usage of responses that did not arrive."""
    drawn = [*(group.samples or ()), _drawn_greedy(group)]
    return _sum(*(sample.usage for sample in drawn if sample), group.lost_usage)


def _drawn_greedy(group: Group) -> Sample | None:
    return group.evidence.greedy if group.evidence and group.samples else None


def _sum(*usages: Usage | None) -> Usage | None:
    paid = [usage for usage in usages if usage]
    return sum(paid, Usage()) if paid else None


def _labels(answers: Sequence[str | None], valid_labels: Labels, invalid: str) -> Labels:
    """Return labels (G,) by first appearance, from the labels of the valid answers."""
    if len(valid_labels) == len(answers):
        return valid_labels
    valid = iter(valid_labels)
    if invalid == "drop":
        return tuple([DROPPED if answer is None else next(valid) for answer in answers])
    clusters: list[object] = [
        ("invalid", index if invalid == "separate" else None) if answer is None else next(valid)
        for index, answer in enumerate(answers)
    ]
    return by_first_appearance(clusters)


def build_evidence(
    group: Group, answers: tuple[str | None, ...], valid_labels: Labels, invalid: str
) -> tuple[Labels, Evidence]:
    """Return the labels (G,) of the group, and the evidence on the responses that are not dropped.

    Args:
        group: the responses, and what is known about them.
        answers: (G,) the answer in each response; None: invalid.
        valid_labels: the labels of the valid answers, in order.
        invalid: the policy for invalid answers.
    """
    labels = _labels(answers, valid_labels, invalid)
    given = group.evidence or GivenEvidence()
    responses, logprobs, counted_labels = group.responses, group.logprobs or None, labels
    texts = tuple([response if answer is None else answer for response, answer in zip(responses, answers, strict=True)])
    if DROPPED in labels:
        counted = [i for i, label in enumerate(labels) if label != DROPPED]
        given = without_dropped(given, counted)
        responses, texts = tuple([responses[i] for i in counted]), tuple([texts[i] for i in counted])
        counted_labels = tuple([labels[i] for i in counted])
        logprobs = tuple([logprobs[i] for i in counted]) if logprobs else None
        answers = tuple([answers[i] for i in counted])
    known = {name: value for name in EVIDENCE_FIELDS if (value := getattr(given, name)) is not None}
    return labels, Evidence(counted_labels, logprobs, responses, texts, group.question, answers=answers, **known)


def _main(estimates: Sequence[tuple[NamedEstimator, Estimate]], evidence: Evidence) -> tuple[Estimate, str]:
    """Return the main estimate, and the description of its estimator.

    The main estimate sets `Result.entropy` and the probabilities. It is the first estimate with probabilities; the
    discrete estimate if no estimate has probabilities.
    """
    for named, estimate in estimates:
        if estimate.probabilities is not None:
            return estimate, named.description
    return run_estimator(Discrete(), [evidence])[0], Discrete.name


def _clusters(labels: Labels, answers: Sequence[str | None], probabilities: Sequence[float]) -> tuple[Cluster, ...]:
    members: list[list[int]] = [[] for _ in probabilities]
    wordings: list[dict[str, int]] = [{} for _ in probabilities]
    for index, (label, answer) in enumerate(zip(labels, answers, strict=True)):
        if label != DROPPED:
            members[label].append(index)
            if answer is not None:
                wordings[label][answer] = wordings[label].get(answer, 0) + 1
    return tuple(
        [
            Cluster(tuple(indices), _representative(counts), share)
            for indices, counts, share in zip(members, wordings, probabilities, strict=True)
        ]
    )


def _representative(counts: Mapping[str, int]) -> str | None:
    """Return the most frequent answer of a cluster. If several are equally frequent: the shortest, then by text."""
    if len(counts) < 2:
        return next(iter(counts), None)
    return min([(-count, len(answer), answer) for answer, count in counts.items()])[2]


def _answer(clusters: Sequence[Cluster]) -> str | None:
    valid = [cluster for cluster in clusters if cluster.representative is not None]
    return max(valid, key=lambda cluster: cluster.share).representative if valid else None


def _normalized(entropy: float, n_valid: int) -> float:
    return min(1.0, entropy / math.log(n_valid)) if n_valid > 1 else math.nan  # nan stays nan


_INVALID_COUNTS_AS = {
    "separate": "each counts as a cluster of its own",
    "together": "together they count as one cluster",
    "drop": "left out",
}


def _warnings(
    group: Group, answers: Sequence[str | None], n_valid: int, clustering: Clustering, method: Method
) -> tuple[str, ...]:
    n, undecided = len(answers), clustering.undecided
    warnings = [group.note] if group.note else []
    if n_valid < n:
        warnings.append(
            f"{n - n_valid} of {n} answers are invalid (empty, refusal, nothing to extract): "
            f"{_INVALID_COUNTS_AS[method.invalid]}"
        )
        warnings += _errors(group, answers)
    if n_valid < 2:
        warnings.append(f"{n_valid} valid answer{'s' * (n_valid != 1)}: nothing to compare, the entropy says little")
    warnings += _placeholders(answers, method)
    warnings += _cut_off(group)
    if undecided:
        pair, reason = undecided[0]
        warnings.append(
            f"{len(undecided)} of {clustering.asked + clustering.cached} pairs undecided, counted as different; the "
            f"first: {pair.left[:60]!r} and "
            f"{pair.right[:60]!r} ({reason or 'no reason given'})"
        )
    return tuple(warnings)


def _errors(group: Group, answers: Sequence[str | None]) -> list[str]:
    """Warn of error messages in place of answers: a client that failed has put them there."""
    missing = [strip_reasoning(r) for r, answer in zip(group.responses, answers, strict=True) if answer is None]
    if not (errors := [response.strip() for response in missing if is_error_message(response)]):
        return []
    return [f"{len(errors)} of {len(answers)} responses are error messages, such as {errors[0][:80]!r}: ask again"]


def _placeholders(answers: Sequence[str | None], method: Method) -> list[str]:
    """Warn of answers such as `None`."""
    found = [answer for answer in answers if is_doubted(answer, method.extract)]
    if not found:
        return []
    many = f"{len(found)} of {len(answers)} answers may stand for a missing one, such as {found[0]!r}"
    return [f"{many}: if it is an answer to this question, pass {WHOLE_TEXT}"]


def _n_cut_off(group: Group) -> int:
    return (group.cut_off or 0) + sum(sample.finish_reason == "length" for sample in group.samples or ())


_LONGEST_BEGINNING, _SHARE_OF_SHORTEST = 40, 0.6  # characters, share: shorter common beginnings are usual


def _cut_off(group: Group) -> list[str]:
    """Warn of responses that end at the token limit: they look alike, because their answers are missing."""
    if cut := _n_cut_off(group):
        many = f"{cut} of {len(group.responses)} responses were cut off at the token limit (finish_reason: length)"
        return [f"{many}, and their answers may be missing: raise the limit (max_tokens)"]
    if group.samples or len(group.responses) < 2:
        return []
    texts = [response.rstrip() for response in group.responses]
    first, last = min(texts), max(texts)  # the common beginning of these two is the common beginning of all
    common = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    alike = common >= max(_LONGEST_BEGINNING, _SHARE_OF_SHORTEST * min(map(len, texts)))
    if alike and all(text[-1].isalpha() or text[-1] in ",-" for text in texts):
        what = f"all responses begin with the same {common} characters and none ends its sentence"
        return [f"{what}: they may be cut off at a token limit, with their answers missing"]
    return []


@lru_cache(maxsize=1)
def package_version() -> str:
    """Return the installed version of this package."""
    from importlib.metadata import version  # this import would take a fifth of the package's import time

    return version("semantic-entropy")

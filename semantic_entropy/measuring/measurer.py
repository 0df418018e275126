"""Measure checked groups: extract answers, cluster them, compare texts, run the estimators, build the results."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TypeAlias

from semantic_entropy.clusters import Clusterer, Convention, Equivalence
from semantic_entropy.contracts import clusterer_for, component_versions, describe, extract_answers, run_estimator
from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.estimators import EntropyEstimator
from semantic_entropy.measuring.judges import AUTO, Resources, first_suited
from semantic_entropy.measuring.pipeline import Job, run
from semantic_entropy.measuring.replies import Interviewer
from semantic_entropy.measuring.result_builder import (
    Method,
    NamedEstimator,
    build_evidence,
    build_result,
    name_estimators,
    package_version,
    with_long_answer,
)
from semantic_entropy.measuring.similarities import COMPARED, Similarity, computed_fields, with_similarities
from semantic_entropy.measuring.supporting_samples import Assessment, LongAnswerMeasurer
from semantic_entropy.registry import as_estimator
from semantic_entropy.results import Result
from semantic_entropy.sampling import Sampler
from semantic_entropy.types import Clustering, Estimate, Evidence, Extractor, Group, Usage

AnyEstimator: TypeAlias = str | EntropyEstimator
_Answers = tuple[str | None, ...]
_Chosen = tuple[Equivalence, str]
"""The judge of a group, and the reason why it was chosen."""


@dataclass(frozen=True, slots=True)
class Measurer:
    """Measures groups with fixed choices.

    Attributes:
        resources: the judges that `auto` chooses from, and the verdict cache.
        equivalence: the judge; None: `auto` chooses one for each group.
        clusterer: the clusterer.
        estimators: the estimators, with their names in the results.
        are_named: whether the user named the estimators. An estimator of a convention is skipped for a group without
            its evidence.
        convention: the name of the convention.
        extract: finds the answer in a response; None: the default of the judge.
        extract_name: the name of `extract`.
        invalid: the policy for invalid answers.
        similarity: how texts are compared; None: no estimator reads a similarity.
        sampler: the sampler that draws responses, if there is one.
        interviewer: asks the sampler the prompts of estimators, if there is a sampler.
        model: the model that gave the responses that no sampler drew, in the words of the caller.
        long_answers: measures long answers sentence by sentence; None: no answer is taken for a long one.
    """

    resources: Resources
    equivalence: Equivalence | None
    clusterer: Clusterer
    estimators: Sequence[NamedEstimator]
    are_named: bool
    convention: str
    extract: Extractor | None
    extract_name: str
    invalid: str
    similarity: Similarity | None
    sampler: Sampler | None
    interviewer: Interviewer | None = None
    model: str | None = None
    long_answers: LongAnswerMeasurer | None = None

    def without_scores(self) -> Measurer:
        """Return a measurer for the rounds of `n="auto"`, which computes only the entropy that the rule compares."""
        return replace(self, estimators=self.estimators[:1], similarity=None, interviewer=None, long_answers=None)

    def candidates(self) -> list[_Chosen]:
        """Return the candidate judges with the reasons for `Provenance`. The last judge suits all responses."""
        if self.equivalence:
            return [(self.equivalence, "as asked")]
        *judges, fallback = map(self.resources.judge, AUTO)
        suited = [(judge, f"auto: the responses suit {judge.name}") for judge in judges]
        return [*suited, (fallback, f"auto: the responses are not {' or '.join(judge.name for judge in judges)}")]

    def method(self, judge: Equivalence, reason: str, clusterer: Clusterer) -> Method:
        """Return how groups with this judge are measured: what is known of it before a group is measured."""
        return Method(
            convention=self.convention,
            equivalence=describe("equivalence", judge),
            equivalence_reason=reason,
            clusterer=describe("clusterer", clusterer),
            extract=self.extract_name if self.extract else f"default of {judge.name}",
            invalid=self.invalid,
            versions={},
            similarity=self.compared_by(self.similarity.name if self.similarity else None),
            replies_by=self.interviewer.by if self.interviewer else None,
            model=self.model,
        )

    def measure(self, groups: Sequence[Group]) -> list[Result]:
        """Measure groups in one run of the pipeline."""
        self._check_evidence(groups)
        candidates = self.candidates()
        clusterers: dict[int, Clusterer] = {}  # by the id of the judge
        chosen: list[_Chosen] = []
        answers: list[_Answers] = []
        jobs: list[Job] = []
        for group in groups:
            found = tuple(map(self.extract, group.responses)) if self.extract else None
            judge, reason = first_suited(candidates, group, found)
            found = extract_answers(judge, group.responses) if found is None else found
            if id(judge) not in clusterers:
                clusterers[id(judge)] = clusterer_for(self.clusterer, judge)
            valid = [answer for answer in found if answer is not None]
            jobs.append(Job(group.question, valid, judge, clusterers[id(judge)]))
            chosen.append((judge, reason))
            answers.append(found)
        clusterings = run(jobs, self.resources.cache)
        similarities: list[str | None] = [None] * len(groups)
        if self.similarity:
            reads = COMPARED & frozenset[str]().union(*[each.reads for each in self.estimators])
            computed = [computed_fields(group.evidence) & reads - {"greedy_similarity"} for group in groups]
            similarities = [self.similarity.name if fields else "given" for fields in computed]
            groups = self._with_similarities(self.similarity, reads, groups, answers, jobs)
        long = [Assessment(None)] * len(groups)
        if self.long_answers:
            long = self.long_answers.measure(groups, answers)
        return self._results(
            groups, answers, jobs, chosen, clusterings, list(map(self.compared_by, similarities)), long
        )

    def compared_by(self, similarity: str | None) -> str | None:
        """Return how texts are compared for the estimators: by a similarity, and by the scorer of long answers."""
        if not self.long_answers or not any("long_answer" in each.estimator.requires for each in self.estimators):
            return similarity
        support = f"support by {self.long_answers.description}"
        return support if similarity is None else f"{similarity}; {support}"

    def _check_evidence(self, groups: Sequence[Group]) -> None:
        """Raise EvidenceError for a group without the evidence of an estimator, before a judge is asked, and paid."""
        named = [each.estimator for each in self.estimators if self.are_named and each.estimator.requires]
        for i, group in enumerate(groups if named else ()):
            labels = tuple(range(len(group.responses)))
            _, evidence = build_evidence(group, group.responses, labels, self.invalid)
            computed = computed_fields(group.evidence) | ({"replies"} if self.interviewer else set())
            computed |= {"long_answer"} if self.long_answers and self.long_answers.asked else set()
            for estimator in named:
                if evidence.labels and not all(map(evidence.has, estimator.requires - computed)):
                    n = len(evidence.labels)  # the similarities come later: they are not what is missing
                    compared = tuple(tuple(float(i == j) for j in range(n)) for i in range(n))
                    try:
                        run_estimator(estimator, [replace(evidence, similarity=compared)])  # raises its own message
                    except EvidenceError as error:
                        raise EvidenceError(f"group {i}: {error}" if len(groups) > 1 else str(error)) from None

    def _with_similarities(
        self,
        similarity: Similarity,
        reads: AbstractSet[str],
        groups: Sequence[Group],
        answers: Sequence[_Answers],
        jobs: Sequence[Job],
    ) -> list[Group]:
        texts, greedy = [], []
        for group, found, job in zip(groups, answers, jobs, strict=True):
            texts.append([answer or "" for answer in found])
            answer = group.evidence.greedy.text if group.evidence and group.evidence.greedy else None
            if answer is not None:
                extracted = self.extract(answer) if self.extract else extract_answers(job.equivalence, [answer])[0]
                answer = extracted or ""
            greedy.append(answer)
        return with_similarities(groups, texts, greedy, similarity, reads, float(self.invalid == "together"))

    def _results(
        self,
        groups: Sequence[Group],
        answers: Sequence[_Answers],
        jobs: Sequence[Job],
        chosen: Sequence[_Chosen],
        clusterings: Sequence[Clustering],
        similarities: Sequence[str | None],
        long: Sequence[Assessment],
    ) -> list[Result]:
        built = [
            build_evidence(group, found, clustering.labels, self.invalid)
            for group, found, clustering in zip(groups, answers, clusterings, strict=True)
        ]
        evidences, costs = self._ask(
            [replace(evidence, long_answer=each.answer) for (_, evidence), each in zip(built, long, strict=True)]
        )
        estimates = self._estimates(evidences)
        methods: dict[tuple[int, str, str | None, str | None], Method] = {}
        results = []
        for i, (group, job, (judge, reason)) in enumerate(zip(groups, jobs, chosen, strict=True)):
            key = id(judge), reason, group.sampler, similarities[i]
            if key not in methods:  # after the run: some judges know their versions only then
                versions = {"semantic-entropy": package_version(), **self._versions(judge, group)}
                model = None if group.sampler else self.model
                methods[key] = replace(
                    self.method(judge, reason, job.clusterer),
                    versions=versions,
                    similarity=similarities[i],
                    model=model,
                )
            found = build_result(
                group, answers[i], clusterings[i], built[i][0], evidences[i], estimates[i], methods[key], costs[i]
            )
            results.append(with_long_answer(found, *long[i]))
        return results

    def _ask(self, evidences: list[Evidence]) -> tuple[list[Evidence], list[Usage | None]]:
        """Return the evidence with the replies of the model to the prompts of estimators, and their costs."""
        estimators = [each.estimator for each in self.estimators if "replies" in each.estimator.requires]
        if not estimators or not self.interviewer:
            return evidences, [None] * len(evidences)
        asked = self.interviewer.ask(estimators, evidences)
        return [evidence for evidence, _ in asked], [cost for _, cost in asked]

    def _estimates(self, evidences: Sequence[Evidence]) -> list[list[tuple[NamedEstimator, Estimate]]]:
        """Run each estimator on all groups that have its evidence, in one call."""
        estimates: list[list[tuple[NamedEstimator, Estimate]]] = [[] for _ in evidences]
        for named in self.estimators:
            needs = () if self.are_named else named.estimator.requires
            chosen = [i for i, evidence in enumerate(evidences) if all(map(evidence.has, needs))]
            found = run_estimator(named.estimator, [evidences[i] for i in chosen])
            for i, estimate in zip(chosen, found, strict=True):
                estimates[i].append((named, estimate))
        return estimates

    def _versions(self, judge: Equivalence, group: Group) -> dict[str, str]:
        """Return the versions of the judge, and of the sampler that drew the responses."""
        versions = component_versions("equivalence", judge)
        if group.sampler and self.sampler:
            versions = {**component_versions("sampler", self.sampler), **versions}
        return versions


def chosen_estimators(
    given: AnyEstimator | Sequence[AnyEstimator] | None, convention: Convention, long: bool | None
) -> list[NamedEstimator]:
    """Return the estimators of a run, with their names.

    Args:
        given: a name, an estimator, or several; None: those of the convention.
        convention: the convention.
        long: whether all answers are measured sentence by sentence, so that their score belongs to the convention's.

    Raises:
        InputError: there are none, or two have the same name.
    """
    given = [*convention.estimators, *(["unsupported"] if long else [])] if given is None else given
    many = list(given) if isinstance(given, list | tuple) else [given]
    if not many:
        raise InputError("estimator=[] is empty: name at least one, or leave it out for the convention's")
    return name_estimators([as_estimator(each) for each in many])

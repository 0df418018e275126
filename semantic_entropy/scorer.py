"""Scorer: the choices made once. `estimate` makes one for a single call.

    responses -> groups -> answers -> clusters -> probabilities -> entropy -> Result

A scorer owns what is dear to make: judges loaded by name (their worker processes and models) and the verdict cache.
It may be used from any thread, and closes what it loaded; a judge that you built and handed in stays yours to close.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, Self, TypeAlias, get_args, overload

from semantic_entropy.cache.memory import VerdictCache
from semantic_entropy.clusters.answers import load_extractor, strip_reasoning
from semantic_entropy.clusters.clusterers import Clusterer
from semantic_entropy.clusters.conventions import load_convention
from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.clusters.groups import is_batch, many_groups, one_group
from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.estimators.base import EntropyEstimator
from semantic_entropy.pipeline import Job, extracted, run
from semantic_entropy.progress import run_cancellable
from semantic_entropy.registry.components import (
    as_clusterer,
    as_equivalence,
    as_estimator,
    as_sampler,
    load_clusterer,
)
from semantic_entropy.resources import Resources
from semantic_entropy.results import Judged, assemble
from semantic_entropy.sampling import Sampler, SampleStore, SamplingRun, check_questions, sample_and_measure
from semantic_entropy.tables import TableT, as_table, measure_table
from semantic_entropy.types import BatchResult, Clustering, Extractor, Group, Result

AnyEquivalence: TypeAlias = str | Equivalence | Callable[[str, str], bool | None]
AnyEstimator: TypeAlias = str | EntropyEstimator
InvalidPolicy = Literal["separate", "drop", "together"]
Tokens: TypeAlias = Sequence[Sequence[float]]

AUTO = ("semantic-entropy/math", "semantic-entropy/text")  # the first that suits a group's responses judges it


class Scorer:
    """Semantic entropy with the choices made once.

    Args:
        equivalence: who means the same: a name, an `Equivalence`, or a function of two strings. None or "auto": `math`
            where the responses are mathematics, else `text`, decided group by group.
        clusterer: a name or a `Clusterer`. None: the convention's.
        estimator: a name, an `EntropyEstimator`, or a list of them; the first that has probabilities gives the
            entropy. None: all of the convention's whose evidence is there.
        convention: fills in what is None: "default", "lm-polygraph", "nature-2024", "uqlm".
        extract: how an answer is found in a response: "boxed", "choice", "number", "last-line", "whole",
            "regex:PATTERN", or a function. None: the equivalence's own way.
        invalid: what an invalid answer counts as: "separate" (a cluster of its own), "drop", "together" (one cluster).
        cache_size: how many verdicts to remember.
        cache: an SQLite file that keeps verdicts from run to run and shares them with other processes. Only those of
            judges that say their `settings` in plain values; a plain function's stay in memory.
        sampler: who draws the responses where you give a question alone: a name or a `Sampler`.
        n: how many responses to draw for a question.
        samples: a file (JSON lines) that keeps every response as it is drawn; what it holds is not asked for again.

    Raises:
        InputError: a choice that does not exist; at construction, not in the middle of a run.
        UnknownComponentError: no component of that name; lists those that exist.
        MissingDependencyError: names the extra to install.
    """

    def __init__(
        self,
        equivalence: AnyEquivalence | None = None,
        clusterer: str | Clusterer | None = None,
        estimator: AnyEstimator | Sequence[AnyEstimator] | None = None,
        *,
        convention: str = "default",
        extract: str | Extractor | None = None,
        invalid: InvalidPolicy = "separate",
        cache_size: int = 100_000,
        cache: str | PathLike[str] | None = None,
        sampler: str | Sampler | None = None,
        n: int = 10,
        samples: str | PathLike[str] | None = None,
        _resources: Resources | None = None,
    ) -> None:
        if n < 1:
            raise InputError(f"n={n} must be at least 1: it is how many responses to draw for a question")
        if samples is not None and sampler is None:
            raise InputError(f"samples={str(samples)!r} keeps what a sampler draws: pass sampler= too")
        if invalid not in get_args(InvalidPolicy):
            raise InputError(f"invalid={invalid!r} is unknown: use one of {', '.join(get_args(InvalidPolicy))}")
        self._owned = None if _resources else Resources(cache_size, cache)
        self._resources = _resources or self._owned or Resources()
        self.invalid: InvalidPolicy = invalid
        self.convention = load_convention(convention)
        usual = self.convention.clusterer, dict(self.convention.clusterer_options)
        self.clusterer = load_clusterer(usual[0], **usual[1]) if clusterer is None else as_clusterer(clusterer)
        self._thorough = (
            load_clusterer(usual[0], **usual[1], pick="all")
            if clusterer is None and self.convention.thorough
            else self.clusterer
        )
        self._estimators = None if estimator is None else _estimators(estimator)
        self._usual = _estimators(self.convention.estimators)
        self._extract = None if extract is None else load_extractor(extract)
        self._extract_name = extract if isinstance(extract, str) else getattr(extract, "__name__", "") or repr(extract)
        self._equivalence = self._judge(equivalence)
        self.n = n
        self.sampler = None if sampler is None else as_sampler(sampler)
        self._close_sampler = isinstance(sampler, str)
        self.store = None if samples is None else SampleStore(samples)
        self._closed = False

    @property
    def cache(self) -> VerdictCache:
        """The verdicts it remembers; its str() counts what came from the file and went there."""
        return self._resources.cache

    @overload
    def estimate(
        self, responses: Sequence[str], *, question: str | None = None, logprobs: Tokens | None = None
    ) -> Result: ...
    @overload
    def estimate(self, responses: None = None, *, question: str) -> Result: ...
    @overload
    def estimate(
        self, responses: None = None, *, question: list[str] | tuple[str, ...], progress: bool | None = None
    ) -> BatchResult: ...
    @overload
    def estimate(
        self,
        responses: Sequence[list[str] | tuple[str, ...]],
        *,
        question: Sequence[str | None] | None = None,
        logprobs: Sequence[Tokens | None] | None = None,
    ) -> BatchResult: ...
    @overload
    def estimate(
        self, responses: TableT, *, question: str | None = None, logprobs: str | None = None, column: str | None = None
    ) -> TableT: ...
    def estimate(
        self,
        responses: Any = None,
        *,
        question: Any = None,
        logprobs: Any = None,
        column: str | None = None,
        progress: bool | None = None,
    ) -> Any:
        """Measure one group (a list of str), many in one run (a list of lists, `question` a list), or a table.

        A pandas or polars frame, or a `datasets.Dataset`, comes back with the fields of each row's `Result` as columns.
        Without responses, this scorer's sampler draws them for the question, or for each of a list of questions; groups
        are judged while others are being drawn.

        Args:
            responses: (G,) sampled responses to one question, or (B, G) ragged, or a table with a row for each group.
            question: the question, or (B,) questions; of a table the column, "question" where there is one.
            logprobs: token log-probabilities in nats, ragged (G, tokens), or (B, G, tokens); of a table the column,
                "logprobs" where there is one.
            column: of a table, the column that holds the responses; None: "responses".
            progress: a progress bar while questions are asked; None: for several of them, on a terminal.

        Raises:
            InputError: names the group, the response and the value.
            EvidenceError: an estimator asked for by name lacks its evidence; names the response that has none.
            EquivalenceError: the judge broke its contract, or its model or server is away.
            SamplingError: the sampler's model or server is away, or refuses; `samples=` keeps what it had drawn.
        """
        return self._estimate(responses, question, logprobs, column, progress)

    async def aestimate(
        self,
        responses: Any = None,
        *,
        question: Any = None,
        logprobs: Any = None,
        column: str | None = None,
        progress: bool | None = None,
    ) -> Any:
        """`estimate` without blocking the event loop; the same arguments, and what it returns.

        A cancelled task asks sampler and judge for nothing more: within half a second, of those that look at
        `semantic_entropy.plugin.is_cancelled` (all that talk to a server), else after what is under way.
        """
        return await run_cancellable(self._estimate, responses, question, logprobs, column, progress)

    def measure(self, groups: Sequence[Group]) -> list[Result]:
        """Groups that have been checked, in one pipeline run. Raises as `estimate`."""
        prepared = [self._prepare(group) for group in groups]
        jobs = [
            Job(
                p.group.question, [a for a in p.answers if a is not None], p.equivalence, self._clusterer(p.equivalence)
            )
            for p in prepared
        ]
        clusterings = run(jobs, self._resources.cache)
        return [self._result(p, clustering) for p, clustering in zip(prepared, clusterings, strict=True)]

    def close(self) -> None:
        """Close the judges this scorer loaded. It cannot be used afterwards; may be called twice."""
        self._closed = True
        if self._owned:
            self._owned.close()
        if self.sampler and self._close_sampler:
            self.sampler.close()
        if self.store:
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _estimate(self, responses: Any, question: Any, logprobs: Any, column: str | None, progress: bool | None) -> Any:
        if self._closed:
            raise SemanticEntropyError("this Scorer is closed: make a new one")
        if responses is None:
            if logprobs is not None or column is not None:
                raise InputError("logprobs and column belong to responses, and none were given")
            return self._ask(question, progress)
        if table := as_table(responses):
            return measure_table(table, self.measure, column, question, logprobs)
        if column is not None:
            raise InputError(f"column={column!r} is for a table, and responses is a {type(responses).__name__}")
        if is_batch(responses):
            return BatchResult(self.measure(many_groups(responses, question, logprobs)))
        return self.measure([one_group(responses, question, logprobs)])[0]

    def _ask(self, question: Any, progress: bool | None) -> Any:
        if self.sampler is None or question is None:
            raise InputError(
                "estimate() needs responses (several answers to one question, as a list of str), or a question and a "
                "sampler that asks it: question=..., sampler=load_sampler(...)"
            )
        questions = check_questions(question)
        shown = len(questions) > 1 and sys.stderr.isatty() if progress is None else progress
        sampling_run = SamplingRun(self.sampler, self.n, self.store)
        results = sample_and_measure(sampling_run, questions, self.measure, progress=shown)
        return results[0] if isinstance(question, str) else BatchResult(results)

    def _prepare(self, group: Group) -> _Prepared:
        answers = tuple(map(self._extract, group.responses)) if self._extract else None
        equivalence, reason = self._choose(group, answers)
        return _Prepared(group, equivalence, reason, answers or extracted(equivalence, group.responses))

    def _choose(self, group: Group, answers: Sequence[str | None] | None) -> tuple[Equivalence, str]:
        """The judge as asked; else the first candidate that suits what there is to compare."""
        if self._equivalence:
            return self._equivalence, "as asked"
        shown = [a or "" for a in answers] if answers else list(map(strip_reasoning, group.responses))
        *candidates, fallback = map(self._resources.judge, AUTO)
        for judge in candidates:
            if judge.suits(shown):
                return judge, f"auto: the responses suit {judge.name}"
        return fallback, f"auto: the responses are not {' or '.join(judge.name for judge in candidates)}"

    def _clusterer(self, equivalence: Equivalence) -> Clusterer:
        return self._thorough if equivalence.thorough else self.clusterer

    def _result(self, prepared: _Prepared, clustering: Clustering) -> Result:
        return assemble(
            Judged(
                group=prepared.group,
                answers=prepared.answers,
                clustering=clustering,
                invalid=self.invalid,
                estimators=self._estimators or [e for e in self._usual if _fed(e, prepared.group)],
                convention=self.convention.name,
                equivalence=prepared.equivalence,
                equivalence_reason=prepared.reason,
                clusterer=self._clusterer(prepared.equivalence).describe(),
                extract=self._extract_name if self._extract else f"default of {prepared.equivalence.name}",
            )
        )

    def _judge(self, equivalence: AnyEquivalence | None) -> Equivalence | None:
        if equivalence is None or equivalence == "auto":
            return None
        return self._resources.judge(equivalence) if isinstance(equivalence, str) else as_equivalence(equivalence)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A group with its judge and its extracted answers."""

    group: Group
    equivalence: Equivalence
    reason: str
    answers: tuple[str | None, ...]


def _estimators(given: AnyEstimator | Sequence[AnyEstimator]) -> list[EntropyEstimator]:
    many = list(given) if isinstance(given, list | tuple) else [given]
    if not many:
        raise InputError("estimator=[] is empty: name at least one, or leave it out for the convention's")
    return [as_estimator(one) for one in many]


def _fed(estimator: EntropyEstimator, group: Group) -> bool:
    return all(getattr(group, need, None) is not None for need in estimator.requires)

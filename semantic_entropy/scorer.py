"""The main interface for many calls: `Scorer`. The functions for one call are in `semantic_entropy.one_call`.

    responses -> groups -> answers -> clusters -> probabilities -> entropy -> Result

A scorer owns the judges that it loads by name (with their worker processes and models) and a verdict cache.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Protocol, Self, TypeAlias, TypedDict, Unpack, get_args, overload

from semantic_entropy.cache import VerdictCache
from semantic_entropy.clusters import (
    EVIDENCE_FIELDS,
    Clusterer,
    Equivalence,
    as_lists,
    evidence_arguments,
    is_batch,
    load_convention,
    load_extractor,
    many_groups,
    one_group,
)
from semantic_entropy.decisions.calibrated_measuring import CalibratedMeasurer, as_calibration
from semantic_entropy.decisions.calibration import Calibration
from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.estimators import Discrete
from semantic_entropy.measuring import (
    COMPARED,
    JACCARD,
    NO_SENTENCES,
    AnyClaims,
    AnyEstimator,
    AnySimilarity,
    AnySupport,
    Interviewer,
    LongChoices,
    Measurer,
    Options,
    Resources,
    Similarity,
    check_is_read,
    check_options,
    chosen_estimators,
    load_similarity,
    measurer_of,
)
from semantic_entropy.progress import run_cancellable
from semantic_entropy.registry import (
    as_clusterer,
    as_equivalence,
    as_sampler,
    default_registry,
    load_clusterer,
)
from semantic_entropy.results import BatchResult, Result
from semantic_entropy.sampling import (
    AdaptiveRun,
    GreedyRun,
    Sampler,
    SampleStore,
    SamplingRun,
    check_questions,
    sample_and_measure,
    stopping_rule,
)
from semantic_entropy.tables import TableT, as_table, measure_table
from semantic_entropy.types import Extractor, Group

AnyEquivalence: TypeAlias = str | Equivalence | Callable[[str, str], bool | None]
InvalidPolicy = Literal["separate", "drop", "together"]
Tokens: TypeAlias = Sequence[Sequence[float]]


class _HasTolist(Protocol):
    def tolist(self) -> Any: ...


class _HasToList(Protocol):
    def to_list(self) -> Any: ...


ArrayLike: TypeAlias = _HasTolist | _HasToList
"""A NumPy array, a tensor, or a pandas or polars Series: it is read as a list."""


class Choices(LongChoices, total=False):
    """The arguments of `estimate` and `aestimate` that set how responses are measured. `Scorer` gets them."""

    equivalence: AnyEquivalence | None
    equivalence_options: Options
    clusterer: str | Clusterer | None
    estimator: AnyEstimator | Sequence[AnyEstimator] | None
    convention: str
    extract: str | Extractor | None
    invalid: InvalidPolicy
    similarity: AnySimilarity
    similarity_options: Options


class CalibratedChoices(Choices, total=False):
    """`Choices`, and the arguments that set how results are calibrated."""

    calibration: str | PathLike[str] | Calibration | None
    model: str | None


class EvidenceArguments(TypedDict, total=False):
    """The arguments of `estimate` and `aestimate` with evidence besides log-probabilities."""

    top_logprobs: Any
    token_entropies: Any
    tokens: Any
    token_similarity: Any
    sentence_support: Any
    similarity: Any
    greedy_similarity: Any
    embeddings: Any
    hidden_state: Any
    greedy: Any


class Arguments(CalibratedChoices, EvidenceArguments, total=False):
    """`CalibratedChoices`, and evidence."""


class SamplingChoices(CalibratedChoices, total=False):
    """`CalibratedChoices`, and the arguments that set how a sampler draws responses."""

    sampler_options: Options
    n: int | Literal["auto"]
    threshold: float | None
    min_n: int
    max_n: int
    greedy: bool
    samples: str | PathLike[str] | None


class Scorer:
    """Measures semantic entropy with fixed choices. Threads may share a scorer. Closing it closes its loaded judges.

    Args:
        equivalence: the judge, which decides whether two answers mean the same: a name, an `Equivalence`, or a function
            of two strings. None or "auto": for each group, `math` if the responses are mathematics, else `text`.
        equivalence_options: the options of the judge, if `equivalence` is a name: {"model": "..."}.
        clusterer: a name or a `Clusterer`. None: the clusterer of the convention.
        estimator: a name, an `EntropyEstimator`, or a list of names and estimators. The first estimator with
            probabilities sets `Result.entropy`. None: all estimators of the convention that have their evidence.
        convention: "default", "lm-polygraph", "nature-2024" or "uqlm". It sets the clusterer and the estimators that
            are None, and the rule of the judge "nli" if `equivalence_options` does not set it.
        extract: the extractor that finds the answer in a response: "boxed", "choice", "number", "last-line", "whole",
            "regex:PATTERN", or a function. None: the judge's default.
        invalid: the policy for invalid answers: "separate" (each is a cluster of its own), "together" (all are one
            cluster), or "drop".
        similarity: how similar two texts are, for estimators that read a similarity matrix, if the caller passes no
            matrix: "jaccard" (common words), the name of a judge (its scores: "nli", "embedding"; 1 or 0: "math",
            "exact"), or a function of two texts that returns a number in [0, 1].
        similarity_options: the options of the judge, if `similarity` is the name of a judge.
        long: True: also measure the sentences of one answer, and the score "unsupported". False: no sentences. None:
            measure them if the median valid answer has 250 characters. Docs: how-to/long-answers.md.
        support: says how far a sample supports a sentence: "text" (the default), "nli", "embedding", "judge", or a
            function of two texts (sample, sentence) that returns a number in [0, 1]. `support_options` has its options.
        claims: finds claims, which are measured in place of sentences: a sampler, by name or built, or a function
            claims(answer, question) that returns a list of texts. `claims_options` has the options of the sampler.
        cache_size: the number of verdicts to keep in memory.
        cache: an SQLite file that stores verdicts for later runs and other processes. It stores the verdicts of judges
            with `settings` that are plain values; the verdicts of a plain function stay in memory.
        sampler: a name or a `Sampler`. It draws the responses if you pass only a question.
        sampler_options: the options of the sampler, if `sampler` is a name: {"model": "...", "temperature": 0.7}.
        n: the number of responses to draw for each question. "auto": draw them in small rounds, and stop when more
            responses would hardly change whether the discrete entropy is above `threshold`.
        threshold: for n="auto", the entropy in nats that you compare results with.
        min_n: for n="auto", the number of responses of the first round.
        max_n: for n="auto", the largest number of responses.
        greedy: True: also draw the greedy answer (temperature 0) of each question. Scores of one answer, such as
            "perplexity" and "cocoa", are then those of the greedy answer, which `Result.greedy_sample` holds.
        samples: a JSON lines file that stores each drawn response and the replies of a model that finds claims. They
            are not drawn again.
        calibration: a `Calibration`, or the file of one. It fills `p_wrong`, `flag` and `threshold` of each result.
        model: the model that gave the responses that you pass, so that the calibration of another model is refused.

    Raises:
        InputError: a choice does not exist.
        UnknownComponentError: no component has this name. The message lists the existing names.
        MissingDependencyError: a required module is missing. The message names the extra to install.
    """

    def __init__(
        self,
        equivalence: AnyEquivalence | None = None,
        clusterer: str | Clusterer | None = None,
        estimator: AnyEstimator | Sequence[AnyEstimator] | None = None,
        *,
        equivalence_options: Options = None,
        convention: str = "default",
        extract: str | Extractor | None = None,
        invalid: InvalidPolicy = "separate",
        similarity: AnySimilarity = JACCARD,
        similarity_options: Options = None,
        long: bool | None = None,
        support: AnySupport | None = None,
        support_options: Options = None,
        claims: AnyClaims = None,
        claims_options: Options = None,
        cache_size: int = 100_000,
        cache: str | PathLike[str] | None = None,
        sampler: str | Sampler | None = None,
        sampler_options: Options = None,
        n: int | Literal["auto"] = 10,
        threshold: float | None = None,
        min_n: int = 3,
        max_n: int = 10,
        greedy: bool = False,
        samples: str | PathLike[str] | None = None,
        calibration: str | PathLike[str] | Calibration | None = None,
        model: str | None = None,
        _resources: Resources | None = None,
    ) -> None:
        self.rule = stopping_rule(n, threshold, min_n, max_n)
        if self.rule and sampler is None:
            raise InputError('n="auto" draws responses until a decision is settled: pass sampler= too')
        if greedy and sampler is None:
            raise InputError("greedy=True draws the greedy answer of each question: pass sampler= too")
        if samples is not None and sampler is None and not isinstance(claims, str | Sampler):
            raise InputError(
                f"samples={str(samples)!r} keeps the responses of a sampler: pass sampler= too, or claims="
            )
        check_options("equivalence", equivalence, equivalence_options)
        check_options("sampler", sampler, sampler_options)
        check_options("similarity", similarity, similarity_options)
        if invalid not in get_args(InvalidPolicy):
            raise InputError(f"invalid={invalid!r} is unknown: use one of {', '.join(get_args(InvalidPolicy))}")
        self.calibration = None if calibration is None else as_calibration(calibration)
        self.model = model
        self._resources = _resources or Resources(cache_size, cache)
        self._owned = None if _resources else self._resources
        self.invalid: InvalidPolicy = invalid
        self.convention = load_convention(convention)
        self.clusterer = (
            load_clusterer(self.convention.clusterer, **self.convention.clusterer_options)
            if clusterer is None
            else as_clusterer(clusterer)
        )
        named = chosen_estimators(estimator, self.convention, long)
        if self.rule and not isinstance(named[0].estimator, Discrete):
            raise InputError(
                f'n="auto" compares the discrete entropy with the threshold, and the first estimator is '
                f'{named[0].name!r}: name "discrete" first in estimator=, or leave estimator out'
            )
        self.needs = frozenset[str]().union(*(each.reads for each in named))
        self.similarity: Similarity | None = None
        if self.needs & COMPARED:
            self.similarity = load_similarity(similarity, lambda name: self._resources.judge(name, similarity_options))
        elif str(similarity) != JACCARD:
            check_is_read({"similarity"}, named)
        self.needs |= {"greedy"} if long else set()  # the answer that is doubted, if it is known
        # None: `auto` chooses a judge for each group
        self.equivalence = self._load_judge(equivalence, equivalence_options)
        self.sampler = None if sampler is None else as_sampler(sampler, **(sampler_options or {}))
        self.greedy_sampler = as_sampler(self.sampler.greedy_sampler()) if greedy and self.sampler else None
        self.store = None if samples is None else SampleStore(samples)
        extractor = None if extract is None else load_extractor(extract)
        long_choices = LongChoices(
            long=long, support=support, support_options=support_options, claims=claims, claims_options=claims_options
        )
        self.long_answers = measurer_of(long_choices, self._resources, self.store, extractor, invalid)
        self._owned_claims = self.long_answers.claims if self.long_answers and isinstance(claims, str) else None
        if self._owned_claims:  # a derived scorer shares them
            long_choices |= {"claims": self._owned_claims, "claims_options": None}
        self._measurer = Measurer(
            resources=self._resources,
            equivalence=self.equivalence,
            clusterer=self.clusterer,
            estimators=named,
            are_named=estimator is not None,
            convention=self.convention.name,
            extract=extractor,
            extract_name=extract if isinstance(extract, str) else getattr(extract, "__name__", "") or repr(extract),
            invalid=invalid,
            similarity=self.similarity,
            sampler=self.sampler,
            interviewer=Interviewer(self.sampler, self.store) if self.sampler else None,
            model=model,
            long_answers=self.long_answers,
        )
        self._measure = self._measurer.measure
        if self.calibration:
            calibrated = CalibratedMeasurer(self._measurer, self.calibration)
            calibrated.check(
                None if self.rule or self.sampler is None else int(n), str(self.rule) if self.rule else None
            )
            self._measure = calibrated.measure
        self.choices: Choices = {
            "equivalence": equivalence if isinstance(equivalence, str) else self.equivalence,
            "equivalence_options": equivalence_options,
            "clusterer": clusterer,
            "estimator": estimator,
            "convention": convention,
            "extract": extract,
            "invalid": invalid,
            "similarity": similarity,
            "similarity_options": similarity_options,
            **long_choices,
        }
        self.n = n
        self._close_sampler = isinstance(sampler, str)
        self._closed = False

    @property
    def cache(self) -> VerdictCache:
        """The verdict cache. For a cache file, `str()` shows the numbers of found and added verdicts."""
        return self._resources.cache

    @property
    def components(self) -> dict[str, list[Any]]:
        """The components by their kind. `auto` has two judges."""
        return {
            "equivalence": [judge for judge, _ in self._measurer.candidates()],
            "clusterer": [self.clusterer],
            "estimators": [named.estimator for named in self._measurer.estimators],
            "sampler": [self.sampler] if self.sampler else [],
        }

    def derive(self, **choices: Unpack[Choices]) -> Scorer:
        """Return a scorer with other choices that shares this scorer's judges and verdict cache.

        Choices that are not given are those of this scorer. Closing this scorer closes the judges; closing a derived
        scorer closes none.
        """
        if "equivalence" in choices:
            choices = {"equivalence_options": None, **choices}  # the options of this scorer are those of its judge
        if choices.get("long") is False:
            choices = {**NO_SENTENCES, **choices}
        merged: Choices = {**self.choices, **choices}
        convention = load_convention(merged["convention"])
        reads = [each.reads & COMPARED for each in chosen_estimators(merged["estimator"], convention, merged["long"])]
        if "similarity" not in choices and not any(reads):
            merged = {**merged, "similarity": JACCARD, "similarity_options": None}
        return Scorer(**merged, _resources=self._resources)

    @overload
    def estimate(
        self,
        responses: Sequence[str],
        *,
        question: str | None = None,
        logprobs: Tokens | None = None,
        **evidence: Unpack[EvidenceArguments],
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
        **evidence: Unpack[EvidenceArguments],
    ) -> BatchResult: ...
    @overload
    def estimate(
        self,
        responses: TableT,
        *,
        question: str | None = None,
        logprobs: str | None = None,
        column: str | None = None,
        group_by: str | None = None,
        **evidence: Unpack[EvidenceArguments],
    ) -> TableT: ...
    @overload
    def estimate(
        self, responses: ArrayLike, *, question: Any = None, logprobs: Any = None, **evidence: Unpack[EvidenceArguments]
    ) -> Result | BatchResult: ...
    def estimate(
        self,
        responses: Any = None,
        *,
        question: Any = None,
        logprobs: Any = None,
        column: str | None = None,
        group_by: str | None = None,
        progress: bool | None = None,
        **evidence: Any,
    ) -> Any:
        """Measure one group (a list of str), many groups (a list of lists of str), or a table.

        NumPy arrays and pandas or polars Series are read as lists.

        For a pandas or polars frame, or a `datasets.Dataset`, return the same kind of table with the fields of each
        row's `Result` as additional columns. Without responses, the sampler draws responses for each question, and
        complete groups are measured while the sampler draws other groups.

        Args:
            responses: (G,) sampled responses to one question, or (B, G) ragged, or a table with a row for each group.
            question: the question, or (B,) questions. For a table: the name of the question column; None: "question",
                or else a column with a common name, which a warning names.
            logprobs: token log-probabilities in nats, ragged (G, tokens) or (B, G, tokens). For a table: the name of
                the column; None: "logprobs" if the table has this column.
            column: for a table, the name of the responses column, or a pattern with `*` for several; None: "responses".
            group_by: for a table with one response in each row, the column that the rows of one question share. The
                returned table has a row for each question.
            progress: True: show a progress bar while responses are drawn. None: show it for several questions, on a
                terminal.
            **evidence: evidence for the estimators that need it, each with one entry for each group if there are many
                groups, or the name of a column if there is a table: top_logprobs, ragged (G, tokens, k); tokens, texts,
                token_entropies, token_similarity, ragged (G, tokens); similarity, sentence_support, (G, G); embeddings,
                hidden_state, (G, d); greedy, the answer that is scored: a `Sample`, or a mapping with text, and if they
                are known logprobs, top_logprobs, token_entropies, hidden_state of this one answer. If `similarity` has
                G + 1 rows and columns, the last ones belong to the greedy answer. Docs: how-to/files.md.

        Raises:
            InputError: an argument cannot be used, or no estimator reads it. The message names the group, the response
                and the value.
            EvidenceError: an estimator that you named needs evidence that a response does not have.
            EquivalenceError: the judge broke its contract, or its model or server is not available.
            SamplingError: the sampler's model or server is not available, or refuses the requests. Responses that were
                drawn before are stored in the file `samples=`.
        """
        return self._estimate(evidence, responses, question, logprobs, column, group_by, progress)

    @overload
    async def aestimate(
        self,
        responses: Sequence[str],
        *,
        question: str | None = None,
        logprobs: Tokens | None = None,
        **evidence: Unpack[EvidenceArguments],
    ) -> Result: ...
    @overload
    async def aestimate(self, responses: None = None, *, question: str) -> Result: ...
    @overload
    async def aestimate(
        self, responses: None = None, *, question: list[str] | tuple[str, ...], progress: bool | None = None
    ) -> BatchResult: ...
    @overload
    async def aestimate(
        self,
        responses: Sequence[list[str] | tuple[str, ...]],
        *,
        question: Sequence[str | None] | None = None,
        logprobs: Sequence[Tokens | None] | None = None,
        **evidence: Unpack[EvidenceArguments],
    ) -> BatchResult: ...
    @overload
    async def aestimate(
        self,
        responses: TableT,
        *,
        question: str | None = None,
        logprobs: str | None = None,
        column: str | None = None,
        group_by: str | None = None,
        **evidence: Unpack[EvidenceArguments],
    ) -> TableT: ...
    @overload
    async def aestimate(
        self, responses: ArrayLike, *, question: Any = None, logprobs: Any = None, **evidence: Unpack[EvidenceArguments]
    ) -> Result | BatchResult: ...
    async def aestimate(
        self,
        responses: Any = None,
        *,
        question: Any = None,
        logprobs: Any = None,
        column: str | None = None,
        group_by: str | None = None,
        progress: bool | None = None,
        **evidence: Any,
    ) -> Any:
        """Run `estimate` without blocking the event loop. Arguments, return value and errors are those of `estimate`.

        If the task is cancelled, sampler and judge start no new work. Components that poll
        `semantic_entropy.plugin.is_cancelled` (all that use a server) stop within half a second; other components stop
        after their current call.
        """
        return await run_cancellable(
            self._estimate, evidence, responses, question, logprobs, column, group_by, progress
        )

    def measure(self, groups: Sequence[Group]) -> list[Result]:
        """Measure checked groups in one pipeline run. Raises the errors of `estimate`."""
        return self._measure(groups)

    def sampling_run(self) -> SamplingRun:
        """Return a new run of the sampler. The sampler must not be None."""
        assert self.sampler is not None
        run: SamplingRun
        if self.rule:
            run = AdaptiveRun(self.sampler, self.rule, self._measurer.without_scores().measure, self.store)
        else:
            run = SamplingRun(self.sampler, int(self.n), self.store)
        return GreedyRun(run, self.greedy_sampler, self.store) if self.greedy_sampler else run

    def uses_question(self, result: Result) -> bool:
        """Whether the judge that gave this result reads the question."""
        judges = (judge for judge, _ in self._measurer.candidates())
        return any(judge.uses_question for judge in judges if judge.describe() == result.provenance.equivalence)

    def close(self) -> None:
        """Close the judges that this scorer loaded. A closed scorer cannot be used. A second call does nothing."""
        self._closed = True
        if self._owned:
            self._owned.close()
        self.greedy_sampler = None  # it uses the model of the sampler
        if self.sampler and self._close_sampler:
            self.sampler.close()
        if self._owned_claims:
            self._owned_claims.close()
        if self.store:
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _estimate(
        self,
        evidence: Mapping[str, Any],
        responses: Any,
        question: Any,
        logprobs: Any,
        column: str | None,
        group_by: str | None,
        progress: bool | None,
    ) -> Any:
        if self._closed:
            raise SemanticEntropyError("this Scorer is closed: make a new one")
        if responses is None:
            if not logprobs is column is group_by is None or evidence:
                given = ", ".join(["logprobs, column and group_by", *evidence])
                raise InputError(f"{given} belong to responses: pass responses too")
            return self._sample(question, progress)
        evidence = evidence_arguments(evidence)
        unread = [name for name, value in evidence.items() if value is not None and name not in self.needs]
        check_is_read(unread, self._measurer.estimators)
        if table := as_table(responses):
            names = {name: evidence.get(name) for name in self.needs & set(EVIDENCE_FIELDS)} | dict(evidence)
            return measure_table(table, self.measure, self.uses_question, column, question, logprobs, group_by, names)
        evidence = {**dict.fromkeys(self.needs & set(EVIDENCE_FIELDS)), **evidence}  # None: that of replies
        responses, question, logprobs = as_lists(responses), as_lists(question), as_lists(logprobs)
        for name, value in (("column", column), ("group_by", group_by)):
            if value is not None:
                raise InputError(f"{name}={value!r} is for a table, and responses is a {type(responses).__name__}")
        if is_batch(responses):
            return BatchResult(self.measure(many_groups(responses, question, logprobs, evidence)))
        return self.measure([one_group(responses, question, logprobs, evidence=evidence)])[0]

    def _sample(self, question: Any, progress: bool | None) -> Any:
        if self.sampler is None or question is None:
            raise InputError(
                "estimate() needs responses (several answers to one question, as a list of str), or a question and a "
                'sampler that asks it: question=..., sampler="openai", sampler_options={"model": ...}'
            )
        question = as_lists(question)
        questions = check_questions(question)
        shown = len(questions) > 1 and sys.stderr.isatty() if progress is None else progress
        results = sample_and_measure(self.sampling_run(), questions, self.measure, progress=shown)
        return results[0] if isinstance(question, str) else BatchResult(results)

    def _load_judge(self, equivalence: AnyEquivalence | None, options: Options) -> Equivalence | None:
        if equivalence is None or equivalence == "auto":
            return None
        if isinstance(equivalence, str):
            name = default_registry().find("equivalence", equivalence).full_name
            options = {**self.convention.judge_options.get(name, {}), **(options or {})}
            return self._resources.judge(equivalence, options)
        return as_equivalence(equivalence)

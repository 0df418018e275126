"""What the routes share: the scorer, the rules of decisions, the queues, and the check of answers against samples.

To check an answer, a sampler draws n further responses to the question. Two things are measured:

    the samples              their entropy, and a decision about it, as `semantic_entropy.decisions.decide` makes it
    the answer and samples   verified: how many samples say the answer; confidence = verified / n

An answer passes if the decision does and if the answer means the same as the main answer of the samples: a model that
is sure of one answer can have given another one. If nothing can be measured, the check says why, and has no number.
Several choices of one response are checked alike: the samples of a choice are the other choices.

Two answers can mean the same although one of them says more, so the whole answer is compared too (`whole_answers`). A
sample says the answer if it means the same, and says all of it. `compare="answer"` leaves this out.

Left out: evidence other than log-probabilities, and conversations of several messages (a sampler gets one question).
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from semantic_entropy import Result, Scorer
from semantic_entropy.decisions import Calibration, Decision, decide, why_unusable
from semantic_entropy.errors import SamplingError
from semantic_entropy.registry import load_estimators
from semantic_entropy.sampling import sample_and_measure
from semantic_entropy.serve.problems import error_problem, wrong_field
from semantic_entropy.serve.service_settings import ServiceSettings
from semantic_entropy.serve.whole_answers import Confirmation, Doubted, WholeAnswers
from semantic_entropy.serve.work_queue import WorkQueue
from semantic_entropy.types import Group, Sample

_LOG = logging.getLogger("semantic_entropy.serve")
_T = TypeVar("_T")
_LARGEST_BATCH = 20_000  # characters that are measured in one run: the judge text reads them in less than a second
NO_SAMPLER = "the service has no sampler (--sampler NAME)"


class Asked(NamedTuple):
    """A group to measure. Without responses, the sampler draws them."""

    question: str | None
    responses: tuple[str, ...] = ()
    logprobs: Sequence[Sequence[float]] | None = None
    are_choices: bool = False  # the client gets each of them, so each is checked against the others


class ToCheck(NamedTuple):
    """Answers to one question. The sampler draws further responses."""

    question: str
    answers: tuple[str, ...]


class _Compared(NamedTuple):
    """An answer beside samples: its name in reasons, the samples that mean the same, whether it is the main answer."""

    name: str
    doubted: Doubted
    is_main: bool


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """The result of a check. A number that is not known is None.

    Attributes:
        verified: the number of samples that mean the same as the first answer, and say its least supported sentence.
        total: the number of samples.
        different: which answer does not mean the same as the main answer of the samples; None: there is none.
        excess: what an answer says and the samples do not; None: nothing is known.
        decision: the decision about the samples.
        result: the measured samples.
        unknown: why nothing, or not the whole answer, could be measured; None: it was.
        texts: the samples.
    """

    verified: int | None = None
    total: int | None = None
    different: str | None = None
    excess: str | None = None
    decision: Decision | None = None
    result: Result | None = None
    unknown: str | None = None
    texts: tuple[str, ...] = ()

    @property
    def is_confirmed(self) -> bool:
        """Whether all answers are known to be the main answer of the samples, and to say nothing more."""
        return self.result is not None and not (self.different or self.excess or self.unknown)

    @property
    def confidence(self) -> float | None:
        """The share of the samples that say the answer."""
        return None if self.verified is None or self.unknown or not self.total else self.verified / self.total


class MeasuringService:
    """Loads what the settings name. `close` ends the threads and closes the judges.

    Args:
        settings: the settings.

    Raises:
        SemanticEntropyError: a component or the calibration cannot be loaded.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.calibration = None if settings.calibration is None else Calibration.load(settings.calibration)
        choices = {**settings.choices, "estimator": load_estimators(settings.choices.get("estimator"))}
        self.scorer = Scorer(**choices)
        # the answer is clustered with the samples; estimators and sentences are not needed for that
        self._clustering = self.scorer.derive(estimator="discrete", long=False)
        self._whole = (
            None
            if settings.compare == "answer"
            else WholeAnswers(self.scorer, new_words=settings.new_words, max_pairs=settings.max_pairs)
        )
        self._turns = threading.BoundedSemaphore(settings.threads)  # sampling threads measure too
        self.scoring = WorkQueue(
            "measure",
            self._measure_all,
            threads=settings.threads,
            batch=settings.batch,
            capacity=settings.queue,
            weigh=lambda asked: sum(map(len, asked.responses)),
            most=_LARGEST_BATCH,
        )
        self.sampling = WorkQueue(
            "sample", self._sample_all, threads=settings.sampling_threads, capacity=settings.queue
        )

    @property
    def has_sampler(self) -> bool:
        """Whether the service can draw responses."""
        return self.scorer.sampler is not None

    def close(self) -> None:
        """Stop. Running measurements may end first."""
        self.scoring.close()
        self.sampling.close()
        self.scorer.close()

    async def measure(self, asked: Asked) -> Result:
        """Measure a group.

        Raises:
            ServiceProblem: it cannot be measured, the queue is full, or the time is over.
        """
        result: Result = await self._submit(asked)
        return result

    async def check_choices(self, question: str | None, choices: tuple[str, ...]) -> AnswerCheck:
        """Check each choice of a response against the other ones. Raises what `measure` raises."""
        checked: AnswerCheck = await self._submit(Asked(question, choices, are_choices=True))
        return checked

    async def _submit(self, asked: Asked) -> Any:
        limit = self.settings.max_responses
        if len(asked.responses) > limit:
            count = len(asked.responses)
            raise wrong_field(
                "body.responses", f"{count} responses", f"more than {limit}", "send fewer, or raise --max-responses"
            )
        if not asked.responses and (not self.has_sampler or asked.question is None):
            fix = (
                "send a question too"
                if self.has_sampler
                else "send responses, or start the service with --sampler NAME"
            )
            raise wrong_field("body.responses", None, "there are no responses, and nothing to draw them from", fix)
        queue = self.scoring if asked.responses else self.sampling
        return await self._within_limit(queue.submit(asked))

    async def check(self, asked: ToCheck) -> AnswerCheck:
        """Check answers against samples. A failed sampler makes an unknown check.

        Raises:
            ServiceProblem: the queue is full, or the time is over.
        """
        if not self.has_sampler:
            return AnswerCheck(unknown=f"one response alone arrived, and {NO_SAMPLER}")
        try:
            checked: AnswerCheck = await self._raw(self.sampling.submit(asked))
        except SamplingError as error:
            _LOG.warning("the sampler failed: %s", error)
            return AnswerCheck(unknown=f"the sampler failed: {error}")
        except Exception as error:
            raise error_problem(error) from error
        return checked

    def decide(self, result: Result) -> Decision:
        """Decide by the calibration and the limit of the entropy. The stricter decision holds."""
        settings, found = self.settings, []
        if self.calibration is not None or settings.fail_above is None:
            found.append(
                decide(
                    result,
                    self.calibration,
                    block_above=settings.block_above,
                    max_undecided=settings.max_undecided,
                )
            )
        if settings.fail_above is not None:
            found.append(_by_entropy(result, settings))
        first = found[0]
        if len(found) == 1:
            return first
        ranked = sorted(found, key=lambda each: -_strictness(each))
        reasons = tuple(dict.fromkeys(reason for each in ranked for reason in each.reasons))
        return Decision(ranked[0].action, reasons, first.p_wrong, first.risk_score, first.threshold)

    async def _within_limit(self, work: Awaitable[_T]) -> _T:
        try:
            return await self._raw(work)
        except Exception as error:
            raise error_problem(error) from error

    async def _raw(self, work: Awaitable[_T]) -> _T:
        async with asyncio.timeout(self.settings.timeout):
            return await work

    def _measure_all(self, items: Sequence[Asked]) -> Sequence[Result | AnswerCheck]:
        questions = [item.question for item in items]
        logprobs = [item.logprobs for item in items]
        with self._turns:
            results = self.scorer.estimate(
                [list(item.responses) for item in items],
                question=questions if any(question is not None for question in questions) else None,
                logprobs=logprobs if any(each is not None for each in logprobs) else None,
            )
            return [
                self._compare_choices(item, result) if item.are_choices else result
                for item, result in zip(items, results, strict=True)
            ]

    def _sample_all(self, items: Sequence[Asked | ToCheck]) -> Sequence[Any]:
        return [self._check(item) if isinstance(item, ToCheck) else self._draw(item.question) for item in items]

    def _draw(self, question: str | None) -> Result:
        assert question is not None

        def measure(groups: Sequence[Group]) -> Sequence[Result]:
            with self._turns:
                return self.scorer.measure(groups)

        return sample_and_measure(self.scorer.sampling_run(), [question], measure, progress=False)[0]

    def _check(self, asked: ToCheck) -> AnswerCheck:
        result = self._draw(asked.question)
        texts = _texts(result.samples or ())
        if not texts:
            reason = "the sampler drew no response: " + "; ".join(result.warnings)
            _LOG.warning("%s", reason)
            return AnswerCheck(unknown=reason)
        with self._turns:
            return self._compare(asked, result, texts)

    def _compare(self, asked: ToCheck, result: Result, texts: tuple[str, ...]) -> AnswerCheck:
        count = len(asked.answers)
        together = self._clustering.estimate([*asked.answers, *texts], question=asked.question)
        labels, answers = together.labels, together.answers
        main, compared = _main_label(labels[count:], answers[count:]), []
        for at, text in enumerate(asked.answers):
            peers = _with_label(labels[at], texts, labels[count:]) if answers[at] is not None else []
            name = "the response" if count == 1 else f"choice {at + 1}"
            compared.append(_Compared(name, Doubted(text, peers), bool(peers) and labels[at] == main))
        confirmed = self._confirm(asked.question, compared)
        check = self._checked(compared, confirmed, result, "samples")
        return replace(check, verified=confirmed[0].said, total=len(texts), texts=texts)

    def _compare_choices(self, asked: Asked, result: Result) -> AnswerCheck:
        """Compare each choice with the other ones. A blank choice says nothing, and is left out."""
        texts, labels = asked.responses, result.labels
        main, compared = _main_label(labels, result.answers), []
        for at, (text, answer) in enumerate(zip(texts, result.answers, strict=True)):
            if text.strip():
                others, of_others = (*texts[:at], *texts[at + 1 :]), (*labels[:at], *labels[at + 1 :])
                peers = _with_label(labels[at], others, of_others) if answer is not None else []
                is_main = bool(peers) and labels[at] == main
                compared.append(_Compared(f"choice {at + 1}", Doubted(text, peers), is_main))
        return self._checked(compared, self._confirm(asked.question, compared), result, "choices")

    def _confirm(self, question: str | None, compared: Sequence[_Compared]) -> Sequence[Confirmation]:
        doubted = [each.doubted for each in compared]
        if self._whole is None:
            return [Confirmation(len(each.peers)) for each in doubted]
        return self._whole.confirm(question, doubted)

    def _checked(
        self, compared: Sequence[_Compared], confirmed: Sequence[Confirmation], result: Result, samples: str
    ) -> AnswerCheck:
        """Return the check of answers. The first reason of each kind counts."""
        found = [(each.name, confirmation) for each, confirmation in zip(compared, confirmed, strict=True)]
        main = f"does not mean the same as the main answer of the {samples}"
        different = [f"{each.name} {main}" for each in compared if not each.is_main]
        excesses = [f"{name} says more than the {samples}: {each.excess}" for name, each in found if each.excess]
        unknown = [f"{name} {each.unknown}" for name, each in found if each.unknown]
        first = [next(iter(reasons), None) for reasons in (different, excesses, unknown)]
        return AnswerCheck(
            different=first[0], excess=first[1], unknown=first[2], decision=self.decide(result), result=result
        )


def _with_label(label: int, texts: Sequence[str], labels: Sequence[int]) -> list[str]:
    return [text for text, other in zip(texts, labels, strict=True) if other == label]


def _texts(samples: Sequence[Sample]) -> tuple[str, ...]:
    return tuple(sample.text for sample in samples)


def _main_label(labels: Sequence[int], answers: Sequence[str | None]) -> int | None:
    """Return the label of the largest cluster of valid answers, of equal ones the first; None: no answer is valid."""
    counts: dict[int, int] = {}
    for label, answer in zip(labels, answers, strict=True):
        if answer is not None and label >= 0:
            counts[label] = counts.get(label, 0) + 1
    return max(counts, key=lambda label: counts[label], default=None)


def _by_entropy(result: Result, settings: ServiceSettings) -> Decision:
    """Decide by the entropy alone, as `--fail-above` of `semantic-entropy estimate` does."""
    highest = settings.fail_above
    assert highest is not None
    if reasons := why_unusable(result, settings.max_undecided, settings.min_samples):
        return Decision("defer", tuple(reasons))
    if not result.entropy <= highest:
        return Decision("defer", (f"the entropy is {result.entropy:.3f} nats, above {highest:g}",))
    allowed = f"the entropy is {result.entropy:.3f} nats, at most {highest:g} (a limit without a guarantee)"
    return Decision("warn" if result.warnings else "allow", (*result.warnings, allowed))


def _strictness(decision: Decision) -> int:
    return sum(decision.is_at_least(action) for action in ("warn", "defer", "block"))


def finite(value: float) -> float | None:
    """Return the number; None if it is nan or infinite, which JSON does not have."""
    return value if math.isfinite(value) else None


def result_fields(result: Result, *, interval: bool = False) -> Mapping[str, Any]:
    """Return the fields of a result, and why its entropy is null."""
    fields = result.to_dict(interval=interval)
    reasons = []
    if fields["entropy"] is None or fields["normalized"] is None:
        if result.n_valid < 2:
            count = len(result.answers)
            reasons.append(f"{result.n_valid} of {count} answers are valid: fewer than 2 have nothing to compare")
        else:
            reasons.append(f"the estimator {result.provenance.estimator} gives no number for this group")
    return {**fields, "null_reason": "; ".join(reasons) or None}

"""What the routes share: the scorer, the rules of decisions, the queues, and the check of one answer.

To check one answer, a sampler draws n further responses to the question. Two things are measured:

    the samples              their entropy, and a decision about it, as `semantic_entropy.decisions.decide` makes it
    the answer and samples   verified: how many samples mean the same as the answer; confidence = verified / n

An answer passes if the decision does and if the answer means the same as the main answer of the samples: a model that
is sure of one answer can have given another one. If nothing can be measured, the check says why, and has no number.

Left out: evidence other than log-probabilities, and conversations of several messages (a sampler gets one question).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from semantic_entropy import Result, Scorer
from semantic_entropy.decisions import Calibration, Decision, decide, why_unusable
from semantic_entropy.errors import SamplingError
from semantic_entropy.registry import load_estimators
from semantic_entropy.serve.problems import error_problem, wrong_field
from semantic_entropy.serve.service_settings import ServiceSettings
from semantic_entropy.serve.work_queue import WorkQueue
from semantic_entropy.types import Sample

_T = TypeVar("_T")
NO_SAMPLER = "the service has no sampler (--sampler NAME)"


class Asked(NamedTuple):
    """A group to measure. Without responses, the sampler draws them."""

    question: str | None
    responses: tuple[str, ...] = ()
    logprobs: Sequence[Sequence[float]] | None = None


class ToCheck(NamedTuple):
    """Answers to one question. The sampler draws further responses."""

    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """The result of a check. A number that is not known is None.

    Attributes:
        verified: the number of samples that mean the same as the first answer.
        total: the number of samples.
        same_as_main: whether all answers mean the same as the main answer of the samples.
        decision: the decision about the samples.
        result: the measured samples.
        unknown: why nothing could be measured; None: something was.
        texts: the samples.
    """

    verified: int | None = None
    total: int | None = None
    same_as_main: bool | None = None
    decision: Decision | None = None
    result: Result | None = None
    unknown: str | None = None
    texts: tuple[str, ...] = ()

    @property
    def confidence(self) -> float | None:
        """The share of the samples that mean the same as the answer."""
        return None if self.verified is None or not self.total else self.verified / self.total


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
        options = {"capacity": settings.queue}
        self.scoring = WorkQueue(
            "measure", self._measure_all, threads=settings.threads, batch=settings.batch, **options
        )
        self.sampling = WorkQueue("sample", self._sample_all, threads=settings.sampling_threads, **options)

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
            found.append(_by_entropy(result, settings.fail_above, settings.max_undecided))
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

    def _measure_all(self, items: Sequence[Asked]) -> Sequence[Result]:
        questions = [item.question for item in items]
        logprobs = [item.logprobs for item in items]
        return self.scorer.estimate(
            [list(item.responses) for item in items],
            question=questions if any(question is not None for question in questions) else None,
            logprobs=logprobs if any(each is not None for each in logprobs) else None,
        )

    def _sample_all(self, items: Sequence[Asked | ToCheck]) -> Sequence[Any]:
        return [self._check(item) if isinstance(item, ToCheck) else self._sample(item) for item in items]

    def _sample(self, asked: Asked) -> Result:
        assert asked.question is not None
        return self.scorer.estimate(question=asked.question)

    def _check(self, asked: ToCheck) -> AnswerCheck:
        result = self.scorer.estimate(question=asked.question)
        texts = _texts(result.samples or ())
        if not texts:
            return AnswerCheck(unknown="the sampler drew no response: " + "; ".join(result.warnings))
        count = len(asked.answers)
        together = self._clustering.estimate([*asked.answers, *texts], question=asked.question)
        of_answers, of_samples = together.labels[:count], together.labels[count:]
        main = _main_label(of_samples, together.answers[count:])
        return AnswerCheck(
            verified=sum(label == of_answers[0] and label >= 0 for label in of_samples),
            total=len(texts),
            same_as_main=main is not None and all(label == main for label in of_answers),
            decision=self.decide(result),
            result=result,
            texts=texts,
        )


def _texts(samples: Sequence[Sample]) -> tuple[str, ...]:
    return tuple(sample.text for sample in samples)


def _main_label(labels: Sequence[int], answers: Sequence[str | None]) -> int | None:
    """Return the label of the largest cluster of valid answers, of equal ones the first; None: no answer is valid."""
    counts: dict[int, int] = {}
    for label, answer in zip(labels, answers, strict=True):
        if answer is not None and label >= 0:
            counts[label] = counts.get(label, 0) + 1
    return max(counts, key=lambda label: counts[label], default=None)


def _by_entropy(result: Result, highest: float, max_undecided: float) -> Decision:
    """Decide by the entropy alone, as `--fail-above` of `semantic-entropy estimate` does."""
    if reasons := why_unusable(result, max_undecided):
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

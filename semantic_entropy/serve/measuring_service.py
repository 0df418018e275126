"""What the routes share: the scorer, the rules of decisions, the queues, and the check of one answer.

To check one answer, a sampler draws n further responses to the question. Two things are measured:

    the samples              their entropy, and a decision about it, as `semantic_entropy.decisions.decide` makes it
    the answer and samples   verified: how many samples say the answer; confidence = verified / n

An answer passes if the decision does and if the answer means the same as the main answer of the samples: a model that
is sure of one answer can have given another one. If nothing can be measured, the check says why, and has no number.

Two answers can mean the same although one of them says more: for the judge `text`, "Paris" and "Paris. Send money." do.
So the whole answer is compared too (`compare="whole"`): each of its sentences must be said by at least half of the
samples that mean the same, by the rule of `support=` (docs: how-to/long-answers.md). A sample says the answer if it
means the same and says the least supported sentence. `compare="answer"` leaves this out.

Left out: evidence other than log-probabilities, and conversations of several messages (a sampler gets one question).
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from semantic_entropy import Result, Scorer
from semantic_entropy.clusters import Equivalence, strip_reasoning
from semantic_entropy.decisions import Calibration, Decision, decide, why_unusable
from semantic_entropy.errors import SamplingError
from semantic_entropy.plugin import split_sentences
from semantic_entropy.registry import load_estimators
from semantic_entropy.sampling import sample_and_measure
from semantic_entropy.scorer import Choices
from semantic_entropy.serve.problems import error_problem, wrong_field
from semantic_entropy.serve.service_settings import ServiceSettings
from semantic_entropy.serve.work_queue import WorkQueue
from semantic_entropy.types import Group, Sample

_T = TypeVar("_T")
_MOST_SENTENCES = 500  # of a response that is compared: each is a question to the judge for each sample
NO_SAMPLER = "the service has no sampler (--sampler NAME)"


class Asked(NamedTuple):
    """A group to measure. Without responses, the sampler draws them."""

    question: str | None
    responses: tuple[str, ...] = ()
    logprobs: Sequence[Sequence[float]] | None = None
    are_choices: bool = False  # the client gets each of them, so each is compared with the others as a whole


class ToCheck(NamedTuple):
    """Answers to one question. The sampler draws further responses."""

    question: str
    answers: tuple[str, ...]


class Confirmation(NamedTuple):
    """Whether samples that mean the same as an answer say all that the answer says.

    Attributes:
        said: the number of samples that say its least supported sentence.
        excess: which sentence too few samples say; None: there is none.
        unknown: why the answer could not be compared as a whole; None: it was.
    """

    said: int
    excess: str | None = None
    unknown: str | None = None


class Measured(NamedTuple):
    """A measured group; and for choices, the first one that says more than the others, or that is not known to."""

    result: Result
    choice: Confirmation | None = None


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """The result of a check. A number that is not known is None.

    Attributes:
        verified: the number of samples that mean the same as the first answer, and say its least supported sentence.
        total: the number of samples.
        same_as_main: whether all answers mean the same as the main answer of the samples.
        excess: what an answer says and the samples do not; None: nothing is known.
        decision: the decision about the samples.
        result: the measured samples.
        unknown: why nothing, or not the whole answer, could be measured; None: it was.
        texts: the samples.
    """

    verified: int | None = None
    total: int | None = None
    same_as_main: bool | None = None
    excess: str | None = None
    decision: Decision | None = None
    result: Result | None = None
    unknown: str | None = None
    texts: tuple[str, ...] = ()

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
        self._sentences = None if settings.compare == "answer" else _of_sentences(self.scorer)
        self._turns = threading.BoundedSemaphore(settings.threads)  # sampling threads measure too
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
        """Measure a group. Raises what `measure_choices` raises."""
        return (await self.measure_choices(asked)).result

    async def measure_choices(self, asked: Asked) -> Measured:
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

    def _measure_all(self, items: Sequence[Asked]) -> Sequence[Measured]:
        questions = [item.question for item in items]
        logprobs = [item.logprobs for item in items]
        with self._turns:
            results = self.scorer.estimate(
                [list(item.responses) for item in items],
                question=questions if any(question is not None for question in questions) else None,
                logprobs=logprobs if any(each is not None for each in logprobs) else None,
            )
            return [
                Measured(result, self._choice(item, result) if item.are_choices else None)
                for item, result in zip(items, results, strict=True)
            ]

    def _sample_all(self, items: Sequence[Asked | ToCheck]) -> Sequence[Any]:
        return [self._check(item) if isinstance(item, ToCheck) else self._sample(item) for item in items]

    def _sample(self, asked: Asked) -> Measured:
        assert asked.question is not None
        return Measured(self._draw(asked.question))

    def _draw(self, question: str) -> Result:
        def measure(groups: Sequence[Group]) -> Sequence[Result]:
            with self._turns:
                return self.scorer.measure(groups)

        return sample_and_measure(self.scorer.sampling_run(), [question], measure, progress=False)[0]

    def _check(self, asked: ToCheck) -> AnswerCheck:
        result = self._draw(asked.question)
        texts = _texts(result.samples or ())
        if not texts:
            return AnswerCheck(unknown="the sampler drew no response: " + "; ".join(result.warnings))
        with self._turns:
            return self._compare(asked, result, texts)

    def _compare(self, asked: ToCheck, result: Result, texts: tuple[str, ...]) -> AnswerCheck:
        count = len(asked.answers)
        together = self._clustering.estimate([*asked.answers, *texts], question=asked.question)
        labels, of_samples = together.labels[:count], together.labels[count:]
        main = _main_label(of_samples, together.answers[count:])
        peers = [
            [text for text, other in zip(texts, of_samples, strict=True) if other == label and answer is not None]
            for label, answer in zip(labels, together.answers[:count], strict=True)
        ]
        confirmed = self._confirm(asked.question, list(zip(asked.answers, peers, strict=True)))
        return AnswerCheck(
            verified=confirmed[0].said,
            total=len(texts),
            same_as_main=main is not None and all(label == main for label in labels),
            excess=next((each.excess for each in confirmed if each.excess), None),
            decision=self.decide(result),
            result=result,
            unknown=next((each.unknown for each in confirmed if each.unknown), None),
            texts=texts,
        )

    def _choice(self, asked: Asked, result: Result) -> Confirmation | None:
        """Return the first choice that says more than the choices that mean the same; None: there is none."""
        items, numbers = [], []
        for number, (text, label, answer) in enumerate(
            zip(asked.responses, result.labels, result.answers, strict=True)
        ):
            peers = [
                other
                for at, (other, its_label) in enumerate(zip(asked.responses, result.labels, strict=True))
                if at != number and its_label == label
            ]
            if answer is not None and peers:  # another meaning is counted by the entropy
                items.append((text, peers))
                numbers.append(number + 1)
        found = list(zip(numbers, self._confirm(asked.question, items), strict=True))
        for number, each in sorted(found, key=lambda one: one[1].excess is None):  # what is known goes before
            if each.excess or each.unknown:
                where = f"choice {number}: "
                return Confirmation(
                    each.said, each.excess and where + each.excess, each.unknown and where + each.unknown
                )
        return None

    def _confirm(self, question: str | None, items: Sequence[tuple[str, list[str]]]) -> list[Confirmation]:
        """Compare each answer as a whole with the samples that mean the same, in one call of the judge."""
        unknown = [_why_not_compared(text) if self._sentences and peers else None for text, peers in items]
        found = [Confirmation(len(peers), unknown=why) for (_, peers), why in zip(items, unknown, strict=True)]
        chosen = [at for at, (_, peers) in enumerate(items) if peers and unknown[at] is None]
        if self._sentences is None or not chosen:
            return found
        results = self._sentences.estimate(
            [items[at][1] for at in chosen],
            question=[question] * len(chosen),
            greedy=[items[at][0] for at in chosen],
        )
        for at, result in zip(chosen, results, strict=True):
            found[at] = _confirmation(result, len(items[at][1]))
        return found


def _of_sentences(scorer: Scorer) -> Scorer:
    """Return a scorer that says which sentences of an answer the samples support. Its clusters are not used."""
    judge, support = scorer.equivalence, scorer.choices.get("support", "text")
    has_support = judge is not None and type(judge).support is not Equivalence.support
    choices: Choices = {"equivalence": "exact", "extract": "whole", "estimator": "discrete", "long": True}
    choices |= {"claims": _parts, "claims_options": None}
    if judge is not None and has_support and support == "text":
        choices |= {"support": judge, "support_options": None}
    return scorer.derive(**choices)


def _parts(answer: str, _: str | None) -> list[str]:
    """Return the sentences of an answer, headings included: nothing of it may be left out."""
    return split_sentences(answer) or [answer]


def _why_not_compared(answer: str) -> str | None:
    if strip_reasoning(answer) != answer:
        return "the response has a reasoning block (<think>), which is not compared"
    if (count := len(split_sentences(answer))) > _MOST_SENTENCES:
        return f"the response has {count} sentences, more than {_MOST_SENTENCES}"
    return None


def _confirmation(result: Result, peers: int) -> Confirmation:
    found = result.long_answer
    if found is None or not found.sentences:
        return Confirmation(
            0, unknown="the sentences of the response cannot be compared: " + "; ".join(result.warnings)
        )
    said, count = min(sentence.supported_by for sentence in found.sentences), len(found.sentences)
    doubted = [(number, sentence) for number, sentence in enumerate(found.sentences, 1) if sentence.doubtful]
    for number, sentence in sorted(doubted, key=lambda each: each[1].unknown):  # what is known goes before
        place = f"sentence {number} of {count} of the response"  # not its text: a gateway shows it to the client
        if sentence.unknown:
            return Confirmation(said, unknown=f"{place} cannot be compared with the samples")
        samples = f"{sentence.supported_by} of {peers} samples that mean the same"
        return Confirmation(said, excess=f"{place} is said by {samples}")
    return Confirmation(said)


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

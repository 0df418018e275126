"""Questions alone to results: groups are measured while others are still being drawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from semantic_entropy.clusters.groups import one_group
from semantic_entropy.errors import EvidenceError, InputError, SamplingError
from semantic_entropy.progress.bar import bar
from semantic_entropy.sampling.draws import Draw, Drawn
from semantic_entropy.types import Group, Result

_WAVE = 64  # groups measured together at most: enough pairs to fill a model's batch
_SECONDS = 2.0  # that a finished group waits for others at most

Measure = Callable[[Sequence[Group]], Sequence[Result]]


def checked_questions(question: Any) -> list[str]:
    """One question, or a list of them, as a list of texts with content."""
    questions = [question] if isinstance(question, str) else question
    if isinstance(questions, bytes) or not isinstance(questions, Sequence) or not questions:
        raise InputError(f"question={question!r:.80}: to sample responses, pass a question (str) or a list of them")
    for i, one in enumerate(questions):
        if not isinstance(one, str) or not one.strip():
            raise InputError(f"question {i} is {one!r:.80}: to sample responses, it must be a str with content")
    return list(questions)


def ask_and_measure(draw: Draw, questions: Sequence[str], measure: Measure, *, progress: bool) -> list[Result]:
    """The results in the order of the questions.

    Raises:
        SamplingError: the sampler cannot go on, or no question got any response.
    """
    results: dict[int, Result] = {}
    waiting: list[Drawn] = []
    since = time.monotonic()
    with bar("questions", len(questions), progress) as advance:

        def measure_waiting() -> None:
            done = measure([as_group(drawn, draw) for drawn in waiting])
            results.update(zip((drawn.index for drawn in waiting), done, strict=True))
            advance(len(waiting))
            waiting.clear()

        for drawn in draw.groups(questions):
            since = since if waiting else time.monotonic()
            waiting.append(drawn)
            if len(waiting) >= _WAVE or time.monotonic() - since > _SECONDS:
                measure_waiting()
        measure_waiting()
    in_order = [results[index] for index in range(len(questions))]
    if not any(result.labels or result.answers for result in in_order):
        raise SamplingError(f"no response from {draw.sampler.describe()}: {_first_problem(in_order)}")
    return in_order


def as_group(drawn: Drawn, draw: Draw) -> Group:
    """The group of what was drawn; logprobs only where every response has usable ones."""
    texts = [sample.text for sample in drawn.samples]
    group = Group(tuple(texts), drawn.question)
    logprobs = [sample.logprobs for sample in drawn.samples if sample.logprobs]
    if texts and len(logprobs) == len(texts):
        try:
            group = one_group(texts, drawn.question, logprobs)
        except EvidenceError as error:  # a server's nan must not cost the responses
            return _drawn(group, drawn, draw, f"log-probabilities left out: {error}")
    missing = f"{len(texts)} of {draw.n} responses: {drawn.problem}" if drawn.problem else None
    return _drawn(group, drawn, draw, missing)


def _drawn(group: Group, drawn: Drawn, draw: Draw, note: str | None) -> Group:
    return Group(
        group.responses,
        group.question,
        group.logprobs,
        drawn.samples,
        draw.sampler.describe(),
        note,
        drawn.failure.usage if drawn.failure else None,
        draw.n,
    )


def _first_problem(results: Sequence[Result]) -> str:
    return next((warning for result in results for warning in result.warnings), "it gave no reason")

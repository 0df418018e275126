"""The rules that every sampler keeps: what `semantic_entropy.testing.check_sampler` examines."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from semantic_entropy.errors import SamplingError, SemanticEntropyError
from semantic_entropy.sampling.base import Request, SampleFailure, Sampler
from semantic_entropy.types import Sample, Usage

QUESTIONS = ("What is the capital of France?", "2 + 2 = ?", "\u6771\u4eac?", "a\x00b", "Why?\n\nBecause {question}.")
"""What a sampler may meet: plain questions, another script, a null byte, braces and several lines."""

_MANY = 10_000  # requests: far more than any sampler can start on before its first sample


def sampler_rules(sampler: Sampler, questions: Sequence[str], n: int) -> Iterator[str]:
    """What is broken, in a sentence each; it draws 2 n samples for each question, and starts on a long list more."""
    if not sampler.name:
        yield "name is empty: results could not say who drew"
    if not isinstance(sampler.describe(), str) or not sampler.describe():
        yield f"describe() returned {sampler.describe()!r}, which is no text"
    yield from _settings_rules(sampler)
    if drawn := _drawn(sampler, []):
        yield f"asked for nothing, it drew {drawn[0]!r:.80}"
    for first in (0, n):
        requests = [Request(index, question, n, first) for index, question in enumerate(questions)]
        yield from _outcome_rules(requests, _drawn(sampler, requests))
    yield from _laziness_rules(sampler, questions)


def _settings_rules(sampler: Sampler) -> Iterator[str]:
    if sampler.settings != sampler.settings:
        yield "settings differ from one reading to the next: no sample on disk would ever be found again"
    if wrong := [value for value in _leaves(sampler.settings) if not isinstance(value, str | int | float | None)]:
        yield f"settings hold {wrong[0]!r:.80}, a {type(wrong[0]).__name__}: only plain values mean the same elsewhere"


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, tuple | frozenset):
        for one in value:
            yield from _leaves(one)
    else:
        yield value


def _drawn(sampler: Sampler, requests: Sequence[Request]) -> list[Any]:
    try:
        return list(sampler.stream(iter(requests)))
    except SemanticEntropyError:
        raise
    except Exception as error:
        raise SamplingError(f"stream() raised {type(error).__name__}: {error}") from error


def _outcome_rules(requests: Sequence[Request], outcomes: Sequence[Any]) -> Iterator[str]:
    of_request: dict[Request, list[Any]] = {request: [] for request in requests}
    for outcome in outcomes:
        if not isinstance(outcome, tuple) or len(outcome) != 2 or outcome[0] not in of_request:
            yield f"it yielded {outcome!r:.80}, which is no pair of a request that was made and what came of it"
            return
        of_request[outcome[0]].append(outcome[1])
    for request, came in of_request.items():
        samples = [one for one in came if isinstance(one, Sample)]
        failures = [one for one in came if isinstance(one, SampleFailure)]
        if len(samples) + len(failures) != len(came):
            yield f"for {request} it drew something that is neither a Sample nor a SampleFailure: {came!r:.80}"
        elif len(samples) > request.n:
            yield f"for {request} it drew {len(samples)} samples"
        elif len(samples) < request.n and not (len(failures) == 1 and came[-1] is failures[0]):
            yield f"for {request} it drew {len(samples)} samples and {len(failures)} failures: one comes last"
        elif len(samples) == request.n and failures:
            yield f"for {request} it drew all samples, and failed: {failures[0].reason}"
        for failure in failures:
            yield from _usage_rule("failure", failure.usage)
        for sample in samples:
            yield from _usage_rule("sample", sample.usage)
            yield from _sample_rules(sample)


def _usage_rule(whose: str, usage: Any) -> Iterator[str]:
    if usage is not None and not isinstance(usage, Usage):
        yield f"a {whose}'s usage is {usage!r:.80}"


def _sample_rules(sample: Sample) -> Iterator[str]:
    if not isinstance(sample.text, str):
        yield f"a sample's text is {sample.text!r:.80}, a {type(sample.text).__name__}"
    texts = (sample.finish_reason, sample.reasoning)
    if not all(text is None or isinstance(text, str) for text in texts):
        yield f"a sample's finish_reason and reasoning are {texts!r:.80}: texts or None"
    for name, most in (("logprobs", 1e-3), ("token_entropies", math.inf), ("hidden_state", math.inf)):
        values = getattr(sample, name)
        if values is None:
            continue
        if not isinstance(values, tuple) or not all(isinstance(v, float) and math.isfinite(v) for v in values):
            yield f"a sample's {name} are {values!r:.80}: a tuple of finite floats, or None"
        elif any(value > most for value in values):
            yield f"a sample's {name} hold {max(values)}: no logarithm of a probability"
    if sample.logprobs and sample.token_entropies and len(sample.logprobs) != len(sample.token_entropies):
        yield f"a sample has {len(sample.logprobs)} logprobs and {len(sample.token_entropies)} token_entropies"


def _laziness_rules(sampler: Sampler, questions: Sequence[str]) -> Iterator[str]:
    taken = 0

    def requests() -> Iterator[Request]:
        nonlocal taken
        for index in range(_MANY):
            taken += 1
            yield Request(index, f"{questions[index % len(questions)]} ({index})", 1)

    stream = sampler.stream(requests())
    if not isinstance(stream, Generator):
        yield f"stream() returned a {type(stream).__name__}: a generator can be closed, which stops the work"
        return
    next(stream, None)
    if taken == _MANY:
        yield f"it took all of {_MANY} requests before its first sample: take the next when you can start on it"
    stream.close()
    at_close = taken
    time.sleep(0.1)  # a thread that nobody stopped would go on meanwhile
    if taken != at_close:
        yield f"closed, it went on: {taken - at_close} requests were taken after that"

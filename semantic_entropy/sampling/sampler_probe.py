"""Ask a model one open question several times: do its answers vary, and what comes back with them?

Semantic entropy needs independent answers. If a model answers with temperature 0, or a cache repeats an answer, all
answers agree and every question looks certain. So the same question is asked twice, with n responses each time, and the
texts are compared:

    all 2n texts are equal            temperature 0, a cache, or a fixed seed
    both times the same n texts       a cache, or a fixed seed: they vary, but the second request drew nothing new
    some texts are equal              little variety: a low temperature, top_p, top_k
    all texts differ                  nothing speaks against independent answers

Two equal texts prove nothing by themselves, as a model can be certain. So the question has very many answers, and if
the log-probabilities of the texts are known, the probability that independent answers are all equal is stated:

    P = p^(k-1), p = exp(sum of the log-probabilities of the text)      k equal texts

What is not found: a cache that repeats answers only later, or for other questions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from semantic_entropy.contracts import describe, stream_samples
from semantic_entropy.plain_text import plural, shorten
from semantic_entropy.sampling.base import Sampler
from semantic_entropy.types import Request, Sample, SampleFailure, Usage

OPEN_QUESTION = "Write two sentences that begin a story. Choose freely who it is about, and what is strange there."
_SLOW = 2.0  # seconds: a shorter first request can be the time to connect
_FAST = 0.1  # a second request that takes less than this share of the first one's time was hardly generated again


@dataclass(frozen=True, slots=True)
class ProbeFinding:
    """What was found.

    Attributes:
        name: what was looked at.
        ok: whether it is as semantic entropy needs it.
        detail: what was seen.
        fix: what to do; empty if nothing is to be done.
        needed: whether results are wrong without it.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    needed: bool = False


@dataclass(frozen=True, slots=True)
class SamplerProbe:
    """The answers of both requests.

    Attributes:
        sampler: the sampler with its options.
        rounds: the samples of each request.
        seconds: how long each request took.
        failure: why responses are missing; empty: none is.
        usage: the cost; None: not known.
        notes: the warnings of the sampler.
    """

    sampler: str
    rounds: tuple[tuple[Sample, ...], ...]
    seconds: tuple[float, ...]
    failure: str
    usage: Usage | None
    notes: tuple[str, ...]

    @property
    def samples(self) -> list[Sample]:
        """All samples."""
        return [sample for samples in self.rounds for sample in samples]

    def findings(self) -> Iterator[ProbeFinding]:
        """Yield what was found, the most important first."""
        yield self._variety()
        if self.failure:
            yield ProbeFinding("responses", ok=False, detail=self.failure, needed=True)
        if self.samples:
            yield self._logprobs()
            yield self._top_logprobs()
        yield from self._ends()
        yield from (ProbeFinding("note", ok=False, detail=note, needed=True) for note in self.notes)
        took = " and ".join(f"{seconds:.2f}" for seconds in self.seconds)
        yield ProbeFinding("cost", ok=True, detail=f"{self.usage or 'not reported'}; {took} s")

    def _variety(self) -> ProbeFinding:
        texts = [sample.text.strip() for sample in self.samples if sample.text.strip()]
        if len(texts) < 2:
            detail = f"{plural(len(texts), 'answer')} with a text, so there is nothing to compare"
            return ProbeFinding("variety", ok=False, detail=detail, needed=True)
        distinct = len(set(texts))
        if distinct == 1:
            detail = (
                f"all {len(texts)} answers are the same text, {shorten(texts[0], 60)!r}: temperature 0, a cache, or a "
                f"fixed seed{self._chance(len(texts))}{self._speed()}"
            )
            fix = "set the temperature to 1, and ask the server without a cache; with these answers, each entropy is 0"
            return ProbeFinding("variety", ok=False, detail=detail, fix=fix, needed=True)
        first, *others = [sorted(sample.text for sample in samples) for samples in self.rounds]
        if any(other == first for other in others):
            detail = (
                f"{distinct} different answers, and the second request got the same ones as the first: a cache, or a "
                f"fixed seed{self._speed()}"
            )
            fix = "ask the server without a cache and without a seed of its own"
            return ProbeFinding("variety", ok=False, detail=detail, fix=fix, needed=True)
        detail = f"{distinct} different texts in {len(texts)} answers to an open question"
        if distinct == len(texts):
            return ProbeFinding("variety", ok=True, detail=detail)
        detail += ": little variety, as from a low temperature, top_p or top_k, or a cache that repeats some answers"
        return ProbeFinding("variety", ok=False, detail=detail, fix="compare with temperature 1, top_p 1 and no top_k")

    def _chance(self, equal: int) -> str:
        """State the probability of equal texts, if the log-probabilities are known."""
        known = [math.fsum(sample.logprobs) for sample in self.samples if sample.logprobs]
        if not known or any(math.isnan(total) or total > 0 for total in known):
            return "; the log-probabilities, which could say how unlikely that is, are not known"
        total = max(known)
        if total > -1e-6:
            return "; by its log-probabilities the model writes nothing else"
        power = total * (equal - 1) / math.log(10)
        chance = f"1 in 10^{-power:.0f}" if power < -3 else f"{10**power:.2g}"
        return f"; by its log-probabilities, the chance of that for independent answers is {chance}"

    def _speed(self) -> str:
        first, last = self.seconds[0], self.seconds[-1]
        if first < _SLOW or last >= _FAST * first:
            return ""
        return f"; the second request took {last:.2f} s and the first {first:.2f} s, which a cache would explain"

    def _logprobs(self) -> ProbeFinding:
        having = [sample.logprobs for sample in self.samples if sample.logprobs]
        detail = f"with {len(having)} of {plural(len(self.samples), 'response')}"
        if len(having) < len(self.samples):
            return ProbeFinding(
                "logprobs",
                ok=False,
                detail=detail,
                fix="without them, scores from counts and texts work, others do not",
            )
        if all(value == 0 for values in having for value in values):
            return ProbeFinding("logprobs", ok=False, detail=f"{detail}, but all are 0, as at temperature 0")
        return ProbeFinding("logprobs", ok=True, detail=detail)

    def _top_logprobs(self) -> ProbeFinding:
        sizes = [len(token) for sample in self.samples for token in sample.top_logprobs or ()]
        having = sum(sample.top_logprobs is not None for sample in self.samples)
        detail = f"with {having} of {plural(len(self.samples), 'response')}"
        if sizes:
            few, many = min(sizes), max(sizes)
            detail += f", {few} a token" if few == many else f", {few} to {many} a token"
        fix = "" if having else "for epr, wepr and self_certainty: the option top_logprobs, if the sampler has it"
        return ProbeFinding("top_logprobs", ok=bool(having), detail=detail, fix=fix)

    def _ends(self) -> Iterator[ProbeFinding]:
        cut = sum(sample.finish_reason == "length" for sample in self.samples)
        empty = sum(not sample.text.strip() for sample in self.samples)
        if cut:
            detail = f"{cut} of {plural(len(self.samples), 'response')} reached the token limit"
            yield ProbeFinding("length", ok=False, detail=detail, fix="raise max_tokens of the sampler")
        if empty:
            detail = f"{empty} of {plural(len(self.samples), 'response')} have no text"
            yield ProbeFinding("empty", ok=False, detail=detail, fix="reasoning takes tokens: raise max_tokens")


def probe_sampler(sampler: Sampler, question: str = OPEN_QUESTION, n: int = 4) -> SamplerProbe:
    """Ask the question twice, with n responses each time.

    Args:
        sampler: the sampler.
        question: a question with very many answers.
        n: the number of responses of each request, at least 2.

    Raises:
        SamplingError: the sampler cannot ask its model.
    """
    rounds, seconds, usages, failure = [], [], [], ""
    for number in range(2):
        began, samples = time.perf_counter(), []
        # `first`: a sampler with a seed must draw other responses; without a seed, both requests are equal
        for _, outcome in stream_samples(sampler, iter([Request(0, question, n, number * n)])):
            if isinstance(outcome, Sample):
                samples.append(outcome)
            else:
                lost = outcome.reason if isinstance(outcome, SampleFailure) else "the sampler ended its stream early"
                failure = f"request {number + 1}: {len(samples)} of {n} responses: {lost}"
            if outcome and outcome.usage:
                usages.append(outcome.usage)
        rounds.append(tuple(samples))
        seconds.append(time.perf_counter() - began)
    return SamplerProbe(
        describe("sampler", sampler),
        tuple(rounds),
        tuple(seconds),
        failure,
        sum(usages, Usage()) if usages else None,
        tuple(sampler.notes),
    )

"""`n="auto"`: draw responses in small rounds, and stop when the decision against a threshold is settled.

The decision is whether the discrete entropy of the responses is above the threshold, with at most `max_n` responses.
The first round asks for `min_n` responses to each question, each later round for 2 more. After a round,

    p = P(the discrete entropy of max_n responses is on the side of the threshold where it is now)

is computed from the sizes of the clusters (`estimators.posterior.p_above`). A question stops at p >= 0.95, at `max_n`,
or when a round brings no new response to it. With max_n responses, the decision is that of a fixed n = max_n.

The questions are asked in windows of 64: in each round, the sampler gets the requests of all open questions of a
window. The rule knows nothing of scores other than the discrete entropy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from semantic_entropy.errors import InputError, SamplingError
from semantic_entropy.estimators import Discrete
from semantic_entropy.results import Result
from semantic_entropy.sampling.base import Sampler
from semantic_entropy.sampling.draw import MAX_GROUPS, SampledQuestion, SamplingRun
from semantic_entropy.sampling.store import SampleStore, is_lost
from semantic_entropy.types import Evidence, Group, Labels, Sample, Usage

_ROUND = 2  # responses of a later round: with 1, half of the answers of a server wait for a round of their own
_SETTLED = 0.95  # probability of the same decision at max_n; docs/how-to/ask-the-model.md has the measured share


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """When no further responses are drawn: the argument `n="auto"` with its options.

    Attributes:
        threshold: the discrete entropy, in nats, that the decision compares with.
        min_n: the number of responses of the first round.
        max_n: the largest number of responses.
    """

    threshold: float
    min_n: int = 3
    max_n: int = 10

    def __post_init__(self) -> None:
        if not 2 <= self.min_n <= self.max_n:  # one response has no entropy
            raise InputError(
                f"min_n={self.min_n} and max_n={self.max_n} are the fewest and the most responses that n='auto' draws: "
                "min_n is at least 2, and at most max_n"
            )
        highest = math.log(self.max_n)
        if not 0 <= self.threshold < highest:  # also nan
            raise InputError(
                f"threshold={self.threshold} is an entropy in nats, at least 0 and below ln(max_n) = {highest:.2f}: "
                f"{self.max_n} responses have no higher entropy, so the decision would always be the same"
            )

    def __str__(self) -> str:
        return f"auto(threshold={self.threshold}, min_n={self.min_n}, max_n={self.max_n})"

    def rounds(self) -> Iterator[int]:
        """Yield the number of responses that each question has after each round."""
        yield from range(self.min_n, self.max_n, _ROUND)
        yield self.max_n

    def is_settled(self, labels: Labels, left: int) -> bool:
        """Whether `left` further responses would hardly change the decision on responses with these labels."""
        from semantic_entropy.estimators.posterior import p_above  # imports numpy
        from semantic_entropy.estimators.unseen import cluster_sizes

        if left <= 0:
            return True
        sizes = cluster_sizes(labels)
        if not sizes:
            return False
        counted = tuple([cluster for cluster, size in enumerate(sizes) for _ in range(size)])
        above = Discrete().estimate(Evidence(counted)).value > self.threshold
        p = p_above(sizes, left, self.threshold)
        return (p if above else 1 - p) >= _SETTLED


def stopping_rule(n: Any, threshold: float | None, min_n: int, max_n: int) -> StoppingRule | None:
    """Check the number of responses. Return the rule of n="auto"; None: n is a number."""
    if n == "auto":
        if threshold is None:
            raise InputError('n="auto" needs threshold=, the entropy in nats that you compare results with')
        return StoppingRule(threshold, min_n, max_n)
    if isinstance(n, str) or n < 1:
        raise InputError(f'n={n!r} must be at least 1, or "auto": it is the number of responses to draw for a question')
    if threshold is not None:
        raise InputError(f'threshold={threshold} is for n="auto", and n is {n}: pass n="auto", or leave threshold out')
    return None


class _MemoryStore:
    """The samples of a run without a file, so that the next round asks only for what is missing."""

    def __init__(self) -> None:
        self._samples: dict[str, list[Sample]] = {}

    def get(self, _: Sampler, question: str, n: int) -> list[Sample]:
        return [sample for sample in self._samples.get(question, ()) if not is_lost(sample)][:n]

    read = get

    def lost(self, _: Sampler, question: str) -> int:
        return sum(map(is_lost, self._samples.get(question, ())))

    def add(self, _: Sampler, question: str, sample: Sample) -> None:
        self._samples.setdefault(question, []).append(sample)


@dataclass(slots=True)
class _Open:
    """A question that is not settled: the number of its responses, and the costs of the rounds so far."""

    question: str
    responses: int = 0
    lost: int = 0
    asked: int = 0
    judging_usage: Usage | None = None
    lost_usage: Usage | None = None


class AdaptiveRun(SamplingRun):
    """Draws as many samples for each question as the stopping rule asks for. `measure` clusters the responses."""

    def __init__(
        self,
        sampler: Sampler,
        rule: StoppingRule,
        measure: Callable[[Sequence[Group]], Sequence[Result]],
        store: SampleStore | None = None,
    ) -> None:
        super().__init__(sampler, rule.max_n, store or _MemoryStore())
        self.rule, self.measure = rule, measure
        self._groups: dict[int, Group] = {}  # by the index of the question, until `to_group` takes it

    def groups(self, questions: Iterable[str]) -> Generator[SampledQuestion, None, None]:
        """Yield the samples of each question, in the order in which the questions are settled.

        Raises:
            SamplingError: the sampler cannot continue. The settled questions have been yielded.
        """
        numbered = enumerate(questions)
        while window := {index: _Open(question) for index, question in islice(numbered, MAX_GROUPS)}:
            for n in self.rule.rounds():
                yield from self._round(window, n)

    def to_group(self, sampled: SampledQuestion) -> Group:
        """Return the group of a question that `groups` yielded."""
        return self._groups.pop(sampled.index)

    def _round(self, window: dict[int, _Open], n: int) -> Iterator[SampledQuestion]:
        """Draw up to n samples for each open question; remove and yield the questions that are settled."""
        run, indices = SamplingRun(self.sampler, n, self.store), list(window)
        drawn: list[SampledQuestion] = []
        try:
            drawn.extend(run.groups([window[index].question for index in indices]))
        except SamplingError:
            yield from self._settled(run, drawn, indices, window)
            raise
        finally:
            self.unfinished += run.unfinished
        yield from self._settled(run, drawn, indices, window)

    def _settled(
        self, run: SamplingRun, drawn: Sequence[SampledQuestion], indices: Sequence[int], window: dict[int, _Open]
    ) -> Iterator[SampledQuestion]:
        groups = [run.to_group(sampled) for sampled in drawn]
        for sampled, group, result in zip(drawn, groups, self.measure(groups), strict=True):
            index = indices[sampled.index]
            open_, count = window[index], len(sampled.samples)
            open_.lost += sampled.lost
            open_.asked += result.provenance.asked
            open_.judging_usage = _sum(open_.judging_usage, result.provenance.usage)
            open_.lost_usage = _sum(open_.lost_usage, group.lost_usage)
            is_new = count > open_.responses
            open_.responses = count
            if is_new and not self.rule.is_settled(result.labels, self.rule.max_n - run.n):
                continue
            del window[index]
            self._groups[index] = replace(
                group,
                asked=open_.asked,
                judging_usage=open_.judging_usage,
                lost_usage=open_.lost_usage,
                stopping_rule=str(self.rule),
            )
            self._count(sampled.samples, open_.lost)
            yield replace(sampled, index=index, lost=open_.lost)


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    return one + other if one and other else one or other

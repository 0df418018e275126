"""Draws the greedy answer of each question before its other responses: `Scorer(sampler=..., greedy=True)`.

The greedy answer is the response of the sampler's `greedy_sampler`, which decodes at temperature 0. It costs one more
response for each question, is kept in the sample store under the settings of that sampler, and becomes the evidence
`greedy`. A question whose greedy answer cannot be drawn has no result: its other responses are not drawn, because the
scores of one answer would otherwise be those of other answers.

The questions are asked in windows of 64: first the greedy answers of a window, then its other responses.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from itertools import islice

from semantic_entropy.clusters import greedy_answer
from semantic_entropy.errors import EvidenceError
from semantic_entropy.sampling.base import Sampler
from semantic_entropy.sampling.draw import MAX_GROUPS, SampledQuestion, SamplingRun
from semantic_entropy.sampling.store import SampleStore
from semantic_entropy.types import GivenEvidence, Group, Sample, SampleFailure, Usage


class GreedyRun(SamplingRun):
    """Draws the greedy answer of each question, and then the responses that another run draws.

    Args:
        run: the run that draws the responses.
        greedy: the sampler that draws the greedy answers.
        store: where the greedy answers are kept.
    """

    def __init__(self, run: SamplingRun, greedy: Sampler, store: SampleStore | None) -> None:
        super().__init__(run.sampler, run.n, run.store)
        self._run, self._greedy = run, SamplingRun(greedy, 1, store)
        self._groups: dict[int, Group] = {}  # by the index of the question, until `to_group` takes it
        self._greedy.unfinished = run.unfinished = self.unfinished  # one list

    def groups(self, questions: Iterable[str]) -> Generator[SampledQuestion, None, None]:
        """Yield the samples of each question, in the order in which the questions become complete.

        Raises:
            SamplingError: the sampler cannot continue. The complete questions have been yielded.
        """
        numbered = enumerate(questions)
        while window := dict(islice(numbered, MAX_GROUPS)):
            indices, answers, notes = list(window), dict[str, Sample](), dict[str, list[str]]()
            for sampled in self._greedy.groups(list(window.values())):
                if sampled.samples:
                    answers[sampled.question], notes[sampled.question] = self._checked(sampled.samples[0])
                else:
                    yield self._without_answer(replace(sampled, index=indices[sampled.index]))
            answered = [index for index in indices if window[index] in answers]
            for sampled in self._run.groups([window[index] for index in answered]):
                index, answer = answered[sampled.index], answers[sampled.question]
                self._groups[index] = self._complete_group(sampled, answer, notes[sampled.question])
                self._count((*sampled.samples, answer), sampled.lost)
                yield replace(sampled, index=index)

    def to_group(self, sampled: SampledQuestion) -> Group:
        """Return the group of a question that `groups` yielded."""
        return self._groups.pop(sampled.index)

    def _checked(self, answer: Sample) -> tuple[Sample, list[str]]:
        """Return the answer, without its numbers if they are not usable, and notes for the result."""
        sampler = self._greedy.sampler
        notes = [f"greedy answer: {note}" for note in sampler.notes if note not in self.sampler.notes]
        try:
            greedy_answer(answer)
        except EvidenceError as error:  # as for the other responses, the text is usable
            notes.append(f"the numbers of the greedy answer left out: sampler {sampler.name!r}: {error}")
            answer = Sample(answer.text, None, answer.finish_reason, answer.reasoning, usage=answer.usage)
        return answer, notes

    def _without_answer(self, sampled: SampledQuestion) -> SampledQuestion:
        failure = sampled.failure or SampleFailure("no reason was given")
        sampled = replace(sampled, failure=replace(failure, reason=f"no greedy answer: {failure.reason}"))
        self._groups[sampled.index] = super().to_group(sampled)
        self._count((), sampled.lost)
        return sampled

    def _complete_group(self, sampled: SampledQuestion, answer: Sample, notes: list[str]) -> Group:
        group = self._run.to_group(sampled)
        if not group.responses:  # nothing is scored; the greedy answer was paid for
            usages = [usage for usage in (group.lost_usage, answer.usage) if usage]
            return replace(group, lost_usage=sum(usages, Usage()) if usages else None)
        evidence = replace(group.evidence or GivenEvidence(), greedy=answer)
        return replace(group, evidence=evidence, note="; ".join(filter(None, (group.note, *notes))) or None)

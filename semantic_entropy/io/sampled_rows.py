"""Rows with a question and no responses: a sampler draws the responses.

Rows are yielded in input order. A row is yielded as soon as the row and all rows before it are complete. The sampler
draws responses for later rows in the meantime.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

from semantic_entropy.clusters import greedy_answer, is_messages
from semantic_entropy.errors import EvidenceError
from semantic_entropy.io.rows import GREEDY, InputRow
from semantic_entropy.sampling import GreedyRun, SampledQuestion, SamplingRun
from semantic_entropy.tables import FieldNames
from semantic_entropy.types import GivenEvidence, Sample


class RowSampler:
    """Draws the responses of rows that have a question and no responses."""

    def __init__(self, run: SamplingRun, names: FieldNames) -> None:
        self.run, self.names = run, names

    def fill(self, rows: Iterator[InputRow]) -> Generator[InputRow, None, None]:
        """Yield all rows in order, with responses.

        Raises:
            SamplingError: the sampler cannot continue. The complete rows before the first incomplete row were yielded.
        """
        waiting: deque[tuple[InputRow, int | None]] = deque()  # index of the question, or None
        complete: dict[int, SampledQuestion] = {}
        groups = self.run.groups(self._questions(rows, waiting))
        try:
            for sampled in groups:
                complete[sampled.index] = sampled
                yield from self._take_complete(waiting, complete)
            yield from self._take_complete(waiting, complete)
        finally:
            groups.close()

    def _questions(self, rows: Iterator[InputRow], waiting: deque[tuple[InputRow, int | None]]) -> Iterator[str]:
        index = 0
        for row in rows:
            if not row.needs_responses(self.names):
                waiting.append((row, None))
                continue
            if problem := self._conversation(row) or self._greedy_problem(row):
                waiting.append((replace(row, problem=problem), None))
                continue
            waiting.append((row, index))
            index += 1
            yield self._question(row)

    def _take_complete(
        self, waiting: deque[tuple[InputRow, int | None]], complete: dict[int, SampledQuestion]
    ) -> Iterator[InputRow]:
        while waiting and (waiting[0][1] is None or waiting[0][1] in complete):
            row, index = waiting.popleft()
            yield row if index is None else self._filled(row, complete.pop(index))

    def _filled(self, row: InputRow, sampled: SampledQuestion) -> InputRow:
        if not sampled.samples:
            problem = f"no response from {self.run.sampler.describe()}: {sampled.problem}"
            return replace(row, problem=problem, retry=sampled.failure is not None and sampled.failure.transient)
        group = self.run.to_group(sampled)
        given = self.names.evidence_in(row.fields or {})
        if GREEDY in given:
            evidence = replace(group.evidence or GivenEvidence(), greedy=greedy_answer(given[GREEDY]))
            group = replace(group, evidence=evidence)
        fields = {**(row.fields or {}), self.names.responses: list(group.responses)}
        if group.logprobs:
            fields[self.names.logprobs] = [list(tokens) for tokens in group.logprobs]
        if isinstance(self.run, GreedyRun) and group.evidence and group.evidence.greedy:
            fields[GREEDY] = _known_fields(group.evidence.greedy)
        return replace(row.marked_as_sampled(self.names), fields=fields, problem=None, group=group)

    def _conversation(self, row: InputRow) -> str | None:
        """Return why the row cannot be sampled if its question is the last turn of a longer conversation."""
        fields = row.fields or {}
        name, _ = self.names.question_in(fields)
        messages: Any = fields[name] if name else None
        if not is_messages(messages) or len(messages) == 1:
            return None
        return (
            f"{name!r} holds {len(messages)} messages, and a sampler gets only the text of the question, without the "
            "other messages: write the question in a field of its own (--question FIELD)"
        )

    def _greedy_problem(self, row: InputRow) -> str | None:
        """Return what is wrong with the greedy answer of the row, before its responses are paid for."""
        if isinstance(self.run, GreedyRun) and (row.fields or {}).get(GREEDY) is not None:
            return "the field 'greedy' holds an answer, and --greedy would draw another one: remove one of the two"
        given = self.names.evidence_in(row.fields or {})
        try:
            if GREEDY in given:
                greedy_answer(given[GREEDY])
        except EvidenceError as error:
            return str(error)
        return None

    def _question(self, row: InputRow) -> str:
        _, question = self.names.question_in(row.fields or {})
        return question if isinstance(question, str) else ""


def _known_fields(answer: Sample) -> dict[str, Any]:
    """Return what is known about an answer as JSON values, in the form that a row has for a given greedy answer."""
    names = ("text", "finish_reason", "reasoning", "logprobs", "top_logprobs", "token_entropies", "hidden_state")
    known = {name: getattr(answer, name) for name in names}
    return {name: _as_lists(value) for name, value in known.items() if value is not None}


def _as_lists(value: Any) -> Any:
    return list(map(_as_lists, value)) if isinstance(value, tuple) else value

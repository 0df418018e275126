"""The fields of a row, or the columns of a table, that are measured: their names, and how the question is found.

If no field is named and a row has no field `question`, a field with a common name (`prompt`, `query`, `messages`, ...)
is the question. A list of chat messages is a question, too: the text of its last user turn. The question is found in
each row by itself, so the result of a row does not depend on other rows.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semantic_entropy.clusters import last_user_turn
from semantic_entropy.results import Result

QUESTION = "question"
SAMPLES = "samples"
_SINGLE_NAMES = (  # not `answer`: often the gold answer
    "response",
    "completion",
    "generation",
    "output",
    "prediction",
    "messages",
    "conversation",
)
_COMMON_NAMES = (  # in this order: with `instruction`, Alpaca's `input` is only the context of the instruction
    "prompt",
    "query",
    "instruction",
    "problem",
    "user_input",
    "input",
    "messages",
    "conversation",
)
# `answer_1` is left out: it can be an option of a multiple-choice question.
_NUMBERED = re.compile(r"(responses?|samples?|completions?|generations?|outputs?)[ _-]?\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FieldNames:
    """The names of the fields that are measured.

    Attributes:
        responses: the field with the responses, a list of texts or of replies; without it, the field `samples` of a row
            has them, if it is a list of objects; of a table, also a pattern with `*` for several
            columns with one response each.
        question: the field with the question, a text or a list of chat messages; None: `question`, or, in a row without
            this field, the first of the common names with a text or with messages.
        logprobs: the field with the log-probabilities, in nats: a list of floats for each response.
        id: the field that identifies a row.
        answer: the field with the answer that is scored, which a row must then have; None: `greedy`, if a row has it.
        evidence: the fields with evidence that an estimator reads; the other fields of these names are not read.
    """

    responses: str = "responses"
    question: str | None = None
    logprobs: str = "logprobs"
    id: str = "id"
    answer: str | None = None
    evidence: frozenset[str] = frozenset()

    @property
    def measured(self) -> tuple[str, ...]:
        """The fields that are measured, except the question."""
        return (self.responses, self.logprobs, self.id, *map(self._field, sorted(self.evidence)))

    def evidence_in(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the evidence of a row besides log-probabilities. Texts with JSON, as in a CSV file, are decoded."""
        found = {name: _decoded(fields.get(self._field(name))) for name in self.evidence}
        return {name: value for name, value in found.items() if value is not None}

    def _field(self, evidence: str) -> str:
        return self.answer or evidence if evidence == "greedy" else evidence

    def evidence_or_none(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the evidence of a row, with None for what the row does not have: its replies can have it."""
        return {**dict.fromkeys(self.evidence), **self.evidence_in(fields)}

    def responses_field(self, fields: Mapping[str, Any]) -> str:
        """Return the field of a row that has all responses: `responses`, or `samples` if it has a list of objects."""
        samples = fields.get(SAMPLES)
        if self.responses in fields or self.responses != FieldNames().responses or not isinstance(samples, list):
            return self.responses
        return SAMPLES if samples and all(isinstance(each, Mapping) for each in samples) else self.responses

    def single_response(self, names: Collection[Any]) -> str:
        """Return the field of a row that has one response: `responses`, or the first of the common names."""
        if self.responses in names or self.responses != FieldNames().responses:
            return self.responses
        return next((name for name in _SINGLE_NAMES if name in names), self.responses)

    def response_columns(self, columns: Sequence[Any]) -> list[str]:
        """Return the columns that hold one response each; empty if one column holds all responses.

        They fit the pattern in `responses`. If no column is named, they are `response_1`, `response_2`, ..., or have
        another common name with a number.
        """
        names = [name for name in columns if isinstance(name, str)]
        if self.responses in names:
            return []
        if "*" in self.responses:
            return [name for name in names if fnmatch.fnmatchcase(name, self.responses)]
        if self.responses != FieldNames().responses:
            return []
        numbered = [(match[1].lower(), name) for name in names if (match := _NUMBERED.fullmatch(name))]
        return [name for kind, name in numbered if kind == numbered[0][0]]

    def question_fields(self, names: Collection[Any]) -> list[str]:
        """Return those of these fields that can hold the question, the most probable first."""
        if self.question is not None or QUESTION in names:
            return [self.question or QUESTION]
        common = [name for name in names if isinstance(name, str) and name.lower() in _COMMON_NAMES]
        return sorted(common, key=lambda name: _COMMON_NAMES.index(name.lower()))

    def question_in(self, fields: Mapping[Any, Any]) -> tuple[str | None, Any]:
        """Return (field, question) of a row. Without a field for the question, both are None."""
        names = self.question_fields(fields)
        if self.question is not None or names == [QUESTION]:
            return names[0], last_user_turn(fields.get(names[0]))
        for name in names:
            text = last_user_turn(fields[name])
            if isinstance(text, str) and text.strip():
                return name, text
        return None, None


def _decoded(value: Any) -> Any:
    """Return the list or object in a JSON text; None for an empty text; other values unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.lstrip().startswith(("[", "{")) else value.strip() or None
    except (ValueError, RecursionError):
        return value


class QuestionUse:
    """Notes which fields were taken as the question, and counts the rows without a question for their judge."""

    def __init__(self, names: FieldNames) -> None:
        self.names = names
        self.rows = 0
        self.without = 0
        self._taken: dict[str, None] = {}
        self._texts: tuple[str, ...] = ()

    def add(
        self, fields: Mapping[Any, Any], question: str | None, result: Result, *, uses_question: bool
    ) -> str | None:
        """Note a measured row and its question. Return the field taken as the question if it was not taken before."""
        self.rows += 1
        name, _ = self.names.question_in(fields)
        if name is None and question is None and uses_question and result.n_valid > 1:
            if not self.without:
                self._texts = tuple(
                    str(name)
                    for name, value in fields.items()
                    if isinstance(value, str) and name not in self.names.measured
                )
            self.without += 1
        if name is None or name == QUESTION or self.names.question is not None or name in self._taken:
            return None
        self._taken[name] = None
        return name

    def warning(self, argument: str) -> str:
        """Return the warning about rows without a question; empty if there is none. `argument` names a field."""
        if not self.without:
            return ""
        texts = f" (fields with a text: {', '.join(self._texts)})" if self._texts else ""
        return (
            f"{self.without} of {self.rows} rows have no field with a question, and the judge uses the question to "
            f"compare answers: name the field with {argument}{texts}"
        )

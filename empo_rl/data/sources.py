r"""The data sets that `empo-data` prepares: their columns, and the rules that remove records.

`numina_source`: NuminaMath-CoT. The answer is the content of the last `\boxed{}` of the solution, with balanced braces,
so the answer of `\boxed{\frac{1}{2}}` is `\frac{1}{2}`. A proof has no answer (None); EMPO does not need answers. The
paper takes 20,000 questions "without additional data engineering" (section 4.1, Appendix G), but prints neither the
seed nor the sampling method. The sample of `empo-data` therefore differs from the paper's sample.

`natural_source`: Natural Reasoning, filtered with the paper's Algorithm 4 (Appendix G):

    len(answer) > 0, len(answer) < 129, len(response) < 4096, len(question) < 512,
    neither "prove" nor "proof" in the lower-case question (so "improve" is removed, too)

All lengths are in characters, like in the printed code. For the length of a response, the paper's text says tokens, but
its code says `len`. The default follows the code; the argument `length` can count tokens. The dataset on the hub has
changed: its column `responses` is a list of objects with a field `response`; the paper's code reads the column
`llama_responses`. If a record has several responses, the rule measures the longest response, and the row keeps the
first response. (`len` of the list would be the number of responses, and the rule would remove no record.)

If a record breaks a rule, `convert` returns `Removed`, and the report counts the record. If a column is missing,
`convert` raises an error, because every record would break the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from empo_rl.data.records import Question, column_question, column_value, question_text
from semantic_entropy import InputError, load_extractor
from semantic_entropy.plain_text import shorten

TrainingRow = Mapping[str, Any]
"""A row of the output file."""

ColumnNames = Mapping[str, str]
"""Role (question, answer, ...) -> name of the column; an empty name means that no column has this role."""

# Algorithm 4 removes a record if a length reaches its limit
ANSWER_LIMIT, RESPONSE_LIMIT, QUESTION_LIMIT = 129, 4096, 512

NO_QUESTION = "no question"
NO_BOXED_ANSWER = r"no \boxed answer (--answered)"
NO_ANSWER = "no answer"
LONG_ANSWER = f"answer of {ANSWER_LIMIT} characters or more"
LONG_QUESTION = f"question of {QUESTION_LIMIT} characters or more"
PROVE, PROOF = '"prove" in the question', '"proof" in the question'


@dataclass(frozen=True, slots=True)
class Removed:
    """The result for a record that is left out.

    Attributes:
        rule: the first rule that the record breaks, in the order of `DataSource.rules`.
    """

    rule: str


@dataclass(frozen=True)
class DataSource:
    """A data set, and the function that converts its records to training rows.

    Attributes:
        name: the command of `empo-data` that prepares the data set.
        dataset: name of the Hugging Face dataset.
        count: default number of sampled rows.
        columns: the column names of the dataset, by role.
        optional: roles that may have an empty column name.
        rules: names of the rules, in the order in which they are applied.
        convert: (record, place, columns) -> the training row, or `Removed` with the rule that removes the record.
    """

    name: str
    dataset: str
    count: int
    columns: ColumnNames
    optional: frozenset[str]
    rules: tuple[str, ...]
    convert: Callable[[Mapping[str, Any], str, ColumnNames], TrainingRow | Removed]

    def with_columns(self, changes: ColumnNames) -> ColumnNames:
        """The column names of the data set, updated with `changes`.

        Raises:
            InputError: a role does not exist, or a role that needs a column has an empty name.
        """
        for role, column in changes.items():
            if role not in self.columns:
                raise InputError(f"--column {role}={column}: unknown role. Roles: {', '.join(self.columns)}.")
            if not column and role not in self.optional:
                allowed = ", ".join(sorted(self.optional)) or "none"
                raise InputError(
                    f"--column {role}=: this role needs a column name. Roles that can be empty: {allowed}."
                )
        return {**self.columns, **changes}


def numina_source(*, answered: bool = False) -> DataSource:
    """The data set NuminaMath-CoT. `answered`: keep only questions whose solution has a boxed answer."""
    extract_boxed = load_extractor("boxed")

    def convert(record: Mapping[str, Any], place: str, columns: ColumnNames) -> TrainingRow | Removed:
        question = _question(record, columns, place)
        if question is None:
            return Removed(NO_QUESTION)
        solution = _text(record, columns, "solution", place)
        answer = extract_boxed(solution) if solution else None
        if answered and answer is None:
            return Removed(NO_BOXED_ANSWER)
        source = _text(record, columns, "source", place)
        return {"question": question, "answer": answer, "solution": solution, "source": source}

    return DataSource(
        name="numina",
        dataset="AI-MO/NuminaMath-CoT",
        count=20_000,
        columns={"question": "problem", "solution": "solution", "source": "source"},
        optional=frozenset({"source"}),
        rules=(NO_QUESTION, NO_BOXED_ANSWER) if answered else (NO_QUESTION,),
        convert=convert,
    )


def natural_source(length: Callable[[str], int] = len, unit: str = "characters") -> DataSource:
    """The data set Natural Reasoning. `length` returns the length of a response in `unit`, for example in tokens."""
    long_response = f"response of {RESPONSE_LIMIT} {unit} or more"

    def convert(record: Mapping[str, Any], place: str, columns: ColumnNames) -> TrainingRow | Removed:
        question = _question(record, columns, place)
        answer = _text(record, columns, "answer", place)
        responses = _response_texts(record, columns["response"], place) if columns["response"] else []
        if question is None:
            return Removed(NO_QUESTION)
        if answer is None:
            return Removed(NO_ANSWER)
        if len(answer) >= ANSWER_LIMIT:
            return Removed(LONG_ANSWER)
        if any(length(response) >= RESPONSE_LIMIT for response in responses):
            return Removed(long_response)
        text = question_text(question)
        lower = text.lower()
        for rule, broken in (
            (LONG_QUESTION, len(text) >= QUESTION_LIMIT),
            (PROVE, "prove" in lower),
            (PROOF, "proof" in lower),
        ):
            if broken:
                return Removed(rule)
        return {"question": question, "answer": answer, "response": responses[0] if responses else None}

    return DataSource(
        name="natural",
        dataset="facebook/natural_reasoning",
        count=18_000,
        columns={"question": "question", "answer": "reference_answer", "response": "responses.response"},
        optional=frozenset({"response"}),
        rules=(NO_QUESTION, NO_ANSWER, LONG_ANSWER, long_response, LONG_QUESTION, PROVE, PROOF),
        convert=convert,
    )


def _question(record: Mapping[str, Any], columns: ColumnNames, place: str) -> Question | None:
    """The question of a record, as text or as a conversation; None if its text is blank."""
    key = "--column question=..."
    if isinstance(column_value(record, columns["question"], place, key), list | tuple):
        return column_question(record, columns["question"], place, key)
    return _text(record, columns, "question", place)


def _text(record: Mapping[str, Any], columns: ColumnNames, role: str, place: str) -> str | None:
    """The text or number in the column of a role; None if the value is blank, or if the role has no column."""
    if not columns[role]:
        return None
    value = column_value(record, columns[role], place, f"--column {role}=...")
    if value is None:
        return None
    if not isinstance(value, str | int | float):
        raise InputError(
            f"{place}: column {columns[role]!r} (--column {role}=...) holds {shorten(repr(value), 80)}, "
            "which is not text."
        )
    return str(value) if str(value).strip() else None


def _response_texts(record: Mapping[str, Any], name: str, place: str) -> list[str]:
    """The texts in a column with one or several responses. The name `COLUMN.FIELD` reads a field of each object."""
    key = "--column response=..."
    column, _, inner = (name, "", "") if name in record else name.partition(".")
    value = column_value(record, column, place, key)
    items = value if isinstance(value, list | tuple) else [value]
    texts = [column_value(item, inner, place, key) if isinstance(item, Mapping) and inner else item for item in items]
    for text in texts:
        if text is not None and not isinstance(text, str):
            fields = f" Use --column response={column}.FIELD: {', '.join(text)}." if isinstance(text, Mapping) else ""
            raise InputError(
                f"{place}: column {name!r} ({key}) holds {shorten(repr(text), 80)}, which is not text.{fields}"
            )
    return [text for text in texts if text]

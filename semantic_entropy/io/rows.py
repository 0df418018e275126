"""Rows of files, and the two interfaces that a file format implements: `RowReader` and `ResultWriter`.

In every format, the writer writes each row completely or not at all, finds the result of a row by the key of the row,
and ends with the results in the order of the input. With these rules, `FileRun` can continue an interrupted run.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeAlias

from semantic_entropy.clusters.groups import one_group
from semantic_entropy.errors import InputError
from semantic_entropy.results import Result
from semantic_entropy.tables import FieldNames
from semantic_entropy.types import Group

if TYPE_CHECKING:
    from semantic_entropy.io.parquet_columns import InputColumns
    from semantic_entropy.io.readers.input_file import InputFile
    from semantic_entropy.io.result_lines import KeyIndex

GREEDY = "greedy"
"""The field with the answer that is scored, which a sampler fills with `--greedy`."""
_AS_TEXT = (dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID)  # Parquet types that JSON does not have


@dataclass(frozen=True, slots=True)
class InputRow:
    """A row of the input: its fields, and the group to measure or the problem of the row.

    Attributes:
        number: the line number in a text file or the row number in a table, from 1.
        text: the row as text, for the file of rejected rows.
        fields: the values of the row by name; None if the row is not an object.
        group: the checked responses, question and log-probabilities; None if there is a problem.
        problem: the reason why the row cannot be measured; None: the row can be measured.
        batch: the record batch of a Parquet row, and the index of the row in the batch. A writer copies these cells.
        sampled: the names of the fields that a sampler filled.
        retry: True if the problem may disappear in another run, because the server failed.
        key: the key of the row (`fingerprints`); empty: not computed yet, or the row cannot be measured.
    """

    number: int
    text: str
    fields: dict[str, Any] | None
    group: Group | None = None
    problem: str | None = None
    batch: tuple[Any, int] | None = None
    sampled: frozenset[str] = frozenset()
    retry: bool = False
    key: str = ""

    def needs_responses(self, names: FieldNames) -> bool:
        """Whether the row has a question and no responses."""
        _, question = names.question_in(self.fields or {})
        has_question = isinstance(question, str) and bool(question.strip())
        fields = self.fields or {}
        return has_question and self.group is None and not fields.get(names.responses_field(fields))

    def marked_as_sampled(self, names: FieldNames) -> InputRow:
        """Return the row. If the row needs responses, set `sampled` to the names of the fields that a sampler fills."""
        if not self.needs_responses(names):
            return self
        return replace(self, sampled=frozenset((names.responses, names.logprobs, *self._without_greedy())))

    def _without_greedy(self) -> tuple[str, ...]:
        return () if (self.fields or {}).get(GREEDY) is not None else (GREEDY,)

    def with_sampled_fields(self, output: Mapping[str, Any]) -> InputRow:
        """Return the row with the values of the fields in `sampled`, which are copied from its output row."""
        filled = {name: output[name] for name in sorted(self.sampled) if output.get(name) is not None}
        return replace(self, fields={**(self.fields or {}), **filled}, problem=None)


MeasuredRow = tuple[InputRow, Result]
RowCheck: TypeAlias = Callable[[Mapping[str, Any], FieldNames], tuple[Group | None, str | None]]
"""Reads the group of a row from its fields. Returns (group, None) if the row can be measured, else (None, problem)."""


class RowPlace(NamedTuple):
    """Where a row is: the file, the unit of the number ("line" or "row"), its key in a report, and the number."""

    name: str
    unit: str
    number_key: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}, {self.unit} {self.number}"


class RowReader(ABC):
    """Reads the rows of a file.

    Attributes:
        unit: the word before a row number in messages, such as "line".
        number_key: the key of the row number in the file of rejected rows, such as "row_number".
        name: the path of the file; "-": standard input.
        names: the names of the fields that are measured.
        question_option: the option that gives the rows their question, for a warning.
        group_by: the field that the rows of a group share; None: rows are not joined.
        copied: the columns that a Parquet output copies with their types; None: it makes columns from the fields.
        file: the file, if it is read as bytes; None: another library reads it.
    """

    group_by: str | None = None
    file: InputFile | None = None
    copied: InputColumns | None = None

    question_option = "--question FIELD"
    unit: ClassVar[str]
    number_key: ClassVar[str]

    def __init__(self, name: str, names: FieldNames) -> None:
        self.name, self.names = name, names

    @property
    def can_reread(self) -> bool:
        """Whether `rows` can be called several times. Standard input and a pipe can be read once."""
        return self.file is None or self.file.is_repeatable

    def place(self, number: int) -> RowPlace:
        """Return where the row with this number is, after `rows` has yielded it."""
        return RowPlace(self.name, self.unit, self.number_key, number)

    @abstractmethod
    def rows(self) -> Generator[InputRow, None, None]:
        """Yield all rows in order. Each row has been checked."""

    def total(self) -> int | None:
        """Return the number of rows; None if the number is not known before reading."""
        return None


class ResultWriter(ABC):
    """Writes rows with their results, and finds the results that an earlier run wrote.

    `with writer:` opens the output and reads what it holds. Then each row of the input goes, in order, through
    `prepare`, and if it can be measured, through `keep`; each row that `keep` did not find goes through `write`.
    `finish` comes last.

    Attributes:
        name: the path of the output, for messages.
        path: the file; None: the output is a stream, and cannot be continued.
        nulls: the number of rows with a nan in a field, which is written as null.
        pairs: the number of pairs that were compared for the results that this run kept or wrote.
        undecided: the number of these pairs without a verdict.
    """

    name: str
    path: Path | None = None
    nulls: int = 0
    pairs: int = 0
    undecided: int = 0

    def count_pairs(self, pairs: int, undecided: int) -> None:
        """Count the pairs that were compared for a result, and those without a verdict."""
        self.pairs += pairs
        self.undecided += undecided

    @abstractmethod
    def __enter__(self) -> Self:
        """Open the output. Remove an incomplete line that a killed run left.

        Raises:
            InputError: the file is not an output of this package, or an output of other choices.
        """

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @property
    def index(self) -> KeyIndex | None:
        """The results of earlier runs by the keys of their rows, of which `keep` takes some; None: there are none."""
        return None

    def keep(self, row: InputRow) -> bool:
        """If the output has a result for this row, keep it with the present fields of the row, and return True."""
        return False

    def kept(self, number: int) -> Mapping[str, Any]:
        """Return the fields of the result of a row that `keep` found."""
        raise NotImplementedError(f"{type(self).__name__} keeps no results, and has none of row {number}")

    @abstractmethod
    def prepare(self, row: InputRow) -> str | None:
        """Return why this format cannot hold the fields of the row; None: it can."""

    @abstractmethod
    def write(self, measured: Sequence[MeasuredRow]) -> None:
        """Write these rows. If a write fails, the rows before the failure are in the output."""

    def finish(self) -> None:  # noqa: B027  # a stream has nothing to do here
        """Finish the output, after the last row. Results that belong to no row of the input are removed."""

    def drop_written(self) -> None:  # noqa: B027  # a stream cannot be taken back
        """Remove the rows that this run wrote, and keep the results of earlier runs as they are."""

    def clear(self) -> None:  # noqa: B027  # a stream has nothing to remove
        """Remove the output."""


def json_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert fields to values that JSON has: a nan to None; dates, times, decimals and UUIDs to texts.

    Raises:
        UnwritableFieldError: a field has an infinite number, such as 1e400 in a JSON file.
        InputError: a field has another type.
    """
    return {name: _json_value(value, name) for name, value in fields.items()}


class UnwritableFieldError(InputError):
    """An output format cannot hold a field of a row."""


def has_nan(value: Any) -> bool:
    """Whether the value is a nan, or holds one."""
    if isinstance(value, dict | list | tuple):
        return any(map(has_nan, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and math.isnan(value)


def _json_value(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _json_value(item, name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item, name) for item in value]
    if isinstance(value, float) and math.isinf(value):
        raise UnwritableFieldError(
            f"field {name!r} holds a number beyond the range of floats ({value}): write it as a text, or remove it"
        )
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, _AS_TEXT):
        return str(value)
    raise InputError(f"JSON lines cannot hold {value!r:.80}, a {type(value).__name__}: write to a .parquet file")


def check_row(fields: Mapping[str, Any], names: FieldNames) -> tuple[Group | None, str | None]:
    """Return (group, None) for a row that can be measured, else (None, problem).

    An empty response has no tokens. If its list of log-probabilities is empty, the group has no log-probabilities and a
    note: estimators that do not need them still measure the row.
    """
    field_of_responses = names.responses_field(fields)
    for field in (field_of_responses, names.question, names.answer):
        if field is not None and field not in fields:
            return None, f"no field {field!r}; it has {', '.join(fields) or 'none'}"
    responses, logprobs = fields[field_of_responses], fields.get(names.logprobs)
    _, question = names.question_in(fields)
    without_tokens = _without_tokens(responses, logprobs)
    try:
        evidence = names.evidence_or_none(fields)
        group = one_group(responses, question, None if without_tokens else logprobs, evidence=evidence)
    except InputError as error:
        return None, str(error)
    if not without_tokens:
        return group, None
    note = f"log-probabilities left out: those of response {without_tokens[0]} are empty, as the response is"
    return replace(group, note=note), None


def _without_tokens(responses: Any, logprobs: Any) -> list[int]:
    """Return the indices of empty responses whose log-probabilities are an empty list."""
    if not isinstance(responses, list) or not isinstance(logprobs, list) or len(responses) != len(logprobs):
        return []
    return [i for i, (text, tokens) in enumerate(zip(responses, logprobs, strict=True)) if text == "" and tokens == []]

"""Rows of files, and the two interfaces that a file format implements: `RowReader` and `ResultWriter`.

In every format, the writer writes the results in the order of the input rows, writes each row completely or not at all,
and knows the number of rows in its file. With these rules, `FileRun` can continue an interrupted run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from semantic_entropy.clusters.groups import one_group
from semantic_entropy.errors import InputError
from semantic_entropy.results import Result
from semantic_entropy.tables import FieldNames
from semantic_entropy.types import Group

FIXED_SETTINGS = (
    "convention",
    "equivalence",
    "equivalence_reason",
    "clusterer",
    "estimator",
    "extract",
    "invalid",
)
"""Fields of `Provenance` that must be equal in all rows of an output."""
FIXED_SAMPLING = ("sampler", "n")
"""Fields of `Provenance` that must be equal in all output rows with sampled responses."""


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
        identity: the fields that a Parquet output compares to recognise its input; None: all fields.
    """

    number: int
    text: str
    fields: dict[str, Any] | None
    group: Group | None = None
    problem: str | None = None
    batch: tuple[Any, int] | None = None
    sampled: frozenset[str] = frozenset()
    retry: bool = False
    identity: tuple[str, ...] | None = None

    def needs_responses(self, names: FieldNames) -> bool:
        """Whether the row has a question and no responses."""
        _, question = names.question_in(self.fields or {})
        return isinstance(question, str) and bool(question.strip()) and not (self.fields or {}).get(names.responses)

    def marked_as_sampled(self, names: FieldNames) -> InputRow:
        """Return the row. If the row needs responses, set `sampled` to the names of the fields that a sampler fills."""
        if not self.needs_responses(names):
            return self
        return replace(self, sampled=frozenset((names.responses, names.logprobs)))

    def with_sampled_fields(self, output: Mapping[str, Any]) -> InputRow:
        """Return the row with the values of the fields in `sampled`, which are copied from its output row."""
        filled = {name: output[name] for name in sorted(self.sampled) if output.get(name) is not None}
        return replace(self, fields={**(self.fields or {}), **filled}, problem=None)

    @property
    def input_fields(self) -> dict[str, Any]:
        """Return the fields of the input, without the fields that a sampler filled."""
        return {name: value for name, value in (self.fields or {}).items() if name not in self.sampled}


MeasuredRow = tuple[InputRow, Result]


class RowReader(ABC):
    """Reads the rows of a file.

    Attributes:
        unit: the word before a row number in messages, such as "line".
        number_key: the key of the row number in the file of rejected rows, such as "row_number".
        name: the path of the file; "-": standard input.
        names: the names of the fields that are measured.
    """

    unit: ClassVar[str]
    number_key: ClassVar[str]

    def __init__(self, name: str, names: FieldNames) -> None:
        self.name, self.names = name, names

    @abstractmethod
    def rows(self) -> Generator[InputRow, None, None]:
        """Yield all rows in order. Each row has been checked."""

    def total(self) -> int | None:
        """Return the number of rows; None if the number is not known before reading."""
        return None


class ExistingOutput(ABC):
    """The output of an earlier run.

    Attributes:
        written: the number of results.
        drawn: the `FIXED_SAMPLING` values of the last result with sampled responses; empty if there is no such result.
    """

    written: int
    drawn: Mapping[str, Any]

    @abstractmethod
    def comes_from(self, first: InputRow, last: InputRow) -> bool:
        """Whether the first and the last result belong to these two input rows."""

    @abstractmethod
    def settings(self, last: InputRow) -> Mapping[str, Any]:
        """Return the provenance of the last result. `last` is the input row of this result."""


class ResultWriter(ABC):
    """Writes rows with their results. `with writer:` opens the output; call `finish` after the last row."""

    name: str

    @abstractmethod
    def existing(self) -> ExistingOutput | None:
        """Return the output of an earlier run; None if the file does not exist. This method does not change the file.

        Raises:
            InputError: the file is not an output of this package.
        """

    @property
    def is_final(self) -> bool:
        """Whether the output is finished, so that no row can be appended."""
        return False

    @abstractmethod
    def read_back(self, rows: Iterable[InputRow]) -> Iterator[MeasuredRow]:
        """Yield the results in a finished output. `rows` are the input rows of these results, in order."""

    @abstractmethod
    def __enter__(self) -> Self:
        """Open the output. Remove an incomplete line or part that a killed run left."""

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def write(self, measured: Sequence[MeasuredRow]) -> None:
        """Write these rows. If a write fails, the rows before the failure are in the output."""

    def finish(self) -> None:  # noqa: B027  # some formats have nothing to do here
        """Finish the output, after the last row was written."""

    @abstractmethod
    def clear(self) -> None:
        """Remove the output."""


def check_row(fields: Mapping[str, Any], names: FieldNames) -> tuple[Group | None, str | None]:
    """Return (group, None) for a row that can be measured, else (None, problem)."""
    for field in (names.responses, names.question):
        if field is not None and field not in fields:
            return None, f"no field {field!r}; it has {', '.join(fields) or 'none'}"
    _, question = names.question_in(fields)
    try:
        return one_group(fields[names.responses], question, fields.get(names.logprobs)), None
    except InputError as error:
        return None, str(error)

"""Rows of files, and the two interfaces that a file format implements: `RowReader` and `ResultWriter`.

In every format, results are written in the order of the input rows, a row is written completely or not at all, and a
writer can say how many rows its file already has. `FileRun` needs nothing else to continue an interrupted run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from semantic_entropy.clusters.groups import one_group
from semantic_entropy.errors import InputError
from semantic_entropy.results import Result
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
"""Fields of `Provenance` that must be equal in all rows whose responses a sampler drew."""


@dataclass(frozen=True, slots=True)
class InputRow:
    """A row of the input: its fields and the group to measure, or the problem that prevents measuring it.

    Attributes:
        number: counts from 1: lines of a text file, rows of a table.
        text: the row as text, for the file of rejected rows.
        fields: the row's values by name; None if the row is not an object.
        group: the checked responses, question and log-probabilities; None if there is a problem.
        problem: what is wrong with the row; None: nothing.
        batch: for a Parquet row, the record batch that holds it and its index there: a writer copies these cells.
        sampled: the names of the fields that a sampler filled.
        retry: whether the problem may disappear in another run, because the server failed and not the row.
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

    def needs_responses(self, field: str) -> bool:
        """Whether the row has a question and no responses in this field."""
        question = (self.fields or {}).get("question")
        return isinstance(question, str) and bool(question.strip()) and not (self.fields or {}).get(field)

    def marked_as_sampled(self, field: str) -> InputRow:
        """The row; if it needs responses, with `sampled` naming the fields that a sampler fills."""
        return replace(self, sampled=frozenset((field, "logprobs"))) if self.needs_responses(field) else self

    def with_sampled_fields(self, output: Mapping[str, Any]) -> InputRow:
        """The row with the values of the fields in `sampled` taken from its output row."""
        filled = {name: output[name] for name in sorted(self.sampled) if output.get(name) is not None}
        return replace(self, fields={**(self.fields or {}), **filled}, problem=None)

    @property
    def input_fields(self) -> dict[str, Any]:
        """The fields as they were in the input: without those that a sampler filled."""
        return {name: value for name, value in (self.fields or {}).items() if name not in self.sampled}


MeasuredRow = tuple[InputRow, Result]


class RowReader(ABC):
    """Reads the rows of a file. `unit`: what row numbers count. `number_key`: their name in the rejected rows."""

    unit: ClassVar[str]
    number_key: ClassVar[str]

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def rows(self) -> Generator[InputRow, None, None]:
        """All rows in order, each one checked."""

    def total(self) -> int | None:
        """The number of rows; None if it cannot be known before reading."""
        return None


class ExistingOutput(ABC):
    """What an earlier run wrote.

    Attributes:
        written: the number of results.
        drawn: the `FIXED_SAMPLING` of the last result whose responses a sampler drew; empty if there is none.
    """

    written: int
    drawn: Mapping[str, Any]

    @abstractmethod
    def comes_from(self, first: InputRow, last: InputRow) -> bool:
        """Whether the first and the last result are results of these rows."""

    @abstractmethod
    def settings(self, last: InputRow) -> Mapping[str, Any]:
        """The provenance of the last result, which is the result of this row."""


class ResultWriter(ABC):
    """Writes rows with their results. `with writer:` opens it; call `finish` after the last row."""

    name: str

    @abstractmethod
    def existing(self) -> ExistingOutput | None:
        """What an earlier run wrote, which may be no row yet; None: there is no output. Changes nothing.

        Raises:
            InputError: the file holds something else.
        """

    @property
    def is_final(self) -> bool:
        """Whether the output is finished and no row can be appended."""
        return False

    @abstractmethod
    def read_back(self, rows: Iterable[InputRow]) -> Iterator[MeasuredRow]:
        """The results in a finished output. `rows`: the input rows that they came from, in order."""

    @abstractmethod
    def __enter__(self) -> Self:
        """Open the output, and remove what a kill left incomplete."""

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def write(self, measured: Sequence[MeasuredRow]) -> None:
        """Write these rows. If this raises, the rows before the failure are written and `existing` counts them."""

    def finish(self) -> None:  # noqa: B027  # a format that appends row by row has nothing to do
        """Complete the output: all rows are written."""

    @abstractmethod
    def clear(self) -> None:
        """Remove the output."""


def check_row(fields: Mapping[str, Any], field: str) -> tuple[Group | None, str | None]:
    """The group of a row whose responses are in `field`, and the problem that prevents measuring it; one is None."""
    if field not in fields:
        return None, f"no field {field!r}; it has {', '.join(fields) or 'none'}"
    try:
        return one_group(fields[field], fields.get("question"), fields.get("logprobs")), None
    except InputError as error:
        return None, str(error)

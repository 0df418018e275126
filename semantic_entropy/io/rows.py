"""Rows on their way through a file: what a source yields, what a sink takes, and where a result finds its name.

A run (`files`) knows these two interfaces; JSON lines (`jsonl`) and Parquet (`parquet`, `parquet_parts`) fulfil them.
Whatever the format, results are written in the order of the input, whole or not at all, and a sink can say which rows
it already holds: that is all that resumption needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from semantic_entropy.clusters.groups import one_group
from semantic_entropy.errors import InputError
from semantic_entropy.types import Group, Result

SETTINGS = (
    "convention",
    "equivalence",
    "equivalence_reason",
    "clusterer",
    "estimator",
    "extract",
    "invalid",
)
"""What of a result's provenance must be the same in all rows of an output."""
DRAWN = ("sampler", "n")
"""What must be the same in all rows whose responses were drawn."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the input: its fields, or what is wrong with it.

    `number` counts from 1 (lines of a text file, rows of a table); `text` shows the row to a reader; `cells` is what a
    table's sink needs to copy it as it is: the record batch it lies in, and its index there. `drawn` is the group that
    a sampler drew for it, where it came with a question alone, and `filled` the fields that came of it. `again`: what
    is wrong is not the row's own, and may be otherwise another time. `told`: the fields that tell a table's row from
    another, whichever of its columns were read; None: all.
    """

    number: int
    text: str
    fields: dict[str, Any] | None
    problem: str | None
    cells: tuple[Any, int] | None = None
    drawn: Group | None = None
    filled: frozenset[str] = frozenset()
    again: bool = False
    told: tuple[str, ...] | None = None

    def lacks(self, field: str) -> bool:
        """Whether it has a question, and no responses in this field."""
        question = (self.fields or {}).get("question")
        return isinstance(question, str) and bool(question.strip()) and not (self.fields or {}).get(field)

    def bare(self, field: str) -> Row:
        """Where it lacks responses, marked as one whose responses are not its own."""
        return replace(self, filled=frozenset((field, "logprobs"))) if self.lacks(field) else self

    @property
    def own(self) -> dict[str, Any]:
        """Its fields as they came."""
        return {name: value for name, value in (self.fields or {}).items() if name not in self.filled}

    def with_filled(self, written: Mapping[str, Any]) -> Row:
        """With the drawn responses that an output has for it; `filled` says in which fields."""
        drawn = {name: written[name] for name in sorted(self.filled) if written.get(name) is not None}
        return replace(self, fields={**(self.fields or {}), **drawn}, problem=None)


Measured = tuple[Row, Result]


class Source(ABC):
    """Where rows come from. `unit` is what its numbers count, and `key` the field that holds one in the bad rows."""

    unit: ClassVar[str]
    key: ClassVar[str]

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def rows(self) -> Generator[Row, None, None]:
        """All rows in order, each checked."""

    def total(self) -> int | None:
        """How many there are; None where that cannot be known beforehand."""
        return None


class Before(ABC):
    """What an earlier run left: how many results, of which rows and settings, and what `DRAWN` says of the last that
    has drawn responses (empty: none has).
    """

    written: int
    drawn: Mapping[str, Any]

    @abstractmethod
    def holds(self, first: Row, last: Row) -> bool:
        """Whether its first and its last result are those of these rows."""

    @abstractmethod
    def settings(self, last: Row) -> Mapping[str, Any]:
        """The provenance of its last result, which is that of this row."""


class Sink(ABC):
    """Where results go. `with sink:` opens it for writing; `finish` when all is written."""

    name: str

    @abstractmethod
    def before(self) -> Before | None:
        """What is already there, be it no row yet; changes nothing. None: no such output.

        Raises:
            InputError: something else is there.
        """

    @property
    def is_final(self) -> bool:
        """Whether nothing can be added to what is there."""
        return False

    @abstractmethod
    def held(self, rows: Iterable[Row]) -> Iterator[Measured]:
        """What is there, given the rows that it came from, in order; closed and finished."""

    @abstractmethod
    def __enter__(self) -> Self:
        """Open it, and remove what a kill left half done."""

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def write(self, measured: Sequence[Measured]) -> None:
        """Write these rows with their results: all of them or, where it raises, a part that `before` can count."""

    def finish(self) -> None:  # noqa: B027  # what is written row by row is finished
        """All rows are written."""

    @abstractmethod
    def clear(self) -> None:
        """Remove what is there."""


def problem_of(fields: Mapping[str, Any], field: str) -> str | None:
    """What is wrong with a row whose responses are in `field`, if anything."""
    if field not in fields:
        return f"no field {field!r}; it has {', '.join(fields) or 'none'}"
    try:
        one_group(fields[field], fields.get("question"), fields.get("logprobs"))
    except InputError as error:
        return str(error)
    return None

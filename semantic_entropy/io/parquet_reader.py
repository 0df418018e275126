"""Parquet as a source, batch by batch, and what reading and writing it share. Needs pyarrow (extra `parquet`).

A row keeps a reference to the record batch it lies in, so that a Parquet sink copies its own columns as they are, with
their types; only what is measured becomes Python values.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

from semantic_entropy.errors import InputError
from semantic_entropy.io.rows import Row, Source, problem_of
from semantic_entropy.tables.arrow import pa, pq

_MEASURED = ("question", "logprobs")


class ParquetSource(Source):
    """The rows of a file, read `batch` rows at a time; memory is bounded by a row group of the file.

    `whole`: whether a row's fields are all its columns as Python values, or only those that are measured. `asked`:
    whether a question alone will do, a sampler being there to ask it.
    """

    unit = "row"
    key = "row_number"

    def __init__(self, name: str, field: str, *, batch: int, whole: bool, asked: bool = False) -> None:
        super().__init__(name)
        self.field, self.batch, self.whole = field, batch, whole
        try:
            with pq.ParquetFile(name) as file:
                self.schema: Any = file.schema_arrow
                self._total: int = file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{name}: not a Parquet file: {error}") from error
        names = self.schema.names
        if field not in names and not (asked and "question" in names):
            asks = ", or --sampler NAME asks a model the questions" if "question" in names else ""
            raise InputError(
                f"{name}: no column {field!r}; it has {', '.join(names) or 'none'}: --responses says which holds the "
                f"responses{asks}"
            )
        if twice := [column for column in names if names.count(column) > 1]:
            raise InputError(f"{name}: several columns are named {twice[0]!r}: rename them")
        self._told = tuple(column for column in (field, *_MEASURED) if column in names)
        self._fields = names if whole else list(self._told)

    def rows(self) -> Generator[Row, None, None]:
        number = 0
        try:
            with pq.ParquetFile(self.name) as file:
                for batch in file.iter_batches(batch_size=self.batch):
                    for index, fields in enumerate(batch.select(self._fields).to_pylist()):
                        number += 1
                        problem = problem_of(fields, self.field)
                        text = json.dumps(fields, default=str) if problem else ""
                        yield Row(number, text, fields, problem, (batch, index), told=self._told)
        except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a value that Python has no type for
            raise InputError(f"{self.name}: cannot be read after row {number}: {error}") from error

    def total(self) -> int:
        return self._total


class OwnColumns(ABC):
    """How a row's own columns pass through the parts of a Parquet sink: `put` into each, `take` out of each."""

    schema: Any
    """Their types in the merged file, final after `settle`."""

    @abstractmethod
    def put(self, rows: Sequence[Row]) -> Any:
        """These rows' own columns as a table, for a part."""

    def settle(self, parts: Callable[[], Iterable[Any]]) -> None:  # noqa: B027  # most know their types
        """All parts are there: `parts` gives what was put into each, and may be called again."""

    def take(self, part: Any) -> Any:
        """What was put into a part, with the final types."""
        return part


class ArrowColumns(OwnColumns):
    """Rows of a Parquet source: copied as they were read."""

    def __init__(self, schema: Any) -> None:
        self.schema = schema

    def put(self, rows: Sequence[Row]) -> Any:
        batches: list[tuple[Any, list[int]]] = []
        for row in rows:
            assert row.cells is not None
            batch, index = row.cells
            if not batches or batches[-1][0] is not batch:
                batches.append((batch, []))
            batches[-1][1].append(index)
        return pa.Table.from_batches([batch.take(pa.array(found)) for batch, found in batches], schema=self.schema)


def read_metadata(path: Path) -> Any:
    """The footer of a Parquet file.

    Raises:
        InputError: it is none.
    """
    try:
        return pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a Parquet file ({error}): remove it, or use --overwrite") from error

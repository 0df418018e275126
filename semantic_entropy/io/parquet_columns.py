"""The columns of the input rows in a Parquet output: copied from a Parquet input, or made from JSON fields.

The columns are written at the end of a run, in the order of the input. The cells of a Parquet input are read again from
the input. JSON fields are kept in a temporary file without a name, because their types are known only after the last
row, and because standard input cannot be read twice.

The type of a JSON field is the narrowest Arrow type that can hold the values of all rows. Integers and floats together
become floats; objects with different fields become one struct with all fields; a missing field becomes null. If no type
can hold all values (a number and a text, an integer beyond 64 bits, an object without fields), if the values are nested
so deeply that other programs could not read the file, or if the structs have more than 1,000 fields, the field becomes
JSON text. The rows are read twice to find the types: first for candidates, then to test whether they hold all values.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from semantic_entropy.errors import InputError
from semantic_entropy.files import write_lines
from semantic_entropy.io.jsonl import unwritable
from semantic_entropy.io.rows import GREEDY, InputRow, UnwritableFieldError, has_nan, json_fields
from semantic_entropy.plain_text import has_surrogate, to_json_line
from semantic_entropy.tables import FieldNames
from semantic_entropy.tables.arrow import CONVERSION_ERRORS, escape_surrogates, pa, to_array

_DEEPEST = 24  # levels of lists and structs in a column: pyarrow reads up to 49, other programs fewer
_WIDEST = 1000  # fields of all structs in a column: with other keys in each row, rows and fields grow together

Places = list[tuple[int, dict[str, Any]]]
"""For each output row: the number of its input row, and the fields that a sampler drew."""


class InputColumns(ABC):
    """The columns of the input rows of a Parquet output.

    Attributes:
        schema: the column types. They are final after `find_types`.
        drawn: the names of the fields that a sampler can fill.
        nulls: the number of rows with a nan in a field, which is written as null.
    """

    schema: Any
    drawn: Sequence[str] = ()
    nulls: int = 0

    def open(self) -> None:  # noqa: B027  # copied columns have no temporary file
        """Open the temporary file."""

    def add(self, row: InputRow) -> str | None:
        """Keep the fields of a row for `tables`. Return why a Parquet file cannot hold them; None: it can."""
        return None

    def find_types(self, parts: Callable[[], Iterable[Places]]) -> None:  # noqa: B027  # copied columns have known types
        """Find the final types of the columns of these rows. `parts` may be called several times."""

    @abstractmethod
    def tables(self, parts: Iterable[Places]) -> Iterator[Any]:
        """Yield a table for each part. The numbers of the rows increase."""

    @abstractmethod
    def digest(self) -> str:
        """Return a digest of the fields of all rows. Rows with other fields have another digest."""

    def close(self) -> None:  # noqa: B027  # copied columns have no temporary file
        """Remove the temporary file."""


class CopiedColumns(InputColumns):
    """The columns of a Parquet input, copied with their types.

    Args:
        schema: the types.
        batches: yields the record batches of the input, with all columns.
        digest: returns a digest of the input.
    """

    def __init__(self, schema: Any, batches: Callable[[], Iterator[Any]], digest: Callable[[], str]) -> None:
        self.schema, self._batches, self._digest = schema, batches, digest

    def tables(self, parts: Iterable[Places]) -> Iterator[Any]:
        batches, first, batch = self._batches(), 0, None  # first: the number of rows before the batch
        for part in parts:
            taken = []
            wanted = [number - 1 for number, _ in part]
            while wanted:
                while batch is None or wanted[0] >= first + len(batch):
                    first += 0 if batch is None else len(batch)
                    batch = next(batches)
                inside = [index - first for index in wanted if index < first + len(batch)]
                taken.append(batch.take(pa.array(inside)))
                wanted = wanted[len(inside) :]
            yield pa.Table.from_batches(taken, schema=self.schema)

    def digest(self) -> str:
        return self._digest()


class JsonColumns(InputColumns):
    """The fields of JSON objects as columns. In `_types`, None means JSON text."""

    def __init__(self, names: FieldNames, folder: Path) -> None:
        self.drawn = (names.responses, names.logprobs, GREEDY)
        self._types: dict[str, Any] = {}
        self.schema = pa.schema([])
        self._folder = folder
        self._offsets = array("q")  # by row number; -1: no row
        self._digest = hashlib.sha256()

    def open(self) -> None:
        self._file = tempfile.TemporaryFile("w+b", dir=self._folder)  # noqa: SIM115  # closed by `close`

    def add(self, row: InputRow) -> str | None:
        if not row.batch and (problem := unwritable(row)):
            return problem
        fields = row.fields or {}
        try:
            line = json.dumps(fields, ensure_ascii=False)  # a nan stays: Parquet has it
        except TypeError:
            try:
                line = json.dumps(json_fields(fields))  # cells of a Parquet input that a sampler completes
            except UnwritableFieldError as error:
                return str(error)
            self.nulls += has_nan(fields)
        if has_surrogate(line):
            try:
                line = json.dumps(escape_surrogates(fields))
            except InputError as error:
                return str(error)
        self._digest.update(line.encode())
        self._offsets.extend([-1] * (row.number + 1 - len(self._offsets)))
        self._offsets[row.number] = self._file.seek(0, os.SEEK_END)
        write_lines(self._file, [line], self._folder / "temporary file")
        return None

    def find_types(self, parts: Callable[[], Iterable[Places]]) -> None:
        types: dict[str, Any] = {}
        for part in parts():
            for name, values in self._by_field(part).items():
                if name not in types:
                    types[name] = _infer(values)
                elif types[name] is not None:
                    types[name] = _common_type(types[name], _infer(values))
        types = {name: kind and _nulls_as_text(kind) for name, kind in types.items()}
        # A type may not fit all values: 2**60 + 1 and 0.5 have the common type float, but no float equals 2**60 + 1.
        for part in parts():
            for name, values in self._by_field(part).items():
                if types[name] is not None and not _can_hold(types[name], values):
                    types[name] = None
        self._types = types
        self.schema = pa.schema([(name, kind or pa.string()) for name, kind in types.items()])

    def tables(self, parts: Iterable[Places]) -> Iterator[Any]:
        for part in parts:
            fields, missing = self._by_field(part), [None] * len(part)
            columns = [_typed(fields.get(name, missing), kind) for name, kind in self._types.items()]
            if not columns:  # rows without fields: a new table without columns would have 0 rows
                yield pa.table({"": missing}).select([])
            else:
                yield pa.Table.from_arrays(columns, schema=self.schema)

    def digest(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        self._file.close()

    def _by_field(self, part: Places) -> dict[str, list[Any]]:
        rows = []
        for number, sampled in part:
            own = self._read(number)
            given = {GREEDY: own[GREEDY]} if own.get(GREEDY) is not None else {}  # not drawn, and it may have changed
            rows.append({**own, **sampled, **given})
        names = dict.fromkeys(chain.from_iterable(rows))
        return {name: [row.get(name) for row in rows] for name in names}

    def _read(self, number: int) -> dict[str, Any]:
        self._file.seek(self._offsets[number])
        fields: dict[str, Any] = json.loads(self._file.readline())
        return fields


def _infer(values: list[Any]) -> Any:
    if len(set().union(*(value for value in values if isinstance(value, dict)))) > _WIDEST:
        return None  # before pyarrow fills all these fields in each row
    try:
        return _if_writable(to_array(values, None).type)
    except CONVERSION_ERRORS:
        return None


def _common_type(left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    try:
        schemas = [pa.schema([("x", kind)]) for kind in (left, right)]
        return _if_writable(pa.unify_schemas(schemas, promote_options="permissive").field("x").type)
    except CONVERSION_ERRORS:
        return None


def _can_hold(kind: Any, values: list[Any]) -> bool:
    try:
        to_array(values, kind)
    except CONVERSION_ERRORS:
        return False
    return True


def _if_writable(kind: Any) -> Any:
    try:
        return kind if _is_writable(kind, _DEEPEST) and _width(kind) <= _WIDEST else None
    except RecursionError:
        return None


def _width(kind: Any) -> int:
    """Return the number of fields of all structs in the type."""
    if pa.types.is_struct(kind):
        return sum(1 + _width(kind.field(i).type) for i in range(kind.num_fields))
    return _width(kind.value_type) if pa.types.is_list(kind) else 0


def _is_writable(kind: Any, levels: int) -> bool:
    """Whether other programs can read the type: not too deep, and no struct without fields, which Parquet lacks."""
    if levels == 0:
        return False
    if pa.types.is_struct(kind):
        inner = [kind.field(i).type for i in range(kind.num_fields)]
        return bool(inner) and all(_is_writable(each, levels - 1) for each in inner)
    return _is_writable(kind.value_type, levels - 1) if pa.types.is_list(kind) else True


def _nulls_as_text(kind: Any) -> Any:
    """Replace the type null by text, because some readers lack null. A field has type null if all values are null."""
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_nulls_as_text(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(kind.field(i).name, _nulls_as_text(kind.field(i).type)) for i in range(kind.num_fields)])
    return kind


def _typed(values: Sequence[Any], kind: Any) -> Any:
    if kind is not None:
        return to_array(values, kind)
    return to_array([None if value is None else _json_text(value) for value in values], pa.string())


def _json_text(value: Any) -> str:
    try:
        return to_json_line(value)
    except ValueError:  # a NaN stays NaN, like in Python's json module
        return json.dumps(value)

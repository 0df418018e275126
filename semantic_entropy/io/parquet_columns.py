"""The columns of the input rows in a Parquet output: copied from a Parquet input, or made from JSON fields.

The output is written in parts and merged at the end (see `parquet`). A part has the unchanged columns of a Parquet
input. The type of a JSON field is known only after the last row, so a part stores each JSON row as text in the column
`row`.

The type of a JSON field is the narrowest Arrow type that can hold the values of all rows. Integers and floats together
become floats; objects with different fields become one struct with all fields; a missing field becomes null. If no type
can hold all values (a number and a text, an integer beyond 64 bits, an object without fields), the field becomes JSON
text. The parts are read twice, one part at a time: first to find the types, then to test the types.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from semantic_entropy.io.rows import InputRow
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables.arrow import CONVERSION_ERRORS, pa, to_array

_JSON_ROW = "row"


class InputColumns(ABC):
    """Writes the columns of the input rows to parts, and reads these columns from parts for the merged file.

    Attributes:
        schema: the column types in the merged file. They are final after `find_types`.
    """

    schema: Any

    @abstractmethod
    def to_part(self, rows: Sequence[InputRow]) -> Any:
        """Return the columns of these rows as a table for a part."""

    def find_types(self, parts: Callable[[], Iterable[Any]]) -> None:  # noqa: B027  # copied columns have known types
        """Find the final types. `parts` returns the tables of all parts, and may be called several times."""

    def from_part(self, table: Any) -> Any:
        """Convert the table of a part to the final types."""
        return table


class CopiedColumns(InputColumns):
    """The columns of a Parquet input, copied with their types."""

    def __init__(self, schema: Any) -> None:
        self.schema = schema

    def to_part(self, rows: Sequence[InputRow]) -> Any:
        batches: list[tuple[Any, list[int]]] = []
        for row in rows:
            assert row.batch is not None
            batch, index = row.batch
            if not batches or batches[-1][0] is not batch:
                batches.append((batch, []))
            batches[-1][1].append(index)
        taken = [batch.take(pa.array(indices)) for batch, indices in batches]
        return pa.Table.from_batches(taken, schema=self.schema)


class JsonColumns(InputColumns):
    """The fields of JSON objects as columns. In `_types`, None means JSON text."""

    def __init__(self) -> None:
        self._types: dict[str, Any] = {}
        self.schema = pa.schema([])

    def to_part(self, rows: Sequence[InputRow]) -> Any:
        return pa.table({_JSON_ROW: [json.dumps(row.fields) for row in rows]})

    def find_types(self, parts: Callable[[], Iterable[Any]]) -> None:
        types: dict[str, Any] = {}
        for part in parts():
            for name, values in _by_field(part).items():
                types[name] = _common_type(types[name], _infer(values)) if name in types else _infer(values)
        types = {name: kind and _nulls_as_text(kind) for name, kind in types.items()}
        # A type may not fit all values: 2**60 + 1 and 0.5 have the common type float, but no float equals 2**60 + 1.
        for part in parts():
            for name, values in _by_field(part).items():
                types[name] = types[name] if _can_hold(types[name], values) else None
        self._types = types
        self.schema = pa.schema([(name, kind or pa.string()) for name, kind in types.items()])

    def from_part(self, table: Any) -> Any:
        if not self._types:  # rows without fields: a new table without columns would have 0 rows
            return table.select([])
        fields, missing = _by_field(table), [None] * len(table)
        columns = [_typed(fields.get(name, missing), kind) for name, kind in self._types.items()]
        return pa.Table.from_arrays(columns, schema=self.schema)


def _by_field(part: Any) -> dict[str, list[Any]]:
    rows = [json.loads(text) for text in part[_JSON_ROW].to_pylist()]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _infer(values: list[Any]) -> Any:
    try:
        kind = to_array(values, None).type
    except CONVERSION_ERRORS:
        return None
    return kind if _is_writable(kind) else None


def _common_type(left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    try:
        schemas = [pa.schema([("x", kind)]) for kind in (left, right)]
        return pa.unify_schemas(schemas, promote_options="permissive").field("x").type
    except CONVERSION_ERRORS:
        return None


def _can_hold(kind: Any, values: list[Any]) -> bool:
    try:
        to_array(values, kind)
    except CONVERSION_ERRORS:
        return False
    return True


def _is_writable(kind: Any) -> bool:
    """Parquet cannot store a struct without fields."""
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(_is_writable(kind.field(i).type) for i in range(kind.num_fields))
    return _is_writable(kind.value_type) if pa.types.is_list(kind) else True


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

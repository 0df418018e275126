"""JSON objects as typed columns: the narrowest Arrow type that holds a field in every row.

Integers and floats together are floats, objects with different fields one struct with all of them, a field that is
missing is null. What no type holds in all rows (a number here and a text there, an integer beyond 64 bits, an object
without fields) becomes the text of its JSON. Read a chunk at a time, twice: to find the types, and to try them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from semantic_entropy.io.parquet_reader import OwnColumns
from semantic_entropy.io.rows import Row
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables.arrow import CONVERSION_ERRORS, pa, to_array

_ROW = "row"


class JsonColumns(OwnColumns):
    """Rows of JSON: in a part as their text, in the merged file by field. A type of None stands for JSON text."""

    def __init__(self) -> None:
        self._types: dict[str, Any] = {}
        self.schema = pa.schema([])

    def put(self, rows: Sequence[Row]) -> Any:
        return pa.table({_ROW: [json.dumps(row.fields) for row in rows]})

    def settle(self, parts: Callable[[], Iterable[Any]]) -> None:
        types: dict[str, Any] = {}
        for part in parts():
            for name, values in _by_field(part).items():
                types[name] = _wider(types[name], _inferred(values)) if name in types else _inferred(values)
        types = {name: kind and _without_null(kind) for name, kind in types.items()}
        for part in parts():  # 2**60 and 0.5 are numbers both, and no float holds the first
            for name, values in _by_field(part).items():
                types[name] = types[name] if _holds(types[name], values) else None
        self._types = types
        self.schema = pa.schema([(name, kind or pa.string()) for name, kind in types.items()])

    def take(self, part: Any) -> Any:
        if not self._types:  # rows without a field: a table made of no columns would forget how many
            return part.select([])
        fields, nothing = _by_field(part), [None] * len(part)
        columns = [_column(fields.get(name, nothing), kind) for name, kind in self._types.items()]
        return pa.Table.from_arrays(columns, schema=self.schema)


def _by_field(part: Any) -> dict[str, list[Any]]:
    rows = [json.loads(text) for text in part[_ROW].to_pylist()]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _inferred(values: list[Any]) -> Any:
    try:
        kind = to_array(values, None).type
    except CONVERSION_ERRORS:
        return None
    return kind if _writable(kind) else None


def _wider(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return None
    try:
        both = [pa.schema([("x", kind)]) for kind in (one, other)]
        return pa.unify_schemas(both, promote_options="permissive").field("x").type
    except CONVERSION_ERRORS:
        return None


def _holds(kind: Any, values: list[Any]) -> bool:
    try:
        to_array(values, kind)
    except CONVERSION_ERRORS:
        return False
    return True


def _writable(kind: Any) -> bool:
    """Parquet has no struct without fields."""
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(_writable(kind.field(i).type) for i in range(kind.num_fields))
    return _writable(kind.value_type) if pa.types.is_list(kind) else True


def _without_null(kind: Any) -> Any:
    """What is null in every row is a text that is missing: not all that reads Parquet knows a type of nulls."""
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_without_null(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(kind.field(i).name, _without_null(kind.field(i).type)) for i in range(kind.num_fields)])
    return kind


def _column(values: Sequence[Any], kind: Any) -> Any:
    if kind is not None:
        return to_array(values, kind)
    return to_array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    try:
        return to_json_line(value)
    except ValueError:  # a NaN, which stays what Python's json made of it
        return json.dumps(value)

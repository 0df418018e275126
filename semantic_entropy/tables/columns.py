"""Results as columns of a table: their names, and their types in a table's own terms.

The types are read off `Result` itself, so that no table can drift from it. A shape is a plain description: a Python
type, a list with the shape of its items, or a dict with the shape of each field. `scores` and `versions` have the
fields that occur in the results at hand; a row without one of them holds null there.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from semantic_entropy.types import Result

Shape = Any  # type | list[Shape] | dict[str, Shape]

_FIELDS = tuple(field.name for field in dataclasses.fields(Result) if field.name != "samples")  # a table has its own
_ALWAYS = {"scores": ("discrete",), "versions": ("semantic-entropy",)}  # what a table without rows still has


def columns(results: Iterable[Result]) -> dict[str, list[Any]]:
    """The fields of `Result.to_dict()`, a list each, by name."""
    rows = [result.to_dict() for result in results]
    return {name: [row[name] for row in rows] for name in _FIELDS}


def mapping_keys(values: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    """The keys that the open mappings of these columns have, in order of first appearance."""
    return {
        "scores": list(dict.fromkeys(key for scores in values["scores"] for key in scores)),
        "versions": list(dict.fromkeys(key for how in values["provenance"] for key in how["versions"])),
    }


def result_shape(keys: Mapping[str, Sequence[str]]) -> dict[str, Shape]:
    """The shape of every field of a result, `keys` as `mapping_keys` gives them."""
    shape: dict[str, Shape] = _shape(Result, {name: keys.get(name) or usual for name, usual in _ALWAYS.items()}, "")
    return {name: shape[name] for name in _FIELDS}


def _shape(hint: Any, keys: Mapping[str, Sequence[str]], name: str) -> Shape:
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return {field.name: _shape(hints[field.name], keys, field.name) for field in dataclasses.fields(hint)}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return [_shape(arguments[0], keys, name)]
    if origin is Mapping:
        return {key: _shape(arguments[1], keys, name) for key in keys[name]}
    if origin is types.UnionType:  # X | None: every column may hold nulls
        return _shape(arguments[0], keys, name)
    return hint


def arrow_type(shape: Shape, pa: Any) -> Any:
    """This shape as a type of `pa`, which is pyarrow."""
    if isinstance(shape, list):
        return pa.list_(arrow_type(shape[0], pa))
    if isinstance(shape, dict):
        return pa.struct([(name, arrow_type(inner, pa)) for name, inner in shape.items()])
    return {str: pa.string(), int: pa.int64(), float: pa.float64()}[shape]


def polars_type(shape: Shape, pl: Any) -> Any:
    """This shape as a type of `pl`, which is polars."""
    if isinstance(shape, list):
        return pl.List(polars_type(shape[0], pl))
    if isinstance(shape, dict):
        return pl.Struct({name: polars_type(inner, pl) for name, inner in shape.items()})
    return {str: pl.String, int: pl.Int64, float: pl.Float64}[shape]


def result_key(key: str, taken: Collection[str]) -> str:
    """The row's own fields stay as they are: a field of the result gets prefixes until its name is free."""
    while key in taken:
        key = f"result_{key}"
    return key

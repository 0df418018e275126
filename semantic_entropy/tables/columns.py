"""Convert the fields of `Result` to columns of a table.

The column types are read from the annotations of `Result`, so a table always has the types of `Result`. A *shape*
describes the type of a column for all table libraries: a Python type, a list with the shape of the items, or a dict
with the shape of each field. The mappings `scores` and `versions` are *open*: their keys are all keys that occur in the
results of the table. A row without a key has a null for this key.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from semantic_entropy.results import CALIBRATION_FIELDS, Result

Shape = Any  # type | list[Shape] | dict[str, Shape]

_OF_ROW = ("samples", "greedy_sample")
LONG_ANSWER = "long_answer"
_OPTIONAL = (*CALIBRATION_FIELDS, LONG_ANSWER)
RESULT_FIELDS = tuple(field.name for field in dataclasses.fields(Result) if field.name not in (*_OF_ROW, *_OPTIONAL))
"""The fields of every result that a table or file stores: without those that the row has as responses and greedy."""
_DEFAULT_KEYS = {"scores": ("discrete",), "versions": ("semantic-entropy",)}  # for a table without rows


def result_columns(results: Iterable[Result]) -> dict[str, list[Any]]:
    """Return a list of values for each of `RESULT_FIELDS`. The values are those of `Result.to_dict()`.

    If a calibration was applied to the results, the columns of `CALIBRATION_FIELDS` follow; then `long_answer`, if a
    result has it.
    """
    rows = [result.to_dict() for result in results]
    names = stored_fields(
        is_calibrated=any("flag" in row for row in rows), has_long=any(LONG_ANSWER in row for row in rows)
    )
    return {name: [row.get(name) for row in rows] for name in names}


def stored_fields(*, is_calibrated: bool, has_long: bool) -> tuple[str, ...]:
    """Return the names of the fields of a result that a table or file stores."""
    return RESULT_FIELDS + (CALIBRATION_FIELDS if is_calibrated else ()) + ((LONG_ANSWER,) if has_long else ())


def open_keys(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    """Return the keys of each open mapping in these columns, in order of first appearance."""
    return {
        "scores": list(dict.fromkeys(key for scores in columns["scores"] for key in scores)),
        "versions": list(dict.fromkeys(key for provenance in columns["provenance"] for key in provenance["versions"])),
    }


def result_shape(keys: Mapping[str, Sequence[str]]) -> dict[str, Shape]:
    """Return the shape of each of the `stored_fields`. `keys` are the keys of the open mappings, from `open_keys`."""
    keys = {name: keys.get(name) or default for name, default in _DEFAULT_KEYS.items()}
    shape: dict[str, Shape] = _shape(Result, keys, "")
    return {name: shape[name] for name in stored_fields(is_calibrated=True, has_long=True)}


def free_name(name: str, taken: Collection[str]) -> str:
    """Return a name for a result field that no field of the row has: prefix `result_` until the name is free."""
    while name in taken:
        name = f"result_{name}"
    return name


def bare_name(name: str) -> str:
    """Return the name without the prefixes of `free_name`."""
    while name.startswith("result_"):
        name = name.removeprefix("result_")
    return name


def _shape(hint: Any, keys: Mapping[str, Sequence[str]], name: str) -> Shape:
    if dataclasses.is_dataclass(hint):
        return {field: _shape(inner, keys, field) for field, inner in _hints(typing.cast("type", hint)).items()}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return [_shape(arguments[0], keys, name)]
    if origin is Mapping:
        return {key: _shape(arguments[1], keys, name) for key in keys[name]}
    if origin is types.UnionType:  # X | None has the shape of X, because every column may hold nulls
        return _shape(arguments[0], keys, name)
    return hint


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)

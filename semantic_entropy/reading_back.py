"""A result from what an output has of it: its fields as JSON or as a table's values.

The types are read off `Result` itself, as in `columns`. A null is nan where there must be a number; in a mapping of
texts it is a key that this result does not have.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from semantic_entropy.errors import InputError
from semantic_entropy.types import Result

NAMES = tuple(one.name for one in dataclasses.fields(Result) if one.name != "samples")
"""The fields that an output has."""


def result_of(fields: Mapping[str, Any]) -> Result:
    """The result whose `to_dict()` has these fields.

    Raises:
        InputError: they are not those of a result.
    """
    try:
        result: Result = _built(Result, fields)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"a result that an earlier run wrote cannot be read ({type(error).__name__}: {error}): use --overwrite"
        ) from error
    return result


def _built(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        hints = _hints(typing.cast("type", hint))
        return hint(**{name: _built(hints[name], value[name]) for name in hints if name in value})  # type: ignore[operator]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:  # X | None
        return None if value is None else _built(arguments[0], value)
    if origin is tuple:
        return tuple(_built(arguments[0], one) for one in value)
    if origin is Mapping:
        return {
            key: _built(arguments[1], one) for key, one in value.items() if one is not None or arguments[1] is float
        }
    return math.nan if value is None and hint is float else value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)

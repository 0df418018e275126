"""Build dataclasses from decoded JSON: lists, dicts, texts, numbers, booleans and None.

The annotations of the dataclass say which types are allowed. A value of another type is an InputError that names its
field. None in place of a `float` becomes nan, because JSON has no nan. Fields that the dataclass does not have are
ignored.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections import Counter
from collections.abc import Mapping
from typing import Any

from semantic_entropy.errors import InputError


@dataclasses.dataclass(frozen=True, slots=True)
class _Source:
    """What the fields belong to, and what to do if one is missing, for errors; and whether None means absent."""

    of: str
    missing: str
    sparse: bool


def from_plain(kind: type, fields: Any, *, of: str, missing: str, sparse: bool = False) -> Any:
    """Build an object of a dataclass from a dict.

    Args:
        kind: the dataclass. Fields of its fields can be dataclasses, too.
        fields: the dict.
        of: what the fields belong to, for errors: "a result".
        missing: what to do if a field is missing, for errors.
        sparse: True: None in an optional field is its default, and a key with None in a dict of texts is absent. A row
            of a Parquet file has the keys that any row of the file has, with None for those that it lacks.

    Raises:
        InputError: a field is missing, or has a wrong type.
    """
    return _build(kind, fields, "", _Source(of, missing, sparse))


def _convert(hint: Any, value: Any, where: str, source: _Source) -> Any:
    """Convert a value to the type of an annotation. `where` names the value in errors."""
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast("type", hint), value, where, source)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:  # X | None
        return None if value is None else _convert(arguments[0], value, where, source)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(arguments[0], item, f"{where}[{i}]", source) for i, item in enumerate(value))
    if origin is Mapping and isinstance(value, Mapping):
        return {
            key: _convert(arguments[1], item, f"{where}[{key!r}]", source)
            for key, item in value.items()
            if not (source.sparse and arguments[1] is str and item is None)
        }
    if hint is float and (value is None or (isinstance(value, int | float) and not isinstance(value, bool))):
        try:
            return math.nan if value is None else float(value)
        except OverflowError:
            raise InputError(
                f"the field {where} of {source.of} is {value!r:.80}; it is too large for a float"
            ) from None
    if hint in (int, str, bool) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    name = getattr(hint, "__name__", str(hint)) if origin is None else {tuple: "list", Mapping: "dict"}[origin]
    raise InputError(f"the field {where} of {source.of} is {value!r:.80}; it must have the type {name}")


def _build(kind: type, fields: Any, where: str, source: _Source) -> Any:
    if not isinstance(fields, Mapping):
        raise InputError(f"the field {where} of {source.of} is {fields!r:.80}; it must be a dict")
    values = {}
    optional = {field.name for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING}
    for name, hint in _hints(kind).items():
        path = f"{where}.{name}".lstrip(".")
        if name in fields and not (source.sparse and name in optional and fields[name] is None):
            values[name] = _convert(hint, fields[name], path, source)
        elif name not in optional:
            raise InputError(f"the field {path} of {source.of} is missing: {source.missing}")
    return kind(**values)


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The `object_pairs_hook` of `json.loads`. Raise ValueError if an object has a key twice: a value would be lost."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        key, count = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"an object has the key {key!r:.80} {count} times")
    return fields


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)

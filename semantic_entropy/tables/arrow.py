"""Convert Python values to Arrow arrays, and shapes of results to Arrow types. Importing this module needs pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from semantic_entropy.errors import MissingDependencyError
from semantic_entropy.tables.columns import Shape

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingDependencyError("Parquet files need pyarrow: pip install 'semantic-entropy[parquet]'") from error

__all__ = ["CONVERSION_ERRORS", "arrow_type", "pa", "pq", "to_array"]

CONVERSION_ERRORS = (pa.ArrowException, OverflowError, TypeError, ValueError)
"""The errors that pyarrow raises if a type cannot hold a value."""


def arrow_type(shape: Shape) -> Any:
    """Convert a shape from `result_shape` to an Arrow type."""
    if isinstance(shape, list):
        return pa.list_(arrow_type(shape[0]))
    if isinstance(shape, dict):
        return pa.struct([(name, arrow_type(inner)) for name, inner in shape.items()])
    return {str: pa.string(), int: pa.int64(), float: pa.float64()}[shape]


def to_array(values: Sequence[Any], kind: Any) -> Any:
    r"""Convert Python values to an Arrow array. UTF-8 has no lone surrogates: they become escapes (`\udc80`)."""
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array(_escape_surrogates(values), kind)


def _escape_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [_escape_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_escape_surrogates(key): _escape_surrogates(item) for key, item in value.items()}
    return value

"""pyarrow, or the command that brings it; and how a result's values become its arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from semantic_entropy.errors import MissingDependencyError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingDependencyError("Parquet files need pyarrow: pip install 'semantic-entropy[parquet]'") from error

__all__ = ["REFUSED", "array", "pa", "pq"]

REFUSED = (pa.ArrowException, OverflowError, TypeError, ValueError)
"""How pyarrow says that a type does not hold some values."""


def array(values: Sequence[Any], kind: Any) -> Any:
    r"""Python values as an Arrow array; a lone surrogate, which UTF-8 cannot hold, is written out as `\udc80`."""
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array(_spelled_out(values), kind)


def _spelled_out(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [_spelled_out(item) for item in value]
    if isinstance(value, dict):
        return {_spelled_out(key): _spelled_out(item) for key, item in value.items()}
    return value

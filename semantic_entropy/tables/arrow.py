"""Convert Python values to Arrow arrays, and shapes of results to Arrow types. Importing this module needs pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semantic_entropy.errors import InputError, MissingDependencyError, install_command
from semantic_entropy.tables.columns import Shape

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    command = install_command("semantic-entropy[parquet]")
    raise MissingDependencyError(f"Parquet files need pyarrow: {command}") from error

__all__ = ["CONVERSION_ERRORS", "arrow_type", "escape_surrogates", "pa", "parquet_file", "pq", "read_whole", "to_array"]

CONVERSION_ERRORS = (pa.ArrowException, OverflowError, TypeError, ValueError)
"""The errors that pyarrow raises if a type cannot hold a value."""


def parquet_file(source: Any) -> Any:
    """Open a Parquet file. A page whose checksum differs is an OSError: a changed byte must not become a number.

    A page without a checksum is not verified: pyarrow writes none by default.
    """
    return pq.ParquetFile(source, page_checksum_verification=True)


def read_whole(path: Path) -> None:
    """Raise an error of pyarrow if a part of a Parquet file cannot be read, or is not what was written."""
    with parquet_file(path) as file:
        for group in range(file.num_row_groups):
            file.read_row_group(group)


def arrow_type(shape: Shape) -> Any:
    """Convert a shape from `result_shape` to an Arrow type."""
    if isinstance(shape, list):
        return pa.list_(arrow_type(shape[0]))
    if isinstance(shape, dict):
        return pa.struct([(name, arrow_type(inner)) for name, inner in shape.items()])
    return {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}[shape]


def to_array(values: Sequence[Any], kind: Any) -> Any:
    r"""Convert Python values to an Arrow array. UTF-8 has no lone surrogates: they become escapes (`\udc80`)."""
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array(escape_surrogates(values), kind)


def escape_surrogates(value: Any) -> Any:
    """Replace lone surrogates in texts and in names of fields by escapes.

    Raises:
        InputError: two fields of an object have the same name then.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [escape_surrogates(item) for item in value]
    if isinstance(value, dict):
        fields = {escape_surrogates(key): escape_surrogates(item) for key, item in value.items()}
        if len(fields) < len(value):
            raise InputError(f"two of the fields {list(value)} have one name without lone surrogates: rename one")
        return fields
    return value

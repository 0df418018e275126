"""Results as typed columns of tables: Arrow, pandas, polars and `datasets`. Importing this loads none of them.

`columns` has the names and types of a result's columns; `frames` measures the tables that users pass; `arrow` needs
pyarrow and is imported where Arrow data is read or written.
"""

from semantic_entropy.tables.columns import (
    RESULT_FIELDS,
    free_name,
    open_keys,
    result_columns,
    result_from_fields,
    result_shape,
)
from semantic_entropy.tables.frames import TableT, as_table, measure_table

__all__ = [
    "RESULT_FIELDS",
    "TableT",
    "as_table",
    "free_name",
    "measure_table",
    "open_keys",
    "result_columns",
    "result_from_fields",
    "result_shape",
]

"""Results as typed columns of tables: Arrow, pandas, polars and `datasets`. Importing it imports no table library.

`columns` has the names and types of the columns of a result. `field_names` finds the columns that are measured.
`frames` measures the tables that users pass. `arrow` needs pyarrow; a module imports `arrow` only when it reads or
writes Arrow data.
"""

from semantic_entropy.tables.columns import (
    LONG_ANSWER,
    RESULT_FIELDS,
    bare_name,
    free_name,
    open_keys,
    result_columns,
    result_shape,
    stored_fields,
)
from semantic_entropy.tables.field_names import QUESTION, SAMPLES, FieldNames, QuestionUse
from semantic_entropy.tables.frames import TableT, as_table, measure_table

__all__ = [
    "LONG_ANSWER",
    "QUESTION",
    "RESULT_FIELDS",
    "SAMPLES",
    "FieldNames",
    "QuestionUse",
    "TableT",
    "as_table",
    "bare_name",
    "free_name",
    "measure_table",
    "open_keys",
    "result_columns",
    "result_shape",
    "stored_fields",
]

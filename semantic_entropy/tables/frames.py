"""Measure tables that a user passes to `estimate`: pandas and polars frames and `datasets.Dataset`.

The returned table has the same kind, and one more column for each field of the results. If the table already has a
column with this name, the new column gets the prefix `result_`, like in files. A pandas frame keeps its index, and
stores lists and dicts as objects. This module recognises a table by the name and module of its class, so it need not
import a table library.

Lazy and streamed tables are not supported: all groups go through one pipeline run, so all responses must be in memory.
"""

from __future__ import annotations

import json
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from semantic_entropy.clusters import is_missing, many_groups
from semantic_entropy.errors import InputError, nearest
from semantic_entropy.results import BatchResult, Result
from semantic_entropy.tables.columns import Shape, free_name, open_keys, result_columns, result_shape
from semantic_entropy.tables.field_names import FieldNames, QuestionUse
from semantic_entropy.types import Group


class _HasColumns(Protocol):
    @property
    def columns(self) -> Any: ...


class _HasColumnNames(Protocol):
    @property
    def column_names(self) -> Any: ...


TableT = TypeVar("TableT", bound="_HasColumns | _HasColumnNames")
"""A pandas or polars frame, or a `datasets.Dataset`. The returned table has the type of the passed table."""


class TableAdapter(ABC):
    """Base class of adapters: the operations on a table that measuring needs, for one table library."""

    def __init__(self, table: Any, library: Any) -> None:
        self.table, self.library = table, library

    @property
    @abstractmethod
    def names(self) -> list[Any]:
        """Return the names of the columns."""

    @abstractmethod
    def values(self, name: str) -> list[Any]:
        """Return the values of a column as Python values."""

    @abstractmethod
    def with_columns(self, columns: Mapping[str, list[Any]], shapes: Mapping[str, Shape]) -> Any:
        """Return a table of the same kind with these columns added. Do not change the given table."""

    @abstractmethod
    def joined(self, groups: Sequence[Sequence[int]], lists: Collection[str]) -> Any:
        """Return a table of the same kind with a row for each group of row numbers.

        The columns in `lists` have the list of the values of all rows of the group; the others that of its first row.
        """


class _PandasFrame(TableAdapter):
    @property
    def names(self) -> list[Any]:
        return list(self.table.columns)

    def values(self, name: str) -> list[Any]:
        return [_arrays_as_lists(value) for value in self.table[name].tolist()]

    def with_columns(self, columns: Mapping[str, list[Any]], shapes: Mapping[str, Shape]) -> Any:
        dtypes = {float: "float64", int: "int64", bool: "bool", str: None}  # None: pandas chooses how it stores texts
        table = self.table.copy(deep=False)
        for name, column in columns.items():
            dtype = "object" if isinstance(shapes[name], list | dict) else dtypes[shapes[name]]
            table[name] = self.library.Series(column, index=table.index, dtype=dtype)
        return table

    def joined(self, groups: Sequence[Sequence[int]], lists: Collection[str]) -> Any:
        table = self.table.iloc[[rows[0] for rows in groups]].copy()
        for name in lists:
            values = self.values(name)
            column = [[values[row] for row in rows] for rows in groups]
            table[name] = self.library.Series(column, index=table.index, dtype="object")
        return table


class _PolarsFrame(TableAdapter):
    @property
    def names(self) -> list[Any]:
        return list(self.table.columns)

    def values(self, name: str) -> list[Any]:
        return list(self.table[name].to_list())

    def with_columns(self, columns: Mapping[str, list[Any]], shapes: Mapping[str, Shape]) -> Any:
        dtypes = {name: self._dtype(shape) for name, shape in shapes.items()}
        return self.table.with_columns(
            [self.library.Series(name, columns[name], dtype=dtypes[name]) for name in columns]
        )

    def joined(self, groups: Sequence[Sequence[int]], lists: Collection[str]) -> Any:
        columns = []
        for name in lists:
            values = self.values(name)
            kind = self.library.List(self.table[name].dtype)
            columns.append(self.library.Series(name, [[values[row] for row in rows] for rows in groups], dtype=kind))
        return self.table[[rows[0] for rows in groups]].with_columns(columns)

    def _dtype(self, shape: Shape) -> Any:
        pl = self.library
        if isinstance(shape, list):
            return pl.List(self._dtype(shape[0]))
        if isinstance(shape, dict):
            return pl.Struct({name: self._dtype(inner) for name, inner in shape.items()})
        return {str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean}[shape]


class _HuggingFaceDataset(TableAdapter):
    @property
    def names(self) -> list[Any]:
        return list(self.table.column_names)

    def values(self, name: str) -> list[Any]:
        return list(self.table.select_columns([name]).with_format(None)[:][name])

    def with_columns(self, columns: Mapping[str, list[Any]], shapes: Mapping[str, Shape]) -> Any:
        from semantic_entropy.tables.arrow import arrow_type, pa, to_array  # a dataset is stored in Arrow

        arrays = {name: to_array(column, arrow_type(shapes[name])) for name, column in columns.items()}
        added = self.library.Dataset(pa.table(arrays))
        if not len(self.table):  # concatenate_datasets drops columns without rows
            features = self.library.Features({**self.table.features, **added.features})
            return self.library.Dataset.from_dict({name: [] for name in features}, features)
        both = self.library.concatenate_datasets([self.table.with_format(None), added], axis=1)
        given = self.table.format
        formatted = None if given["columns"] == self.names else [*given["columns"], *columns]
        return both.with_format(given["type"], formatted, given["output_all_columns"], **given["format_kwargs"])

    def joined(self, groups: Sequence[Sequence[int]], lists: Collection[str]) -> Any:
        list_of = getattr(self.library, "List", self.library.Sequence)  # `List` since datasets 4
        columns, features = {}, {}
        for name in self.names:
            values, feature = self.values(name), self.table.features[name]
            if name in lists:
                columns[name], features[name] = [[values[row] for row in rows] for rows in groups], list_of(feature)
            else:
                columns[name], features[name] = [values[rows[0]] for rows in groups], feature
        return self.library.Dataset.from_dict(columns, self.library.Features(features))


_ADAPTERS: dict[tuple[str, str], type[TableAdapter]] = {
    ("pandas", "DataFrame"): _PandasFrame,
    ("polars", "DataFrame"): _PolarsFrame,
    ("datasets", "Dataset"): _HuggingFaceDataset,
}
_ADVICE = {  # (library, unsupported class) -> advice
    ("polars", "LazyFrame"): "pass its .collect()",
    ("datasets", "DatasetDict"): "pass one of its splits",
    ("datasets", "IterableDataset"): "pass a Dataset, such as Dataset.from_list(list(it.take(1000)))",
}
_PATTERN = ", or a pattern such as 'answer_*' for several columns with one response each"


def as_table(value: object) -> TableAdapter | None:
    """Return an adapter for the table; None if the value is not a table.

    Raises:
        InputError: the class of the table is not supported, such as a lazy frame. The message has advice.
    """
    if isinstance(value, list | tuple | str):
        return None
    for kind in type(value).__mro__:
        library = kind.__module__.partition(".")[0]
        if adapter := _ADAPTERS.get((library, kind.__name__)):
            return adapter(value, sys.modules[library])
        if advice := _ADVICE.get((library, kind.__name__)):
            raise InputError(f"a {library}.{kind.__name__} cannot be measured: {advice}")
    return None


def measure_table(
    table: TableAdapter,
    measure: Callable[[Sequence[Group]], Sequence[Result]],
    uses_question: Callable[[Result], bool],
    column: Any,
    question: Any,
    logprobs: Any,
    group_by: Any = None,
    evidence: Mapping[str, Any] | None = None,
) -> Any:
    """Measure the rows of a table. Return the table with the columns of the results added.

    Args:
        table: the adapter of a table with one row for each group.
        measure: a function that returns a result for each group.
        column: the name of the column that holds the responses, or a pattern with `*` for several columns with one
            response each, of which missing and empty cells are left out; None: "responses", or else numbered columns
            (`response_1`, `response_2`, ...), which a warning names.
        uses_question: returns whether the judge that gave a result reads the question.
        question: the name of the column that holds the question, texts or chat messages; None: "question", or else a
            column with a common name, which a warning names.
        logprobs: the name of the column that holds log-probabilities; None: "logprobs" if the table has it.
        group_by: the name of the column that the rows with the responses to one question share. The returned table has
            a row for each question. A column that differs inside a group has lists. A missing response is an empty one,
            so an invalid answer. None: a row has all responses.
        evidence: the columns with evidence, by the names of `GivenEvidence`; None: the column of this name, if there is
            one.

    Raises:
        InputError: a named column does not exist, or a row cannot be measured.
    """
    if group_by is not None:
        group_by = _column_name(table, "group_by", group_by, "")
        singles = {given or name for name, given in (evidence or {}).items() if name != "greedy"}
        table, column = _joined_table(table, column, question, logprobs, group_by, singles)
        responses = [["" if is_missing(cell) else cell for cell in cells] for cells in table.values(column)]
    else:
        responses = _responses(table, column)
    rows = _question_rows(table, question, len(responses))
    names = FieldNames(question=question)
    questions = [names.question_in(row)[1] for row in rows]
    known = {name: _optional_column(table, name, given) for name, given in (evidence or {}).items()}
    groups = many_groups(responses, questions, _optional_column(table, "logprobs", logprobs), known)
    results = measure(groups)
    _warn_about_questions(names, rows, results, uses_question)
    for warning in BatchResult(results).warnings:
        _warn(warning)
    columns = result_columns(results)
    shapes = result_shape(open_keys(columns))
    free = {field: free_name(field, table.names) for field in columns}
    return table.with_columns(
        {free[field]: column for field, column in columns.items()},
        {free[field]: shapes[field] for field in columns},
    )


def _responses(table: TableAdapter, column: Any) -> list[Any]:
    """Return the responses of each row: those in one column, or those in the cells of several columns."""
    wanted = column if isinstance(column, str) else FieldNames().responses
    several = FieldNames(wanted).response_columns(table.names)
    if not several:
        return table.values(_column_name(table, "column", column, "responses"))
    if column is None:
        pattern = several[0].rstrip("0123456789") + "*"
        _warn(f"responses: the columns {', '.join(several)}; confirm them with column={pattern!r}")
    cells = zip(*(table.values(name) for name in several), strict=True)
    rows = [[cell for cell in row if not is_missing(cell) and cell != ""] for row in cells]
    if [] in rows:
        raise InputError(
            f"row {rows.index([])} has no response: its cells {several[0]} to {several[-1]} are empty; drop the row"
        )
    return rows


def _joined_table(
    table: TableAdapter, column: Any, question: Any, logprobs: Any, group_by: str, evidence: set[Any]
) -> tuple[TableAdapter, str]:
    """Join the rows that have one response each. Return the table of groups, and the name of the responses column."""
    found = FieldNames().single_response(table.names)
    several = FieldNames(column if isinstance(column, str) else found).response_columns(table.names)
    if several:
        raise InputError(
            f"group_by= joins rows with one response each, and the columns {', '.join(several)} have several: leave "
            "group_by= out, or name the column with the response as column="
        )
    responses = _column_name(table, "column", column, found)
    if column is None and found != FieldNames().responses:
        _warn(f"responses: the column {found!r}; confirm it with column={found!r}")
    groups: dict[str, list[int]] = {}
    for row, value in enumerate(table.values(group_by)):
        if is_missing(value):
            raise InputError(
                f"row {row} has no value in the column {group_by!r} of group_by=: fill it, or drop the row"
            )
        groups.setdefault(_as_text(value), []).append(row)
    lists = {responses, *({logprobs or "logprobs", *evidence} & {*table.names})}
    for name in set(table.names) - lists:
        texts = list(map(_as_text, table.values(name)))
        if any(len({texts[row] for row in rows}) > 1 for rows in groups.values()):
            lists.add(name)
    questions = FieldNames(question=question).question_fields(table.names)
    if questions and questions[0] in lists:
        raise InputError(f"rows with the same {group_by!r} have different questions in the column {questions[0]!r}")
    in_order = [name for name in table.names if name in lists]
    return type(table)(table.joined(list(groups.values()), in_order), table.library), responses


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _question_rows(table: TableAdapter, question: Any, size: int) -> list[dict[str, Any]]:
    """Return for each row the values of the columns that can hold the question."""
    if question is not None:
        _column_name(table, "question", question, "question")
    names = FieldNames(question=question).question_fields(table.names)
    columns = {name: _optional_column(table, "question", name) for name in names if name in table.names}
    return [{name: column[i] for name, column in columns.items() if column} for i in range(size)]


def _warn_about_questions(
    names: FieldNames,
    rows: Sequence[Mapping[str, Any]],
    results: Sequence[Result],
    uses_question: Callable[[Result], bool],
) -> None:
    use = QuestionUse(names)
    for row, result in zip(rows, results, strict=True):
        if taken := use.add(row, names.question_in(row)[1], result, uses_question=uses_question(result)):
            _warn(f"question: the column {taken!r}; confirm it with question={taken!r}")
    if warning := use.warning("question=NAME"):
        _warn(warning)


def _warn(message: str) -> None:
    """Warn at the line that called this package."""
    level, frame = 1, sys._getframe().f_back  # noqa: SLF001  # warnings.warn has skip_file_prefixes since Python 3.12
    while frame is not None and frame.f_globals.get("__name__", "").startswith("semantic_entropy."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level + 1)


def _optional_column(table: TableAdapter, argument: str, given: Any) -> list[Any] | None:
    if given is None and argument not in table.names:
        return None
    values = table.values(_column_name(table, argument, given, argument))
    return [None if is_missing(value) else value for value in values]


def _column_name(table: TableAdapter, argument: str, given: Any, default: str) -> str:
    name = default if given is None else given
    if not isinstance(name, str):
        raise InputError(f"{argument}={name!r:.80}: for a table, pass the name of a column")
    names = list(map(str, table.names))
    if names.count(name) != 1:
        number = "several columns are" if name in names else "no column is"
        raise InputError(
            f"{number} named {name!r}.{nearest(name, names)} The table has: {', '.join(names) or 'none'}; "
            f"pass the name of a column as {argument}={_PATTERN if argument == 'column' else ''}"
        )
    return name


def _arrays_as_lists(value: Any) -> Any:
    """Convert numpy arrays, which pandas reads from Parquet, to nested lists."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [_arrays_as_lists(item) for item in value] if isinstance(value, list | tuple) else value

"""Tables of other libraries: pandas and polars frames and `datasets.Dataset` in, the same kind out, results added.

None of them is imported here: a value is recognised by its class's name and module, and who holds one has the library
loaded. Results become columns of the types that `columns` states; one whose name is taken gets the prefix `result_`, as
in files. A pandas frame keeps its index, and holds lists and dicts as objects.

Left out: lazy and streamed tables. All groups go through one run, so all responses must be at hand.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from semantic_entropy.clusters.groups import many_groups
from semantic_entropy.errors import InputError, nearest
from semantic_entropy.tables.columns import Shape, columns, mapping_keys, polars_type, result_key, result_shape
from semantic_entropy.types import Group, Result


class _Columns(Protocol):
    @property
    def columns(self) -> Any: ...


class _ColumnNames(Protocol):
    @property
    def column_names(self) -> Any: ...


TableT = TypeVar("TableT", bound="_Columns | _ColumnNames")
"""A pandas or polars frame, or a `datasets.Dataset`: what goes in comes out."""


class Table(ABC):
    """A table of some library, as far as measuring it goes."""

    def __init__(self, table: Any, library: Any) -> None:
        self.table, self.library = table, library

    @property
    @abstractmethod
    def names(self) -> list[Any]:
        """Its columns."""

    @abstractmethod
    def values(self, name: str) -> list[Any]:
        """A column as Python values."""

    @abstractmethod
    def extended(self, values: Mapping[str, list[Any]], shapes: Mapping[str, Shape]) -> Any:
        """The same kind of table with these columns added; the one at hand stays as it is."""


class _Pandas(Table):
    @property
    def names(self) -> list[Any]:
        return list(self.table.columns)

    def values(self, name: str) -> list[Any]:
        return [_plain(value) for value in self.table[name].tolist()]

    def extended(self, values: Mapping[str, list[Any]], shapes: Mapping[str, Shape]) -> Any:
        kinds = {float: "float64", int: "int64", str: None}  # None: pandas' own way with texts
        table = self.table.copy(deep=False)
        for name, column in values.items():
            kind = "object" if isinstance(shapes[name], list | dict) else kinds[shapes[name]]
            table[name] = self.library.Series(column, index=table.index, dtype=kind)
        return table


class _Polars(Table):
    @property
    def names(self) -> list[Any]:
        return list(self.table.columns)

    def values(self, name: str) -> list[Any]:
        return list(self.table[name].to_list())

    def extended(self, values: Mapping[str, list[Any]], shapes: Mapping[str, Shape]) -> Any:
        kinds = {name: polars_type(shape, self.library) for name, shape in shapes.items()}
        return self.table.with_columns([self.library.Series(name, values[name], dtype=kinds[name]) for name in values])


class _Dataset(Table):
    @property
    def names(self) -> list[Any]:
        return list(self.table.column_names)

    def values(self, name: str) -> list[Any]:
        return list(self.table.select_columns([name]).with_format(None)[:][name])

    def extended(self, values: Mapping[str, list[Any]], shapes: Mapping[str, Shape]) -> Any:
        from semantic_entropy.tables.arrow import array, pa  # which a dataset stands on
        from semantic_entropy.tables.columns import arrow_type

        arrays = {name: array(column, arrow_type(shapes[name], pa)) for name, column in values.items()}
        added = self.library.Dataset(pa.table(arrays))
        if not len(self.table):  # joining drops columns without rows
            features = self.library.Features({**self.table.features, **added.features})
            return self.library.Dataset.from_dict({name: [] for name in features}, features)
        both = self.library.concatenate_datasets([self.table.with_format(None), added], axis=1)
        how = self.table.format
        shown = None if how["columns"] == self.names else [*how["columns"], *values]
        return both.with_format(how["type"], shown, how["output_all_columns"], **how["format_kwargs"])


_TABLES: dict[tuple[str, str], type[Table]] = {
    ("pandas", "DataFrame"): _Pandas,
    ("polars", "DataFrame"): _Polars,
    ("datasets", "Dataset"): _Dataset,
}
_NEARLY = {
    ("pandas", "Series"): "pass the frame it is a column of, or its .tolist()",
    ("polars", "LazyFrame"): "pass its .collect()",
    ("polars", "Series"): "pass the frame it is a column of, or its .to_list()",
    ("datasets", "DatasetDict"): "pass one of its splits",
    ("datasets", "IterableDataset"): "pass a Dataset, such as Dataset.from_list(list(it.take(1000)))",
}


def as_table(value: object) -> Table | None:
    """A table that can be measured, or None for a value that is none.

    Raises:
        InputError: a relative of a table that is not one; says what to pass instead.
    """
    if isinstance(value, list | tuple | str):
        return None
    for kind in type(value).__mro__:
        library = kind.__module__.partition(".")[0]
        if found := _TABLES.get((library, kind.__name__)):
            return found(value, sys.modules[library])
        if advice := _NEARLY.get((library, kind.__name__)):
            raise InputError(f"a {library}.{kind.__name__} cannot be measured: {advice}")
    return None


def measured(
    table: Table, run: Callable[[Sequence[Group]], Sequence[Result]], column: Any, question: Any, logprobs: Any
) -> Any:
    """The table with the columns of the results. `column`, `question`, `logprobs`: names of columns, None the usual."""
    responses = table.values(_named(table, "column", column, "responses"))
    questions = _optional(table, "question", question)
    results = run(many_groups(responses, questions, _optional(table, "logprobs", logprobs)))
    values = columns(results)
    free = {name: result_key(name, table.names) for name in values}
    shapes = result_shape(mapping_keys(values))
    return table.extended(
        {free[name]: column for name, column in values.items()},
        {free[name]: shape for name, shape in shapes.items()},
    )


def _optional(table: Table, argument: str, given: Any) -> list[Any] | None:
    if given is None and argument not in table.names:
        return None
    return [None if _missing(value) else value for value in table.values(_named(table, argument, given, argument))]


def _named(table: Table, argument: str, given: Any, usual: str) -> str:
    name = usual if given is None else given
    if not isinstance(name, str):
        raise InputError(f"{argument}={name!r:.80}: for a table it is the name of a column")
    names = list(map(str, table.names))
    if names.count(name) != 1:
        number = "several columns are" if name in names else "no column is"
        raise InputError(
            f"{number} named {name!r}.{nearest(name, names)} The table has: {', '.join(names) or 'none'}; "
            f"{argument}= names another"
        )
    return name


def _missing(value: object) -> bool:
    """None, or what pandas puts in its place (of NA alone one cannot ask whether it equals itself)."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)  # noqa: PLR0124


def _plain(value: Any) -> Any:
    """A cell of numpy arrays (pandas reads Parquet so) as lists."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value

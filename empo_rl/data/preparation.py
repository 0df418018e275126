"""What the ways of preparing a data set share: where it is, what its columns are called, a row or why there is none.

A record that breaks a rule is data, `Removed`, and counted by rule. A column that does not exist is an error: it would
break the rule in every record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from empo_rl.data.draw import Row
from empo_rl.data.records import column_value
from semantic_entropy import InputError

Columns = Mapping[str, str]
"""A role (question, answer, ...) -> the column that plays it; an empty name: none does."""


@dataclass(frozen=True, slots=True)
class Removed:
    """The rule that a record breaks, the first one in the order of `Preparation.rules`."""

    rule: str


@dataclass(frozen=True)
class Preparation:
    """One way of making training rows. `row` gets the columns of a record, by role, as `text` or `responses` read them.

    name: of the command. source: a hub data set. count: how many rows are drawn where nothing else is asked for.
    columns: the source's own names. optional: roles that no column need play. rules: their names, in order.
    """

    name: str
    source: str
    count: int
    columns: Columns
    optional: frozenset[str]
    rules: tuple[str, ...]
    row: Callable[[Mapping[str, Any], str, Columns], Row | Removed]

    def with_columns(self, given: Columns) -> Columns:
        """The columns, with those given in their places.

        Raises:
            InputError: a role that is not played here, or one that must be.
        """
        for role, column in given.items():
            if role not in self.columns:
                raise InputError(f"--column {role}={column}: no such role. Roles: {', '.join(self.columns)}.")
            if not column and role not in self.optional:
                raise InputError(
                    f"--column {role}=: a column must be named. Only {_names(self.optional)} may be empty."
                )
        return {**self.columns, **given}


def text(record: Mapping[str, Any], columns: Columns, role: str, place: str) -> str | None:
    """The text (or number) in the column that plays the role; None where it is blank, or no column plays it.

    Raises:
        InputError: the column does not exist, or holds something else.
    """
    if not columns[role]:
        return None
    value = column_value(record, columns[role], place, f"--column {role}=...")
    if value is None:
        return None
    if not isinstance(value, str | int | float):
        raise InputError(
            f"{place}: column {columns[role]!r} (--column {role}=...) holds {_short(value)}, which is no text."
        )
    return str(value) if str(value).strip() else None


def responses(record: Mapping[str, Any], columns: Columns, role: str, place: str) -> list[str]:
    """The texts in a column of one response or of several; `COLUMN.FIELD` takes that field of each object.

    Raises:
        InputError: the column or the field does not exist, or holds something else.
    """
    name = columns[role]
    key = f"--column {role}=..."
    column, _, inner = (name, "", "") if name in record else name.partition(".")
    value = column_value(record, column, place, key)
    items = value if isinstance(value, list | tuple) else [value]
    texts = [column_value(item, inner, place, key) if isinstance(item, Mapping) and inner else item for item in items]
    for found in texts:
        if found is not None and not isinstance(found, str):
            fields = f" Give --column {role}={column}.FIELD: {', '.join(found)}." if isinstance(found, Mapping) else ""
            raise InputError(f"{place}: column {name!r} ({key}) holds {_short(found)}, which is no text.{fields}")
    return [found for found in texts if found]


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _names(roles: frozenset[str]) -> str:
    return ", ".join(sorted(roles)) or "none"

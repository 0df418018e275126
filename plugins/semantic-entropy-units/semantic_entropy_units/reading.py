"""The quantity of an answer: its last quantity with a unit, else its last bare number, in SI base units.

Several quantities of one dimension in a row, each unit smaller than the one before, are one quantity: `5 ft 10 in`,
`1 h and 30 min`. A range, a choice, a tolerance or a calculation (`3-10 cm`, `3 or 4 m`, `5 ± 1 g`, `2 m * 3 m`) is not
a single quantity.
"""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from typing import NamedTuple

from semantic_entropy_units.cleaning import clean
from semantic_entropy_units.dictionary import scale
from semantic_entropy_units.grammar import Amount, amounts

LONGEST = 2000  # characters of an answer; a longer text is a solution, from which the answer must be extracted first
_JOINED = frozenset({"", "and", ",", ", and"})
_OPERATOR = re.compile(r"[-+*/^±x]+|to|or|by|through|plus|minus|times")


class Quantity(NamedTuple):
    """A number of SI base units, and its dimension. `bare`: the answer names no unit."""

    value: Fraction
    dimension: str
    bare: bool


def read(answer: str) -> Quantity | None:
    """The quantity of an answer, or None if it states no quantity or not a single one."""
    line = clean(answer) if len(answer) <= LONGEST else None
    if line is None:
        return None
    found = list(amounts(line))
    stated = [i for i, amount in enumerate(found) if amount.units] or [
        i for i, amount in enumerate(found) if not amount.foreign
    ]
    if not stated:
        return None
    last = stated[-1]
    beside = itertools.pairwise(found[max(0, last - 1) : last + 2])
    if any(_is_one_of_several(line, one, other) for one, other in beside):
        return None
    return _sum(line, found[: last + 1])


def _is_one_of_several(line: str, one: Amount, other: Amount) -> bool:
    gap = _gap(line, one, other)
    return _OPERATOR.fullmatch(gap) is not None or (gap == "and" and not one.units)  # between 3 and 4 cm


def _gap(line: str, one: Amount, other: Amount) -> str:
    return line[one.end : other.start].strip(" ()").lower()


def _sum(line: str, found: list[Amount]) -> Quantity:
    """The last amount, plus the amounts before it that belong to it."""
    total = single = _quantity(found[-1])
    for one, other in zip(found[-2::-1], found[:0:-1], strict=True):
        larger = _quantity(one)
        joined = _gap(line, one, other) in _JOINED and one.units and other.units and other.number >= 0
        if not joined or larger.dimension != single.dimension or larger.value <= single.value:
            break
        total = total._replace(value=total.value + larger.value)
        single = larger
    return total


def _quantity(amount: Amount) -> Quantity:
    factor, offset, dimension = scale(amount.units)
    return Quantity(amount.number * factor + offset, dimension, bare=not amount.units)

"""Compares two readings without math-verify.

Exact numbers are equal or not. A decimal is equal to a number that it rounds: to six decimals, and below 0.1 to six
significant digits, so that 6.63e-34 and 1.38e-23 differ. What one side states alone (a unit, a variable, a base) is
ignored; what both state is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from semantic_entropy_plugins.math.exact_numbers import ExactNumber, approximate, hashable, scale, subtract
from semantic_entropy_plugins.math.keys import ExactAnswer, parse_cleaned
from semantic_entropy_plugins.math.opaque_terms import is_equation, is_plain_name
from semantic_entropy_plugins.math.reading import Reading
from semantic_entropy_plugins.math.real_sets import RealSet, from_container
from semantic_entropy_plugins.quantities import NO_MEASURE, conflict


def tolerance(size: float) -> float:
    """The largest difference between a decimal of this size and a number that it rounds.

    Half a unit of the sixth decimal; below 0.1, half a unit of the sixth significant digit or less.
    """
    return 5e-7 if size >= 0.1 else 5e-6 * size


def compare(left: Reading, right: Reading) -> bool | None:
    """Whether two answers mean the same; None: only math-verify can decide."""
    if conflict(left.measure, right.measure) or _names_differ(left, right):
        return False
    for kind, comparer in _COMPARERS.items():
        if getattr(left, kind) or getattr(right, kind):
            return comparer(left, right)
    return None


def _names_differ(left: Reading, right: Reading) -> bool:
    """Whether one answer is about `f'(x)`, `|x|` or the like, and the other about something else."""
    one, other = left.variable, right.variable
    if one and other:
        return one != other and not (is_plain_name(one) and is_plain_name(other))
    bare = right if one else left
    return is_equation(one or other) and "=" not in bare.text


def _compare_words(left: Reading, right: Reading) -> bool | None:
    if left.words and right.words:
        return left.words == right.words
    return None if not (left.is_decided and right.is_decided) else False


def _compare_numerals(left: Reading, right: Reading) -> bool | None:
    one, other = left.numeral, right.numeral
    if one and other:
        try:
            return int(one.digits, one.base) == int(other.digits, other.base)
        except ValueError:  # a digit that the base does not have
            return one == other
    numeral, number = (one, right) if one else (other, left)
    if number.exact is None or numeral is None:
        return None if not number.is_decided else False
    if not numeral.digits.isdigit():  # 1F in base 16
        written = parse_cleaned(str(int(numeral.digits, numeral.base))) if numeral.base >= 16 else None
    else:
        written = parse_cleaned(numeral.digits)
    return written is not None and written.key == number.exact.key


def _compare_ratios(left: Reading, right: Reading) -> bool | None:
    if not (left.ratio and right.ratio):
        return None
    if _may_be_time(left.ratio) and _may_be_time(right.ratio):
        return tuple(map(Fraction, left.ratio)) == tuple(map(Fraction, right.ratio))
    return _reduced(left.ratio) == _reduced(right.ratio)


def _may_be_time(parts: Sequence[str]) -> bool:
    """Whether a ratio may be a time of day, such as 3:30, which no other time equals."""
    return len(parts[-1]) == 2 and all(len(part) <= 2 for part in parts)


def _reduced(parts: Sequence[str]) -> tuple[Fraction, ...]:
    """A ratio in lowest terms."""
    values = [Fraction(part) for part in parts]
    base = next((value for value in values if value), Fraction(1))
    return tuple(value / base for value in values)


def _compare_sets(left: Reading, right: Reading) -> bool | None:
    one, other = (_as_set(reading) for reading in (left, right))
    if one is None or other is None:
        return None if not (left.is_decided and right.is_decided) else False
    if one.variable and other.variable and one.variable != other.variable:
        return False
    if one.key == other.key:
        return True
    if len(one.pieces) != len(other.pieces) or not (one.decimal or other.decimal):
        return False
    ends = [(a, b) for p, q in zip(one.pieces, other.pieces, strict=True) for a, b in zip(p, q, strict=True)]
    return all(
        a.closed == b.closed
        and (a.approximation == b.approximation if a.value is None or b.value is None else near(a.value, b.value))
        for a, b in ends
    )


def _as_set(reading: Reading) -> RealSet | None:
    return reading.real_set or (from_container(reading.exact) if reading.exact else None)


def _compare_exact(left: Reading, right: Reading) -> bool | None:
    one, other = left.exact, right.exact
    if one is None or other is None:
        return None
    if left.variable and right.variable and _index(left, right) != _index(right, left):
        return False
    kinds = {one.kind, other.kind}
    if kinds == {"%", "value"}:
        if (left if other.kind == "%" else right).measure[1:] != NO_MEASURE[1:]:
            return False  # 20% and 20 people
        return _is_percentage(*((one, other) if one.kind == "%" else (other, one)))
    if len(kinds) == len(one.values) == len(other.values) == 1:
        return _same_value(left, right, one, other)
    return _compare_several(one, other)


def _index(reading: Reading, other: Reading) -> str:
    """The name of an answer; only its index against a term, as `a_5` against `term_5`."""
    if "term_" not in reading.variable + other.variable:
        return reading.variable
    return reading.variable.rpartition("_")[2].strip("{}")


def _compare_several(one: ExactAnswer, other: ExactAnswer) -> bool | None:
    """Tuples, intervals, sets and lists. A list agrees with a tuple in the same order, and with a set in any order."""
    kinds = {one.kind, other.kind}
    if len(one.values) != len(other.values):
        return False
    if kinds <= _UNORDERED:
        return _same_elements(one, other, ordered=False)
    if len(kinds) == 1 or kinds & {"list", "named"} or (kinds <= {"()", "[]"} and len(one.values) > 2):
        return _same_elements(one, other, ordered=True)
    return False if "\\{\\}" in kinds else None


def _is_percentage(percent: ExactAnswer, value: ExactAnswer) -> bool:
    """Whether the value is the number before the percent sign, or a hundredth of it."""
    (number,), (bare,) = percent.values, value.values
    return near(number, bare) or near(scale(number, Fraction(1, 100)), bare)


_UNORDERED = frozenset(("list", "\\{\\}"))


def _same_value(left: Reading, right: Reading, one: ExactAnswer, other: ExactAnswer) -> bool:
    (a,), (b,) = one.values, other.values
    units = left.measure.unit, right.measure.unit
    if units[0] and units[1]:
        a = scale(a, units[0].factor / units[1].factor)
    return _close(a, b, decimal=one.decimal or other.decimal)


def _close(one: ExactNumber, other: ExactNumber, *, decimal: bool) -> bool:
    return hashable(one) == hashable(other) or (decimal and near(one, other))


def _same_elements(one: ExactAnswer, other: ExactAnswer, *, ordered: bool) -> bool:
    left, right = list(one.values), list(other.values)
    if not ordered:
        try:
            left.sort(key=approximate)
            right.sort(key=approximate)
        except OverflowError:
            return one.key == other.key
    decimal = one.decimal or other.decimal
    return all(_close(a, b, decimal=decimal) for a, b in zip(left, right, strict=True))


def near(one: ExactNumber, other: ExactNumber) -> bool:
    """Whether two numbers are equal up to the rounding of a decimal."""
    try:
        size = max(abs(approximate(one)), abs(approximate(other)))
        return abs(approximate(subtract(one, other))) <= tolerance(size)
    except OverflowError:
        return hashable(one) == hashable(other)


_COMPARERS = {
    "words": _compare_words,
    "numeral": _compare_numerals,
    "ratio": _compare_ratios,
    "real_set": _compare_sets,
    "exact": _compare_exact,
}
"""By the attribute of a reading; the first one that either answer has."""

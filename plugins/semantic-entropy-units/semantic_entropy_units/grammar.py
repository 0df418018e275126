"""A small grammar for numbers and their units in a plain line. It evaluates nothing, and every size has a limit.

    quantity   = number [unit]                 5 cm   5cm   1,000 g   1 1/2 in   3*10^8 m/s   6.02e23/mol
    number     = [sign] (decimal | a/b | a b/c) [e±n | *10^n]
    unit       = factor {[* | / | per] factor}  left to right, as in kg m/s^2, J/(kg K), miles per hour
    factor     = [square | cubic] name [squared | cubed | ^n | n]  |  "(" factors ")"

A number before a word that is not a unit ("3 tries", "30 dB") is not a quantity.

Not supported: decimal commas (1,5 m), dates and times of day, sums and products of numbers. They are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from semantic_entropy_units.dictionary import Factor, unit

MOST_DIGITS, MOST_FACTORS = 60, 12  # limits of a number and of a product of units; no answer needs more


class Amount(NamedTuple):
    """A number with the factors of its unit, and its position in the line.

    Without factors it is a bare number; if it counts something else ("3 tries", "30 dB"), it is `foreign`.
    """

    number: Fraction
    units: tuple[Factor, ...]
    foreign: bool
    start: int
    end: int


_GROUPED = r"[0-9]{1,3}(?:(?:,[0-9]{3})+|(?: [0-9]{3})+)(?![0-9])(?:\.[0-9]+)?"
_DECIMAL = rf"(?:{_GROUPED}|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_EXPONENT = r"\s?\^\s?\(?(?P<{}>[-+]?[0-9]{{1,3}})\)?(?![0-9])"
_NUMBER = re.compile(
    r"(?<![\w.,^:£€¥$])"  # not inside a word, another number, an exponent or a time of day, and not a price
    r"(?P<sign>(?<![0-9)] )(?<![)])[-+])?"  # a sign, but not the minus of a difference
    rf"(?:10{_EXPONENT.format('power')}"
    r"|(?:(?:(?P<whole>[0-9]+) )?(?P<above>[0-9]+)/(?P<below>[0-9]+)(?!\.?[0-9])"
    rf"|(?P<decimal>{_DECIMAL}))(?:[eE](?P<e>[-+]?[0-9]{{1,3}})(?![0-9])|\s?[*x]\s?10{_EXPONENT.format('ten')})?)"
    r"(?![0-9.,]*[0-9])(?!\s*[£€¥$^!:])"
)
_NAME = r"[^\W\d_]+|[%°]"
_FACTOR = re.compile(
    rf"(?P<name>{_NAME})(?:\s?(?:\^|\*\*)\s?\(?(?P<power>[-+]?[0-9])\)?(?!\.?[0-9])|(?P<glued>-?[1-9])(?!\w|\.[0-9])|(?!\w))"
)
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "squared": 2, "cubed": 3}
_WORD = re.compile(r"[^\W\d_]+")
_TWO_WORDS = re.compile(r"([^\W\d_]+)[ -]([^\W\d_]+)(?!\w)")  # nautical miles, light-years
_JOIN = re.compile(r"\s*(?:(?P<over>/|per\b)|\*(?!\*))?\s*")
_INCH_IN_PROSE = re.compile(r"\s+(?!(?:and|or|by|to|x)\b)\w")  # "5 in total": here "in" is not an inch
# Units that are also things: after another unit they are the measured thing, as in "a 5 m rod".
_THINGS = frozenset(
    "bar bars barrel barrels barn cup cups foot feet pint pints rod rods slug stone stones yard".split()
)
_FOREIGN = re.compile(r"[\s-]*[^\W\d_]|\s*[*/^(]")
_CUT_SHORT = re.compile(r"\s*(?:[*/]\s*\(?\s*[^\W\d_]|per\b|\^|\*\*)|\w")  # "m/foo" is not m, nor is "s^99" s


def amounts(line: str) -> Iterator[Amount]:
    """Every quantity and bare number of the line, from left to right."""
    position = 0
    while (found := _NUMBER.search(line, position)) is not None:
        position = found.end()
        number = _number(found)
        if number is None:
            continue
        units, end = _units(line, position)
        if units and _CUT_SHORT.match(line, end):
            units, end = (), position
        foreign = not units and _FOREIGN.match(line, position) is not None
        yield Amount(number, units, foreign, found.start(), end)
        position = end


def _number(found: re.Match[str]) -> Fraction | None:
    if len(found[0]) > MOST_DIGITS:
        return None
    if found["power"]:
        number = Fraction(10) ** int(found["power"])
    elif found["decimal"]:
        number = Fraction(found["decimal"].replace(",", "").replace(" ", "").rstrip(".") or "0")
    elif int(found["below"]):
        number = int(found["whole"] or 0) + Fraction(int(found["above"]), int(found["below"]))
    else:
        return None
    number *= Fraction(10) ** int(found["e"] or found["ten"] or 0)
    return -number if found["sign"] == "-" else number


def _units(line: str, position: int) -> tuple[tuple[Factor, ...], int]:
    """The factors of the unit that begins here, and its end; no factors if no unit begins here."""
    begin = position + 1 if line[position : position + 1] == "-" else position  # "a 5-inch pipe"
    factors: list[Factor] = []
    end, sign, depth, nested = position, 1, 0, 1
    while len(factors) < MOST_FACTORS:
        join = _JOIN.match(line, begin)
        assert join is not None  # it matches the empty string
        sign, at = (-1 if join["over"] else 1), join.end()
        if line[at : at + 1] == "(" and not depth:
            depth, nested, begin = 1, sign, at + 1
            continue
        word = _WORD.match(line, at)
        is_thing = bool(factors and word and word[0] in _THINGS and not join[0].strip())
        factor = None if is_thing else _factor(line, at)
        if factor is None:
            break
        name, power, begin = factor
        factors.append((name, power * sign * (nested if depth else 1)))
        if depth and line[begin : begin + 1] == ")":
            depth, nested, begin = 0, 1, begin + 1
        end = begin
    else:
        return (), position  # too many factors to be a unit
    return ((), position) if depth else (tuple(factors), end)


def _factor(line: str, at: int) -> tuple[str, int, int] | None:
    """The name of the unit, its exponent, and its end."""
    power = 1
    before = _WORD.match(line, at)
    if before and before[0].lower() in _POWERS:
        power, at = _POWERS[before[0].lower()], before.end() + 1
    found = _FACTOR.match(line, at)
    if found is None or (found["name"] == "in" and _INCH_IN_PROSE.match(line, found.end())):
        return None
    name, end = unit("degree" if found["name"] == "°" else found["name"]), found.end()
    two = _TWO_WORDS.match(line, at)
    if two and (joined := unit(f"{two[1]}_{two[2]}")):
        name, end = joined, two.end()
    if name is None:
        return None
    power *= int(found["power"] or found["glued"] or 1)
    after = _WORD.match(line, end + 1)
    if after and after[0].lower() in ("squared", "cubed"):
        power, end = power * _POWERS[after[0].lower()], after.end()
    return name, power, end

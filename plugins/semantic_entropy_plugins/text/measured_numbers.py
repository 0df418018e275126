"""A number with its unit, read from the text around it."""

from __future__ import annotations

import re
from collections.abc import Hashable
from fractions import Fraction
from typing import NamedTuple

from semantic_entropy_plugins.quantities import SCALES, read_unit
from semantic_entropy_plugins.text.plain_writing import KEPT_SYMBOLS


class Quantity(NamedTuple):
    """A number with its unit.

    Attributes:
        number: the number as written.
        unit: its dimension, such as a length; None: no unit.
        value: the number in base units of the dimension.
    """

    number: Fraction
    unit: Hashable = None
    value: Fraction = Fraction(0)

    def agrees(self, other: Quantity) -> bool:
        """Whether both can be the same. A unit on one side only is ignored."""
        if "decade" in (self.unit, other.unit):  # `the 1960s` and `1960`
            return self == other
        if self.unit is not None and other.unit is not None:
            return (self.unit, self.value) == (other.unit, other.value)
        return self.number == other.number


_MONEY_SCALES = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_ERA = re.compile(r"\s?(B\.?\s?C\.?(?:\s?E\.?)?|A\.?\s?D\.?|C\.?\s?E\.?)(?!\w)")
_ERA_BEFORE = re.compile(r"\bA\.?D\.?\s\d{1,4}$")
_PERCENT = re.compile(r"\s?(?:%|per\s?cents?\b|percentage\b|pct\b)")
_MIXED_PART = re.compile(r"(?:\s|\s?and\s|-)(\d{1,2})/([1-9]\d?)(?![\d/])")
_LONGEST_UNIT = 40  # characters that may contain the unit of a number


def read_clock(written: str) -> Quantity:
    """A time. Its unit is the time of day if AM, PM or an hour after 12 says which half of the day is meant."""
    written = written.lower()
    hours, *rest = (int(part) for part in re.findall(r"\d+", written))
    number = hours + sum((Fraction(part, 60 ** (i + 1)) for i, part in enumerate(rest)), Fraction(0))
    half = "p" if "p" in written else "a" if "a" in written else None
    if half is None:
        return Quantity(number) if hours < 13 else Quantity(number, "time of day", number)
    return Quantity(number, "time of day", number - hours + hours % 12 + 12 * (half == "p"))


_ZONES = {
    "EST": "-5",
    "EDT": "-4",
    "CDT": "-5",
    "MST": "-7",
    "MDT": "-6",
    "PST": "-8",
    "PDT": "-7",
    "CET": "+1",
    "CEST": "+2",
    "BST": "+1",
    "JST": "+9",
    "MSK": "+3",
    "Z": "+0",
}  # CST and IST name several zones


def read_zone(written: str) -> str:
    """A time zone as its distance from UTC: `UTC+05:30` is `+5:30`."""
    name = re.sub(r"UTC|GMT|\s", "", written) or "+0"
    found = re.fullmatch(r"([-+])0?(\d{1,2}?)(?::?(\d\d))?", _ZONES.get(name, name))
    return f"{found[1]}{found[2]}:{found[3] or '00'}" if found else name


def read_number(found: re.Match[str], text: str) -> tuple[Quantity, int]:
    """The quantity of a match of the rule `number` in a text, and the position after its unit."""
    at, digits = found.end("number"), found["digits"]
    number = Fraction(re.sub(r"[,\s]", "", digits.replace(".", "") if digits.count(".") > 1 else digits))
    if found["below"] and int(found["below"]):
        number /= int(found["below"])
    elif number.denominator == 1 and (mixed := _MIXED_PART.match(text, at)):
        at, number = mixed.end(), number + Fraction(int(mixed[1]), int(mixed[2]))
    currency, scale = found["currency"] or found["money"], found["scale"]
    if scale and (currency or scale not in ("B", "T", "m", "b")):  # `5 m` is a length, and `$5m` five millions
        number *= _MONEY_SCALES[scale[0].lower()]
    elif scale:
        at = found.start("scale")
    if text[at : at + 1] > "\u3000" and (han := SCALES.get(text[at])):
        at, number = at + 1, number * han
    number = -number if found["sign"] == "-" else number
    if currency and (unit := read_unit(currency.rstrip("."))[0]):
        return Quantity(number, unit.dimension, number * unit.factor), at
    return _with_unit(number, text, at)


def _with_unit(number: Fraction, text: str, at: int) -> tuple[Quantity, int]:
    if percent := _PERCENT.match(text, at):
        return Quantity(number, "percent", number), percent.end()
    if era := _ERA.match(text, at):
        return Quantity(number, "era", -number if era[1][0] == "B" else number), era.end()
    if _ERA_BEFORE.search(text, max(0, at - 9), at):
        return Quantity(number, "era", number), at
    following = text[at : at + _LONGEST_UNIT]
    if following[:1] == "s" and not following[1:2].isalpha():
        return Quantity(number, "decade", number), at + 1
    begins = following.lstrip(" -")[:1]
    if begins and (begins.isalpha() or begins in KEPT_SYMBOLS) and not _is_ordinal(following):
        unit, rest = read_unit(following)
        if unit:
            return Quantity(number, unit.dimension, number * unit.factor), at + len(following) - len(rest)
    return Quantity(number), at


def _is_ordinal(following: str) -> bool:
    return following[:2] in ("st", "nd", "rd", "th") and not following[2:3].isalpha()


_NUMERALS = {"I": 1, "V": 5, "X": 10}


def from_roman(numeral: str) -> int:
    """The value of a Roman numeral of the letters I, V and X."""
    values = [_NUMERALS[letter] for letter in numeral]
    return sum(-v if v < following else v for v, following in zip(values, [*values[1:], 0], strict=True))

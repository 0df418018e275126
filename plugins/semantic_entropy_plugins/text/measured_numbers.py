"""A number with its unit, read from the text around it."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from semantic_entropy_plugins.quantities import SCALES, read_unit
from semantic_entropy_plugins.quantities.measures import is_qualifier
from semantic_entropy_plugins.quantities.units import comparable, named_unit
from semantic_entropy_plugins.text.plain_writing import KEPT_SYMBOLS
from semantic_entropy_plugins.text.word_lists import STOP_WORDS

_NO_VALUE = Fraction(0)  # its hash is 0


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit, or with what it counts.

    Attributes:
        number: the number as written.
        unit: its dimension, such as a length; None: no unit.
        value: the number in base units of the dimension.
        counted: the noun after a number without a unit, in the plural: `people` in `3 young people`. Equal quantities
            may count different nouns, which are words of the answer too.
    """

    number: Fraction
    unit: Hashable = None
    value: Fraction = _NO_VALUE
    counted: str = field(default="", compare=False)
    _hash: int = field(init=False, repr=False, compare=False)  # hashes of fractions are slow, and asked for each pair
    _number_hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        number = hash(self.number)
        value = 0 if self.value is _NO_VALUE else hash(self.value)
        object.__setattr__(self, "_hash", hash((number, self.unit, value)))
        object.__setattr__(self, "_number_hash", number)

    def __hash__(self) -> int:
        return self._hash

    @property
    def numbers(self) -> set[Fraction]:
        """The number as written, and in base units if it has a unit: two quantities that agree share one of them."""
        return {self.number} if self.unit is None else {self.number, self.value}

    def agrees(self, other: Quantity) -> bool:
        """Whether both can be the same. A unit on one side only is ignored."""
        if "decade" in (self.unit, other.unit):  # `the 1960s` and `1960`
            return self == other
        if self.unit is not None and other.unit is not None:
            return comparable(self.unit, other.unit) and self.value == other.value
        if self._number_hash != other._number_hash or self.number != other.number:  # most numbers differ
            return False
        return self._may_count(other) and other._may_count(self)

    def _may_count(self, other: Quantity) -> bool:
        """Whether the noun of this number can be the unit of the other: `3 people` are not `3 days` or `3%`."""
        is_measure = other.unit == "percent" or isinstance(other.unit, tuple)
        if not (self.counted and is_measure):
            return True
        return (other.unit, other.value) in [
            (unit, self.number * factor) for unit, factor in _NOUNS_OF_UNITS.get(self.counted, ())
        ]


_FEW = 8  # quantities that are compared one by one


def without_equal(quantities: Iterable[Quantity], others: Collection[Quantity]) -> Iterator[Quantity]:
    """Yield the quantities that agree with none of the others.

    With more than a few others, only those with the same number are compared: for two long answers with
    thousands of numbers, all pairs would take minutes.
    """
    by_number: dict[Fraction, list[Quantity]] = {}
    if len(others) > _FEW:
        for other in others:
            for number in other.numbers:
                by_number.setdefault(number, []).append(other)
    for quantity in quantities:
        near = [others] if not by_number else [by_number.get(number, ()) for number in quantity.numbers]
        if not any(quantity.agrees(other) for group in near for other in group):
            yield quantity


_POUND, _TON = Fraction(45359237, 100000), Fraction(10**6)
_NOUNS_OF_UNITS: Mapping[str, tuple[tuple[Hashable, Fraction], ...]] = {
    "pounds": (((("GBP", 1),), Fraction(1)), ((("M", 1),), _POUND)),
    "tons": (((("M", 1),), _TON), ((("M", 1),), 2000 * _POUND), ((("M", 1),), 2240 * _POUND)),
}  # nouns that are several units, with the factor of each
_COUNTED = re.compile(r"(?:\s|-)?([^\W\d_]{2,20})(?:\s([^\W\d_]{2,20}))?")
_PLURALS = frozenset("people men women children mice geese sheep fish teeth dice oxen".split())
_MONEY_SCALES = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_ERA = re.compile(r"\s?(B\.?\s?C\.?(?:\s?E\.?)?|A\.?\s?D\.?|C\.?\s?E\.?)(?!\w)")
_ERA_BEFORE = re.compile(r"\bA\.?D\.?\s\d{1,4}$")
_PERCENT = re.compile(
    r"\s?(?:(?P<point>percentage points?\b|pp\b)|(?P<basis>basis points?\b)|%|per\s?cents?\b|percentage\b|pct\b"
    r"|(?P<mille>\u2030|per ?mille?\b|per thousand\b))"
)
_MIXED_PART = re.compile(r"(?:\s|\s?and\s|-)(\d{1,2})/([1-9]\d?)(?![\d/])")
_PART = re.compile(r"(?:,? and |, ?| ?)(\d{1,4}(?:\.\d{1,9})?)(?=[ -]?[^\W\d_]|[\u2032\u2033])")
_LONGEST_UNIT = 40  # characters that may contain the unit of a number


def read_clock(written: str) -> Quantity:
    """A time. Its unit is the time of day if AM, PM or an hour after 12 says which half of the day is meant."""
    written = written.lower()
    hours, *rest = (int(part) for part in re.findall(r"\d+", written))
    number = hours + sum((Fraction(part, 60 ** (i + 1)) for i, part in enumerate(rest)), Fraction(0))
    half = "p" if "p" in written else "a" if "a" in written else None
    if half is None:
        return Quantity(number) if 0 < hours < 13 else Quantity(number, "time of day", number)
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
    if not digits.isdecimal():
        digits = re.sub(r"[,\s]", "", digits.replace(".", "") if digits.count(".") > 1 else digits)
    number = Fraction(int(digits)) if digits.isdecimal() else Fraction(digits)
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
    return _with_parts(*_with_unit(number, text, at), text)


def _with_parts(whole: Quantity, at: int, text: str) -> tuple[Quantity, int]:
    """A measure with its smaller parts: `1 hour 30 minutes` is 1.5 hours, `5 ft 10 in`, `5 dollars and 50 cents`."""
    if not (whole.number and isinstance(whole.unit, tuple)):
        return whole, at
    factor = whole.value / whole.number
    while factor > 0 and (found := _PART.match(text, at)):
        part, end = _with_unit(Fraction(found[1]), text, found.end())
        if part.unit != whole.unit or not 0 < part.value < factor:
            break
        value = whole.value + part.value * (1 if whole.number > 0 else -1)
        whole = Quantity(whole.number * value / whole.value, whole.unit, value)
        at, factor = end, part.value / part.number
    return whole, at


def _with_unit(number: Fraction, text: str, at: int) -> tuple[Quantity, int]:
    if percent := _PERCENT.match(text, at):
        return _share(number, percent), percent.end()
    era = _ERA.match(text, at)
    if era or _ERA_BEFORE.search(text, max(0, at - 9), at):
        before_christ = era is not None and era[1][0] == "B"
        return Quantity(number, "era", -number if before_christ else number), era.end() if era else at
    following = text[at : at + _LONGEST_UNIT]
    if following[:1] == "s" and not following[1:2].isalpha():
        return Quantity(number, "decade", number), at + 1
    begins = following.lstrip(" -")[:1]
    if begins and (begins.isalpha() or begins in KEPT_SYMBOLS) and not _is_ordinal(following):
        unit, rest = read_unit(following)
        if unit:
            return Quantity(number, unit.dimension, number * unit.factor), at + len(following) - len(rest)
        return Quantity(number, counted=_counted(following)), at
    return Quantity(number), at


def rate_unit(before: str, word: str) -> str | None:
    """The unit of a rate: `hour` for a word in `per hour`, `an hour`, `hourly`; None: the word states no rate."""
    if word in _ADVERBS or before == "per":
        return _ADVERBS.get(word) or (unit[0] if (unit := named_unit(word)) else word)
    unit = named_unit(word) if before in _EACH else None
    return unit[0] if unit and unit[1] in _TIMES else None


_EACH = frozenset(("a", "an", "each", "every"))
_TIMES = ({"T": 1}, {"month": 1})
_ADVERBS = {
    "hourly": "hour",
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    **dict.fromkeys(("yearly", "annual", "annually", "annum"), "year"),
}


def _share(number: Fraction, percent: re.Match[str]) -> Quantity:
    """A percentage, per mille, or percentage points. A basis point is a hundredth of a percentage point."""
    if percent["point"] or percent["basis"]:
        return Quantity(number, "percentage point", number / 100 if percent["basis"] else number)
    return Quantity(number, "percent", number / 10 if percent["mille"] else number)


def _counted(following: str) -> str:
    """The noun in the plural among the two words after a number; none if one of them is a unit or a function word."""
    found = _COUNTED.match(following)
    for word in found.groups() if found else ():
        if word is None or word in STOP_WORDS or named_unit(word):
            return ""
        lowered = word.lower()
        if lowered in _PLURALS or (lowered.endswith("s") and not lowered.endswith(("ss", "us", "is"))):
            return "" if is_qualifier(lowered) else lowered
    return ""


def _is_ordinal(following: str) -> bool:
    return following[:2] in ("st", "nd", "rd", "th") and not following[2:3].isalpha()


_NUMERALS = {"I": 1, "V": 5, "X": 10}


def from_roman(numeral: str) -> int:
    """The value of a Roman numeral of the letters I, V and X."""
    values = [_NUMERALS[letter] for letter in numeral]
    return sum(-v if v < following else v for v, following in zip(values, [*values[1:], 0], strict=True))

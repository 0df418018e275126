r"""Reads an answer as a person would: its number or set, the unit, and the name before the equals sign.

    5\text{ cm}     the number 5, in centimetres          x = 5            the number 5, for x
    3 million       the number 3,000,000                  52_8             the digits 52 in base 8
    a=1 or a=-2     the list 1, -2                        x < 1 or x > 3   a set of real numbers (`real_sets`)
    1 \pm \sqrt{2}  the list of both values               Evelyn, ABCD     words, which are compared as words

`read` is exact: two answers with equal keys mean the same. What it cannot read has no exact value and goes to
math-verify as `text`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import lru_cache

from semantic_entropy_plugins.math.answer_words import (
    is_qualifying,
    is_suffix,
    number_of,
    prose_of,
    quotient_and_remainder,
    verbal_answer,
    words_of,
)
from semantic_entropy_plugins.math.claims import leading_claims, take_claims, take_rate
from semantic_entropy_plugins.math.exact_numbers import ExactNumber, add, hashable, scale
from semantic_entropy_plugins.math.keys import (
    LONGEST_EXACT,
    ExactAnswer,
    Numeral,
    container,
    end_of_number,
    parse_cleaned,
    parse_numeral,
)
from semantic_entropy_plugins.math.opaque_terms import changed_name
from semantic_entropy_plugins.math.real_sets import REAL_LINE, RealSet, read_real_set
from semantic_entropy_plugins.math.writing import CURRENCY, both_signs, clean, in_radians, plain_words
from semantic_entropy_plugins.quantities import NO_MEASURE, Measure, read_measure
from semantic_entropy_plugins.quantities.units import CURRENCY_CODES, CURRENCY_SIGNS, DOLLARS


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer states.

    At most one of `exact`, `real_set`, `ratio`, `numeral` and `words` is set.

    Attributes:
        text: the text for math-verify, without the unit.
        exact: numbers.
        real_set: an inequality, or a union of intervals.
        ratio: the parts of 3:2, or of a time of day, as exact numbers and as text.
        numeral: digits in a base.
        words: the words, in lower case, of an answer without mathematics.
        measure: the unit, the qualifiers and the counted noun.
        variable: the name before the equals sign; for a list, the names in order.
    """

    text: str
    exact: ExactAnswer | None = None
    real_set: RealSet | None = None
    ratio: tuple[str, ...] = ()
    numeral: Numeral | None = None
    words: str = ""
    measure: Measure = NO_MEASURE
    variable: str = ""

    @property
    def is_decided(self) -> bool:
        """Whether the answer is read without math-verify."""
        return bool(self.exact or self.real_set or self.ratio or self.numeral or self.words)

    @property
    def key(self) -> Hashable:
        """Equal for two answers that mean the same."""
        what: Hashable
        if self.exact:
            what = self.exact.key
        elif self.real_set:
            what = "set", self.real_set.key, self.real_set.variable
        else:
            what = self.ratio or self.numeral or self.words or ("text", _SPACES.sub("", self.text))
        plain = self.measure == NO_MEASURE and not self.variable
        return what if plain else (what, self.measure, self.variable)


_SPACES = re.compile(r"(?<!\d)\s+|\s+(?!\d)")  # all white space except between digits, where it separates numbers


@lru_cache(maxsize=65536)
def _read(text: str) -> Reading:
    cleaned = clean(text)
    return _quick(cleaned) or _slow(cleaned)


def read(text: str) -> Reading:
    """What an answer states. A text of more than 300 characters is not read: only equal texts have equal keys."""
    return _read(text) if len(text) <= LONGEST_EXACT else Reading(text)


def _quick(cleaned: str) -> Reading | None:
    exact = parse_cleaned(cleaned)
    return Reading(cleaned, exact) if exact else None


def _slow(cleaned: str) -> Reading:
    for reader in (
        _numeral,
        _residue,
        _vector,
        _ratio,
        _division,
        _words,
        _quantity,
        _claimed,
        _set,
        _list,
        _result,
        _measured,
        _prose,
    ):
        found = reader(cleaned)
        if found:
            return found
    return Reading(in_radians(cleaned), variable=_name(cleaned)[0])


def _numeral(cleaned: str) -> Reading | None:
    numeral = parse_numeral(cleaned)
    if numeral and numeral.base == 10 and cleaned[1:2] in ("x", "X", "b", "B"):  # 0x1F
        return _quick(numeral.digits)
    return Reading(cleaned, numeral=numeral) if numeral else None


_MODULO = re.compile(
    r"(?:([a-zA-Z])\s*\\equiv\s*)?(-?\d{1,30})\s*(?:\\[pb]?mod(?![a-zA-Z])|\(\s*mod\b|mod\b)\s*\{?\s*(\d{1,30})\s*\}?\s*\)?"
)


def _residue(cleaned: str) -> Reading | None:
    r"""A number modulo another: `3 \pmod 7`, `x \equiv 10 \mod 7`."""
    found = _MODULO.fullmatch(cleaned) if "mod" in cleaned else None
    if not found or not int(found[3]):
        return None
    modulus = int(found[3])
    measure = NO_MEASURE._replace(qualifiers=(("modulus", modulus),))
    reading = _quick(str(int(found[2]) % modulus))
    return reading and replace(reading, text=cleaned, measure=measure, variable=found[1] or "")


_VECTOR = re.compile(
    r"\\begin\{([pb])matrix\}([^&]+?)(?:\\\\)?\s*\\end\{\1matrix\}|\\langle(?![a-zA-Z])(.+)\\rangle", re.DOTALL
)
_DECADE = re.compile(r"(?:1\d|20)\d0s")


def _vector(cleaned: str) -> Reading | None:
    r"""A column of numbers, or numbers between `\langle` and `\rangle`, is a tuple. The 1990s are no seconds."""
    found = _VECTOR.fullmatch(cleaned)
    if found:
        exact = parse_cleaned(f"({','.join(found[2].split(chr(92) * 2)) if found[2] else found[3]})")
        if exact is None or exact.kind != "()":
            return None
        return Reading(cleaned, container("named", exact.values, exact.decimal))  # in this order, and no interval
    return Reading(cleaned, words=cleaned) if _DECADE.fullmatch(cleaned) else None


_RATIO = re.compile(r"(\d{1,12}(?:\.\d{1,12})?(?:\s*(?::|\\colon)\s*\d{1,12}(?:\.\d{1,12})?){1,5})\s*(.*)")


def _ratio(cleaned: str) -> Reading | None:
    found = _RATIO.fullmatch(cleaned)
    if not found or not is_suffix(found[2], after_number=False):
        return None
    measure = read_measure(plain_words(found[2]))
    return Reading(cleaned, ratio=tuple(re.split(r"\s*(?::|\\colon)\s*", found[1])), measure=measure)


def _division(cleaned: str) -> Reading | None:
    """A quotient and a remainder, in this order: `7 R 3`, `7 remainder 3`, `7 candies, and 3 are left over`."""
    parts = quotient_and_remainder(cleaned)
    exact = parse_cleaned("({}, {})".format(*parts)) if parts else None
    return Reading(cleaned, container("named", exact.values, decimal=False)) if exact else None


_EMPTY = Reading("\\emptyset", real_set=RealSet((), "", decimal=False))
_REAL_NUMBERS = re.compile(r"(?:the set of )?(?:all )?(?:the )?reals?(?: numbers?)?")


def _words(cleaned: str) -> Reading | None:
    words = words_of(cleaned)
    verbal = verbal_answer(words) or words
    if cleaned == _EMPTY.text or verbal == "no solution":
        return _EMPTY
    if _REAL_NUMBERS.fullmatch(words):
        return Reading("\\mathbb{R}", real_set=RealSet(REAL_LINE, "", decimal=False))
    if number := number_of(words):
        return _quick(number)
    return Reading(verbal, words="" if "\\" in verbal else verbal) if verbal else None


def _prose(cleaned: str) -> Reading | None:
    words = prose_of(cleaned)
    return Reading(cleaned, words=words) if words else None


_NAME = re.compile(
    r"(?:\\text\s*\{\s*)?([a-zA-Z]{1,12}'{0,2}(?:_\{?\w{1,8}\}?)?"
    r"|\\(?:alpha|beta|gamma|theta|lambda|mu|phi|omega|angle\s*[A-Z]{1,3})"
    r"|[a-zA-Z]\(\s*[-\w\\]{1,8}\s*\))\s*\}?\s*=\s*(?=[^=\s])"
)
_CURRENCY_BEFORE = re.compile(
    rf"([-+]?)\s*((?:\\text\s*\{{\s*)?(?:{DOLLARS}?{CURRENCY}|[{re.escape(CURRENCY_SIGNS[1:])}]|(?:{CURRENCY_CODES})\.?"
    r"|\\pounds|\\euro)(?:\s*\})?)\s*(?=[-\d.\\])"
)
_WORDS_BEFORE = re.compile(
    r"(?:\\text\s*\{\s*)?((?:[^\W\d_]{1,12}\s+){0,4}[^\W\d_]{1,12})\s*\}?\s*(?=[-\d.$\\" + CURRENCY + "])"
)


def _name(cleaned: str) -> tuple[str, str]:
    """What stands before the equals sign, if it is a name or a changed name; and the rest."""
    name = _NAME.match(cleaned)
    if name:
        return name[1], cleaned[name.end() :]
    side, equals, rest = cleaned.partition("=")
    changed = changed_name(side) if equals else ""
    return (changed, rest.strip()) if changed and rest.strip() else ("", cleaned)


def _quantity(cleaned: str) -> Reading | None:
    """A number with a unit, a currency, a scale word or a noun, and with a variable before it."""
    name, text = _name(cleaned)
    before = ""
    qualifier = _WORDS_BEFORE.match(text)
    if qualifier and not is_qualifying(qualifier[1]):
        qualifier = None
    if qualifier:
        before, text = qualifier[1], text[qualifier.end() :]
    currency = _CURRENCY_BEFORE.match(text)
    if currency:
        before += " " + plain_words(currency[2]).strip(" .")
        text = currency[1] + text[currency.end() :]
    end = end_of_number(text)
    number, suffix = text[:end], text[end:]
    rate, unrated = take_rate(plain_words(suffix)) if suffix else ((), "")
    suffix = unrated if rate else suffix
    exact = parse_cleaned(number)
    if exact is None or not is_suffix(suffix, glued=bool(number) and number[-1].isdigit(), currency=bool(currency)):
        return _compound(cleaned) if end else None
    if not (name or qualifier or currency or suffix.strip() or rate):
        return None
    words = unrated
    words = _MARKS.get(words.strip(), words)
    if words in _GLUED and (currency or words in "kKMB"):
        words = _GLUED[words]
    claims, (words, before) = _claims(words, before)
    measure = read_measure(words, before)
    exact = _scaled(exact, measure)
    if exact is None:
        return None
    qualifiers = tuple(sorted({*measure.qualifiers, *claims, *rate}))
    measure = measure._replace(scale=NO_MEASURE.scale, percent=False, qualifiers=qualifiers)
    loose = len(suffix.strip()) == 1 and suffix.strip().isalpha()
    return Reading(cleaned if loose else number, exact, measure=measure, variable=name)


def _claims(after: str, before: str) -> tuple[set[tuple[str, int]], tuple[str, str]]:
    """The claims in the words around a number, and the words without them."""
    if not (after.strip() or before.strip()):
        return set(), (after, before)
    found, after = take_claims(after)
    earlier, before = take_claims(before)
    return {*found, *earlier}, (after, before)


def _claimed(cleaned: str) -> Reading | None:
    """Mathematics after words of a claim: `vertex (2, -3)`, `sum x + 1`."""
    name, text = _name(cleaned)
    claims, rest = leading_claims(text)
    if not claims or take_claims(rest)[0]:
        return None
    found = _read(rest)
    qualifiers = tuple(sorted({*found.measure.qualifiers, *claims}))
    return replace(found, measure=found.measure._replace(qualifiers=qualifiers), variable=name or found.variable)


_MARKS = {"'": " prime", "''": " doubleprime", '"': " doubleprime"}  # a foot or a minute of arc; an inch or a second
_GLUED = dict.fromkeys("kK", "thousand") | dict.fromkeys("mM", "million") | dict.fromkeys("bB", "billion")
_GLUED["T"] = "trillion"


def _scaled(exact: ExactAnswer, measure: Measure) -> ExactAnswer | None:
    if measure.scale == 1 and not measure.percent:
        return exact
    if exact.kind != "value":
        return None
    value = scale(exact.values[0], measure.scale)
    kind = "%" if measure.percent else "value"
    return ExactAnswer((kind, hashable(value)), kind, (value,), exact.decimal)


_PART = re.compile(
    r"\s*(?:,|and\b|\\text\s*\{\s*,?\s*and\s*\})?\s*(\d+(?:\.\d+)?)\s*((?:\\text\s*\{[^{}]*\}|[^\d,\\{}])+)"
)


def _compound(cleaned: str) -> Reading | None:
    """Several quantities of one dimension, each unit smaller than the one before: `5 ft 10 in`, `1 h 30 min`."""
    if "\u00b0" in cleaned:
        cleaned = cleaned.replace("''", " arcseconds").replace("'", " arcminutes")
    at, total, first = 0, ExactNumber(), None
    last, decimal, count = None, False, 0
    while at < len(cleaned):
        part = _PART.match(cleaned, at)
        exact = parse_cleaned(part[1]) if part else None
        if part is None or exact is None or not is_suffix(part[2]):
            return None
        unit = read_measure(re.sub(r",?\s*and\s*$", "", plain_words(part[2]))).unit
        if unit is None or (last and (unit.dimension != last.dimension or unit.factor >= last.factor)):
            return None
        first = first or unit
        total = add(total, scale(exact.values[0], unit.factor / first.factor))
        last, decimal, at, count = unit, decimal or exact.decimal, part.end(), count + 1
    if count < 2:
        return None
    return Reading(
        cleaned, ExactAnswer(("value", hashable(total)), "value", (total,), decimal), measure=Measure(unit=first)
    )


def _set(cleaned: str) -> Reading | None:
    found = read_real_set(cleaned)
    return Reading(cleaned, real_set=found) if found else None


_SEPARATOR = re.compile(
    r"\s*(?:[,;]|\\text\s*\{\s*[,;]?\s*(?:and|or)\s*\}|(?<![a-zA-Z])(?:and|or)(?![a-zA-Z])|\\text\s*\{\s*[,;]\s*\})"
    r"(?:\s*(?:\\text\s*\{\s*(?:and|or)\s*\}|(?:and|or)(?![a-zA-Z])))?\s*"
)
_MOST_ITEMS = 32


def _list(cleaned: str) -> Reading | None:
    r"""Values without brackets: `1, 2`, `x=1 or x=2`, `1 \pm \sqrt{2}`."""
    items = _SEPARATOR.split(cleaned)
    if len(items) > _MOST_ITEMS:
        return None
    readings: list[Reading] = []
    for item in items:
        for part in both_signs(item.strip()):
            found = _quick(part) or _quantity(part)
            if found is None or found.exact is None or found.exact.kind != "value":
                return None
            readings.append(found)
    if len(readings) < 2:
        return None
    variables = [reading.variable for reading in readings]
    named = len(set(variables)) > 1
    if named and (len(set(variables)) != len(variables) or "" in variables):
        # x = 1, 2: the name of the first value is that of all; x = 1, y = 2, x = 3 is not a list
        if variables[0] and not any(variables[1:]):
            variables, named = [variables[0]] * len(variables), False
        else:
            return None
    units = {reading.measure for reading in readings if reading.measure != NO_MEASURE}
    if len(units) > 1:
        return None
    values = [value for reading in readings if reading.exact for value in reading.exact.values]
    if named:  # x = 1, y = 2: in the order of the names
        variables, values = map(
            list, zip(*sorted(zip(variables, values, strict=True), key=lambda v: v[0]), strict=True)
        )
    decimal = any(reading.exact.decimal for reading in readings if reading.exact)
    exact = container("named" if named else "list", values, decimal)
    return Reading(
        cleaned,
        exact,
        measure=units.pop() if units else NO_MEASURE,
        variable=" ".join(dict.fromkeys(variables)).strip(),
    )


_NUMERIC = re.compile(rf"(?:[-+*/^().,\[\]{{}}\d%\s{CURRENCY}]|\\(?:frac|sqrt|pi|cdot|times|[{{}}%])(?![a-zA-Z]))+")


def _result(cleaned: str) -> Reading | None:
    """The value after the last equals sign of a calculation: `2 + 3 = 5`, `x = 2 + 3 = 5`."""
    name, text = _name(cleaned)
    *steps, last = text.split("=")
    if not steps or not all(map(_NUMERIC.fullmatch, steps)):
        return None
    found = _quick(last.strip()) or _quantity(last.strip())
    if found is None or found.variable:
        return None
    return replace(found, variable=name)


_TRAILING_TEXT = re.compile(r"(.*?\S)\s*\\(?:text|mathrm)\s*\{([^{}]*)\}\s*(\^\s*\{?\s*-?\d\s*\}?)?", re.DOTALL)


def _measured(cleaned: str) -> Reading | None:
    """Mathematics that only math-verify can read, with a unit after it: the unit is compared here."""
    found = _TRAILING_TEXT.fullmatch(cleaned)
    if not found or found[1].endswith(("_", "^", "=", "{", ",")):
        return None
    measure = read_measure(plain_words(found[2] + (found[3] or "")))
    if measure.unit is None or measure.scale != 1:
        return None
    return Reading(found[1], measure=measure)

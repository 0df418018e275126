r"""Computes exact keys for the mathematics in most final answers, in microseconds, without sympy or evaluation.

    value      sum of q * sqrt(n) * pi^k     q rational, n square-free; written with + - * / ^, \frac, \sqrt, \pi,
                                             decimals, scientific notation, thousands commas
    percent    value %
    container  ( ) [ ] \{ \} of values: tuples, intervals, sets

`parse_exact` reads a text by recursive descent, with a bound on every size, and returns an `ExactAnswer`. It returns
None for a text outside the grammar (units, variables, lists without brackets, `2(3)`); `math.reading` reads more of
such texts, and math-verify compares the rest. Two answers with equal `key`s are the same number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from semantic_entropy_plugins.math.exact_numbers import (
    LARGEST_EXPONENT,
    MOST_BITS,
    ExactNumber,
    OutsideError,
    add,
    divide,
    factorial,
    hashable,
    multiply,
    power,
    root,
    scale,
    to_integer,
)
from semantic_entropy_plugins.math.writing import clean

LONGEST_EXACT = 300  # characters: real answers in the grammar have fewer than 60; math-verify reads longer texts


@dataclass(frozen=True, slots=True)
class ExactAnswer:
    """The value of an answer in the grammar.

    Attributes:
        key: equal for two answers if their values are equal.
        kind: "value", "%", "list", or the brackets of a container.
        values: the elements.
        decimal: whether the text contains a decimal fraction, which may be rounded.
    """

    key: Hashable
    kind: str
    values: tuple[ExactNumber, ...]
    decimal: bool


def parse_exact(text: str) -> ExactAnswer | None:
    """The exact value of a text, or None if the text is outside the grammar."""
    return _parse(text) if len(text) <= LONGEST_EXACT else None


@lru_cache(maxsize=65536)
def _parse(text: str) -> ExactAnswer | None:
    return parse_cleaned(clean(text))


def parse_cleaned(cleaned: str) -> ExactAnswer | None:
    """As `parse_exact`, for a text that `clean` has returned."""
    if len(cleaned) > LONGEST_EXACT:
        return None
    simple = _SIMPLE.fullmatch(cleaned)
    if simple:  # most answers
        above, below, sign, top, bottom = simple.groups()
        value = Fraction(int(above or sign + top), int(below or bottom or 1))
        exact: ExactNumber = {(1, 0): value} if value else {}
        return ExactAnswer(("value", hashable(exact)), "value", (exact,), decimal=False)
    if not _POSSIBLE.match(cleaned):
        return None
    try:
        return _Parser(cleaned).answer()
    except (OutsideError, ZeroDivisionError, OverflowError, RecursionError):
        return None


# An integer or a fraction, with less than `MOST_BITS` bits.
_SIMPLE = re.compile(r"(-?[0-9]{1,90})(?:/0*([1-9][0-9]{0,90}))?|(-?)\\frac\{([0-9]{1,90})\}\{0*([1-9][0-9]{0,90})\}")
_POSSIBLE = re.compile(r"(?:[-+*/^().,;!\[\]{}\d%\seE]|\\(?:frac|sqrt|pi|cdot|times|[{}%])(?![a-zA-Z]))+$")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d+\.?\d*|\.\d+)(?P<exponent>[eE][-+]?\d+)?"
    r"|(?P<sign>\\(?:frac|sqrt|pi|cdot|times)(?![a-zA-Z])|\\[{}%]|[-+*/^().,;!\[\]{}%]))"
)
_BRACKETS = {")": "(", "]": "[", "\\}": "\\{"}
_ENDS = frozenset(("+", "-", ",", ";", ")", "]", "[", "}", "\\}", "%", "\\%"))
_REVERSED = {"]": "(", "[": ")"}  # ]0,1[ is the open interval


def container(kind: str, values: Sequence[ExactNumber], decimal: bool) -> ExactAnswer:
    r"""Several values: a tuple or an interval in its brackets, a set (`\{\}`), or a list without brackets."""
    items = [hashable(value) for value in values]
    key: Hashable = tuple(items)
    if kind == "list":  # a root of multiplicity two stands twice
        key = frozenset(Counter(items).items())
    elif kind == "\\{\\}":
        key = frozenset(items)
        values = list(dict(zip(items, values, strict=True)).values())
    return ExactAnswer((kind, key), kind, tuple(values), decimal)


class _Parser:
    """Recursive descent over the tokens of one cleaned text."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.decimal = False

    def answer(self) -> ExactAnswer:
        opening = self.peek()
        if opening in ("(", "[", "\\{", "]") and ("," in self.tokens or ";" in self.tokens or opening == "\\{"):
            return self._container(opening)
        value = self.sum()
        percent = self.peek() in ("%", "\\%")
        self.at += percent
        if self.peek():
            raise OutsideError
        kind = "%" if percent else "value"
        return ExactAnswer((kind, hashable(value)), kind, (value,), self.decimal)

    def _container(self, opening: str) -> ExactAnswer:
        self.at += 1
        values = [self.sum()]
        while self.take(",") or self.take(";"):
            values.append(self.sum())
        closing = self.next()
        opening, closing = _REVERSED["]"] if opening == "]" else opening, _REVERSED["["] if closing == "[" else closing
        if closing not in _BRACKETS or (opening == "\\{") != (closing == "\\}") or self.peek():
            raise OutsideError
        return container(opening + closing, values, self.decimal)

    def sum(self) -> ExactNumber:
        negative = self._signs()
        total = self.product()
        if negative:
            total = scale(total, Fraction(-1))
        while self.peek() in ("+", "-"):
            minus = self.next() == "-"
            term = self.product()
            total = add(total, scale(term, Fraction(-1 if minus else 1)))
        return total

    def _signs(self) -> bool:
        negative = False
        while self.peek() in ("+", "-"):
            negative ^= self.next() == "-"
        return negative

    def product(self) -> ExactNumber:
        value = self.power()
        while (sign := self.peek()) and sign not in _ENDS:
            if sign in ("*", "\\cdot", "\\times", "/"):
                self.at += 1
                factor = self.power(signed=True)
                value = divide(value, factor) if sign == "/" else multiply(value, factor)
            elif sign in ("\\sqrt", "\\pi"):
                value = multiply(value, self.power())
            else:
                raise OutsideError  # 2(3), 1\frac12, 2 3: ambiguous
        return value

    def power(self, signed: bool = False) -> ExactNumber:
        negative = signed and self._signs()
        base = self.atom()
        if self.take("!"):
            base = factorial(base)
        if self.take("^"):
            if self.take("{"):
                exponent = self.sum()
                self.need("}")
            else:
                negative_exponent = self._signs()
                exponent = scale(self.atom(), Fraction(-1 if negative_exponent else 1))
            base = power(base, to_integer(exponent))
        return scale(base, Fraction(-1)) if negative else base

    def atom(self) -> ExactNumber:
        sign = self.next()
        if sign[0].isdigit() or sign[0] == ".":
            return self._number(sign)
        if sign in ("(", "{", "["):
            value = self.sum()
            self.need({"(": ")", "{": "}", "[": "]"}[sign])
            return value
        if sign == "\\pi":
            return {(1, 1): Fraction(1)}
        if sign == "\\frac":
            return divide(self._argument(), self._argument())
        if sign == "\\sqrt":
            return self._root()
        raise OutsideError

    def _number(self, token: str) -> ExactNumber:
        digits, _, exponent = token.replace(",", "").lower().partition("e")
        if len(digits) > MOST_BITS // 4 or (exponent and abs(int(exponent)) > LARGEST_EXPONENT):
            raise OutsideError
        self.decimal |= "." in digits or bool(exponent)
        value = Fraction(int(digits)) if digits.isdecimal() else Fraction(digits.rstrip(".") or "0")
        if exponent:
            value *= Fraction(10) ** int(exponent)
        return {(1, 0): value} if value else {}

    def _argument(self) -> ExactNumber:
        r"""`{...}`, or a single digit as in `\frac12`."""
        if self.take("{"):
            value = self.sum()
            self.need("}")
            return value
        token = self.next()
        if not token.isdigit():
            raise OutsideError
        if len(token) > 1:
            self.tokens[self.at - 1 : self.at] = [token[0], token[1:]]  # the other digits are the next token
        return self._number(token[0])

    def _root(self) -> ExactNumber:
        degree = 2
        if self.take("["):
            degree = to_integer(self.sum())
            self.need("]")
        value = self._argument() if self.peek() != "\\sqrt" else self.atom()
        return root(value, degree)

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        self.at += 1
        if self.at > len(self.tokens):
            raise OutsideError
        return self.tokens[self.at - 1]

    def take(self, token: str) -> bool:
        taken = self.peek() == token
        self.at += taken
        return taken

    def need(self, token: str) -> None:
        if not self.take(token):
            raise OutsideError


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            if not text[at:].strip():
                break
            raise OutsideError
        if (
            match["number"]
            and tokens
            and (tokens[-1][-1].isdigit() or ("," in match["number"] and tokens[-1] in "([,"))
        ):
            raise OutsideError  # two numbers side by side; (1,000) is a pair or a thousand
        tokens.append(match["number"] + (match["exponent"] or "") if match["number"] else match["sign"])
        at = match.end()
    return tokens


_OPERATORS = "*+-/^.,;([{"


def end_of_number(text: str) -> int:
    """Where the longest beginning that may be a number ends."""
    at, depth, balanced = 0, 0, 0
    while match := _TOKEN.match(text, at):
        sign = match["sign"]
        if not sign or not (sign in _OPERATORS or sign == "\\{"):
            balanced_here = depth - (sign in (")", "]", "}", "\\}") if sign else 0)
        else:
            balanced_here = -1
        depth += (sign in ("(", "[", "{", "\\{")) - (sign in (")", "]", "}", "\\}")) if sign else 0
        at = match.end()
        if (
            depth == 0
            and balanced_here == 0
            and not (sign and sign.startswith("\\") and sign[1:].isalpha() and sign != "\\pi")
        ):
            balanced = at
    return balanced


class Numeral(NamedTuple):
    """Digits in a base."""

    digits: str
    base: int


_BASES = {
    word: base for base, word in enumerate("two three four five six seven eight nine ten eleven twelve".split(), 2)
} | {"sixteen": 16, "binary": 2, "octal": 8, "hexadecimal": 16}
_NUMERAL = re.compile(
    r"(?:\\text\s*\{)?([0-9A-Fa-f]{1,64})\}?\s*_\s*\{?\s*(?:\\text\s*\{)?\s*\(?(\d{1,2}|[a-z]+)\)?\s*\}?\s*\}?"
    r"|([0-9A-Fa-f]{1,64})\s*(?:\\text\s*\{)?\s*\(?(?:in\s+)?base[ -](\d{1,2}|[a-z]+)\)?\s*\}?"
)
_CODE = re.compile(r"0(?:([xX])[0-9a-fA-F]{1,16}|([bB])[01]{1,64})")  # 0x1F


def parse_numeral(cleaned: str) -> Numeral | None:
    """The digits and the base of `52_8`, `52 base 8`; `0x1F` and `0b101` in base ten. None for another text."""
    if code := _CODE.fullmatch(cleaned):
        return Numeral(str(int(cleaned, 16 if code[1] else 2)), 10)
    found = _NUMERAL.fullmatch(cleaned)
    if not found:
        return None
    digits, written = (found[1] or found[3]).upper(), found[2] or found[4]
    base = int(written) if written.isdigit() else _BASES.get(written, 0)
    if not 2 <= base <= 36 or not any(map(str.isdigit, digits)):
        return None  # A_2 is a variable
    return Numeral(digits.lstrip("0") or "0", base)

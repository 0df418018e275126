r"""Exact keys for the mathematics that most final answers are made of: no sympy, no evaluation, microseconds.

    value      sum of q * sqrt(n) * pi^k     q rational, n square-free; written with + - * / ^, \frac, \sqrt, \pi,
                                             decimals, scientific notation, thousands commas
    percent    value %
    container  ( ) [ ] \{ \} of values: tuples, intervals, sets

`read` parses a string by recursive descent, with every size bounded, and gives a `Known`, or None for what the grammar
does not cover: units, variables, lists without brackets, `2(3)`, mixed numbers. Those are math-verify's. Equal `key`s
mean the same number. Source of the shares covered: see docs/equivalences.md.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Hashable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

LONGEST = 300  # characters: real answers in the grammar are under 60; longer text is math-verify's to read
_MOST_BITS = 4096  # of a numerator or denominator: about 1,200 digits
_LARGEST_RADICAND = 10**8  # trial division goes to its square root, 10^4
_LARGEST_EXPONENT = 256

Terms = dict[tuple[int, int], Fraction]
"""(square-free radicand, power of pi) -> coefficient; no zero coefficients."""


@dataclass(frozen=True, slots=True)
class Known:
    """An answer that the grammar covers. `rough` (floats, one for each element) serves to tell far values apart."""

    key: Hashable
    kind: str
    rough: tuple[float, ...]
    decimal: bool


class _OutsideError(Exception):
    """The text is not in the grammar."""


@lru_cache(maxsize=65536)
def read(text: str) -> Known | None:
    """The exact value of a text, or None where the grammar does not cover it."""
    if len(text) > LONGEST:
        return None
    cleaned = clean(text)
    if not _POSSIBLE.match(cleaned):
        return None
    try:
        return _Reader(cleaned).answer()
    except (_OutsideError, ZeroDivisionError, OverflowError, RecursionError):
        return None


_POSSIBLE = re.compile(r"(?:[-+*/^().,\[\]{}\d%\seE]|\\(?:frac|sqrt|pi|cdot|times|[{}%])(?![a-zA-Z]))+$")
_DROPPED = re.compile(r"\$|\\[()\[\],!;: ]|\\(?:left|right|displaystyle|limits|big|Big|bigl|bigr)(?![a-zA-Z])|~")
_SAME_AS = (
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (
        re.compile(r"\\text(?:bf|it|rm)?\{\s*([-+]?[\d.,/]+)\s*\}|\\math(?:bf|rm|it)\{\s*([-+]?[\d.,/]+)\s*\}"),
        r"\1\2",
    ),
    (re.compile(r"(?<![\\a-zA-Z])sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![\\a-zA-Z])sqrt(?![a-zA-Z])"), r"\\sqrt"),
    (re.compile(r"(?<![\\a-zA-Z])pi(?![a-zA-Z])"), r"\\pi"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\{,\}|,\\!\s*"), ","),
)
_CHARACTERS = str.maketrans(
    {"\u2212": "-", "\u2013": "-", "\u00d7": "*", "\u00b7": "*", "\u22c5": "*", "\u00f7": "/", "\u2044": "/"}
    | {
        "\u03c0": "\\pi ",
        "\u221a": "\\sqrt ",
        "\u221e": "\\infty ",
        "\u00a0": " ",
        "\u202f": " ",
        "\u2009": " ",
    }
)
_SUPERSCRIPTS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-")
_RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+")


def clean(text: str) -> str:
    """The same mathematics in plainer writing: no dollars or spacing, unicode signs and fractions spelled in LaTeX."""
    if not text.isascii():
        text = _RAISED.sub(lambda raised: "^{" + raised.group().translate(_SUPERSCRIPTS) + "}", text)
        text = "".join(_spell(char) for char in text).translate(_CHARACTERS)
    text = text.replace("\\$", "")  # a currency sign: as math-verify, units are not compared
    for pattern, same in _SAME_AS:
        text = pattern.sub(same, text)
    return _DROPPED.sub(" ", text).strip().rstrip(".").strip()


def _spell(char: str) -> str:
    if unicodedata.category(char) != "No":
        return char
    value = Fraction(unicodedata.numeric(char)).limit_denominator(100)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}" if value.denominator > 1 else char


_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d+\.?\d*|\.\d+)(?P<exponent>[eE][-+]?\d+)?"
    r"|(?P<sign>\\(?:frac|sqrt|pi|cdot|times|[{}%])|[-+*/^().,\[\]{}%]))"
)


class _Reader:
    """Recursive descent over one cleaned text."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.decimal = False

    def answer(self) -> Known:
        opening = self.peek()
        if opening in ("(", "[", "\\{") and "," in self.tokens:
            return self._container(opening)
        value = self.sum()
        percent = self.peek() in ("%", "\\%")
        self.at += percent
        if self.peek():
            raise _OutsideError
        kind = "%" if percent else "value"
        return Known((kind, _frozen(value)), kind, (_rough(value),), self.decimal)

    def _container(self, opening: str) -> Known:
        self.at += 1
        values = [self.sum()]
        while self.take(","):
            values.append(self.sum())
        closing = self.peek()
        self.at += 1
        if closing not in (")", "]", "\\}") or (opening == "\\{") != (closing == "\\}") or self.peek():
            raise _OutsideError
        kind = opening + closing
        items = [_frozen(value) for value in values]
        key = frozenset(items) if kind == "\\{\\}" else tuple(items)
        rough = tuple(map(_rough, values))
        return Known((kind, key), kind, tuple(sorted(set(rough))) if kind == "\\{\\}" else rough, self.decimal)

    def sum(self) -> Terms:
        negative = self._signs()
        total = self.product()
        if negative:
            total = _scaled(total, Fraction(-1))
        while self.peek() in ("+", "-"):
            minus = self.next() == "-"
            term = self.product()
            total = _added(total, _scaled(term, Fraction(-1 if minus else 1)))
        return total

    def _signs(self) -> bool:
        negative = False
        while self.peek() in ("+", "-"):
            negative ^= self.next() == "-"
        return negative

    def product(self) -> Terms:
        value = self.power()
        while (sign := self.peek()) and sign not in ("+", "-", ",", ")", "]", "}", "\\}", "%", "\\%"):
            if sign in ("*", "\\cdot", "\\times", "/"):
                self.at += 1
                factor = self.power(signed=True)
                value = _divided(value, factor) if sign == "/" else _multiplied(value, factor)
            elif sign in ("\\sqrt", "\\pi"):
                value = _multiplied(value, self.power())
            else:
                raise _OutsideError  # 2(3), 1\frac12, 2 3: whatever they mean
        return value

    def power(self, signed: bool = False) -> Terms:
        negative = signed and self._signs()
        base = self.atom()
        if self.take("^"):
            if self.take("{"):
                exponent = self.sum()
                self.need("}")
            else:
                exponent = self.atom()
            base = _raised(base, _integer(exponent))
        return _scaled(base, Fraction(-1)) if negative else base

    def atom(self) -> Terms:
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
            return _divided(self._argument(), self._argument())
        if sign == "\\sqrt":
            return self._root()
        raise _OutsideError

    def _number(self, token: str) -> Terms:
        digits, _, exponent = token.replace(",", "").lower().partition("e")
        if len(digits) > _MOST_BITS // 4 or (exponent and abs(int(exponent)) > _LARGEST_EXPONENT):
            raise _OutsideError
        self.decimal |= "." in digits or bool(exponent)
        return _nonzero({(1, 0): Fraction(digits.rstrip(".") or "0") * Fraction(10) ** int(exponent or 0)})

    def _argument(self) -> Terms:
        r"""`{...}`, or the one digit of `\frac12`."""
        if self.take("{"):
            value = self.sum()
            self.need("}")
            return value
        token = self.next()
        if not token.isdigit():
            raise _OutsideError
        if len(token) > 1:
            self.tokens[self.at - 1 : self.at] = [token[0], token[1:]]  # the rest is the next token
        return self._number(token[0])

    def _root(self) -> Terms:
        degree = 2
        if self.take("["):
            degree = _integer(self.sum())
            self.need("]")
        value = self._argument() if self.peek() != "\\sqrt" else self.atom()
        return _rooted(value, degree)

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        self.at += 1
        if self.at > len(self.tokens):
            raise _OutsideError
        return self.tokens[self.at - 1]

    def take(self, token: str) -> bool:
        taken = self.peek() == token
        self.at += taken
        return taken

    def need(self, token: str) -> None:
        if not self.take(token):
            raise _OutsideError


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            if not text[at:].strip():
                break
            raise _OutsideError
        if (
            match["number"]
            and tokens
            and (tokens[-1][-1].isdigit() or ("," in match["number"] and tokens[-1] in "([,"))
        ):
            raise _OutsideError  # two numbers side by side; (1,000) is a pair or a thousand
        tokens.append(match["number"] + (match["exponent"] or "") if match["number"] else match["sign"])
        at = match.end()
    return tokens


def _added(left: Terms, right: Terms) -> Terms:
    total = dict(left)
    for basis, coefficient in right.items():
        total[basis] = total.get(basis, Fraction()) + coefficient
    return _nonzero(total)


def _scaled(value: Terms, factor: Fraction) -> Terms:
    return {basis: coefficient * factor for basis, coefficient in value.items()}


def _multiplied(left: Terms, right: Terms) -> Terms:
    if len(left) * len(right) > 64:
        raise _OutsideError
    product: Terms = {}
    for (n, j), p in left.items():
        for (m, k), q in right.items():
            common = math.gcd(n, m)  # sqrt(n) sqrt(m) = common sqrt(n m / common^2), square-free again
            basis = (n * m // common**2, j + k)
            if basis[0] > _LARGEST_RADICAND:
                raise _OutsideError
            product[basis] = product.get(basis, Fraction()) + p * q * common
    return _bounded(_nonzero(product))


def _divided(left: Terms, right: Terms) -> Terms:
    if len(right) != 1:
        if not right:
            raise ZeroDivisionError
        raise _OutsideError
    ((n, k), q), *_ = right.items()
    return _multiplied(left, {(n, -k): 1 / (q * n)})  # 1/sqrt(n) = sqrt(n)/n


def _raised(base: Terms, exponent: int) -> Terms:
    if abs(exponent) > _LARGEST_EXPONENT:
        raise _OutsideError
    if exponent < 0:
        base, exponent = _divided({(1, 0): Fraction(1)}, base), -exponent
    if exponent == 0 and not base:
        raise _OutsideError
    result: Terms = {(1, 0): Fraction(1)}
    for _ in range(exponent):
        result = _multiplied(result, base)
    return result


def _rooted(value: Terms, degree: int) -> Terms:
    if not value:
        return {}
    if set(value) != {(1, 0)} or value[1, 0] < 0 or not 2 <= degree <= 16:
        raise _OutsideError
    q = value[1, 0]
    if degree == 2:
        if q.numerator * q.denominator > _LARGEST_RADICAND:
            numerator, denominator = math.isqrt(q.numerator), math.isqrt(q.denominator)
            if Fraction(numerator**2, denominator**2) != q:
                raise _OutsideError
            return {(1, 0): Fraction(numerator, denominator)}
        outside, inside = _square_part(q.numerator * q.denominator)
        return {(inside, 0): Fraction(outside, q.denominator)}
    roots = [round(part ** (1 / degree)) for part in (q.numerator, q.denominator)]
    if roots[0] ** degree != q.numerator or roots[1] ** degree != q.denominator:
        raise _OutsideError
    return {(1, 0): Fraction(*roots)}


@lru_cache(maxsize=4096)
def _square_part(n: int) -> tuple[int, int]:
    """N = outside^2 * inside, inside square-free."""
    if n > _LARGEST_RADICAND:
        raise _OutsideError
    outside, inside, factor = 1, n, 2
    while factor * factor <= inside:
        if inside % (factor * factor) == 0:
            inside //= factor * factor
            outside *= factor
        else:
            factor += 1
    return outside, inside


def _integer(value: Terms) -> int:
    if not value:
        return 0
    if set(value) != {(1, 0)} or value[1, 0].denominator != 1:
        raise _OutsideError
    return value[1, 0].numerator


def _nonzero(value: Terms) -> Terms:
    return {basis: coefficient for basis, coefficient in value.items() if coefficient}


def _bounded(value: Terms) -> Terms:
    for coefficient in value.values():
        if coefficient.numerator.bit_length() > _MOST_BITS or coefficient.denominator.bit_length() > _MOST_BITS:
            raise _OutsideError
    return value


def _frozen(value: Terms) -> Hashable:
    if not value or set(value) == {(1, 0)}:
        return value.get((1, 0), Fraction())  # a plain rational: equal to the int of the same value
    return frozenset(value.items())


def _rough(value: Terms) -> float:
    return float(sum(float(q) * math.sqrt(n) * math.pi**k for (n, k), q in value.items()))

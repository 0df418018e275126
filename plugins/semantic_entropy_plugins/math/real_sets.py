r"""Sets of real numbers: inequalities and unions of intervals become one canonical form, exactly and without sympy.

    0 < x < 12.5           (0, 12.5)               x \in (0, 12.5)         ]0; 12.5[
    x < 1 or x > 3         (-\infty, 1) \cup (3, \infty)
    x \ne 2                \mathbb{R} \setminus \{2\}                      \{x : x \ne 2\}

A set is a sorted tuple of disjoint pieces. Its end points are exact numbers or infinite. Left out: sets with variables
in their end points, sets of integers, and periodic solutions; math-verify compares those.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from semantic_entropy_plugins.math.exact_numbers import ExactNumber, OutsideError, approximate, hashable
from semantic_entropy_plugins.math.keys import ExactAnswer, parse_cleaned


class End(NamedTuple):
    """An end point of a piece. `value` is None if it is infinite."""

    approximation: float
    value: ExactNumber | None
    closed: bool


Piece = tuple[End, End]
_MINUS, _PLUS = End(-math.inf, None, closed=False), End(math.inf, None, closed=False)
REAL_LINE: tuple[Piece, ...] = ((_MINUS, _PLUS),)


class RealSet(NamedTuple):
    """A set of real numbers.

    Attributes:
        pieces: the disjoint pieces, from left to right.
        variable: the name of the variable in an inequality; "" if there is none.
        decimal: whether an end point was written as a decimal, which may be rounded.
    """

    pieces: tuple[Piece, ...]
    variable: str
    decimal: bool

    @property
    def key(self) -> Hashable:
        """Equal for two sets if they are the same set."""
        return tuple((_end_key(low), _end_key(high)) for low, high in self.pieces)


def _end_key(end: End) -> Hashable:
    return end.approximation if end.value is None else hashable(end.value), end.closed


_VARIABLE = r"[a-zA-Z](?:_\{?\w{1,5}\}?)?|\\(?:alpha|beta|gamma|lambda|mu|theta|phi|omega|xi|eta)"
_BUILDER = re.compile(
    rf"\\\{{\s*({_VARIABLE})\s*(?:\\in\s*\\mathbb\s*\{{?R\}}?\s*)?(?:\\mid|\||:|,)\s*(.+)\\\}}", re.DOTALL
)
_OR = re.compile(r"\\text\s*\{\s*,?\s*or\s*\}|\\(?:lor|vee)(?![a-zA-Z])|(?<![a-zA-Z])or(?![a-zA-Z])")
_AND = re.compile(
    r"\\text\s*\{\s*,?\s*and\s*\}|\\(?:land|wedge|cap)(?![a-zA-Z])|(?<![a-zA-Z])and(?![a-zA-Z])|\\cap(?![a-zA-Z])"
)
_RELATION = re.compile(r"(\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])|\\ne(?![a-zA-Z])|[<>=])")
_MEMBER = re.compile(rf"({_VARIABLE})\s*\\(?:in|notin)(?![a-zA-Z])")
_HINT = re.compile(r"[<>]|\\(?:le|ge|ne|cup|setminus|infty|mathbb|in)(?![a-zA-Z])|\][^\[\]()]*[,;]|[,;][^\[\]()]*\[")
_REALS = re.compile(r"\\mathbb\s*\{?\s*R\s*\}?|\\R(?![a-zA-Z])")
_LONGEST, _MOST_PIECES = 300, 24


def read_real_set(cleaned: str) -> RealSet | None:
    """The set of real numbers that a cleaned text states, or None."""
    if len(cleaned) > _LONGEST or not _HINT.search(cleaned):
        return None
    built = _BUILDER.fullmatch(cleaned)
    try:
        reader = _Reader(built[1] if built else "")
        pieces = reader.condition(built[2].strip() if built else cleaned)
    except (OutsideError, OverflowError, ZeroDivisionError, ValueError):
        return None
    return RealSet(pieces, reader.variable, reader.decimal)


def from_container(exact: ExactAnswer) -> RealSet | None:
    r"""The interval of two numbers in brackets, or the set of the numbers in `\{\}`."""
    try:
        if exact.kind == "\\{\\}":
            return RealSet(_union((End(approximate(v), v, True),) * 2 for v in exact.values), "", exact.decimal)
        if len(exact.kind) == 2 and exact.kind in ("()", "[]", "(]", "[)") and len(exact.values) == 2:
            low, high = exact.values
            ends = End(approximate(low), low, exact.kind[0] == "["), End(approximate(high), high, exact.kind[1] == "]")
            return RealSet(_union([ends]), "", exact.decimal)
    except OverflowError:
        return None
    return None


class _Reader:
    """Reads the condition or the set, and keeps the name of the variable."""

    def __init__(self, variable: str) -> None:
        self.variable, self.decimal = variable, False

    def condition(self, text: str) -> tuple[Piece, ...]:
        if not _RELATION.search(text) and not _MEMBER.search(text):
            return self.set(text)
        either = _OR.split(text)
        if len(either) > 1:
            return _union(piece for part in either for piece in self.condition(part.strip(" ,")))
        both = _AND.split(text)
        if len(both) == 1 and "," in text and not any(bracket in text for bracket in "([{"):
            both = text.split(",")
            parts = [self.chain(part.strip()) for part in both]
            # "x < 1, x > 3": no number is in both, so either is meant
            return _intersection(parts) or _union(piece for part in parts for piece in part)
        if len(both) > 1:
            return _intersection([self.condition(part.strip(" ,")) for part in both])
        return self.chain(text)

    def chain(self, text: str) -> tuple[Piece, ...]:
        r"""`a < x < b`, `x > a`, `x \ne a`, `x \in S`."""
        member = _MEMBER.match(text)
        if member:
            self._named(member[1])
            inside = self.set(text[member.end() :].strip())
            return _complement(inside) if "notin" in member[0] else inside
        parts = [part.strip() for part in _RELATION.split(text)]
        if len(parts) == 3:
            return self._relation(*parts)
        if len(parts) == 5:
            return _intersection([self._relation(*parts[:3]), self._relation(*parts[2:])])
        raise OutsideError

    def _relation(self, left: str, sign: str, right: str) -> tuple[Piece, ...]:
        if not re.fullmatch(_VARIABLE, left):
            flipped = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
            left, sign, right = right, flipped.get(sign, sign), left
        if not re.fullmatch(_VARIABLE, left):
            raise OutsideError
        self._named(left)
        end = self.end(right, closed=sign in ("\\le", "\\ge", "="))
        if sign in ("<", "\\le"):
            return _union([(_MINUS, end)])
        if sign in (">", "\\ge"):
            return _union([(end, _PLUS)])
        if end.value is None:
            raise OutsideError
        point = _union([(end._replace(closed=True),) * 2])
        return point if sign == "=" else _complement(point)

    def _named(self, variable: str) -> None:
        if self.variable not in ("", variable):
            raise OutsideError  # two variables: a region, not a set of numbers
        self.variable = variable

    def set(self, text: str) -> tuple[Piece, ...]:
        r"""`\mathbb{R}`, intervals, `\{a, b\}`, unions and differences."""
        parts = re.split(r"\\cup(?![a-zA-Z])", text)
        if len(parts) > 1:
            return _union(piece for part in parts for piece in self.set(part.strip()))
        first, *removed = re.split(r"\\setminus(?![a-zA-Z])", text)
        if not removed and (minus := re.fullmatch(r"(\\mathbb.*?)-\s*(\\\{.*\\\})", text)):
            first, removed = minus[1], [minus[2]]
        if removed:
            return _intersection([self.set(first.strip()), *(_complement(self.set(part.strip())) for part in removed)])
        if _REALS.fullmatch(first):
            return REAL_LINE
        return self._interval(first)

    def _interval(self, text: str) -> tuple[Piece, ...]:
        exact = parse_cleaned(text)
        if exact:
            found = from_container(exact)
            if found is None:
                raise OutsideError
            self.decimal |= found.decimal
            return found.pieces
        if not (text[:1] in "([]" and text[-1:] in ")][" and len(text) > 2):
            raise OutsideError
        low, separator, high = text[1:-1].partition(";" if ";" in text else ",")
        if not separator:
            raise OutsideError
        return _union([(self.end(low, closed=text[0] == "["), self.end(high, closed=text[-1] == "]"))])

    def end(self, text: str, *, closed: bool) -> End:
        text = text.strip()
        infinite = re.fullmatch(r"([-+]?)\s*\{?\s*\\infty\s*\}?", text)
        if infinite:
            return _MINUS if infinite[1] == "-" else _PLUS
        exact = parse_cleaned(text)
        if exact is None or exact.kind != "value":
            raise OutsideError
        self.decimal |= exact.decimal
        return End(approximate(exact.values[0]), exact.values[0], closed)


def _union(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """The pieces sorted, without empty ones, and joined where they touch."""
    joined: list[Piece] = []
    for low, high in sorted(
        (p for p in pieces if not _is_empty(p)), key=lambda p: (p[0].approximation, not p[0].closed)
    ):
        if len(joined) > _MOST_PIECES:
            raise OutsideError
        if joined and _touch(joined[-1][1], low):
            joined[-1] = joined[-1][0], max(joined[-1][1], high, key=lambda e: (e.approximation, e.closed))
        else:
            joined.append((low, high))
    return tuple(joined)


def _is_empty(piece: Piece) -> bool:
    low, high = piece
    if low.approximation != high.approximation:
        return low.approximation > high.approximation
    return not (low.closed and high.closed)


def _touch(end: End, start: End) -> bool:
    if end.approximation != start.approximation:
        return end.approximation > start.approximation
    return end.closed or start.closed


def _complement(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    ends = [_MINUS, *(end for piece in pieces for end in piece), _PLUS]
    gaps = zip(ends[::2], ends[1::2], strict=True)
    return _union((_open_other_way(low), _open_other_way(high)) for low, high in gaps)


def _open_other_way(end: End) -> End:
    return end if end.value is None else end._replace(closed=not end.closed)


def _intersection(parts: Iterable[tuple[Piece, ...]]) -> tuple[Piece, ...]:
    """De Morgan: the complement of the union of the complements."""
    return _complement(_union(piece for part in parts for piece in _complement(part)))

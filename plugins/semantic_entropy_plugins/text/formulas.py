"""Compares answers that are formulas or expressions as a whole: `v = u + at`, `b^2 - 4ac`, `A \u222a B`, `x += 1`.

A formula has a sign such as `=`, `^`, `+` or `\u222a` between operands, and no prose: no function words, and no two
words of four letters beside each other. Its canonical writing has no spaces, sorted terms, sorted sides of `=`, and no
sign of multiplication, so `E = m c^2` is `E=mc\u00b2`, and `v = u - at` is another formula. One side alone is the same
(`\u03c0r^2`, `A = \u03c0r^2`). A number after a relation (`x = 5`, `p < .05`) is left to the comparison of numbers.

Not supported: algebra (`(a+b)^2`), LaTeX, regular expressions, and several formulas in one answer.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from semantic_entropy_plugins.quantities.number_words import plain
from semantic_entropy_plugins.quantities.units import named_unit

MATH_SYMBOLS = "\u221a\u222a\u2229\u2208\u2209\u2282\u2283\u2286\u2287\u2227\u2228\u00ac\u2200\u2203\u00b1\u2213\u2295"
_LONGEST = 120  # characters
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d{1,30}(?:\.\d{1,30})?|\.\d{1,30})|(?P<name>[^\W\d_]{1,20}(?:_?\d{1,3}(?!\d)|_[^\W\d_])?'{0,3})"
    rf"|(?P<sign>&&|\|\||[-+*/%]=|<=|>=|=>|->|[!=]=|\*\*|//|[-+*/^=<>%&|!()\[\]:\u2260\u2264\u2265\u2248\u2192\u00d7{MATH_SYMBOLS}]))"
)
_WRITTEN = {"<=": "\u2264", ">=": "\u2265", "=>": "\u2192", "->": "\u2192", "!=": "\u2260", "**": "^", "\u00d7": "*"}
_STRONG = frozenset(
    ("=", "<", ">", "^", "+", "*", "\u2260", "\u2264", "\u2265", "\u2248", "\u2192", "==", *MATH_SYMBOLS)
)
_CODE = frozenset(
    ("&&", "||", "//", "!", "%", "&", "|", "[", "+=", "-=", "*=", "/=", "%=", "-", "/")
)  # with short names
_RELATION_SIGNS = frozenset("=<>\u2264\u2265\u2260\u2248\u2192")
_PROSE = frozenset(
    "an and or is are the of to if for with per not in on at by from as vs no yes plus minus utc gmt".split()
)
_JOINING = frozenset(
    ("and", "or", "to", "the", "is", "are", "not", "per", "vs", "plus", "minus", "if", "for", "with", "utc", "gmt")
)
_FUNCTIONS = frozenset("sin cos tan cot log ln exp sqrt max min gcd lcm det".split())
_CONSTANTS = frozenset(("true", "false", "none", "null"))
_VALUE = re.compile(r"[^\W\d_]{1,3}\d?[=<>\u2264\u2265\u2260\u2248]{1,2}-?[\d./]+([^\W\d_]*)")
_BESIDE_WORD = re.compile(r" [^\W\d_]")
_HIDDEN = str.maketrans("", "", "{}`$")
_LONG_WORD = 4  # letters


RELATIONS = {**_WRITTEN, "==": "="}
OPERATORS = {":": "-", "\u00f7": "/", "\u00d7": "*"}  # other writings; a score is 3:2 or 3-2
_TURNED = {">": "<", "\u2265": "\u2264"}  # `a > b` is `b < a`


def operation_mark(left: str, sign: str, right: str) -> tuple[str, str]:
    """The class and the writing of a sign between two operands: (`relation`, `a<b`) for `b > a`."""
    if sign in _TURNED:
        left, sign, right = right, _TURNED[sign], left
    elif sign in "=\u2260\u2248+*":
        left, right = sorted((left, right))
    return "operation" if sign in "+-*/" else "relation", f"{left}{sign}{right}"


class Formula(NamedTuple):
    """An answer that consists of operands and signs.

    Attributes:
        sides: the canonical writings of the sides of a relation; one side if there is no relation.
        relation: the relation between the sides.
        operands: the sorted names and numbers.
        is_formula: whether the signs make it a formula; else it is compared only with a formula.
    """

    sides: tuple[str, ...]
    relation: str
    operands: tuple[str, ...]
    is_formula: bool


def read_formula(text: str) -> Formula | None:
    """The formula of a plain text without line ends; None: the text has other parts."""
    if len(text) > _LONGEST:
        return None
    text = text.translate(_HIDDEN).strip(" .,;?").removeprefix("**").removesuffix("**").removesuffix("!")
    tokens = _tokens(text)
    if not tokens or tokens[0] == ("sign", "-", True):
        return None
    names = [written for kind, written, _ in tokens if kind == "name"]
    signs = {written for kind, written, _ in tokens if kind == "sign"}
    short = all(len(name) < _LONG_WORD or name in _FUNCTIONS or name.lower() in _CONSTANTS for name in names)
    loose = {written for kind, written, spaced in tokens if kind == "sign" and (spaced or written not in "-/")}
    calls = "(" in signs and not _FUNCTIONS.isdisjoint(names)
    is_formula = bool(names or signs & set(MATH_SYMBOLS)) and bool(
        signs & _STRONG or calls or (short and loose & _CODE)
    )
    return _canonical(tokens, is_formula) if short or is_formula else None


def _tokens(text: str) -> list[tuple[str, str, bool]]:
    """The parts of a formula: kind, writing, and whether white space is beside it; none if the text is no formula."""
    tokens: list[tuple[str, str, bool]] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            return []
        kind, start = str(found.lastgroup), found.start(found.lastgroup or 0)
        written = _WRITTEN.get(found[kind], found[kind])
        beside_word = _BESIDE_WORD.match(text, found.end()) or (tokens and tokens[-1][0] == "name")
        if kind == "name" and (written.lower() in _JOINING or (beside_word and written.lower() in _PROSE)):
            return []
        after_word = tokens and tokens[-1][0] == kind == "name" and start != at
        if after_word and max(len(written), len(tokens[-1][1])) >= _LONG_WORD and written not in _FUNCTIONS:
            return []  # two words: prose
        tokens.append((kind, written, start != at or text[found.end() : found.end() + 1] == " "))
        at = found.end()
    return tokens


def _canonical(tokens: list[tuple[str, str, bool]], is_formula: bool) -> Formula | None:
    operands, parts = [], []
    for kind, written, _ in tokens:
        value = plain(Fraction(written)) if kind == "number" else "\u03c0" if written.lower() == "pi" else written
        parts.append(value)
        if kind != "sign":
            operands.append(value)
    written = "".join(parts)
    number = _VALUE.fullmatch(written)
    if number and (not number[1] or named_unit(number[1])):
        return None
    written = re.sub(r"(?<=[^\W\d_)\]])\*|\*(?=[^\W\d_(\[])", "", written)
    written = re.sub(r"(?<=[^\W\d_])\^(?=\d)", "", written)
    relations = [char for char in written if char in _RELATION_SIGNS]
    if len(relations) != 1 or "==" in written:
        return Formula((_sorted_terms(written) if not relations else written,), "", tuple(sorted(operands)), is_formula)
    relation = relations[0]
    sides = [_sorted_terms(side) for side in written.split(relation)]
    if relation in ">\u2265":
        sides, relation = sides[::-1], _TURNED[relation]
    elif relation in "=\u2260\u2248":
        sides.sort()
    return Formula(tuple(sides), relation, tuple(sorted(operands)), is_formula)


def _sorted_terms(side: str) -> str:
    """The terms of a sum in order; a sum in brackets is one term."""
    terms, depth, term = [], 0, ""
    for char in side:
        if char in "+-" and depth == 0 and (not term or term[-1] not in "^*/=(" + MATH_SYMBOLS):
            terms.append(term)
            term = ""
        depth += (char in "([") - (char in ")]")
        term += char
    terms.append(term)
    if terms[-1] in ("+", "-") or "" in terms[1:]:
        return side  # `C++`, `A+`
    return "".join(sorted(term if term[0] in "+-" else "+" + term for term in terms if term))


def same_formula(one: Formula, other: Formula) -> bool | None:
    """Whether two formulas are the same; None if neither is a formula, or if one is another kind of answer."""
    if not (one.is_formula or other.is_formula):
        return None
    left, right = (_folded(formula, _cased(one.operands) or _cased(other.operands)) for formula in (one, other))
    if left.sides == right.sides and left.relation == right.relation:
        return True
    if len(left.sides) != len(right.sides) and "=" in (left.relation, right.relation):
        sides, (side, *_) = (left.sides, right.sides) if len(left.sides) == 2 else (right.sides, left.sides)
        if side in sides:
            return True
    if not (one.is_formula and other.is_formula) and left.operands != right.operands:
        return None
    return False


def _cased(operands: tuple[str, ...]) -> bool:
    """Whether case is the meaning: a letter is used in both cases, as in `R - r`."""
    letters = {char for operand in operands for char in operand}
    return any(char.swapcase() in letters for char in letters if char.islower())


def _folded(formula: Formula, cased: bool) -> Formula:
    if cased:
        return formula
    sides = (
        sorted(map(str.lower, formula.sides)) if formula.relation in "=\u2260\u2248" else map(str.lower, formula.sides)
    )
    return Formula(tuple(sides), formula.relation, tuple(sorted(map(str.lower, formula.operands))), formula.is_formula)

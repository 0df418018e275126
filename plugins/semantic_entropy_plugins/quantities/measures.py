"""Everything around the number of an answer: scale words, a unit or currency, qualifiers, and the counted noun.

The rule for all judges: what only one of two answers states is ignored, and what both state is compared. So `5` and
`5 cm` agree, and `5 cm` and `5 kg` do not; `10 AM` and `10 PM` do not; `42 marbles` and `42 red marbles` agree, because
one noun contains the other, and `42 marbles` and `42 apples` do not.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from semantic_entropy_plugins.quantities.number_words import SCALE_WORDS
from semantic_entropy_plugins.quantities.units import Unit, comparable, read_unit

SCALES: dict[str, int] = {
    **SCALE_WORDS,
    "k": 10**3,
    "K": 10**3,
    "mn": 10**6,
    "mln": 10**6,
    "mio": 10**6,
    "mil": 10**3,
    "bn": 10**9,
    "tn": 10**12,
    "lakh": 10**5,
    "lac": 10**5,
    "crore": 10**7,
    "千": 10**3,
    "万": 10**4,
    "萬": 10**4,
    "亿": 10**8,
    "億": 10**8,
    "百万": 10**6,
    "천": 10**3,
    "만": 10**4,
    "억": 10**8,
}

_MORE = (
    "increase increased increasing rise rises rose risen gain gained gains growth grew profit surplus up upward "
    "higher more above over greater larger longer taller older warmer faster 增加 上升 盈利 利润"
)
_LESS = (
    "decrease decreased decreasing decline declined fall falls fell fallen drop dropped loss lost deficit down "
    "downward off discount debt lower less fewer below under smaller shorter younger colder slower reduction "
    "reduced 减少 下降 亏损"
)
# Each axis lists its poles; two poles of one axis exclude each other.
_AXES: dict[str, tuple[str, ...]] = {
    "half of the day": ("am 上午 morning", "pm 下午"),
    "era": ("bc bce 公元前", "ad ce 公元"),
    "direction": ("north northward 北", "south southward 南", "east eastward 东", "west westward 西"),
    "change": (_MORE, _LESS),
    "side": ("left", "right"),
    "rotation": ("clockwise", "counterclockwise anticlockwise"),
    "place": ("inside indoors", "outside outdoors"),
    "order": ("before ago earlier early ahead", "after later late behind"),
    "bound": ("minimum min. atleast", "maximum max. atmost"),
    "account": ("deposit deposited credit credited", "withdrawal withdrawn withdrew debit debited owed"),
}
_POLES = {
    word: (axis, pole) for axis, poles in _AXES.items() for pole, words in enumerate(poles) for word in words.split()
}
_COMPASS = {"N": "north", "S": "south", "E": "east", "W": "west"}
_SPELLED = (
    (re.compile(r"\b([AaPp])\.?\s?[Mm]\.?(?![\w])"), r"\1m"),
    (re.compile(r"\bB\.\s?C\.(?:\s?E\.)?", re.IGNORECASE), "bc"),
    (re.compile(r"\bA\.\s?D\.", re.IGNORECASE), "ad"),
    (re.compile(r"\bC\.\s?E\.", re.IGNORECASE), "ce"),
    (re.compile(r"\b(?:counter|anti)-clockwise\b", re.IGNORECASE), "counterclockwise"),
    (re.compile(r"\bat least\b|\bno (?:less|fewer) than\b", re.IGNORECASE), "atleast"),
    (re.compile(r"\bat most\b|\bno more than\b|\bup to\b", re.IGNORECASE), "atmost"),
)
_FILLERS = frozenset(
    "a an the of in on at to for from by with as and or is are was were be been it its he she they his her their "
    "this that these those there each altogether total overall only exactly about approx approximately around "
    "roughly nearly so has have had left remaining long tall wide high deep old away apart per one ones than can will "
    "would if".split()
)
_WORD = re.compile(r"[^\W\d_]+")


_SHARES = frozenset("probability chance likelihood odds percentage percent fraction share ratio rate answer".split())


class Measure(NamedTuple):
    """What stands around a number.

    Attributes:
        scale: the product of the scale words: 10^6 in "5 million dollars".
        unit: the unit or currency; None: no unit.
        percent: whether the number is a percentage.
        qualifiers: sorted pairs of an axis and a pole, such as ("half of the day", 0) for AM.
        noun: the other words, sorted, in lower case, in the singular: what is counted.
    """

    scale: Fraction = Fraction(1)
    unit: Unit | None = None
    percent: bool = False
    qualifiers: tuple[tuple[str, int], ...] = ()
    noun: tuple[str, ...] = ()


NO_MEASURE = Measure()


def read_measure(after: str, before: str = "") -> Measure:
    """The measure of a number, from the plain texts after and before it."""
    after = after.strip()
    for pattern, replacement in _SPELLED:
        after, before = pattern.sub(replacement, after), pattern.sub(replacement, before)
    scale, after = _scale(after)
    percent = _PERCENT.match(after)
    if percent:
        after = after[percent.end() :]
        scale *= Fraction(1, 10) if percent["mille"] else 1
    unit, rest = (None, after) if _begins_with_qualifier(after) else read_unit(after)
    prefix_unit, before_rest = read_unit(before)
    if prefix_unit and unit is None:
        unit = prefix_unit
    if unit is None:  # "100 US$ profit" begins with the unit; "profit of 100 in euros" does not
        before_rest = before
    qualifiers, noun = [], []
    for word in _WORD.findall(f"{before_rest} {rest}"):
        pole = _POLES.get(_COMPASS.get(word, word.lower()))
        if pole:
            qualifiers.append(pole)
        elif word.lower() not in _FILLERS and (len(word) > 1 or word.isupper()):
            noun.append(_singular(word.lower()))
    return Measure(scale, unit, bool(percent), tuple(sorted(set(qualifiers))), tuple(sorted(set(noun))))


_PERCENT = re.compile(
    r"\s*(?:%|\\%|percent(?:age)?(?: points?)?\b|per cent\b|(?P<mille>\u2030|per ?mille\b)|pct\b|pro ?zent\b)",
    re.IGNORECASE,
)
_SCALE_WORD = re.compile(
    "(" + "|".join(sorted((re.escape(word) for word in SCALES if not word.isascii()), key=len, reverse=True)) + r")"
    r"|([^\W\d_]+)"
)


def _scale(text: str) -> tuple[Fraction, str]:
    scale = Fraction(1)
    while found := _SCALE_WORD.match(text):
        word = found[0]
        value = SCALES.get(word) or SCALES.get(word.lower()) or SCALES.get(word.lower().removesuffix("s"))
        if value is None or (word == "mil" and scale != 1):
            break
        scale *= value
        text = text[found.end() :].lstrip()
    return scale, text


def _begins_with_qualifier(text: str) -> bool:
    word = _WORD.match(text)
    return word is not None and is_qualifier(word[0])


def is_qualifier(word: str) -> bool:
    """Whether a word is a pole of an axis, such as PM, BC, north, increase or loss."""
    return word.lower() in _POLES


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def conflict(left: Measure, right: Measure) -> str | None:
    """The reason why two measures exclude each other; None if they do not. Two units of one dimension do not."""
    if left == right:
        return None
    poles = dict(left.qualifiers)
    for axis, pole in right.qualifiers:
        if axis in poles and poles[axis] != pole and (axis, pole) not in left.qualifiers:
            return f"different {axis}"
    if left.unit and right.unit:
        return None if comparable(left.unit.dimension, right.unit.dimension) else "different units"
    if left.percent != right.percent and _counts(*((right, left) if left.percent else (left, right))):
        return "different units"
    one, other = (set(measure.noun or _words(measure.unit)) for measure in (left, right))
    named = left.unit or right.unit
    if one <= other or other <= one or (named and _abbreviates(one, other)):  # also if one side has no words
        return None
    return "different units" if named else "different things are counted"


def _counts(measure: Measure, share: Measure) -> bool:
    """Whether a number has a unit or a noun that a percentage has not: `20 km` or `20 people` against `20%`."""
    return bool(measure.unit or (measure.noun and not share.noun and _SHARES.isdisjoint(measure.noun)))


def _words(unit: Unit | None) -> tuple[str, ...]:
    return tuple(_WORD.findall(unit.name)) if unit else ()


def _abbreviates(one: set[str], other: set[str]) -> bool:
    """Whether words abbreviate the name of a unit: `C` for celsius or coulomb, `pounds` for poundmass, `tons`."""
    shorter, longer = sorted((one, other), key=len)
    return all(any(long.startswith(word) or word.startswith(long) for long in longer) for word in shorter)

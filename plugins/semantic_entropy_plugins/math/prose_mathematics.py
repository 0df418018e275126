r"""Finds the last mathematics in prose, with all that belongs to it.

    a run          `x < 5`, `(-\infty, 2)`, `\log_2 8`, a matrix: signs, digits, single letters and LaTeX up to a word
    a unit         5 million km, 8 PM, 3 boys (at the end of a sentence)
    several parts  3 and 5, 2:3, 2 hours and 30 minutes, 1 out of 6, from $2$ to $3$: mathematics with a joint between
    a qualifier    less than 5, a loss of 5, at least 5, not 5

Where it is unclear what belongs to the answer, the span is longer: two spans that differ are kept apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice, pairwise
from typing import NamedTuple

from semantic_entropy_plugins.math.claims import RATE, with_claims
from semantic_entropy_plugins.math.opaque_terms import changed_name
from semantic_entropy_plugins.quantities import SCALES
from semantic_entropy_plugins.quantities.measures import is_qualifier
from semantic_entropy_plugins.quantities.units import CURRENCY_CODES, CURRENCY_SIGNS, DOLLARS, named_unit

DELIMITED = re.compile(
    r"\$\$([^$]+)\$\$|(?<![\\$])\$(?=[^\s$])([^$]*[^\s$\\])\$(?![\d$])|\\\(((?:(?!\\\)).)+)\\\)|\\\[((?:(?!\\\]).)+)\\\]",
    re.DOTALL,
)


class _Part(NamedTuple):
    """A span of mathematics; `named` is the start with the name before an equals sign."""

    start: int
    end: int
    named: int


def content(found: re.Match[str]) -> str:
    """The mathematics between delimiters."""
    return next(group for group in found.groups() if group is not None).strip()


def has_value(mathematics: str) -> bool:
    """Whether mathematics between delimiters can be an answer; the name of a variable is not one."""
    return any(char.isdigit() for char in mathematics) or any(
        sign in mathematics for sign in ("=", "\\", "^", "+", "/", "<", ">")
    )


_PRODUCT = r"(?!(?:is|or|and|in|to|are|the|we|of|by)\b)[A-Za-z]{2,3}(?<!st|nd|rd|th|km|cm|mm|kg|hr)"
"""Letters side by side in a formula, which are a product."""
_FUNCTIONS = "sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|pi|mod|det|gcd|lcm|max|min"
_SIGNS = (
    r"-+*/^_=<>(){}\[\]|!.,:;&% \u2212\u2013\u00d7\u00b7\u00f7\u221a\u03c0\u00b0\u00b1\u2264\u2265\u2260\u221e\u222a"
    r"\u2229\u2208\u00bd\u00bc\u00be\u00b2\u00b3\u2070\u00b9\u2074-\u2079\u207b\uff05"
)
_RUN = re.compile(
    r"(?:\\begin\{[a-z]*\*?\}[^$\n]{0,400}?\\end\{[a-z]*\*?\}|\\(?:text|mathrm|operatorname|mbox)\s*\{[^{}\n]{0,60}\}"
    r"|\\[a-zA-Z]+|\\[{}%,;:!|\\]|(?<![A-Za-z])\d|(?<=[A-Za-z]_)\d|(?<=\d)\d|(?<=(?<![A-Za-z])[A-Za-z])\d"
    r"|(?<![^\W\d_])(?<!['\u2019])(?:[b-zB-HJ-Z]|[aAI](?=\s*[-+*/^=<>_)]))(?![^\W\d_])"
    rf"|(?<![^\W\d_])(?:{_FUNCTIONS})(?![^\W\d_])"
    rf"|(?<![^\W\d_'])(?:{_PRODUCT}(?=\s?[+^*=/]\s?[\w\\(])|(?<=[+*^/=] ){_PRODUCT}(?=[\s.,;]*$)"
    rf"|(?<=[\d+*^/=]){_PRODUCT}(?=\s?[+*^/-]))(?![^\W\d_])"
    rf"|(?<![^\W\d_])(?:{DOLLARS}(?=\$\s?[\d.])|(?:{CURRENCY_CODES})\.?(?=\s?\d))"
    rf"|[{re.escape(CURRENCY_SIGNS)}](?=\s?[\d.])|[{_SIGNS}])+"
)
_BREAK = re.compile(r"[.;:!?](?=\s|$)|\s[-\u2212\u2013]{1,2}\s*$|,(?!\d{3}(?!\d))")
_EQUALS = re.compile(r"(?<![<>!=\\])=(?!=)")
_NAME = re.compile(r"(?:(?<![^\W\d_])[a-zA-Z]\w{0,2}(?:\([^()\n]{1,8}\))?|\$[^$\n]{1,12}\$|\|[^|\n]{1,12}\|)\s*=\s*$")
_VALUE = re.compile(
    r"\d|\\(?:infty|emptyset|varnothing|pi|mathbb)|[\u221a\u03c0\u221e\u00bd\u00bc\u00be]|[a-zA-Z]\s?[\^\u00b2\u00b3]"
)
_EDGE_LEFT = re.compile(
    r"(?:\|(?![^|=\n]{1,12}\|\s*=)|[\s.,;:!&*/+=_^%)\]}]|[-\u2212\u2013](?=\s)|[a-zA-Z](?=\s+[\d(\\]))+"
)
_EDGE_RIGHT = re.compile(r"(?:[\s,;:&|*/+=_^(\[{<>-]|(?<!\d)!|\.|\s[a-zA-Z](?=[\s.,;:]*$))+$")


def _parts_from_end(text: str) -> Iterator[_Part]:
    """The parts, the last one first, because only the last ones are read."""
    end = len(text)
    for found in reversed([found for found in DELIMITED.finditer(text) if has_value(content(found))]):
        yield from _plain_from_end(text, found.end(), end)
        yield _Part(found.start(), found.end(), found.start())
        end = found.start()
    yield from _plain_from_end(text, 0, end)


def _plain_from_end(text: str, begin: int, end: int) -> Iterator[_Part]:
    stop = end
    while stop > begin:  # line by line, because no run contains a line break
        line = max(begin, text.rfind("\n", begin, stop - 1) + 1)
        runs = []
        for run in _RUN.finditer(text, line, end):  # `end` and not `stop`: the pattern looks ahead
            if run.start() >= stop:
                break
            runs.append(run)
        for run in reversed(runs):
            for first, last in reversed(list(_segments(run))):
                part = _trimmed(text, first, last)
                if part and _VALUE.search(text, part.start, part.end):
                    yield part
        stop = line


def _segments(run: re.Match[str]) -> Iterator[tuple[int, int]]:
    """The pieces of a run between sentence ends and commas that no bracket encloses."""
    text, depth, start = run.string, 0, run.start()
    for at in range(run.start(), run.end()):
        char = text[at]
        depth = max(0, depth + (char in "([{") - (char in ")]}"))
        if depth == 0 and char in ".;:!?," and _BREAK.match(text, at):
            yield start, at
            start = at + 1
    yield start, run.end()


def _trimmed(text: str, start: int, end: int) -> _Part | None:
    for _ in range(3):
        if left := _EDGE_LEFT.match(text, start, end):
            start = left.end()
        if right := _EDGE_RIGHT.search(text[start:end]):
            end = start + right.start()
    piece = text[start:end]
    while piece[-1:] in (")", "]") and piece.count("(") + piece.count("[") < piece.count(")") + piece.count("]"):
        end, piece = end - 1, piece[:-1]  # the end of a remark in brackets
    if piece[:1] in ("(", "[") and piece.count(piece[0]) > piece.count(")") + piece.count("]"):
        start, piece = start + 1, piece[1:]  # (5 of them)
    if start >= end:
        return None
    if any(sign in piece for sign in ("<", ">", "\u2264", "\u2265", "\\le", "\\ge", "\\ne", "\u2260")):
        return _Part(start, end, start)
    return _after_equals(text, start, end)


def _after_equals(text: str, start: int, end: int) -> _Part:
    named, piece = start, text[start:end]
    for equals in _EQUALS.finditer(piece):
        if not piece[equals.end() :].strip():
            break
        start = end - len(piece[equals.end() :].lstrip())
    if start > named and not _NAME.fullmatch(text, named, start):
        named = start
    return _Part(start, end, named)


_JOINT = re.compile(
    r"\s*(?:[:\u2236]|,|[-\u2013~])\s*|(?:\s+[^\W\d_]{2,20}){0,2}?,?\s+(?:and|or|to|through|out\s+of|of|in|by|versus|vs\.?"
    r"|remainder|over)\s+(?:a\s+|the\s+)?|,?\s+with\s+a\s+remainder\s+of\s+|\s*[\u548c\u6216\u5230\u81f3\u4e0e\u6bd4]\s*|\s+"
)
_WHERE = re.compile(r"(?:\s+[^\W\d_]{2,20})?,?\s+(?:at|when|if|for)\s+")  # a minimum of 5 at x = 6
_LAST_IN_LIST = re.compile(r"\s*(?:[.,;)\n]|and\b|or\b|$)")


def _joined(text: str, one: _Part, end: int, other: _Part) -> bool:
    """Whether two neighbours are parts of one answer; `end` is the end of the first with its unit."""
    between = text[end : other.named]
    if other.named < other.start and _WHERE.fullmatch(between):
        return True
    if "\n" in between or not _JOINT.fullmatch(between):
        return False
    if not between.strip():  # 5 ft 10 in
        return end > one.end
    if "," in between and not re.search("and|or", between):
        bare = end == one.end
        return bare == (not unit_after(text, other.end)) and (not bare or bool(_LAST_IN_LIST.match(text, other.end)))
    if between.strip() == "in":
        return end == one.end and not unit_after(text, one.end)
    return True


_REJECTED = re.compile(r"(?:\bnot|n't|\brather\s+than|\binstead\s+of|\bunlike)\s*$")


def last_mathematics(text: str) -> str | None:
    """The last mathematics in a text with its unit, its other parts and its qualifiers; None if there is none."""
    parts = _parts_from_end(text)
    final = next(parts, None)
    while final and _REJECTED.search(text[max(0, final.named - 20) : final.named]) and (before := next(parts, None)):
        final = before
    if not final:
        return None
    end = final.end + len(unit_after(text, final.end))
    start, joined, counted = final.start, False, None
    for one, other in pairwise(chain([final], parts)):
        if not _joined(text, other, other.end + len(unit_after(text, other.end)), one):
            break
        counted = counted or _COUNTED.match(text, other.end)
        start, joined = other.named, True
    left = _LEFT_OVER.match(text, final.end) if joined else None
    if left:  # 7, and 3 are left over
        end = left.end()
    elif counted:  # 7 adults and 12 children
        noun = (counted[1] and _ADJECTIVE_AND_NOUN.match(text, end)) or _ANY_NOUN.match(text, end)
        end = noun.end() if noun else end
    elif not joined and end == final.end:
        end += len(_noun_after(text, end))
    start = _with_function(text, start)
    qualified = _qualified(text, start, end, joined=joined)
    span = with_claims(text, qualified, end)
    name = "" if joined else text[final.named : final.start] or _changed_before(text, start)
    return (name or _subject(text[max(0, qualified - _SEARCHED) : qualified])) + span


_COUNTED_IN = "term|day|week|month|year|hour|minute|step|row|round|level|stage|lap|trial"
_SEARCHED = 60  # characters before an answer in which its subject stands
_SUBJECTS = (
    # The x-intercept is 3, it crosses the y-axis at 3
    (re.compile(r"(?<![\w-])\$?([a-z])\$?-(?:intercept|axis|coordinate|value)s?\b[^.,;\d=]{0,15}$"), r"\1 = "),
    # The length of AB is 5, angle A is 60 degrees, x goes to 5
    (
        re.compile(
            r"(?<![^\W\d_])(?:([B-HJ-Zb-z]|[A-Z]{2})|(?i:angle|side|point|edge|plan|option|vertex)\s+([a-zA-Z]))\s+"
            r"(?:is|equals|becomes|(?:goes|tends|converges)\s+to|approaches)\s+(?:not\s+)?$",
        ),
        r"\1\2 = ",
    ),
    # The 5th term is 12, on day 5 he has 12
    (re.compile(rf"(?<!\w)(\d{{1,4}})(?:st|nd|rd|th)\s+({_COUNTED_IN})\b[^.,;\d=]{{0,30}}$"), r"\2_\1 = "),
    (re.compile(rf"(?<!\w)({_COUNTED_IN})\s+(\d{{1,4}})\b[^.,;\d=]{{1,30}}$"), r"\1_\2 = "),
)


_BEFORE_EQUALS = re.compile(r"((?:\S+\s+)?(\S{1,40}))\s*=\s*$")


def _changed_before(text: str, start: int) -> str:
    """The notation and the equals sign right before a value: `f'(2) =`, `E[X] =`."""
    found = _BEFORE_EQUALS.search(text[max(0, start - _SEARCHED) : start])
    sides = (found[1], found[2]) if found else ()
    return next((f"{side} = " for side in sides if changed_name(side)), "")


def _subject(before: str) -> str:
    """The name of what an answer is about, from the words right before it: `angle B is`, `the 5th term is`."""
    for pattern, name in _SUBJECTS:
        if found := pattern.search(before):
            return found.expand(name)
    return ""


_LEFT_OVER = re.compile(
    r"(?:\s+[^\W\d_]{2,20})?(?:\s+(?:is|are|was|were))?\s+(?:left[\s-]?over|leftovers?|left|remaining|extra)\b"
)
_COUNTED = re.compile(r"(\s+[^\W\d_]{2,20})?\s+[^\W\d_]{3,20},?\s+(?:and|or|to)\s")
_ANY_NOUN = re.compile(r"\s+[^\W\d_]{2,20}")
_ADJECTIVE_AND_NOUN = re.compile(r"\s+[^\W\d_]{2,20}\s+[^\W\d_]{2,20}")
_FUNCTION = re.compile(r"(?<![^\W\d_])[a-z][a-z0-9]{1,11}$")


def _with_function(text: str, start: int) -> int:
    """The start of the name that stands before brackets, as in `floor(3.5)`."""
    if text[start : start + 1] != "(":
        return start
    name = _FUNCTION.search(text, max(0, start - 14), start)
    return name.start() if name else start


def has_several_parts(text: str) -> bool:
    """Whether more than one place in a text contains mathematics."""
    return len(list(islice(_parts_from_end(text), 2))) > 1


_LINKS = frozenset(
    "of by a an the about approximately around than is are was were to only exactly total by at no more less least most"
    " fewer greater between from".split()
)
_LEFT = frozenset(
    "not never except lose loses losing win wins won minus negative plus between from without than least most no "
    "within half double twice discount off mod modulo base log root reciprocal square cube nearly less more"
    " fewer greater".split()
)
_WORD_BEFORE = re.compile(r"([^\W\d_]+(?:'t)?)[\s:]*\s$|([\u4e0a\u4e0b]\u5348|[\u4e0d]\u662f|\u8d1f)$")
_SCORE = re.compile(r"\d+(?:\s?[-\u2212\u2013/]\s?\d+)+")
_FRACTION = re.compile(r"\d+\s?/\s?\d+")
_MOST_BEFORE = 5


def _qualified(text: str, start: int, end: int, *, joined: bool) -> int:
    """The start of the span with the words before it that change what it says."""
    kept = at = start
    span = text[start:end].strip()
    score = _SCORE.fullmatch(span) is not None and not _FRACTION.fullmatch(span)
    for count in range(_MOST_BEFORE):
        found = _WORD_BEFORE.search(text[max(0, at - 30) : at])
        if not found:
            break
        at -= len(found[0])
        word = (found[1] or found[2]).lower()
        if word in ("between", "from") and not joined:
            break
        if is_qualifier(word) or (word in _LEFT) or word.endswith("n't") or (score and not count):
            kept = at
        elif word not in _LINKS:
            break
    return kept


_NEXT_WORD = re.compile(
    r"[ -]?([AaPp]\.\s?[Mm]\b\.?|[^\W\d_]+(?:[/^]\w+)?|[\u00b0%\uff05]\s?[CF]?\b|[%\uff05\u2030\u00b0'\u2032])"
)
_IDEOGRAPHS = re.compile(r"\s?((?:\u767e\u4e07|[\u5341\u767e\u5343\u4e07\u842c\u4ebf\u5104\ucc9c\ub9cc\uc5b5])+)")
_NOUN = re.compile(rf"\s([^\W\d_]{{2,20}})(?:{RATE.pattern}|(?=[.!?*]*\s*$|[.!?]\s))")
_SYMBOL = re.compile(r"[b-df-hj-np-tv-xzA-Z]{2,5}")  # of a unit: ppm, mcg, Mbps, IU
_MOST_WORDS = 3


def unit_after(text: str, at: int) -> str:
    """The scale words, the unit and the qualifiers that follow a number."""
    end = at
    if scale := _IDEOGRAPHS.match(text, end):
        end = scale.end()
    for _ in range(_MOST_WORDS):
        found = _NEXT_WORD.match(text, end)
        if not found:
            break
        word = found[1].strip()
        length = _ideographic_unit(word)
        if length:
            end = found.start(1) + length
            break
        if word in ("in", "a", "A", "second", "bar", "real") and not re.match(r"[.,;]|$", text[found.end() :]):
            break
        if word in ("a", "A") or not _belongs(word):
            break
        end = found.end()
    rate = RATE.match(text, end)
    return text[at : rate.end() if rate else end]


def _ideographic_unit(word: str) -> int:
    return next((n for n in range(min(3, len(word)), 0, -1) if not word[:n].isascii() and named_unit(word[:n])), 0)


def _noun_after(text: str, at: int) -> str:
    """The counted noun, if it ends the sentence or a rate follows."""
    found = _NOUN.match(text, at)
    is_unit = found and (found[1].endswith(("s", "ren", "men", "people")) or _SYMBOL.fullmatch(found[1]))
    return found[0] if found and is_unit else ""


def _belongs(word: str) -> bool:
    name = re.split(r"[/^\u00b2\u00b3]", word)[0]
    return (
        word.lower() in SCALES
        or named_unit(name) is not None
        or word.lower() in ("percent", "%", "\uff05", "\u2030")
        or is_qualifier(word.replace(".", "").replace(" ", ""))
        or word.lower() in ("squared", "cubed", "factorial")
    )

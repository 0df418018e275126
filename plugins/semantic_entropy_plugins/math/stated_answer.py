r"""Finds the answer in a response: what the text is compared by if the user names no extractor.

1. The last box.
2. The whole text, if it is mathematics.
3. What follows "the answer is", "Answer:", `####` or the same in another language; a later discussion does not count.
4. The whole text, if it is a number with its unit.
5. The last mathematics in the text: between delimiters (`$\frac{1}{6}$`), or written plainly (10 - 2√5, 3 1/2, $70,000,
   5 million km), with the unit that follows it.

A text is read in one pass; only its last 4,000 characters are searched for mathematics.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from functools import lru_cache

from semantic_entropy.plugin import boxed, is_refusal, last_number, load_extractor
from semantic_entropy_plugins.math.reading import read
from semantic_entropy_plugins.quantities import SCALES
from semantic_entropy_plugins.quantities.measures import is_qualifier
from semantic_entropy_plugins.quantities.units import CURRENCY_SIGNS, named_unit

_DELIMITED = re.compile(
    r"\$\$([^$]+)\$\$|(?<![\\$])\$(?=[^\s$])([^$]*[^\s$\\])\$(?![\d$])|\\\(((?:(?!\\\)).)+)\\\)|\\\[((?:(?!\\\]).)+)\\\]",
    re.DOTALL,
)
_COMMANDS = re.compile(r"\\(?:text|mathrm|operatorname|mbox)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_FUNCTIONS = frozenset("sin cos tan cot sec csc log ln exp max min gcd lcm mod det pi sqrt cm mm km kg".split())
# Years, scores, dates, times and telephone numbers look like differences and quotients, but are not mathematics.
_AMBIGUOUS = re.compile(r"\d+(?:\s*[-\u2013:]\s*\d+)+|\d+/\d+/\d+|\d+(?:[.-]\d+){2,}")
_PLAIN_NUMBER = re.compile(r"[-+]?[\d.,]+%?")
LONGEST_WHOLE = 200  # characters: a longer text is a solution, not an answer
_SEARCHED = 4000  # characters at the end of a response


def is_mathematics(text: str) -> bool:
    """Whether the whole text is mathematics: text between dollar signs, or digits and signs without prose."""
    text = text.strip()
    return 0 < len(text) <= LONGEST_WHOLE and "\n" not in text and _is_expression(text)


@lru_cache(maxsize=16384)
def _is_expression(text: str) -> bool:
    if _DELIMITED.fullmatch(text):
        return True
    words = re.findall(r"[^\W\d_]{2,}", _COMMANDS.sub(" ", text))
    if any(word not in _FUNCTIONS for word in words):
        return False
    return any(char.isdigit() for char in text) or (any(c in text for c in "^=+*/<>\\") and any(map(str.isalnum, text)))


def states_mathematics(response: str) -> bool:
    """Whether a response without a box states mathematics that is no date, no score and no plain number."""
    if is_mathematics(response):
        return _AMBIGUOUS.fullmatch(response.strip()) is None
    if len(response) > _SEARCHED:
        return False
    stated = _stated(response)
    if stated is not None and is_mathematics(stated) and not _AMBIGUOUS.fullmatch(stated):
        return not _PLAIN_NUMBER.fullmatch(stated.strip(" *_`$."))
    found = list(_DELIMITED.finditer(response))
    return bool(found) and _has_value(_content(found[-1]))


def _content(found: re.Match[str]) -> str:
    return next(group for group in found.groups() if group is not None).strip()


def _has_value(mathematics: str) -> bool:
    """Whether mathematics between delimiters can be an answer; the name of a variable is not one."""
    return any(char.isdigit() for char in mathematics) or any(
        sign in mathematics for sign in ("=", "\\", "^", "+", "/")
    )


def _answer(response: str) -> str | None:
    box = boxed(response)
    if box is not None or is_refusal(response):
        return box
    text = response.strip()
    if is_mathematics(text):
        return text
    stated = _stated(response)
    if stated is not None:
        if is_mathematics(stated) or _is_quantity(stated):
            return stated
        if found := _last_mathematics(_REASON.split(stated, maxsplit=1)[0]):
            return found
    elif _is_quantity(text):
        return text
    return _last_mathematics(response[-_SEARCHED:]) or last_number(response)


def _is_quantity(text: str) -> bool:
    if not 0 < len(text) <= LONGEST_WHOLE or "\n" in text:
        return False
    reading = read(text)
    return bool(reading.exact or reading.real_set or reading.ratio or reading.numeral)


_MARKER = re.compile(
    r"####(?!#)|\banswer(?:\*\*|__)?\s*[:=\uff1a]"
    r"|\banswer\b[^.\n:=?]{0,60}?\b(?:is|are|was|equals|=)(?:\s+(?:therefore|thus|simply))?\s*:?"
    r"|(?:答案|答え|正解|정답)\s*(?:[是为は은는]|[:\uff1a])+"
    r"|\b(?:respuesta|r[eé]ponse|antwort|resposta|risposta|ответ|उत्तर)\b"
    r"[^.\n:=?]{0,40}?(?:[:=\uff1a]|\b(?:es|est|ist|[eé]|è)\b)\s*:?",
    re.IGNORECASE,
)
_END = re.compile(r"\.\s|\.$|[\n\u3002]")
_REASON = re.compile(
    r",?\s+(?:because|since|so that|which|where|as)\b|[,;]\s+(?:so|since|because|which|hence|thus)\b", re.IGNORECASE
)


def _stated(response: str) -> str | None:
    """The text after the last words that introduce an answer, up to the end of its sentence."""
    last = deque(_MARKER.finditer(response), maxlen=1)
    if not last:
        return None
    begin = last[0].end()
    line = response[begin : begin + 4 * LONGEST_WHOLE].lstrip(" \t\n*_:")
    end = _END.search(line)
    return line[: end.start() if end else None].strip().strip("*_`").strip() or None


_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|[1-9]\d{0,2}(?: \d{3})+(?![\d,])|\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
_MONEY = f"(?:US|A|C)?[{re.escape(CURRENCY_SIGNS)}]"
_ROOT = r"(?:\u221a\s?(?:\d+|\([^()\n]{1,40}\))|\u03c0|pi\b|sqrt\([^()\n]{1,40}\))"
_ATOM = (
    rf"(?:\d+ \d+/\d+(?![\d/])|{_NUMBER}(?:\s?{_ROOT}|[a-zA-Z](?![\w']))?|{_ROOT}|[a-zA-Z](?=\s?[\^\u00b2\u00b3]))"
    r"(?:\s?\^\s?(?:-?\d+|\([^()\n]{1,20}\)|[a-z](?!\w))|[\u00b2\u00b3\u2070\u00b9\u2074-\u2079\u207b]+)?"
)
_OPERATOR = (
    r"(?:\s*[+*/\u00d7\u00b7\u00f7]\s*|\s+[-\u2212\u2013]\s+|[-\u2212](?=[\d.]*\s?[\u221a\u03c0a-z](?!\w))"
    r"|\s+[xX]\s+(?=10\s?\^))"
)
_ITEM = r"[-+\u2212\d.\u221a\u03c0/ ]{1,40}"
_PLAIN = re.compile(
    rf"(?<![\w.\\])(?:(?<![\d)\]])[-+\u2212])?(?:{_MONEY}\s?)?(?:"
    rf"\({_ITEM}(?:,{_ITEM}){{1,5}}\)|{_ATOM}(?:{_OPERATOR}(?:{_MONEY}\s?)?{_ATOM}){{0,12}})"
    r"(?:\s?[%\uff05\u00b0])?(?!\w)"
)
_NEXT_WORD = re.compile(r"[ -]?([^\W\d_]+(?:[/^]\w+)?|[\u00b0%\uff05]\s?[CF]?\b)")
_MOST_WORDS = 3


def _last_mathematics(text: str) -> str | None:
    last = deque(_candidates(text), maxlen=1)
    if not last:
        return None
    start, end = last[0]
    return (text[start:end] + _unit_after(text, end)).strip()


def _candidates(text: str) -> Iterator[tuple[int, int]]:
    """The mathematics in a text from left to right; plain mathematics only outside of delimiters."""
    at = 0
    for found in _DELIMITED.finditer(text):
        if not _has_value(_content(found)):
            continue
        yield from (plain.span() for plain in _PLAIN.finditer(text, at, found.start()))
        yield found.span()
        at = found.end()
    yield from (plain.span() for plain in _PLAIN.finditer(text, at))


def _unit_after(text: str, at: int) -> str:
    """The scale words, the unit and the qualifiers that follow a number."""
    end = at
    for _ in range(_MOST_WORDS):
        found = _NEXT_WORD.match(text, end)
        if not found:
            break
        word = found[1].strip()
        if word in ("in", "a", "A", "second", "bar", "real") or not _belongs(word):
            break
        end = found.end()
    return text[at:end]


def _belongs(word: str) -> bool:
    name = re.split(r"[/^]", word)[0]
    return (
        word.lower() in SCALES or named_unit(name) is not None or word.lower() in ("percent", "%") or is_qualifier(word)
    )


find_answer = load_extractor(_answer)
_LONGEST_CACHED = 1000  # characters: a cache of longer responses would need too much memory


def extract_answer(response: str) -> str | None:
    """The answer in a response, without its reasoning; None if there is none."""
    return _cached_extract(response) if len(response) <= _LONGEST_CACHED else find_answer(response)


_cached_extract = lru_cache(maxsize=16384)(find_answer)  # `suits` and `extract` see the same responses

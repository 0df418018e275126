r"""Finds the answer in a response: what the text is compared by if the user names no extractor.

1. The last box.
2. The whole text, if it is mathematics.
3. What follows "the answer is", "Answer:", `####` or the same in another language; a later discussion does not count.
   An aside after it does not count ("5, not 6", "5 (see equation 3)"); if several numbers are left, it is
   kept whole.
4. The whole text, if it is a number with its unit.
5. The last mathematics in the text, with its unit, its other parts and its qualifiers (`prose_mathematics`).

A text is read in one pass; only its last 4,000 characters are searched for mathematics.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache

from semantic_entropy.plugin import boxed, is_refusal, last_number, load_extractor
from semantic_entropy_plugins.math.answer_words import number_of, stated_in_words
from semantic_entropy_plugins.math.claims import with_claims, with_polarity
from semantic_entropy_plugins.math.prose_mathematics import (
    DELIMITED,
    content,
    has_several_parts,
    has_value,
    last_mathematics,
)
from semantic_entropy_plugins.math.reading import read
from semantic_entropy_plugins.quantities.remarks import without_remarks

_COMMANDS = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}|\\(?:text|mathrm|operatorname|mbox)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_FUNCTIONS = frozenset("sin cos tan cot sec csc log ln exp max min gcd lcm mod det pi sqrt cm mm km kg".split())
# Years, scores, dates, times and telephone numbers look like differences and quotients, but are not mathematics.
_AMBIGUOUS = re.compile(r"[vV]\.?\s?\d[\d.]*|\d{2,4}0s|\d+(?:\s*[-\u2013:]\s*\d+)+|\d+/\d+/\d+|\d+(?:[.-]\d+){2,}")
_PLAIN_NUMBER = re.compile(r"[-+]?[\d.,]+%?")
LONGEST_WHOLE = 200  # characters: a longer text is a solution, not an answer
_SEARCHED = 4000  # characters at the end of a response


def is_mathematics(text: str) -> bool:
    """Whether the whole text is mathematics: text between dollar signs, or digits and signs without prose."""
    text = text.strip()
    return 0 < len(text) <= LONGEST_WHOLE and "\n" not in text and _is_expression(text)


@lru_cache(maxsize=16384)
def _is_expression(text: str) -> bool:
    if DELIMITED.fullmatch(text):
        return True
    words = re.findall(r"[^\W\d_\u00b2\u00b3\u00b9\u2070-\u2079]{2,}", _COMMANDS.sub(" ", text))
    if any(word not in _FUNCTIONS for word in words):
        return _is_formula(text)
    return any(char.isdigit() for char in text) or (any(c in text for c in "^=+*/<>\\") and any(map(str.isalnum, text)))


_TERM = r"(?:\d+(?:\.\d+)?)?[a-zA-Z]{0,4}'{0,2}(?:\(\w{1,3}\))?(?:\^\{?-?\w{1,3}\}?)?"
_FORMULA = re.compile(rf"-?\(?(?=\w){_TERM}\)?(?:\^\d)?(?:\s?[-+*/=\u2212]\s?-?\(?(?=\w){_TERM}\)?(?:\^\d)?)+")
_NO_PRODUCT = re.compile(r"\b(?:and|or|is|in|to|the|of|he|she|his|her|yes|no|cm|mm|km|kg)\b", re.IGNORECASE)


def _is_formula(text: str) -> bool:
    """Whether a text is a sum, a product or an equation of terms such as `2ab`; letters side by side are a product."""
    text = text.strip("*_`$ .")
    if not _FORMULA.fullmatch(text) or _NO_PRODUCT.search(text):
        return False
    return any(sign in text for sign in "+=^*") and not re.fullmatch(r"[a-zA-Z]{3,4}=[a-zA-Z]{3,4}", text)


_EQUATION = re.compile(r"[^\W\d_](?:_?\d)?\s?=\s?[^=\s\w]{0,2}\w[^=\s]{0,30}")
_EQUATIONS = re.compile(
    rf"(?:[^=\n]{{0,60}}[\s:])?\$?{_EQUATION.pattern}(?:,?\s(?:and|or)\s\$?{_EQUATION.pattern}){{0,4}}[.\s$]{{0,3}}"
)


def _is_list_of_equations(response: str) -> bool:
    """Whether a response ends with the values of variables: `x = 3 or x = -3`, `The solution is x = 3.`"""
    return "=" in response and _EQUATIONS.fullmatch(response.strip()) is not None


def states_mathematics(response: str) -> bool:
    """Whether a response without a box states mathematics that is no date, no score and no plain number."""
    response = without_remarks(response)
    if is_mathematics(response) or _is_list_of_equations(response):
        return _AMBIGUOUS.fullmatch(response.strip()) is None
    if len(response) > _SEARCHED:
        return False
    stated = _stated(response)
    if stated is not None and is_mathematics(stated) and not _AMBIGUOUS.fullmatch(stated):
        return not _PLAIN_NUMBER.fullmatch(stated.strip(" *_`$."))
    found = list(DELIMITED.finditer(response))
    if found:
        return has_value(content(found[-1]))
    return "/" in number_of(stated_in_words(response))  # one third


_whole = load_extractor("whole")  # None for a refusal, an error message, and markup without text


def _answer(response: str) -> str | None:
    box = boxed(response)
    if box is not None:
        return _neighbour_boxes(response, box)
    last_box = response.rfind("\\boxed")
    if _whole(response) is None or (last_box >= 0 and is_refusal(response[last_box:])):
        return None
    response = without_remarks(response)
    found = _named_lines(response) or _unboxed(response)
    return with_polarity(response, found) if found else _in_words(response)


_BETWEEN_BOXES = re.compile(
    r"[\s$,;.]*(?:(?:and|or|und|et|y|\\text\{\s*(?:and|or)\s*\})\b)?[\s$,;\\()]*(?:[a-zA-Z]\w{0,2}\s*=\s*)?"
)
_LONGEST_BETWEEN = 80  # characters
_NAME_BEFORE = re.compile(r"([a-zA-Z]\w{0,2})\s*=\s*\$?$")


def _neighbour_boxes(response: str, last: str) -> str:
    r"""The last box with the boxes right before it: `x = \boxed{5}` and `y = \boxed{7}` are one answer."""
    ends = [found.start() for found in re.finditer(r"\\boxed(?![a-zA-Z])", response[-_SEARCHED:])]
    if len(ends) < 2:
        return last
    text, answers, at = response[-_SEARCHED:], [last], ends[-1]
    for start in reversed(ends[:-1]):
        box = boxed(text[:at])
        if box is None:
            break
        close = text.find(box, start) + len(box) + 1
        if not (start < close <= at < close + _LONGEST_BETWEEN and _BETWEEN_BOXES.fullmatch(text, close, at)):
            break
        answers.insert(0, box)
        at = start
    if len(answers) == 1 or any("," in answer for answer in answers):
        return last
    names = [_NAME_BEFORE.search(text, max(0, start - 12), start) for start in ends[-len(answers) :]]
    if all(names):
        answers = [f"{name[1]} = {answer}" for name, answer in zip(names, answers, strict=True) if name]
    return ", ".join(answers)


_LABEL = r"(?:part\s+)?\(?([a-h]|[ivx]{1,4}|\d)[).]\s+"
_NAMED_LINE = re.compile(
    rf"[*\s-]*(?:([a-zA-Z]\w{{0,2}})\s*=\s*|{_LABEL}|(?!Answer|Final|Result|Total)([A-Z][a-z]{{1,12}})\s*:\s*)(\S.*)"
)
_NEXT_LABEL = re.compile(r"(?<!part)[,;]?\s+(?:and\s+)?(?=(?:part\s+)?\((?:[a-h]|[ivx]{1,4}|\d)\)\s+\S)")
_VERB = r"(?:has|had|gets?|got|pays|paid|earns|earned|is|scores|scored|takes|took|needs|saves|ate|eats)"
_EACH = re.compile(
    rf"(?:[A-Z][a-z]+ {_VERB} [^,.\n]{{1,30}}(?:, and |, | and )){{1,4}}[A-Z][a-z]+ {_VERB} [^,\n]{{1,30}}\.?"
)
_MOST_LINES = 8


def _named_lines(response: str) -> str | None:
    """The values of a response whose lines all have a name or a number and mathematics: `x = 5` and `y = 6`."""
    lines = [line.strip() for line in response.strip().splitlines() if line.strip()]
    if len(lines) == 1 and len(response) <= LONGEST_WHOLE:
        if _EACH.fullmatch(lines[0]):
            return lines[0].rstrip(".")
        lines = _NEXT_LABEL.split(lines[0])
    if not 2 <= len(lines) <= _MOST_LINES or max(map(len, lines)) > LONGEST_WHOLE:
        return None
    found = [_NAMED_LINE.fullmatch(line) for line in lines]
    if not all(found):
        return None
    names = [next(filter(None, one.groups())) for one in found if one]
    values = [one[4].strip(" *.,;") for one in found if one]
    if len(set(names)) < len(names) or not all(is_mathematics(value) or _is_quantity(value) for value in values):
        return None
    if all(one[1] for one in found if one):
        return ", ".join(f"{name} = {value}" for name, value in zip(names, values, strict=True))
    return "; ".join(f"({name}) {value}" for name, value in zip(names, values, strict=True))


def _unboxed(response: str) -> str | None:
    text = response.strip()
    if is_mathematics(text):
        return text
    stated = _stated(response)
    if stated is not None:
        if found := _within(stated):
            return found
    elif _is_quantity(text):
        return text
    return last_mathematics(response[-_SEARCHED:]) or last_number(response)


def _in_words(response: str) -> str | None:
    """The answer of a response without digits: a number in words or an answer of a closed list."""
    text = response[-_SEARCHED:]
    stated = _stated(text)
    found = (stated and stated_in_words(stated)) or stated_in_words(text)
    number, at = number_of(found), text.lower().rfind(found)
    if not number or at < 0:
        return found or None
    return with_claims(text[:at] + number + text[at + len(found) :], at, at + len(number))


def _within(stated: str) -> str | None:
    """The mathematics in what a response states as its answer; all of it if it is unclear which number is meant."""
    reduced = _REASON.split(stated, maxsplit=1)[0]
    for text in (stated, reduced):
        if is_mathematics(text) or _is_quantity(text):
            return text
    if has_several_parts(reduced) and len(reduced) <= LONGEST_WHOLE:
        return reduced
    return last_mathematics(reduced)


def _is_quantity(text: str) -> bool:
    if not 0 < len(text) <= LONGEST_WHOLE or "\n" in text:
        return False
    reading = read(text)
    return bool(reading.exact or reading.real_set or reading.ratio or reading.numeral)


_MARKER = re.compile(
    r"####(?!#)|\b(?:answer|result|guess)(?:\*\*|__)?\s*[:=\uff1a]"
    r"|\banswer\b[^.\n:=?]{0,60}?\b(?:is|are|was|equals|=)(?:\s+(?:therefore|thus|simply))?\s*:?"
    r"|(?:答案|答え|正解|정답)\s*(?:[是为は은는]|[:\uff1a])+"
    r"|\b(?P<comma>respuesta|r[eé]ponse|antwort|resposta|risposta|ответ|उत्तर)\b"
    r"[^.\n:=?]{0,40}?(?:[:=\uff1a]|\b(?:es|est|ist|[eé]|è)\b)\s*:?",
    re.IGNORECASE,
)
_INVERTED = re.compile(r"(?:^|[.\n] ?)([^.\n]{1,80}?) is the answer\b")  # 42 is the answer to question 5
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(\d+),(?=(?:\d{1,2}|\d{4,30})(?![\d.,]))")  # in languages that write 3,5
_END = re.compile(r"\.\s|\.$|[\n\u3002]")
_ASIDE = re.compile(
    r"(?<=[\w$%)}\]\u00b0])(?:\s+\((?=[a-zA-Z])(?!mod\b|or\b|and\b|base\b|in\b)|,?\s+(?:but\s+|and\s+)?not\b"
    r"|,?\s+(?:instead\s+of|rather\s+than|unlike|as\s+opposed\s+to)\b"
    r"|,?\s+with\s+(?:[^\s,]+\s+){0,4}?(?:confidence|certainty|probability)\b)"
)
"""What follows the answer in its sentence, and is not the answer."""
_REASON = re.compile(
    r",?\s+(?:because|since|so that|which|where|as|porque|parce que|car|weil|perch[eé])\b"
    r"|[,;]\s+(?:so|since|because|which|hence|thus)\b|[,\uff0c]?\s*\u56e0\u4e3a",
    re.IGNORECASE,
)


def _stated(response: str) -> str | None:
    """The text after the last words that introduce an answer, up to the end of its sentence."""
    last = deque(_MARKER.finditer(response), maxlen=1)
    if not last:
        inverted = deque(_INVERTED.finditer(response), maxlen=1) if "the answer" in response else None
        return inverted[0][1] if inverted else None
    begin = last[0].end()
    line = response[begin : begin + 4 * LONGEST_WHOLE].lstrip(" \t\n*_:")
    end = _END.search(line)
    sentence = line[: end.start() if end else None]
    aside = _ASIDE.search(sentence)
    answer = sentence[: aside.start() if aside else None].strip().strip("*_`").strip()
    if last[0]["comma"] and "," in answer:
        answer = _DECIMAL_COMMA.sub(r"\1.", answer)
    return answer or None


find_answer = load_extractor(_answer)
_LONGEST_CACHED = 1000  # characters: a cache of longer responses would need too much memory


def extract_answer(response: str) -> str | None:
    """The answer in a response, without its reasoning; None if there is none."""
    return _cached_extract(response) if len(response) <= _LONGEST_CACHED else find_answer(response)


_cached_extract = lru_cache(maxsize=16384)(find_answer)  # `suits` and `extract` see the same responses

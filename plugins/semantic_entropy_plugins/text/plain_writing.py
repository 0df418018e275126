"""Writes an answer plainly: one line in NFKC, the signs of ASCII, digits for number words, no hedges.

3\u00bd cm\u00b2 -> 3 1/2 cm^2        5'10" -> 5 ft 10 in        I think it is two -> . it is 2
2-3 million -> 2000000 - 3000000        quarter to eight -> 7:45
"""

from __future__ import annotations

import re
import unicodedata

from semantic_entropy_plugins.quantities.number_words import with_digits, with_points
from semantic_entropy_plugins.quantities.spoken_times import with_clocks
from semantic_entropy_plugins.quantities.units import CURRENCY_SIGNS
from semantic_entropy_plugins.text.content_words import visible
from semantic_entropy_plugins.text.formulas import MATH_SYMBOLS
from semantic_entropy_plugins.text.word_lists import DENIALS, HEDGE, NO, YES

KEPT_SYMBOLS = CURRENCY_SIGNS[1:] + MATH_SYMBOLS + "\u2030\u00b0\u2260\u2264\u2265\u2248\u2192\u00d7\u00f7\u2032\u2033"
_FEET = re.compile(r"(?<=\d)\s?'\s?(\d{1,2}(?:\.\d+)?)\s?(?:\"|''|\b)")
_HALF = re.compile(r"(?:an?\s|one\s)?half", re.IGNORECASE)
_ACCIDENTAL = re.compile(r"\b([A-G])[\s-](flat|sharp)(?=\s*(?:$|[.,;]|m(?:aj|in)or\b))")  # `B flat` is one note
_LIST_MARK = re.compile(r"(?:^|\n)[ \t]{0,9}\d{1,2}([.)])\s{1,9}([^\W\d_]{0,9})")
_RANGE = re.compile(
    r"(?<![\w.,-])((?<=between )\d{1,3}(?:\.\d{1,9})? (?=and )|\d{1,3}(?:\.\d{1,9})?\s?(?=(?:-|to )))(and|-|to)"
    r"(?=\s?[$\u20ac\u00a3]?\d{1,3}(?:\.\d{1,9})?\s?(thousand|million|billion|trillion|bn|mn|tn|mio|[kKMB]|%|percent)(?!\w))"
)
_SCALED = re.compile(
    r"(?<![\w.,])(\d{1,3}(?:\.\d{1,3})?) "
    r"(?:(mill\u00f3n|millones|millions?(?= d)|millionen|milh(?:\u00f5es|\u00e3o)|milion[ei]|(?:mio|mln)\b\.?"
    r"|\u043c\u0438\u043b\u043b\u0438\u043e\u043d\w{0,3})"
    r"|(mil millones|milliarden?|milliards?|miliard[oi]|bilh(?:\u00f5es|\u00e3o)"
    r"|(?:mrd|mld|bn)\b\.?|\u043c\u0438\u043b\u043b\u0438\u0430\u0440\u0434\w{0,3})"
    r"|(billionen|billones)|(?:mil|mille|tausend|\u0442\u044b\u0441\u044f\u0447\w?))(?!\w)",
    re.IGNORECASE,
)
_LAST_BUT = re.compile(r"\b(?:second|next)[ -](?:to[ -])?last\b|\blast but one\b", re.IGNORECASE)
_LAST_ONE = re.compile(r"\b(last) one\b", re.IGNORECASE)  # as `the first one` is `the first`
_HYPHENATED = re.compile(r"(?<![\w-])(un|de|anti|counter|ex|semi|inter|intra)-(?=[^\W\d_]{4})", re.IGNORECASE)
_UP_TO = re.compile(r"\bup to(?= [$\u20ac\u00a3\d])", re.IGNORECASE)
_TINY_PARTS = {"tenth": "1/10", "hundredth": "1/100", "thousandth": "1/1000", "millionth": "1/1000000"}
_TINY = re.compile(rf"\ban? ({'|'.join(_TINY_PARTS)})(?= of\b|\s?(?:$|[.,;]))", re.IGNORECASE)
_ODDS = re.compile(r"\b(odds|ratio)(?: of)? (\d{1,4})[ -]to[ -](\d{1,4})\b", re.IGNORECASE)


def plain_writing(text: str) -> str:
    """The answer in plain writing. A line end becomes a semicolon, and the numbers of a numbered list are removed."""
    if _HALF.fullmatch(text.strip(" .")):
        return "1/2"
    lines = _without_list_marks(_plain_signs(text)).split("\n")
    line = " ; ".join([" ".join(part.split()) for part in lines])
    if any(map(str.isdigit, line)):
        line = _UP_TO.sub("at most", _RANGE.sub(r"\1 \3 \2 ", _SCALED.sub(_scaled, with_points(line))))
    line = _LAST_ONE.sub(r"\1", _HYPHENATED.sub(r"\1", line) if "-" in line else line)
    line = _TINY.sub(lambda part: _TINY_PARTS[part[1].lower()], _LAST_BUT.sub("penultimate", line))
    plain_text = _ODDS.sub(r"\1 \2-\3", with_digits(with_clocks(line)))
    return _answer_alone(DENIALS.sub("not", plain_text))


def _scaled(number: re.Match[str]) -> str:
    """`3.5 Millionen` and `3.5 Mio.` as `3.5 million`."""
    digits, million, billion, trillion = number.groups()
    scale = "million" if million else "billion" if billion else "trillion" if trillion else "thousand"
    return f"{digits} {scale}"


def _without_list_marks(text: str) -> str:
    """The text without the numbers of its list. One number with a point is no list: `1. Weltkrieg` is an ordinal."""
    marks = _LIST_MARK.findall(text)
    if len(marks) == 1 and marks[0][0] == "." and marks[0][1].lower() not in YES | NO:
        return text
    return _LIST_MARK.sub(r"\n\2", text) if marks else text


def _answer_alone(text: str) -> str:
    """The text without phrases that say how sure the speaker is, unless they are the whole text."""
    if not HEDGE.search(text):
        return text
    alone = HEDGE.sub(" . ", text)
    return alone if any(map(str.isalnum, alone)) else text


class _PlainSigns(dict[int, str]):
    """A table for `str.translate`: every dash, quotation mark and digit becomes the ASCII one; other symbols spaces."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        if category == "Nd":
            plain_char = str(unicodedata.decimal(char))
        elif char in KEPT_SYMBOLS or category[0] in "LMN" or code < 128:
            plain_char = char
        elif category == "Pd" or char == "\u2212":
            plain_char = "-"
        else:
            plain_char = _MARKS_OF_SENTENCES.get(char, " ")
        return self.setdefault(code, plain_char)


_MARKS_OF_SENTENCES = {
    **dict.fromkeys("\u3002\u0964\u06d4\uff61\u2026", "."),
    **dict.fromkeys("\u3001\u060c", ","),
    **dict.fromkeys("\u061b", ";"),
    **dict.fromkeys("\u061f\u00bf\u00a1", "?"),
    **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d\u300e\u300f", '"'),
    **dict.fromkeys("\u2018\u2019\u201b\u02bc", "'"),
}
_PLAIN_SIGNS = _PlainSigns()
_SUPERSCRIPTS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b", "0123456789+-"
)
_RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207a\u207b]+")
_TIME_AFTER_DATE = re.compile(r"(?<=\d{4}-\d\d-\d\d)T(?=\d\d:\d\d)")
_THIN_SPACE = re.compile(r"(?<=\d)[\u00a0\u202f\u2009](?=\d{3}(?!\d))")  # 1 000 000
_VULGAR = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")


def _plain_signs(text: str) -> str:
    """The text in NFKC, with the signs of ASCII where there is one: `3\u00bd` -> `3 1/2`, `cm\u00b2` -> `cm^2`."""
    if not text.isascii():
        text = visible(text).replace("\u266d", "flat").replace("\u266f", "#")
        text = _RAISED.sub(_raised, _VULGAR.sub(" ", _THIN_SPACE.sub("", text)))
        text = (
            unicodedata.normalize("NFKC", text.replace("\u2026", " . ")).replace("\u2044", "/").translate(_PLAIN_SIGNS)
        )
    text = _TIME_AFTER_DATE.sub(" ", text) if "T" in text else text
    text = _ACCIDENTAL.sub(lambda note: note[1] + ("flat" if note[2] == "flat" else "#"), text)
    return _FEET.sub(r" ft \1 in ", text) if "'" in text else text


def _raised(digits: re.Match[str]) -> str:
    exponent = digits[0].translate(_SUPERSCRIPTS)
    return exponent if exponent[-1] in "+-" else "^" + exponent  # Ca2+ is an ion

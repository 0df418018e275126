"""Replaces number words in a text by digits.

    two hundred and five -> 205      nineteenth -> 19        minus five -> -5        two-thirds -> 2/3
    1.5 million -> 1500000           a dozen -> 12           two point five -> 2.5   nineteen forty-five -> 1945

English only, except for numbers in Chinese characters (`from_chinese`). An ordinal becomes the number itself, because
`June third` and `June 3` are the same date. Two numbers below 100 that follow each other without a comma are read as a
year, as in speech (`nineteen forty-five`). `with_points` reads decimal commas.
Not supported: other languages, and other fractions (`two and a quarter`).
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from semantic_entropy_plugins.quantities.units import CURRENCY_SIGNS

_SMALL = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split()
    )
}
_TENS = {word: 10 * (i + 2) for i, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split())}
SCALE_WORDS = {
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "quadrillion": 10**15,
    "dozen": 12,
}
_IRREGULAR = {
    "first": "one",
    "second": "two",
    "third": "three",
    "fifth": "five",
    "eighth": "eight",
    "ninth": "nine",
    "twelfth": "twelve",
}
_ORDINALS = _IRREGULAR | {
    (f"{word[:-1]}ieth" if word.endswith("y") else f"{word}th"): word
    for word in (*_SMALL, *_TENS, *SCALE_WORDS)
    if word not in _IRREGULAR.values() and word not in ("zero", "dozen")
}
_PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4} | {
    word + "s" * plural: value
    for word, value in zip("fourth fifth sixth seventh eighth ninth tenth".split(), range(4, 11), strict=True)
    for plural in (0, 1)
}
_WORDS = "|".join(sorted((*_SMALL, *_TENS, *SCALE_WORDS, *_ORDINALS), key=len, reverse=True))
_SCALE_WORDS = "|".join(SCALE_WORDS)
_DIGITS = r"\d[\d,]{0,30}(?:\.\d{1,30})?"
_RUN = re.compile(
    rf"(?<![\w.,-])(?:(?:minus|negative)\s+)?(?:(?:half\s+)?an?\s+(?=(?:{_SCALE_WORDS})\b)|{_DIGITS}[\s-]+(?=(?:{_SCALE_WORDS})\b))?"
    rf"(?:{_WORDS})"
    rf"(?:(?:[\s-]+|\s+and\s+)(?:{_WORDS})|\s+and\s+a\s+half|\s+point(?=\s+(?:{'|'.join(_SMALL)})\b))*"
    rf"(?:[\s-]+(?:{'|'.join(sorted(_PARTS, key=len, reverse=True))}))?(?!\w)"
    rf"|(?<![\w.,-])(?:minus|negative)\s+(?=[{CURRENCY_SIGNS}]?\d)"
)
_AFTER_AND = frozenset((*_SMALL, *_TENS, *_ORDINALS))
_VOCABULARY = frozenset((*_SMALL, *_TENS, *SCALE_WORDS, *_ORDINALS, "minus", "negative"))
_A_SECOND = re.compile(r"\ba\ssecond(?=\s*(?:$|[.,;!?)]|ago\b|later\b))")  # a time, not an ordinal
_LETTERS = re.compile(r"[a-z]+")


_DECIMAL_COMMA = re.compile(
    r"(?<![\w.,(\[{])(?:(?P<zero>0)|(?P<whole>\d{1,3}(?:\.\d{3}){0,6})),(?P<part>(?(zero)\d{1,30}|\d{1,2}))(?![\d,]|-[A-Za-z])"
)


def with_points(text: str) -> str:
    """The text with a decimal point for each decimal comma: `0,125` -> 0.125, `3,5` -> 3.5, `1.500,25` -> 1500.25.

    A comma is decimal after a zero, or before one or two digits. Three digits after another number are thousands
    (`1,500`). Several commas, brackets and locants (`2,2-dimethyl`) are lists.
    """
    return _DECIMAL_COMMA.sub(_with_point, text) if "," in text else text


def _with_point(number: re.Match[str]) -> str:
    return f"{(number['zero'] or number['whole']).replace('.', '')}.{number['part']}"


def with_digits(text: str) -> str:
    """The text with digits for its English number words. The rest of the text does not change."""
    lowered = lower(text)
    if _VOCABULARY.isdisjoint(_LETTERS.findall(lowered)):
        return text
    parts: list[str] = []
    end = 0
    for run in _RUN.finditer(lowered):
        if run[0] == "second" and lowered.endswith("per ", 0, run.start()):
            continue  # `metres per second`
        is_time = run[0] == "second" and _A_SECOND.match(lowered, max(0, run.start() - 2))
        parts += text[end : run.start()], "1 second" if is_time else _rewritten(run[0])
        end = run.end()
    return "".join((*parts, text[end:]))


def lower(text: str) -> str:
    """The text in lower case, with every character at its old position (`str.lower` makes two characters of one I)."""
    return text.replace("\u0130", "i").lower()


def _rewritten(run: str) -> str:
    words = re.split(r"[\s-]+", run.strip())
    sign = ""
    if words[0] in ("minus", "negative"):
        sign, words = "-", words[1:]
        if not words:
            return sign  # before digits: `minus 5`
    if words[0] == "half":  # `half a million`
        return plain(_number(["one", *words[2:]], 0)[0] / 2)
    if words[0] in ("a", "an"):
        words[0] = "one"
    return sign + " ".join(_numbers(words))


def _numbers(words: list[str]) -> list[str]:
    out: list[str] = []
    at = 0
    while at < len(words):
        value, used = _number(words, at)
        following = words[at + used] if at + used < len(words) else ""
        if not used:
            out.append(words[at])
            used = 1
        elif following in _PARTS and _is_part(value, used, following):
            out.append(f"{value}/{_PARTS[following]}")
            used += 1
        elif 11 <= value <= 20 and used == 1 and 10 <= (tail := _number(words, at + 1))[0] <= 99:
            out.append(plain(value * 100 + tail[0]))
            used += tail[1]
        else:
            out.append(plain(value))
            if following == "second":  # `one second` is a time
                out.append(following)
                used += 1
            elif following == "one" and words[at + used - 1] in _ORDINALS and at + used + 1 == len(words):
                used += 1  # `the first one` is the first
        at += used
    return out


def _is_part(value: Fraction, used: int, word: str) -> bool:
    """Whether `one third` or `two thirds` is a fraction: one takes the singular, other numbers take the plural."""
    return used == 1 and value.denominator == 1 and (value == 1) == (word[-1] != "s")


def _number(words: list[str], start: int) -> tuple[Fraction, int]:  # noqa: C901 - one branch for each kind of word
    """The number that begins at `start`, and the count of its words; 0 words: no number begins here."""
    total = current = Fraction(0)
    last = 10**18  # the size of the previous word: sizes decrease in a number (`twenty two`, not `two twenty`)
    at = start
    while at < len(words):
        word = _ORDINALS.get(words[at], words[at])
        value = _SMALL.get(word)
        if at == start and word[0].isdigit():
            current, last = Fraction(with_points(word).replace(",", "")), 1000
        elif value is not None and last > 19 and (last >= 100 or value < 10):
            current, last = current + value, max(9, value)
        elif word in _TENS and last >= 100:
            current, last = current + _TENS[word], 20
        elif word in ("hundred", "dozen") and 0 < current < (100 if word == "hundred" else 1000) and last < 10**4:
            current, last = current * SCALE_WORDS[word], 100
        elif word in SCALE_WORDS and current and word not in ("hundred", "dozen"):
            total, current, last = total + current * SCALE_WORDS[word], Fraction(0), 1000
        elif word == "and" and at > start and words[at + 1 : at + 3] == ["a", "half"]:
            current, at = current + Fraction(1, 2), at + 2
        elif word == "and" and at > start and last >= 100 and words[at + 1] in _AFTER_AND:
            pass
        elif word == "point" and at > start:
            decimals, at = _decimals(words, at + 1)
            current += decimals
            continue
        else:
            break
        at += 1
        if words[at - 1] in _ORDINALS:
            break  # an ordinal ends its number
    return total + current, at - start


def _decimals(words: list[str], at: int) -> tuple[Fraction, int]:
    digits = ""
    while at < len(words) and _SMALL.get(words[at], 10) < 10:
        digits += str(_SMALL[words[at]])
        at += 1
    return Fraction(f"0.{digits or 0}"), at


def plain(value: Fraction) -> str:
    """The shortest exact text of a number: an integer, a decimal, or a fraction such as `1/3`."""
    if value.denominator == 1:
        return str(value.numerator)
    places = 0
    denominator = value.denominator
    while denominator % 10 == 0 or denominator % 5 == 0 or denominator % 2 == 0:
        denominator = denominator // (10 if denominator % 10 == 0 else 5 if denominator % 5 == 0 else 2)
        places += 1
    if denominator > 1:
        return str(value)
    digits = f"{abs(value) * 10**places}".rjust(places + 1, "0")
    return f"{'-' * (value < 0)}{digits[:-places]}.{digits[-places:]}".rstrip("0")


_LONGEST_CHINESE = 20  # characters of a number; a longer run is something else


def from_chinese(text: str) -> int | None:
    """The value of a whole number in Chinese characters, such as 二十 (20) or 一九四五 (1945); None: it is none."""
    values = [unicodedata.numeric(char, -1) for char in text[: _LONGEST_CHINESE + 1]]
    if not 0 < len(values) <= _LONGEST_CHINESE or min(values) < 0 or any(value % 1 for value in values):
        return None
    numbers = [int(value) for value in values]
    if all(number < 10 for number in numbers):
        return int("".join(map(str, numbers)))
    total = section = digit = 0
    for number in numbers:
        if number < 10:
            digit = number
        elif number < 10**4:
            section, digit = section + (digit or 1) * number, 0
        else:
            total, section, digit = total + (section + digit) * number, 0, 0
    return total + section + digit

"""From a text to its content words, in any script.

In every script, the text is normalised (NFKC) and case-folded. A token is a word, or a character if the script has no
spaces between words. Accents are removed from Latin, Greek and Cyrillic letters, because there they mark variants of
spelling. In other scripts the marks stay, because there they can be vowels. Thousands commas and trailing zeros are
removed from numbers. English number words become digits, and digits of every script become 0 to 9.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from semantic_entropy_plugins.quantities.number_words import with_digits

_THOUSANDS = re.compile(r"(?<=\d)(?<!(?<!\d)0),(?=\d{3}(?!\d))")
_POSSESSIVE = re.compile(r"(?<=[^\W\d_])['\u2019](?:s\b)?")
_INITIALS = re.compile(r"\b([^\W\d_])\.\s?(?=[^\W\d_]\b)")
_BARE_POINT = re.compile(r"(?<![\w.])\.(?=\d)")
_LOOSE_POINT = re.compile(r"(?<!\d)\.|\.(?!\d)")
_MINUS, _OVER = "\ue000", "\ue001"  # private characters: a minus sign and a fraction bar inside a number
_SIGN = re.compile(r"(?<![\w.)\]])[-\u2212](?=\.?\d)")
_FRACTION = re.compile(r"(?<![\d/.])(\d+)[/\u2044](\d+)(?![\d/.])")
_SYMBOL_NAMES = (("++", "plusplus"), ("#", "sharp"))  # C, C++ and C# differ only in the symbols
_NAMED_SYMBOL = re.compile(r"(?<=[^\W\d_])(?:\+\+|#)(?!\w)")
_WORD = re.compile(
    r"\ue000?\d+(?:\.\d+)?(?:\ue001\d+)?"
    r"|[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f]"  # scripts without spaces: one character each
    r"|[^\d\s\ue000\ue001\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f]+"
)
_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_MARK_RUN = re.compile(f"([{_MARKS}]{{30}})[{_MARKS}]+")  # 30: the limit of Unicode's stream-safe format

_NEVER_SEEN = re.compile(  # Default_Ignorable_Code_Point of Unicode, except spaces and joiners of no width
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
_NO_WIDTH = re.compile(  # a run is read from its first character only: else a long run takes quadratic time
    "(?<=[\x00-\x7f])[\u200b-\u200d]+|(?<![\u200b-\u200d])[\u200b-\u200d]+(?=[\x00-\x7f])"
)


def visible(text: str) -> str:
    """The text without characters that nobody sees: `18\u200b15` is 1815.

    Between letters of other scripts, a space or a joiner of no width stays: in Persian or Khmer it can part two words.
    """
    return text if text.isascii() else _NO_WIDTH.sub("", _NEVER_SEEN.sub("", text))


class _Separators(dict[int, str]):
    """A table for `str.translate`: punctuation, symbols and control characters become spaces; marks (vowels) stay."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        kept = char in "." + _MINUS + _OVER or unicodedata.category(char)[0] in "LMN"
        return self.setdefault(code, char if kept else " ")


_SEPARATORS = _Separators()

_ORDINAL_ENDINGS = frozenset(("st", "nd", "rd", "th"))


def tokens(text: str) -> tuple[str, ...]:
    """All words and numbers of the text, in order and folded."""
    return _cached_tokens(text) if len(text) <= LONGEST_CACHED else _tokens(text)


LONGEST_CACHED = 1000  # characters: a cache of longer texts would need too much memory


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_words(with_digits(fold(text))))


_cached_tokens = lru_cache(maxsize=16384)(_tokens)


def fold(text: str) -> str:
    """The text in NFKC and case-folded, without the accents of Latin, Greek and Cyrillic letters."""
    if text.isascii():
        return text.casefold()
    text = unicodedata.normalize("NFKC", _MARK_RUN.sub(r"\1", visible(text))).casefold()
    kept, loses_marks = [], False
    for char in unicodedata.normalize("NFD", text):
        if not unicodedata.combining(char):
            loses_marks = char < _ARMENIAN
        elif loses_marks or char in _OPTIONAL_MARKS:
            continue
        kept.append(char)
    return unicodedata.normalize("NFC", "".join(kept).translate(_PLAIN_LETTERS))


def without_apostrophe(word: str) -> tuple[str, bool]:
    """A folded word without its contraction or possessive, and whether it has `n't`: `can't` -> (`can`, True)."""
    if "'" not in word:
        return word, False
    if word.endswith("n't"):
        return {"ca": "can", "wo": "will", "sha": "shall"}.get(word[:-3], word[:-3]), True
    if word.endswith(("'s", "'re", "'m", "'ve", "'ll", "'d")):
        return word[: word.rindex("'")], False
    return word.replace("'", ""), False


_ARMENIAN = "\u0530"  # the first script after Latin, Greek and Cyrillic
_OPTIONAL_MARKS = frozenset(
    map(chr, (*range(0x591, 0x5BE), *range(0x64B, 0x656), 0x670))
)  # vowels of Hebrew and Arabic


class _PlainLetters(dict[int, str]):
    """A table for `str.translate`: letters with a stroke that Unicode does not decompose, and decimal digits."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        decimal = unicodedata.decimal(char, None)
        return self.setdefault(code, char if decimal is None else str(decimal))


_PLAIN_LETTERS = _PlainLetters(
    {
        **{ord(letter): plain for letter, plain in zip("łøđðħŧıŋĸɓɗƙɛɔ", "loddhtinkbdkeo", strict=True)},
        ord("æ"): "ae",
        ord("œ"): "oe",
        ord("þ"): "th",
        ord("ĳ"): "ij",
        # Arabic: the forms of alef, of yeh, and the filler of lines
        0x623: "\u0627",
        0x625: "\u0627",
        0x622: "\u0627",
        0x649: "\u064a",
        0x640: "",
    }
)


def _words(text: str) -> list[str]:
    text = _INITIALS.sub(r"\1", _POSSESSIVE.sub("", _THOUSANDS.sub("", text)))
    text = _FRACTION.sub(rf"\1{_OVER}\2", _SIGN.sub(f" {_MINUS}", _BARE_POINT.sub("0.", text)))
    text = _NAMED_SYMBOL.sub(lambda symbol: dict(_SYMBOL_NAMES)[symbol.group()], text)
    text = _LOOSE_POINT.sub(" ", text.translate(_SEPARATORS))
    words: list[str] = []
    for word in _WORD.findall(text):
        if word[0].isdigit() or word[0] == _MINUS:
            words.append(_canonical_number(word))
        elif not (word in _ORDINAL_ENDINGS and words and words[-1].isdigit()):
            words.append(word)
    return words


def _canonical_number(digits: str) -> str:
    if digits[0] == _MINUS:
        return "-" + _canonical_number(digits[1:])
    if _OVER in digits:
        return digits.replace(_OVER, "/")
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return digits.lstrip("0") if digits[0] == "0" and digits.lstrip("0")[:1].isdigit() else digits

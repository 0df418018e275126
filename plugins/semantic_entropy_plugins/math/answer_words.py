"""Reads the words of an answer: names and labels, number words, qualifiers before a number, and prose with numbers."""

from __future__ import annotations

import re

from semantic_entropy_plugins.math.writing import plain_words
from semantic_entropy_plugins.quantities.measures import is_qualifier
from semantic_entropy_plugins.quantities.number_words import from_chinese, with_digits

FUNCTIONS = frozenset("sin cos tan cot sec csc log ln exp det gcd lcm max min mod lim dim pi inf infty deg".split())
_WORDLIKE = re.compile(r"\(?[^\W\d_](?:[^\W\d_]|[ '.,&/()-])*")
_PRODUCT = re.compile(r"[abcdxyz]{2,3}|[b-df-hj-np-tv-z]{2,3}")
_ANGLE = re.compile(r"\\angle\s*\{?\s*([A-Z]{3})\s*\}?")
_FORMULA = re.compile(r"(?:[A-Z][a-z]?(?:_?\{?\d{1,3}\}?)?){2,20}")


def words_of(cleaned: str) -> str:
    """The words, in lower case, of an answer that consists of words, is an angle or a chemical formula; else ""."""
    if angle := _ANGLE.fullmatch(cleaned):
        return "angle " + min(angle[1], angle[1][::-1])
    if _FORMULA.fullmatch(cleaned) and any(map(str.isdigit, cleaned)):  # H_2O
        return re.sub("[_{}]", "", cleaned)
    if "\\" in cleaned and not cleaned.startswith(("\\text", "\\mathrm")):
        return ""
    plain = " ".join(plain_words(cleaned).split())
    if not _WORDLIKE.fullmatch(plain) or is_product(cleaned):
        return ""
    runs = re.findall(r"[^\W\d_]+", plain)
    if not any(len(run) > 1 for run in runs) or not FUNCTIONS.isdisjoint(runs):
        return ""
    return plain.casefold().strip(" .,")


def is_product(text: str) -> bool:
    r"""Whether letters are a product of variables, as in `xy`. `ABCD`, `no` and everything in `\text{}` are words."""
    return _PRODUCT.fullmatch(text) is not None


_CARDINAL = re.compile(r"-?\d{1,30}(?:[./]\d{1,30})?")
_ORDINAL_END = ("th", "st", "first", "second", "third")


def number_of(words: str) -> str:
    """The digits of a cardinal number in words (`twelve`, Chinese characters); else ""."""
    number = from_chinese(words)
    digits = with_digits(words) if number is None else str(number)
    return digits if _CARDINAL.fullmatch(digits) and not words.endswith(_ORDINAL_END) else ""


_BOUNDS = re.compile(r"(?:at (?:least|most)|no (?:more|less|fewer) than|up to)(?: \w+)?", re.IGNORECASE)
_LINKS = frozenset("of by a an the about approximately around than is are was were only exactly total".split())


def is_qualifying(words: str) -> bool:
    """Whether words before a number say a direction: `a loss of`, `less than`, `at least`."""
    if _BOUNDS.fullmatch(" ".join(words.split())):
        return True
    rest = [word for word in words.lower().split() if word not in _LINKS]
    return bool(rest) and (all(map(is_qualifier, rest)) or (len(rest) == 1 and words.lower().endswith((" of", " by"))))


_PROSE_WORD = re.compile(r"(?<![\\\w])[^\W\d_]{2,}")
_TEXT_PART = re.compile(r"\\(?:text|mathrm|operatorname|mbox)\s*\{[^{}]*\}|\\(?:begin|end)\s*\{[^{}]*\}|_\{[^{}]*\}")


def prose_of(cleaned: str) -> str:
    """Words with mathematics between them: `between 3 and 5`, `1 out of 6`. Only the same words mean the same.

    "" if the answer is no prose.
    """
    if "=" in cleaned or not re.search(r"\d", cleaned):
        return ""
    words = _PROSE_WORD.findall(_TEXT_PART.sub(" ", cleaned))
    if not any(word not in FUNCTIONS and word not in ("and", "or") and not is_product(word) for word in words):
        return ""
    return " ".join(cleaned.casefold().split())

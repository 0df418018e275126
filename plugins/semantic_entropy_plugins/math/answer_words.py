"""Reads the words of an answer: names, labels, number words, prose, and what stands before and after a number."""

from __future__ import annotations

import re

from semantic_entropy_plugins.math.claims import is_claim
from semantic_entropy_plugins.math.writing import plain_words
from semantic_entropy_plugins.quantities.measures import is_qualifier
from semantic_entropy_plugins.quantities.number_words import from_chinese, with_digits
from semantic_entropy_plugins.quantities.units import CURRENCY_SIGNS, named_unit

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
    if is_product(cleaned) or ("\\" in cleaned and not cleaned.startswith(("\\text", "\\mathrm"))):
        return ""
    plain = " ".join(plain_words(cleaned).split())
    runs = re.findall(r"[^\W\d_]+", plain) if _WORDLIKE.fullmatch(plain) else []
    if not any(len(run) > 1 for run in runs) or not FUNCTIONS.isdisjoint(runs):
        return ""
    if len(set(plain.casefold())) == 1:
        return plain  # Aa, AA
    return plain.casefold().strip(" .,")


def is_product(text: str) -> bool:
    r"""Whether letters are a product of variables, as in `xy`. `ABCD`, `no` and everything in `\text{}` are words."""
    return _PRODUCT.fullmatch(text) is not None


_CARDINAL = re.compile(r"-?\d{1,30}(?:[./]\d{1,30})?")
_PARTS = "third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth"
_SHARE = re.compile(rf"^(?:an?\s+)?(?=half$)|^an?\s+(?=(?:{_PARTS})$)")
_ORDINAL_END = ("th", "st", "first", "second", "third")


def number_of(words: str) -> str:
    """The digits of a cardinal number in words (`twelve`, Chinese characters); else ""."""
    number = from_chinese(words)
    digits = with_digits(_SHARE.sub("one ", words)) if number is None else str(number)
    return digits if _CARDINAL.fullmatch(digits) and ("/" in digits or not words.endswith(_ORDINAL_END)) else ""


_BOUNDS = re.compile(r"(?:at (?:least|most)|no (?:more|less|fewer) than|up to)(?: \w+)?", re.IGNORECASE)
_OPERATIONS = frozenset("half third quarter root square cube reciprocal negative double twice inverse".split())
_ERAS = frozenset(("BC", "AD", "CE"))
_CONTESTS = frozenset("win wins won lead leads led lose loses lost".split())
_LINKS = frozenset("of by a an the about approximately around than is are was were only exactly total".split())


def is_qualifying(words: str) -> bool:
    """Whether words before a number say a direction: `a loss of`, `less than`, `at least`."""
    if _BOUNDS.fullmatch(" ".join(words.split())):
        return True
    rest = [word for word in words.split() if word.lower() not in _LINKS]
    if len(rest) > 1 and not _ERAS.isdisjoint(rest):  # the length of BC is
        return False
    if not rest or not _OPERATIONS.isdisjoint(map(str.lower, rest)):
        return False
    if all(is_qualifier(word) or is_claim(word) for word in rest):
        return True
    named = len(rest) == 2 and rest[0].istitle() and rest[1].lower() in _CONTESTS  # Tom wins by 5
    return (len(rest) == 1 or named) and words.lower().endswith((" of", " by"))


_PROSE_WORD = re.compile(r"(?<![\\\w])[^\W\d_]{2,}")
_TEXT_PART = re.compile(r"\\(?:text|mathrm|operatorname|mbox)\s*\{[^{}]*\}|\\(?:begin|end)\s*\{[^{}]*\}|_\{[^{}]*\}")


_WHERE = re.compile(r"\d[^=]*\b(?:at|when|if|for)\s+[a-zA-Z]\s*=")


def prose_of(cleaned: str) -> str:
    """Words with mathematics between them: `between 3 and 5`, `1 out of 6`. Only the same words mean the same.

    "" if the answer is no prose.
    """
    if ("=" in cleaned and not _WHERE.search(cleaned)) or not re.search(r"\d", cleaned):
        return ""
    words = _PROSE_WORD.findall(_TEXT_PART.sub(" ", cleaned))
    if not any(word not in FUNCTIONS and word not in ("and", "or") and not is_product(word) for word in words):
        return ""
    return " ".join(cleaned.casefold().split())


_SUFFIX = re.compile(
    r"(?:[^\W\d_]|[ .,'\"\u2032\u2033\u00b0\u2103\u2109/*^()%$-]|(?<=[\w^(])\d|(?<=[\w^(]-)\d"
    f"|[{re.escape(CURRENCY_SIGNS)}])*"
)


def is_suffix(suffix: str, *, after_number: bool = True, glued: bool = False, currency: bool = False) -> bool:
    """Whether the text after a number is a unit or words, and not algebra such as the x in 5x."""
    plain = plain_words(suffix)
    if len(plain) > _LONGEST_SUFFIX or not _SUFFIX.fullmatch(plain):
        return False
    found = _FIRST_WORD.match(plain)
    assert found is not None  # both parts may be empty
    if not plain.strip() or "\\text" in suffix[:8] or "\\mathrm" in suffix[:10] or not after_number:
        return True
    return _begins_unit(found[1], found[2] or "", plain.strip(), glued=glued, currency=currency)


def _begins_unit(joint: str, word: str, plain: str, *, glued: bool, currency: bool) -> bool:
    if not word:
        return plain in _MARKS or plain[:1] in "\u00b0\u2103\u2109%$" + CURRENCY_SIGNS
    if "^" in joint:
        return False
    if len(word) > 1 or not word.isascii():
        is_known = named_unit(word) is not None or word.lower() in _SHORT_WORDS
        return is_known or not (word in FUNCTIONS or is_product(word))
    if glued and not joint and plain == word:
        return word in "kKMB" or (currency and word in "mbT")
    return named_unit(word) is not None and (bool(joint) or "/" in plain)


_FIRST_WORD = re.compile(r"([ *^/(-]*)([^\W\d_]+)?")
_LONGEST_SUFFIX = 80
_SHORT_WORDS = frozenset(
    "am pm sq cu bc bce ad ce in of by at as to is on per mph bn mn tn ft nd st th rs yd yrs hrs mln".split()
)
_MARKS = ("'", "''", '"')


_VERBAL = {
    "does not exist": r"(?:does not|doesn't|do not|don't) exist|d\.?n\.?e\b|no limit",
    "no real solution": "no real (?:solutions?|roots?)",
    "no solution": "no solutions?",
    "infinitely many": "infinitely many(?: solutions)?|(?:an )?infinite (?:number of )?solutions",
    "undefined": "undefined|not defined",
    "-\\infty": "(?:negative|minus) infinity",
    "\\infty": "(?:positive |plus )?infinity",
    "diverges": "diverges|divergent|(?:does not|doesn't) converge",
    "converges": "converges|convergent",
}
_VERBAL_ANSWER = re.compile("|".join(f"({pattern})" for pattern in _VERBAL.values()))
_VERBAL_END = re.compile(rf"\b(?:{_VERBAL_ANSWER.pattern})\W*$")
_YES_OR_NO = re.compile(r"\W*(yes|no|true|false)(?=[\s*]*(?:[,.;:!]|$))")
_NEGATED = re.compile(r"(?:\bnot|n't)\s+(?:be\s+)?$")
_LAST_SENTENCE = re.compile(r"[.!?\n]\s+")
_IS = re.compile(
    r"\b(?:is|are|was|were|equals?)\s+(?:about|approximately|exactly|only|just|equal to)?\s*([a-z][a-z -]{2,80})$"
)


def verbal_answer(words: str) -> str:
    """The one writing of an answer in words that a closed list contains (`DNE` is `does not exist`); else ""."""
    plain = words.removeprefix("there is ").removeprefix("there are ").strip(" .")
    found = _VERBAL_ANSWER.fullmatch(plain)
    return tuple(_VERBAL)[(found.lastindex or 1) - 1] if found else ""


def stated_in_words(text: str) -> str:
    """The answer at the end of a text without mathematics: a number, a word of the closed list; else yes or no."""
    plain = text.replace("\u2019", "'").strip().strip("*_`$ .!").casefold()
    sentence = _LAST_SENTENCE.split(plain)[-1]
    found = _IS.search(sentence)
    number = found[1] if found else sentence
    if number_of(number):
        return number
    if last := _VERBAL_END.search(sentence):
        verbal = tuple(_VERBAL)[(last.lastindex or 1) - 1]
        return f"not {verbal}" if _NEGATED.search(sentence, 0, last.start()) else verbal
    yes = _YES_OR_NO.match(plain)
    return yes[1] if yes else ""


_LEFT = r"(?:left[\s-]?over|leftovers?|left|remaining|extra)"
_DIVISION = re.compile(
    r"(\d{1,12})(?: [^\W\d_]+)?(?: ?R ?|,? (?:with |and )?(?:a )?(?:remainder|rem\.?) (?:of )?)(\d{1,12})"
    rf"|(\d{{1,12}})(?: [^\W\d_]+)?,? (?:and|with) (\d{{1,12}})(?: [^\W\d_]+)?(?: (?:is|are|was|were))? {_LEFT}"
)


def quotient_and_remainder(cleaned: str) -> tuple[str, str] | None:
    """The quotient and the remainder of `7 R 3`, `7 candies, and 3 are left over`; None: another text."""
    found = _DIVISION.fullmatch(" ".join(plain_words(cleaned).split())) if cleaned[:1].isdigit() else None
    return (found[1] or found[3], found[2] or found[4]) if found else None

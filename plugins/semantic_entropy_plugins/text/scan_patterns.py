r"""What `answer_facts` recognises in an answer, in one regular expression. Every repetition is bounded.

zone      UTC, GMT+1, EST and +02:00 after a time
plain     a word of ASCII letters, which no other rule can match     formula   f(x), O(n^2), x^2
end       the end of a clause or of an item                         ion       Na+, Ca2+, the grade A-
clock     8:30, 8 PM                                                initials  J.K., J. K. before a name
code      H2O, B12, F-16                                            relation  <, <=, !=, ->
number    -5, 1,000.5, 3/4, -$1.5M, 1e-9                                  operator  + - * / :
run       Chinese and Japanese characters                           word      any other word, also with apostrophes
"""

from __future__ import annotations

import re

from semantic_entropy_plugins.quantities.units import CURRENCY_CODES, CURRENCY_SIGNS, DOLLARS
from semantic_entropy_plugins.text.plain_writing import KEPT_SYMBOLS
from semantic_entropy_plugins.text.unspaced_scripts import UNSPACED
from semantic_entropy_plugins.text.word_lists import FIRST_PERSON, NUMBERED, PARTS_OF_DATES, STOP_WORDS

_LETTER = rf"(?:[A-Za-z]|[^\x00-\x7f{KEPT_SYMBOLS}{UNSPACED}])"
_CURRENCY = rf"{DOLLARS}?\$|[{CURRENCY_SIGNS[1:]}]|\b(?:{CURRENCY_CODES})\b\.?"
_DIGITS = (
    r"\d{1,3}(?:,\d{2,3}){0,6},\d{3}(?!\d)(?:\.\d{1,99})?"  # 1,000,000 and the Indian 10,00,000
    r"|\d{1,3}(?: \d{3}){2,6}(?!\d)|\d{1,3}(?:\.\d{3}){2,6}(?![\d.])"  # 1 000 000 and 1.000.000
    r"|(?:\d{1,99}(?:\.\d{1,99})?|\.\d{1,99})(?:[eE][-+]?\d{1,2}(?!\w))?"
)
_RULES = {
    "zone": (
        r"(?<!\w)(?:UTC|GMT)(?:\s?[-+]\s?\d{1,2}(?::?[0-5]\d)?)?(?![\w:])"
        r"|(?<=:\d\d)(?:Z|\s?[-+]\d\d:?[0-5]\d)(?!\w)|(?<=[\dmM.] )(?:[ECMP][SD]T|CES?T|[BIJ]ST|MSK)(?!\w)"
    ),
    "plain": rf"(?!(?:{CURRENCY_CODES})\.?\s?\d)[A-Za-z]{{2,}}(?=[\s,;!?]|\.?$)",
    "end": r"!(?!=)|[?;()\[\]{}\"|,]|\.(?!\d)",
    "clock": (
        r"(?<![\w.:])\d{1,2}(?:[:.][0-5]\d){0,2}\s?[AaPp]\.?\s?[Mm]\b\.?"
        r"|(?<![\w.:])(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d)?(?![\d:])"
    ),
    "code": (
        r"(?<![\w,.])\d{1,2}(?:,\d{1,2}){1,5}(?=-[A-Za-z])"  # 2,2-dimethylbutane
        r"|(?<!\w)(?:[A-Za-z]{1,2}\d{1,9}(?:[A-Za-z]{1,2}\d{1,9}){0,9}[A-Za-z]{0,2}"
        r"|[A-Z]{1,2}-\d{1,9})(?!\w|\^|\.\d)"
        r"|(?<![\w.])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}"
        r"|(?<![\w.])(?!\d{1,3}(?:\.\d{3}){2,6}(?![\d.]))[vV]?\d{1,9}(?:\.\d{1,9}){2,5}(?!\.?\w)"
    ),
    "formula": (
        r"(?<!\w)(?:[A-Za-z]'{0,3}|sin|cos|tan|cot|log|ln|exp|sqrt|max|min|gcd|lcm|det)"
        r"\([^()\s][^()]{0,40}(?:\([^()]{0,40}\)[^()]{0,40})?\)"
        r"|(?<![\w.])(?:\w|\d{1,9}(?:\.\d{1,9})?)(?:\^\{?[-+]?\w{1,20}\}?){1,4}"
    ),
    "ion": r"(?<![\w+-])[A-Za-z][A-Za-z\d]{0,2}(?:\d?[+]{1,2}|\d?-(?![\w-]))(?!\w)",
    "initials": (
        r"(?<![\w'])(?:[^\W\d_]\.){1,8}[^\W\d_](?![\w'])\.?|(?<![\w'])(?:[A-Z]\.\s){1,4}[A-Z]\.?(?=\s[A-Z][a-z])"
    ),
    "number": (
        rf"(?P<currency>{_CURRENCY})?\s?(?P<sign>(?<![\w.)\]])[-+](?=(?:{_CURRENCY})?\s?[.\d]))?(?P<money>{_CURRENCY})?(?P<digits>{_DIGITS})"
        r"(?:(?<!\d{4})/(?P<below>\d{1,3})(?![\d/]))?(?P<scale>(?:bn|mn|tn|mio|[kKMBTmb])(?![\w/.]*\w))?"
    ),
    "relation": r"<=|>=|=>|->|!=|==|[<>=\u2260\u2264\u2265\u2248\u2192]",
    "operator": r"[-+*/\u00d7\u00f7:]",
    "run": f"[{UNSPACED}]+",
    "word": rf"#?{_LETTER}(?:{_LETTER}|'(?={_LETTER}))*(?:\+\+|#)?",
}
SCAN = re.compile(r"\s*(?:" + "|".join(f"(?P<{name}>{rule})" for name, rule in _RULES.items()) + ")")

# What follows a position
CLAUSE_ENDS = re.compile(r"\s*(?:$|[.,;:!?)\]])")
TEXT_ENDS = re.compile(r"\W{0,9}$")
NUMERAL_ENDS = re.compile(
    r"\s*(?:$|[.,;:!?()\]]|(?:was|is|of|and|in|ended|began|by|from|to|or)\b)"
)  # World War I ended
OPERAND = re.compile(rf"\s?(?:\d+(?:\.\d+)?|{_LETTER}(?!{_LETTER}))")
SIGN = re.compile(r"\s?(?:[<>=\u2192\u2260\u2264\u2265+*/^]|-[>\s])")
CAPITAL = re.compile(r"\s+[^\W\d_a-z]|\W*$")
WORD = re.compile(r"\s+([^\W\d_]+)")
NUMBER = re.compile(r"\.?\s?\d")
THAT = re.compile(r"\s+(?:that|it is|it's|(?:about|of) it|to (?:say|claim|think|believe|assume|suggest)(?: that)?)\b")
VERB = re.compile(r"\s(?:is|was|has|are|were|does|did|wins|won)\b")  # `A is heavier`
COMPASS_LETTER = re.compile(r"\s?\u00b0?\s?([NSEW])(?![\w.'])")

# What a whole word is
ROMAN = re.compile(r"(?=[IVX]{2})X{0,3}(?:IX|IV|V?I{0,3})|ii|iii|vii|viii|x?xi{2,3}|xvi{1,3}")

_RANGE_GOES_ON = re.compile(r"\s?[$\u20ac\u00a3]?\d")
_IS_A_LETTER = re.compile(r" (?:positive|negative|plus|minus|major|minor|sharp|flat)(?=\s*(?:$|[.,;)]| blood\b))")
_OXIDATION_STATE = re.compile(r"(?<=[^\W\d_][ (]\()[IVX](?=\))|(?<=[^\W\d_]\()[IVX](?=\))")


def range_goes_on(left: str, text: str, at: int) -> bool:
    """Whether a range ends after a hyphen: `5-10`, `Monday-Friday`."""
    if left in PARTS_OF_DATES:
        word = WORD.match(" " + text[at : at + _LONGEST_DAY].lstrip())
        return word is not None and word[1].lower() in PARTS_OF_DATES
    return left[-1:].isdigit() and _RANGE_GOES_ON.match(text, at) is not None


_LONGEST_DAY = 12  # characters


def is_numeral(before: str, text: str, at: int) -> bool:
    """Whether an `I` between two words is a numeral (`type I error`, `bipolar I disorder`), and not the pronoun."""
    after = WORD.match(text, at)
    names = before not in STOP_WORDS and after is not None and after[1] not in STOP_WORDS | FIRST_PERSON
    return before in NUMBERED or names


def is_oxidation_state(text: str, start: int) -> bool:
    """Whether a letter is a numeral in brackets after a word: `copper(I)`."""
    return _OXIDATION_STATE.match(text, start) is not None


def is_article(text: str, start: int, end: int) -> bool:
    """Whether the `a` or `A` from `start` to `end` is an article, and not a letter."""
    if CLAUSE_ENDS.match(text, end) or SIGN.match(text, end) or (text[start] == "A" and _IS_A_LETTER.match(text, end)):
        return False
    before = text[max(0, start - 3) : start].rstrip()
    begins_sentence = not before or before[-1] in '.!?:;"(*-'
    return text[start] == "a" or (begins_sentence and not VERB.match(text, end))

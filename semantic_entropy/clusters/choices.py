r"""Finds the letter of a multiple-choice answer, A to P.

The first rule that finds a letter decides:

1. the text is nothing but the letter: `B`, `(b)`, `**B**`;
2. the text states the letter: "the answer is B", "answer: c", "I choose A", "B is correct", or the same in another
   language. The last statement counts. Letters in a later discussion of the options do not count;
3. the text begins with the letter as the mark of a list: `B. because`, `b) 4`;
4. the last letter in brackets, after "option", as the mark of a list, or as a single capital that is neither an article
   nor a pronoun.

Two letters that are joined ("A and C", "A, C", "A; D") are no letter, nor is a letter in a name ("Vitamin C").
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Words that may follow the option I ("the answer is I because"). Before other words I is the pronoun ("I don't know").
_AFTER_I = "and|as|based|because|but|by|due|for|from|given|in|is|not|on|or|since|which|with"
_END = r"(?![A-Za-z0-9_'\u2019\u00c0-\u024f])"  # an ideograph may follow
_LETTER = (
    r"[\"'\u201c*_ ]{0,4}\(?\*{0,2}"
    rf"(?!I\s+(?!(?:{_AFTER_I})\b)\w)(?![ai]\s+[^\W\d_])"  # a pronoun, an article
    rf"([A-Pa-p]){_END}\*{{0,2}}\)?\*{{0,2}}"
)
_VERBS = (
    "is|are|be|was|to|seems?|appears?|should|would|must|will|can|could|might|may|has|likely|probably|clearly|therefore|"
    "thus|hence|then|option|choice|letter|the|correct|final|best|right|definitely|most|indeed|simply|obviously"
)
_NAMES = "answers?|choice|option|selection|ans"
# the answer is B; answer: c; the answer to this question is (D)
_ANSWER_IS = (
    rf"(?i:\b(?:{_NAMES})\b(?:\s+(?:to|for)\b[^.:=\n]{{1,60}}?)?(?:\*\*)?(?:\s+(?:{_VERBS})\b)*\s*"
    rf"(?:[:=\uff1a]|\b(?:is|be)\b)(?:\s*(?:{_VERBS})\b)*\s*(?:\*\*)?:?)\s*{_LETTER}"
)
# I choose A, I would go with option (C)
_CHOOSE = (
    r"(?i:\b(?:choose|pick|select|chose|picked|selected|go with|going with|vote for|opt for)\s+"
    rf"(?:(?:{_VERBS})\s+)*){_LETTER}"
)
# B is the answer, option B is correct
_IS_CORRECT = (
    r"(?<![\w'])\(?\*{0,2}([A-P])\*{0,2}\)?\*{0,2}\s+(?i:(?:is|must be|would be|should be|has to be)\s+"
    r"(?:(?:therefore|clearly|the|only|most|one)\s+)*(?:correct|right|best|true|(?:final\s+)?answer|choice)\b)"
)
_OTHER_LANGUAGES = (
    r"(?i:\b(?:respuesta|opci[oó]n|r[eé]ponse|antwort|resposta|op[cç][aã]o|risposta|ответ|उत्तर)"
    r"[^.:=\n]{0,30}?(?:[:=\uff1a]|\b(?:es|est|ist|[eé]|è|—)\b))"
    rf"\s*(?i:(?:la|die|le|o|a)\s+(?=[A-P]\b))?{_LETTER}"
)
_I_SAY = (
    r"(?i:\bI(?:['\u2019]d|\s+would|\s+will|['\u2019]ll)?\s+(?:say|guess|bet|think|believe)\s+"
    rf"(?:(?:that|it|is|it['\u2019]s|option|the\s+answer)\s+){{0,4}}){_LETTER}"
)
_STATEMENTS = tuple(
    re.compile(pattern)
    for pattern in (
        _ANSWER_IS,
        rf"(?i:\b(?:correct|right|best|final)\s+(?:{_NAMES}))\s+{_LETTER}",
        _CHOOSE,
        _IS_CORRECT,
        rf"(?i:\b(?:therefore|thus|so|hence),?)\s+{_LETTER}\W*$",
        rf"(?:答案|正确选项|正確答案|答え|正解|정답)\s*(?:应该)?\s*(?:[是为為选選はは은는]|[:\uff1a])*\s*{_LETTER}",
        rf"(?:我认为|我觉得|我覺得|我認為)\s*(?:答案)?\s*(?:应该|應該)?\s*[是选選为為]?\s*{_LETTER}",
        r"(?<![A-Za-z0-9])([A-P])\s*(?:选项|選項|是正确|是正確|是对的|正确|正確)",
        _I_SAY,
        rf"(?:故选|应选|選擇|选择|选项|故選|选)\s*[:\uff1a]?\s*{_LETTER}",
        _OTHER_LANGUAGES,
    )
)
_ALONE = re.compile(r"^\W*([A-Pa-p])\W*$")
_BEGINNING = re.compile(r"^\W{0,4}([A-Pa-p])[).:](?=\s|$)")
_MENTIONS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i:\b(?:option|choice)\s+){_LETTER}",
        r"\(([A-Pa-p])\)",
        r"(?:^|\n)\W{0,4}([A-Pa-p])[).:](?=\s|$)",
        r"\b([B-HJ-P])\b",
    )
)
_JOIN = r"\s*(?:[,、&/+>\u2013-]|\band\b|\bor\b|\bnor\b|[和与或及])\s*(?:(?:and|or|option)\s+)*"
_JOINED = re.compile(rf"(?i:{_JOIN})\(?\*{{0,2}}([A-P]){_END}(?!\s+[a-z])")
_JOINED_BEFORE = re.compile(rf"(?<![\w'])([A-P])\)?\*{{0,2}}(?i:{_JOIN})[(*]{{0,3}}$")
_NEGATED = re.compile(
    r"\s*(?:is|are)(?:n't| not)\b|\s*(?:is|are) (?:incorrect|wrong|false)\b|\s*是?(?:错|錯|不正确|不正確|不对)",
    re.IGNORECASE,
)
_LONGEST_LIST = 200  # characters
_SEVERAL = re.compile(
    r"\W*(?:(?:neither|either|both|options?|choices?|answers?|and|or|nor|to|is|are|[A-P])(?:\W+|$))*", re.IGNORECASE
)
# Vitamin C, Hepatitis B: the letter is a part of a name
_LABELLED = re.compile(
    r"(?i:\b(?:vitamin|hepatitis|influenza|types?|group|team|class|plan|appendix|figure|table|section|grade|phase|"
    r"factor|route|schedule|series|exhibit|zone|block|room|gate|point))\s+$|(?<![\w'])(?!(?i:answers?|options?|choices?|so|"
    r"thus|therefore|hence|probably|definitely|maybe|perhaps|clearly|pick|choose|select|letter|correct|final|its?|both|"
    r"is|go|going|with|and|or|nor|neither|either|not|then|obviously|likely|surely|certainly)\b)[A-Z][a-z]{2,}\s+$"
)


def choice_letter(text: str) -> str | None:
    """The letter that a text chooses, in upper case; None if it chooses none, or several."""
    text = text.strip()
    if alone := _ALONE.match(text):
        return alone[1].upper()
    stated = max(_statements(text), key=lambda found: found.start(1), default=None)
    if stated:
        return _single(text, stated)
    if len(text) < _LONGEST_LIST and _SEVERAL.fullmatch(text) and len(set(re.findall(r"\b[A-P]\b", text))) > 1:
        return None  # A; D
    begins = _BEGINNING.match(text)
    if begins and not _NEGATED.match(text, begins.end()):
        others = {found[1].upper() for found in _MENTIONS[2].finditer(text)}
        return begins[1].upper() if len(others) == 1 else None
    for mention in _MENTIONS:
        found = next((one for one in reversed(list(mention.finditer(text))) if _is_mention(text, one)), None)
        if found:
            return _single(text, found)
    return None


def _statements(text: str) -> Iterator[re.Match[str]]:
    for statement in _STATEMENTS:
        for found in statement.finditer(text):
            if not _NEGATED.match(text, found.end()):
                yield found


def _is_mention(text: str, found: re.Match[str]) -> bool:
    if _NEGATED.match(text, found.end()):
        return False
    labelled = found.re is _MENTIONS[-1] and _LABELLED.search(text, max(0, found.start() - 24), found.start())
    return not labelled


def _single(text: str, found: re.Match[str]) -> str | None:
    """The letter, unless another letter is joined to it."""
    letter = found[1].upper()
    before = _JOINED_BEFORE.search(text, max(0, found.start(1) - 24), found.start(1))
    for other in (_JOINED.match(text, found.end()), before):
        if other and other[1].upper() != letter:
            return None
    return letter

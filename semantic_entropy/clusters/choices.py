r"""Finds the letter of a multiple-choice answer, A to P.

The first rule that finds a letter decides:

1. the text is nothing but the letter: `B`, `(b)`, `**B**`;
2. the text states the letter: "the answer is B", "answer: c", "I choose A", "B is correct", or the same in another
   language. The last statement counts. Letters in a later discussion of the options do not count;
3. the text begins with the letter as the mark of a list: `B. because`, `b) 4`;
4. a list calls all options but one wrong: "A) wrong B) wrong C) right";
5. the last letter in brackets, after "option", as the mark of a list, or as a single capital that is neither an article
   nor a pronoun.

A rejected letter ("not B", "B is wrong") is crossed out before rule 2; see `rejected_letters`. Two letters that are
joined ("A and C", "A through C", "A; D", "A -> B") are no letter, nor is a letter in a name ("Vitamin C", "Team B is
the best", "the grade is B"). Of a text of more than 200,000 characters only the end is read.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from semantic_entropy.clusters.rejected_letters import cross_out

# Words that may follow the option I ("the answer is I because"). Before other words I is the pronoun ("I don't know").
_AFTER_I = "and|as|based|because|but|by|due|for|from|given|in|is|not|on|or|since|which|with"
_END = r"(?![A-Za-z0-9_'\u2019\u00c0-\u024f])"  # an ideograph may follow
_LETTER = (
    r"[\"'\u201c*_ ]{0,4}\(?\*{0,2}"
    rf"(?!I\s+(?!(?:{_AFTER_I})\b)\w)(?![ai]\s+[^\W\d_]|A\s+[A-Z]-)"  # a pronoun, an article
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
# A? No, wait. B.
_RETRACTION = (
    r"(?i:\b(?:no|wait|actually|correction|sorry|scratch\s+that|hold\s+on|i\s+mean|on\s+second\s+thoughts?|rather)\b"
    r"[\s,.:!\u2014-]{1,4}(?:no[\s,]{1,3}|wait[\s,.]{1,3})?(?:it['\u2019]s\s+|it\s+is\s+|it\s+must\s+be\s+|option\s+)?)"
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
        rf"(?i:\b(?:correct|right)\s{{0,2}}[:\uff1a=])\s{{0,3}}{_LETTER}",
        rf"{_RETRACTION}{_LETTER}(?=[\W_]*$|[.!]|\n)",
        rf"(?:而是|而应是|而應是)\s*(?:选项|選項)?\s*{_LETTER}",
    )
)
_ANY = re.compile(rf"(?<![A-Za-z0-9_])[A-Pa-p]{_END}")
_ALONE = re.compile(r"^\W*([A-Pa-p])\W*$")
_EXPLAINED = re.compile(r"^\W{0,4}([A-P])\W{0,4}\((?![^()]*\b[A-P]\b)[^()\n]{1,60}\)\W{0,4}$")  # A (the larger one)
_ON_OTHERS = re.compile(r"^\W{0,4}([A-Pa-p])[).:]\s{1,3}(?i:both|neither|either)\b")  # D. Both A and B
_BEGINNING = re.compile(r"^\W{0,4}([A-Pa-p])[).:](?=\s|$)")
_MENTIONS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i:\b(?:option|choice)\s+){_LETTER}",
        r"\(([A-Pa-p])\)",
        r"(?:^|\n)\W{0,4}([A-Pa-p])[).:](?=\s|$)",
        r"(?<![A-Za-z0-9_\u00c0-\u024f])([B-HJ-P])(?![A-Za-z0-9_\u00c0-\u024f])",
    )
)
_WITH_NAMES = (_STATEMENTS[3], _MENTIONS[-1])  # before their letter a name can stand
_JOIN = (
    r"\s*(?:[,、&/+>\u2013\u2192\u21d2-]|[-=]>|\b(?:through|but also|and|or|nor)\b|[和与或及])"
    r"\s*(?:(?:and|or|option)\s+)*"
)
_JOINED = re.compile(rf"(?i:{_JOIN})\(?\*{{0,2}}([A-P]){_END}(?!\s+[a-z])")
_JOINED_BEFORE = re.compile(rf"(?<![\w'])([A-P])\)?\*{{0,2}}(?i:{_JOIN})[(*]{{0,3}}$")
_LONGEST = 200_000  # characters: of a longer text the end is read
_LONGEST_LIST = 200  # characters
_SEVERAL = re.compile(
    r"\W*(?:(?:neither|either|both|options?|choices?|answers?|and|or|nor|to|is|are|[A-P])(?:\W+|$))*", re.IGNORECASE
)
# Vitamin C, Team B: the letter is a part of a name
_NAMED = (
    r"vitamin|hepatitis|influenza|types?|groups?|teams?|class(?:es)?|plans?|appendix|figure|table|section|grades?|phase|factor|"
    r"route|schedule|series|exhibit|zone|block|room|gate|points?|person|people|company|companies|patients?|players?|students?|"
    r"firm|countr(?:y|ies)|cit(?:y|ies)|town|island|machine|car|train|bus|ship|box|bag|bottle|tank|drug|compound|element|"
    r"substance|planet|star|school|teacher|m(?:r|rs|s|iss)|dr|man|woman|boy|girl|child|worker|driver|sample|party|state|plant|"
    r"species|family|gene|protein|cell|virus|strain|particle|object|circuit|angle|side|vertex|node|graph|set|matrix|event|"
    r"model|road|street|store|shop|brand|product|bank|region|district|sector|level|stage|step|part|chapter|unit|building|"
    r"assembly|note|key|chord|anomaly|july"
)
_NO_NAME = (
    r"answers?|options?|choices?|so|thus|therefore|hence|definitely|maybe|perhaps|pick|choose|select|letter|correct|final|its?|"
    r"both|is|go|going|with|and|or|nor|neither|either|not|then|only|here|now|but|because|since|that|this|my|our|for|just|must|"
    r"statements?|assertion|claim|sentence|conclusion|hypothesis|alternative|variant|argument|possibility|response|reply|"
    r"solution|surely|certainly|\w+ly"
)
_LABELLED = re.compile(
    rf"(?i:(?<!\w)(?:{_NAMED})(?:\s+(?:is|was|would be|[=:]))?)\s{{1,3}}$"
    rf"|(?<![\w'])(?!(?i:{_NO_NAME})\b)[A-Z][a-z]{{2,}}\s{{1,3}}$"
)
_LABEL = 32  # characters before a letter, searched for a name

_VERDICT = (
    r"(?:(?P<wrong>(?i:wrong|incorrect|false)\b|[✗✘❌❎✖])|(?P<right>(?i:right|correct|true)\b|[✓✔✅☑]))"
    r"(?=\s*(?:[.,;:!)\n]|$|because\b|\(?[A-P][).:\]]))"
)
_VERDICTS = (  # A) wrong; A) 42: wrong
    re.compile(rf"(?<![\w'])([A-Pa-p])(?:[).:\]]|\s[-\u2013\u2014:])?\s{{0,2}}{_VERDICT}"),
    re.compile(
        rf"^\W{{0,4}}([A-Pa-p])[).:\]]\s[^\n]{{0,200}}?"
        rf"(?:[-\u2013\u2014:(]|\s(?=[^\w\s]))\s{{0,2}}{_VERDICT}",
        re.MULTILINE,
    ),
)

# Full-width letters, and letters in circles, squares and brackets or in bold type, are letters
_PLAIN = {
    first + index: f"({chr(65 + index)})" if first in (0x249C, 0x1F110) else chr(65 + index)
    for first in (0xFF21, 0xFF41, 0x24B6, 0x24D0, 0x249C, 0x1F110, 0x1F130, 0x1F150, 0x1F170, 0x1D400, 0x1D5D4)
    for index in range(16)
} | {0xFF08: "(", 0xFF09: ")"}


def choice_letter(text: str) -> str | None:
    """The letter that a text chooses, in upper case; None if it chooses none, or several."""
    text = text.strip()[-_LONGEST:]
    if not text.isascii():
        text = text.translate(_PLAIN)
    if not _ANY.search(text):
        return None
    if alone := _ALONE.match(text):
        return alone[1].upper()
    text = cross_out(text)
    if explained := _EXPLAINED.match(text):
        return explained[1]
    stated = max(_statements(text), key=lambda found: found.start(1), default=None)
    if stated:
        return _single(text, stated)
    return _right_one(text) or _listed(text)


def _listed(text: str) -> str | None:
    """The letter at the beginning, or the last letter that is mentioned."""
    if on_others := _ON_OTHERS.match(text):
        return on_others[1].upper()
    if len(text) < _LONGEST_LIST and _SEVERAL.fullmatch(text) and len(set(re.findall(r"\b[A-P]\b", text))) > 1:
        return None  # A; D
    if begins := _BEGINNING.match(text):
        others = {found[1].upper() for found in _MENTIONS[2].finditer(text)}
        return begins[1].upper() if len(others) == 1 else None
    for mention in _MENTIONS:
        last = deque((found for found in mention.finditer(text) if not _is_name(text, found)), maxlen=1)
        if last:
            return _single(text, last[0])
    return None


def _statements(text: str) -> Iterator[re.Match[str]]:
    for statement in _STATEMENTS:
        for found in statement.finditer(text):
            if not _is_name(text, found):
                yield found


def _is_name(text: str, found: re.Match[str]) -> bool:
    """Whether the letter of a mention without brackets is a part of a name: Vitamin C."""
    return found.re in _WITH_NAMES and bool(_LABELLED.search(text, max(0, found.start() - _LABEL), found.start()))


def _right_one(text: str) -> str | None:
    """The one option that a list calls right, if it calls at least two others wrong (one other, if it has ticks)."""
    right: set[str] = set()
    wrong: set[str] = set()
    ticks = False
    for pattern in _VERDICTS:
        for found in pattern.finditer(text):
            (wrong if found["wrong"] else right).add(found[1].upper())
            ticks = ticks or not (found["wrong"] or found["right"])[-1].isalpha()
    if len(right) != 1 or right & wrong or len(wrong) < (1 if ticks else 2):
        return None
    return right.pop()


def _single(text: str, found: re.Match[str]) -> str | None:
    """The letter, unless another letter is joined to it."""
    letter = found[1].upper()
    before = _JOINED_BEFORE.search(text, max(0, found.start(1) - 24), found.start(1))
    for other in (_JOINED.match(text, found.end()), before):
        if other and other[1].upper() != letter:
            return None
    return letter

r"""Finds the letter of a multiple-choice answer, A to P.

The first rule that finds a letter decides:

1. the text is nothing but the letter: `B`, `(b)`, `**B**`;
2. the text announces the letter: "the answer is B", "answer: c", "I choose A", or the same in another language. The
   last announcement counts. "X is correct" and "it's X" after it are discussion, unless a correction introduces them
   ("however", "actually", "sorry"). Without an announcement, the one line with nothing but a letter states it, else
   such remarks, if they have one letter;
3. the text begins with the letter as the mark of a list: `B. because`, `b) 4`;
4. a list calls all options but one wrong: "A) wrong B) wrong C) right";
5. the letter in brackets, after "option", as the mark of a list, or as a single capital that is neither an article nor
   a pronoun, if the text has one such letter. A list of the options has several.

A rejected letter ("not B", "B is wrong", "although B seems right") is crossed out before rule 2; see
`rejected_letters`. Before rule 3, letters in a reason ("because C is larger") are crossed out, if another letter is
left. Two letters that are joined ("A and C", "A through C", "A; D", "A -> B") are no letter, nor is a letter in a name
("Vitamin C", "Team B is the best", "the grade is B"). Of a text of more than 200,000 characters only the end is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from semantic_entropy.clusters.rejected_letters import CROSSED_OUT, cross_out

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
    rf"(?:[:=\uff1a]|\s[-\u2013\u2014](?=\s)|\b(?:is|be)\b)(?:\s*(?:{_VERBS})\b)*\s*(?:\*\*)?:?)\s*{_LETTER}"
)
# I choose A, I would go with option (C)
_CHOOSE = (
    r"(?i:\b(?:choose|pick|select|chose|picked|selected|go with|going with|vote for|opt for)\s+"
    rf"(?:(?:{_VERBS})\s+)*){_LETTER}"
)
_CHOOSE_IN_OTHER_LANGUAGES = (
    r"(?i:\b(?:elijo|escojo|elegir[ií]a|elegimos|scelgo|scegliamo|sceglierei|kies|kiezen|escolho|escolheria|choisis"
    r"|choisirais|choisissons|opte\s+pour|opto\s+(?:por|per)|wähle|wählen|nehme|выбираю)"
    rf"\s+(?:(?:la|el|o|a|de|die|den|optie|option|letra|lettre|lettera)\s+){{0,2}})(?-i:(?=\W{{0,3}}[A-P])){_LETTER}"
)
_BEFORE_IS = r"(?<![\w'])\(?\*{0,2}([A-P])\*{0,2}\)?\*{0,2}\s+"
_IS = r"(?:is|must be|would be|should be|has to be)\s+(?:(?:therefore|clearly|the|only|most|one)\s+)*"
# B is the answer
_IS_ANSWER = rf"{_BEFORE_IS}(?i:{_IS}(?:(?:correct|right|best|final)\s+)?(?:{_NAMES})\b)"
# option B is correct; A is not correct, B is
_IS_CORRECT = rf"{_BEFORE_IS}(?i:{_IS}(?:correct|right|best|true)\b|(?:is|does)(?=\s*(?:[.!]|$)))"
_OTHER_LANGUAGES = (
    r"(?i:\b(?:respuesta|opci[oó]n|r[eé]ponse|antwort|resposta|op[cç][aã]o|risposta|ответ|उत्तर)"
    r"[^.:=\n]{0,30}?(?:[:=\uff1a]|\b(?:es|est|ist|[eé]|è|—)\b))"
    rf"\s*(?i:(?:la|die|le|o|a)\s+(?=[A-P]\b))?{_LETTER}"
)
_I_SAY = (
    r"(?i:\bI(?:['\u2019]d|\s+would|\s+will|['\u2019]ll)?\s+(?:say|guess|bet|think|believe)\s+"
    rf"(?:(?:that|it|is|it['\u2019]s|option|the\s+answer)\s+){{0,4}}){_LETTER}"
)
# It's B, it must be B, which matches B
_IT_IS = (
    r"(?i:\b(?:(?:it|that)(?:['\u2019]s|\s+(?:is|must\s+be|has\s+to\s+be))|matches|corresponds\s+to)\s+(?:(?:option|choice|letter)\s+)?)"
    rf"{_LETTER}(?=[\W_]*$|[.!,;]|\n)"
)
# A? No, wait. B.
_RETRACTION = (
    r"(?i:\b(?:no|wait|actually|correction|edit|update|sorry|scratch\s+that|hold\s+on|i\s+mean|on\s+second\s+thoughts?|rather)"
    r"\b[\s,.:!\u2014-]{1,4}(?:no[\s,]{1,3}|wait[\s,.]{1,3})?"
    r"(?:it['\u2019]s\s+|it\s+is\s+|it\s+must\s+be\s+|i\s+mean(?:t)?\s+)?(?:to\s+say\s+)?(?:option\s+)?)"
)
_ANNOUNCEMENTS = tuple(
    re.compile(pattern)
    for pattern in (
        _ANSWER_IS,
        rf"(?i:\b(?:correct|right|best|final)\s+(?:{_NAMES}))\s+{_LETTER}",
        rf"(?i:\b(?:correct|right|best)\s+one\s+is)\s+{_LETTER}",
        _CHOOSE,
        _IS_ANSWER,
        rf"(?i:\b(?:therefore|thus|so|hence),?)\s+{_LETTER}\W*$",
        rf"(?:答案|正确选项|正確答案|答え|正解|정답)\s*(?:应该)?\s*(?:[是为為选選はは은는]|[:\uff1a])*\s*{_LETTER}",
        rf"(?:我认为|我觉得|我覺得|我認為)\s*(?:答案)?\s*(?:应该|應該)?\s*[是选選为為]?\s*{_LETTER}",
        r"(?<![A-Za-z0-9])([A-P])\s*(?:选项|選項|是正确|是正確|是对的|正确|正確)",
        _I_SAY,
        rf"(?:故选|应选|選擇|选择|选项|故選|选)\s*[:\uff1a]?\s*{_LETTER}",
        _OTHER_LANGUAGES,
        _CHOOSE_IN_OTHER_LANGUAGES,
        rf"(?i:\b(?:correct|right)\s{{0,2}}[:\uff1a=])\s{{0,3}}{_LETTER}",
        rf"{_RETRACTION}{_LETTER}(?=[\W_]*$|[.!]|\n)",
        rf"(?:而是|而应是|而應是)\s*(?:选项|選項)?\s*{_LETTER}",
    )
)
_REMARKS = tuple(map(re.compile, (_IS_CORRECT, _IT_IS)))
_CORRECTED = re.compile(r"(?i:\b(?:however|but|actually|no|wait|sorry|instead|yet|rather)\b)[^.;\n]{0,30}$")
_ENDS = re.compile(r"\W*$|\s*[.!,;\n]|\s+(?:because|since|as)\b")
_WOULD = re.compile(r"(?i:\b(?:would|could|might)\s+(?:then\s+)?(?:be|have\s+been))\W*$")
_IF = re.compile(r"\W{0,3}\s(?i:if|unless|had|were)\b")
_REASON = re.compile(
    r"(?i:\n[^\w\n]{0,8}(?:explanation|reason(?:ing)?|rationale|justification)\b\W{0,3}:[\s\S]*"
    r"|(?:\b(?:because|since)\b|,\s+as(?=\s))(?:(?!\b(?:so|then|answer)\b)[^.;,\n])*)"
)
_LINE = re.compile(r"^[^\w\n]*([A-P])[^\w\n]*$", re.MULTILINE)  # a line with nothing but the letter
_ANY = re.compile(rf"(?<![A-Za-z0-9_])[A-Pa-p]{_END}")
_CAPITAL = re.compile(rf"(?<![A-Za-z0-9_])[A-P]{_END}")
_MARK = re.compile(r"(?:^|[\s(])([A-P])(?:[).:]\s+\S|:?\s+\d)")
_ALONE = re.compile(r"^\W*([A-Pa-p])\W*$")
_EXPLAINED = re.compile(r"^\W{0,4}([A-P])\W{0,4}\((?![^()]*\b[A-P]\b)[^()\n]{1,60}\)\W{0,4}$")  # A (the larger one)
_ON_OTHERS = re.compile(r"^\W{0,4}([A-Pa-p])[).:]\s{1,3}(?i:both|neither|either)\b")  # D. Both A and B
_BEGINNING = re.compile(r"^\W{0,4}([A-Pa-p])[).:](?=\s|$)")
_LONE_A = (  # no article: in a sentence, and at its end or before a verb of another language
    r"(?<=[^\W_] )(?<!\ban )A(?=\W*$|[.,;:!)]|\s(?:wählen|nehmen|ist|est|es|is|è|é)\b)"
)
_MENTIONS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i:\b(?:option|choice)\s+){_LETTER}",
        r"\(([A-Pa-p])\)",
        r"(?:^|\n)\W{0,4}([A-Pa-p])[).:](?=\s|$)",
        rf"(?<![A-Za-z0-9_\u00c0-\u024f])([B-HJ-P]|{_LONE_A})(?![A-Za-z0-9_\u00c0-\u024f])",
    )
)
_WITH_NAMES = (_ANNOUNCEMENTS[4], _REMARKS[0], _MENTIONS[-1])  # before their letter a name can stand
_JOIN = (
    r"\s*(?:[,、&/+>\u2013\u2192\u21d2-]|[-=]>|\b(?:through|but also|and|or|nor)\b|[和与或及])"
    r"\s*(?:(?:and|or|option)\s+)*"
)
_JOINED = re.compile(rf"(?i:{_JOIN})\(?\*{{0,2}}([A-P]){_END}(?!\s+[a-z])")
_JOINED_BEFORE = re.compile(rf"(?<![\w'])([A-P])\)?\*{{0,2}}(?i:{_JOIN})[(*]{{0,3}}$")
_LONGEST = 200_000  # characters: of a longer text the end is read
_LONGEST_LIST = 200  # characters
_CLAUSE = 40  # characters before a remark, searched for a correction
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
    announced = _announced(text)
    return _single(text, announced) if announced else _unannounced(text)


def _unannounced(text: str) -> str | None:
    """The letter of a line of its own, of a remark, or of a list."""
    lines = {found[1] for found in _LINE.finditer(text)}
    if len(lines) == 1:
        return lines.pop()
    reduced = _REASON.sub(lambda reason: _CAPITAL.sub(CROSSED_OUT, reason[0]), text)
    text = reduced if _CAPITAL.search(reduced) else text
    stated = {_single(text, remark) for remark in _found(text, _REMARKS)}
    if stated:
        return stated.pop() if len(stated) == 1 else None
    return _right_one(text) or _listed(text)


def _announced(text: str) -> re.Match[str] | None:
    """The last announcement, or the last remark that corrects an announcement."""
    announcements = sorted(_found(text, _ANNOUNCEMENTS), key=lambda found: found.start(1))
    firm = [found for found in announcements if not _is_hypothetical(text, found)]
    if not firm:
        return None if any(_found(text, _REMARKS)) or not announcements else announcements[-1]
    last = firm[-1]
    for remark in _found(text, _REMARKS):
        begin = max(last.end(1), remark.start() - _CLAUSE)
        if remark.start(1) > last.start(1) and _ENDS.match(text, remark.end()):
            last = remark if _CORRECTED.search(text, begin, remark.start()) else last
    return last


def _is_hypothetical(text: str, found: re.Match[str]) -> bool:
    """Whether an announcement is `the answer would be A if`."""
    return bool(_WOULD.search(text, found.start(), found.start(1)) and _IF.match(text, found.end()))


def _listed(text: str) -> str | None:
    """The letter at the beginning, or the one letter that is mentioned."""
    if on_others := _ON_OTHERS.match(text):
        return on_others[1].upper()
    if len(text) < _LONGEST_LIST and _SEVERAL.fullmatch(text) and len(set(re.findall(r"\b[A-P]\b", text))) > 1:
        return None  # A; D
    if len({found[1] for found in _MARK.finditer(text)}) > 1:
        return None  # A) 3 B) 4 C) 5
    if begins := _BEGINNING.match(text):
        return begins[1].upper()
    for mention in _MENTIONS:
        letters = {_single(text, found) for found in _found(text, (mention,))}
        if letters:
            return letters.pop() if len(letters) == 1 else None
    return None


def _found(text: str, patterns: Iterable[re.Pattern[str]]) -> list[re.Match[str]]:
    return [found for pattern in patterns for found in pattern.finditer(text) if not _is_name(text, found)]


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

"""Crosses out the letters that a text rejects, so that they cannot be read as the chosen letter.

A letter is rejected if a negation or a rejecting verb governs it: it stands before the letter ("not option B", "I would
not choose A", "rule out A and C", "C instead of B", 不是A), or in the predicate of the letter ("B is wrong", "A cannot
be right", "D no es", Aではない). Between a negation and its letter only words of a closed list can stand, so "I'm not
sure, B" and "not as good as B" reject nothing. Two negations reject the letter too ("I would not rule out B"), except
before an exception ("nothing except B" is B).

Languages: English, Chinese, Hindi, Spanish, French, Arabic, Bengali, Portuguese, Russian, Japanese, German, Italian,
Korean, Dutch and Turkish. Each pattern has a limited length, so a text is read in one pass.
"""

from __future__ import annotations

import re

CROSSED_OUT = "\u25a1"  # stands for a letter that is not chosen

_END = r"(?![A-Za-z0-9_'\u2019\u00c0-\u024f])"
_ONE = rf"[\"'\u201c*$\[(]{{0,3}}(?:[A-P]|(?<=\()[a-p](?=\))){_END}[\"'\u201d*$\])]{{0,3}}"
_JOIN = r"(?:and|or|y|e|o|u|et|ou|und|oder|of|en|и|или|और|या|এবং|বা|[、和与與或及])"
_NO_PREDICATE = r"(?!\s(?i:is|are|was|must|has|should|would|seems?|fits?|es|est|ist|\u00e8|\u00e9)\b)"
_OPTION = r"(?i:(?:options?|choices?|answers?|opci[oó]n|opç[aã]o|antwort)\s)?"


_OTHERS = (  # A or C; A, B and C
    rf"(?:(?:,\s?{_ONE}){{0,12}}+,?\s?{_JOIN}\s?{_OPTION}{_ONE}{_NO_PREDICATE}"
    rf"|,?\s(?i:nor|ni|noch|ни|n\u00e9)\s{_OPTION}{_ONE}){{0,4}}"
)
_SOME = rf"(?P<letters>{_ONE}{_OTHERS})"
_LISTED = rf"(?P<letters>{_ONE}(?:,\s?{_ONE}(?!\s\w)){{0,12}}+(?:,?\s?{_JOIN}\s?{_OPTION}{_ONE}{_NO_PREDICATE}){{0,4}})"

_NOT = (
    r"(?<!\w)(?=[NnDdIiAaCcWwSsMmPpJjKk\u041d\u043d\u0644])"
    r"(?:n(?:ot|ever|either|or|o\s+way|i|icht|ie|iet|em|ão|ao|on)|cannot|d(?:o|oes|id)n['\u2019]?t|isn['\u2019]?t|aren['\u2019]?t"
    r"|wasn['\u2019]?t|c(?:a|ould)n['\u2019]?t|w(?:o|ould)n['\u2019]?t|(?:should|must)n['\u2019]?t|pas|jamais|kein|keine|weder|не|ни|ليس|ليست|لا)"
)
# What can stand between a negation and the letter that it governs
_BETWEEN = (
    "be|is|are|was|it|it['\u2019]s|that|this|the|an?|my|your|our|been|have|has|options?|choices?|answers?|letters?|"
    "correct|right|best|final|true|either|both|just|simply|really|actually|definitely|necessarily|likely|probably|"
    "think|believe|say|choose|choosing|pick|picking|select|selecting|go|going|with|for|opt|vote|to|of|in|any|agree|"
    "recommend|consider|accept|want|call|possibly|therefore|at all|with certainty|would|should|could|can|must|"
    "es|era|ser|sea|puede|que|la|el|l[ae]s?|los|las|creo|eleg\\w+|escog\\w+|opci[oó]n|respuesta|correcta|"
    "est|être|peut|c['\u2019]est|l['\u2019]option|réponse|choisi\\w*|die|der|das|den|antwort|sein|buchstabe|richtig|wähl\\w*|"
    "\u00e9|o|a|resposta|opç[aã]o|letra|pode|escolh\\w+|è|può|essere|lettera|risposta|opzione|het|antwoord|optie|"
    "это|ответ|вариант|является|выб\\w+|буква|هي|هو|الخيار|الإجابة|الجواب"
)
_GOVERNS = rf"(?:\s{{1,3}}(?:{_BETWEEN})){{0,7}}\s{{0,3}}:?\s{{0,3}}"
_REJECTS = (
    r"(?<!\w)(?=[A-Za-z\u00c9\u00e9\u0410-\u044f])(?:rul(?:e|es|ed|ing)\s+out|eliminat(?:e|es|ed|ing)|exclud(?:e|es|ed|ing)|reject(?:s|ed|ing)?|avoid(?:s|ed|ing)?"
    r"|discard(?:s|ed|ing)?|dismiss(?:es|ed|ing)?|disregard(?:s|ed|ing)?|cross(?:ed|ing)?\s+(?:out|off)|get\s+rid\s+of"
    r"|against|instead\s+of|in\s+place\s+of|rather\s+than|better\s+than|likelier\s+than|likely\s+than|as\s+opposed\s+to"
    r"|unlike|without|descart\w+|elimin\w+|en\s+(?:vez|lugar)\s+de|em\s+vez\s+de|au\s+lieu\s+de|plutôt\s+que|écart\w+"
    r"|schließ\w*|anstatt|statt|anstelle\s+von|invece\s+di|scart\w+|esclud\w+|вместо|исключ\w+|отверг\w+)"
)
_AT_FIRST = (
    r"\b(?:initially|originally|at\s+first|first|previously),?\s(?:I\s)?(?:had\s)?"
    r"(?:thought|chose|picked|selected|said|guessed|considered|leaned\s+towards?|answered)"
)
_SEGMENT = r"(?:^|(?<=[\n.;,(])\s{0,3})\*{0,2}"
_WRONG_ONES = (
    rf"{_SEGMENT}(?:wrong|incorrect|false|eliminated|rejected|ruled\s+out)(?:\s(?:options?|answers?|choices?))?"
    r"\*{0,2}:\*{0,2}\s{0,3}"
)
# A text without these words is not searched for the pattern: most responses reject nothing
_BEFORE = tuple(
    (tuple(words.split("|")), re.compile(pattern))
    for words, pattern in (
        ("no|n't|nt |n\u2019t|ne|ni|pas|jam|kei|wed|nem|nã|не|ни|ليس|لا", rf"(?i:{_NOT}{_GOVERNS}){_SOME}"),
        ("no ", rf"(?i:\bno(?:\s(?:{_BETWEEN})){{1,7}}\s){_SOME}"),  # es: no es la A
        (
            (
                "rul|limin|xclu|rejec|avoid|disc|dism|disr|cross|get|again|inst|place|than|oppos|unlik|witho|desc|vez|lugar|lieu"
                "|que|cart|schl|statt|anst|inve|escl|вмес|искл|отве|init|origi|first|prev"
            ),
            rf"(?i:(?:{_REJECTS}|{_AT_FIRST}){_GOVERNS}){_LISTED}",
        ),
        ("wrong|incorrect|false|elim|rejec|ruled", rf"(?i:{_WRONG_ONES}){_LISTED}"),
        (
            "out|off|away",
            (
                rf"(?i:\b(?:rul(?:e|ed|ing)|cross(?:ed|ing)?|leav(?:e|ing)|left|throw(?:ing)?)\s){_LISTED}"
                r"(?i:\s(?:out|off|away))\b"
            ),
        ),
        ("over", rf"(?<![A-Za-z0-9_])[A-P]\)?\s(?i:over)\s{_OPTION}{_SOME}"),
        ("prefer", rf"(?i:\bprefer\s){_OPTION}{_ONE}\s(?i:to)\s{_OPTION}{_SOME}"),
        (
            "from",
            rf"(?i:\b(?:chang|switch|mov|revis|correct)\w{{0,5}}\s(?:[^.\n]{{0,40}}?\s)?from\s){_OPTION}{_SOME}(?=\s(?i:to)\b)",
        ),
        (
            "不|非|排|除|淘",
            (
                r"(?:不(?:会|會|可能|应该|應該|应|该|能|要)?(?:是|选|選)|而非|并非|並非|排除(?:了)?|除了|淘汰|不考虑)"
                rf"\s{{0,2}}(?:选项|選項|答案)?\s{{0,2}}{_LISTED}"
            ),
        ),
    )
)
_ADVERBS = (
    r"(?:(?:also|clearly|obviously|definitely|simply|therefore|thus|probably|likely|just|the|an?|all|both|already"
    r"|completely)\s+){0,3}"
)
_IS_WRONG = "|".join(
    (
        (
            r"\s+(?:is|are|was|were|seems?|looks?|sounds?|appears?|(?:would|must|can|could|should|has to)\s+be)"
            rf"\s+{_ADVERBS}"
            r"(?:not|never|wrong|incorrect|false|eliminated|ruled\s+out|excluded|rejected|out|impossible"
            r"|invalid|untrue|unlikely|implausible|distractors?|traps?)\b"
        ),
        r"\s+(?:(?:is|are|was|were|ca|could|would|should|wo|must)n['\u2019]?t|cannot|(?:can|could|would|should|will|must)\s+not)\b",
        r"\s+(?:does|do|did)(?:n['\u2019]?t|\s+not)\s+(?:fit|work|apply|hold|match|answer|make\s+sense|satisfy|seem|look|follow)\b",
        r"\s+(?:fails?|makes?\s+no\s+sense)\b",
        r"\s+(?:at\s+first|initially|originally)\b",
        r"\s+(?:is|was)\s+(?:my|the|an?)\s+(?:initial|first|original|previous)\s+(?:choice|guess|answer|thought|idea)\b",
        r"\s*[\[(]\s?(?:wrong|incorrect|eliminated|rejected|ruled\s+out)\b",
        r"\s*[✗✘❌❎✖]",
        (
            r"\s+(?:no\s+(?:es|puede)|es\s+(?:incorrect|fals|err[oó]ne)|queda\s+descartad|n['\u2019]est\s+pas|ne\s+(?:peut|convient)\s+pas"
            r"|est\s+(?:fauss?e?|incorrect|erron)|n[aã]o\s+(?:\u00e9|pode)|\u00e9\s+(?:errad|incorret|fals)|non\s+(?:\u00e8|pu\u00f2)"
            r"|\u00e8\s+(?:sbagliat|errat|fals)|ist\s+(?:nicht|falsch|kein)|kann\s+(?:es\s+)?nicht|scheidet\s+aus|passt\s+nicht"
            r"|is\s+(?:niet|fout|onjuist)|(?:[-—]\s?)?не(?:верн|правильн|\s+(?:подходит|является|верн|правильн|может|ответ))|değil)"
        ),
        r"\s*(?:विकल्प\s|सही\s)?(?:नहीं|गलत)",
        r"\s*(?:সঠিক\s)?(?:নয়|নয়|ভুল)",
        r"\s*(?:ليس|غير\sصحيح|خاطئ|خطأ)",
        r"\s*(?:选项|選項|项|項)?(?:是|也|都|均)?(?:错|錯|不正确|不正確|不对|不對|不是|不选|不選|不成立|不符合|排除)",
        r"\s*(?:は|が)?(?:では|じゃ)(?:な|あり)|\s*(?:は|が)(?:間違|不正解|誤り|違|正しくな)",
        r"\s*(?:은|는|이|가)?\s?(?:아니|아닙|아닌|틀|오답)",
    )
)
_LETTERS = re.compile(
    rf"(?<![A-Za-z0-9_'\u2019.])(?P<letters>{_ONE}(?:(?P<joined>,?\s?{_JOIN}\s?{_OPTION}{_ONE})|,\s?{_ONE}){{0,16}}+):?"
)
_WRONG = re.compile(rf"(?i:{_IS_WRONG})")
_EXCEPTION = re.compile(
    r"(?i:\b(?:except(?:\s+for)?|excluding|besides|apart\s+from|aside\s+from|other\s+than|excepto|salvo|sauf|außer"
    rf"|ausgenommen|кроме|tranne|exceto){_GOVERNS}){_LISTED}"
)
_EXCEPTION_WORDS = tuple("exce|excl|besi|apart|aside|other|salvo|sauf|auß|ausg|кром|tran".split("|"))
_WRONG_WORDS = tuple(  # in ASCII
    "not|n't|nt |never|wrong|incorrect|false|out|impos|invalid|untrue|unlik|implau|distr|trap|eliminat|exclu|reject"
    "|fail|no sense|first|initial|original|no es|no pu|es fa|es in|es er|desca|nao |fau|n'est|ne pe|ne co|falsch"
    "|nicht|kein|schei|niet|fout|onju|non ".split("|")
)
_SEVERAL = re.compile(r"\s*(?:are|were|son|sont|sind|s[aã]o|sono|[都均])\b|\s*(?:选项|選項|项|項)?[都均]")
_ONE_IS = re.compile(r"\s+(?:is|was|es|est|ist|\u00e8|\u00e9|seems|looks|fails)")
_NEGATIVE_WORDS = tuple(
    "no|n't|n\u2019t|never|rul|elimin|exclud|reject|discard|aucun|rien|kein|nicht|nada|ни".split("|")
)
_LETTER = re.compile(r"(?<![A-Za-z])[A-Pa-p](?![A-Za-z])")
_SENTENCE = 80  # characters before an exception, searched for the negation that it belongs to


_CONCESSION = re.compile(r"(?i:\b(?:although|though|while|whereas|even\s+if)\b)(?:(?!(?i:\banswer\b))[^.;,\n])*")


def cross_out(text: str) -> str:
    """The text with `CROSSED_OUT` in the place of each letter that it rejects."""
    lowered = text.lower()
    text = _CONCESSION.sub(lambda clause: re.sub(rf"(?<![A-Za-z0-9_])[B-HJ-P]{_END}", CROSSED_OUT, clause[0]), text)
    if any(word in lowered for word in _EXCEPTION_WORDS):
        text = _EXCEPTION.sub(lambda found: found[0] if _is_negative(found) else _crossed(found), text)
    for words, pattern in _BEFORE:
        if any(word in lowered for word in words):
            text = pattern.sub(_crossed, text)
    if not text.isascii() or any(word in lowered for word in _WRONG_WORDS):
        text = _LETTERS.sub(_without_wrong, text)
    return text


def _without_wrong(found: re.Match[str]) -> str:
    wrong = _WRONG.match(found.string, found.end())
    if not wrong:
        return found[0]
    if _SEVERAL.match(wrong[0]) or (found["joined"] and not _ONE_IS.match(wrong[0])):
        return _crossed(found)
    last = list(_LETTER.finditer(found[0]))[-1].start()  # "it is A, B is wrong" rejects B
    return found[0][:last] + CROSSED_OUT + found[0][last + 1 :]


def _is_negative(found: re.Match[str]) -> bool:
    before = found.string[max(0, found.start() - _SENTENCE) : found.start()].lower()
    sentence = before[max(map(before.rfind, ".;\n")) + 1 :]
    return any(word in sentence for word in _NEGATIVE_WORDS)


def _crossed(found: re.Match[str]) -> str:
    begin, end = (position - found.start() for position in found.span("letters"))
    return found[0][:begin] + _LETTER.sub(CROSSED_OUT, found[0][begin:end]) + found[0][end:]

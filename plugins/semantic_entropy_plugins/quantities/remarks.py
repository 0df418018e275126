r"""Removes the remarks after an answer, whose numbers are not the answer: confidence, a source, a rounding.

    42\nConfidence: 90%      42, confidence 0.9      42. I'm 90% sure.      Guess: 42\nProbability: 0.9
    42 (source: page 3)      42 (step 3 of 3)        42, rounded to 2 decimals

A line that begins with "Probability" is a remark only after an answer of one line: else it can be the answer.
"""

from __future__ import annotations

import re

_HINT = re.compile(
    r"confiden|certain|\bsure\b|probability|likelihood|rounded|[(\[]\s*(?:source|see|step|page|p\.|eq|ref|fig|table|cf)"
    r"|\n\W{0,9}(?:note|sources?|references?)\b",
    re.IGNORECASE,
)
_NUMBER = r"(?:about |around |roughly |~ ?)?\d{1,3}(?:\.\d{1,6})? ?(?:%|percent\b|/ ?\d{1,3})?"
_SURE = r"(?:sure|certain|confident|confidence|certainty)"
_REMARK = re.compile(
    # a line or the end of a line: Confidence: 90%
    r"(?:[\n,;.(\[]|\s[-\u2013\u2014])[ \n*_>#(\[-]{0,9}(?:with )?(?:an? )?(?:my |the )?(?:confidence|certainty)"
    r"(?: (?:level|score|rating))?[ *_]{0,5}(?:[:=]|of\b|is\b|at\b)?[ *_]{0,5}"
    rf"(?:{_NUMBER}|very high|high|medium|moderate|low)"
    r"[^\n.\d]{0,20}"
    # I am 90% sure, 90% confidence
    rf"|[\s,;.(\[\u2013\u2014-](?:and )?(?:(?:I'm|I\u2019m|I am|I feel|with|at) )?(?:an? )?{_NUMBER} {_SURE}\b"
    r"(?! interval| that| it)[^\n.\d]{0,30}"
    r"|[(\[]\s?(?:source|see|step|page|pp?\.|eq|ref|fig|table|cf|confidence|certainty|rounded)\b[^()\[\]\n]{0,80}[)\]]"
    r"|\n[ *_>#(-]{0,9}(?:note|sources?|references?)\b[*_]{0,3} ?[:=](?![^\n]*\banswer\b)[^\n]{0,300}"
    r"|[\s,;(]rounded (?:up |down |off )?to (?:the )?(?:nearest [\w.]+(?: [a-z]+)?"
    r"|(?:\d{1,2}|one|two|three|four) (?:decimals?|significant|d\.?p\.?|s\.?f\.?|places?)\b[^\n\d]{0,20})",
    re.IGNORECASE,
)
_END = re.compile(r"[\s.!)\]*_`$]{0,20}$")
_PROBABILITY = re.compile(
    r"\n[ *_>#-]{0,9}(?:probability|likelihood)\b[*_]{0,3}(?: \([^()\n]{0,40}\))? ?[:=][ *_]{0,5}"
    rf"{_NUMBER}[\s.*_]{{0,9}}$",
    re.IGNORECASE,
)
_LONGEST_GUESS = 100  # characters
_MOST_REMARKS = 3
_SEARCHED = 400  # characters at the end of an answer


def without_remarks(text: str) -> str:
    """The text without the remarks at its end; the whole text if nothing would be left."""
    if not _HINT.search(text, max(0, len(text) - _SEARCHED)):
        return text
    for _ in range(_MOST_REMARKS):
        begin = max(0, len(text) - _SEARCHED)
        ends = [found.start() for found in _REMARK.finditer(text, begin) if _END.match(text, found.end())]
        guess = _PROBABILITY.search(text, begin)
        if guess and "\n" not in (before := text[: guess.start()].strip()) and len(before) <= _LONGEST_GUESS:
            ends.append(guess.start())
        kept = text[: min(ends)].rstrip(" \n,;") if ends else text
        if kept == text or not any(map(str.isalnum, kept)):
            return text
        text = kept
    return text

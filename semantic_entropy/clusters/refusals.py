"""Recognises refusals: responses that only decline to answer.

A response is cut into clauses. It is a refusal if one clause declines ("I don't know", "no information available") and
every other clause only accompanies this: an apology, "as an AI language model", a request for more context. A clause
that says anything else is an answer: "I am not sure. I think it is Paris." is the answer Paris.

The patterns are the common forms in English, Chinese, Hindi, Spanish, French, Arabic, Bengali, Portuguese, Russian,
Japanese and German, and the plainest forms in 25 more languages: `refusals.txt` has a section for each. Not supported:
other languages, and refusals of more than 400 characters, which say more than no.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from semantic_entropy.plain_text import IGNORABLE

LONGEST_REFUSAL = 400  # characters


def _without_marks(text: str) -> str:
    """The text without the accents of Latin, Greek and Cyrillic letters, and without the vowel marks of Arabic."""
    kept = [
        char for char in unicodedata.normalize("NFKD", text) if not (unicodedata.combining(char) and _is_optional(char))
    ]
    return unicodedata.normalize("NFC", "".join(kept)).translate(_ONE_LETTER)


def _is_optional(char: str) -> bool:
    return char < "\u0530" or "\u0600" <= char < "\u0700"


_ONE_LETTER = str.maketrans(
    dict(
        zip(
            "\u0649\u06cc\u06a9\u0142\u0131\u0111\u00f8\u02bc\u0640\u200c\u00e6",
            ("\u064a", "\u064a", "\u0643", "l", "i", "d", "o", "'", "", "", "ae"),
            strict=True,
        )
    )
)
"""One form of a letter that has several, of a letter with a stroke, and nothing for a filler."""
_LATIN = (
    *("English", "Spanish", "French", "German", "Portuguese", "Italian", "Dutch", "Polish", "Turkish", "Indonesian"),
    *("Vietnamese", "Swedish", "Danish", "Finnish", "Czech", "Romanian", "Hungarian", "Tagalog", "Swahili", "Catalan"),
)


class _Patterns(NamedTuple):
    """What `refusals.txt` contains.

    Attributes:
        latin: clauses that decline, in languages with Latin letters.
        other: clauses that decline, in other scripts.
        accompanying: clauses that accompany them, such as an apology.
        guesses: accompanying clauses that say more: "based on the text it is 42".
        introducing: beginnings of a clause that declines, such as "unfortunately".
        ends: what separates two clauses.
    """

    latin: re.Pattern[str]
    other: re.Pattern[str]
    accompanying: re.Pattern[str]
    guesses: re.Pattern[str]
    introducing: re.Pattern[str]
    ends: re.Pattern[str]


def read_patterns(name: str, known: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the regular expressions of a file of this package, by section.

    A line is an expression. `NAME = expression` before the first section names one, and `<NAME>` stands for it.

    Args:
        name: the file, such as "refusals.txt".
        known: expressions that have a name before the file is read.
    """
    from importlib.resources import files  # not needed to import the package

    named = dict(known)
    sections: dict[str, list[str]] = {}
    section = ""
    for line in files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            sections[section] = []
        elif line and not line.startswith("#"):
            if not section:
                word, _, pattern = line.partition(" = ")
                named[word] = _with_named(pattern, named)
            else:
                sections[section].append(_with_named(line, named))
    return sections


@lru_cache(maxsize=1)
def _patterns() -> _Patterns:
    """Compile the patterns of `refusals.txt`."""
    sections = {
        name.removeprefix("declines: "): list(map(_without_marks, patterns))
        for name, patterns in read_patterns("refusals.txt", {}).items()
    }
    other = [name for name in sections if name[:1].isupper() and name not in _LATIN]
    return _Patterns(
        *(
            re.compile("|".join(pattern for name in names for pattern in sections[name]))
            for names in (_LATIN, other, ["accompanies"], ["guesses"], ["introduces"], ["ends"])
        )
    )


_NAME = re.compile(r"<([A-Z]+)>")


def _with_named(pattern: str, named: dict[str, str]) -> str:
    return _NAME.sub(lambda name: f"(?:{named[name[1]]})", pattern)


_HINTS = tuple(
    "no|n't|nt |un|insuff|imposs|hard|diffic|idk|/a|limited|decline|refuse|sorry|you|please|ni |desco|pas|aucun|ignor"
    "|kein|nicht|sem |sin |indisp|pardon|lack|need|n.a|k.a|incon|rien|sait|consta|menc|dun|beats|know|knew|mean|way"
    "|beyond|outside|feel|heard|stump|clueless|loss|nessun|saprei|idea|idee|weet|wist|geen|onbe|onvold|nie |nie?zn"
    "|brak|trudno|bilm|bilem|emin|fikri|bilgi|yanit|cevap|belir|tidak|tak |tau|khong|chua|vet |ved |aning|okan|ukj|uken"
    "|en |tied|tuntem|nevi|netus|nezn|nemo|nejs|stiu|nem |fogalm|ismer|hindi|wala|ewan|siju|siwe|haij|desco|prefer"
    "|nao |gak|entah|minns|husker|anelse|ei ole|sina |heb |beschik|niet".split("|")
)
"""An ASCII refusal contains one of these. Most answers contain none, and are not read further."""
_BLANK = re.compile(
    r"(?:[-?.\u2026\u2013\u2014\uff1f\u3002\s]|__|\U0001f937[\U0001f3fb-\U0001f3ff]?|[\u200d\u2640\u2642\ufe0f])+"
)
"""What stands in the place of an answer: a question mark, dots, a dash, a line to fill in, a shrug."""
_LONGEST_LOOP = 20_000  # characters of a text that says the same again and again
_SENTENCE = re.compile(r"(?<=[.!?\u3002])\s+|\n+")
_TAG = re.compile(
    r"</?(?:[bipu]|em|strong|span|div|br|h[1-6]|li|[uo]l|code|pre|(?:final_)?answer|response|output|result)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_OPTION = re.compile(r"\([A-Pa-p]\)")  # it cannot be determined (D)
_FACES = re.compile(
    "[\U0001f600-\U0001f64f\U0001f910-\U0001f97a\U0001f3fb-\U0001f3ff\u2639\u263a\u2640\u2642\u200d\ufe0f]+"
)
_LATEX = re.compile(r"\\[a-z]+\s?\{|[{}$]")  # \boxed{\text{I don't know}}
_WORD = re.compile(r"\w")
_DIGIT = re.compile(r"[0-9]")
_MARKUP = re.compile(r"[*`]+|(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)")
_BEFORE = re.compile(r"(?:[>#\s]|(?i:ans|(?:final )?answer|response|assistant|a)\s*:|1[.)]\s)*")  # A: I don't know
_HEADING = re.compile(r"^(\s*#.*)\n", re.MULTILINE)
_JSON = re.compile(  # {"answer": "unknown"}
    r"\s*(?:json\s*)?\{\s*[\"'](?:(?:final|short)[_ ])?(?:answer|response|result)[\"']\s*:\s*"
    r"(?:\"([^\"]*)\"|'([^']*)'|(null|None))\s*,?\s*\}\s*"
)


def is_refusal(text: str) -> bool:
    """Whether a short text only declines to answer, in one of 36 languages. A text with a guess is an answer."""
    if not text.isascii():
        text = IGNORABLE.sub("", text)  # they can be inside a word: I don't kn\u200bow
    return _is_short_refusal(_said_once(text))


def _said_once(text: str) -> str:
    """The text, or its different sentences: of a model that says "I don't know." forty times, one."""
    is_long = LONGEST_REFUSAL < len(text) <= _LONGEST_LOOP
    return " ".join(dict.fromkeys(_SENTENCE.split(text))) if is_long else text


def _is_short_refusal(text: str) -> bool:
    if len(text) > LONGEST_REFUSAL:
        return False
    has_hint = not text.isascii() or _has_hint(text)
    if not has_hint and _DIGIT.search(text):
        return False  # most answers to mathematical questions
    plain = _without_markup(text) if any(sign in text for sign in _MARKS) else text
    if _BLANK.fullmatch(text.strip()) or _BLANK.fullmatch(plain.strip()):
        return True
    text = plain
    if not has_hint or _OPTION.search(text):
        return False
    patterns = _patterns()
    declined = False
    for part in patterns.ends.split(_normalized(text)):
        clause = part.strip(" \t\"'()[]<>*_-")
        if not _WORD.search(clause):
            continue
        if _declines(clause, patterns):
            declined = True
        elif not patterns.accompanying.fullmatch(clause) or patterns.guesses.fullmatch(clause):
            return False
    return declined


def _has_hint(text: str) -> bool:
    return any(map(text.lower().__contains__, _HINTS))


_MARKS = ("*", "`", "_", "#", ">", ":", "{", "\\", "1")


def _without_markup(text: str) -> str:
    """The text without Markdown, a mark such as `Answer:` before it, LaTeX, and the braces of a JSON answer."""
    text = _MARKUP.sub(" ", _HEADING.sub(r"\1. ", _TAG.sub(" ", text)))
    text = text[_BEFORE.match(text).end() :] or text  # type: ignore[union-attr]  # it matches the empty string
    if found := _JSON.fullmatch(text):
        text = "?" if found[3] else found[1] or found[2] or ""
    return _LATEX.sub(" ", text) if "\\" in text else text


_APOSTROPHES = dict.fromkeys(map(ord, "\u2019\u2018\u201b\u2032\u00b4"), "'")


def _declines(clause: str, patterns: _Patterns) -> bool:
    while clause:
        if patterns.latin.fullmatch(clause) or (not clause.isascii() and patterns.other.fullmatch(clause)):
            return True
        introduction = patterns.introducing.match(clause)
        if not introduction:
            return False
        clause = clause[introduction.end() :].strip()
    return False


def _normalized(text: str) -> str:
    """The text in lower case, with one kind of apostrophe, and without the accents and optional marks of letters."""
    text = text.strip().translate(_APOSTROPHES)
    if text.isascii():
        return " ".join(text.lower().split())
    text = _FACES.sub(" ", text)
    return " ".join(_without_marks(unicodedata.normalize("NFKC", text).casefold()).split())

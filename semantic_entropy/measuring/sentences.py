"""Sentences of a text, by sentencex (extra `sentences`), which has the rules of about 300 languages.

The language of a response is not known, so the rules for English are used. They split at the sentence ends of other
scripts too (Chinese, Japanese, Arabic, Devanagari), and at empty lines. Abbreviations of other languages can split a
sentence. Docs: decisions/sentences.md, with the other splitters that were tried.

Markdown is cut first, because the rules do not know it: an item of a list, a heading, a row of a table and a block of
code are no parts of the text around them. The mark of an item or heading belongs to no sentence: `2.` is no number that
a text says. Left out: nested quotes, HTML, and lines of prose without a point, which can be one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import pairwise
from typing import NamedTuple

from semantic_entropy.errors import MissingDependencyError, install_command
from semantic_entropy.plain_text import replace_surrogates

_LINE_END = re.compile("[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_SPACE = re.compile(r"[^\S\n]")  # other white space: sentencex 1.0 fails at a wide space after a point
_MARK = re.compile(  # of a line of Markdown that starts a block
    r"^[ \t]{0,12}(?:"
    r"(?P<fence>```|~~~)[^\n]*"
    r"|(?P<heading>\#{1,6})[ \t]+"
    r"|(?P<row>\|)"
    r"|(?P<bullet>[-*\u2022\u2023\u25e6\u25aa\u25cf])[ \t]+"
    r"|\(?(?P<number>\d{1,3})[.)][ \t]+"
    r"|\(?(?P<letter>[A-Za-z])\)[ \t]+)",
    re.MULTILINE,
)


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, without white space at their ends.

    Parts without a letter or digit, such as a rule in Markdown, are left out.

    Raises:
        MissingDependencyError: sentencex is not installed.
    """
    return [text[start:end] for start, end in sentence_spans(text)]


def sentence_spans(text: str, *, headings: bool = True) -> list[tuple[int, int]]:
    """Return the place (start, end) of each sentence of `split_sentences` in the text.

    Args:
        text: the text.
        headings: False: leave out the headings of Markdown, which state nothing.

    Raises:
        MissingDependencyError: sentencex is not installed.
    """
    return list(_spans(text, headings))


def can_split() -> bool:
    """Whether sentencex is installed."""
    return find_spec("sentencex") is not None


class _Block(NamedTuple):
    """A part of a text that no sentence leaves: its place, without the mark of a list item or a heading."""

    start: int
    end: int
    kind: str  # prose, heading, or whole (a row of a table, a block of code): one sentence


def _spans(text: str, headings: bool) -> Iterator[tuple[int, int]]:
    try:
        from sentencex import segment
    except ImportError as error:
        raise MissingDependencyError(
            f"splitting a text into sentences needs sentencex: {install_command('semantic-entropy[sentences]')}"
        ) from error
    plain = _SPACE.sub(" ", _LINE_END.sub("\n", replace_surrogates(text)))  # as many characters as the text
    for block in _blocks(plain):
        if block.kind == "heading" and not headings:
            continue
        content = plain[block.start : block.end]
        at = 0
        for part in segment("en", content) if block.kind == "prose" else [content]:
            sentence = part.strip()
            start = content.index(sentence, at)
            at = start + len(sentence)
            if any(map(str.isalnum, sentence)):
                yield block.start + start, block.start + at


def _blocks(text: str) -> Iterator[_Block]:
    """Yield the blocks of a text in order. Lines of prose that follow each other are one block."""
    marks = list(_MARK.finditer(text))
    if not marks:
        yield _Block(0, len(text), "prose")
        return
    items = _numbered_items(marks)
    at = 0  # the start of the block of prose that is not yielded yet
    fence = ""
    for mark in marks:
        kind = mark.lastgroup or ""
        if fence:  # inside a block of code, until the line that closes it
            if kind == "fence" and mark["fence"].startswith(fence):
                yield _Block(at, mark.end(), "whole")
                at, fence = mark.end(), ""
            continue
        if kind in ("number", "letter") and mark.start() not in items:
            continue
        yield _Block(at, mark.start(), "prose")
        at = mark.end()
        if kind == "fence":
            at, fence = mark.start(), mark["fence"]
        elif kind in ("heading", "row"):
            end = text.find("\n", mark.start("heading") if kind == "heading" else mark.end())
            end = len(text) if end < 0 else end
            start = mark.end() if kind == "heading" else mark.start()
            yield _Block(start, end, "heading" if kind == "heading" else "whole")
            at = end
    yield _Block(at, len(text), "whole" if fence else "prose")


def _numbered_items(marks: Iterable[re.Match[str]]) -> set[int]:
    """Return the places of the marks that number a list. One number alone is none: a line can start with `12. May`."""
    numbered = [mark for mark in marks if mark.lastgroup in ("number", "letter")]
    places: set[int] = set()
    for mark, following in pairwise(numbered):
        one, other = _ordinal(mark), _ordinal(following)
        if other in (one + 1, one):
            places |= {mark.start(), following.start()}
    return places


def _ordinal(mark: re.Match[str]) -> int:
    return int(mark["number"]) if mark["number"] else ord(mark["letter"])

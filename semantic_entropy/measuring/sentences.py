"""Sentences of a text, by sentencex (extra `sentences`), which has the rules of about 300 languages.

The language of a response is not known, so the rules for English are used. They split at the sentence ends of other
scripts too (Chinese, Japanese, Arabic, Devanagari), and at line breaks. Abbreviations of other languages can split a
sentence. Docs: decisions/sentences.md, with the other splitters that were tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec

from semantic_entropy.errors import MissingDependencyError, install_command
from semantic_entropy.plain_text import replace_surrogates

_LINE_END = re.compile("[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_SPACE = re.compile(r"[^\S\n]")  # other white space: sentencex 1.0 fails at a wide space after a point


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, without white space at their ends.

    Parts without a letter or digit, such as a rule in Markdown, are left out.

    Raises:
        MissingDependencyError: sentencex is not installed.
    """
    return [text[start:end] for start, end in sentence_spans(text)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return the place (start, end) of each sentence of `split_sentences` in the text. Raises its errors."""
    return list(_spans(text))


def can_split() -> bool:
    """Whether sentencex is installed."""
    return find_spec("sentencex") is not None


def _spans(text: str) -> Iterator[tuple[int, int]]:
    try:
        from sentencex import segment
    except ImportError as error:
        raise MissingDependencyError(
            f"splitting a text into sentences needs sentencex: {install_command('semantic-entropy[sentences]')}"
        ) from error
    plain = _SPACE.sub(" ", _LINE_END.sub("\n", replace_surrogates(text)))  # as many characters as the text
    at = 0
    for part in segment("en", plain):
        sentence = part.strip()
        start = plain.index(sentence, at)
        at = start + len(sentence)
        if any(map(str.isalnum, sentence)):
            yield start, at

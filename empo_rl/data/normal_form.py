r"""A question's tokens, and the form in which two questions are compared.

Two questions are the same where their tokens are. Ignored are letter case and Unicode compatibility forms (NFKC), white
space, LaTeX's spacing and size commands (`\,`, `\quad`, `\left`, `~`), math delimiters (`$`, `\(`, `\[`), the size of a
fraction (`\dfrac`), and the prompt's closing words where a data set stores them with the question.

Not ignored: braces, punctuation, the order of words, numbers. `x^2` and `x^{2}` differ here, and are near.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from empo_rl.config.templates import PLACEHOLDER, TEMPLATES

_TOKEN = re.compile(r"\\(?:[^\W\d_]+|.)|[^\W\d_]+|\d+(?:\.\d+)?|\S", re.DOTALL)
_IGNORED = frozenset(
    [*"$~", *(f"\\{mark}" for mark in "()[],;:!>"), "\\quad", "\\qquad", "\\displaystyle", "\\left", "\\right"]
    + [f"\\{size}{side}" for size in ("big", "bigg") for side in ("", "l", "r", "m")]
)
_SAME = {"\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\leq": "\\le", "\\geq": "\\ge", "\\neq": "\\ne"}

# Qwen's own, which many data sets carry; the others are those of Appendix A.
_OTHER_SUFFIXES = (r"Please reason step by step, and put your final answer within \boxed{}.",)


def tokens(question: str) -> list[str]:
    """Words, numbers, LaTeX commands and single marks, without what is ignored."""
    found = _plain_tokens(question)
    while True:
        length = next((len(end) for end in _suffixes() if len(found) > len(end) and _ends(found, end)), 0)
        if not length:
            return found
        found = found[:-length]


def normal_form(question: str) -> str:
    """The tokens with a space between each two; the normal form of a normal form is itself."""
    return " ".join(tokens(question))


def numbers(found: list[str]) -> tuple[str, ...]:
    """Those of the tokens that are numbers, in order."""
    return tuple(token for token in found if token[0].isdecimal())


def shingles(found: list[str], words: int) -> frozenset[str]:
    """Every run of so many tokens; of a shorter text, the whole."""
    size = min(words, len(found))
    return frozenset(" ".join(found[start : start + size]) for start in range(len(found) - size + 1)) if size else _NONE


_NONE: frozenset[str] = frozenset()


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """|A and B| / |A or B|, in [0, 1]; 0 where both are empty."""
    both = len(left & right)
    return both / (len(left) + len(right) - both) if both else 0.0


def _plain_tokens(text: str) -> list[str]:
    found = [_SAME.get(token, token) for token in _TOKEN.findall(_folded(text))]
    return [token for token in found if token not in _IGNORED and not (token[0] == "\\" and token[1:].isspace())]


def _folded(text: str) -> str:
    while (folded := unicodedata.normalize("NFKC", text.casefold())) != text:  # one round is not always enough
        text = folded
    return text


@cache
def _suffixes() -> tuple[tuple[str, ...], ...]:
    texts = {turn.replace(PLACEHOLDER, "") for turns in TEMPLATES.values() for turn in turns.values() if turn}
    found = {tuple(_plain_tokens(text)) for text in (*texts, *_OTHER_SUFFIXES)}
    return tuple(sorted(found - {()}, key=len, reverse=True))


def _ends(found: list[str], end: tuple[str, ...]) -> bool:
    return tuple(found[-len(end) :]) == end

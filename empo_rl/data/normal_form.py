r"""Split a question into tokens, and make its normal form, which is compared with other questions.

Two questions are equal if their tokens are equal. The tokens do not depend on letter case, Unicode compatibility
forms (NFKC), white space, LaTeX commands for spacing and size (`\,`, `\quad`, `\left`, `~`), math delimiters (`$`,
`\(`, `\[`), the size of a fraction (`\dfrac`), or a closing instruction such as "Please reason step by step ...", which
some data sets store with the question.

The tokens depend on braces, punctuation, word order and numbers. `x^2` and `x^{2}` are not equal, but near.
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
_SYNONYMS = {"\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\leq": "\\le", "\\geq": "\\ge", "\\neq": "\\ne"}

# The instruction of Qwen's prompts, which many data sets contain. The paper's Appendix A has further instructions.
_OTHER_INSTRUCTIONS = (r"Please reason step by step, and put your final answer within \boxed{}.",)


def tokens(question: str) -> list[str]:
    """The tokens of a question: words, numbers, LaTeX commands and single characters."""
    found = _all_tokens(question)
    while True:
        length = next((len(end) for end in _instructions() if len(found) > len(end) and _ends_with(found, end)), 0)
        if not length:
            return found
        found = found[:-length]


def normal_form(question: str) -> str:
    """The tokens of a question, joined by spaces. A second call on the result returns the same text."""
    return " ".join(tokens(question))


def numbers(found: list[str]) -> tuple[str, ...]:
    """The tokens that are numbers, in order."""
    return tuple(token for token in found if token[0].isdecimal())


def shingles(found: list[str], words: int) -> frozenset[str]:
    """Every run of `words` consecutive tokens. If there are fewer tokens, all tokens are one run."""
    size = min(words, len(found))
    if not size:
        return frozenset()
    return frozenset(" ".join(found[start : start + size]) for start in range(len(found) - size + 1))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """|A and B| / |A or B|, in [0, 1]; 0 if both sets are empty."""
    both = len(left & right)
    return both / (len(left) + len(right) - both) if both else 0.0


def _all_tokens(text: str) -> list[str]:
    found = [_SYNONYMS.get(token, token) for token in _TOKEN.findall(_folded(text))]
    return [token for token in found if token not in _IGNORED and not (token[0] == "\\" and token[1:].isspace())]


def _folded(text: str) -> str:
    while (folded := unicodedata.normalize("NFKC", text.casefold())) != text:  # one pass is not always enough
        text = folded
    return text


@cache
def _instructions() -> tuple[tuple[str, ...], ...]:
    """The tokens of each closing instruction, the longest first."""
    texts = {turn.replace(PLACEHOLDER, "") for turns in TEMPLATES.values() for turn in turns.values() if turn}
    found = {tuple(_all_tokens(text)) for text in (*texts, *_OTHER_INSTRUCTIONS)}
    return tuple(sorted(found - {()}, key=len, reverse=True))


def _ends_with(found: list[str], end: tuple[str, ...]) -> bool:
    return tuple(found[-len(end) :]) == end

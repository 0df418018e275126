r"""Which words of an answer no sample says: a check of each written word, beside the support of sentences.

A sentence can be supported although it has a few words more than the samples, because scorers of sentences accept other
words for the same. This check accepts none: a word is said if it is written in a sample or in the question. A few
English words that state nothing (`the`, `of`, `is`) are always said; `not`, `no`, `you` and `must` are not among them.

    word      letters, without regard to case and width; in scripts without spaces (Chinese, Japanese, Thai, Lao), a
              character
    number    digits with points and commas: `1,000` and `1000` are equal, `1000.0` is another one
    link      a piece of text without a space that has `://`, `www.`, `](`, an `@` or the form of a domain: it is one
              word, so that no link is composed of words that the samples say

It reads characters, and knows no language, no markup and no inflection, so that nothing which is sent to a person is
passed over. Left out: the order of words, and signs such as `<`, `%` and emoji.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

_ALONE = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Thai, Lao, kana, Chinese characters
_WORD = re.compile(rf"\d+(?:[.,]\d+)*|[{_ALONE}]|[^\W\d_{_ALONE}]+")
_LINK = re.compile(r"://|www\.|\]\(|@\w|[^\W_]\.[^\W\d_]{2}")
_STATE_NOTHING = frozenset("a an and are as at by for from in is it its of on that the this to with".split())
_AROUND = ".,;:!?\"'()[]<>*_`"  # signs at the ends of a link


def unsaid_words(answer: str, samples: Iterable[str], question: str | None = None) -> tuple[str, ...]:
    """Return the words of an answer that are written neither in a sample nor in the question, each once, in order."""
    said = _STATE_NOTHING.union(_words(question or ""), *map(_words, samples))
    return tuple(dict.fromkeys(word for word in _words(answer) if word not in said))


def _words(text: str) -> Iterator[str]:
    for piece in unicodedata.normalize("NFKC", text).casefold().split():
        if _LINK.search(piece):
            yield piece.strip(_AROUND)
        else:
            yield from (word.replace(",", "") for word in _WORD.findall(piece))

r"""Which words, signs and code of an answer no sample says, and in which order, beside the support of sentences.

A sentence can be supported although it has a few words more than the samples, because scorers of sentences accept other
words for the same. This check accepts none: a word is said if it is written in a sample or in the question. A few
English words that state nothing (`the`, `of`, `is`) are always said; `not`, `no`, `you` and `must` are not among them.

    word      letters, without regard to case and width; in scripts without spaces (Chinese, Japanese, Thai, Lao), a
              character
    number    digits with points and commas: `1,000` and `1000` are equal, `1000.0` is another one
    link      a piece of text without a space that has `://`, `www.`, `](`, an `@` or the form of a domain: it is one
              word, so that no link is composed of words that the samples say
    sign      a symbol (`+`, `<`, `$`, `~`, an emoji), a character that is not seen (zero-width, a mark of direction, a
              tag) and a mark that strikes through: each is said if a sample or the question has it
    code      each line of a fenced block and each span in backquotes is said if a sample or the question has the same
              characters in a row, without regard to the amount of white space

    order     two words of a sentence, next to each other or with one word between them, are in an order that nobody
              says if a sample or the question says both in one sentence, and all such sentences have the other order:
              `Bob pays Alice` and `Alice pays Bob`. Words that state nothing are left out first.

It reads characters, and knows no language, no markup and no inflection, so that nothing which is sent to a person is
passed over. Left out: the order of words that no sample has in one sentence, the order of sentences, and punctuation
outside code.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

_ALONE = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Thai, Lao, kana, Chinese characters
_WORD = re.compile(rf"\d+(?:[.,]\d+)*|[{_ALONE}]|[^\W\d_{_ALONE}]+")
_LINK = re.compile(r"://|www\.|\]\(|@\w|[^\W_]\.[^\W\d_]{2}")
_STATE_NOTHING = frozenset("a an and are as at by for from in is it its of on that the this to with".split())
_SIGNS = frozenset({"Sm", "Sc", "So", "Cf", "Co", "Cn", "Cs", "Me"})  # Unicode categories
_MARKS = re.compile("[\u0334-\u0338\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # strike-through, variation selectors
_FENCES = ("```", "~~~")
_AROUND = ".,;:!?\"'()[]<>*_`"  # signs at the ends of a link


def unsaid_words(answer: str, samples: Sequence[str], question: str | None = None) -> tuple[str, ...]:
    """Return what of an answer is written neither in a sample nor in the question, each once.

    Words come first, in order, then signs, then code.
    """
    known = [question or "", *samples]
    words = _STATE_NOTHING.union(*map(_words, known))
    signs = frozenset[str]().union(*map(_signs, known))
    texts = [" ".join(text.split()) for text in known]
    found = [
        *(word for word in _words(answer) if word not in words),
        *(sign for sign in _signs(answer) if sign not in signs),
        *(line for line in _code_lines(answer) if not any(line in text for text in texts)),
    ]
    return tuple(dict.fromkeys(found))


def unsaid_orders(sentences: Sequence[str], known: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of words of an answer whose order nobody says, each once.

    Args:
        sentences: the sentences of the answer.
        known: the sentences of the samples and of the question.
    """
    pairs = dict.fromkeys(pair for sentence in sentences for pair in _near_pairs(sentence))
    wanted = {word for pair in pairs for word in pair}
    places: dict[str, dict[int, tuple[int, int]]] = {}  # of a word: its first and last place in each known sentence
    for number, sentence in enumerate(known):
        for at, word in enumerate(_words(sentence)):
            if word in wanted:
                own = places.setdefault(word, {})
                own[number] = own[number][0] if number in own else at, at
    return tuple(pair for pair in pairs if _is_only_reversed(*(places.get(word, {}) for word in pair)))


def _near_pairs(sentence: str) -> Iterator[tuple[str, str]]:
    words = [word for word in _words(sentence) if word not in _STATE_NOTHING]
    for distance in (1, 2):
        yield from ((word, other) for word, other in zip(words, words[distance:], strict=False) if word != other)


def _is_only_reversed(one: Mapping[int, tuple[int, int]], other: Mapping[int, tuple[int, int]]) -> bool:
    both = one.keys() & other.keys()
    return bool(both) and not any(one[number][0] < other[number][1] for number in both)


def _words(text: str) -> Iterator[str]:
    for piece in unicodedata.normalize("NFKC", text).casefold().split():
        if _LINK.search(piece):
            yield piece.strip(_AROUND)
        else:
            yield from (word.replace(",", "") for word in _WORD.findall(piece))


def _signs(text: str) -> Iterator[str]:
    return (char for char in text if unicodedata.category(char) in _SIGNS or _MARKS.match(char))


def _code_lines(text: str) -> Iterator[str]:
    is_code = False
    for line in text.splitlines():
        if line.lstrip().startswith(_FENCES):
            is_code = not is_code
        for code in [line] if is_code else line.split("`")[1::2]:
            if code.strip():
                yield " ".join(code.split())

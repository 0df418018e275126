"""Judges that read strings: no model, microseconds a pair.

The rule of `text`, for all sources:

1. An answer is reduced to its content words: case, accents and punctuation are folded, number words become digits, and
   function words and the question's own words are dropped (unless nothing would be left).
2. Two answers mean the same if one's content words contain the other's, or if they share 60% of the shorter one's three
   or more.
3. They never do if one says yes and the other no, if they differ in a negation alone, or if their numbers have nothing
   in common.

Two answers that are JSON objects or lists as a whole are compared as data instead.

Left out: synonyms, paraphrase, entailment. Those need a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from semantic_entropy.plugin import Equivalence, Pair, Verdict, errors
from semantic_entropy_plugins.text.content_words import SHORT, STOP_WORDS, fold, tokens
from semantic_entropy_plugins.text.fences import without_fence


class Exact(Equivalence):
    """Equal strings mean the same, white space at the ends aside."""

    name = "exact"
    cache_identity = "semantic_entropy_plugins.text:Exact"
    cheap = True

    @property
    def settings(self) -> Hashable:
        return self.name

    def keys(self, question: str | None, answers: Sequence[str]) -> Sequence[Hashable | None]:
        return [answer.strip() for answer in answers]

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return [Verdict(pair.left.strip() == pair.right.strip()) for pair in pairs]


class Regex(Equivalence):
    """Equal matches of the pattern mean the same: all of its groups where it has some, else the whole last match.

    An answer without a match is undecided against every other.
    """

    name = "regex"
    cache_identity = "semantic_entropy_plugins.text:Regex"
    cheap = True

    def __init__(self, pattern: str) -> None:
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise errors.OptionError(f"regex: pattern={pattern!r} is not a regular expression: {error}") from None

    @property
    def settings(self) -> Hashable:
        return (self.name, self._pattern.pattern)

    def describe(self) -> str:
        return f"{self.name}(pattern={self._pattern.pattern!r})"

    def keys(self, question: str | None, answers: Sequence[str]) -> Sequence[Hashable | None]:
        return [self._key(answer) for answer in answers]

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return [self._verdict(self._key(pair.left), self._key(pair.right)) for pair in pairs]

    def _key(self, answer: str) -> Hashable | None:
        found = list(self._pattern.finditer(answer))
        return (found[-1].groups() or found[-1].group()) if found else None

    @staticmethod
    def _verdict(left: Hashable | None, right: Hashable | None) -> Verdict:
        if left is None or right is None:
            return Verdict(None, reason="the pattern does not match")
        return Verdict(left == right)


class NGram(Equivalence):
    """The same where the Jaccard overlap of character n-grams (folded words, spaces kept) reaches `threshold`.

    The score is the overlap. Source: the paper names n-grams among its predefined rules (Section 3.1).
    """

    name = "ngram"
    cache_identity = "semantic_entropy_plugins.text:NGram"
    cheap = True

    def __init__(self, n: int = 3, threshold: float = 0.6) -> None:
        if n < 1:
            raise errors.OptionError(f"ngram: n={n} must be at least 1")
        if not 0 < threshold <= 1:
            raise errors.OptionError(f"ngram: threshold={threshold} must be in (0, 1]")
        self.n, self.threshold = n, threshold

    @property
    def settings(self) -> Hashable:
        return (self.name, self.n, self.threshold)

    def describe(self) -> str:
        return f"{self.name}(n={self.n}, threshold={self.threshold})"

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        scores = [self._overlap(_grams(pair.left, self.n), _grams(pair.right, self.n)) for pair in pairs]
        return [Verdict(score >= self.threshold, score) for score in scores]

    @staticmethod
    def _overlap(left: frozenset[str], right: frozenset[str]) -> float:
        union = len(left | right)
        return len(left & right) / union if union else 1.0


def _grams(text: str, n: int) -> frozenset[str]:
    return _remembered_grams(text, n) if len(text) <= SHORT else _cut(text, n)


def _cut(text: str, n: int) -> frozenset[str]:
    line = " ".join(tokens(text)) or fold(text).strip()
    return frozenset(line[i : i + n] for i in range(max(1, len(line) - n + 1)))


_remembered_grams = lru_cache(maxsize=4096)(_cut)


class Content(NamedTuple):
    """What an answer says beyond its question.

    data: where the whole of it is a JSON object or list. symbols: all of it, where it holds no words.
    """

    data: Hashable | None
    symbols: str | None
    words: frozenset[str]
    all_words: frozenset[str]
    numbers: frozenset[str]
    polarity: str | None


class Text(Equivalence):
    """Short answers by their content words; the rule is this module's docstring. Its score is the share in common."""

    name = "text"
    cache_identity = "semantic_entropy_plugins.text:Text"
    uses_question = True
    cheap = True

    @property
    def settings(self) -> Hashable:
        return self.name

    def keys(self, question: str | None, answers: Sequence[str]) -> Sequence[Hashable | None]:
        return [_content(question, answer) for answer in answers]

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return [_compare(_content(p.question, p.left), _content(p.question, p.right)) for p in pairs]


_YES, _NO = (
    frozenset(("yes", "yeah", "yep", "true", "correct")),
    frozenset(("no", "nope", "false", "incorrect")),
)
_NEGATIONS = frozenset("not never cannot cant dont doesnt didnt isnt arent wasnt werent wont nor none neither".split())
ENOUGH_WORDS, ENOUGH_SHARE = 3, 0.6


def _content(question: str | None, answer: str) -> Content:
    return _remembered(question, answer) if len(answer) <= SHORT else _read(question, answer)


def _read(question: str | None, answer: str) -> Content:
    words = tokens(answer)
    words = words[1:] if words[:1] == ("i",) else words  # the speaker; elsewhere it may be a numeral
    kept = frozenset(words) - STOP_WORDS
    beyond = kept - frozenset(tokens(question or ""))
    numbers = frozenset(word for word in beyond if word[0].isdigit() or word[0] == "-")
    symbols = None if words else fold(answer).strip()
    return Content(_data(answer), symbols, beyond, kept or frozenset(words), numbers, _polarity(words))


_remembered = lru_cache(maxsize=16384)(_read)


def _data(answer: str) -> Hashable | None:
    """A JSON object or list, with the order of keys, number formats, case and spacing folded."""
    text = without_fence(answer, "json")
    if text[:1] not in ("{", "[") or text[-1:] not in ("}", "]"):
        return None
    try:
        return _folded(json.loads(text))
    except (ValueError, RecursionError):  # not JSON after all, or nested past reading
        return None


def _folded(value: Any) -> Hashable:
    if isinstance(value, dict):
        return "object", frozenset((fold(key), _folded(item)) for key, item in value.items())
    if isinstance(value, list):
        return "list", tuple(map(_folded, value))
    if isinstance(value, str):
        return " ".join(tokens(value)) or fold(value)
    return type(value) is bool, value  # true is not 1, 1 is 1.0


def _polarity(words: Sequence[str]) -> str | None:
    if not words:
        return None
    if words[0] in _YES:
        return "yes"
    return "no" if words[0] in _NO or not _NEGATIONS.isdisjoint(words) else None


def _compare(left: Content, right: Content) -> Verdict:
    if left.data is not None and right.data is not None:
        return _equal(left.data, right.data)
    if left.symbols is not None or right.symbols is not None:
        return _equal(left.symbols, right.symbols)
    if conflict := _conflict(left, right):
        return Verdict(False, 0.0, conflict)
    return _overlap(*((left.words, right.words) if left.words and right.words else (left.all_words, right.all_words)))


def _equal(left: Hashable, right: Hashable) -> Verdict:
    return Verdict(left == right, float(left == right))


def _conflict(left: Content, right: Content) -> str | None:
    if left.polarity and right.polarity and left.polarity != right.polarity:
        return "yes against no"
    if left.numbers and right.numbers and left.numbers.isdisjoint(right.numbers):
        return "different numbers"
    return None


def _overlap(one: frozenset[str], other: frozenset[str]) -> Verdict:
    if one != other and (one ^ other) <= _NEGATIONS:
        return Verdict(False, 0.0, "one denies the other")
    shorter = min(len(one), len(other))
    share = len(one & other) / shorter
    return Verdict(share == 1 or (shorter >= ENOUGH_WORDS and share >= ENOUGH_SHARE), share)

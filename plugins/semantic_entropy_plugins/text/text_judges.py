"""Judges that compare strings: no model, microseconds per pair.

The rule of `text`:

1. An answer is reduced to its content words: case, accents and punctuation are ignored, number words become digits, and
   function words and the words of the question are removed, unless no word would remain.
2. Two answers mean the same if one answer contains all content words of the other answer. They also mean the same if
   the shorter answer has at least three content words and the longer answer contains 60% of them.
3. Rule 3 overrides rule 2. Two answers differ if one answer says yes and the other answer says no, if they differ only
   in a negation, or if both have numbers and no number is in both.

Two answers that are JSON objects or lists are compared as data instead.

Left out: synonyms, paraphrase and entailment, which need a model.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple

from semantic_entropy.plugin import Equivalence, Pair, Verdict, errors
from semantic_entropy_plugins.options import checked_number
from semantic_entropy_plugins.text.content_words import LONGEST_CACHED, STOP_WORDS, fold, tokens
from semantic_entropy_plugins.text.json_answers import json_key


class Exact(Equivalence):
    """Equal strings mean the same. White space at the ends is ignored."""

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
    """Equal matches of a pattern mean the same.

    Only the last match in an answer is compared: its groups if the pattern has groups, else the whole match. A pair is
    undecided if one of its answers has no match.

    Args:
        pattern: a regular expression of Python's `re`.

    Raises:
        OptionError: the pattern is not a regular expression.
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
    """Two answers mean the same if the Jaccard overlap of their character n-grams reaches `threshold`.

    The n-grams are taken from the folded words, joined by spaces. The score is the overlap. Source: the EMPO paper
    names n-grams among its predefined rules (Section 3.1).

    Args:
        n: the number of characters in an n-gram, at least 1.
        threshold: the smallest overlap, in (0, 1], with which two answers mean the same.

    Raises:
        OptionError: an option is outside its limits.
    """

    name = "ngram"
    cache_identity = "semantic_entropy_plugins.text:NGram"
    cheap = True

    def __init__(self, n: int = 3, threshold: float = 0.6) -> None:
        self.n = checked_number(self.name, "n", n, 1, whole=True)
        self.threshold = checked_number(self.name, "threshold", threshold, 0, most=1, above=True)

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
    return _cached_grams(text, n) if len(text) <= LONGEST_CACHED else _all_grams(text, n)


def _all_grams(text: str, n: int) -> frozenset[str]:
    line = " ".join(tokens(text)) or fold(text).strip()
    return frozenset(line[i : i + n] for i in range(max(1, len(line) - n + 1)))


_cached_grams = lru_cache(maxsize=4096)(_all_grams)


class Content(NamedTuple):
    """The content of an answer, as the judge `text` compares it.

    Attributes:
        data: the key of the JSON object or list, if the answer is one.
        symbols: the whole answer, if it contains no words.
        words: the content words, without the words of the question.
        all_words: the content words, including the words of the question.
        numbers: the numbers among `words`.
        polarity: "yes", "no" or None.
    """

    data: Hashable | None
    symbols: str | None
    words: frozenset[str]
    all_words: frozenset[str]
    numbers: frozenset[str]
    polarity: str | None


class Text(Equivalence):
    """Compares short answers by their content words. The module's docstring states the rule.

    The score is the share of the shorter answer's content words that both answers contain.
    """

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
    return _cached_content(question, answer) if len(answer) <= LONGEST_CACHED else _read(question, answer)


def _read(question: str | None, answer: str) -> Content:
    words = tokens(answer)
    words = words[1:] if words[:1] == ("i",) else words  # the speaker; elsewhere "i" may be a numeral
    kept = frozenset(words) - STOP_WORDS
    new = kept - frozenset(tokens(question or ""))
    numbers = frozenset(word for word in new if word[0].isdigit() or word[0] == "-")
    symbols = None if words else fold(answer).strip()
    return Content(json_key(answer), symbols, new, kept or frozenset(words), numbers, _polarity(words))


_cached_content = lru_cache(maxsize=16384)(_read)


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
        return "one says yes, the other no"
    if left.numbers and right.numbers and left.numbers.isdisjoint(right.numbers):
        return "different numbers"
    return None


def _overlap(one: frozenset[str], other: frozenset[str]) -> Verdict:
    if one != other and (one ^ other) <= _NEGATIONS:
        return Verdict(False, 0.0, "they differ in a negation")
    shorter = min(len(one), len(other))
    share = len(one & other) / shorter
    return Verdict(share == 1 or (shorter >= ENOUGH_WORDS and share >= ENOUGH_SHARE), share)

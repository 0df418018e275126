"""Judges that compare strings: no model, microseconds per pair.

`exact`, `regex` and `ngram` compare the strings themselves. `text` compares what two short answers say: words, numbers
and signs; `text.fact_comparison` states its rule.

For long answers, `text` also says how far a sample supports a sentence (`Text.support`).

Left out: synonyms, paraphrase and entailment, which need a model.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

from semantic_entropy.plugin import Equivalence, Pair, Verdict, errors, split_sentences
from semantic_entropy_plugins.options import checked_number
from semantic_entropy_plugins.text.answer_facts import Element
from semantic_entropy_plugins.text.content_words import LONGEST_CACHED, fold, tokens
from semantic_entropy_plugins.text.fact_comparison import ENOUGH_SHARE, ENOUGH_WORDS, compare, content
from semantic_entropy_plugins.text.measured_numbers import Quantity

_SOURCE = re.compile(
    r"(?<=[.!?,;:\u3002\uff0c])(?:\[\d{1,3}(?:, ?\d{1,3})*\])+"
)  # the number of a source: `She sang.[2]`


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
    rules = 4
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


LONGEST = 50_000  # characters, about 12,000 tokens: reading an answer takes up to 60 microseconds for each


class Text(Equivalence):
    """Compares what short answers say. `text.fact_comparison` states the rule.

    An answer of more than `LONGEST` characters is not read: it means the same as an equal text without regard to case
    and white space, and any other pair is undecided, with this reason.

    The score is the share of the shorter answer's words and numbers that both answers contain; 0 if they contradict
    each other.
    """

    name = "text"
    cache_identity = "semantic_entropy_plugins.text:Text"
    rules = 9
    uses_question = True
    cheap = True

    @property
    def settings(self) -> Hashable:
        return (self.name,)

    def keys(self, question: str | None, answers: Sequence[str]) -> Sequence[Hashable | None]:
        return [_key(question, answer) for answer in answers]

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return [_compare(pair) for pair in pairs]

    def support(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """Yield how far each sample has the words and numbers of the sentence.

            support = min(share of the sentence's content words, share of its numbers) that the sample says

        Words and numbers of the question do not count, unless the sentence has no others. A number is said if the
        sample has an equal one (`1 km`, `1000 m`); a unit on one side only is ignored. A word that the sentence denies
        is said if the sample denies it too. A kind that the sentence does not have is left out; in a sentence of
        function words only, these count, and in one of symbols only, the symbols. A sample says what its sentences say
        together. The smaller share counts, because one wrong number makes a sentence wrong, however many words agree.
        The number of a source after a sentence, as in `She sang.[2]`, is no number of the sentence.

        The sample supports the sentence (`Verdict.same`) by the rule of this judge for equal meanings: it says all
        words and numbers; or all numbers, and 60% of at least three words.
        """
        said: dict[str, _Said] = {}
        for index, pair in enumerate(pairs):
            if len(pair.right) > LONGEST:
                yield index, Verdict(None, reason=f"a sentence has {len(pair.right)} characters, more than {LONGEST}")
                continue
            if pair.left not in said:
                said[pair.left] = _Said(pair.left)
            yield index, said[pair.left].verdict(pair.question, _SOURCE.sub("", pair.right))


class _Said:
    """What the sentences of a sample say together: words, numbers, and what they deny."""

    def __init__(self, sample: str) -> None:
        self.words: set[tuple[str, bool]] = set()  # with whether it is said or denied
        self.raw: set[str] = set()
        sample = _SOURCE.sub("", sample)
        self.text = fold(sample)
        self.unread = 0  # sentences that are too long
        self._by_number: dict[tuple[Fraction, bool], set[Quantity]] = {}  # a number and its value in base units
        for sentence in split_sentences(sample):
            if len(sentence) <= LONGEST:
                self._add(sentence)
            else:
                self.unread += 1

    def _add(self, sentence: str) -> None:
        facts = content(None, sentence).facts
        self.raw.update(facts.raw)
        for is_said, elements in ((True, facts.said), (False, facts.denied)):
            for element in elements:
                if isinstance(element, Quantity):
                    for number in element.numbers:
                        self._by_number.setdefault((number, is_said), set()).add(element)
                else:
                    self.words.add((element, is_said))
        for both in facts.spellings:  # `mueller` is `muller` too
            for is_said in (True, False):
                if any((word, is_said) in self.words for word in both):
                    self.words.update((word, is_said) for word in both)

    def verdict(self, question: str | None, sentence: str) -> Verdict:
        found = self._verdict(question, sentence)
        if self.unread and not found.same:  # what was not read can say the rest
            return Verdict(None, reason=f"a sentence of the sample has more than {LONGEST} characters")
        return found

    def _verdict(self, question: str | None, sentence: str) -> Verdict:
        read = content(question, sentence)
        facts = read.facts
        elements = read.new or facts.elements
        if not elements:
            score = (
                _share([word in self.raw for word in facts.raw]) if facts.raw else float(fold(sentence) in self.text)
            )
            return Verdict(score == 1, score)
        spellings = {word: other for both in facts.spellings for word, other in (both, both[::-1])}
        held: dict[bool, list[bool]] = {}  # by whether they are numbers
        for element in elements:
            is_said = element in facts.said
            found = self._holds(element, is_said) or self._holds(spellings.get(str(element), element), is_said)
            held.setdefault(isinstance(element, Quantity), []).append(found)
        words, numbers = held.get(False, [True]), held.get(True, [True])
        enough = all(words) or (len(words) >= ENOUGH_WORDS and _share(words) >= ENOUGH_SHARE)
        return Verdict(enough and all(numbers), min(_share(words), _share(numbers)))

    def _holds(self, element: Element, is_said: bool) -> bool:  # a mark of the element
        if not isinstance(element, Quantity):
            return (element, is_said) in self.words
        candidates = (self._by_number.get((number, is_said), ()) for number in element.numbers)
        return any(element.agrees(other) for group in candidates for other in group)


def _share(held: Sequence[bool]) -> float:
    return sum(held) / len(held)


def _key(question: str | None, answer: str) -> Hashable:
    return content(question, answer) if len(answer) <= LONGEST else " ".join(fold(answer).split())


def _compare(pair: Pair) -> Verdict:
    longest = max(len(pair.left), len(pair.right))
    if longest <= LONGEST:
        return compare(content(pair.question, pair.left), content(pair.question, pair.right))
    if _key(pair.question, pair.left) == _key(pair.question, pair.right):
        return Verdict(True, 1.0)
    return Verdict(None, reason=f"an answer has {longest} characters, more than {LONGEST}")

"""Compares the facts of two answers: the rule of the judge `text`.

1. Two answers contradict each other, and differ, if
   - one says yes and the other says no;
   - one denies what the other says, or they have opposite words (`before`, `after`; `safe`, `unsafe`);
   - their other words are equal, and their function words, the order of words after `than` and the like, or how often
     they say a number exclude each other (`2 by 2`, `2 by 4`);
   - they give the same numbers to the same words in another way (`Brazil 2, Italy 1` and `Brazil 1, Italy 2`);
   - one leaves open what the other decides: `5 or 6`, `5 to 7`, `Paris or London`, and `5`, `Paris`;
   - each has a word of an either-or question that the other lacks;
   - each has a number, or a member of one class (a month, a sign, a label such as `Hepatitis A`), that the other lacks;
   - both are lists, and each has an item that the other lacks.
2. Otherwise they are the same if one answer has all content words and numbers of the other; or if the shorter answer
   has at least three of them, and the longer answer has 60% of these. In two short answers this must also hold for
   their words without numbers and dates: `2-1 Liverpool` and `2-1 Chelsea` share two of three.

Words of the question do not count, unless nothing else is left. A unit on one side only is ignored; two units must
give the same quantity.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Hashable
from fractions import Fraction
from functools import lru_cache
from itertools import dropwhile, pairwise, takewhile
from typing import Any, NamedTuple

from semantic_entropy.plugin import Verdict, errors, is_cancelled
from semantic_entropy_plugins.quantities.remarks import without_remarks
from semantic_entropy_plugins.text.answer_facts import Element, Facts, read_facts
from semantic_entropy_plugins.text.content_words import LONGEST_CACHED, fold
from semantic_entropy_plugins.text.formulas import same_formula
from semantic_entropy_plugins.text.given_values import is_date, leaves_open, swaps_numbers, words_of
from semantic_entropy_plugins.text.json_answers import json_key
from semantic_entropy_plugins.text.measured_numbers import Quantity, without_equal
from semantic_entropy_plugins.text.word_lists import (
    CONTRASTS,
    DEMONSTRATIVES,
    LEADING,
    POSITIONS,
    RANGE_SIGNS,
    SPANS,
    STOP_WORDS,
    opposites,
)

ENOUGH_WORDS, ENOUGH_SHARE = 3, 0.6
MOST_WORDS_BESIDE_NUMBERS = 4  # in longer answers, other words for the same are more frequent than other names
LONGEST_PHRASE, MOST_PHRASES = 4, 100  # words after `than` and the like, function words included; phrases an answer
FEWEST_ITEMS, MOST_ITEMS, LONGEST_ITEM = 3, 100, 3  # a list has 3 to 100 items of at most three words each


class Content(NamedTuple):
    """What the judge `text` compares. Equal contents mean the same.

    Attributes:
        data: the key of the JSON object or list, if the answer is one.
        symbols: the whole answer, if it contains no words.
        facts: the facts of the answer.
        new: the elements of the facts that are not in the question.
        numbers: the quantities among `new`; all quantities of the answer if the question has all its elements.
        options: the elements that are in the question too, if the question offers a choice (`Did Alice or Bob win?`).
        asked: the elements that are in the question too.
        names: the names in the question, if it has one.
        items: the items of a list, without elements of the question; empty if the answer is no list of short items.
        affirms: whether the answer repeats a question that begins with `is`, `can` or the like, without a yes or no.
    """

    data: Hashable | None
    symbols: str | None
    facts: Facts
    new: frozenset[Element]
    numbers: frozenset[Element]
    options: frozenset[Element]
    asked: frozenset[Element]
    names: frozenset[str]
    items: tuple[frozenset[Element], ...]
    affirms: bool


def content(question: str | None, answer: str) -> Content:
    """Read an answer to a question.

    Raises:
        SemanticEntropyError: the task is cancelled. Many long answers take minutes.
    """
    if len(answer) <= LONGEST_CACHED:
        return _cached_content(question, answer)
    if is_cancelled():
        raise errors.SemanticEntropyError("cancelled while the judge text read long answers")
    return _long_contents.get(question, answer)


class _LongContents:
    """A cache of long answers with a limit of their characters: each answer is compared with many others."""

    def __init__(self, most: int) -> None:
        self._most, self._characters = most, 0
        self._known: OrderedDict[tuple[str | None, str], Content] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, question: str | None, answer: str) -> Content:
        key = question, answer
        with self._lock:
            if known := self._known.get(key):
                self._known.move_to_end(key)
                return known
        found = _read(question, answer)
        with self._lock:
            if key not in self._known:
                self._known[key] = found
                self._characters += len(answer)
            while self._characters > self._most:
                (_, oldest), _ = self._known.popitem(last=False)
                self._characters -= len(oldest)
        return found


_long_contents = _LongContents(1_000_000)  # characters; what is read of them needs up to 300 bytes for each


def _read(question: str | None, answer: str) -> Content:
    answer = without_remarks(answer)
    facts = read_facts(answer)
    asked = _cached_facts(question).elements if question else frozenset()
    symbols = None if facts.raw or facts.elements else fold(answer).strip()
    items = tuple([new for item in facts.items if (new := item - asked)])
    listed = FEWEST_ITEMS <= len(items) <= MOST_ITEMS and all(len(item) <= LONGEST_ITEM for item in items)
    new = facts.elements - asked
    shared = facts.elements & asked
    options = shared if question and " or " in question else frozenset()
    numbers = _numbers(new or facts.elements)
    names = _names(question) if question else frozenset()
    listed_items = items if listed else ()
    affirms = bool(asked) and facts.polarity is None and asked <= facts.said and _asks_yes_or_no(question)
    return Content(json_key(answer), symbols, facts, new, numbers, options, shared, names, listed_items, affirms)


def _asks_yes_or_no(question: str | None) -> bool:
    return question is not None and " or " not in question and _YES_OR_NO.match(question) is not None


_YES_OR_NO = re.compile(r"\W*(?:is|are|was|were|do|does|did|can|could|has|have|had|will|would|should)\s", re.IGNORECASE)


@lru_cache(maxsize=1024)
def _names(question: str) -> frozenset[str]:
    """The words of a question with a capital, without those that begin a sentence."""
    return frozenset([fold(name) for name in _NAME.findall(question)])


_NAME = re.compile(r"(?<=[^.?!:\s] )[^\W\d_a-z][^\W\d_]{0,40}")
_cached_content = lru_cache(maxsize=16384)(_read)
_cached_facts = lru_cache(maxsize=1024)(read_facts)


def compare(left: Content, right: Content) -> Verdict:
    """The verdict, with the share of the shorter answer's elements that both have; 0 if the answers contradict."""
    if left.data is not None and right.data is not None:
        return _equal(left.data, right.data)
    if left.symbols is not None or right.symbols is not None:
        return _equal(left.symbols, right.symbols)
    one, other = left.facts.formula, right.facts.formula
    if one and other and (same := same_formula(one, other)) is not None:
        return Verdict(same, float(same))
    if contradiction := _contradiction(left, right):
        return Verdict(False, 0.0, contradiction)
    share, same = _overlap(left, right)
    if same and (difference := _difference(left, right)):
        return Verdict(False, 0.0, difference)
    return Verdict(same, share)


def _overlap(left: Content, right: Content) -> tuple[float, bool]:
    one, other = (left.new, right.new) if left.new and right.new else (left.facts.elements, right.facts.elements)
    if not (one and other):
        if left.facts.polarity == right.facts.polarity == "no" and (one or other) == {"no"}:
            return 1.0, True  # `No`, `It does not.`
        if (left.facts.polarity == "no") != (right.facts.polarity == "no"):
            return 0.0, False  # `he did it`, `he did not`: only function words
        one, other = frozenset(left.facts.raw), frozenset(right.facts.raw)
    share, same = _enough_shared(one, other, left.facts, right.facts)
    if same and share < 1 and _only_numbers_agree(left, right):
        return share, False
    return share, same


def _only_numbers_agree(left: Content, right: Content) -> bool:
    """Whether two short answers share too few words, without their numbers and dates.

    A score, a date or a range is several numbers, which would outvote the only name: `2-1 Liverpool`, `2-1 Chelsea`.
    """
    one, other = words_of(left.facts.elements), words_of(right.facts.elements)
    if not (one and other) or max(len(one), len(other)) > MOST_WORDS_BESIDE_NUMBERS:
        return False
    return not _enough_shared(one, other, left.facts, right.facts)[1]


def _enough_shared(one: frozenset[Element], other: frozenset[Element], left: Facts, right: Facts) -> tuple[float, bool]:
    shared = len(one) - len(_missing(one, other, left, right))
    shorter = min(len(one), len(other))
    share = min(1.0, shared / shorter)
    return share, share == 1 or (shorter >= ENOUGH_WORDS and share >= ENOUGH_SHARE)


def _equal(left: Hashable, right: Hashable) -> Verdict:
    return Verdict(left == right, float(left == right))


def _missing(one: frozenset[Element], other: frozenset[Element], left: Facts, right: Facts) -> set[Element]:
    """The elements of one answer that the other lacks. Quantities agree by value, `muller` and `mueller` are equal."""
    missing = set(one - other)
    if not missing:
        return missing
    spare = [element for element in other - one if isinstance(element, Quantity)]
    if spare:
        numbers = [element for element in missing if isinstance(element, Quantity)]
        missing = {element for element in missing if isinstance(element, str)} | set(without_equal(numbers, spare))
    if left.spellings or right.spellings:
        respelled = dict((*left.spellings, *right.spellings))
        words = {respelled.get(e, e) for e in other if isinstance(e, str)}
        missing = {e for e in missing if not (isinstance(e, str) and respelled.get(e, e) in words)}
    return missing


def _contradiction(left: Content, right: Content) -> str | None:
    one, other = left.facts, right.facts
    if _say_yes_and_no(left, right):
        return "one says yes, the other no"
    if (one.denied and not one.denied.isdisjoint(other.said)) or (
        other.denied and not other.denied.isdisjoint(one.said)
    ):
        return "they differ in a negation"
    if left.numbers and right.numbers and left.numbers != right.numbers and _different_numbers(left, right):
        return "different numbers"
    if left.options - right.options and right.options - left.options:
        return "different options of the question"
    if one.marks and other.marks and one.marks != other.marks and _excluded(one.marks, other.marks):
        return "different members of one class"
    return None


def _say_yes_and_no(left: Content, right: Content) -> bool:
    one, other = left.facts, right.facts
    if (left.affirms and "no" in other.elements) or (right.affirms and "no" in one.elements):
        return True
    return one.polarity is not None and other.polarity is not None and one.polarity != other.polarity


def _difference(left: Content, right: Content) -> str | None:
    """A difference that the shared words do not show."""
    only_left = left.facts.elements - right.facts.elements
    only_right = right.facts.elements - left.facts.elements
    if only_left and only_right and _opposite(only_left, only_right):
        return "opposite words"
    if _contrast(left.facts, right.facts):
        return "different function words"
    if _other_words_of_the_question(left, right):
        return "different words of the question"
    if values := _different_values(left, right):
        return values
    one_more = bool(only_left) != bool(only_right) and _operations(left.facts) != _operations(right.facts)
    if one_more and _is_formula(left.facts) and _is_formula(right.facts):
        return "different formulas"  # `n` and `n + 1`
    return None


def _different_values(left: Content, right: Content) -> str | None:
    if swaps_numbers(left.facts, right.facts):
        return "the same numbers for other words"
    if leaves_open(left.facts, right.facts, left.new, right.new):
        return "one answer leaves open what the other decides"
    if left.items and right.items and _has_other_item(left, right) and _has_other_item(right, left):
        return "different items"
    return None


def _contrast(left: Facts, right: Facts) -> bool:
    """Whether two answers with the same other words have function words or numbers that exclude each other."""
    words, others = left.elements - CONTRASTS.keys(), right.elements - CONTRASTS.keys()
    if words != others:
        return words_of(words) == words_of(others) and _repeats_another_number(left, right)
    one, other = _contrasts(left.raw), _contrasts(right.raw)
    return (one != other and _excluded(one, other)) or _leads_elsewhere(left.raw, right.raw)


def _contrasts(words: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    """The contrasting function words of an answer, and those beside its numbers."""
    found = {pair for word in words for pair in CONTRASTS.get(word, ())}
    for at, (word, following) in enumerate(pairwise(words)):
        if word in SPANS and following[-1:].isdigit():
            found.add((following, SPANS[word]))
        elif word in DEMONSTRATIVES and following not in STOP_WORDS:
            found.add(("demonstrative", DEMONSTRATIVES[word]))  # `this box`, `that box`
        elif following == "ago" and word[-1:].isdigit():
            found = {pair for pair in found if pair[0] != word} | {(word, "ago")}
        if word in POSITIONS and not any(map(is_date, words[at + 1 : at + 3])):
            found.add(("position", POSITIONS[word]))
        elif is_date(word) and is_date("".join(words[at + 2 : at + 3])):
            if following in RANGE_SIGNS:
                found.add(("two numbers", "range"))
            elif following in ("and", "or") and "between" not in words[max(0, at - 2) : at]:
                found.add(("two numbers", "pair"))
    return frozenset(found)


def _leads_elsewhere(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Whether `than`, `from`, `to` and the like lead to other words: `Tom is taller than Harry`."""
    if LEADING.isdisjoint(left):
        return False
    one, other = _leads(left), _leads(right)
    if max(len(one), len(other)) > MOST_PHRASES:
        return False
    lacking = {lead for lead, phrase in one - other if not _begins_alike(lead, phrase, other)}
    return not lacking.isdisjoint([lead for lead, phrase in other - one if not _begins_alike(lead, phrase, one)])


def _leads(words: tuple[str, ...]) -> set[tuple[str, tuple[str, ...]]]:
    found: set[tuple[str, tuple[str, ...]]] = set()
    for at, word in enumerate(words):
        if word in LEADING:
            after = dropwhile(STOP_WORDS.__contains__, words[at + 1 : at + 1 + LONGEST_PHRASE])
            found.add((word, tuple(takewhile(lambda part: part not in STOP_WORDS, after))))
    return {(lead, phrase) for lead, phrase in found if phrase}


def _begins_alike(lead: str, phrase: tuple[str, ...], leads: set[tuple[str, tuple[str, ...]]]) -> bool:
    return any(lead == word and not any(a != b for a, b in zip(phrase, other, strict=False)) for word, other in leads)


def _repeats_another_number(left: Facts, right: Facts) -> bool:
    """Whether both say equally many numbers, but one repeats a number that the other says once: `2 by 2`, `2 by 4`."""
    one, other = sorted((left, right), key=lambda facts: len(set(facts.counts)))
    numbers, others = frozenset(one.counts), frozenset(other.counts)
    repeated = len(numbers) < len(one.counts) == len(other.counts)
    return repeated and _has_other_number(others, numbers)


def _other_words_of_the_question(left: Content, right: Content) -> bool:
    """Whether two answers that say nothing else have other words of the question, or else other names of it."""
    only_left, only_right = left.asked - right.asked, right.asked - left.asked
    if not (only_left and only_right) or left.new != right.new or left.facts.polarity or right.facts.polarity:
        return False
    return not left.new or only_left | only_right <= left.names


def _different_numbers(left: Content, right: Content) -> bool:
    """Whether each answer has a number that the other lacks."""
    one, other = left.numbers - right.numbers, right.numbers - left.numbers
    return _has_other_number(one, other) and _has_other_number(other, one)


def _has_other_number(one: frozenset[Any], other: frozenset[Any]) -> bool:
    """Whether a quantity of the first set agrees with none of the second."""
    return any(True for _ in without_equal(one, other))


def _numbers(elements: frozenset[Element]) -> frozenset[Element]:
    return frozenset([element for element in elements if isinstance(element, Quantity)])


def _excluded(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> bool:
    return not {name for name, _ in one - other}.isdisjoint([name for name, _ in other - one])


def _opposite(one: frozenset[Element], other: frozenset[Element]) -> bool:
    return (
        any(not opposites(word).isdisjoint(other) for word in one if isinstance(word, str))
        or (_FIRST in one and "last" in other)
        or (_FIRST in other and "last" in one)
    )


_FIRST = Quantity(Fraction(1))


def _is_formula(facts: Facts) -> bool:
    return all(isinstance(element, Quantity) or len(element) == 1 for element in facts.elements)


def _operations(facts: Facts) -> frozenset[tuple[str, str]]:
    return frozenset([mark for mark in facts.marks if mark[0] == "operation"])


def _has_other_item(one: Content, other: Content) -> bool:
    return not all(any(item <= listed or listed <= item for listed in other.items) for item in one.items)

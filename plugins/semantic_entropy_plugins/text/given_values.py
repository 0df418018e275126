"""Compares the values in answers with the same words: which word a number belongs to, and what is left open.

Brazil 2, Italy 1    Brazil 1, Italy 2    the same numbers for other words
5 or 6, 5 to 7       5                    one answer leaves open what the other decides
"""

from __future__ import annotations

from semantic_entropy_plugins.quantities.number_words import plain
from semantic_entropy_plugins.text.answer_facts import Element, Facts
from semantic_entropy_plugins.text.measured_numbers import Quantity
from semantic_entropy_plugins.text.word_lists import PARTS_OF_DATES, RANGE_SIGNS, STOP_WORDS

FEWEST_SWAPPED = 2  # numbers
MOST_WORDS_OF_RANGE = 2  # besides numbers; in longer answers, a range is often a remark
_JOINING = frozenset(("and", "or", *RANGE_SIGNS))
_DIGITS_OF_YEAR = 4


def is_date(word: str) -> bool:
    """Whether a word is a number, a month or a weekday."""
    return word[-1:].isdigit() or word in PARTS_OF_DATES


def words_of(elements: frozenset[Element]) -> frozenset[Element]:
    """The elements without quantities, months and weekdays."""
    return frozenset([element for element in elements if isinstance(element, str) and element not in PARTS_OF_DATES])


def swaps_numbers(left: Facts, right: Facts) -> bool:
    """Whether both give the same numbers to the same words in another way: `Brazil 2, Italy 1`, `Brazil 1, Italy 2`."""
    if min(len(left.counts), len(right.counts)) < FEWEST_SWAPPED:
        return False
    both = [(_numbered(left.raw, after), _numbered(right.raw, after)) for after in (False, True)]
    found = [one != other for one, other in both if one and one.keys() == other.keys()]
    return bool(found) and all(found) and sorted(_digits(left.raw)) == sorted(_digits(right.raw))


def _digits(raw: tuple[str, ...]) -> list[str]:
    return [word for word in raw if word[-1:].isdigit()]


def _numbered(raw: tuple[str, ...], after: bool) -> dict[str, str]:
    """The number of each word right before a number, or after it; empty if a number has no word of its own."""
    found: dict[str, str] = {}
    numbers, word = 0, ""
    for part in reversed(raw) if after else raw:
        if part[-1:].isdigit():
            numbers += 1
            if word:
                found[word] = part
            word = ""
        elif part not in _JOINING and (part not in STOP_WORDS or not word):
            word = part
    return found if len(found) == numbers >= FEWEST_SWAPPED else {}


def leaves_open(left: Facts, right: Facts, new: frozenset[Element], other: frozenset[Element]) -> bool:
    """Whether one answer leaves open what the other decides: `5 or 6`, `between 5 and 7`, `3 and -3`.

    Args:
        left: the facts of an answer.
        right: the facts of another answer with the same words, or with those and more.
        new: the elements of `left` that the question does not have.
        other: the elements of `right` that the question does not have.
    """
    if _decides_less(left, right, new) or _decides_less(right, left, other):
        return True
    return len(new) != len(other) and _has_more_numbers(left, right)


def _decides_less(one: Facts, other: Facts, new: frozenset[Element]) -> bool:
    """Whether one answer has two values joined by `or` or by the sign of a range, and the other has one of them.

    Not `6 km or 3.7 miles`, and no range of years, which is often a remark: `the Third Crusade, from 1189 to 1192`.
    """
    if _JOINING.isdisjoint(one.raw):
        return False
    raw, words = one.raw, frozenset(other.raw)
    for at, sign in enumerate(raw):
        if sign not in _JOINING or not 0 < at < len(raw) - 1:
            continue
        left, right = raw[at - 1], raw[at + 1]
        if (left in words) == (right in words):
            continue
        if is_date(left) and is_date(right):
            open_ended = sign == "or" or (sign == "and" and "between" in raw[max(0, at - 3) : at - 1])
            is_range = open_ended or (sign in RANGE_SIGNS and max(len(left), len(right)) < _DIGITS_OF_YEAR)
            if is_range and len(words_of(new)) <= MOST_WORDS_OF_RANGE and not _converts(one, left, right):
                return True
        elif sign == "or" and one.elements - {left, right, "either"} == other.elements - {left, right}:
            return True
    return False


def _converts(facts: Facts, left: str, right: str) -> bool:
    """Whether two numbers have different units: `6 km or 3.7 miles`."""
    units = [quantity.unit for quantity in facts.counts if plain(quantity.number) in (left, right)]
    return None not in units


def _has_more_numbers(one: Facts, other: Facts) -> bool:
    """Whether both answers are plain numbers, and one has more of them: `3 and -3`, `3`."""
    if one.marks or other.marks:
        return False
    numbers = one.elements | other.elements
    return all(isinstance(number, Quantity) and number.unit is None for number in numbers)

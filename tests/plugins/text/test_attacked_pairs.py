"""Pairs from an attack on the judge `text` on 2026-11-26: same or different, and time on degenerate answers."""

from __future__ import annotations

import pytest

from semantic_entropy import Pair, load_equivalence

SAME, DIFFERENT = True, False

ATTACKED = {
    "the sign of money": [
        (DIFFERENT, "-$5", "$5"),
        (DIFFERENT, "-$5 million", "$5 million"),
        (DIFFERENT, "It was -$5 million.", "It was $5 million."),
        (DIFFERENT, "\u2212\u20ac3", "\u20ac3"),
        (DIFFERENT, "minus $5", "$5"),
        (SAME, "-$5", "-5 dollars"),
        (SAME, "-$5", "minus $5"),
    ],
    "the sign of an exponent": [
        (DIFFERENT, "1e-9", "1e9"),
        (DIFFERENT, "about 2e-3 m", "about 2e3 m"),
        (SAME, "1E-3", "0.001"),
        (SAME, "2e3", "2000"),
    ],
    "the scale of a range": [
        (DIFFERENT, "2-3 million", "2-3 billion"),
        (DIFFERENT, "$2-3 million", "$2-3 billion"),
        (DIFFERENT, "5\u201310 million people", "5\u201310 billion people"),
        (DIFFERENT, "5-10", "5-10 million"),
        (SAME, "2-3 million", "2 million to 3 million"),
        (SAME, "between 2 and 3 million", "between 2 million and 3 million"),
    ],
    "times and zones": [
        (DIFFERENT, "UTC+5", "UTC-5"),
        (DIFFERENT, "GMT+1", "GMT-1"),
        (DIFFERENT, "UTC+05:30", "UTC-05:30"),
        (DIFFERENT, "20:17 UTC", "20:17 EST"),
        (DIFFERENT, "1969-07-20T20:17:00Z", "1969-07-20T20:17:00+02:00"),
        (SAME, "UTC+5", "GMT+05:00"),
        (SAME, "20:17 UTC", "20:17"),
        (DIFFERENT, "quarter past eight", "quarter to eight"),
        (DIFFERENT, "at ten to five", "at ten past five"),
        (DIFFERENT, "five to nine", "nine to five"),
        (SAME, "a quarter to nine", "8:45"),
        (SAME, "half past two", "2:30"),
        (SAME, "from five to ten", "5 to 10"),
    ],
    "a leading ordinal is no list mark": [
        (DIFFERENT, "20. Juli 1969", "21. Juli 1969"),
        (DIFFERENT, "1. Weltkrieg", "2. Weltkrieg"),
        (DIFFERENT, "16. Jahrhundert", "17. Jahrhundert"),
        (DIFFERENT, "1. e4", "2. e4"),
        (SAME, "20. Juli 1969", "20.07.1969"),
        (SAME, "1. Paris", "Paris"),
        (SAME, "1) Paris", "Paris"),
        (SAME, "1. Yes", "Yes"),
        (SAME, "1. red\n2. green", "red, green"),
    ],
}


@pytest.mark.parametrize(("same", "left", "right"), [pair for pairs in ATTACKED.values() for pair in pairs])
def test_pairs_of_an_attack_are_judged_in_both_directions(same, left, right):
    judge = load_equivalence("text")
    assert [v.same for v in judge.judge([Pair(None, left, right), Pair(None, right, left)])] == [same, same]


@pytest.mark.timeout(60)  # milliseconds each; trying every division of the white space takes minutes
@pytest.mark.parametrize("space", [" ", "\t", "\u00a0"])
@pytest.mark.parametrize(
    "around", [("5", "5"), ("july", "5"), ("quarter", "past 5"), ("5", "- 6 million"), ("1.", "x")]
)
def test_a_run_of_white_space_is_read_once(space, around):
    text = (space * 20_000).join(around)
    assert load_equivalence("text").judge([Pair(text, text, text + "_")])


@pytest.mark.timeout(60)
def test_a_list_of_thousands_of_items_is_compared_as_words():
    left, right = (", ".join(f"{name}{i}" for i in range(5000)) for name in ("a", "b"))
    assert not load_equivalence("text").judge([Pair(None, left, right)])[0].same

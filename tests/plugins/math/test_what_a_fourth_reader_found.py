"""Pairs of kinds that a fourth reader, who did not know the rules, found merged or split by `math` (2026-11-27)."""

from __future__ import annotations

import pytest

from semantic_entropy import estimate, load_equivalence


@pytest.fixture(scope="module")
def math():
    judge = load_equivalence("math")
    yield judge
    judge.close()


DIFFERENT = [
    ("The area of the triangle is 24 cm\u00b2.", "The area of the triangle is 24 m\u00b2."),
    ("The acceleration is 5 m/s\u00b2.", "The acceleration is 5 km/s\u00b2."),
    ("The train leaves at 9:15 a.m.", "The train leaves at 9:15 p.m."),
    ("She wakes at 7 A.M. on Monday.", "She wakes at 7 P.M. on Monday."),
    ("2 or -2", "2"),
    ("3 and -3", "3"),
    ("1101\u2082", "1101\u2083"),
    ("The first term is 3.", "The last term is 3."),
    ("He is in debt by $5", "He is in profit by $5"),
    ("Le r\u00e9sultat est 15 \u20ac.", "Le r\u00e9sultat est 15 $."),
    ("42 is the answer to question 5.", "43 is the answer to question 5."),
    ("Result: 42\nTime: 3 s", "Result: 43\nTime: 3 s"),
]
SAME = [
    ("The area is 24 cm\u00b2.", "24 square centimeters"),
    ("The train leaves at 9:15 a.m.", "9:15 AM"),
    ("2 or -2", "-2 or 2"),
    ("5 m s^-1", "5 m/s"),
    ("1101\u2082", "1101_2"),
    ("15 $", "15 dollars"),
    ("42 is the answer to question 5.", "42"),
    ("1,00,000", "100000"),
    ("12,34", "34,12"),  # a list, as before
]


@pytest.mark.parametrize(("left", "right"), DIFFERENT, ids=ascii)
def test_responses_that_differ_are_kept_apart(math, left, right):
    result = estimate([left, right], equivalence=math)
    assert (result.labels, result.invalid) == ((0, 1), 0)


@pytest.mark.parametrize(("left", "right"), SAME, ids=ascii)
def test_responses_that_mean_the_same_agree(math, left, right):
    assert estimate([left, right], equivalence=math).labels == (0, 0)

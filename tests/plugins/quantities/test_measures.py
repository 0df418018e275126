"""Measures: what surrounds the number on one side only is ignored, what surrounds both numbers is compared."""

from __future__ import annotations

from fractions import Fraction

import pytest

from semantic_entropy_plugins.quantities import conflict, read_measure

TABLE = [  # the texts after two equal numbers, and whether the answers exclude each other
    ("AM", "PM", True),  # huggingface/Math-Verify#14
    ("a.m.", "AM", False),
    ("BC", "AD", True),
    ("B.C.E.", "BC", False),
    ("\u00b0 N", "\u00b0 S", True),
    ("\u00b0 N", "degrees north", False),
    ("% increase", "% decrease", True),
    ("dollars profit", "dollars loss", True),
    ("profit", "dollars", False),
    ("cm", "", False),
    ("cm", "m", False),  # one dimension: the caller compares the values
    ("cm", "kg", True),
    ("$", "\u20ac", True),
    ("pounds", "lbs", False),  # a mass, or money
    ("pounds", "\u00a3", False),
    ("dollars", "\u00a3", True),
    ("C", "\u00b0C", False),
    ("red marbles", "marbles", False),
    ("marbles", "apples", True),
    ("hours", "workers", True),
    ("km away", "km", False),
    ("at least", "at most", True),
    ("people in total", "people", False),
    ("children", "boys", True),
    ("men", "women", True),
    ("males", "females", True),
    ("apples", "pineapples", True),
    ("ants", "elephants", True),
    ("tables", "vegetables", True),
    ("tons", "buttons", True),
    ("cars", "scars", True),
    ("pens", "pencils", True),
    ("tons", "tonnes", False),
    ("%", "people", True),  # attack 2026-11-26, as are the rows below
    ("%", "km", True),
    ("%", "probability", False),
    ("\u00a5", "yen", False),
    ("\u00a5", "yuan", False),
    ("yen", "yuan", True),
    ("\u00a5", "$", True),
    ("Australian dollars", "US dollars", True),
    ("won", "yen", True),
    ("mcg", "mg", False),
    ("IU", "mg", True),
]


@pytest.mark.parametrize(("left", "right", "exclude"), TABLE)
def test_only_what_both_sides_state_is_compared(left, right, exclude):
    one, other = read_measure(left), read_measure(right)
    assert bool(conflict(one, other)) is exclude
    assert bool(conflict(other, one)) is exclude


@pytest.mark.parametrize(
    ("text", "scale", "unit"),
    [
        ("million dollars", 10**6, "usd"),
        ("thousand", 1000, None),
        ("k", 1000, None),
        ("bn euros", 10**9, "eur"),
        ("hundred thousand km", 10**5, "kilometre"),
        ("\u4e07\u5143", 10**4, "cny"),
        ("dozen eggs", 12, None),
        ("mill wheels", 1, None),
    ],
)
def test_scale_words_multiply_the_number(text, scale, unit):
    measure = read_measure(text)
    assert measure.scale == Fraction(scale)
    assert (measure.unit.name if measure.unit else None) == unit


def test_a_currency_may_stand_before_the_number():
    assert read_measure("million", before="$").unit == read_measure("million dollars").unit

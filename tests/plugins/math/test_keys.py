"""Exact keys: equal and different numbers, texts outside the grammar, and limits on time."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy_plugins.math.keys import LONGEST_EXACT, parse_exact

SAME = [  # all spellings in a row have one key
    ("1/2", "0.5", ".5", r"\frac{1}{2}", r"\frac12", r"\dfrac{1}{2}", "$0.50$", "\u00bd", "2^{-1}", r"\frac{2}{4}"),
    ("1000", "1,000", "1{,}000", "1 000", r"1\,000", "10^3", "1e3", "1000.", r"10 \cdot 100", r"\text{1000}"),
    ("3/2", r"1\frac12", "1\u00bd", "1 1/2", r"1\frac{1}{2}"),  # Khan/khan-exercises#150496
    ("-3", "\u22123", "- 3", r"\frac{-6}{2}", "0-3", r"-\frac{6}{2}"),
    (r"2\sqrt{2}", r"\sqrt{8}", r"\frac{4}{\sqrt{2}}", "sqrt(8)", "2\u221a2", r"\sqrt2+\sqrt2", r"2*\sqrt{2}"),
    (r"\frac{3\pi}{2}", r"3\pi/2", r"1.5\pi", "3\u03c0/2"),
    ("3", r"\sqrt[3]{27}", r"\sqrt9", "(3)", r"\left(3\right)"),
    ("(1,2)", r"\left( 1, 2 \right)", r"(\frac{2}{2}, 2.0)"),
    (r"\{1,2\}", r"\{2, 1\}", r"\left\{1,2\right\}"),
    (r"50\%", "50%", "50.0 %"),
]


@pytest.mark.parametrize("spellings", SAME, ids=lambda row: row[0])
def test_spellings_of_one_number_have_one_key(spellings):
    keys = {spelling: parse_exact(spelling) for spelling in spellings}
    assert all(keys.values()), keys
    assert len({known.key for known in keys.values()}) == 1, keys


def test_different_numbers_have_different_keys():
    keys = [parse_exact(row[0]).key for row in SAME]
    assert len(set(keys)) == len(keys)


OUTSIDE = [
    "2(3)",
    r"1\frac32",
    "x",
    "x=3",
    "5 cm",
    "1,2",
    "(1,000)",
    "0 000",
    "e",
    "1/0",
    "0^0",
    "",
    ".",
    "()",
    "1+",
]
LARGE = [
    "9^{9^{9^9}}",
    "10^{10^{10}}",
    "10^{-99999}",
    "1" * (LONGEST_EXACT + 1),
    "(" * 200,
    r"\sqrt{" * 40,
    "1e99999",
    "-" * 250,
]


@pytest.mark.parametrize("text", OUTSIDE + LARGE, ids=lambda text: text[:20])
def test_a_text_outside_the_grammar_has_no_key(text):
    assert parse_exact(text) is None


@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_arithmetic_is_exact(a, b):
    left, right = (rf"(\frac{{{x.numerator}}}{{{x.denominator}}})" for x in (a, b))
    for sign, value in (("+", a + b), ("-", a - b), ("*", a * b), ("/", a / b if b else None)):
        known = parse_exact(left + sign + right)
        assert (known.key if known else None) == (None if value is None else ("value", value))


@given(st.integers(0, 10**4), st.integers(1, 100))
def test_roots_are_reduced(n, k):
    known, squared = parse_exact(rf"\sqrt{{{n}}}"), parse_exact(rf"\sqrt{{{n}}}^2")
    assert squared.key == ("value", Fraction(n))
    assert parse_exact(rf"\frac{{\sqrt{{{n * k * k}}}}}{{{k}}}").key == known.key


@given(st.text(alphabet="0123456789+-*/^(){}[].,%\\ fracsqtpi$eE\u00bd\u221a\u22120", max_size=120))
def test_no_text_is_slow_or_raises_an_error(text):
    start = time.process_time()
    parse_exact(text)
    assert time.process_time() - start < 1  # detects a hang, measures no speed

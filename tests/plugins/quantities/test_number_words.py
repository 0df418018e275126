"""Number words become digits, and the rest of the text stays as it is."""

from __future__ import annotations

from fractions import Fraction

import pytest

from semantic_entropy_plugins.quantities.number_words import from_chinese, plain, with_digits, with_points

TEXTS = [
    ("two hundred and five people", "205 people"),
    ("Forty-two", "42"),
    ("one two three", "1 2 3"),
    ("nineteen, twenty", "19, 20"),  # a list, not the year 1920
    ("nineteen forty-five", "1945"),
    ("twenty twenty-one", "2021"),
    ("nineteen hundred", "1900"),
    ("nineteenth century", "19 century"),
    ("two hundred and fifth", "205"),
    ("a hundred", "100"),
    ("half a million", "500000"),
    ("a dozen eggs", "12 eggs"),
    ("1.5 million", "1500000"),
    ("three hundred thousand", "300000"),
    ("two and a half million", "2500000"),
    ("two point five", "2.5"),
    ("minus five", "-5"),
    ("minus 5", "-5"),
    ("two-thirds of it", "2/3 of it"),
    ("one third", "1/3"),
    ("one second", "1 second"),  # a time
    ("second and third", "2 and 3"),
    ("one and two", "1 and 2"),
    ("someone often tends to weight", "someone often tends to weight"),
    ("hundred", "hundred"),
    ("Jørgen is one", "Jørgen is 1"),
    ("\u0130stanbul two", "\u0130stanbul 2"),  # lower case of the first letter has two characters
]


@pytest.mark.parametrize(("text", "digits"), TEXTS)
def test_number_words_become_digits(text, digits):
    assert with_digits(text) == digits


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("十二", 12),
        ("二十", 20),
        ("一万二千", 12000),
        ("一九四五", 1945),
        ("二千二十", 2020),
        ("三星", None),
        ("", None),
    ],
)
def test_chinese_numbers_have_a_value(text, value):
    assert from_chinese(text) == value


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("0,125", "0.125"),
        ("-0,5 kg", "-0.5 kg"),
        ("3,14", "3.14"),
        ("1.500,25", "1500.25"),
        ("1,500", "1,500"),
        ("1,500.25", "1,500.25"),
        ("1,2,3 and (0,1)", "1,2,3 and (0,1)"),
        ("2,2-dimethyl", "2,2-dimethyl"),
        ("20,1969", "20,1969"),
    ],
)
def test_a_decimal_comma_becomes_a_point(text, written):
    assert with_points(text) == written


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(5), "5"),
        (Fraction(1, 4), "0.25"),
        (Fraction(-1, 8), "-0.125"),
        (Fraction(1, 3), "1/3"),
        (Fraction(41, 20), "2.05"),
    ],
)
def test_a_number_is_written_as_short_as_possible(value, text):
    assert plain(value) == text


@pytest.mark.timeout(60)  # a second each; a quadratic algorithm would take hours
@pytest.mark.parametrize("piece", ["one ", "hundred and ", "twenty-", "a hundred ", "minus ", "point one "])
def test_a_megabyte_of_number_words_is_read_in_one_pass(piece):
    assert with_digits(piece * (200_000 // len(piece)))

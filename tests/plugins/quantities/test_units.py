"""Units: spellings of one unit, products, prefixes, and words that are no units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy_plugins.quantities import read_unit

SAME = [
    ("cm", "centimeter", "centimetres", "CM"),
    ("m/s", "m s^-1", "meters per second", "m*s^{-1}"),
    ("cm^2", "square centimeters", "cm2", "sq cm", "centimeters squared"),
    ("km/h", "kph", "kilometers per hour", "km per hour"),
    ("J/(kg K)", "J kg^-1 K^-1"),
    ("\u00b0C", "degrees Celsius", "deg C", "\u2103"),
    ("$", "US$", "dollars", "USD", "US dollars"),
    ("\u20ac", "euros", "EUR"),
    ("ohms", "\u03a9", "ohm"),
    ("kg", "kilograms", "KG"),
    ("h", "hours", "hrs"),
    ("mcg", "\u00b5g", "micrograms"),  # attack 2026-11-26, as are the rows below
    ("BTU", "Btu"),
    ("ly", "light years"),
    ("pc", "parsec"),
    ("ppm", "parts per million"),
    ("ppb", "parts per billion"),
    ("fluid ounces", "fl oz"),
    ("Mbps", "Mb/s"),
    ("MBps", "MB/s"),
    ("Hong Kong dollars", "HK$"),
    ("mg/kg", "mg per kg"),
]


@pytest.mark.parametrize("spellings", SAME, ids=lambda row: row[0])
def test_spellings_of_one_unit_have_one_dimension_and_one_factor(spellings):
    units = [read_unit(spelling) for spelling in spellings]
    assert all(unit and not rest for unit, rest in units), units
    assert len({(unit.dimension, unit.factor) for unit, _ in units}) == 1, units


def test_different_units_differ_in_dimension_or_factor():
    units = [read_unit(row[0])[0] for row in SAME]
    assert len({(unit.dimension, unit.factor) for unit in units}) == len(SAME)
    assert read_unit("mW")[0] != read_unit("MW")[0]


@pytest.mark.parametrize("text", ["", "cat", "marbles", "in total", "x", "Paris", "7", "PMs", "tries"])
def test_other_words_are_not_units(text):
    assert read_unit(text)[0] is None


def test_the_text_after_the_unit_is_returned():
    unit, rest = read_unit("dollars profit")
    assert (unit.name, rest.strip()) == ("usd", "profit")


@given(st.text(alphabet="kmsg/^-() *23perµ°$\u20ac", max_size=80))
def test_no_text_raises_an_error(text):
    read_unit(text)

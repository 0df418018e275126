"""Dates in all orders and formats; a numeric date whose day and month can be exchanged has no known month."""

from __future__ import annotations

import pytest

from semantic_entropy_plugins.quantities.dates import find_dates

MOON = (1969, 7, 20)
TEXTS = [
    ("July 20, 1969", MOON),
    ("Saturday, july 20th 1969.", MOON),
    ("the 20th of July, 1969", MOON),
    ("20 Jul 1969", MOON),
    ("1969 July 20", MOON),
    ("1969-07-20", MOON),
    ("1969/7/20", MOON),
    ("20.07.1969", MOON),
    ("7/20/1969", MOON),
    ("20 de julio de 1969", MOON),
    ("20 juillet 1969", MOON),
    ("20. Juli 1969", MOON),
    ("20 июля 1969", MOON),
    ("1969年7月20日", MOON),
    ("2001-05-06", (2001, 5, 6)),
    ("12/12/2012", (2012, 12, 12)),
    ("05/06/2001", (2001, "5/6", None)),
    ("06/05/2001", (2001, "6/5", None)),
    ("05.06.2001", (2001, "5/6", None)),
    ("July 1969", (1969, 7, None)),
    ("June 3rd", (None, 6, 3)),
    ("it was in May", (None, 5, None)),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_a_date_has_a_year_a_month_and_a_day(text, expected):
    (date,) = find_dates(text)
    assert (date.year, date.month, date.day) == expected


@pytest.mark.parametrize(
    "text", ["You may go", "May I go", "march on", "1914-1918", "555-1234", "31/31/2012", "9/11", "2.30", ""]
)
def test_other_texts_have_no_date(text):
    assert list(find_dates(text)) == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["1/1", "may ", "1 of ", "20 de ", "1969, ", "12.12."])
def test_a_megabyte_of_dates_is_read_in_one_pass(piece):
    assert len(list(find_dates(piece * (200_000 // len(piece))))) >= 0

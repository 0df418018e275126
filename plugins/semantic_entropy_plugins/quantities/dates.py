"""Finds dates in a text: year, month and day, in whatever order and format they are written.

    July 20, 1969     20th of July 1969     1969-07-20     20.07.1969     7/20/1969     1969年7月20日     July 1969

A numeric date whose day and month can be exchanged (`05/06/2001`, `05.06.2001`) has no known month. It keeps its
writing, so it equals only itself. A date with the year first is read as year, month, day (ISO 8601).

Month names: English, Spanish, French, German, Portuguese, Italian, Russian. `May` and `March` are also English words:
they are months if they are next to a number, or are written with a capital and do not begin a sentence.

Not supported: weekdays, relative dates, two-digit years as years, and other calendars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from semantic_entropy_plugins.quantities.number_words import lower

MONTHS = "january february march april may june july august september october november december".split()
_NAMES = (
    "january jan enero janvier januar janeiro gennaio январь января",
    "february feb febrero février fevrier februar fevereiro febbraio февраль февраля",
    "march mar marzo mars märz maerz março marco март марта",
    "april apr abril avril aprile апрель апреля",
    "may mayo mai maio maggio май мая",
    "june jun junio juin juni junho giugno июнь июня",
    "july jul julio juillet juli julho luglio июль июля",
    "august aug agosto août aout август августа",
    "september sep sept septiembre septembre setembro settembre сентябрь сентября",
    "october oct octubre octobre oktober outubro ottobre октябрь октября",
    "november nov noviembre novembre novembro ноябрь ноября",
    "december dec diciembre décembre decembre dezember dezembro dicembre декабрь декабря",
)
_MONTH_OF = {name: number for number, names in enumerate(_NAMES, 1) for name in names.split()}
_SHORT = frozenset("jan feb mar apr jun jul aug sep sept oct nov dec marco mai mars juli juni".split())
_WORDS = frozenset(("may", "march", "august", *_SHORT))  # also words or parts of names: not a month on their own

_NAME = "|".join(sorted(_MONTH_OF, key=len, reverse=True))
_SPACE = r"\s{1,3}"  # bounded: two repetitions beside each other would try every division of a run of spaces
_OF = rf"(?:\s{{0,3}},?\s{{0,3}}|{_SPACE}(?:of|de|del|di|do){_SPACE}|{_SPACE}(?:of|in){_SPACE}the{_SPACE}year{_SPACE})"


def _month(group: int) -> str:
    return rf"(?P<month_{group}>{_NAME})\b\.?"


def _day(group: int) -> str:
    return rf"(?P<day_{group}>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|er|[\u00ba\u00b0.])?(?!\w)"


def _year(group: int) -> str:
    return rf"(?P<year_{group}>\d{{4}})(?![\d,]*\d)"


_PATTERN = re.compile(
    r"(?<![\w.,/:-])(?:(?=\d)(?:"
    r"(?P<iso_year>\d{4})(?P<mark>[-./])(?P<iso_month>\d{1,2})(?P=mark)(?P<iso_day>\d{1,2})(?!\d|[-./]\d)"
    r"|(?P<cjk_year>\d{4})\s?[\u5e74\ub144]"
    r"(?:\s?(?P<cjk_month>\d{1,2})\s?[\u6708\uc6d4](?:\s?(?P<cjk_day>\d{1,2})\s?[\u65e5\u53f7\u865f\uc77c])?)?"
    r"|(?P<first>\d{1,2})(?P<sign>[-./])(?P<second>\d{1,2})(?P=sign)(?P<year>\d{4}|\d{2})(?!\d|[-./]\d)"
    # 20 July 1969, 1969 July 20, July 20, 1969
    rf"|{_day(1)}{_OF}{_month(1)}(?:{_OF}{_year(1)})?"
    rf"|{_year(2)}\s{{0,3}},?\s{{0,3}}{_month(2)}(?:\s{{0,3}}{_day(2)})?"
    rf")|{_month(3)}(?:\s{{0,3}}(?:the{_SPACE})?{_day(3)}(?!:\d)(?:{_OF}{_year(3)})?|{_OF}{_year(4)})?)"
)
_LETTERS = re.compile(r"[^\W_]+")


class Date(NamedTuple):
    """A date, or a part of one.

    Attributes:
        start: where the date begins in the text.
        end: where it ends.
        year: the year, if it is stated.
        month: 1 to 12; the text `5/6` if day and month can be exchanged; None: not stated.
        day: the day of the month; None: not stated, or it could be the month.
    """

    start: int
    end: int
    year: int | None
    month: int | str | None
    day: int | None


def find_dates(text: str) -> Iterator[Date]:
    """The dates in a text, in order."""
    lowered = lower(text)
    if not any(word in _MONTH_OF or word[0].isdigit() for word in _LETTERS.findall(lowered)):
        return
    for found in _PATTERN.finditer(lowered):
        date = _date(found, text)
        if date:
            yield date


def _date(found: re.Match[str], text: str) -> Date | None:
    start, end = found.span()
    if found["iso_year"]:
        return _checked(start, end, int(found["iso_year"]), int(found["iso_month"]), int(found["iso_day"]))
    if found["cjk_year"]:
        month, day = (int(number) if number else None for number in found.group("cjk_month", "cjk_day"))
        return _checked(start, end, int(found["cjk_year"]), month, day)
    if found["sign"]:
        return _numeric(found)
    name = found["month_1"] or found["month_2"] or found["month_3"]
    day_text = found["day_1"] or found["day_2"] or found["day_3"]
    year = found["year_1"] or found["year_2"] or found["year_3"] or found["year_4"]
    if not (day_text or year) and not _is_month(name, text, start):
        return None
    return Date(start, end, int(year) if year else None, _MONTH_OF[name], int(day_text) if day_text else None)


def _is_month(name: str, text: str, start: int) -> bool:
    """Whether a month name without a number is a month, and not a word such as `may` or `march`."""
    if name not in _WORDS:
        return True
    before = text[max(0, start - 4) : start].rstrip()
    return text[start].isupper() and name not in _SHORT and bool(before) and before[-1] not in ".!?:;"


def _numeric(found: re.Match[str]) -> Date | None:
    first, second, year = int(found["first"]), int(found["second"]), int(found["year"])
    if first > 12 or first == second:
        return _checked(*found.span(), year, second, first)
    if second > 12:
        return _checked(*found.span(), year, first, second)
    return Date(*found.span(), year, f"{first}/{second}", None) if first and second else None


def _checked(start: int, end: int, year: int, month: int | None, day: int | None) -> Date | None:
    if month is not None and not 1 <= month <= 12:
        return None
    return Date(start, end, year, month, day) if day is None or 1 <= day <= 31 else None

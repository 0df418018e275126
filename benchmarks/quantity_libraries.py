"""Libraries for number words, dates and units against the readers of this package.

    pip install text2num word2number number-parser dateparser python-dateutil pint
    python benchmarks/quantity_libraries.py

Each case is a text and the value that a reader must find, or None if the text has no value (an ambiguous date, a name).
A reader that raises an error has found None. "start" is the time of the import and of the first text in a new process;
"microseconds" is the mean of the other texts. A library that is not installed is left out.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

NUMBERS: Sequence[tuple[str, float | None]] = [
    *(("forty-two", 42), ("two hundred and five", 205), ("one million two hundred thousand", 1_200_000)),
    *(("nineteenth", 19), ("twenty-first", 21), ("a hundred", 100), ("a dozen", 12), ("minus five", -5)),
    *(("1.5 million", 1_500_000), ("6 million", 6_000_000), ("half a million", 500_000), ("two point five", 2.5)),
    *(
        ("nineteen forty-five", 1945),
        ("nineteen hundred", 1900),
        ("two thirds", 2 / 3),
        ("three hundred thousand", 300_000),
    ),
    *(("someone", None), ("tent", None), ("Paris", None)),
]
DATES: Sequence[tuple[str, tuple[int | None, int | None, int | None] | None]] = [
    *((text, (1969, 7, 20)) for text in ("July 20, 1969", "20 July 1969", "the 20th of July, 1969", "1969-07-20")),
    *((text, (1969, 7, 20)) for text in ("20.07.1969", "7/20/1969", "20 juillet 1969", "20 de julio de 1969")),
    *(("1969年7月20日", (1969, 7, 20)), ("July 1969", (1969, 7, None)), ("May 1945", (1945, 5, None))),
    *((text, None) for text in ("05/06/2001", "05.06.2001", "You may go", "march on", "12", "3-2", "Paris", "Monday")),
]
UNITS: Sequence[tuple[str, str, bool]] = [
    *(
        ("5 km", "5000 m", True),
        ("5 km", "5 kilometers", True),
        ("2 hours", "120 minutes", True),
        ("5 cm", "5 m", False),
    ),
    *(("5 kg", "5 lb", False), ("90 km/h", "25 m/s", True), ("$5", "5 dollars", True), ("$5", "€5", False)),
    *(
        ("10 sq ft", "10 square feet", True),
        ("5 ft", "60 inches", True),
        ("7 men", "7 women", False),
        ("5 cats", "5 dogs", False),
    ),
    *(("3 GB", "3000 MB", True), ("5 %", "5 percent", True), ("10 ohms", "10 Ω", True)),
]


def main() -> int:
    """Print a row for each reader, or run one reader if its name is given."""
    if len(sys.argv) > 1:
        print(measure(sys.argv[1]))
        return 0
    print("| for | reader | right | start, s | microseconds | size, MB |\n|---|---|---|---|---|---|")
    for name in READERS:
        run = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=False)
        print(run.stdout.strip() or f"| | {name} | not installed: {run.stderr.strip().splitlines()[-1][:60]} | | | |")
    return 0


def measure(name: str) -> str:
    """Run one reader on its cases, and return its row."""
    kind, load = READERS[name]
    cases: Sequence[Any] = {"number words": NUMBERS, "dates": DATES, "units": UNITS}[kind]
    start = time.perf_counter()
    check = load()
    check(cases[0])
    started = time.perf_counter()
    right = sum([check(case) for case in cases])
    once = time.perf_counter()
    for _ in range(20):
        for case in cases:
            check(case)
    each = (time.perf_counter() - once) / 20 / len(cases) * (0.5 if kind == "units" else 1)  # two texts in a case
    return f"| {kind} | {name} | {right} of {len(cases)} | {started - start:.2f} | {each * 1e6:.0f} | {size(name)} |"


def size(name: str) -> str:
    """The size of the installed distribution, without its dependencies."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        return f"{sum(f.size or 0 for f in files(name) or ()) / 1e6:.1f}"
    except PackageNotFoundError:
        return ""


def number_check(read: Callable[[str], Any]) -> Callable[[tuple[str, float | None]], bool]:
    """Whether a reader finds the value of a case."""

    def check(case: tuple[str, float | None]) -> bool:
        text, expected = case
        try:
            value = float(Fraction(str(read(text)).strip()))
        except (ValueError, TypeError, ZeroDivisionError):
            value = None
        return value == expected if value is None or expected is None else abs(value - expected) < 1e-6

    return check


def ours_numbers() -> Callable[[Any], bool]:
    """Number words of this package."""
    from semantic_entropy_plugins.quantities.number_words import with_digits

    return number_check(with_digits)


def text2num() -> Callable[[Any], bool]:
    """text2num."""
    from text_to_num import alpha2digit

    return number_check(lambda text: alpha2digit(text, "en", threshold=0).removesuffix("th").removesuffix("st"))


def word2number() -> Callable[[Any], bool]:
    """word2number."""
    from word2number import w2n

    return number_check(w2n.word_to_num)


def number_parser() -> Callable[[Any], bool]:
    """number-parser."""
    from number_parser import parse

    return number_check(lambda text: parse(text, language="en"))


def date_check(read: Callable[[str], Any]) -> Callable[[tuple[str, Any]], bool]:
    """Whether a reader finds the year, month and day of a case."""

    def check(case: tuple[str, Any]) -> bool:
        text, expected = case
        try:
            found = read(text)
        except (ValueError, TypeError, OverflowError, AttributeError):  # dateparser returns None
            found = None
        return found == expected

    return check


def ours_dates() -> Callable[[Any], bool]:
    """Dates of this package."""
    from semantic_entropy_plugins.quantities.dates import find_dates

    def read(text: str) -> Any:
        found = list(find_dates(text))
        if not found or isinstance(found[0].month, str):
            return None
        return found[0].year, found[0].month, found[0].day

    return date_check(read)


def twice(parse: Callable[[str, Any], Any]) -> Callable[[str], Any]:
    """Parse with two default dates: a part that follows the default is not in the text."""
    from datetime import datetime

    def read(text: str) -> Any:
        one, other = (parse(text, datetime(*default)) for default in ((1801, 1, 1), (1802, 2, 2)))  # noqa: DTZ001
        parts = [(getattr(one, part), getattr(other, part)) for part in ("year", "month", "day")]
        return tuple(a if a == b else None for a, b in parts)

    return read


def dateutil() -> Callable[[Any], bool]:
    """python-dateutil."""
    from dateutil.parser import parse

    return date_check(twice(lambda text, default: parse(text, default=default)))


def dateparser() -> Callable[[Any], bool]:
    """Dateparser."""
    from dateparser import parse

    return date_check(
        twice(lambda text, default: parse(text, settings={"RELATIVE_BASE": default, "REQUIRE_PARTS": ["year"]}))
    )


def unit_check(read: Callable[[str], Any]) -> Callable[[tuple[str, str, bool]], bool]:
    """Whether a reader finds that two quantities are the same, or are not."""

    def check(case: tuple[str, str, bool]) -> bool:
        left, right, same = case
        return (read(left) == read(right)) is same

    return check


def ours_units() -> Callable[[Any], bool]:
    """Quantities of the judge `text`."""
    from semantic_entropy_plugins.text.fact_comparison import _read, compare

    def check(case: tuple[str, str, bool]) -> bool:
        left, right, same = case
        return compare(_read(None, left), _read(None, right)).same is same

    return check


def pint() -> Callable[[Any], bool]:
    """pint, with its parser of expressions."""
    from pint import UnitRegistry
    from pint.errors import PintError

    registry = UnitRegistry()

    def read(text: str) -> Any:
        try:
            return registry.parse_expression(text).to_base_units()
        except (PintError, AttributeError, ValueError, TypeError, AssertionError, SyntaxError):
            return text
        except Exception as error:  # noqa: BLE001 - the tokenizer of pint raises errors of its own
            return f"{text} {type(error)}"

    return unit_check(read)


READERS: dict[str, tuple[str, Callable[[], Callable[[Any], bool]]]] = {
    "number_words (ours)": ("number words", ours_numbers),
    "text2num": ("number words", text2num),
    "word2number": ("number words", word2number),
    "number-parser": ("number words", number_parser),
    "dates (ours)": ("dates", ours_dates),
    "python-dateutil": ("dates", dateutil),
    "dateparser": ("dates", dateparser),
    "units (ours)": ("units", ours_units),
    "pint": ("units", pint),
}

if __name__ == "__main__":
    sys.exit(main())

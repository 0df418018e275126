"""Units from pint: which words are units, and the value of a product of units in SI base units.

pint's parser of strings builds and evaluates expressions: `9**9**9 m`, a million digits, or one word of a million
letters keep it busy for hours. So pint never gets the text of an answer. It gets only single words of at most 32
letters, and tables of word -> exponent. The registry uses fractions, so conversions are exact; with pi or a measured
constant, they are as exact as pint's decimals.

Not supported: logarithmic units (dB), because they cannot be added; and English words that pint reads as units.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import pint

LONGEST_NAME = 32  # letters; "micrometers_per_second" has 22
Factor = tuple[str, int]
"""Pint's name of a unit, and its exponent."""


class Scale(NamedTuple):
    """Conversion to SI base units: number * factor + offset. Only temperature scales have an offset."""

    factor: Fraction
    offset: Fraction
    dimension: str


LOGARITHMIC = frozenset("decibel decibelmilliwatt decibelmicrowatt decibelwatt neper octave decade".split())
# pint accepts any prefix before any unit: it reads "cat" as a centi-at and "care" as a centi-are. Here only the units
# below take a prefix, because texts use prefixes only with them.
PREFIXABLE = frozenset(
    "meter gram second ampere kelvin mole candela hertz newton pascal joule watt coulomb volt farad ohm siemens weber "
    "tesla henry lumen lux becquerel gray sievert katal liter bar electron_volt calorie watt_hour ampere_hour byte bit "
    "parsec molar gauss metric_ton volt_ampere radian poise stokes curie torr dalton meter_Hg force_gram "
    "arcsecond".split()
)
# English words that follow a number, and that pint reads as a unit or as a constant of nature.
NOT_UNITS = frozenset(
    "a alpha am are as at bag blob chain chains circle circles count counts dot dots e fifth gamma gravity hand hands "
    "has k lambda link links mu pm point points pole poles quarter quarters quad section sections shot shots sigma "
    "zeta At R".split()
)

_LOCK = threading.Lock()  # a registry fills its caches while it is used


@lru_cache(maxsize=1)
def registry() -> pint.UnitRegistry[Fraction]:
    """The only registry. Creating it takes half a second; it has 1,000 units."""
    return pint.UnitRegistry(non_int_type=Fraction)


@lru_cache(maxsize=4096)
def unit(word: str) -> str | None:
    """Pint's name of this unit, or None. Wrong capitals are accepted (`Meters`, `KM`)."""
    if len(word) > LONGEST_NAME or word in NOT_UNITS:
        return None
    lower = word.lower()
    return _known(word) or (_known(lower) if len(word) > 1 and lower not in NOT_UNITS else None)


def _known(word: str) -> str | None:
    with _LOCK:
        readings = registry().parse_unit_name(word)
    if not LOGARITHMIC.isdisjoint(name for _, name, _ in readings):
        return None
    return next((prefix + name for prefix, name, _ in readings if not prefix or name in PREFIXABLE), None)


@lru_cache(maxsize=4096)
def scale(units: tuple[Factor, ...]) -> Scale:
    """The scale of a product of units. A temperature alone is a point on its scale; in a product it is a difference."""
    with _LOCK:
        container = registry().UnitsContainer(_total(units))
        zero, one = (registry().Quantity(Fraction(n), container).to_base_units() for n in (0, 1))
    offset = Fraction(zero.magnitude)
    dimension = " ".join(f"{name}^{exponent}" for name, exponent in sorted(one.dimensionality.items()))
    return Scale(Fraction(one.magnitude) - offset, offset, dimension or "no dimension")


def _total(units: Iterable[Factor]) -> dict[str, int]:
    total: dict[str, int] = {}
    for name, exponent in units:
        total[name] = total.get(name, 0) + exponent
    kept = {name: exponent for name, exponent in total.items() if exponent}
    if list(kept.values()) == [1]:
        return kept
    return {_difference(name): exponent for name, exponent in kept.items()}


def _difference(name: str) -> str:
    """The unit of differences on a temperature scale; any other unit is returned unchanged."""
    delta = f"delta_{name}"
    return delta if registry().parse_unit_name(delta) else name

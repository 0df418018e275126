"""What pint knows: which words are units, and what a product of units is in SI base units.

pint's own parser of strings builds and evaluates expressions: `9**9**9 m`, a million digits, or one word of a million
letters keep it busy for hours. It is therefore never given an answer's text: only single words of at most 32 letters,
and tables of word -> exponent. The registry counts in fractions, so that conversions are exact; where pi or a measured
constant enters, they are as exact as pint's decimals.

Left out: logarithmic units (dB), for they have no sum, and words that pint reads as units and a text does not.
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
"""A unit by pint's name for it, and its exponent."""


class Scale(NamedTuple):
    """From a number of some unit to SI base units: number * factor + offset. Only temperature scales have an offset."""

    factor: Fraction
    offset: Fraction
    dimension: str


LOGARITHMIC = frozenset("decibel decibelmilliwatt decibelmicrowatt decibelwatt neper octave decade".split())
# pint puts any prefix before any unit, and "cat" is a centi-at to it, "care" a centi-are. Here those units take one
# that do so in texts.
PREFIXABLE = frozenset(
    "meter gram second ampere kelvin mole candela hertz newton pascal joule watt coulomb volt farad ohm siemens weber "
    "tesla henry lumen lux becquerel gray sievert katal liter bar electron_volt calorie watt_hour ampere_hour byte bit "
    "parsec molar gauss metric_ton volt_ampere radian poise stokes curie torr dalton meter_Hg force_gram "
    "arcsecond".split()
)
# What stands behind a number in English and is not meant as pint means it: as a unit, or as a constant of nature.
NOT_UNITS = frozenset(
    "a alpha am are as at bag blob chain chains circle circles count counts dot dots e fifth gamma gravity hand hands "
    "has k lambda link links mu pm point points pole poles quarter quarters quad section sections shot shots sigma "
    "zeta At R".split()
)

_LOCK = threading.Lock()  # a registry fills its caches as it is asked


@lru_cache(maxsize=1)
def registry() -> pint.UnitRegistry[Fraction]:
    """The one registry; half a second, and 1,000 units."""
    return pint.UnitRegistry(non_int_type=Fraction)


@lru_cache(maxsize=4096)
def unit(word: str) -> str | None:
    """The name that pint has for this unit, or None. A capital where pint knows none (`Meters`, `KM`) is forgiven."""
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
    """The scale of a product of units. Alone, a temperature is a point on its scale; in a product, a difference."""
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
    """The unit of differences on a temperature scale; any other unit is its own."""
    delta = f"delta_{name}"
    return delta if registry().parse_unit_name(delta) else name

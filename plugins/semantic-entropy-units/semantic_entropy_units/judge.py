"""The judge: equal physical quantities mean the same, whatever their units.

1. The quantity of an answer is the last one in it that has a unit; else the last number by itself. `reading` finds it.
2. It becomes an exact rational number of SI base units, and a dimension. Equal numbers of equal dimension are equal
   keys; numbers within `tolerance` of each other, relative to the larger, are the same too.
3. Two dimensions differ: the answers differ. A number without a unit has no dimension: it is compared with percent,
   radians and the like as the number it is (0.5 = 50 %, 50 is not 50 %), and against a length it is undecided, for its
   unit may stand in the question.
4. No quantity in one answer: undecided. In neither: the same if the texts are, case and spaces aside, else undecided.

Symmetric by construction: each answer is read by itself, and the comparison has no order.

Left out: what a quantity is of. A torque in N m and an energy in J have one dimension, so 5 N m = 5 J.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from importlib.metadata import version

from semantic_entropy.plugin import Equivalence, Pair, Verdict, boxed, errors, load_extractor
from semantic_entropy_units.reading import LONGEST, Quantity, read


class Units(Equivalence):
    """Equal physical quantities mean the same.

    Args:
        tolerance: relative difference that is forgiven. The default forgives the sixth digit, as of pi; 0.01 forgives
            rounding such as 1.6 km for a mile, at the price of a relation that is no longer transitive.
    """

    name = "units"
    cheap = True

    def __init__(self, tolerance: float = 1e-6) -> None:
        if not 0 <= tolerance < 1:
            raise errors.OptionError(f"units: tolerance={tolerance} must be in [0, 1); it is relative, 0.01 is 1 %")
        self.tolerance = tolerance
        self._exact_tolerance = Fraction(tolerance)

    @property
    def settings(self) -> Hashable:
        return (self.name, self.tolerance)

    @property
    def versions(self) -> Mapping[str, str]:
        return {"semantic-entropy-units": version("semantic-entropy-units"), "pint": version("pint")}

    def describe(self) -> str:
        return f"{self.name}(tolerance={self.tolerance:g})"

    def extract(self, responses: Sequence[str]) -> Sequence[str | None]:
        """The last box; else the whole text, in which the judge finds the last quantity."""
        return [_EXTRACT(response) for response in responses]

    def keys(self, question: str | None, answers: Sequence[str]) -> Sequence[Hashable | None]:
        return [(quantity.value, quantity.dimension) if (quantity := _read(a)) else _folded(a) for a in answers]

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return [self._compare(pair.left, pair.right) for pair in pairs]

    def _compare(self, left: str, right: str) -> Verdict:
        one, other = _read(left), _read(right)
        if one is None or other is None:
            return Verdict(True) if _folded(left) == _folded(right) else _unreadable(left, right)
        if one.dimension != other.dimension:
            if one.bare or other.bare:
                return Verdict(None, reason="a number without a unit against a quantity with one")
            return Verdict(False, reason=f"{one.dimension} against {other.dimension}")
        allowed = self._exact_tolerance * max(abs(one.value), abs(other.value))
        return Verdict(abs(one.value - other.value) <= allowed)


def _answer(response: str) -> str | None:
    return boxed(response) or _WHOLE(response)


_WHOLE = load_extractor("whole")
_EXTRACT = load_extractor(_answer)


def _read(answer: str) -> Quantity | None:
    return _remembered(answer) if len(answer) <= LONGEST else None  # the cache holds no megabytes


_remembered = lru_cache(maxsize=4096)(read)


def _folded(answer: str) -> str:
    return " ".join(answer.casefold().split())


def _unreadable(left: str, right: str) -> Verdict:
    longest = max(len(left), len(right))
    if longest > LONGEST:
        return Verdict(None, reason=f"an answer of {longest} characters, over {LONGEST}")
    both = _read(left) is None and _read(right) is None
    return Verdict(None, reason="no quantity in either answer" if both else "no quantity in one of the answers")

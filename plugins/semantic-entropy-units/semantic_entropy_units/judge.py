"""The judge: equal physical quantities mean the same, whatever their units.

1. The quantity of an answer is the last quantity with a unit, or the last number if there is no unit (`reading`).
2. It is converted to SI base units: an exact rational number and a dimension. Equal numbers of equal dimension have
   equal keys. Numbers whose difference is within `tolerance`, relative to the larger number, are the same too.
3. Answers with different dimensions differ. A number without a unit has no dimension. It is compared with percent,
   radians and similar units as a number (0.5 = 50 %, but 50 is not 50 %). Compared with a length it is undecided,
   because its unit can be in the question.
4. If one answer has no quantity, the pair is undecided. If neither has one, the answers are the same if their texts are
   equal except for case and spaces, else undecided.

Symmetric by construction: each answer is read by itself, and the comparison has no order.

Not supported: kinds of quantities. A torque in N m and an energy in J have the same dimension, so 5 N m = 5 J.
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
        tolerance: largest relative difference of equal quantities, in [0, 1). The default accepts a difference in the
            sixth digit, for example of pi. 0.01 accepts rounding such as 1.6 km for a mile; then "the same" is no
            longer transitive.
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
        """The last box, else the whole text; the judge takes the last quantity of it."""
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
    return _remembered(answer) if len(answer) <= LONGEST else None  # keeps long texts out of the cache


_remembered = lru_cache(maxsize=4096)(read)


def _folded(answer: str) -> str:
    return " ".join(answer.casefold().split())


def _unreadable(left: str, right: str) -> Verdict:
    longest = max(len(left), len(right))
    if longest > LONGEST:
        return Verdict(None, reason=f"an answer of {longest} characters, over {LONGEST}")
    both = _read(left) is None and _read(right) is None
    return Verdict(None, reason="no quantity in either answer" if both else "no quantity in one of the answers")

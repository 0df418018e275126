"""Which groups enter the loss: the entropy window of Eq. 3, delta_low < H < delta_high, and bounds of the largest
share.

With G completions H takes few values. The smallest above zero belongs to the split (G-1, 1):
H = ln G - (G-1)/G ln(G-1): 0.410 at G=7, 0.377 at 8, 0.287 at 12, 0.234 at 16. A delta_low below this value removes
only the groups with full agreement. The paper gives no value for either bound. `normalized` bounds are shares of ln G,
the largest entropy of G completions, so that they mean the same at each G.

A group outside the bounds is dropped from the loss, or its rewards are set to zero (`Outside`). The official code does
the latter, which leaves the tokens in the denominator of the loss.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from semantic_entropy import InputError, Result

Outside = Literal["drop", "zero"]
EntropyUnits = Literal["nats", "normalized"]

DROPPED_LOW = "entropy not above delta_low"
DROPPED_HIGH = "entropy not below delta_high"
DROPPED_NO_ANSWER = "no valid answer"
DROPPED_SCATTERED = "largest share below max_p_low"
DROPPED_CERTAIN = "largest share above max_p_high"

_MAX_ENUMERATED = 24  # completions, with 1,575 splits; 64 completions have 1.7 million splits
_TOLERANCE = 1e-9  # an entropy this near a bound equals it: sums of logarithms differ in the last bits


def smallest_positive_entropy(size: int) -> float:
    """H in nats of the split (G-1, 1): the smallest entropy of G completions that do not all agree."""
    if size < 2:
        raise InputError(f"a group of {size} has no disagreement: G must be at least 2.")
    return math.log(size) - (size - 1) / size * math.log(size - 1)


@functools.cache
def _entropies(size: int) -> frozenset[float]:
    """All possible values of H in a group of this size, in nats."""
    return frozenset(_entropy(split) for split in _splits(size, size))


def _entropy(counts: Sequence[int]) -> float:
    total = sum(counts)
    return -sum(count / total * math.log(count / total) for count in counts if count) or 0.0


def _splits(size: int, largest: int) -> Iterator[list[int]]:
    """All partitions of `size` into non-increasing parts of at most `largest`."""
    if size == 0:
        yield []
    for first in range(min(size, largest), 0, -1):
        for rest in _splits(size - first, first):
            yield [first, *rest]


def check_outside(outside: str) -> Outside:
    """The value, or an error that lists the existing values."""
    if outside not in get_args(Outside):
        raise InputError(f"outside={outside!r} does not exist. Choose one of: {', '.join(get_args(Outside))}.")
    return outside  # type: ignore[return-value]  # narrowed by the check above


@dataclass(frozen=True, slots=True)
class EntropyWindow:
    """low < H < high: in nats, or with `units="normalized"` as shares of ln G."""

    low: float = 0.0
    high: float = math.inf
    units: EntropyUnits = "nats"

    def __post_init__(self) -> None:
        if self.units not in get_args(EntropyUnits):
            raise InputError(
                f"delta_units={self.units!r} does not exist. Choose one of: {', '.join(get_args(EntropyUnits))}."
            )
        if math.isnan(self.low) or math.isnan(self.high) or self.low >= self.high:
            raise InputError(
                f"delta_low={self.low} must be smaller than delta_high={self.high} ({self.units}): no entropy is "
                "between them."
            )

    def drop_reason(self, entropy: float, size: int | None = None) -> str | None:
        """None if the group is inside. A group without a valid answer has entropy nan and is outside.

        Args:
            entropy: H in nats.
            size: how many completions H counts; needed for normalised bounds alone.
        """
        low, high = self._nats(size)
        if math.isnan(entropy):
            return DROPPED_NO_ANSWER
        if entropy <= low + _TOLERANCE:
            return DROPPED_LOW
        if entropy >= high - _TOLERANCE:
            return DROPPED_HIGH
        return None

    def check(self, size: int) -> list[str]:
        """Notes for the user about this window at G=size; an error if it keeps no group at all."""
        least, most = smallest_positive_entropy(size), math.log(size)
        low, high = self._nats(size)
        within = (max(low, least) + min(high, most)) / 2  # a large group has so many values that some are near this
        possible = _entropies(size) if size <= _MAX_ENUMERATED else {0.0, least, within, most}
        if all(self.drop_reason(entropy, size) for entropy in possible):
            raise InputError(
                f"the window {self.low} < H < {self.high} ({self.units}) keeps no group at G={size}: H is 0, "
                f"{least:.3f} (all but one agree), or more, up to ln G = {most:.3f} nats. Widen delta_low or "
                "delta_high."
            )
        notes = []
        if 0 < low < least:
            notes.append(
                f"delta_low={self.low} is below {self._formatted(least, most)}, the smallest non-zero entropy at "
                f"G={size}: it removes only groups with H=0, as delta_low=0 does."
            )
        if math.isfinite(high) and high > most + _TOLERANCE:
            notes.append(f"delta_high={self.high} is above ln G = {most:.3f} nats at G={size}: it removes no group.")
        return notes

    def _nats(self, size: int | None) -> tuple[float, float]:
        if self.units == "nats":
            return self.low, self.high
        if size is None:
            raise InputError("a normalised window needs the number of completions that H counts: pass size.")
        most = math.log(size) if size > 1 else 0.0
        return _times(self.low, most), _times(self.high, most)

    def _formatted(self, nats: float, most: float) -> str:
        return f"{nats:.3f} nats" if self.units == "nats" else f"{nats / most:.3f} of ln G"


@dataclass(frozen=True, slots=True)
class ShareWindow:
    """low <= max p <= high, where max p is the share of the largest cluster in the group."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise InputError(f"max_p_low={self.low} and max_p_high={self.high}: set 0 <= max_p_low <= max_p_high <= 1.")

    def drop_reason(self, result: Result) -> str | None:
        """None if the group is inside."""
        largest = max(result.probabilities, default=math.nan)
        if largest < self.low - _TOLERANCE:
            return DROPPED_SCATTERED
        if largest > self.high + _TOLERANCE:
            return DROPPED_CERTAIN
        return None


def _times(bound: float, most: float) -> float:
    return bound if math.isinf(bound) else bound * most

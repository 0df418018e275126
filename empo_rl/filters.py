"""The entropy window of Eq. 3: a group enters the loss when delta_low < H < delta_high, strictly, in nats.

With G completions H takes few values. The smallest above zero belongs to the split (G-1, 1):
H = ln G - (G-1)/G ln(G-1): 0.410 at G=7, 0.377 at 8, 0.287 at 12, 0.234 at 16. A delta_low below it removes
only the groups that agree entirely. The paper prints no values for either bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from semantic_entropy import InputError

DROPPED_LOW = "entropy not above delta_low"
DROPPED_HIGH = "entropy not below delta_high"
DROPPED_NO_ANSWER = "no valid answer"

_TIE = 1e-9  # an entropy this near a bound is on it: sums of logarithms differ in the last bits


def smallest_positive_entropy(size: int) -> float:
    """H in nats of the split (G-1, 1), the least that a group of G with any disagreement can have."""
    if size < 2:
        raise InputError(f"a group of {size} has no disagreement: G must be at least 2.")
    return math.log(size) - (size - 1) / size * math.log(size - 1)


@dataclass(frozen=True, slots=True)
class EntropyWindow:
    """low and high in nats; both exclusive."""

    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        if math.isnan(self.low) or math.isnan(self.high) or self.low >= self.high:
            raise InputError(
                f"delta_low={self.low} must be smaller than delta_high={self.high} (nats): no entropy lies between."
            )

    def drop_reason(self, entropy: float) -> str | None:
        """None where the group stays. A group without any valid answer has entropy nan and goes."""
        if math.isnan(entropy):
            return DROPPED_NO_ANSWER
        if entropy <= self.low + _TIE:
            return DROPPED_LOW
        if entropy >= self.high - _TIE:
            return DROPPED_HIGH
        return None

    def check(self, size: int) -> list[str]:
        """What a user should know about this window at G=size; an error where it keeps no group at all."""
        least, most = smallest_positive_entropy(size), math.log(size)
        if self.low >= most - _TIE or (self.low >= 0 and self.high <= least + _TIE):
            raise InputError(
                f"the window {self.low} < H < {self.high} keeps no group at G={size}: H is 0 or between "
                f"{least:.3f} (all but one agree) and ln G = {most:.3f} nats. Widen delta_low or delta_high."
            )
        notes = []
        if 0 < self.low < least:
            notes.append(
                f"delta_low={self.low} is below {least:.3f} nats, the smallest non-zero entropy at G={size}: it "
                "removes only groups with H=0, as delta_low=0 does."
            )
        if math.isfinite(self.high) and self.high > most + _TIE:
            notes.append(f"delta_high={self.high} is above ln G = {most:.3f} nats at G={size}: it removes no group.")
        return notes

"""Decide which groups enter the loss.

    entropy         the entropy H of the group is inside the window of Eq. 3, delta_low < H < delta_high
    share           the share of its largest cluster is inside the bounds max_p_low and max_p_high
    equal_rewards   its completions do not all have the same reward

The provider applies the first two with its own arguments, and only to signals with `windowed = True`. The option
`filters` adds filters, which apply to every group. A new filter is a subclass of `Filter` (see `empo_rl.plugin`).

A group of G completions has only a few possible values of H. The smallest value above zero is that of two clusters with
G-1 completions and 1 completion: H = ln G - (G-1)/G ln(G-1), which is 0.410 at G=7, 0.377 at G=8, 0.287 at G=12 and
0.234 at G=16. A delta_low below this value removes only the groups with full agreement. The paper gives no value for
delta_low or delta_high. A bound in `normalized` units is a share of ln G, the largest entropy of G completions, so the
same bound can be used with each G.

The option `outside` decides about a group outside the bounds: `drop` removes the group from the loss, `zero` sets its
rewards to zero. The official code sets the rewards to zero, so the tokens of the group still count in the denominator
of the loss.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from empo_rl.plugin import check_unique_names, create
from semantic_entropy import InputError, Result

if TYPE_CHECKING:
    from empo_rl.core.rewards import ScoredGroup

Outside = Literal["drop", "zero"]
EntropyUnits = Literal["nats", "normalized"]

DROPPED_LOW = "entropy not above delta_low"
DROPPED_HIGH = "entropy not below delta_high"
DROPPED_NO_ANSWER = "no valid answer"
DROPPED_SCATTERED = "largest share below max_p_low"
DROPPED_CERTAIN = "largest share above max_p_high"
DROPPED_EQUAL = "equal rewards"
DROPPED_NO_REWARD = "no completion has a reward"

_MAX_ENUMERATED = 24  # completions, with 1,575 splits; 64 completions have 1.7 million splits
_TOLERANCE = 1e-9  # a smaller difference counts as equal: sums of logarithms differ in the last bits


class Filter(ABC):
    """Decides which groups enter the loss. The options of a filter are the keyword arguments of its class.

    Attributes:
        name: the name in configurations and in log columns.
        stateful: whether the decision depends on earlier batches. If it does, several processes make one decision about
            the global batch.
        reads_clusters: whether the filter reads the clusters or the entropy of a group. If False, the provider need not
            cluster for it.
    """

    name: ClassVar[str]
    stateful: ClassVar[bool] = False
    reads_clusters: ClassVar[bool] = True

    @abstractmethod
    def drop_reasons(self, scored: Sequence[ScoredGroup], rewards: NDArray[np.float64]) -> Sequence[str | None]:
        """Return the reason why each group is dropped, (B,); None if the group stays.

        Args:
            scored: (B,) the groups with their clusters.
            rewards: (B, G) the rewards after the guards; nan for a completion that is not in the loss.
        """

    def check(self, size: int) -> list[str]:
        """Return notes for the user about this filter at G=size; raise an InputError if it keeps no group."""
        del size
        return []

    def state_dict(self) -> dict[str, Any]:
        """The state that a restart needs, as JSON."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from this state. A filter without a state does nothing."""
        del state


def load_filters(filters: Mapping[str, Any] | Sequence[Filter]) -> tuple[Filter, ...]:
    """Make filters from their names and options. A sequence of `Filter` instances is returned as a tuple.

    A name can be `path.py:NAME`. Example: `{"equal_rewards": {}, "my_filters.py:Long": {"most": 400}}`.

    Raises:
        SemanticEntropyError: a filter does not exist or does not accept the options.
    """
    if isinstance(filters, Mapping):
        for name, options in filters.items():
            if not isinstance(options, Mapping):
                raise InputError(f"filter {name}: {options!r} is not a mapping of options: {{}} sets the defaults.")
        filters = [create("filter", name, dict(options), Filter) for name, options in filters.items()]
    check_unique_names("filter", filters)
    return tuple(filters)


def smallest_positive_entropy(size: int) -> float:
    """The smallest entropy H, in nats, of G completions that do not all agree: clusters of G-1 completions and of 1."""
    if size < 2:
        raise InputError(f"a group of {size} completions cannot disagree: G must be at least 2.")
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
    """Return the value of `outside`, or raise an error that lists the existing values."""
    if outside not in get_args(Outside):
        raise InputError(f"outside={outside!r} does not exist. Choose one of: {', '.join(get_args(Outside))}.")
    return outside  # type: ignore[return-value]  # narrowed by the check above


@dataclass(frozen=True, slots=True)
class EntropyWindow(Filter):
    """The bounds of a group's entropy: low < H < high.

    Attributes:
        low: the lower bound, exclusive.
        high: the upper bound, exclusive.
        units: the unit of both bounds: `nats`, or `normalized` for shares of ln G.
    """

    name: ClassVar[str] = "entropy"
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

    def drop_reasons(self, scored: Sequence[ScoredGroup], rewards: NDArray[np.float64]) -> list[str | None]:
        del rewards
        results = (item.result for item in scored)
        return [self.drop_reason(result.entropy, sum(label >= 0 for label in result.labels)) for result in results]

    def drop_reason(self, entropy: float, size: int | None = None) -> str | None:
        """Return the reason why the group is outside the window, or None if the group is inside.

        A group without a valid answer has entropy nan and is outside.

        Args:
            entropy: H in nats.
            size: the number of completions from which H was computed; only needed for normalised bounds.
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
        """Return notes for the user about this window at G=size.

        Raises:
            InputError: the window keeps no group, because no possible entropy is inside the window.
        """
        least, most = smallest_positive_entropy(size), math.log(size)
        low, high = self._nats(size)
        within = (max(low, least) + min(high, most)) / 2  # in a large group, a possible entropy is near this value
        possible = _entropies(size) if size <= _MAX_ENUMERATED else {0.0, least, within, most}
        if all(self.drop_reason(entropy, size) for entropy in possible):
            raise InputError(
                f"the window {self.low} < H < {self.high} ({self.units}) keeps no group at G={size}: H is 0 nats (all "
                f"completions agree), {least:.3f} nats (all completions but one agree), or more, up to ln G = "
                f"{most:.3f} nats. Lower delta_low or raise delta_high."
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
            raise InputError("a normalised window needs the number of completions of the group: pass size=G.")
        most = math.log(size) if size > 1 else 0.0
        return _times(self.low, most), _times(self.high, most)

    def _formatted(self, nats: float, most: float) -> str:
        return f"{nats:.3f} nats" if self.units == "nats" else f"{nats / most:.3f} of ln G"


@dataclass(frozen=True, slots=True)
class ShareWindow(Filter):
    """The bounds of max p, the share of the largest cluster in the group: low <= max p <= high.

    Attributes:
        low: the lower bound, inclusive.
        high: the upper bound, inclusive.
    """

    name: ClassVar[str] = "share"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise InputError(f"max_p_low={self.low} and max_p_high={self.high}: set 0 <= max_p_low <= max_p_high <= 1.")

    def drop_reasons(self, scored: Sequence[ScoredGroup], rewards: NDArray[np.float64]) -> list[str | None]:
        del rewards
        return [self.drop_reason(item.result) for item in scored]

    def drop_reason(self, result: Result) -> str | None:
        """Return the reason why the group is outside the bounds, or None if the group is inside."""
        largest = max(result.probabilities, default=math.nan)
        if largest < self.low - _TOLERANCE:
            return DROPPED_SCATTERED
        if largest > self.high + _TOLERANCE:
            return DROPPED_CERTAIN
        return None


class EqualRewardsFilter(Filter):
    """Drops a group whose completions all have the same reward: all its advantages are 0.

    Without this filter, such a group has no gradient either, but its tokens count in the denominator of the loss
    (`golden`: all completions right, or all wrong). DAPO (Yu et al. 2025) also leaves these groups out.
    """

    name = "equal_rewards"
    reads_clusters = False

    def drop_reasons(self, scored: Sequence[ScoredGroup], rewards: NDArray[np.float64]) -> list[str | None]:
        del scored
        return [None if len(set(row[~np.isnan(row)].tolist())) > 1 else DROPPED_EQUAL for row in rewards]


def _times(bound: float, most: float) -> float:
    return bound if math.isinf(bound) else bound * most

"""What one step decides about a batch of B groups of G completions.

    rewards, advantages, loss_mask   (B*G,)   per completion, group after group
    keep, entropies, drop_reasons    (B,)     per group

`loss_mask` is what a trainer multiplies into its loss: False for every row of a dropped group, and for the
single rows that `invalid="drop"` takes out of a kept group. Advantages are 0 wherever it is False.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semantic_entropy import BatchResult


@dataclass(frozen=True, slots=True, eq=False)
class BatchDecision:
    """Rewards, keep mask, advantages, and the evidence they came from. Entropies are in nats."""

    rewards: NDArray[np.float64]
    keep: NDArray[np.bool_]
    advantages: NDArray[np.float64]
    loss_mask: NDArray[np.bool_]
    entropies: NDArray[np.float64]
    drop_reasons: tuple[str | None, ...]
    metrics: Mapping[str, float]
    results: BatchResult

    @property
    def num_groups(self) -> int:
        """B."""
        return len(self.keep)

    @property
    def num_generations(self) -> int:
        """G."""
        return len(self.rewards) // len(self.keep)

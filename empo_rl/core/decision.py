"""BatchDecision: what the provider decides about a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.metrics import BatchNumbers
from semantic_entropy import BatchResult, InputError


@dataclass(frozen=True, slots=True, eq=False)
class BatchDecision:
    """The decision about a batch of B groups with N completions in all. A row is one completion, in group order.

    Groups of one size G have N = B*G rows.

    Attributes:
        rewards: (N,) the reward of each row; nan if `invalid="drop"` or a guard takes the row out of the loss.
        keep: (B,) whether the group is in the loss: the group is inside the bounds, and has a reward.
        advantages: (N,) the advantage of each row; 0 if the row is not in the loss.
        loss_mask: (N,) whether the row is in the loss. A trainer multiplies its loss by this mask. It is False for
            each row of a dropped group, and for the rows that `invalid="drop"` or a guard takes out of a kept group.
        entropies: (B,) the semantic entropy of each group, in nats; nan if `invalid="drop"` left no answer, or if the
            groups were not clustered (see `measure_entropy` of `EmpoProvider`).
        drop_reasons: (B,) the reason why the group is outside the bounds or has no reward; None for other groups.
        metrics: the numbers of the batch for a log, by name; with several processes, of the global batch.
        group_sizes: (B,) the number of completions of each group.
        results: (B,) the answers, the clusters and the entropies of each group.
        numbers: the numbers from which `metrics` was computed.
        reads_answers: whether the rewards of the batch depend on extracted answers.
        reads_gold: whether the reward reads gold answers.
    """

    rewards: NDArray[np.float64]
    keep: NDArray[np.bool_]
    advantages: NDArray[np.float64]
    loss_mask: NDArray[np.bool_]
    entropies: NDArray[np.float64]
    drop_reasons: tuple[str | None, ...]
    metrics: Mapping[str, float]
    group_sizes: NDArray[np.intp]
    results: BatchResult
    numbers: BatchNumbers
    reads_answers: bool = True
    reads_gold: bool = False

    @property
    def num_groups(self) -> int:
        """The number of groups, B."""
        return len(self.keep)

    @property
    def num_generations(self) -> int:
        """The number of completions in a group, G. Raises InputError if the groups have different sizes."""
        least, most = int(self.group_sizes.min()), int(self.group_sizes.max())
        if least != most:
            raise InputError(
                f"the groups of this batch have {least} to {most} completions, so there is no single G: use "
                "decision.group_sizes. Monitor, and what it writes, need groups of one size."
            )
        return most

    def rows(self, group: int) -> slice:
        """The rows of a group."""
        end = int(self.group_sizes[: group + 1].sum())
        return slice(end - int(self.group_sizes[group]), end)

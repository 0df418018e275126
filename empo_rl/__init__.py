"""Train a language model to agree with itself: EMPO (Right Question is Already Half the Answer, Eq. 1-3).

`EmpoProvider` turns groups of completions into rewards, a keep mask and advantages, for any trainer.
`EmpoGRPOTrainer` is TRL's GRPOTrainer with exactly that; it is loaded on first use, because it imports torch
and trl.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from empo_rl.decision import BatchDecision
from empo_rl.extra import require_extra
from empo_rl.filters import EntropyWindow, smallest_positive_entropy
from empo_rl.groups import RolloutGroup, group_by_position
from empo_rl.provider import EmpoProvider
from empo_rl.rewards import RewardSignal, ScoredGroup

if TYPE_CHECKING:
    from empo_rl.adapters.trl import EmpoGRPOTrainer

__all__ = [
    "BatchDecision",
    "EmpoGRPOTrainer",
    "EmpoProvider",
    "EntropyWindow",
    "RewardSignal",
    "RolloutGroup",
    "ScoredGroup",
    "group_by_position",
    "smallest_positive_entropy",
]


def __getattr__(name: str) -> Any:
    if name == "EmpoGRPOTrainer":
        require_extra(name)
        from empo_rl.adapters.trl import EmpoGRPOTrainer

        return EmpoGRPOTrainer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

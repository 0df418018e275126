"""Train a language model to agree with itself: EMPO (Right Question is Already Half the Answer, Eq. 1-3).

`EmpoProvider` turns groups of completions into rewards, a keep mask and advantages, for any trainer.
`EmpoGRPOTrainer` is TRL's GRPOTrainer with exactly that. Everything is imported on first use: the provider brings
numpy, the trainer torch and trl.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from empo_rl.adapters.monitoring import MonitorCallback
    from empo_rl.adapters.stock import reward_function
    from empo_rl.adapters.trl import EmpoGRPOTrainer
    from empo_rl.decision import BatchDecision
    from empo_rl.filters import EntropyWindow, ShareWindow, smallest_positive_entropy
    from empo_rl.groups import RolloutGroup, group_by_position
    from empo_rl.guards import Guard
    from empo_rl.monitor import Alarm, Firing, Monitor
    from empo_rl.presets import preset
    from empo_rl.provider import EmpoProvider
    from empo_rl.rewards import RewardSignal, ScoredGroup

__all__ = [
    "Alarm",
    "BatchDecision",
    "EmpoGRPOTrainer",
    "EmpoProvider",
    "EntropyWindow",
    "Firing",
    "Guard",
    "Monitor",
    "MonitorCallback",
    "RewardSignal",
    "RolloutGroup",
    "ScoredGroup",
    "ShareWindow",
    "group_by_position",
    "preset",
    "reward_function",
    "smallest_positive_entropy",
]

_HOME = {
    "Alarm": "monitor",
    "BatchDecision": "decision",
    "EmpoGRPOTrainer": "adapters.trl",
    "EmpoProvider": "provider",
    "EntropyWindow": "filters",
    "Firing": "monitor",
    "Guard": "guards",
    "Monitor": "monitor",
    "MonitorCallback": "adapters.monitoring",
    "RewardSignal": "rewards",
    "RolloutGroup": "groups",
    "ScoredGroup": "rewards",
    "ShareWindow": "filters",
    "group_by_position": "groups",
    "preset": "presets",
    "reward_function": "adapters.stock",
    "smallest_positive_entropy": "filters",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOME[name].startswith("adapters."):
        from empo_rl.extra import require_extra

        require_extra(name)
    value = getattr(import_module(f"empo_rl.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

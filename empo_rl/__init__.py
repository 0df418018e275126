"""Train a language model to agree with itself: EMPO (Right Question is Already Half the Answer, Eq. 1-3).

`EmpoProvider` turns groups of completions into rewards, a keep mask and advantages, for any trainer.
`EmpoGRPOTrainer` is TRL's GRPOTrainer with the rewards, the keep mask and the advantages of an `EmpoProvider`. Each
name is imported when it is first used, because the provider imports numpy, and the trainer imports torch and trl.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from empo_rl.core.decision import BatchDecision
    from empo_rl.core.filters import EntropyWindow, Filter, ShareWindow, smallest_positive_entropy
    from empo_rl.core.groups import RolloutGroup, group_by_position
    from empo_rl.core.guards import Guard
    from empo_rl.core.presets import preset
    from empo_rl.core.provider import EmpoProvider
    from empo_rl.core.rewards import RewardSignal, ScoredGroup
    from empo_rl.monitor import Alarm, Firing, Monitor, Observation, Reading
    from empo_rl.plugin import register, register_reward
    from empo_rl.trainers.reward_function import reward_function
    from empo_rl.trainers.trl.callbacks import MonitorCallback
    from empo_rl.trainers.trl.grpo_trainer import EmpoGRPOTrainer

__all__ = [
    "Alarm",
    "BatchDecision",
    "EmpoGRPOTrainer",
    "EmpoProvider",
    "EntropyWindow",
    "Filter",
    "Firing",
    "Guard",
    "Monitor",
    "MonitorCallback",
    "Observation",
    "Reading",
    "RewardSignal",
    "RolloutGroup",
    "ScoredGroup",
    "ShareWindow",
    "group_by_position",
    "preset",
    "register",
    "register_reward",
    "reward_function",
    "smallest_positive_entropy",
]

_HOME = {
    "Alarm": "monitor",
    "BatchDecision": "core.decision",
    "EmpoGRPOTrainer": "trainers.trl.grpo_trainer",
    "EmpoProvider": "core.provider",
    "EntropyWindow": "core.filters",
    "Filter": "core.filters",
    "Firing": "monitor",
    "Guard": "core.guards",
    "Monitor": "monitor",
    "MonitorCallback": "trainers.trl.callbacks",
    "Observation": "monitor",
    "Reading": "monitor",
    "RewardSignal": "core.rewards",
    "RolloutGroup": "core.groups",
    "ScoredGroup": "core.rewards",
    "ShareWindow": "core.filters",
    "group_by_position": "core.groups",
    "preset": "core.presets",
    "register": "plugin",
    "register_reward": "plugin",
    "reward_function": "trainers.reward_function",
    "smallest_positive_entropy": "core.filters",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOME[name].startswith("trainers."):
        from empo_rl.extras import require_extra

        require_extra(name)
    value = getattr(import_module(f"empo_rl.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

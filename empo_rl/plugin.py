"""The reward signals that ship with the package, announced by the same hook as a stranger's."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from semantic_entropy.plugin import Component, hookimpl

_SIGNALS = (
    ("empo", "agreement", "EmpoReward", "the share of the group that means the same (EMPO)"),
    ("log_share", "agreement", "LogShareReward", "its logarithm, whose policy gradient is that of -H"),
    ("majority", "agreement", "MajorityReward", "1 in the largest cluster (TTRL)"),
    ("golden", "labels", "GoldenReward", "1 where the answer is the gold answer (GRPO with labels)"),
    ("semi_supervised", "labels", "SemiSupervisedReward", "golden where there is a gold answer, empo elsewhere"),
    ("self_certainty", "confidence", "SelfCertaintyReward", "KL of uniform to the token distributions, in the mean"),
    ("token_entropy", "confidence", "TokenEntropyReward", "minus the mean entropy of the token distributions"),
    ("random", "controls", "RandomReward", "a fair coin: the control that must not learn"),
    ("format", "controls", "FormatReward", "1 where there is an answer, or where a pattern is found"),
    ("composite", "composite", "CompositeReward", "a weighted sum of others"),
)


@hookimpl
def semantic_entropy_rewards() -> list[Component]:
    """Each is imported when it is asked for."""
    return [Component(name, _Load(module, cls), summary) for name, module, cls, summary in _SIGNALS]


class _Load:
    def __init__(self, module: str, name: str) -> None:
        self._where = (module, name)

    def __call__(self) -> Any:
        module, name = self._where
        return getattr(import_module(f"empo_rl.core.rewards.{module}"), name)

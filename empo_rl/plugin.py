"""The extension point of `empo_rl`: plugins add reward signals through the entry-point group `empo_rl`.

An entry point of the group `empo_rl` names a module of the plugin. The module lists the plugin's signals and imports
no heavy library:

    from empo_rl.plugin import Component, hookimpl

    def load():
        from my_rewards.brevity import Brevity   # imports heavy libraries only when the signal is used
        return Brevity

    @hookimpl
    def empo_rl_rewards():
        return [Component("brevity", load, "shorter completions are paid more")]

`register_reward("brevity", Brevity)` registers a signal in the current process only. The built-in signals use the same
entry-point group: this module is their plugin.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import pluggy

from semantic_entropy.plugin import Component, Registry

GROUP = "empo_rl"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def empo_rl_rewards() -> Iterable[Component]:  # type: ignore[empty-body]
    """Reward signals: factories of `empo_rl.RewardSignal`."""


rewards = Registry(GROUP, {"reward": empo_rl_rewards})
"""All installed reward signals, by name."""

_BUILT_IN = (
    ("empo", "agreement", "EmpoReward", "the share of the group's answers that mean the same (EMPO)"),
    ("log_share", "agreement", "LogShareReward", "the logarithm of the reward empo: same policy gradient as -H"),
    ("majority", "agreement", "MajorityReward", "1 in the largest cluster (TTRL)"),
    ("golden", "labels", "GoldenReward", "1 if the answer is the gold answer (GRPO with labels)"),
    ("semi_supervised", "combined", "SemiSupervisedReward", "golden if the prompt has a gold answer, empo if not"),
    ("self_certainty", "per_completion", "SelfCertaintyReward", "mean KL from uniform to the token distributions"),
    ("token_entropy", "per_completion", "TokenEntropyReward", "minus the mean entropy of the token distributions"),
    ("random", "per_completion", "RandomReward", "0 or 1 by a fair coin: a control from which a model cannot learn"),
    ("format", "per_completion", "FormatReward", "1 if an answer can be extracted, or if a pattern is found"),
    ("composite", "combined", "CompositeReward", "a weighted sum of other signals"),
)


@hookimpl(specname="empo_rl_rewards")
def built_in_rewards() -> list[Component]:
    """The built-in signals. The module of a signal is imported when the signal is first used."""
    return [Component(name, functools.partial(_load, module, cls), summary) for name, module, cls, summary in _BUILT_IN]


def register_reward(name: str, factory: Callable[..., Any], summary: str = "") -> None:
    """Register a reward signal under a name, in the current process only.

    Args:
        name: the name of the signal. The name must not be empty or contain a slash. The registered signal takes
            precedence over a plugin's signal of the same name.
        factory: a `RewardSignal` class, or a function that returns a `RewardSignal`. The keyword arguments of the
            factory are the options of the signal.
        summary: a description of the signal in one line, for lists of signals.

    Raises:
        InputError: the name is not valid, or the factory is not callable.
    """
    rewards.register("reward", name, factory, summary)


def _load(module: str, name: str) -> Any:
    return getattr(import_module(f"empo_rl.core.rewards.{module}"), name)

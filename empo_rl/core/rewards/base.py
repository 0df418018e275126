"""The interface of a reward signal, and loading a signal by its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.groups import RolloutGroup
from empo_rl.plugin import rewards
from semantic_entropy import InputError, Result

InvalidPolicy = Literal["singleton_zero", "singleton_prob", "drop", "penalty"]
PENALTY = -0.5  # for an empty answer in the official natural-reasoning code

GoldPair = tuple[str | None, str, str]
"""Question, answer, gold answer."""


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group and its clusters and entropy."""

    group: RolloutGroup
    result: Result


@dataclass(frozen=True, slots=True)
class SignalContext:
    """What a signal may need in addition to the scored groups.

    Attributes:
        invalid: the policy for answers that cannot be extracted.
        seed: for random numbers.
        match: the provider's grader: whether answer and gold answer mean the same, for each `GoldPair`.
    """

    invalid: InvalidPolicy
    seed: int
    match: Callable[[Sequence[GoldPair]], Sequence[bool]]


class RewardSignal(ABC):
    """Computes what completions are paid. The options of a signal are the keyword arguments of its class.

    Attributes:
        name: how users ask for it, and the name of its log column.
        windowed: whether the provider's filters decide which groups are in the loss. True for signals that are computed
            from the clusters. For other signals all groups stay in the loss: a group without a signal has advantage 0.
        stateful: whether it draws random numbers or has a memory. Several processes then make one decision about the
            global batch, so that the rewards are those of one process.
        reads_gold: whether it reads gold answers.
        needs: the keys of `RolloutGroup.measures` that it reads (`token_entropy`, `self_certainty`). A trainer measures
            nothing else.
        context: set by the provider before the first batch.
    """

    name: str
    windowed: bool = False
    stateful: bool = False
    reads_gold: bool = False
    needs: frozenset[str] = frozenset()
    context: SignalContext

    def bind(self, context: SignalContext) -> None:
        """Called once by the provider, before the first batch."""
        self.context = context

    @abstractmethod
    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        """(B, G). nan takes a completion out of the mean and std of its group, and out of the loss."""

    def filtered(self, item: ScoredGroup) -> bool:
        """Whether the provider's filters apply to this group."""
        return self.windowed

    def state_dict(self) -> dict[str, Any]:
        """The state that a restart needs, as JSON."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from this state. A signal without a state does nothing."""
        del state


def load_reward(reward: Any, options: Mapping[str, Any] | None = None) -> RewardSignal:
    """A signal from its name and options, from a `RewardSignal` class and options, or an instance as it is."""
    options = dict(options or {})
    if isinstance(reward, str):
        signal = rewards.create("reward", reward, **options)
    elif isinstance(reward, type):
        signal = reward(**options)
    elif options:
        raise InputError(f"reward_options={options} need the name of a reward; {reward!r} is built already.")
    else:
        signal = reward
    if not isinstance(signal, RewardSignal):
        raise InputError(f"reward={reward!r} is not a RewardSignal: pass a name, a RewardSignal class or an instance.")
    return signal


def by_group(scored: Sequence[ScoredGroup], pay: Callable[[ScoredGroup], Iterable[float]]) -> NDArray[np.float64]:
    """(B, G) from a function that returns the rewards of one group."""
    return np.array([list(pay(item)) for item in scored], dtype=np.float64).reshape(len(scored), -1)


def check_invalid(invalid: str) -> InvalidPolicy:
    """The policy, or an error that lists the existing policies."""
    if invalid not in get_args(InvalidPolicy):
        raise InputError(f"invalid={invalid!r} does not exist. Choose one of: {', '.join(get_args(InvalidPolicy))}.")
    return invalid  # type: ignore[return-value]  # narrowed by the check above

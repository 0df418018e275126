"""What a reward signal is, and how one is found by name."""

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
PENALTY = -0.5  # what the official natural-reasoning code pays for an empty answer

GoldPair = tuple[str | None, str, str]
"""Question, answer, gold answer."""


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group and the evidence about it."""

    group: RolloutGroup
    result: Result


@dataclass(frozen=True, slots=True)
class SignalContext:
    """What a signal may need beside the scored groups.

    match: whether answer and gold mean the same, for many `GoldPair`s at once, by the provider's grader.
    """

    invalid: InvalidPolicy
    seed: int
    match: Callable[[Sequence[GoldPair]], Sequence[bool]]


class RewardSignal(ABC):
    """One way to pay completions. Its options are the keyword arguments of its class.

    Attributes:
        name: how users ask for it, and the name of its column in a log.
        windowed: whether the provider's filters decide which groups enter the loss. True for signals made of the
            entropy's own clusters. A signal of another source keeps all groups: one that carries no signal has
            advantage 0 by itself.
        stateful: whether it draws or remembers. Several processes then decide about the global batch as one, so that
            they pay what one process would.
        reads_gold: whether it reads gold answers.
        needs: keys of `RolloutGroup.measures` that it reads (`token_entropy`, `self_certainty`): a trainer measures
            those that some signal needs, and no others.
        context: set by the provider before the first batch.
    """

    name: str
    windowed: bool = False
    stateful: bool = False
    reads_gold: bool = False
    needs: frozenset[str] = frozenset()
    context: SignalContext

    def bind(self, context: SignalContext) -> None:
        """Called once, by the provider."""
        self.context = context

    @abstractmethod
    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        """(B, G). nan takes a row out of the group's mean and std, and out of the loss."""

    def filtered(self, item: ScoredGroup) -> bool:
        """Whether the provider's filters apply to this group."""
        return self.windowed

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart, as JSON has it."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; a signal without a state has nothing to do."""
        del state


def load_reward(reward: Any, options: Mapping[str, Any] | None = None) -> RewardSignal:
    """A signal from its name and options, a `RewardSignal` class, or an instance (which has its options already)."""
    given = dict(options or {})
    if isinstance(reward, str):
        made = rewards.create("reward", reward, **given)
    elif isinstance(reward, type):
        made = reward(**given)
    elif given:
        raise InputError(f"reward_options={given} go with a reward's name; {reward!r} is built already.")
    else:
        made = reward
    if not isinstance(made, RewardSignal):
        raise InputError(f"reward={reward!r} is no RewardSignal: give a name, a RewardSignal class or an instance.")
    return made


def by_group(scored: Sequence[ScoredGroup], pay: Callable[[ScoredGroup], Iterable[float]]) -> NDArray[np.float64]:
    """(B, G) from a function that pays one group."""
    return np.array([list(pay(item)) for item in scored], dtype=np.float64).reshape(len(scored), -1)


def check_invalid(invalid: str) -> InvalidPolicy:
    """The policy, or an error that lists those that exist."""
    if invalid not in get_args(InvalidPolicy):
        raise InputError(f"invalid={invalid!r} does not exist. Choose one of: {', '.join(get_args(InvalidPolicy))}.")
    return invalid  # type: ignore[return-value]  # narrowed by the check above

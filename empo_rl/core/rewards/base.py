"""The interface of a reward signal, and a function that loads a signal by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.advantages import Scale
from empo_rl.core.groups import RolloutGroup, pad_rows
from empo_rl.plugin import create, is_file_reference, load_from_file, make
from semantic_entropy import InputError, Result

InvalidPolicy = Literal["singleton_zero", "singleton_prob", "drop", "penalty"]
PENALTY = -0.5  # the reward of an empty answer in the official natural-reasoning code

GoldPair = tuple[str | None, str, str]
"""Question, answer, gold answer."""


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A rollout group with the result of scoring: the clusters and the entropy."""

    group: RolloutGroup
    result: Result


@dataclass(frozen=True, slots=True)
class SignalContext:
    """The settings of the provider that a signal may read.

    Attributes:
        invalid: the policy for invalid answers (answers that cannot be extracted).
        seed: the seed of random numbers.
        match: the provider's grader: a function that returns, for each `GoldPair`, whether the answer and the gold
            answer mean the same.
    """

    invalid: InvalidPolicy
    seed: int
    match: Callable[[Sequence[GoldPair]], Sequence[bool]]


class RewardSignal(ABC):
    """Computes the rewards of completions. The options of a signal are the keyword arguments of its class.

    Attributes:
        name: the name in configurations and in log columns.
        windowed: whether the provider's filters decide which groups are in the loss. If False, all groups stay in the
            loss; a group with equal rewards has advantage 0. Set True for signals that are computed from clusters.
        stateful: whether the signal draws random numbers or remembers earlier batches. If True, several processes make
            one decision about the global batch, so the rewards do not depend on the number of processes.
        reads_clusters: whether the signal reads the clusters or the entropy of `ScoredGroup.result`. If False, and if
            nothing else needs clusters, the judge compares no answers of the group with each other: `result` then has
            the answers, but its entropy is nan, and only answers with equal keys (the judge's canonical form) share a
            label.
        reads_answers: whether the rewards depend on the extracted answers. If False, completions without an answer are
            no fault, and the alarm `nothing_readable` does not watch the run.
        reads_gold: whether the signal reads gold answers.
        abstains: whether the signal returns nan for a completion without a reward. If False, nan is an error, because
            it is probably a mistake such as 0/0. The nan of an invalid answer under `invalid="drop"` is always allowed.
        needs: the keys of `RolloutGroup.measures` that the signal reads (`token_entropy`, `self_certainty`). A trainer
            computes only the needed measures.
        needs_scale: the only `scale` of the provider with which the rewards have their meaning; None: each scale.
        context: the provider's settings, set before the first batch.
    """

    name: str
    windowed: bool = False
    stateful: bool = False
    reads_clusters: bool = True
    reads_answers: bool = True
    reads_gold: bool = False
    abstains: bool = False
    needs: frozenset[str] = frozenset()
    needs_scale: Scale | None = None
    context: SignalContext

    def bind(self, context: SignalContext) -> None:
        """Store the context. The provider calls this method once, before the first batch."""
        self.context = context

    @abstractmethod
    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        """Return the rewards, (B, G): finite numbers; also nan if the signal `abstains`.

        nan takes a completion out of the mean and std of its group, and out of the loss. If the groups have different
        sizes, G is the largest size, and values after the end of a smaller group do not count.
        """

    def filtered(self, item: ScoredGroup) -> bool:
        """Return whether the provider's filters apply to this group."""
        return self.windowed

    def check(self, size: int) -> list[str]:
        """Return notes for the user about this signal at G=size. Raise an InputError if it cannot work at G=size."""
        del size
        return []

    def check_questions(self, questions: Sequence[str | None]) -> None:
        """Raise an InputError if the signal cannot pay completions of these questions. A run calls it at its start."""
        del questions

    def judges(self) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """The judges that the signal loads when it needs them: (name, options), by the option that names the judge.

        `empo-train --check` checks that they can be loaded.
        """
        return {}

    def files(self) -> list[Path]:
        """The data files from which the rewards are computed. A resumed run checks that they have not changed."""
        return []

    def close(self) -> None:  # noqa: B027  # most signals start nothing
        """End what the signal has started. The provider calls this method when it is closed."""

    def state_dict(self) -> dict[str, Any]:
        """The state that a restart needs, as JSON."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from this state. A signal without a state does nothing."""
        del state


def load_reward(reward: Any, options: Mapping[str, Any] | None = None) -> RewardSignal:
    """Make a signal. An instance of `RewardSignal` is returned unchanged.

    Args:
        reward: a name, `path.py:NAME`, a `RewardSignal` class or instance, or a function (see `FunctionReward`).
        options: the options of the signal.

    Raises:
        SemanticEntropyError: the signal does not exist or rejects the options, `options` are passed with an instance,
            or `reward` is not a signal.
    """
    options = dict(options or {})
    if isinstance(reward, RewardSignal):
        if options:
            raise InputError(
                f"reward_options={options} cannot change the instance reward={reward!r}: pass a name or a RewardSignal "
                "class."
            )
        return reward
    found = load_from_file(reward) if isinstance(reward, str) and is_file_reference(reward) else reward
    if isinstance(found, str):
        made = create("reward", found, options, RewardSignal)
    elif isinstance(found, type):
        made = make("reward", found.__name__, found, options)
    elif callable(found):
        from empo_rl.core.rewards.functions import FunctionReward

        made = FunctionReward(found, options)
    else:
        made = found
    if not isinstance(made, RewardSignal):
        raise InputError(
            f"reward={reward!r} is not a RewardSignal: pass a name, path.py:NAME, a function, a RewardSignal class or "
            "an instance."
        )
    return made


def by_group(scored: Sequence[ScoredGroup], pay: Callable[[ScoredGroup], Iterable[float]]) -> NDArray[np.float64]:
    """Return the rewards, (B, G). The function `pay` returns the rewards of the completions of one group."""
    return pad_rows(pay(item) for item in scored)


def check_invalid(invalid: str) -> InvalidPolicy:
    """Return the policy, or raise an error that lists the existing policies."""
    if invalid not in get_args(InvalidPolicy):
        raise InputError(f"invalid={invalid!r} does not exist. Choose one of: {', '.join(get_args(InvalidPolicy))}.")
    return invalid  # type: ignore[return-value]  # narrowed by the check above


def invalid_answers(scored: Sequence[ScoredGroup]) -> NDArray[np.bool_]:
    """Return whether each answer is invalid, (B, G); False after the end of a smaller group."""
    padded = by_group(scored, lambda item: [answer is None for answer in item.result.answers])
    invalid: NDArray[np.bool_] = padded == 1
    return invalid


def scorer_policy(invalid: str) -> Literal["drop", "separate"]:
    """Return the policy of the scorer for invalid answers, for the policy `invalid` of the provider."""
    return "drop" if invalid == "drop" else "separate"

"""Signals that combine other signals: `semi_supervised` selects a signal for each group, `composite` adds signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.contracts import compute_rewards
from empo_rl.core.groups import LARGEST
from empo_rl.core.rewards.base import RewardSignal, ScoredGroup, SignalContext, by_group, load_reward
from semantic_entropy import InputError


class CombinedReward(RewardSignal):
    """A signal that consists of other signals, its parts.

    A combined signal needs the measures that its parts need. Its state contains the states of its parts.
    """

    def __init__(self, parts: Mapping[str, RewardSignal]) -> None:
        self._parts = dict(parts)
        self.needs = frozenset[str]().union(*(part.needs for part in parts.values()))
        self.windowed = any(part.windowed for part in parts.values())
        self.reads_clusters = any(part.reads_clusters or part.windowed for part in parts.values())
        self.reads_answers = any(part.reads_answers for part in parts.values())
        self.stateful = any(part.stateful for part in parts.values())
        self.abstains = any(part.abstains for part in parts.values())
        self.reads_gold = any(part.reads_gold for part in parts.values())
        self.needs_scale = next((part.needs_scale for part in parts.values() if part.needs_scale is not None), None)

    def bind(self, context: SignalContext) -> None:
        super().bind(context)
        for part in self._parts.values():
            part.bind(context)

    def check(self, size: int) -> list[str]:
        return [note for part in self._parts.values() for note in part.check(size)]

    def check_questions(self, questions: Sequence[str | None]) -> None:
        for part in self._parts.values():
            part.check_questions(questions)

    def judges(self) -> dict[str, tuple[str, Mapping[str, Any]]]:
        return {f"{name} {key}": judge for name, part in self._parts.items() for key, judge in part.judges().items()}

    def files(self) -> list[Path]:
        return [file for part in self._parts.values() for file in part.files()]

    def close(self) -> None:
        for part in self._parts.values():
            part.close()

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in self._parts.keys() & state.keys():  # the state may be from a run with other parts
            self._parts[name].load_state_dict(state[name])


class SemiSupervisedReward(CombinedReward):
    """Pays the signal `labelled` for prompts with a gold answer, and the signal `unlabelled` for all other prompts.

    The paper names this setting as future work. Advantages are normalised in each group, so the different scales of the
    two signals do not matter, except with `scale="none"` or `scale="batch"`. The filters apply to a group if they apply
    to the signal of the group.

    Args:
        labelled: the name of the signal for groups with a gold answer.
        unlabelled: the name of the signal for groups without a gold answer.
    """

    name = "semi_supervised"

    def __init__(self, labelled: str = "golden", unlabelled: str = "empo") -> None:
        self._labelled, self._unlabelled = load_reward(labelled), load_reward(unlabelled)
        super().__init__(
            {f"labelled {self._labelled.name}": self._labelled, f"unlabelled {self._unlabelled.name}": self._unlabelled}
        )
        self.windowed = self._unlabelled.windowed
        self.reads_gold = True

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        paid = by_group(scored, lambda item: [0.0] * len(item.group.completions))
        for part in (self._labelled, self._unlabelled):
            rows = [row for row, item in enumerate(scored) if self._part_of(item) is part]
            if rows:
                found = compute_rewards(part, [scored[row] for row in rows])
                paid[rows, : found.shape[1]] = found
        return paid

    def filtered(self, item: ScoredGroup) -> bool:
        return self._part_of(item).filtered(item)

    def _part_of(self, item: ScoredGroup) -> RewardSignal:
        return self._unlabelled if item.group.gold is None else self._labelled


class CompositeReward(CombinedReward):
    """Pays a weighted sum of other signals, the parts: r_i = sum over parts k of w_k r_ik.

    w_k is the weight of part k, and r_ik is the reward of completion i from part k. If one part pays nan, the sum is
    nan, and the completion is not in the loss. The filters apply to a group if they apply to at least one part.

    Args:
        weights: the weight of each part, by the name of the part.
        options: the options of the parts, by the name of the part.
    """

    name = "composite"

    def __init__(self, weights: Mapping[str, float], options: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        if not weights or not hasattr(weights, "items"):
            raise InputError(
                f"composite: weights={weights!r} has no part: pass for example {{'empo': 1.0, 'format': 0.1}}."
            )
        options = dict(options or {})
        if unknown := set(options) - set(weights):
            raise InputError(
                f"composite: options names {sorted(unknown)}, but weights has only {list(weights)}: add a weight."
            )
        self.weights = {name: float(weight) for name, weight in weights.items()}
        for name, weight in self.weights.items():
            if not abs(weight) <= LARGEST:  # also nan
                raise InputError(f"composite: the weight of {name} is {weight:g}: set a number of at most {LARGEST:g}.")
        super().__init__({name: load_reward(name, options.get(name)) for name in weights})

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        paid = [self._weighted(name, compute_rewards(part, scored)) for name, part in self._parts.items()]
        total: NDArray[np.float64] = np.sum(paid, axis=0, dtype=np.float64)
        return total

    def _weighted(self, name: str, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
        weight = self.weights[name]
        paid: NDArray[np.float64] = weight * rewards
        for at in np.argwhere(np.abs(paid) * len(self._parts) > LARGEST)[:1]:
            raise InputError(
                f"composite: the weight {weight:g} of {name} times its reward {rewards[tuple(at)]:g} is too large: the "
                f"sum of the parts is at most {LARGEST:g}. Set a smaller weight, or check the measure."
            )
        return paid

    def filtered(self, item: ScoredGroup) -> bool:
        return any(part.filtered(item) for part in self._parts.values())

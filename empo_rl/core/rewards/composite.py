"""A weighted sum of other signals: r_i = sum over k of w_k r_ik."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.rewards.base import RewardSignal, ScoredGroup, SignalContext, load_reward
from semantic_entropy import InputError


class CompositeReward(RewardSignal):
    """The filters apply where they apply to one of the parts. A row that a part takes out (nan) is out.

    Args:
        weights: of each part, by name.
        options: of a part, by its name.
    """

    name = "composite"

    def __init__(self, weights: Mapping[str, float], options: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        if not weights or not hasattr(weights, "items"):
            raise InputError(f"composite: weights={weights!r} names no part: give {{'empo': 1.0, 'format': 0.1}}.")
        given = dict(options or {})
        if unknown := set(given) - set(weights):
            raise InputError(f"composite: options for {sorted(unknown)}, which have no weight. Parts: {list(weights)}.")
        self.weights = {name: float(weight) for name, weight in weights.items()}
        self._parts = {name: load_reward(name, given.get(name)) for name in weights}
        self.needs = frozenset[str]().union(*(part.needs for part in self._parts.values()))
        self.windowed = any(part.windowed for part in self._parts.values())
        self.stateful = any(part.stateful for part in self._parts.values())
        self.reads_gold = any(part.reads_gold for part in self._parts.values())

    def bind(self, context: SignalContext) -> None:
        super().bind(context)
        for part in self._parts.values():
            part.bind(context)

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        paid = [self.weights[name] * part.rewards(scored) for name, part in self._parts.items()]
        total: NDArray[np.float64] = np.sum(paid, axis=0, dtype=np.float64)
        return total

    def filtered(self, item: ScoredGroup) -> bool:
        return any(part.filtered(item) for part in self._parts.values())

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in self._parts.keys() & state.keys():  # a part that was added or taken away since has nothing to load
            self._parts[name].load_state_dict(state[name])

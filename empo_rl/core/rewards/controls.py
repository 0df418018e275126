"""Signals that say nothing of an answer's worth: a coin, and the form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.rewards.base import RewardSignal, ScoredGroup, SignalContext, by_group
from semantic_entropy import InputError


class RandomReward(RewardSignal):
    """0 or 1 by a fair coin, from the provider's seed: the control that must not learn."""

    name = "random"
    stateful = True

    def bind(self, context: SignalContext) -> None:
        super().bind(context)
        self._coin = np.random.default_rng(context.seed)

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        shape = (len(scored), len(scored[0].group.completions))
        return self._coin.integers(0, 2, size=shape).astype(np.float64)

    def state_dict(self) -> dict[str, Any]:
        return {"coin": self._coin.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._coin.bit_generator.state = state["coin"]


class FormatReward(RewardSignal):
    """1 where the completion has the form that is asked for, else 0.

    Args:
        pattern: a regular expression that must be found in the completion; one that backtracks without bound takes as
            long as it takes. None: an answer could be extracted from it.
    """

    name = "format"

    def __init__(self, pattern: str | None = None) -> None:
        try:
            self._pattern = None if pattern is None else re.compile(pattern, re.DOTALL)
        except re.error as error:
            raise InputError(f"format: pattern={pattern!r} is no regular expression: {error}.") from error

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, self._group)

    def _group(self, item: ScoredGroup) -> list[float]:
        if self._pattern is None:
            return [float(answer is not None) for answer in item.result.answers]
        return [float(self._pattern.search(text) is not None) for text in item.group.completions]

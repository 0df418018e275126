"""Signals that look at each completion by itself: no clusters and no labels.

    self_certainty  mean over the completion's tokens of KL(U || p_t), U uniform over the vocabulary, in nats (Zhao et
                    al. 2025, Learning to Reason without External Rewards)
    token_entropy   minus the mean over the tokens of H(p_t), in nats (Agarwal et al. 2025, The Unreasonable
                    Effectiveness of Entropy Minimization in LLM Reasoning)
    random, format  controls: a coin, and the form of the completion

A trainer measures the first two right after generation: `RolloutGroup.measures["self_certainty"]` and
`["token_entropy"]`, one number for each completion. `empo_rl.trainers.trl.token_measures` computes both from logits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.rewards.base import RewardSignal, ScoredGroup, SignalContext, by_group
from semantic_entropy import InputError


class SelfCertaintyReward(RewardSignal):
    """The mean distance (KL) of the token distributions from uniform."""

    name = "self_certainty"
    needs = frozenset({"self_certainty"})

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, lambda item: item.group.measured("self_certainty", self.name))


class TokenEntropyReward(RewardSignal):
    """Minus the mean entropy of the token distributions."""

    name = "token_entropy"
    needs = frozenset({"token_entropy"})

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return -by_group(scored, lambda item: item.group.measured("token_entropy", self.name))


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
    """1 if the completion has the required form, otherwise 0.

    Args:
        pattern: a regular expression that must be found in the completion. There is no time limit: an expression that
            backtracks without bound can take very long. None: an answer must be extractable.
    """

    name = "format"

    def __init__(self, pattern: str | None = None) -> None:
        try:
            self._pattern = None if pattern is None else re.compile(pattern, re.DOTALL)
        except re.error as error:
            raise InputError(f"format: pattern={pattern!r} is not a regular expression: {error}.") from error

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, self._group)

    def _group(self, item: ScoredGroup) -> list[float]:
        if self._pattern is None:
            return [float(answer is not None) for answer in item.result.answers]
        return [float(self._pattern.search(text) is not None) for text in item.group.completions]

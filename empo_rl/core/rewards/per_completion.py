"""Signals that are computed from single completions, without clusters and without labels.

    self_certainty  the mean over the completion's tokens of KL(U || p_t), in nats (Zhao et al. 2025, Learning to Reason
                    without External Rewards)
    token_entropy   minus the mean over the completion's tokens of H(p_t), in nats (Agarwal et al. 2025, The
                    Unreasonable Effectiveness of Entropy Minimization in LLM Reasoning)
    random, format  controls: a fair coin, and the form of the completion

p_t is the model's distribution of token t. U is the uniform distribution over the vocabulary. A trainer computes
`RolloutGroup.measures["self_certainty"]` and `RolloutGroup.measures["token_entropy"]`, one number for each completion,
directly after generation. `empo_rl.trainers.trl.token_measures` computes both measures from logits.
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
    """Pays the mean KL divergence KL(U || p_t) of the token distributions p_t from the uniform distribution U."""

    name = "self_certainty"
    reads_clusters = False
    reads_answers = False
    needs = frozenset({"self_certainty"})

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, lambda item: item.group.measured("self_certainty", self.name))


class TokenEntropyReward(RewardSignal):
    """Pays minus the mean entropy of the token distributions."""

    name = "token_entropy"
    reads_clusters = False
    reads_answers = False
    needs = frozenset({"token_entropy"})

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return -by_group(scored, lambda item: item.group.measured("token_entropy", self.name))


class RandomReward(RewardSignal):
    """Pays 0 or 1 by a fair coin with the provider's seed. This signal is a control: a model cannot learn from it."""

    name = "random"
    reads_clusters = False
    reads_answers = False
    stateful = True

    def bind(self, context: SignalContext) -> None:
        super().bind(context)
        self._coin = np.random.default_rng(context.seed)

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        shape = (len(scored), max(len(item.group.completions) for item in scored))
        return self._coin.integers(0, 2, size=shape).astype(np.float64)

    def state_dict(self) -> dict[str, Any]:
        return {"coin": self._coin.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._coin.bit_generator.state = state["coin"]


class FormatReward(RewardSignal):
    """Pays 1 if the completion has the required form, otherwise 0.

    Args:
        pattern: a regular expression that must be found in the completion. The search has no time limit: an expression
            with unbounded backtracking can take very long. With None, the required form is an extractable answer.
    """

    name = "format"
    reads_clusters = False

    def __init__(self, pattern: str | None = None) -> None:
        self.reads_answers = pattern is None
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

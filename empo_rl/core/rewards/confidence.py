"""Signals made of the policy's own token distributions: no labels, and no other completion.

    self_certainty  mean over the completion's tokens of KL(U || p_t), U uniform over the vocabulary, in nats (Zhao et
                    al. 2025, Learning to Reason without External Rewards)
    token_entropy   minus the mean over the tokens of H(p_t), in nats (Agarwal et al. 2025, The Unreasonable
                    Effectiveness of Entropy Minimization in LLM Reasoning)

A trainer measures them where it generates: `RolloutGroup.measures["self_certainty"]` and `["token_entropy"]`, a number
a completion. `empo_rl.trainers.trl.token_measures` computes both from logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.rewards.base import RewardSignal, ScoredGroup, by_group


class SelfCertaintyReward(RewardSignal):
    """How far the token distributions are from uniform."""

    name = "self_certainty"
    needs = frozenset({"self_certainty"})

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, lambda item: item.group.measured("self_certainty", self.name))


class TokenEntropyReward(RewardSignal):
    """How little the token distributions are spread."""

    name = "token_entropy"
    needs = frozenset({"token_entropy"})

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return -by_group(scored, lambda item: item.group.measured("token_entropy", self.name))

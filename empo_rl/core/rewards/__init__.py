"""Reward signals: what each completion of a scored batch is paid.

    agreement    empo         r_i = p(c(o_i)) = |c|/G, the share of its group that means the same (the paper, 3.2)
                 log_share    r_i = ln p(c(o_i)), whose policy gradient is that of -H
                 majority     r_i = 1 in the largest cluster, else 0 (TTRL, Zuo et al. 2025)
    labels       golden       r_i = 1 if the answer means the same as the gold answer, else 0: GRPO with labels
                 semi_supervised   golden where a prompt has a gold answer, another signal where it has none
    confidence   self_certainty    mean over tokens of KL(U || p) (Zhao et al. 2025)
                 token_entropy     minus the mean entropy of the token distributions (Agarwal et al. 2025)
    controls     random       0 or 1 by a fair coin: must not learn
                 format       1 where there is an answer, or where a pattern is found
    composite    a weighted sum of others

A new one is a class; a plugin announces it (`empo_rl.plugin`), or `empo_rl.register_reward(name, cls)` makes it known
in one process. The provider does not change.
"""

from empo_rl.core.rewards.base import (
    PENALTY,
    InvalidPolicy,
    RewardSignal,
    ScoredGroup,
    SignalContext,
    check_invalid,
    load_reward,
)

__all__ = [
    "PENALTY",
    "InvalidPolicy",
    "RewardSignal",
    "ScoredGroup",
    "SignalContext",
    "check_invalid",
    "load_reward",
]

"""Reward signals. A signal computes the reward r_i of each completion o_i in a scored batch.

    agreement       empo              r_i = p(c(o_i)) = |c|/G, the share of the completion's cluster c (the paper, 3.2)
                    log_share         r_i = ln p(c(o_i)), which has the same policy gradient as -H
                    majority          r_i = 1 in the largest cluster, otherwise 0 (TTRL, Zuo et al. 2025)
    selected_votes  scrl              +1 for a clear majority, -1 for rare answers of which the model is unsure, else 0
    vote_certainty  vote_certainty    the votes of the answer and the self-certainty, each normalised in the group
    restrained_votes restrain         advantages: each answer as a pseudo-label, weighted by its votes
    novelty         evol              the sign from the majority, the size from the novelty of the text
    labels          golden            r_i = 1 if the answer means the same as the gold answer: GRPO with labels
    per_completion  self_certainty    the mean over tokens of KL(U || p), U uniform (Zhao et al. 2025)
                    token_entropy     minus the mean entropy of the token distributions (Agarwal et al. 2025)
                    random            0 or 1 by a fair coin: a control from which a model cannot learn
                    format            1 if an answer can be extracted, or if a pattern is found
    combined        semi_supervised   golden for prompts with a gold answer, another signal for all other prompts
                    composite         a weighted sum of other signals
    functions       path.py:NAME      what a function returns for each group

A new signal is a function or a subclass of `RewardSignal`. A plugin adds the signal to `empo_rl` (see
`empo_rl.plugin`), or `empo_rl.register_reward(name, cls)` registers the signal in the current process. `EmpoProvider`
needs no change.
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

"""`vote_certainty`: the votes of the answer and the self-certainty of the completion, each normalised in its group.

"Two is better than one" (Joarder et al. 2026, arXiv 2605.22620):

    r_i = w_v (v_i - mean v) / (std v + 1e-4) + w_s (s_i - mean s) / (std s + 1e-4)

    v_i        |c(i)| / n: the number of completions in the cluster of o_i, divided by the number n of valid answers of
               the group; 0 if o_i has no answer
    s_i        the mean over the tokens of KL(U || p_t), nats: the signal `self_certainty`

mean and std are those of the group. The weights 0.5 and 0.5 are the paper's. The sample std (ddof 1) and 1e-4 are ours:
those of all advantages here. Without the normalisation, the values with the larger spread decide alone. If all
completions have the same votes, only the self-certainty is paid, and the reverse.

The mean reward of a group is 0, so the paper's advantages are those of `scale="none"`; `scale="group"` divides them by
the std of the sum. Left out: the paper's second part, a KL penalty on the 2% of tokens with the largest covariance
(KL-Cov), which is a term of the loss. Without this penalty the authors' runs collapse too, later than with one reward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.advantages import group_advantages
from empo_rl.core.rewards.agreement import count_votes
from empo_rl.core.rewards.base import RewardSignal, ScoredGroup, by_group
from semantic_entropy import InputError


class VoteCertaintyReward(RewardSignal):
    """Pays the normalised votes plus the normalised self-certainty of a completion.

    An invalid answer has no votes under each policy `invalid`; `drop` takes the completion out of all means.

    Args:
        votes: the weight of the votes.
        certainty: the weight of the self-certainty.
    """

    name = "vote_certainty"
    needs = frozenset({"self_certainty"})

    def __init__(self, votes: float = 0.5, certainty: float = 0.5) -> None:
        for name, weight in {"votes": votes, "certainty": certainty}.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(f"vote_certainty: {name}={weight!r} is a weight: set a number that is at least 0.")
        self.votes, self.certainty = votes, certainty

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        dropped = by_group(scored, lambda item: [label < 0 for label in item.result.labels]) > 0
        votes = np.where(dropped, np.nan, by_group(scored, _votes))
        certainties = by_group(scored, lambda item: item.group.measured("self_certainty", self.name))
        certainties = np.where(dropped, np.nan, certainties)
        total = self.votes * group_advantages(votes) + self.certainty * group_advantages(certainties)
        return np.where(dropped, np.nan, total)


def _votes(item: ScoredGroup) -> list[float]:
    """(G,) the share of the valid answers that are in the cluster of the completion; 0 for an invalid answer."""
    result, votes = item.result, count_votes(item.result)
    return [
        0.0 if answer is None else votes[label] / votes.total()
        for label, answer in zip(result.labels, result.answers, strict=True)
    ]

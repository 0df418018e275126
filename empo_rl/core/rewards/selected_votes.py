"""`scrl`: the majority only where it is clear, and a penalty for rare answers of which the model is unsure.

SCRL, "What If Consensus Lies?" (Yan et al. 2026, arXiv 2603.19880), with the constants of the authors' example run
(github.com/Jasper-Yan/SCRL at 06535a1, verl/run_example.sh):

    r_i = +1   c(i) is the top cluster, p_1 >= 0.375 and p_1 - p_2 > 0.125
          -1   p_c(i) < 0.125 and h_c(i) >= h
          -1   o_i has no answer
           0   otherwise

    p_c        the share of cluster c in the group; p_1 and p_2 are the largest and the second largest share of clusters
               of valid answers, p_2 = 0 if there is only one
    h_c        the mean token entropy, in nats, of the completions in c
    h          the mean token entropy, in nats, of the completions of the group

The authors draw 32 completions for the votes and train on 16 of these; here all G completions vote and are trained on.
Left out: the continuous form of their code, which pays p - 0.1 (h_c - h) instead of +1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.rewards.agreement import count_votes
from empo_rl.core.rewards.base import RewardSignal, ScoredGroup, by_group
from semantic_entropy import InputError, Result

_TOLERANCE = 1e-9  # a smaller difference counts as equal: 0.4 - 0.3 > 0.1, and equal numbers can have another mean


class ScrlReward(RewardSignal):
    """Pays +1 for a clear majority, -1 for rare answers with a high token entropy and for no answer, otherwise 0.

    An invalid answer is paid -1 under each policy `invalid` except `drop`.

    Args:
        positive_share: the smallest share of the top cluster that is paid +1.
        margin: the top cluster is paid +1 if its share is larger than the second largest share plus this margin.
        negative_share: only answers whose cluster has a smaller share are paid -1.
    """

    name = "scrl"
    needs = frozenset({"token_entropy"})

    def __init__(self, positive_share: float = 0.375, margin: float = 0.125, negative_share: float = 0.125) -> None:
        options = {"positive_share": positive_share, "margin": margin, "negative_share": negative_share}
        for name, value in options.items():
            if not 0 <= value <= 1:
                raise InputError(f"scrl: {name}={value!r} is a share of the group: set a number from 0 to 1.")
        self.positive_share, self.margin, self.negative_share = positive_share, margin, negative_share

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, self._group)

    def check(self, size: int) -> list[str]:
        if 1 / size < self.negative_share - _TOLERANCE:
            return []
        note = (
            f"scrl: no answer can have a share below negative_share={self.negative_share:g} at G={size}, where one "
            f"completion is a share of {1 / size:.3g}: no rare answer is paid -1. Raise G or negative_share."
        )
        return [note]

    def _group(self, item: ScoredGroup) -> Iterator[float]:
        result, entropies = item.result, item.group.measured("token_entropy", self.name)
        votes, size = count_votes(result), sum(label >= 0 for label in result.labels)
        shares = {label: count / size for label, count in votes.items()}
        paid = dict.fromkeys(self._unsure(result, entropies, shares), -1.0)
        paid |= dict.fromkeys(self._clear_majority(shares), 1.0)
        for label, answer in zip(result.labels, result.answers, strict=True):
            if label < 0:  # an invalid answer under invalid="drop"
                yield math.nan
            else:
                yield -1.0 if answer is None else paid.get(label, 0.0)

    def _clear_majority(self, shares: dict[int, float]) -> list[int]:
        """The label of the top cluster, or nothing."""
        ranked = sorted(shares, key=shares.__getitem__, reverse=True)[:2]
        first, second = ([shares[label] for label in ranked] + [0.0, 0.0])[:2]
        is_clear = first >= self.positive_share - _TOLERANCE and first - second > self.margin + _TOLERANCE
        return ranked[:1] if is_clear else []

    def _unsure(self, result: Result, entropies: Sequence[float], shares: dict[int, float]) -> list[int]:
        """The labels of the rare clusters whose token entropy is not below that of the group."""
        labels, values = np.array(result.labels), np.asarray(entropies, dtype=np.float64)
        rare = [label for label, share in shares.items() if share < self.negative_share - _TOLERANCE]
        mean = values[labels >= 0].mean() if rare else math.nan
        return [label for label in rare if values[labels == label].mean() >= mean - _TOLERANCE]

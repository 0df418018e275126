"""`evol`: the sign from the majority, the size from the novelty of the text.

EVOL-RL (Zhou et al. 2025, arXiv 2509.15194), as in github.com/YujunZhou/EVOL-RL at 19896e0 (`semantic_novelty.py`):

    r_i =  0.5 + 0.5 v_i      o_i has the majority answer
          -1.0 + 0.5 v_i      o_i has another answer
          -1                  o_i has no answer

    u_i = 1 - (mean over j of s_ij + max over j of s_ij) / 2
    v_i = (u_i - min u) / (max u - min u)      min and max over the side of o_i (the majority, or the other answers)

s_ij in [0, 1] is the similarity of the texts of two completions with an answer, without reasoning before `</think>`:
the cosine of their embeddings, or 0 if the cosine is negative. The mean is over the other completions of the side, or
over all if o_i is alone on its side; the max is over all other completions. On a side with equal u, v is 1/2; a
completion that is alone on its side has v = 1. Among several largest clusters, the first is the majority.

The code pays -1 to all completions if only one has an answer; here this one has the majority answer. Left out: the
entropy bonus and the asymmetric clip of the paper, which belong to the loss (`trl: {epsilon_high: 0.28}`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.rewards.agreement import count_votes
from empo_rl.core.rewards.base import RewardSignal, ScoredGroup, by_group
from empo_rl.plugin import is_file_reference, load_from_file
from semantic_entropy import Equivalence, InputError, Pair, load_equivalence

_EQUAL = (
    1e-6  # cosines in float32 of equal texts differ by less: a min-max scale would spread them over the whole range
)


class EvolReward(RewardSignal):
    """Pays 0.5 to 1 for the majority answer and -1 to -0.5 for other answers, more for texts unlike the others.

    An invalid answer is paid -1 under each policy `invalid` except `drop`.

    Args:
        similarity: how similar two texts are, in [0, 1]: the name of a judge with scores (`embedding`), `path.py:NAME`,
            or a function of two texts.
        similarity_options: the options of the judge: `{"model": "Qwen/Qwen3-Embedding-4B"}`, the model of the paper.
    """

    name = "evol"

    def __init__(
        self,
        similarity: str | Callable[[str, str], float] | None = None,
        similarity_options: Mapping[str, Any] | None = None,
    ) -> None:
        if similarity is None:
            raise InputError(
                "evol needs similarity: set similarity='embedding' and similarity_options={'model': ...} for cosines "
                "of sentence embeddings, as in the paper, or a function of two texts as path.py:NAME."
            )
        if isinstance(similarity, str) and is_file_reference(similarity):
            similarity = load_from_file(similarity)
        if similarity_options and not isinstance(similarity, str):
            raise InputError("evol: similarity_options needs similarity as the name of a judge. Remove it.")
        self._similarity, self._options = similarity, dict(similarity_options or {})
        self._judge: Equivalence | None = None

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        texts = [_compared_texts(item) for item in scored]
        pairs = {pair for group in texts for pair in itertools.combinations(sorted(set(group.values())), 2)}
        similar = dict(zip(sorted(pairs), self._compare(sorted(pairs)), strict=True))
        rows = iter(texts)
        return by_group(scored, lambda item: _pay(item, next(rows), similar))

    def judges(self) -> dict[str, tuple[str, Mapping[str, Any]]]:
        return {"similarity": (self._similarity, self._options)} if isinstance(self._similarity, str) else {}

    def close(self) -> None:
        if self._judge is not None:
            self._judge.close()

    def _compare(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The similarity of each pair of texts. The judge is loaded at the first pair."""
        if not pairs:
            return []
        if callable(self._similarity):
            values: Sequence[Any] = [self._similarity(left, right) for left, right in pairs]
        else:
            self._judge = self._judge or load_equivalence(self._similarity, **self._options)
            values = self._judge.similarities([Pair(None, left, right) for left, right in pairs])
        for (left, right), value in zip(pairs, values, strict=True):
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InputError(
                    f"evol: the similarity of {left[:60]!r} and {right[:60]!r} is {value!r}: evol needs a number in "
                    "[0, 1] for each pair. Use a judge with scores, such as embedding, and texts that fit its model."
                )
        return [float(value) for value in values]


def _compared_texts(item: ScoredGroup) -> dict[int, str]:
    """The text of each completion with an answer, without its reasoning, by row."""
    rows = enumerate(zip(item.group.completions, item.result.answers, strict=True))
    return {row: text.rpartition("</think>")[2].strip() for row, (text, answer) in rows if answer is not None}


def _pay(item: ScoredGroup, texts: Mapping[int, str], similar: Mapping[tuple[str, str], float]) -> list[float]:
    paid = [math.nan if label < 0 else -1.0 for label in item.result.labels]
    votes = count_votes(item.result)
    majority = max(votes, key=votes.__getitem__, default=None)  # the first of several
    sides = [[row for row in texts if (item.result.labels[row] == majority) == wins] for wins in (True, False)]
    for side, lowest in zip(sides, (0.5, -1.0), strict=True):
        novelties = [_novelty(row, side, texts, similar) for row in side]
        low, high = min(novelties, default=0.0), max(novelties, default=0.0)
        alone_or_equal = 1.0 if len(side) == 1 else 0.5
        for row, novelty in zip(side, novelties, strict=True):
            scaled = (novelty - low) / (high - low) if high - low > _EQUAL else alone_or_equal
            paid[row] = lowest + 0.5 * scaled
    return paid


def _novelty(
    row: int, side: Sequence[int], texts: Mapping[int, str], similar: Mapping[tuple[str, str], float]
) -> float:
    others = {other: _similarity(texts[row], texts[other], similar) for other in texts if other != row}
    if not others:
        return 0.0
    near = [others[other] for other in side if other != row] or list(others.values())
    return 1.0 - (math.fsum(near) / len(near) + max(others.values())) / 2


def _similarity(left: str, right: str, similar: Mapping[tuple[str, str], float]) -> float:
    return 1.0 if left == right else similar[min(left, right), max(left, right)]

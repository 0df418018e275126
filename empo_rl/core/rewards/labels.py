"""The `Grader`, which compares answers with gold answers, and the signal `golden`.

By default, the grader uses the judge that clusters the answers. For free text, the grader can use another judge: the
GRPO baseline of the paper uses the paper's verifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.rewards.base import GoldPair, RewardSignal, ScoredGroup, SignalContext
from semantic_entropy import InputError, Scorer


class Grader:
    """Compares answers with gold answers. The first comparison creates a `Scorer`; later comparisons use the same."""

    def __init__(self, equivalence: Any) -> None:
        self._equivalence = equivalence
        self._scorer: Scorer | None = None

    def match(self, pairs: Sequence[GoldPair]) -> list[bool]:
        """Return for each (question, answer, gold answer) whether the answer and the gold answer mean the same."""
        return [verdict is True for verdict in self.verdicts(pairs)]

    def verdicts(self, pairs: Sequence[GoldPair]) -> list[bool | None]:
        """Return the same values as `match`, but None if the judge could not decide (timeout, unreadable reply)."""
        if not pairs:
            return []
        if self._scorer is None:  # both texts are extracted answers, so the whole text is the answer
            self._scorer = Scorer(equivalence=self._equivalence, extract="whole", invalid="separate")
        questions = [question for question, _, _ in pairs]
        has_questions = any(question is not None for question in questions)
        results = self._scorer.estimate(
            [[answer, gold] for _, answer, gold in pairs], question=questions if has_questions else None
        )
        return [
            None if result.undecided else result.labels[0] == result.labels[1] and None not in result.answers
            for result in results
        ]

    def close(self) -> None:
        """End the worker processes of the scorer."""
        if self._scorer is not None:
            self._scorer.close()


def grade_completions(scored: Sequence[ScoredGroup], context: SignalContext) -> NDArray[np.float64]:
    """Return the grades, (B, G).

    A grade is 1 if the answer means the same as the gold answer, otherwise 0; nan in a group without a gold answer.
    """
    rows = [[(item.group.question, answer, item.group.gold) for answer in item.result.answers] for item in scored]
    pairs = sorted({(q, a, g) for row in rows for q, a, g in row if a is not None and g is not None}, key=repr)
    right = {pair for pair, same in zip(pairs, context.match(pairs), strict=True) if same}
    return np.array([[np.nan if pair[2] is None else float(pair in right) for pair in row] for row in rows])


class GoldenReward(RewardSignal):
    """Pays 1 if the answer means the same as the gold answer, otherwise 0."""

    name = "golden"
    reads_gold = True

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        for index, item in enumerate(scored):
            if item.group.gold is None:
                raise InputError(
                    f"reward='golden' needs a gold answer, and group {index} has none (question: "
                    f"{item.group.question!r}). Pass RolloutGroup(gold=...), or use reward='empo', which needs no "
                    "labels, or 'semi_supervised', which uses the labels that exist."
                )
        return grade_completions(scored, self.context)

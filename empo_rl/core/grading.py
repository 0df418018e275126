"""Whether answers mean the same as their gold answers, for many pairs at once, by an equivalence.

The grader is by default the equivalence that clusters the answers. For free text it can be another one, as the paper's
GRPO baseline does with its verifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from empo_rl.core.rewards.base import GoldPair
from semantic_entropy import Scorer


class Grader:
    """Asks one `Scorer`, made at the first pair and kept."""

    def __init__(self, equivalence: Any) -> None:
        self._equivalence = equivalence
        self._scorer: Scorer | None = None

    def match(self, pairs: Sequence[GoldPair]) -> list[bool]:
        """Whether answer and gold mean the same, for each (question, answer, gold)."""
        return [verdict is True for verdict in self.verdicts(pairs)]

    def verdicts(self, pairs: Sequence[GoldPair]) -> list[bool | None]:
        """As `match`, with None where the equivalence could not decide (out of time, unreadable)."""
        if not pairs:
            return []
        if self._scorer is None:  # both sides are answers already: nothing is left to extract
            self._scorer = Scorer(equivalence=self._equivalence, extract="whole", invalid="separate")
        questions = [question for question, _, _ in pairs]
        asked = questions if any(question is not None for question in questions) else None
        results = self._scorer.estimate([[answer, gold] for _, answer, gold in pairs], question=asked)
        return [
            None if result.undecided else result.labels[0] == result.labels[1] and None not in result.answers
            for result in results
        ]

    def close(self) -> None:
        """End the worker processes of the scorer."""
        if self._scorer is not None:
            self._scorer.close()

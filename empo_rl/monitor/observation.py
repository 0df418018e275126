"""Observation: the numbers of a training step that the alarms watch. The numbers need no labels.

An observation is small, because each process sends its observation to all other processes. Each alarm then uses the
whole batch. Sums are exact (`math.fsum`), so the order of the groups, and their distribution over the processes, do not
change the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from empo_rl.core.guards import normalize_answer
from empo_rl.core.provider import BatchDecision
from semantic_entropy import InputError

ANSWER_LENGTH = 200  # only the first characters of an answer are compared and stored: free text can be long


@dataclass(frozen=True, slots=True)
class Observation:
    """The numbers of a step with B groups of G completions.

    Attributes:
        size: the group size G.
        entropies: (B,) the semantic entropy of each group, in nats; nan for a group without a valid answer.
        main_answers: (B,) the most frequent answer of each group, normalised; None if the group has no valid answer.
        invalid: the number of completions without an extractable answer.
        lengths: (B*G,) the lengths of the completions, in the same unit in all steps; empty if they were not measured.
    """

    size: int
    entropies: tuple[float, ...]
    main_answers: tuple[str | None, ...]
    invalid: int
    lengths: tuple[float, ...] = ()

    @classmethod
    def of(cls, decision: BatchDecision, lengths: Sequence[float] | None = None) -> Self:
        """Make an observation from a provider's decision and from the lengths of the completions (None if unknown)."""
        if lengths is not None and len(lengths) != len(decision.rewards):
            raise InputError(
                f"lengths has {len(lengths)} numbers for {len(decision.rewards)} completions: pass one number for each "
                "completion, in group order."
            )
        results = decision.results
        return cls(
            size=decision.num_generations,
            entropies=tuple(float(entropy) for entropy in decision.entropies),
            main_answers=tuple(
                None if result.answer is None else normalize_answer(result.answer)[:ANSWER_LENGTH] for result in results
            ),
            invalid=sum(result.invalid for result in results),
            lengths=tuple(float(length) for length in lengths or ()),
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self | None:
        """Join the observations of several processes or batches in one step; None if `parts` is empty."""
        if not parts:
            return None
        return cls(
            size=parts[0].size,
            entropies=tuple(entropy for part in parts for entropy in part.entropies),
            main_answers=tuple(answer for part in parts for answer in part.main_answers),
            invalid=sum(part.invalid for part in parts),
            lengths=tuple(length for part in parts for length in part.lengths),
        )

    @property
    def entropy(self) -> float | None:
        """The mean semantic entropy in nats; None if no group has a valid answer."""
        return _mean(entropy for entropy in self.entropies if not math.isnan(entropy))

    @property
    def invalid_fraction(self) -> float:
        """The share of completions without an extractable answer."""
        return self.invalid / (len(self.main_answers) * self.size)

    @property
    def length(self) -> float | None:
        """The mean length; None if no lengths were measured."""
        return _mean(self.lengths)


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else None

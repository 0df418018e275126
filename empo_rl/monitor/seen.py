"""What a run without labels knows of one step: the numbers that alarms watch, and no more.

Small enough to send from every process to every other, so that an alarm is decided on the whole batch. Sums are exact
(`math.fsum`): the order of groups, and how they are dealt out to processes, changes no digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from empo_rl.core.decision import BatchDecision
from empo_rl.core.guards import plain
from semantic_entropy import InputError

LONGEST = 200  # characters of an answer that are compared and kept; a free text need not be stored whole


@dataclass(frozen=True, slots=True)
class Seen:
    """Of B groups of G completions each.

    Attributes:
        size: G.
        entropies: (B,) in nats; nan where a group has no valid answer.
        main: (B,) each group's most frequent answer, without case and spaces; None where it has none.
        unread: completions from which no answer could be extracted.
        lengths: (B*G,) of the completions, in any unit that stays the same; empty where nobody measured them.
    """

    size: int
    entropies: tuple[float, ...]
    main: tuple[str | None, ...]
    unread: int
    lengths: tuple[float, ...] = ()

    @classmethod
    def of(cls, decision: BatchDecision, lengths: Sequence[float] | None = None) -> Self:
        """What a provider's decision tells, and the completions' lengths where the caller has them."""
        if lengths is not None and len(lengths) != len(decision.rewards):
            raise InputError(
                f"lengths has {len(lengths)} numbers for {len(decision.rewards)} completions: give one each, group "
                "after group."
            )
        results = decision.results
        return cls(
            size=decision.num_generations,
            entropies=tuple(float(entropy) for entropy in decision.entropies),
            main=tuple(None if r.answer is None else plain(r.answer)[:LONGEST] for r in results),
            unread=sum(result.invalid for result in results),
            lengths=tuple(float(length) for length in lengths or ()),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self | None:
        """The parts of one step, of several processes or batches; None where there is none."""
        if not parts:
            return None
        return cls(
            size=parts[0].size,
            entropies=tuple(entropy for part in parts for entropy in part.entropies),
            main=tuple(answer for part in parts for answer in part.main),
            unread=sum(part.unread for part in parts),
            lengths=tuple(length for part in parts for length in part.lengths),
        )

    @property
    def entropy(self) -> float | None:
        """Mean semantic entropy in nats."""
        return _mean(entropy for entropy in self.entropies if not math.isnan(entropy))

    @property
    def unread_fraction(self) -> float:
        """Of the completions."""
        return self.unread / (len(self.main) * self.size)

    @property
    def length(self) -> float | None:
        """Mean length."""
        return _mean(self.lengths)


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else None

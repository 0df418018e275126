"""Observation: the numbers of a training step that the alarms watch. The numbers need no labels.

An observation is small, because each process sends its observation to all other processes. Each alarm then uses the
whole batch. Sums are exact (`math.fsum`), so the order of the groups, and their distribution over the processes, do not
change the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from empo_rl.core.decision import BatchDecision
from empo_rl.core.filters import DROPPED_NO_REWARD
from empo_rl.core.groups import RolloutGroup
from empo_rl.core.guards import main_answer
from semantic_entropy import InputError

_Number = TypeVar("_Number", bool, float)
EXAMPLES = 3  # completions in the message of an alarm
_END_LENGTH = 200  # characters of a completion in the message: the answer is at the end


@dataclass(frozen=True, slots=True)
class Example:
    """A completion of the step, for the message of an alarm.

    Attributes:
        end: the last characters of the completion.
        answer: the extracted answer; None if there is none.
        reward: the reward; nan if the completion is not in the loss.
        gold: the gold answer; None if there is none.
        truncated: whether the completion reached the length limit; None if the trainer did not measure this.
    """

    end: str
    answer: str | None
    reward: float
    gold: str | None = None
    truncated: bool | None = None

    def __str__(self) -> str:
        answer = "no answer" if self.answer is None else f"answer {self.answer[:80]!r}"
        gold = "" if self.gold is None else f", gold {self.gold[:80]!r}"
        paid = "not in the loss" if math.isnan(self.reward) else f"reward {self.reward:.3g}"
        return f"{self.end!r} [{answer}{gold}, {paid}{', cut off' if self.truncated else ''}]"


@dataclass(frozen=True, slots=True)
class Update:
    """What the optimizer step did. None: the trainer did not measure it.

    Attributes:
        gradient: whether a trained weight has a gradient that is not zero.
        moved: the share of the weights with such a gradient that the step changed. Only a part of each weight matrix is
            compared. The value is None in a step with a low learning rate by plan: in the warm-up, or below 1% of the
            configured rate.
        learning_rate: the learning rate of the step.
    """

    gradient: bool | None = None
    moved: float | None = None
    learning_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """The numbers of a step with B groups of G completions.

    Attributes:
        size: the group size G.
        entropies: (B,) the semantic entropy of each group, in nats; nan for a group without a valid answer, or if the
            reward needs no clusters.
        main_answers: (B,) the most frequent answer of each group, normalised; None if the group has no valid answer.
        invalid: the number of completions without an extractable answer.
        lengths: (B*G,) the lengths of the completions, in the same unit in all steps; empty if they were not measured.
        flat: the number of groups whose advantages are all 0: dropped groups, and groups with equal rewards.
        filtered: the number of groups that the filters drop.
        unrewarded: the number of groups in which no completion has a reward.
        truncated: the number of completions that reached the length limit; None if it was not measured.
        extract: the rule that extracts the answers.
        grades_gold: whether the reward reads gold answers, and a group has one.
        reads_answers: whether the rewards depend on the extracted answers.
        examples: the first completions of the step, from different groups.
        prompt: the first prompt of the run as text; None if it is not known.
        update: what the optimizer step did.
    """

    size: int
    entropies: tuple[float, ...]
    main_answers: tuple[str | None, ...]
    invalid: int
    lengths: tuple[float, ...] = ()
    flat: int = 0
    filtered: int = 0
    unrewarded: int = 0
    truncated: int | None = None
    extract: str = ""
    grades_gold: bool = False
    reads_answers: bool = True
    examples: tuple[Example, ...] = ()
    prompt: str | None = None
    update: Update = Update()

    @classmethod
    def of(
        cls,
        decision: BatchDecision,
        lengths: Sequence[float] | None = None,
        groups: Sequence[RolloutGroup] | None = None,
    ) -> Self:
        """Make an observation from a provider's decision.

        Args:
            decision: the decision.
            lengths: (B*G,) the lengths of the completions; None if they are not known.
            groups: (B,) the groups of the decision, for examples and cut-off completions; None: the observation has
                neither.
        """
        if lengths is not None and len(lengths) != len(decision.rewards):
            raise InputError(
                f"lengths has {len(lengths)} numbers for {len(decision.rewards)} completions: pass one number for each "
                "completion, in group order."
            )
        results = decision.results
        advantages = decision.advantages.reshape(-1, decision.num_generations)
        pairs = zip(decision.drop_reasons, decision.keep, strict=True)
        left_out = [None if kept else reason for reason, kept in pairs]  # outside="zero" keeps groups with a reason
        measured = groups is not None and all("truncated" in group.measures for group in groups)
        return cls(
            size=decision.num_generations,
            entropies=tuple(float(entropy) for entropy in decision.entropies),
            main_answers=tuple(main_answer(result) for result in results),
            invalid=sum(result.invalid for result in results),
            lengths=tuple(float(length) for length in lengths or ()),
            flat=int((advantages == 0).all(axis=1).sum()),
            filtered=sum(reason not in (None, DROPPED_NO_REWARD) for reason in left_out),
            unrewarded=left_out.count(DROPPED_NO_REWARD),
            truncated=int(sum(sum(g.measures["truncated"]) for g in groups)) if measured and groups else None,
            extract=results[0].provenance.extract,
            grades_gold=decision.reads_gold and any(group.gold is not None for group in groups or ()),
            reads_answers=decision.reads_answers,
            examples=_examples(decision, groups or ()),
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
            flat=sum(part.flat for part in parts),
            filtered=sum(part.filtered for part in parts),
            unrewarded=sum(part.unrewarded for part in parts),
            truncated=_sum(part.truncated for part in parts),
            extract=parts[0].extract,
            grades_gold=any(part.grades_gold for part in parts),
            reads_answers=parts[0].reads_answers,
            examples=tuple(example for part in parts for example in part.examples)[:EXAMPLES],
            prompt=parts[0].prompt,
            update=Update(
                gradient=_largest(part.update.gradient for part in parts),
                moved=_largest(part.update.moved for part in parts),
                learning_rate=parts[0].update.learning_rate,
            ),
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
    def cut_off_fraction(self) -> float | None:
        """The share of completions that reached the length limit; None if it was not measured."""
        return None if self.truncated is None else self.truncated / (len(self.main_answers) * self.size)

    @property
    def length(self) -> float | None:
        """The mean length; None if no lengths were measured."""
        return _mean(self.lengths)


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else None


def _examples(decision: BatchDecision, groups: Sequence[RolloutGroup]) -> tuple[Example, ...]:
    """The first completion of each of the first groups."""
    return tuple(
        Example(
            end=group.completions[0][-_END_LENGTH:],
            answer=decision.results[index].answers[0],
            reward=float(decision.rewards[index * decision.num_generations]),
            gold=group.gold,
            truncated=bool(group.measures["truncated"][0]) if "truncated" in group.measures else None,
        )
        for index, group in enumerate(groups[:EXAMPLES])
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _largest(values: Iterable[_Number | None]) -> _Number | None:
    return max((value for value in values if value is not None), default=None)

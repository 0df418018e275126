"""Rollout groups: the G completions of one prompt, grouped by their position in the batch.

A trainer passes a flat list in which the completions of each prompt are contiguous. Grouping by position is exact.
Grouping by prompt text is not exact, because a batch may contain the same prompt twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from semantic_entropy import InputError

LARGEST = 1e15
"""The largest size of a measure and of a reward: the square of a larger one is infinite in float32, the type of most
trainers."""


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """The completions of one prompt.

    Attributes:
        completions: the texts of the completions, (G,).
        question: the question that the judge receives with the answers; None if the judge receives no question.
        gold: the gold answer, for `golden`, `semi_supervised` and `measure_gold`; a blank gold answer counts as None.
        measures: numbers by name, (G,) each: `token_entropy` and `self_certainty` (means over the tokens of the
            completion, in nats), `tokens` (the number of tokens), `truncated` (1 if the completion reached the
            completion length limit and was cut off, otherwise 0).
    """

    completions: tuple[str, ...]
    question: str | None = None
    gold: str | None = None
    measures: Mapping[str, Sequence[float]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if isinstance(self.completions, str):  # a string is a sequence of strings too
            raise InputError(f"completions is one string, {self.completions[:60]!r}: pass a tuple of G strings.")
        object.__setattr__(self, "completions", tuple(self.completions))
        if self.gold is not None and not isinstance(self.gold, str):
            raise InputError(f"gold is {self.gold!r}, a {type(self.gold).__name__}: pass a string, {str(self.gold)!r}.")
        if self.gold is not None and not self.gold.strip():
            object.__setattr__(self, "gold", None)
        for name, values in self.measures.items():
            if len(values) != len(self.completions):
                raise InputError(
                    f"measures[{name!r}] has {len(values)} numbers for {len(self.completions)} completions: pass "
                    "one number for each."
                )

    def measured(self, name: str, needed_by: str) -> Sequence[float]:
        """Return the measures of this name, (G,).

        Args:
            name: a key of `measures`.
            needed_by: the signal or guard that needs the measures, for the error message.

        Raises:
            InputError: the group has no measures of this name, or a measure is not finite, or larger than
                `LARGEST`.
        """
        if name not in self.measures:
            raise InputError(
                f"{needed_by} needs measures[{name!r}], but the group has these measures: "
                f"{sorted(self.measures) or 'none'} (question: {self.question!r}). EmpoGRPOTrainer measures {name!r}; "
                f"in your own training loop, pass RolloutGroup(measures={{{name!r}: ...}}) with one number for each "
                "completion."
            )
        values = self.measures[name]
        for completion, value in zip(self.completions, values, strict=True):
            if not math.isfinite(value):
                raise InputError(
                    f"{needed_by} needs finite numbers, but measures[{name!r}] is {value} for the completion "
                    f"{completion[:60]!r} (question: {self.question!r}). nan from EmpoGRPOTrainer means that the "
                    "logits of the model are not finite: check the checkpoint and the precision."
                )
            if abs(value) > LARGEST:
                raise InputError(
                    f"{needed_by} needs numbers of at most {LARGEST:g}, but measures[{name!r}] is {value:g} for the "
                    f"completion {completion[:60]!r} (question: {self.question!r}): check how it is computed."
                )
        return values


def group_by_position(
    completions: Sequence[str],
    num_generations: int,
    questions: Sequence[str | None] | None = None,
    golds: Sequence[str | None] | None = None,
    measures: Mapping[str, Sequence[float]] | None = None,
) -> list[RolloutGroup]:
    """Make B groups from a flat list of B*G completions.

    Args:
        completions: (B*G,), the completions of each group contiguous.
        num_generations: the group size G.
        questions: (B*G,), the question of each group repeated G times, as trainers do.
        golds: (B*G,), the gold answer of each group repeated G times.
        measures: numbers by name, (B*G,) each.

    Raises:
        InputError: the completions do not divide into groups, a list has another length than `completions`, or a group
            has two different questions or gold answers.
    """
    if num_generations < 1:
        raise InputError(f"num_generations is {num_generations}: set it to 1 or more.")
    if len(completions) % num_generations:
        raise InputError(
            f"{len(completions)} completions do not divide into groups of num_generations={num_generations}: "
            f"{len(completions) % num_generations} completions are left over. Pass whole groups."
        )
    measured = measures or {}
    for name, column in (("questions", questions), ("golds", golds), *measured.items()):
        if column is not None and len(column) != len(completions):
            raise InputError(
                f"{name} has {len(column)} entries for {len(completions)} completions: pass one entry for each "
                "completion."
            )
    starts = range(0, len(completions), num_generations)
    return [
        RolloutGroup(
            completions=tuple(completions[start : start + num_generations]),
            question=_single_value(questions, start, num_generations, "questions"),
            gold=_single_value(golds, start, num_generations, "golds"),
            measures={name: tuple(values[start : start + num_generations]) for name, values in measured.items()},
        )
        for start in starts
    ]


def _single_value(column: Sequence[str | None] | None, start: int, size: int, name: str) -> str | None:
    if column is None:
        return None
    values = set(column[start : start + size])
    if len(values) > 1:
        raise InputError(
            f"{name}[{start}:{start + size}] has {len(values)} different values in one group of {size}: the "
            "completions are not ordered by group, or num_generations is wrong."
        )
    return values.pop()


def as_group(index: int, group: RolloutGroup | Sequence[str]) -> RolloutGroup:
    """Return the group. A list of strings becomes a group without a question; `index` is for the error message."""
    if isinstance(group, RolloutGroup):
        return group
    if isinstance(group, str) or not all(isinstance(completion, str) for completion in group):
        raise InputError(
            f"group {index} is {type(group).__name__} {str(group)[:60]!r}: pass a RolloutGroup or a list of strings."
        )
    return RolloutGroup(tuple(group))


def check_sizes(groups: Sequence[RolloutGroup]) -> NDArray[np.intp]:
    """Return the size of each group, (B,). Raise an error if there is no group, or a group without completions."""
    if not groups:
        raise InputError("step() was called without groups: pass at least one group.")
    sizes = np.array([len(group.completions) for group in groups])
    for index in np.flatnonzero(sizes == 0)[:1]:
        raise InputError(f"group {index} has no completions: pass at least one completion.")
    return sizes


def pad_rows(rows: Iterable[Iterable[float]]) -> NDArray[np.float64]:
    """Return the rows as one array, (B, G). G is the length of the longest row; shorter rows end with nan."""
    lists = [list(row) for row in rows]
    padded = np.full((len(lists), max(map(len, lists), default=0)), math.nan)
    for row, values in zip(padded, lists, strict=True):
        row[: len(values)] = values
    return padded

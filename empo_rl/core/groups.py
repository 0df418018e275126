"""Rollout groups: the G completions of one prompt, grouped by their position in the batch.

A trainer gives a flat list in which the completions of each prompt are contiguous. Grouping by position is exact.
Grouping by prompt text is not, because one batch may contain the same prompt twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from semantic_entropy import InputError


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """The completions of one question.

    Attributes:
        completions: (G,)
        question: the judge is given it; None if there is none.
        gold: the gold answer, for `golden`, `semi_supervised` and `measure_gold`; a blank answer counts as None.
        measures: numbers about each completion, (G,) each: `token_entropy` and `self_certainty` (nats, means over the
            tokens), `tokens` (their number), `truncated` (1 if the token limit cut the completion off).
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
        """The measures of this name, (G,); an error that names `needed_by` if the trainer gave none."""
        if name not in self.measures:
            raise InputError(
                f"{needed_by} needs measures[{name!r}], and the group has {sorted(self.measures) or 'none'} (question: "
                f"{self.question!r}). EmpoGRPOTrainer measures it; in your own training loop, pass "
                f"RolloutGroup(measures={{{name!r}: ...}}) with one number for each completion."
            )
        return self.measures[name]


def group_by_position(
    completions: Sequence[str],
    num_generations: int,
    questions: Sequence[str | None] | None = None,
    golds: Sequence[str | None] | None = None,
    measures: Mapping[str, Sequence[float]] | None = None,
) -> list[RolloutGroup]:
    """(B*G,) completions to B groups. Questions, golds and measures are (B*G,) too: trainers repeat them."""
    if num_generations < 1:
        raise InputError(f"num_generations is {num_generations}: a group has at least one completion.")
    if len(completions) % num_generations:
        raise InputError(
            f"{len(completions)} completions do not divide into groups of num_generations={num_generations}: "
            f"{len(completions) % num_generations} would be left over. Pass whole groups."
        )
    measured = measures or {}
    for name, column in (("questions", questions), ("golds", golds), *measured.items()):
        if column is not None and len(column) != len(completions):
            raise InputError(f"{name} has {len(column)} entries for {len(completions)} completions: pass one for each.")
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


def check_equal_sizes(groups: Sequence[RolloutGroup]) -> int:
    """G, which must be the same for all groups."""
    if not groups:
        raise InputError("step() was given no groups: a batch has at least one.")
    size = len(groups[0].completions)
    if size == 0:
        raise InputError("group 0 has no completions.")
    for index, group in enumerate(groups):
        if len(group.completions) != size:
            raise InputError(
                f"group {index} has {len(group.completions)} completions and group 0 has {size}: all groups of a batch "
                "must have the same size G."
            )
    return size

"""Rollout groups: the G completions sampled for one prompt, kept together by position.

A trainer hands over a flat list in which each prompt's completions are contiguous. Cutting it by position is
exact; cutting it by prompt text is not, because one batch may hold the same prompt twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from semantic_entropy import InputError


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """completions (G,) of one question.

    gold: only where labels exist (`golden`, `semi_supervised`, and measuring); a blank one is none.
    measures: numbers that a trainer knows of each completion, each (G,): `token_entropy` and `self_certainty` (nats,
        means over the tokens), `tokens` (how many), `truncated` (1 where the limit cut it off).
    """

    completions: tuple[str, ...]
    question: str | None = None
    gold: str | None = None
    measures: Mapping[str, Sequence[float]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if isinstance(self.completions, str):  # a sequence of strings as well: each letter would be a completion
            raise InputError(f"completions is one string, {self.completions[:60]!r}: give a tuple of G strings.")
        object.__setattr__(self, "completions", tuple(self.completions))
        if self.gold is not None and not isinstance(self.gold, str):
            raise InputError(
                f"gold is {self.gold!r}, a {type(self.gold).__name__}: give it as a string, {str(self.gold)!r}."
            )
        if self.gold is not None and not self.gold.strip():
            object.__setattr__(self, "gold", None)
        for name, values in self.measures.items():
            if len(values) != len(self.completions):
                raise InputError(
                    f"measures[{name!r}] has {len(values)} numbers for {len(self.completions)} completions: give "
                    "one each."
                )

    def measured(self, name: str, asker: str) -> Sequence[float]:
        """The numbers of this name, (G,); an error that says who asks for them where the trainer gave none."""
        if name not in self.measures:
            raise InputError(
                f"{asker} needs measures[{name!r}] and the group has {sorted(self.measures) or 'none'} (question: "
                f"{self.question!r}). EmpoGRPOTrainer measures it by itself; a loop of your own gives "
                f"RolloutGroup(measures={{{name!r}: ...}}), one number a completion."
            )
        return self.measures[name]


def group_by_position(
    completions: Sequence[str],
    num_generations: int,
    questions: Sequence[str | None] | None = None,
    golds: Sequence[str | None] | None = None,
    measures: Mapping[str, Sequence[float]] | None = None,
) -> list[RolloutGroup]:
    """(B*G,) completions to B groups. The other columns are per completion too, (B*G,), as trainers repeat them."""
    if num_generations < 1:
        raise InputError(f"num_generations is {num_generations}: a group holds at least one completion.")
    if len(completions) % num_generations:
        raise InputError(
            f"{len(completions)} completions do not divide into groups of num_generations={num_generations}: "
            f"{len(completions) % num_generations} would be left over. Hand over whole groups."
        )
    measured = measures or {}
    for name, column in (("questions", questions), ("golds", golds), *measured.items()):
        if column is not None and len(column) != len(completions):
            raise InputError(
                f"{name} has {len(column)} entries for {len(completions)} completions: give one per completion."
            )
    starts = range(0, len(completions), num_generations)
    return [
        RolloutGroup(
            completions=tuple(completions[start : start + num_generations]),
            question=_one(questions, start, num_generations, "questions"),
            gold=_one(golds, start, num_generations, "golds"),
            measures={name: tuple(values[start : start + num_generations]) for name, values in measured.items()},
        )
        for start in starts
    ]


def _one(column: Sequence[str | None] | None, start: int, size: int, name: str) -> str | None:
    if column is None:
        return None
    values = set(column[start : start + size])
    if len(values) > 1:
        raise InputError(
            f"{name}[{start}:{start + size}] holds {len(values)} different values in one group of {size}: the "
            "completions are not ordered by group, or num_generations is wrong."
        )
    return values.pop()


def check_equal_sizes(groups: Sequence[RolloutGroup]) -> int:
    """G, the same for all groups; an empty batch has none."""
    if not groups:
        raise InputError("step() was given no groups: a batch holds at least one.")
    size = len(groups[0].completions)
    if size == 0:
        raise InputError("group 0 holds no completions.")
    for index, group in enumerate(groups):
        if len(group.completions) != size:
            raise InputError(
                f"group {index} holds {len(group.completions)} completions and group 0 holds {size}: all groups of a "
                "batch have the same size G."
            )
    return size

"""From the flat rows that TRL hands to a reward function to rollout groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from empo_rl.core.groups import RolloutGroup, group_by_position


@dataclass(frozen=True, slots=True)
class Rows:
    """What one process has of a batch, (n,) each, in the order of the global batch; groups may be cut at its ends."""

    completions: Sequence[str]
    questions: Sequence[str | None]
    golds: Sequence[str | None]
    measures: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @classmethod
    def of_trl(
        cls,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        columns: Mapping[str, Any],
        measures: Mapping[str, Sequence[float]] | None = None,
    ) -> Rows:
        """The reward function's arguments; a `question` column is preferred to the prompt's last user message."""
        return cls(
            [_completion_text(completion) for completion in completions],
            columns.get("question") or [_question_text(prompt) for prompt in prompts],
            columns.get("gold") or [None] * len(completions),
            measures or {},
        )

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """The parts of all processes, one after the other."""
        return cls(
            [text for part in parts for text in part.completions],
            [question for part in parts for question in part.questions],
            [gold for part in parts for gold in part.golds],
            {name: [value for part in parts for value in part.measures[name]] for name in parts[0].measures},
        )

    def groups(self, num_generations: int) -> list[RolloutGroup]:
        """Whole groups by position: prompts may repeat."""
        return group_by_position(self.completions, num_generations, self.questions, self.golds, self.measures)


def _completion_text(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def _question_text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    asked = [turn["content"] for turn in prompt if turn["role"] == "user"]
    return str(asked[-1] if asked else prompt[-1]["content"])

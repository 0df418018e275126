"""From the flat rows of a TRL batch to whole rollout groups.

TRL deals out rows, one completion each, to the processes. A group may be cut between two processes, so what travels
between processes is columns (`trl_columns`), the keyword arguments of `group_by_position`: a dict of lists of the n
rows of one process. `join_columns` puts the columns of all processes together before the groups are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from semantic_entropy import InputError

Columns = dict[str, Any]
"""completions, questions, golds: (n,) each; measures: a dict of columns."""


def trl_columns(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    columns: Mapping[str, Any],
    measures: Mapping[str, Sequence[float]] | None = None,
) -> Columns:
    """Columns from what TRL gives a reward function.

    Args:
        prompts: (n,) strings or conversations.
        completions: (n,) likewise.
        columns: the dataset's columns, of which `question` and `gold` are read. Without a `question` column, the
            question is the last user message of the prompt.
        measures: numbers about each completion, (n,) each.
    """
    return {
        "completions": [_completion_text(completion) for completion in completions],
        "questions": columns.get("question") or [_question_text(prompt) for prompt in prompts],
        "golds": columns.get("gold") or [None] * len(completions),
        "measures": dict(measures or {}),
    }


def join_columns(parts: Sequence[Columns]) -> Columns:
    """The rows of all processes, in the order of the global batch."""
    joined: Columns = {
        name: [value for part in parts for value in part[name]] for name in ("completions", "questions", "golds")
    }
    names = parts[0]["measures"]
    return {
        **joined,
        "measures": {name: [value for part in parts for value in part["measures"][name]] for name in names},
    }


def group_size(args: Any) -> int:
    """G, the completions of one prompt."""
    if args.num_generations is None:  # TRL's type allows None
        raise InputError("num_generations is None: set it to the group size G.")
    return int(args.num_generations)


def completions_per_process(args: Any) -> int:
    """How many completions one process generates at a time."""
    return int(args.per_device_train_batch_size * (args.steps_per_generation or 1))


def placeholder_reward(name: str) -> Callable[..., Any]:
    """The reward function that TRL wants when a trainer is built. It names the log columns and is never called."""

    def reward(**_: Any) -> Any:
        raise NotImplementedError(f"the trainer takes the rewards {name!r} from its provider")

    reward.__name__ = name
    return reward


def _completion_text(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def _question_text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    user_messages = [message["content"] for message in prompt if message["role"] == "user"]
    return str(user_messages[-1] if user_messages else prompt[-1]["content"])

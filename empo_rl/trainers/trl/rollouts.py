"""Make whole rollout groups from the rows of a TRL batch.

TRL distributes the rows, one completion each, over the processes. A group may be split between two processes, so the
processes exchange columns and not groups. The columns of a process (`trl_columns`) are a dict of lists with its n rows:
the keyword arguments of `group_by_position`. `join_columns` joins the columns of all processes before the groups are
made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from semantic_entropy import InputError

Columns = dict[str, Any]
"""The rows of a process: `completions`, `questions` and `golds`, (n,) each; `measures`, a dict of lists, (n,) each."""


def trl_columns(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    columns: Mapping[str, Any],
    measures: Mapping[str, Sequence[float]] | None = None,
) -> Columns:
    """Make columns from the arguments that TRL passes to a reward function.

    Args:
        prompts: (n,) strings or conversations.
        completions: (n,) strings or conversations.
        columns: the columns of the dataset. The function reads the columns `question` and `gold`. Without a `question`
            column, the question is the last user message of the prompt.
        measures: numbers about each completion by name, (n,) each.
    """
    return {
        "completions": [_completion_text(completion) for completion in completions],
        "questions": columns.get("question") or [_question_text(prompt) for prompt in prompts],
        "golds": columns.get("gold") or [None] * len(completions),
        "measures": dict(measures or {}),
    }


def join_columns(parts: Sequence[Columns]) -> Columns:
    """Join the rows of all processes, in the order of the global batch."""
    joined: Columns = {
        name: [value for part in parts for value in part[name]] for name in ("completions", "questions", "golds")
    }
    names = parts[0]["measures"]
    return {
        **joined,
        "measures": {name: [value for part in parts for value in part["measures"][name]] for name in names},
    }


def group_size(args: Any) -> int:
    """Return G, the number of completions of a prompt."""
    if args.num_generations is None:  # TRL's type allows None
        raise InputError("num_generations is None: set it to the group size G.")
    return int(args.num_generations)


def completions_per_process(args: Any) -> int:
    """Return the number of completions in the generated batch of a process."""
    return int(args.per_device_train_batch_size * (args.steps_per_generation or 1))


def placeholder_reward(name: str) -> Callable[..., Any]:
    """Return the reward function that TRL requires to create a trainer.

    TRL uses the name of the function in log columns. The function is never called.
    """

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

"""Make whole rollout groups from the rows of a TRL batch.

TRL distributes the rows, one completion each, over the processes. A group may be split between two processes, so the
processes exchange columns and not groups. The columns of a process (`trl_columns`) are a dict of lists with its n rows:
the keyword arguments of `group_by_position`. `join_columns` joins the columns of all processes before the groups are
made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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
        columns: the columns of the dataset. The function reads the columns `question` and `gold`. The question of a row
            without a text there, or without this column, is the last user message of the prompt.
        measures: numbers about each completion by name, (n,) each.

    Raises:
        InputError: a completion has no message of the assistant, or a question has no text.
    """
    given = columns.get("question") or [None] * len(prompts)
    for question in given:
        if question is not None and not isinstance(question, str):
            raise InputError(f"the column `question` contains {question!r:.200}: it must contain text.")
    questions = [
        question if question and question.strip() else _question_text(prompt)
        for question, prompt in zip(given, prompts, strict=True)
    ]
    return {
        "completions": [_completion_text(completion) for completion in completions],
        "questions": questions,
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


def length_measures(completion_ids: Sequence[Sequence[int]], end_tokens: Collection[int]) -> dict[str, list[float]]:
    """Return the measures that need no model, (n,) each: the number of tokens, and whether the length limit cut it off.

    Args:
        completion_ids: (n,) the token ids of each completion.
        end_tokens: the tokens with which a complete completion ends.
    """
    return {
        "tokens": [float(len(ids)) for ids in completion_ids],
        "truncated": [float(not ids or ids[-1] not in end_tokens) for ids in completion_ids],
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
    """The text of the last assistant message: the answer, and not the output of a tool."""
    if isinstance(completion, str):
        return completion
    messages = [message for message in completion if message["role"] == "assistant"]
    if not messages:
        raise InputError(
            f"a completion has no message of the assistant; its roles are {[m['role'] for m in completion]}: the last "
            "assistant message contains the answer."
        )
    return _text(messages[-1].get("content")) or ""  # a message that only calls a tool has no text


def _question_text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    users = [message for message in prompt if message["role"] == "user"]
    message = (users or prompt)[-1]
    text = _text(message.get("content"))
    if text is None:
        raise InputError(
            f"the last {message['role']} message of a prompt has no text, so the judge has no question: "
            f"{message.get('content')!r:.200}. Add a column `question` with the text of the question to the dataset."
        )
    return text


def _text(content: Any) -> str | None:
    """The text of a message: a string, or the text parts of a multimodal content; None without a text part."""
    if content is None or isinstance(content, str):
        return content
    texts = [part["text"] for part in content if part.get("type") == "text"]
    return "\n".join(texts) if texts else None

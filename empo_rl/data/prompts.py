"""Convert the rows of a file or a Hugging Face dataset to rows for a trainer.

The question column holds text or a conversation (TRL's conversational format). A row has `prompt` (a conversation),
`question` (the text for judges), and `gold` if the reward or a measurement needs the gold answer. For `method: sft` a
row has `prompt` and `completion` (the response to learn).

If `data.columns.gold` is not set, no gold answers are read. This module does not apply the filters of the paper's
Algorithm 4, and does not search for duplicates; the command `empo-data` does both.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.config.schema import Config
from empo_rl.config.sections import DataColumns, QuestionSource
from empo_rl.data.normal_form import normal_form
from empo_rl.data.records import (
    Conversation,
    Record,
    column_question,
    column_text,
    column_value,
    file_records,
    hub_records,
    is_nan,
    question_text,
    read_messages,
)
from semantic_entropy import InputError
from semantic_entropy.plain_text import has_surrogate, plural, shorten


@dataclass(frozen=True, slots=True)
class PromptSet:
    """The rows for the trainer, and the number of rows that were removed because their prompt is too long."""

    rows: tuple[dict[str, Any], ...]
    too_long: int


def read_prompts(config: Config) -> list[dict[str, Any]]:
    """Read the data, take a random subset if `data.limit` is set, and apply the prompt template.

    Raises:
        InputError: the data cannot be read, a column is missing or has no text, or there are no prompts.
    """
    columns = prompt_columns(config)
    records = _records(config.data, "data", config.seed)
    if config.reads_gold():
        _check_gold_column(records, columns, "data.columns")
    rows = [_encodable(_prompt_row(record, place, columns, config), place) for place, record in records]
    return _chosen(rows, config.data, "data", f"prompts {config.seed}")


def read_held_out(config: Config) -> list[dict[str, Any]]:
    """Read the held-out questions of `evaluation.data`, with `gold` (None without a gold answer).

    If `evaluation.data.columns` is not given, the columns have the names of `data.columns`. The questions of the demo
    are its held-out questions. As `read_prompts`, this function keeps prompts that are too long: see `held_out_limit`.

    Raises:
        InputError: see `read_prompts`.
    """
    evaluation = config.evaluation
    assert evaluation is not None, "the caller checks this"
    columns, key = evaluation.data.columns, "evaluation.data.columns"
    if evaluation.data.dataset == "demo":
        columns = DataColumns(gold="gold")
    elif columns is None:
        columns, key = config.data.columns, "without evaluation.data.columns: data.columns"
    records = _records(evaluation.data, "evaluation.data", config.seed)
    _check_gold_column(records, columns, key)
    rows = []
    for place, record in records:
        question = column_question(record, columns.question, place, f"{key}.question")
        row = {"prompt": config.template.conversation(question), "question": question_text(question)}
        rows.append(_encodable({**row, "gold": _gold(record, place, columns, key)}, place))
    return _chosen(rows, evaluation.data, "evaluation.data", f"evaluation {config.seed}")


def held_out_limit(config: Config) -> tuple[int | None, str]:
    """The largest number of tokens of a held-out prompt, and the configuration key that sets it. None: no limit."""
    assert config.evaluation is not None, "the caller checks this"
    return config.evaluation.data.max_prompt_tokens, "evaluation.data.max_prompt_tokens"


def shared_questions(rows: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]]) -> int:
    """The number of held-out questions that are also training questions, compared in normal form."""
    trained = {normal_form(row["question"]) for row in rows if "question" in row}
    return sum(normal_form(row["question"]) in trained for row in held_out)


def prompt_columns(config: Config) -> DataColumns:
    """The column names of the data. The demo data has fixed columns."""
    return config.data.columns if config.data.dataset != "demo" else DataColumns(gold="gold", response="response")


def drop_long_prompts(
    rows: Sequence[dict[str, Any]],
    limit: int | None,
    count_tokens: Callable[[list[dict[str, str]]], int],
    key: str = "data.max_prompt_tokens",
) -> PromptSet:
    """Remove the rows whose prompt has more than `limit` tokens, and count the removed rows.

    Args:
        rows: the rows that `read_prompts` returned.
        limit: largest number of tokens of a prompt; None: keep every row.
        count_tokens: a function that returns the number of tokens of a conversation in the chat template.
        key: the configuration key that sets `limit`; the error message names this key.

    Raises:
        InputError: every prompt is too long.
    """
    kept = [row for row in rows if limit is None or count_tokens(row["prompt"]) <= limit]
    if not kept:
        section = "evaluation.data" if key.startswith("evaluation.data") else "data"
        raise InputError(
            f"{section}: no prompt is left: each of {plural(len(rows), 'prompt')} is longer than {key}={limit} tokens."
        )
    return PromptSet(tuple(kept), len(rows) - len(kept))


def prompt_token_limit(config: Config) -> tuple[int | None, str]:
    """The largest number of tokens of a prompt, and the configuration key that sets this number. None: no limit.

    SFT truncates each prompt with its response at `sft.max_tokens` tokens. A prompt for SFT has at most
    `sft.max_tokens - 1` tokens, so at least one token of the response remains.
    """
    limit = config.data.max_prompt_tokens
    sft_limit = config.sft.max_tokens - 1
    if config.method == "sft" and (limit is None or sft_limit < limit):
        return sft_limit, "sft.max_tokens - 1"
    return limit, "data.max_prompt_tokens"


def missing_file_command(data: QuestionSource) -> str | None:
    """The command that makes the file `data.path`; None if the file exists, or if no command is known."""
    return data.made_with if data.path is not None and not Path(data.path).exists() else None


def _records(data: QuestionSource, key: str, seed: int) -> list[Record]:
    """All records of `data`. key: the section, `data` or `evaluation.data`, whose demo questions are held out."""
    if (command := missing_file_command(data)) is not None:
        raise InputError(f"{key}.path: {data.path} does not exist. Make it with: {command}")
    if data.path is not None:
        return file_records(Path(data.path), f"{key}.path")
    if data.dataset == "demo":
        from empo_rl.data.arithmetic import chain, split

        questions = split(seed).unlabelled if key == "data" else split(seed).evaluation
        return [(f"demo {q.text}", {"question": q.text, "gold": q.gold, "response": chain(q)}) for q in questions]
    assert data.dataset is not None, "the configuration schema checks this"
    return hub_records(data.dataset, data.subset, data.split, f"{key}.dataset")


def _check_gold_column(records: Sequence[Record], columns: DataColumns, key: str) -> None:
    """Raise an error if no record has the column of the gold answers. Records of JSONL may lack it one by one."""
    if columns.gold is not None and records and not any(columns.gold in record for _, record in records):
        place, first = records[0]
        column_value(first, columns.gold, place, f"{key}.gold")


def _chosen(rows: list[dict[str, Any]], data: QuestionSource, key: str, seed: str) -> list[dict[str, Any]]:
    """The rows, or a random subset of `data.limit` rows."""
    if not rows:
        raise InputError(f"{key}: {data.path or data.dataset} contains no questions.")
    return random.Random(seed).sample(rows, data.limit) if data.limit is not None and data.limit < len(rows) else rows


def _prompt_row(record: Mapping[str, Any], place: str, columns: DataColumns, config: Config) -> dict[str, Any]:
    question = column_question(record, columns.question, place)
    row: dict[str, Any] = {"prompt": config.template.conversation(question)}
    if config.method == "sft":
        return {**row, "completion": _completion(record, place, columns)}
    row["question"] = question_text(question)
    if config.reads_gold():
        assert columns.gold is not None, "the configuration schema checks this"
        # only the reward "golden" needs a gold answer in every row
        required = config.empo.reward == "golden"
        row["gold"] = _gold(record, place, columns, "data.columns", required=required)
    return row


def _gold(
    record: Mapping[str, Any], place: str, columns: DataColumns, key: str, *, required: bool = False
) -> str | None:
    """The gold answer of a record; None if it has none and none is required."""
    value = None if columns.gold is None else record.get(columns.gold)
    is_missing = value in (None, "") or is_nan(value)
    if columns.gold is None or (is_missing and not required):
        return None
    return column_text(record, columns.gold, "gold", place, f"{key}.gold")


def _completion(record: Mapping[str, Any], place: str, columns: DataColumns) -> Conversation:
    """The response to learn, as one message of the assistant. The column holds text or this message in a list."""
    assert columns.response is not None, "the configuration schema checks this"
    value = record.get(columns.response)
    if not isinstance(value, list | tuple):
        return [{"role": "assistant", "content": column_text(record, columns.response, "response", place)}]
    subject = f"{place}: column {columns.response!r} (data.columns.response)"
    messages = read_messages(value, subject)
    if [message["role"] for message in messages] != ["assistant"]:
        raise InputError(f"{subject} must hold text, or a list with one message of the assistant.")
    return messages


def _encodable(row: dict[str, Any], place: str) -> dict[str, Any]:
    """Return the row, or raise an error if no tokenizer can read its texts."""
    for message in [*row["prompt"], *row.get("completion", ())]:
        if has_surrogate(str(message["content"])):
            raise InputError(
                f"{place}: the text {shorten(message['content'])!r} contains a lone surrogate (half of a UTF-16 pair, "
                "such as \\ud83d), which no tokenizer can read. Replace it, for example by U+FFFD."
            )
    return row

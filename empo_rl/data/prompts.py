"""From a file or a hub dataset to the rows a trainer reads: `prompt` (a conversation), `question`, and where asked for
`gold`. For `method: sft`: `prompt` and `completion`, the model's turn.

Labels are not needed: without `data.columns.gold` no answer is read. Leaves out the filters of the paper's
Algorithm 4 and the search for duplicates and overlap with evaluation sets.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.config.schema import Config, DataColumns
from empo_rl.data.records import column_text, hub_records, jsonl_records
from semantic_entropy import InputError


@dataclass(frozen=True, slots=True)
class PromptSet:
    """rows for the trainer; `too_long` were left out."""

    rows: tuple[dict[str, Any], ...]
    too_long: int


def read_prompts(config: Config) -> list[dict[str, Any]]:
    """Read, pick, put into the template."""
    records = _records(config)
    columns = columns_of(config)
    rows = [_row(record, place, columns, config) for place, record in records]
    if config.data.limit is not None and config.data.limit < len(rows):
        rows = random.Random(f"prompts {config.seed}").sample(rows, config.data.limit)
    if not rows:
        raise InputError(f"data: {config.data.path or config.data.dataset} holds no prompt.")
    return rows


def columns_of(config: Config) -> DataColumns:
    """Where the data has what; the demo's own are known."""
    return config.data.columns if config.data.dataset != "demo" else DataColumns(gold="gold", response="response")


def short_enough(
    rows: Sequence[dict[str, Any]],
    longest: int | None,
    count_tokens: Callable[[list[dict[str, str]]], int],
    key: str = "data.max_prompt_tokens",
) -> PromptSet:
    """Leave out what is too long. `count_tokens` measures a conversation as the model will see it. `key` says so."""
    kept = [row for row in rows if longest is None or count_tokens(row["prompt"]) <= longest]
    if not kept:
        raise InputError(f"data: all {len(rows)} prompts are longer than {key}={longest} allows.")
    return PromptSet(tuple(kept), len(rows) - len(kept))


def longest_prompt(config: Config) -> tuple[int | None, str]:
    """In tokens, and the key that says so. SFT cuts question and response at `sft.max_tokens`: one is left to learn."""
    given = config.data.max_prompt_tokens
    room = config.sft.max_tokens - 1
    if config.method == "sft" and (given is None or room < given):
        return room, "sft.max_tokens - 1"
    return given, "data.max_prompt_tokens"


def _records(config: Config) -> list[tuple[str, Mapping[str, Any]]]:
    """(where it stands, its columns)."""
    data = config.data
    if data.path is not None:
        path = Path(data.path)
        if data.made_with is not None and not path.exists():
            raise InputError(f"data.path: {path} is no file. Make it with: {data.made_with}")
        return jsonl_records(path)
    if data.dataset == "demo":
        from empo_rl.data.arithmetic import chain, split

        return [
            (f"demo {q.text}", {"question": q.text, "gold": q.gold, "response": chain(q)})
            for q in split(config.seed).unlabelled
        ]
    assert data.dataset is not None, "Data checks this"
    return hub_records(data.dataset, data.subset, data.split)


def _row(record: Mapping[str, Any], place: str, columns: DataColumns, config: Config) -> dict[str, Any]:
    question = column_text(record, columns.question, "question", place)
    row: dict[str, Any] = {"prompt": config.template.conversation(question)}
    if config.method == "sft":
        assert columns.response is not None, "Config checks this"
        response = column_text(record, columns.response, "response", place)
        return {**row, "completion": [{"role": "assistant", "content": response}]}
    row["question"] = question
    if config.reads_gold():
        assert columns.gold is not None, "Config checks this"
        absent = config.empo.reward != "golden" and record.get(columns.gold) in (None, "")
        row["gold"] = None if absent else column_text(record, columns.gold, "gold", place)
    return row

"""From a file or a hub dataset to the rows a trainer reads: `prompt` (a conversation), `question`, and `gold`
where asked for.

Labels are not needed: without `data.columns.gold` no answer is read. Leaves out the filters of the paper's
Algorithm 4 and the search for duplicates and overlap with evaluation sets.
"""

from __future__ import annotations

import difflib
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.config import Columns, Config, Data
from semantic_entropy import InputError


@dataclass(frozen=True, slots=True)
class PromptSet:
    """rows for the trainer; `too_long` were left out."""

    rows: tuple[dict[str, Any], ...]
    too_long: int


def read_prompts(config: Config) -> list[dict[str, Any]]:
    """Read, pick, put into the template."""
    records = _records(config)
    columns = config.data.columns if config.data.dataset != "demo" else Columns(gold="gold")
    rows = [_row(record, place, columns, config) for place, record in records]
    if config.data.limit is not None and config.data.limit < len(rows):
        rows = random.Random(f"prompts {config.seed}").sample(rows, config.data.limit)
    if not rows:
        raise InputError(f"data: {config.data.path or config.data.dataset} holds no prompt.")
    return rows


def short_enough(
    rows: Sequence[dict[str, Any]], longest: int | None, count_tokens: Callable[[list[dict[str, str]]], int]
) -> PromptSet:
    """Leave out what is too long. `count_tokens` measures a conversation as the model will see it."""
    kept = [row for row in rows if longest is None or count_tokens(row["prompt"]) <= longest]
    if not kept:
        raise InputError(f"data: all {len(rows)} prompts are longer than data.max_prompt_tokens={longest}.")
    return PromptSet(tuple(kept), len(rows) - len(kept))


def _records(config: Config) -> list[tuple[str, Mapping[str, Any]]]:
    """(where it stands, its columns)."""
    data = config.data
    if data.path is not None:
        return _jsonl(Path(data.path))
    if data.dataset == "demo":
        from empo_rl.demo.task import split

        return [(f"demo {q.text}", {"question": q.text, "gold": q.gold}) for q in split(config.seed).unlabelled]
    return [(f"{data.dataset}[{index}]", record) for index, record in enumerate(_hub(data))]


def _hub(data: Data) -> Iterable[Mapping[str, Any]]:
    import datasets

    try:
        loaded: Iterable[Mapping[str, Any]] = datasets.load_dataset(data.dataset, data.subset, split=data.split)
    except (OSError, ValueError) as error:
        raise InputError(
            f"data.dataset: {data.dataset!r} (subset {data.subset!r}, split {data.split!r}) could not be "
            f"loaded: {error}"
        ) from error
    return loaded


def _jsonl(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    if not path.is_file():
        raise InputError(f"data.path: {path} is no file.")
    records: list[tuple[str, Mapping[str, Any]]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}.") from error
        if not isinstance(record, dict):
            raise InputError(f"{path}:{number}: expected an object with columns, found {type(record).__name__}.")
        records.append((f"{path}:{number}", record))
    return records


def _row(record: Mapping[str, Any], place: str, columns: Columns, config: Config) -> dict[str, Any]:
    template, empo = config.template, config.empo
    question = _text(record, columns.question, "question", place)
    turns = [] if template.system is None else [{"role": "system", "content": template.system}]
    # str.format would trip over the braces of LaTeX in either text
    turns.append({"role": "user", "content": template.user.replace("{question}", question)})
    row: dict[str, Any] = {"prompt": turns, "question": question}
    if empo.reads_gold():
        assert columns.gold is not None, "Config checks this"
        absent = empo.reward != "golden" and record.get(columns.gold) in (None, "")
        row["gold"] = None if absent else _text(record, columns.gold, "gold", place)
    return row


def _text(record: Mapping[str, Any], column: str, role: str, place: str) -> str:
    if column not in record:
        raise InputError(
            f"{place}: no column {column!r} (data.columns.{role}).{_near(column, list(record))} "
            f"Columns: {', '.join(record)}."
        )
    value = record[column]
    if not isinstance(value, str | int | float) or not str(value).strip():
        raise InputError(f"{place}: column {column!r} (data.columns.{role}) holds {value!r}, which is no text.")
    return str(value)


def _near(word: str, choices: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, choices, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""

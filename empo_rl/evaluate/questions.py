"""The questions of a set, from the hub or from a local JSONL file, each with its gold answer.

A file may hold several sets: `source_column` names the column that says which row belongs to which (it holds the set's
name). Lettered choices stand below a question's text, one a line, and are part of it.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from empo_rl.data.normal_form import normal_form
from empo_rl.data.records import hub_records, jsonl_records
from empo_rl.data.suites import QuestionSet, SetColumns
from empo_rl.extras import require_extra
from semantic_entropy import InputError, estimate

LETTERS = string.ascii_uppercase[:16]
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what would be right.

    id: unique in its set, and the same in each run.
    category: as the set has it; examples come from the same. group: the column of a table that this belongs to.
    place: where it stands, for errors.
    worked: a solution in full, if there is one.
    stem: of a choice, what stays the same however the choices are lettered: the text before them, and the right one's.
    """

    id: str
    text: str
    gold: str
    place: str
    category: str | None = None
    group: str | None = None
    worked: str | None = None
    stem: str | None = None

    def is_the_same_as(self, other: Question) -> bool:
        """Whether both ask the same, in whatever order the choices stand, with whatever spaces and letter case."""
        return _form(self.stem or self.text) == _form(other.stem or other.text)


_form = cache(normal_form)  # each question is compared with each example


def load_questions(
    one: QuestionSet,
    file: Path | None = None,
    *,
    source_column: str | None = None,
    split: str | None = None,
    seed: int = 0,
) -> list[Question]:
    """All questions of a set, in its order.

    Args:
        one: the set.
        file: a JSONL file in place of the hub.
        source_column: of this file, if it holds several sets.
        split: another split of the hub's dataset than the set's own.
        seed: of the order of choices, where a set leaves it open.

    Raises:
        InputError: names the dataset and the local alternative, or the row and the column; or there is no question.
    """
    records = _from_file(one, file, source_column) if file else _from_hub(one, split or one.split)
    if not records:
        where = f"{file}" if file else f"{one.dataset} (split {split or one.split!r})"
        chosen = f" with {source_column}={one.name!r}" if file and source_column else ""
        raise InputError(f"set {one.name!r}: {where} holds no question{chosen}.")
    return [_question(one, index, place, record, seed) for index, (place, record) in enumerate(records)]


def last_box(text: str) -> str | None:
    r"""The content of the last whole `\boxed{...}`, whose braces may be nested; None: there is none."""
    return estimate([text], equivalence="exact", extract="boxed").answers[0]


def _from_hub(one: QuestionSet, split: str) -> list[tuple[str, Mapping[str, Any]]]:
    require_extra(f"set {one.name!r} from the hub", ("datasets",))
    try:
        return hub_records(one.dataset, one.subset, split)
    except InputError as error:
        raise InputError(
            f"set {one.name!r}: the hub's {one.dataset!r} (subset {one.subset!r}, split {split!r}) could not be "
            f"loaded. Without a network, or without access, give the rows as a local JSONL file: "
            f"--suite-file {one.name}=FILE. ({error.__cause__ or error})"
        ) from error


def _from_file(one: QuestionSet, file: Path, source_column: str | None) -> list[tuple[str, Mapping[str, Any]]]:
    if not file.is_file():
        raise InputError(f"set {one.name!r}: {file} is no file.")
    records = jsonl_records(file)
    if source_column is None:
        return records
    without = [place for place, record in records if source_column not in record]
    if without:
        raise InputError(f"{without[0]}: no column {source_column!r} (--source-column).")
    return [(place, record) for place, record in records if record[source_column] == one.name]


def _question(one: QuestionSet, index: int, place: str, record: Mapping[str, Any], seed: int) -> Question:
    columns = one.columns
    text = _text(record, columns.question, "question", place)
    category = group = stem = None
    if one.groups is not None and columns.category is not None:
        category = _text(record, (columns.category,), "category", place)
        if category not in one.groups:
            raise InputError(f"{place}: category {category!r} is none of {', '.join(one.groups)}.")
        group = one.groups[category]
    gold = _gold(record, columns, place)
    if one.kind == "choice":
        asked, rng = text, random.Random(f"choices {seed} {index}")
        text, gold, right = _choices(record, one, text, gold, place, rng)
        stem = f"{asked}\n{right}"
    worked = next((str(record[name]) for name in columns.worked if record.get(name)), None)
    return Question(f"{one.name}-{index}", text, gold, place, category, group, worked, stem)


def _gold(record: Mapping[str, Any], columns: SetColumns, place: str) -> str:
    has_answer = any(_has(record, name) for name in columns.answer)
    solution = next((record[name] for name in columns.solution if record.get(name)), None)
    if has_answer or solution is None:
        return _text(record, columns.answer, "answer", place)
    boxed = last_box(str(solution))
    if boxed is None:
        raise InputError(rf"{place}: no answer, and the solution has no \boxed{{...}} with content.")
    return boxed


def _choices(
    record: Mapping[str, Any], one: QuestionSet, text: str, gold: str, place: str, rng: random.Random
) -> tuple[str, str, str]:
    """The question with its lettered choices, the right one's letter, and its text ("": in the question)."""
    wrong = [str(record[name]).strip() for name in one.columns.wrong if _has(record, name)]
    if wrong:
        options = [gold, *wrong]
        order = rng.sample(range(len(options)), len(options))
        return _lettered(text, [options[i].strip() for i in order], place), LETTERS[order.index(0)], gold
    listed = next((record[name] for name in one.columns.options if record.get(name)), None)
    letter = gold.strip().strip("()").upper()
    count = len(LETTERS) if listed is None else len(listed)
    if len(letter) != 1 or letter not in LETTERS[:count]:
        raise InputError(
            f"{place}: the answer of a multiple choice must be a letter A-{LETTERS[count - 1]}, not {gold!r}."
        )
    if listed is None:
        return text, letter, ""
    options = [str(option).strip() for option in listed]
    return _lettered(text, options, place), letter, options[LETTERS.index(letter)]


def _lettered(text: str, options: Sequence[str], place: str) -> str:
    if not 1 < len(options) <= len(LETTERS):
        raise InputError(f"{place}: {len(options)} choices; 2 to {len(LETTERS)} have letters.")
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([text, *lines, ""])  # what a template says next stands on a line of its own


def _text(record: Mapping[str, Any], names: Sequence[str], role: str, place: str) -> str:
    name = next((name for name in names if _has(record, name)), None)
    if name is None:
        raise InputError(
            f"{place}: no {role}: none of the columns {', '.join(map(repr, names))} holds any text. "
            f"SetColumns: {', '.join(record)}."
        )
    value = record[name]
    parts = value if isinstance(value, list | tuple) else [value]
    return ", ".join(str(part).strip() for part in parts)


def _has(record: Mapping[str, Any], name: str) -> bool:
    value = record.get(name, _MISSING)
    if isinstance(value, list | tuple):
        return bool(value) and all(_has({"": part}, "") for part in value)
    return isinstance(value, str | int | float) and bool(str(value).strip())

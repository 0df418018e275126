"""The evaluation sets that training questions are compared with: by name from the hub, or from a local file.

Only their questions are read: no answer, and no lettered choices, which a training question would not carry.
By default all sets that `empo-eval` knows; one that cannot be loaded is listed with the reason, never passed over in
silence. One that was asked for by name and cannot be loaded is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.data.overlap import Question
from empo_rl.data.records import is_file_name, open_records
from empo_rl.data.suites import SETS, SUITES
from semantic_entropy import InputError, nearest

_QUESTION = ("question", "problem", "Question", "prompt")  # what a file's column may be called, the first that is there


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The questions of one set."""

    name: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class NotCompared:
    """A set that could not be loaded, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Against:
    """What there is to compare with, and what there is not."""

    sets: tuple[EvaluationSet, ...] = ()
    absent: tuple[NotCompared, ...] = ()


def load_against(
    given: Sequence[str], source_column: str | None = None, progress: Callable[[str, int, int], None] | None = None
) -> Against:
    """The sets named (a suite, a set, a file, NAME=FILE); of none named, all those that can be loaded.

    Args:
        given: names and files.
        source_column: a column of the files whose values say which set a row belongs to.
        progress: told (stage, done, total) after each.

    Raises:
        InputError: a set that was named cannot be loaded, or there is none of that name.
    """
    wanted = _wanted(given)
    sets: list[EvaluationSet] = []
    absent: list[NotCompared] = []
    for done, (name, file) in enumerate(wanted, start=1):
        try:
            sets += [_from_hub(name)] if file is None else _from_file(name or None, file, source_column)
        except InputError as error:
            if given:
                raise
            absent.append(NotCompared(name, " ".join(str(error.__cause__ or error).split())))
        if progress is not None:
            progress("evaluation", done, len(wanted))
    names = [each.name for each in sets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"--against: two sets are called {twice!r}. Name them: --against NAME=FILE.")
    return Against(tuple(sets), tuple(absent))


def _wanted(given: Sequence[str]) -> list[tuple[str, str | None]]:
    """(name of a set, file or None) of each; a file may have no name, which is empty then."""
    if not given:
        return [(name, None) for name in SETS]
    found: list[tuple[str, str | None]] = []
    for value in given:
        name, equals, file = value.partition("=")
        if equals:
            found.append((name, file))
        elif is_file_name(value):
            found.append(("", value))
        elif value in SUITES or value in SETS:
            found += [(each, None) for each in SUITES.get(value, (value,))]
        else:
            raise InputError(_unknown(value))
    return list(dict.fromkeys(found))


def _unknown(value: str) -> str:
    known = [*SUITES, *SETS]
    near = nearest(value, known)
    return f"--against {value}: no suite, no set and no .jsonl or .parquet file.{near} Known: {', '.join(known)}."


def _from_hub(name: str) -> EvaluationSet:
    one = SETS[name]
    stream = open_records(one.dataset, subset=one.subset, split=one.split, key=f"--against {name}")
    return EvaluationSet(name, tuple(_question(record, place, one.columns.question) for place, record in stream))


def _from_file(name: str | None, file: str, source_column: str | None) -> list[EvaluationSet]:
    names = SETS[name].columns.question if name is not None and name in SETS else _QUESTION
    found: dict[str, list[Question]] = {}
    for place, record in open_records(file, key="--against"):
        if source_column is not None and source_column not in record:
            raise InputError(f"{place}: no column {source_column!r} (--source-column). Columns: {', '.join(record)}.")
        source = name or (Path(file).stem if source_column is None else str(record[source_column]))
        found.setdefault(source, []).append(_question(record, place, names))
    if not found:
        raise InputError(f"--against: {file} holds no row.")
    return [EvaluationSet(source, tuple(questions)) for source, questions in found.items()]


def _question(record: Mapping[str, Any], place: str, names: Sequence[str]) -> Question:
    column = next((name for name in names if isinstance(record.get(name), str) and record[name].strip()), None)
    if column is None:
        raise InputError(
            f"{place}: no question (--against): none of the columns {', '.join(map(repr, names))} holds any text. "
            f"Columns: {', '.join(record)}."
        )
    return Question(place, record[column])

"""Load the questions of the evaluation sets. `empo-data` compares training questions with these questions.

A set comes from the hub or from a local file. Answers are not read. Lettered choices are not read either, because
training questions contain no choices. If the user names no set, every set that `empo-eval` knows is loaded. A set that
cannot be loaded is an error if the user named it; otherwise the report names the set and the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.data.overlap import ComparedQuestion
from empo_rl.data.records import column_question, is_file_name, open_records, question_text
from empo_rl.data.suites import SETS, SUITES
from semantic_entropy import InputError, nearest

# columns of a file; the first column that contains text is read
_QUESTION_COLUMNS = ("question", "problem", "Question", "prompt")


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The questions of one set."""

    name: str
    questions: tuple[ComparedQuestion, ...]


@dataclass(frozen=True, slots=True)
class UnavailableSet:
    """A set that could not be loaded, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ComparisonSets:
    """The evaluation sets that were loaded, and the evaluation sets that could not be loaded."""

    sets: tuple[EvaluationSet, ...] = ()
    unavailable: tuple[UnavailableSet, ...] = ()


def load_comparison_sets(
    requested: Sequence[str],
    source_column: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> ComparisonSets:
    """Load the requested sets. If `requested` is empty, load every set that can be loaded.

    Args:
        requested: names of suites and sets, files, or NAME=FILE.
        source_column: the column of a file that contains the name of each row's set.
        progress: called with (stage, done, total) after each set.

    Raises:
        InputError: a requested set does not exist or cannot be loaded.
    """
    to_load = _expand(requested)
    sets: list[EvaluationSet] = []
    unavailable: list[UnavailableSet] = []
    for done, (name, file) in enumerate(to_load, start=1):
        try:
            sets += [_load_from_hub(name)] if file is None else _load_file(name or None, file, source_column)
        except InputError as error:
            if requested:
                raise
            unavailable.append(UnavailableSet(name, " ".join(str(error.__cause__ or error).split())))
        if progress is not None:
            progress("evaluation", done, len(to_load))
    names = [loaded.name for loaded in sets]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"--against: two sets have the name {repeated!r}. Give names: --against NAME=FILE.")
    return ComparisonSets(tuple(sets), tuple(unavailable))


def _expand(requested: Sequence[str]) -> list[tuple[str, str | None]]:
    """(set name, file) for each set. file: None for a set of the hub. set name: empty for a file without NAME=."""
    if not requested:
        return [(name, None) for name in SETS]
    found: list[tuple[str, str | None]] = []
    for value in requested:
        name, equals, file = value.partition("=")
        if equals:
            found.append((name, file))
        elif is_file_name(value):
            found.append(("", value))
        elif value in SUITES or value in SETS:
            found += [(set_name, None) for set_name in SUITES.get(value, (value,))]
        else:
            known = [*SUITES, *SETS]
            raise InputError(
                f"--against {value}: not a suite, a set, or a .jsonl or .parquet file.{nearest(value, known)} "
                f"Known suites and sets: {', '.join(known)}."
            )
    return list(dict.fromkeys(found))


def _load_from_hub(name: str) -> EvaluationSet:
    question_set = SETS[name]
    stream = open_records(
        question_set.dataset, subset=question_set.subset, split=question_set.split, key=f"--against {name}"
    )
    columns = question_set.columns.question
    return EvaluationSet(name, tuple(_question(record, place, columns) for place, record in stream))


def _load_file(name: str | None, file: str, source_column: str | None) -> list[EvaluationSet]:
    columns = SETS[name].columns.question if name is not None and name in SETS else _QUESTION_COLUMNS
    found: dict[str, list[ComparedQuestion]] = {}
    for place, record in open_records(file, key="--against"):
        if source_column is not None and source_column not in record:
            raise InputError(f"{place}: no column {source_column!r} (--source-column). Columns: {', '.join(record)}.")
        source = name or (Path(file).stem if source_column is None else str(record[source_column]))
        found.setdefault(source, []).append(_question(record, place, columns))
    if not found:
        raise InputError(f"--against: {file} contains no rows.")
    return [EvaluationSet(source, tuple(questions)) for source, questions in found.items()]


def _question(record: Mapping[str, Any], place: str, columns: Sequence[str]) -> ComparedQuestion:
    column = next((name for name in columns if _holds_question(record.get(name))), None)
    if column is None:
        raise InputError(
            f"{place}: no question (--against): none of the columns {', '.join(map(repr, columns))} contains text. "
            f"Columns: {', '.join(record)}."
        )
    return ComparedQuestion(place, question_text(column_question(record, column, place, "--against")))


def _holds_question(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else isinstance(value, list | tuple)

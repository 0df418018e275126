"""Read the directory of a run for plotting. The run can be finished, killed or still running.

    metrics.jsonl    one line for each step. An unfinished last line is left out, and a note tells the user.
    summary.json     only in a finished demo: the key `base` contains the results of the model before step 1.
    evaluation.jsonl the row of step 0 contains the results of the model before step 1.
    alarms.jsonl     the alarms of the monitor: {step, alarm, value, limit, ...}. If the file is missing, the alarms
                     come from the columns alarm/NAME: an alarm was raised at each step at which its column changes to
                     1.

This module does not read checkpoints or weights, and writes no file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from empo_rl.files.metrics_file import read_metrics, read_rows
from empo_rl.files.run_directory import ALARMS, EVALUATION, METRICS
from semantic_entropy import InputError

SUMMARY = "summary.json"
_ALARM, _EVAL = "alarm/", "eval/"


@dataclass(frozen=True, slots=True)
class RaisedAlarm:
    """An alarm of the monitor, and the step at which it was raised."""

    step: int
    name: str


@dataclass(frozen=True, slots=True)
class Series:
    """A column of a run: the steps at which the column contains a number, and these numbers, both (steps,)."""

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __bool__(self) -> bool:
        return bool(self.steps)


@dataclass(frozen=True, slots=True)
class Run:
    """The data of one run.

    Attributes:
        name: name in legends.
        rows: rows of `metrics.jsonl`.
        base: column name -> value for the model before step 1.
        alarms: alarms in the order of the steps.
        notes: messages for the user.
    """

    name: str
    rows: tuple[Mapping[str, Any], ...]
    base: Mapping[str, float]
    alarms: tuple[RaisedAlarm, ...]
    notes: tuple[str, ...] = ()

    def series(self, column: str) -> Series:
        """The steps at which the column contains a number, and these numbers. Step 0 is the model before training."""
        rows = ({"step": 0, **self.base}, *self.rows)
        found = [(row["step"], float(row[column])) for row in rows if isinstance(row.get(column), int | float)]
        return Series(tuple(step for step, _ in found), tuple(value for _, value in found))


def read_runs(directories: Sequence[Path]) -> list[Run]:
    """Read several runs. The name of a run is a unique end of its path, as short as possible.

    Raises:
        InputError: a directory is not a run, or has no complete step yet.
    """
    return [_read(directory, name) for directory, name in zip(directories, short_names(directories), strict=True)]


def short_names(paths: Sequence[Path]) -> list[str]:
    """The shortest unique ends of the paths, for example `math/seed-0` and `natural/seed-0`."""
    parts = [path.resolve().parts for path in paths]
    length = 1
    while len({part[-length:] for part in parts}) < len(set(parts)):
        length += 1
    return ["/".join(part[-length:]).lstrip("/") for part in parts]


def demo_run(name: str, rows: Iterable[Mapping[str, Any]], base: Mapping[str, float]) -> Run:
    """The `Run` of a demo that has not written its summary yet. base: results of the model before step 1."""
    return Run(name, tuple(rows), {f"{_EVAL}{column}": value for column, value in base.items()}, ())


def _read(directory: Path, name: str) -> Run:
    if not directory.is_dir():
        problem = "is a file" if directory.exists() else "does not exist"
        raise InputError(f"{directory} {problem}: name the directory of a run, the output_dir of `empo-train`.")
    path = directory / METRICS
    if not path.is_file():
        raise InputError(f"{directory} is not a run: it has no {METRICS}. Name the output_dir of an `empo-train` run.")
    rows, unfinished = read_rows(path)
    if not rows:
        raise InputError(f"{path} has no complete line: the run has not finished its first step. Try again later.")
    note = f"{path}: the last line is unfinished (the run continues, or was killed) and is left out"
    return Run(name, tuple(rows), _base(directory), _alarms(directory, rows), (note,) if unfinished else ())


def _base(directory: Path) -> dict[str, float]:
    """The columns of step 0: from the held-out evaluation, or from the summary of a finished demo."""
    path = directory / EVALUATION
    if path.is_file():
        first = next((row for row in read_metrics(path) if row.get("step") == 0), {})
        return {f"{_EVAL}{name}": value for name, value in first.items() if name != "step"}
    path = directory / SUMMARY
    if not path.is_file():
        return {}
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base", {})
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} is not the summary of a demo ({error}): move the file to plot without it.") from error
    return {f"{_EVAL}{name}": value for name, value in base.items()}


def _alarms(directory: Path, rows: Sequence[Mapping[str, Any]]) -> tuple[RaisedAlarm, ...]:
    path = directory / ALARMS
    if path.is_file():
        raised = read_metrics(path)
        for number, row in enumerate(raised, 1):
            if not isinstance(row.get("alarm"), str):
                raise InputError(f"{path}, line {number}: 'alarm' is missing or is not text. Was the file edited?")
        return tuple(RaisedAlarm(row["step"], row["alarm"]) for row in raised)
    return tuple(
        RaisedAlarm(row["step"], name.removeprefix(_ALARM))
        for previous, row in pairwise(({}, *rows))
        for name, value in row.items()
        if name.startswith(_ALARM) and value and not previous.get(name)
    )

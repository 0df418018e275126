"""A run's directory, read for drawing: finished, killed or still running.

    metrics.jsonl   one line a step; an unfinished last line is left out, which a note says
    summary.json    the demo's: what the model could do before step 1, under `base`
    alarms.jsonl    what the monitor reported: {step, alarm, value, limit, ...}; else the steps at
                    which a column alarm/NAME, 1 while that alarm is on, became 1

Leaves out checkpoints and weights. Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from empo_rl.files.metrics_file import read_metrics, read_rows
from empo_rl.files.run_directory import ALARMS, METRICS
from semantic_entropy import InputError

SUMMARY = "summary.json"
_ALARM, _EVAL = "alarm/", "eval/"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of the monitor."""

    step: int
    name: str


@dataclass(frozen=True, slots=True)
class Series:
    """A column along the steps that have it; both (steps,)."""

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __bool__(self) -> bool:
        return bool(self.steps)


@dataclass(frozen=True, slots=True)
class Run:
    """name: as the legend has it. rows: of metrics.jsonl. base: columns of the model before step 1."""

    name: str
    rows: tuple[Mapping[str, Any], ...]
    base: Mapping[str, float]
    alarms: tuple[Alarm, ...]
    notes: tuple[str, ...] = ()

    def series(self, column: str) -> Series:
        """The steps at which the column holds a number, step 0 being the model before training."""
        rows = ({"step": 0, **self.base}, *self.rows)
        found = [(row["step"], float(row[column])) for row in rows if isinstance(row.get(column), int | float)]
        return Series(tuple(step for step, _ in found), tuple(value for _, value in found))

    def columns(self) -> set[str]:
        """All that any step has."""
        return {name for row in self.rows for name in row}


def read_runs(directories: Sequence[Path]) -> list[Run]:
    """Each with the shortest end of its path that tells it from the others.

    Raises:
        InputError: one is no run, or has no complete step yet.
    """
    return [_read(directory, name) for directory, name in zip(directories, short_names(directories), strict=True)]


def short_names(paths: Sequence[Path]) -> list[str]:
    """`math/seed-0` and `natural/seed-0` where `seed-0` would be two."""
    parts = [path.resolve().parts for path in paths]
    length = 1
    while len({part[-length:] for part in parts}) < len(set(parts)):
        length += 1
    return ["/".join(part[-length:]).lstrip("/") for part in parts]


def demo_run(name: str, rows: Iterable[Mapping[str, Any]], base: Mapping[str, float]) -> Run:
    """A demo that has not written its summary yet."""
    return Run(name, tuple(rows), {f"{_EVAL}{column}": value for column, value in base.items()}, ())


def _read(directory: Path, name: str) -> Run:
    if not directory.is_dir():
        what = "is a file" if directory.exists() else "does not exist"
        raise InputError(f"{directory} {what}: name a run's directory, the output_dir of `empo-train`.")
    path = directory / METRICS
    if not path.is_file():
        raise InputError(f"{directory} is no run: it has no {METRICS}. Name the output_dir of an `empo-train` run.")
    rows, unfinished = read_rows(path)
    if not rows:
        raise InputError(f"{path} has no complete line: the run has not ended its first step. Try again when it has.")
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("step"), int):
            raise InputError(f"{path}, line {number}: no whole number under 'step', which every row of a run has.")
    note = f"{path}: the last line is unfinished (the run goes on, or was killed), and left out"
    return Run(name, tuple(rows), _base(directory / SUMMARY), _alarms(directory, rows), (note,) if unfinished else ())


def _base(path: Path) -> dict[str, float]:
    """The columns of step 0. A training run's directory has no summary, and a demo's only once it is finished."""
    if not path.is_file():
        return {}
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base", {})
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} is not the summary of a demo ({error}): move it away to draw without it.") from error
    return {f"{_EVAL}{name}": value for name, value in base.items()}


def _alarms(directory: Path, rows: Sequence[Mapping[str, Any]]) -> tuple[Alarm, ...]:
    path = directory / ALARMS
    if path.is_file():
        told = read_metrics(path)
        for number, row in enumerate(told, 1):
            if not isinstance(row.get("step"), int) or not isinstance(row.get("alarm"), str):
                raise InputError(
                    f"{path}, line {number}: an alarm has a whole number under 'step', text under 'alarm'."
                )
        return tuple(Alarm(row["step"], row["alarm"]) for row in told)
    return tuple(
        Alarm(row["step"], name.removeprefix(_ALARM))
        for before, row in pairwise(({}, *rows))
        for name, value in row.items()
        if name.startswith(_ALARM) and value and not before.get(name)
    )

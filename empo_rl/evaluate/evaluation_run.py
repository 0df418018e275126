"""An evaluation from start to end, or its grading alone, or several in one table."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.data.suites import SUITES, AnswerKind
from empo_rl.evaluate.evaluation_directory import Directory
from empo_rl.evaluate.grades import Grade, Judges, grade
from empo_rl.evaluate.plan import Wanted, plan, tasks
from empo_rl.evaluate.questions import Question
from empo_rl.evaluate.responses import read_responses
from empo_rl.evaluate.results import SetNumbers, average, grade_row, measure
from empo_rl.evaluate.sampled_responses import Model, Progress, draw_all
from empo_rl.evaluate.table import all_numbers, paper_tables
from empo_rl.extras import require_extra
from semantic_entropy import InputError, __version__

Say = Callable[[str], None]
Grading = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Set:
    """What grading needs of a set."""

    name: str
    title: str
    kind: AnswerKind
    questions: Sequence[Question]
    prompts: Sequence[str]


def evaluate(wanted: Wanted, directory: Directory, judges: Judges, label: str | None, progress: Progress) -> str:
    """Ask, keep, grade, write the numbers down. Returns the tables.

    Raises:
        SemanticEntropyError: says what is amiss; before anything is generated wherever that can be known.
    """
    judges.check(one.kind for one in wanted.sets)
    if wanted.samples:
        require_extra("empo-eval --samples", ("sklearn",))
    planned = plan(wanted, directory)
    if label is not None:
        directory.keep_label(label)
    load = {"model": wanted.model, "logprobs": False, **wanted.engine_options}
    model, began = Model(wanted.engine, load), time.monotonic()
    try:
        drawn = draw_all(tasks(planned, wanted), model, directory, progress)
    finally:
        model.close()
    seconds = {"generation": time.monotonic() - began}
    sets = [_Set(p.one.name, p.one.title, p.one.kind, p.questions, p.prompts) for p in planned]
    return _finish(sets, wanted.samples, directory, judges, progress, seconds, drawn)


def regrade(directory: Directory, judges: Judges, label: str | None, progress: Progress) -> str:
    """Grade what a directory keeps, without a model. Returns the tables."""
    kept = directory.settings()
    if kept is None:
        raise InputError(f"{directory.path} holds no evaluation: there is no settings.json.")
    sets = []
    for name, one in kept["sets"].items():
        for part, n in (("greedy", 1), ("samples", kept["samples"])):
            if n and not directory.is_complete(name, part, n):
                raise InputError(
                    f"{directory.path}: the {part} responses of {name!r} are not complete. The command that began "
                    "them goes on with them; then grade again."
                )
        sets.append(_Set(name, one["title"], one["kind"], directory.questions(name) or [], directory.prompts(name)))
    if label is not None:
        directory.keep_label(label)
    parts = [part for one in directory.generation()["sets"].values() for part in one.values()]
    seconds = {"generation": math.fsum(part["seconds"] for part in parts)}
    drawn = sum(part["drawn"] for part in parts)
    return _finish(sets, kept["samples"], directory, judges, progress, seconds, drawn)


def tables(directories: Sequence[Path]) -> str:
    """Several evaluations in the paper's tables, a row each."""
    return paper_tables([Directory(path).results() for path in directories])


def _finish(
    sets: Sequence[_Set],
    n: int,
    directory: Directory,
    judges: Judges,
    progress: Progress,
    seconds: dict[str, float],
    drawn: int,
) -> str:
    settings, began = directory.settings(), time.monotonic()
    assert settings is not None, "kept before"
    found = {one.name: _measure(one, n, directory, judges, settings["seed"], progress) for one in sets}
    seconds["grading"] = time.monotonic() - began
    generation = directory.generation()
    results = {
        "label": settings.get("label") or _label(settings),
        "settings": settings,
        "versions": {"semantic-entropy": __version__, **(generation["sampler"] or {}).get("versions", {})},
        "sets": {
            one.name: {
                "title": one.title,
                **found[one.name].to_dict(),
                "grading": judges.describe(one.kind),
                "failures": {part: done["failures"] for part, done in generation["sets"][one.name].items()},
            }
            for one in sets
        },
        "averages": {
            suite: {key: one.to_dict() for key, one in average([found[name] for name in names]).items()}
            for suite, names in SUITES.items()
            if len(names) > 1 and suite != "natural" and all(name in found for name in names)
        },
        "seconds": seconds,
        "drawn": drawn,
    }
    shown = f"{paper_tables([results])}\n{all_numbers(results)}"
    directory.keep_results(results, shown)
    return shown


def _measure(one: _Set, n: int, directory: Directory, judges: Judges, seed: int, progress: Progress) -> SetNumbers:
    def grades(part: str, count: int) -> list[Grade]:
        responses = read_responses(directory.responses(one.name, part), one.prompts, count)
        stage = f"grading {one.name} {part}"
        return grade(
            one.questions, responses, count, one.kind, judges, lambda done, total: progress(stage, done, total, "")
        )

    greedy = grades("greedy", 1)
    sampled = grades("samples", n) if n else []
    rows = [grade_row(question, greedy[i], sampled[i] if sampled else None) for i, question in enumerate(one.questions)]
    directory.keep_grades(one.name, rows)
    return measure(one.name, one.questions, greedy, sampled, n, seed)


def _label(settings: Mapping[str, Any]) -> str:
    shots = f" {settings['few_shot']}-shot" if settings["few_shot"] else ""
    return f"{settings['model']}{shots}"

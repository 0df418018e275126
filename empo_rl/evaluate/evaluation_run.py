"""Run a complete evaluation, grade a stored evaluation again, or print several evaluations in one table."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.data.suites import SUITES, AnswerKind
from empo_rl.evaluate.evaluation_directory import EvaluationDirectory
from empo_rl.evaluate.grades import Grade, Judges, grade
from empo_rl.evaluate.plan import EvaluationOptions, plan, sampling_tasks, store
from empo_rl.evaluate.questions import EvaluationQuestion, has_golds
from empo_rl.evaluate.responses import EvaluationProgress, LazyModel, read_responses, sample_all
from empo_rl.evaluate.results import SetResults, average, grade_row, measure, scored_row
from empo_rl.evaluate.table import all_numbers, paper_tables
from empo_rl.extras import require_extra
from semantic_entropy import InputError, __version__


@dataclass(frozen=True, slots=True)
class _GradedSet:
    """The questions of a set, with the other data that grading needs."""

    name: str
    title: str
    kind: AnswerKind
    questions: Sequence[EvaluationQuestion]
    prompts: Sequence[str]


def evaluate(
    options: EvaluationOptions,
    directory: EvaluationDirectory,
    judges: Judges,
    label: str | None,
    progress: EvaluationProgress,
) -> str:
    """Sample responses, store them, grade them, and write the results. Returns the tables.

    Nothing is written before the model is loaded, so a model that cannot be loaded leaves no directory behind.

    Raises:
        SemanticEntropyError: an option, the data, a judge or the model cannot be used. If possible, the error is raised
            before sampling.
    """
    judges.check(question_set.kind for question_set in options.sets)
    if options.samples:
        require_extra("empo-eval --samples", ("sklearn",))
    planned = plan(options, directory)
    model_options = {"model": options.model, "logprobs": False, **options.engine_options}
    model, start = LazyModel(options.engine, model_options), time.monotonic()
    try:
        tasks = [
            task for task in sampling_tasks(planned, options) if not directory.is_complete(task.name, task.part, task.n)
        ]
        if tasks:
            model.sampler(tasks[0].options)
        store(planned, options, directory)
        if label is not None:
            directory.write_label(label)
        sampled = sample_all(tasks, model, directory, progress)
    finally:
        model.close()
    seconds = {"generation": time.monotonic() - start}
    sets = [
        _GradedSet(
            planned_set.question_set.name,
            planned_set.question_set.title,
            planned_set.question_set.kind,
            planned_set.questions,
            planned_set.prompts,
        )
        for planned_set in planned
    ]
    return _grade_and_write(sets, options.samples, directory, judges, progress, seconds, sampled)


def regrade(directory: EvaluationDirectory, judges: Judges, label: str | None, progress: EvaluationProgress) -> str:
    """Grade the stored responses again, without the model, and write the results. Returns the tables.

    Raises:
        InputError: the directory contains no evaluation, or the responses are incomplete.
    """
    settings = directory.require_settings()
    sets = []
    for name, stored in settings["sets"].items():
        questions = directory.questions(name) or []
        for part, n in (("greedy", int(has_golds(questions))), ("samples", settings["samples"])):
            if n and not directory.is_complete(name, part, n):
                raise InputError(
                    f"{directory.path}: the {part} responses of {name!r} are not complete. First complete the "
                    "responses: run the earlier empo-eval command again, without --regrade."
                )
        sets.append(_GradedSet(name, stored["title"], stored["kind"], questions, directory.prompts(name)))
    if label is not None:
        directory.write_label(label)
    records = [record for parts in directory.generation()["sets"].values() for record in parts.values()]
    seconds = {"generation": math.fsum(record["seconds"] for record in records)}
    sampled = sum(record["drawn"] for record in records)
    return _grade_and_write(sets, settings["samples"], directory, judges, progress, seconds, sampled)


def tables(directories: Sequence[Path]) -> str:
    """The paper's tables as text, with one row for each evaluation."""
    return paper_tables([EvaluationDirectory(path).results() for path in directories])


def _grade_and_write(
    sets: Sequence[_GradedSet],
    n: int,
    directory: EvaluationDirectory,
    judges: Judges,
    progress: EvaluationProgress,
    seconds: dict[str, float],
    sampled: int,
) -> str:
    settings, start = directory.require_settings(), time.monotonic()
    found = {graded.name: _grade_set(graded, n, directory, judges, settings["seed"], progress) for graded in sets}
    seconds["grading"] = time.monotonic() - start
    generation = directory.generation()
    results = {
        "label": settings.get("label") or _default_label(settings),
        "settings": settings,
        "versions": {"semantic-entropy": __version__, **(generation["sampler"] or {}).get("versions", {})},
        "sets": {
            graded.name: {
                "title": graded.title,
                **found[graded.name].to_dict(),
                "grading": judges.describe(graded.kind),
                "failures": {part: record["failures"] for part, record in generation["sets"][graded.name].items()},
            }
            for graded in sets
        },
        "averages": {
            suite: {key: value.to_dict() for key, value in average([found[name] for name in names]).items()}
            for suite, names in SUITES.items()
            if len(names) > 1 and suite != "natural" and all(name in found for name in names)
        },
        "seconds": seconds,
        "drawn": sampled,
    }
    text = "\n".join(table for table in (paper_tables([results]), all_numbers(results)) if table)
    directory.write_results(results, text)
    for graded in sets if n else ():
        directory.write_report(graded.name, f"{graded.title}: {results['label']}")
    return text


def _grade_set(
    graded: _GradedSet, n: int, directory: EvaluationDirectory, judges: Judges, seed: int, progress: EvaluationProgress
) -> SetResults:
    def grades(part: str, count: int) -> list[Grade]:
        responses = read_responses(directory.responses(graded.name, part), graded.prompts, count)
        stage = f"grading {graded.name} {part}"
        return grade(
            graded.questions,
            responses,
            count,
            graded.kind,
            judges,
            lambda done, total: progress(stage, done, total, ""),
        )

    greedy = grades("greedy", 1) if has_golds(graded.questions) else []
    sampled = grades("samples", n) if n else []
    rows = [
        grade_row(question, greedy[i] if greedy else None, sampled[i] if sampled else None)
        for i, question in enumerate(graded.questions)
    ]
    directory.write_grades(graded.name, rows)
    if n:
        texts = read_responses(directory.responses(graded.name, "samples"), graded.prompts, n)
        scored = [
            scored_row(question, [each.text for each in texts[i]], greedy[i] if greedy else None, sampled[i])
            for i, question in enumerate(graded.questions)
        ]
        directory.write_scored(graded.name, [row for row in scored if row])
    return measure(graded.name, graded.questions, greedy, sampled, n, seed)


def _default_label(settings: Mapping[str, Any]) -> str:
    shots = f" {settings['few_shot']}-shot" if settings["few_shot"] else ""
    return f"{settings['model']}{shots}"

"""Compare two evaluations of the same questions: each number before and after, and the difference with an interval.

    difference   mean over questions of d_i = after_i - before_i
    interval     95%, paired bootstrap: both evaluations of a question are resampled together, so d_i are resampled
                 (Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 13.3; Koehn 2004, Statistical
                 Significance Tests for Machine Translation Evaluation); percentiles of 1,000 seeded resamples
    suite        mean of the differences of its sets, each set with the same weight; each set is resampled by itself

A paired interval is narrower than two separate intervals suggest, because both evaluations share the difficulty of each
question (Miller 2024, arXiv:2411.00640, section 4). It covers the choice of questions and, for means over samples, the
samples that were drawn. It does not cover the seed of the training.

Two evaluations are compared only if they have the same questions, gold answers and graders. Numbers of n samples are
compared only with numbers of n samples, because the entropy and the majority depend on n.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from empo_rl.data.suites import SUITES
from empo_rl.evaluate.evaluation_directory import EvaluationDirectory
from empo_rl.evaluate.numbers import RESAMPLES, Floats, Number, bootstrap_indices, mean, number, with_interval
from empo_rl.evaluate.results import grades_of_rows, values_per_question
from empo_rl.evaluate.table import format_number, markdown
from semantic_entropy import InputError

_SAME = 1e-9  # entropies that differ less are equal: the order of clusters changes the last bits
_NOT_COMPARED = frozenset(
    ("model", "sets", "label", "samples")
)  # settings that differ by purpose, or have their own note


@dataclass(frozen=True, slots=True)
class Difference:
    """One number of one set in two evaluations.

    Attributes:
        questions: number of questions with a value in both evaluations.
        before: the mean over these questions in the first evaluation.
        after: the mean over these questions in the second evaluation.
        change: after - before, with its interval.
        resampled: (RESAMPLES,) the change in each bootstrap resample.
        higher: number of questions whose value is higher in the second evaluation.
        lower: number of questions whose value is lower in the second evaluation.
    """

    questions: int
    before: float
    after: float
    change: Number
    resampled: Floats
    higher: int
    lower: int


def compare(before: EvaluationDirectory, after: EvaluationDirectory, seed: int) -> str:
    """The table of the differences as Markdown, with notes. seed: of the bootstrap.

    Raises:
        InputError: an evaluation is not finished, or the evaluations have no set in common, other questions, other gold
            answers or other graders.
    """
    results = [before.results(), after.results()]
    names = [name for name in results[0]["sets"] if name in results[1]["sets"]]
    if not names:
        raise InputError(
            f"{before.path} and {after.path} have no set in common: {', '.join(results[0]['sets'])} and "
            f"{', '.join(results[1]['sets'])}."
        )
    found = {}
    for name in names:
        _check_same_grading(name, before, after, results)
        _check_same_questions(name, before, after)
        values = [_values(directory, name, result) for directory, result in zip((before, after), results, strict=True)]
        same_n = results[0]["sets"][name]["n"] == results[1]["sets"][name]["n"]
        found[name] = {
            key: difference(values[0][key], values[1][key], seed, name)
            for key in values[0]
            if key in values[1] and (same_n or key == "pass@1")
        }
    titles = {name: results[0]["sets"][name]["title"] for name in names}
    header = ["", "number", "questions", "before", "after", "difference", "higher", "lower"]
    rows = [_row(titles[name], key, change) for name in names for key, change in found[name].items()]
    rows += [_row(title, key, change) for title, key, change in _averages(found)]
    lines = [
        f"before: {results[0]['label']} ({before.path})",
        f"after:  {results[1]['label']} ({after.path})",
        "",
        *_notes(results, names),
        f"Differences with 95% intervals: paired bootstrap over questions, {RESAMPLES:,} resamples, seed {seed}.",
        "Shares in %, entropy in nats; higher and lower count questions.",
        "",
    ]
    return "\n".join([*lines, markdown(header, rows)])


def difference(before: Floats, after: Floats, seed: int, name: str) -> Difference:
    """The difference of two arrays of values (questions,), nan where a question has no value.

    `seed` and `name` determine the resamples.
    """
    changes = after - before
    known = ~np.isnan(changes)
    change, resampled = with_interval(mean, changes, bootstrap_indices(len(changes), seed, name))
    return Difference(
        questions=int(known.sum()),
        before=mean(before[known]),
        after=mean(after[known]),
        change=change,
        resampled=resampled,
        higher=int((changes[known] > _SAME).sum()),
        lower=int((changes[known] < -_SAME).sum()),
    )


def _averages(found: Mapping[str, Mapping[str, Difference]]) -> Iterator[tuple[str, str, Difference]]:
    """(title, number, difference) for each suite whose sets were all compared, with equal weights of the sets."""
    for suite, names in SUITES.items():
        if len(names) < 2 or suite == "natural" or not all(name in found for name in names):
            continue
        for key in found[names[0]]:
            parts = [found[name][key] for name in names if key in found[name]]
            if len(parts) < len(names):
                continue
            resampled = np.mean([part.resampled for part in parts], axis=0)
            change = number(float(np.mean([part.change.value for part in parts])), resampled)
            before, after = (float(np.mean([getattr(part, side) for part in parts])) for side in ("before", "after"))
            counts = [sum(getattr(part, name) for part in parts) for name in ("questions", "higher", "lower")]
            yield f"{suite}, average", key, Difference(counts[0], before, after, change, resampled, *counts[1:])


def _values(directory: EvaluationDirectory, name: str, results: Mapping[str, Any]) -> dict[str, Floats]:
    """Number -> (questions,) values from the stored grades; nan if a question has no value.

    Raises:
        InputError: the grades do not give the numbers of results.json, because a kill came between the two.
    """
    greedy, sampled = grades_of_rows(directory.grades(name))
    values = values_per_question(greedy, sampled, len(sampled[0].right) if sampled else 0)
    values = {key: column for key, column in values.items() if not np.isnan(column).all()}
    for key, column in values.items():
        stored = results["sets"][name].get(key, {}).get("value")
        if stored is None or abs(stored - mean(column)) > _SAME:
            raise InputError(
                f"{directory.path}: the grades of {name!r} and results.json differ in {key}. Grade again: empo-eval "
                f"--regrade {directory.path}"
            )
    return values


def _check_same_grading(
    name: str, before: EvaluationDirectory, after: EvaluationDirectory, results: Sequence[Mapping[str, Any]]
) -> None:
    first, second = (result["sets"][name]["grading"] for result in results)
    for key in ("judge", "extract"):
        if first[key] != second[key]:
            raise InputError(
                f"{name}: {before.path} was graded with {key} {first[key]!r}, {after.path} with {second[key]!r}. "
                f"Grade one of them again: empo-eval --regrade {after.path}, with --grader or --extract."
            )


def _check_same_questions(name: str, before: EvaluationDirectory, after: EvaluationDirectory) -> None:
    first, second = before.questions(name) or [], after.questions(name) or []
    if len(first) != len(second):
        raise InputError(
            f"{name}: {before.path} has {len(first)} questions, {after.path} has {len(second)}: only evaluations of "
            "the same questions can be compared."
        )
    for old, new in zip(first, second, strict=True):
        if (old.id, old.text, old.gold) != (new.id, new.text, new.gold):
            raise InputError(
                f"{name}: question {old.id} of {before.path} and question {new.id} of {after.path} have another text "
                "or gold answer: only evaluations of the same questions can be compared."
            )


def _notes(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Lines about settings, other than the model, that differ, and about numbers that are left out."""
    first, second = (result["settings"] for result in results)
    changed = [
        f"{key}: {first.get(key)!r:.80} -> {second.get(key)!r:.80}"
        for key in sorted({*first, *second} - _NOT_COMPARED)
        if first.get(key) != second.get(key)
    ]
    changed += [
        f"{name}.{key}: {old.get(key)!r:.80} -> {new.get(key)!r:.80}"
        for name in names
        for old, new in [(first["sets"][name], second["sets"][name])]
        for key in sorted({*old, *new} - {"title", "kind"})
        if old.get(key) != new.get(key)
    ]
    lines = []
    if changed:
        lines += [f"Not only the model differs: {'; '.join(changed)}.", ""]
    if first["samples"] != second["samples"]:
        lines += [
            f"{first['samples']} and {second['samples']} samples for each question: these numbers are not compared.",
            "",
        ]
    left_out = [name for name in {**results[0]["sets"], **results[1]["sets"]} if name not in names]
    if left_out:
        lines += [f"Only in one of them, and left out: {', '.join(left_out)}.", ""]
    return lines


def _row(title: str, key: str, found: Difference) -> list[str]:
    change = found.change
    before, after = (format_number(key, value) for value in (found.before, found.after))
    ends = " to ".join(format_number(key, value, signed=True) for value in (change.low, change.high))
    difference_text = f"{format_number(key, change.value, signed=True)} [{ends}]"
    return [title, key, str(found.questions), before, after, difference_text, str(found.higher), str(found.lower)]

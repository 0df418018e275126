"""Paired differences: by hand, against the normal approximation, and of two stored evaluations."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from empo_rl.evaluate.comparison import compare, difference
from empo_rl.evaluate.evaluation_directory import EvaluationDirectory
from empo_rl.evaluate.grades import Grade
from empo_rl.evaluate.questions import EvaluationQuestion
from empo_rl.evaluate.results import grade_row, measure
from semantic_entropy import InputError


def test_the_interval_of_a_difference_is_that_of_the_paired_differences():
    """Both evaluations share the difficulty of a question, so the interval is that of d, not of two shares."""
    rng = np.random.default_rng(0)
    before = (rng.random(800) < 0.5).astype(float)
    after = np.where(rng.random(800) < 0.1, 1.0, before)  # about 5% of the questions become right, none become wrong
    found = difference(before, after, 0, "x")
    changes = after - before
    half = 1.96 * changes.std() / math.sqrt(800)
    assert found.change.value == pytest.approx(changes.mean())
    assert found.change.low == pytest.approx(changes.mean() - half, abs=0.1 * half)
    assert found.change.high == pytest.approx(changes.mean() + half, abs=0.1 * half)
    unpaired = 1.96 * math.sqrt((before.var() + after.var()) / 800)
    assert found.change.high - found.change.low < unpaired  # half of the width of an unpaired interval
    assert (found.questions, found.higher, found.lower) == (800, int(changes.sum()), 0)


def test_a_question_without_a_value_in_one_evaluation_is_left_out():
    found = difference(np.array([1.0, np.nan, 0.0]), np.array([0.0, 1.0, np.nan]), 0, "x")
    assert (found.questions, found.before, found.after, found.change.value) == (1, 1.0, 0.0, -1.0)
    assert (found.higher, found.lower) == (0, 1)


def test_equal_evaluations_have_no_difference_and_equal_seeds_give_equal_intervals():
    values = np.random.default_rng(0).random(50)
    same = difference(values, values + 1e-12, 0, "x")
    assert (same.higher, same.lower) == (0, 0)
    assert (same.change.value, same.change.low, same.change.high) == pytest.approx((0, 0, 0), abs=1e-11)
    other = np.random.default_rng(1).random(50)
    intervals = [difference(values, other, seed, "x").change for seed in (0, 0, 1)]
    assert intervals[0] == intervals[1] != intervals[2]


QUESTIONS = [EvaluationQuestion(f"q-{i}", f"{i}?", "1", f"f:{i}") for i in range(4)]


def stored(path, right, *, n=2, questions=QUESTIONS, names=("own",), judge="exact", **settings):
    """An evaluation with these greedy grades; each question has n samples, and the first is right."""
    directory = EvaluationDirectory(path)
    graded = [Grade((str(one),), (one,), (False,), 1, 0, 1, 0.0, one) for one in right]
    flags = (True, *[False] * (n - 1))
    sampled = [Grade(("1",) * n, flags, (False,) * n, n, 0, n, 0.5 + i, True) for i in range(len(right))]
    sets = {name: {"title": name.title(), "kind": "math"} for name in names}
    directory.write_settings({"model": path.name, "samples": n, "sets": sets, **settings})
    found = {}
    for name in names:
        directory.write_questions(name, questions, ["prompt"] * len(questions))
        rows = [grade_row(*one) for one in zip(questions, graded, sampled, strict=True)]
        directory.write_grades(name, rows)
        results = measure(name, questions, graded, sampled, n, seed=0).to_dict()
        found[name] = {"title": name.title(), **results, "grading": {"judge": judge, "extract": "boxed"}}
    directory.write_results({"label": path.name, "settings": directory.settings(), "sets": found}, "")
    return directory


def rows(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_has_the_numbers_of_both_evaluations_and_the_seed(tmp_path):
    before, after = (
        stored(tmp_path / "a", [False, False, False, True]),
        stored(tmp_path / "b", [True, True, False, False]),
    )
    text = compare(before, after, seed=7)
    assert "paired bootstrap over questions, 1,000 resamples, seed 7" in text
    greedy, mean, any_of_two, majority, entropy = rows(text)
    assert greedy[:5] == ["Own", "pass@1", "4", "25.0", "50.0"]
    assert greedy[5].startswith("+25.0 [-")
    assert greedy[6:] == ["2", "1"]
    assert mean == ["Own", "mean@2", "4", "50.0", "50.0", "+0.0 [+0.0 to +0.0]", "0", "0"]
    assert any_of_two[1:5] == ["pass@2", "4", "100.0", "100.0"]
    assert majority[1:5] == ["majority@2", "4", "100.0", "100.0"]
    assert entropy[:5] == ["Own", "semantic_entropy", "4", "2.000", "2.000"]


def test_a_suite_gives_each_of_its_sets_the_same_weight(tmp_path):
    names = ("math500", "minerva_math", "olympiadbench", "aime24", "amc23")
    before, after = (
        stored(tmp_path / name, right, names=names) for name, right in (("a", [False] * 4), ("b", [True] * 4))
    )
    averages = [row for row in rows(compare(before, after, 0)) if row[0] == "math, average"]
    assert averages[0] == ["math, average", "pass@1", "20", "0.0", "100.0", "+100.0 [+100.0 to +100.0]", "20", "0"]


def test_numbers_of_different_numbers_of_samples_are_not_compared(tmp_path):
    right = [True, False, False, False]
    text = compare(stored(tmp_path / "a", right, n=2), stored(tmp_path / "b", right, n=4), 0)
    assert "2 and 4 samples for each question: these numbers are not compared" in text
    assert [row[1] for row in rows(text)] == ["pass@1"]


def test_other_settings_and_sets_of_one_evaluation_are_named(tmp_path):
    right = [True, False, False, False]
    before = stored(tmp_path / "a", right, names=("own", "more"), max_tokens=100)
    text = compare(before, stored(tmp_path / "b", right, max_tokens=200), 0)
    assert "Not only the model differs: max_tokens: 100 -> 200." in text
    assert "Only in one of them, and left out: more." in text


def test_evaluations_that_cannot_be_compared_are_refused_with_the_reason(tmp_path):
    right = [True, False, False, False]
    before = stored(tmp_path / "a", right)
    changed = [*QUESTIONS[:3], EvaluationQuestion("q-3", "3?", "2", "f:3")]
    cases = [
        (stored(tmp_path / "b", right, names=("other",)), "have no set in common: own and other"),
        (
            stored(tmp_path / "c", right, judge="math"),
            "was graded with judge 'exact', .* with 'math'. Grade one of them",
        ),
        (stored(tmp_path / "d", right, questions=changed), "question q-3 .* have another text or gold answer"),
        (stored(tmp_path / "e", right[:3], questions=QUESTIONS[:3]), "has 4 questions, .* has 3: only"),
        (EvaluationDirectory(tmp_path / "f"), "contains no finished evaluation"),
    ]
    for after, message in cases:
        with pytest.raises(InputError, match=message):
            compare(before, after, 0)


def test_grades_of_a_killed_regrade_are_refused(tmp_path):
    before, after = stored(tmp_path / "a", [True] * 4), stored(tmp_path / "b", [True] * 4)
    graded = [json.loads(line) for line in (tmp_path / "b" / "grades" / "own.jsonl").read_text().splitlines()]
    graded[0]["greedy"]["right"] = False
    after.write_grades("own", graded)
    with pytest.raises(InputError, match="grades of 'own' and results.json differ in pass@1. Grade again: .*--regrade"):
        compare(before, after, 0)

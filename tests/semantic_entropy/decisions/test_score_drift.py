"""Drift: the test against scipy's on the whole sample, its false alarms, the conditions, and the command."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from semantic_entropy import InputError, estimate
from semantic_entropy.cli import main
from semantic_entropy.decisions import Calibration, Conditions, Origin, learn_then_test
from semantic_entropy.decisions.calibration import CalibratedScore, LabelCounts, Mapped
from semantic_entropy.decisions.score_drift import (
    ScoreDrift,
    _adjusted,
    compare_scores,
    question_digests,
    reference_samples,
)
from tests.semantic_entropy.cli.command import write

CERTIFIED = learn_then_test([0.0] * 50, [False] * 50, [0.0], 0.1)
WORDS = "Paris Rome Oslo Bern Lima".split()


def origin(**changes):
    result = estimate(["a"] * 5, equivalence="exact")
    provenance = dataclasses.replace(result.provenance, model="m", **changes)
    return Origin.of(provenance, 5)


def learned_from(values, steps=100, threshold=0.0):
    """A calibration with the quantiles of these scores, as `calibrate` writes them."""
    values = [float(f"{value:.9g}") for value in values]  # as `risk_score`
    known = sorted(value for value in values if math.isfinite(value))
    quantiles = [
        known[max(0, -(-k * len(known) // steps) - 1)] for k in range(steps + 1)
    ]  # smallest x: F(x) >= k/steps
    labels = LabelCounts(len(values) - 50, 50, 0, 0, "main")
    return Calibration(
        scores=(CalibratedScore("discrete", higher_is_uncertain=True),),
        method="platt",
        parameters=Mapped(0.0, (1.0,), (0.0,), (1.0,)),
        conditions=Conditions.of([origin()], ["discrete"]),
        labels=labels,
        guarantee=dataclasses.replace(CERTIFIED, threshold=threshold),
        quantiles=tuple(map(float, quantiles)),
        unknown=len(values) - len(known),
    )


def scores_of(values):
    return [{"discrete": float(value)} for value in values]


def entropies(rng, size, skew=0.0):
    """Entropies of five answers: few different values."""
    p = (1 - skew) * np.array([0.5, 0.3, 0.1, 0.05, 0.05]) + skew * np.array([1, 0, 0, 0, 0])
    counts = rng.multinomial(5, p, size=size) / 5
    logs = np.log(np.where(counts > 0, counts, 1))
    return np.array([float(f"{value:.9g}") for value in -(counts * logs).sum(axis=1)]) + 0.0  # as `risk_score`


@pytest.mark.parametrize("seed", range(20))
def test_with_all_scores_known_the_distance_and_the_p_value_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    then, now = entropies(rng, rng.integers(51, 100)), entropies(rng, rng.integers(1, 60), 0.2 * (seed % 2))
    calibration = learned_from(then, steps=len(then))  # one quantile for each score
    found = compare_scores(calibration, scores_of(now), origins=[origin()])
    expected = stats.ks_2samp(then, now, method="asymp")
    assert found.risk.distance == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    auc = stats.mannwhitneyu(now, then).statistic / len(then) / len(now)
    assert found.risk.auc == pytest.approx(auc, abs=1e-12)


@pytest.mark.parametrize("size", [51, 99, 100, 101, 150, 777])
def test_the_scores_are_between_the_samples_of_their_quantiles(size):
    values = np.random.default_rng(size).normal(size=size).round(6)
    low, high = reference_samples(learned_from(values))
    assert len(low) == len(high) == len(values)
    assert all(a <= b <= c for a, b, c in zip(low, sorted(values), high, strict=True))


@pytest.mark.parametrize("steps", [10, 100])
def test_steps_of_quantiles_never_make_the_distance_larger(steps):
    rng = np.random.default_rng(0)
    for draw in (rng.normal, lambda size: entropies(rng, size)):
        for _ in range(10):
            then, now = draw(size=600), draw(size=200)
            found = compare_scores(learned_from(then, steps), scores_of(now))
            exact = stats.ks_2samp(then, now, method="asymp").statistic
            assert exact - 1 / steps - 1e-9 <= found.risk.distance <= exact + 1e-9


@pytest.mark.parametrize("kind", ["normal", "entropies"])
def test_false_alarms_are_at_most_the_level_and_a_shift_is_seen(kind):
    rng = np.random.default_rng(1)
    draw = {"normal": lambda n, shift: rng.normal(shift, 1, n), "entropies": lambda n, shift: entropies(rng, n, shift)}
    alarms = shifted = 0
    for _ in range(200):
        calibration = learned_from(draw[kind](300, 0.0))
        alarms += compare_scores(calibration, scores_of(draw[kind](150, 0.0))).is_seen
        shifted += compare_scores(calibration, scores_of(draw[kind](150, 0.4))).is_seen
    assert alarms <= 200 * 0.05 + 2 * math.sqrt(200 * 0.05 * 0.95)
    assert shifted > 150


def test_more_groups_without_a_score_are_a_drift():
    values = [0.0] * 60 + [1.0] * 40
    found = compare_scores(learned_from(values), scores_of(values + [math.nan] * 60), origins=[origin()])
    assert (found.is_seen, found.risk.unknown_now, found.risk.unknown_then) == (True, 60, 0)
    assert "without a score: 0 then, 60 now" in str(found)
    same = learned_from([*values, *[math.nan] * 60])
    assert not compare_scores(same, scores_of(values + [math.nan] * 60), origins=[origin()]).is_seen


def combined(**fields):
    """A calibration of two scores, of which the labelled groups have the values 0.00 to 0.99."""
    values = tuple(i / 100 for i in range(100))
    turned = tuple(-x for x in values[::-1])
    scores = [CalibratedScore("a", True, values), CalibratedScore("b", False, turned)]
    parameters = Mapped(0.0, (1.0, 1.0), (0.0, 0.0), (1.0, 1.0))
    found = dataclasses.replace(learned_from(values), scores=tuple(scores), parameters=parameters, conditions=None)
    risks = sorted(found.risk_score({"a": x, "b": x}) for x in values)
    return dataclasses.replace(found, quantiles=tuple(risks), **fields)


def test_scores_that_move_against_each_other_are_a_drift_that_their_combination_does_not_see():
    calibration = combined()
    now = [{"a": x + 0.5, "b": x + 0.5} for x in (i / 80 for i in range(80))]  # b is turned round: p(wrong) is the same
    found = compare_scores(calibration, now)
    assert found.risk.p_value == 1
    assert found.is_seen
    assert "DRIFT: the scores differ from those of the calibration (a, b) (p = " in str(found)
    assert not compare_scores(calibration, [{"a": i / 80, "b": i / 80} for i in range(80)]).is_seen


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_adjusted_p_values_are_those_of_closed_testing(values):
    """Holm's method is the closed test of Bonferroni's: the largest p-value of all sets of hypotheses with this one."""
    found = [ScoreDrift("s", 0, 0, 0.5, 0.0, p, p) for p in values]
    sets = [s for size in range(1, len(values) + 1) for s in itertools.combinations(range(len(values)), size)]
    of_set = {s: min(1.0, len(s) * min(values[i] for i in s)) for s in sets}
    expected = [max(p for s, p in of_set.items() if i in s) for i in range(len(values))]
    assert [each.adjusted for each in _adjusted(found)] == pytest.approx(expected)


def test_holm_on_the_worked_example_of_the_paper_s_rule():
    found = [ScoreDrift("s", 0, 0, 0.5, 0.0, p, p) for p in (0.01, 0.04, 0.03, 0.005)]
    assert [each.adjusted for each in _adjusted(found)] == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_share_of_false_alarms_of_several_scores_is_at_most_the_level():
    rng, calibration = np.random.default_rng(0), combined()
    alarms = 0
    for _ in range(100):
        alarms += compare_scores(calibration, [{"a": x, "b": x} for x in rng.random(60)]).is_seen
    assert alarms <= 10


def asked(*questions):
    labels = dataclasses.replace(learned_from([0.0] * 100).labels, questions=question_digests(questions))
    return dataclasses.replace(learned_from([0.0] * 60 + [1.0] * 40), labels=labels)


def test_the_groups_of_the_calibration_are_not_compared_with_themselves():
    questions, values = [f"Question {i}?" for i in range(100)], [0.0] * 60 + [1.0] * 40
    calibration = asked(*questions)
    found = compare_scores(calibration, scores_of(values), origins=[origin()], questions=questions)
    assert (found.is_void, found.same_questions) == (True, 1.0)
    assert "nothing was compared" in str(found)
    assert "no drift found" not in str(found)
    written = [question.upper() + " " for question in questions]
    assert compare_scores(calibration, scores_of(values), questions=written).is_void
    part = compare_scores(calibration, scores_of(values[::2]), questions=questions[::2])
    assert (part.is_void, part.same_questions) == (False, 0.5)
    assert "about 50% of the questions of the calibration are in these groups" in str(part)
    others = compare_scores(calibration, scores_of(values), origins=[origin()], questions=["Others?"])
    assert (others.is_void, others.same_questions, others.warnings) == (False, 0.0, ())
    unknown = compare_scores(calibration, scores_of(values), origins=[origin()])
    assert "the scores are equal to those of the calibration" in str(unknown)


def test_values_that_are_all_unknown_are_not_called_missing():
    with pytest.raises(InputError, match="a value of discrete: all are null, nan or infinite"):
        compare_scores(learned_from([0.0] * 100), [{"discrete": None}, {"discrete": math.nan}])


def test_no_drift_certifies_nothing_and_says_so():
    values = [0.0] * 60 + [1.0] * 40
    found = compare_scores(learned_from(values), scores_of(values), origins=[origin()])
    assert (found.p_value, found.risk.distance, found.risk.auc, found.is_seen) == (1.0, 0.0, 0.5, False)
    assert "no drift found (p = 1): this does not certify anything" in str(found)
    assert "above the threshold 0, not answered: 40.0% then, 40.0% now" in str(found)


def test_another_judge_is_a_drift_whatever_the_scores_and_is_said_first():
    values = [0.0] * 60 + [1.0] * 40
    found = compare_scores(learned_from(values), scores_of(values), origins=[origin(), origin(convention="uqlm")])
    assert found.is_seen
    assert str(found).startswith("other conditions: convention default, and here uqlm\n")
    assert "the guarantee of the calibration is void" in str(found)


def test_what_is_not_known_about_the_conditions_is_a_warning():
    values = [0.0] * 60 + [1.0] * 40
    assert "do not say how they were measured" in compare_scores(learned_from(values), scores_of(values)).warnings[0]
    without = dataclasses.replace(learned_from(values), conditions=None)
    found = compare_scores(without, scores_of(values), origins=[origin()])
    assert "does not say how its scores were measured" in found.warnings[0]


@pytest.mark.parametrize(
    ("change", "scores", "level", "message"),
    [
        ({}, [], 0.05, "none of the 0 groups has the score discrete"),
        ({}, [{"other": 1.0}], 0.05, "none of the 1 group has the score discrete"),
        ({}, [{"discrete": math.inf}], 0.05, "none of the 1 group has a value of discrete"),
        ({}, [{"discrete": 1.0}], math.nan, "level=nan must be between 0 and 1"),
        ({"quantiles": ()}, [{"discrete": 1.0}], 0.05, "holds no scores to compare with"),
        ({"quantiles": (1.0,)}, [{"discrete": 1.0}], 0.05, "holds too few scores"),
        ({"unknown": 100}, [{"discrete": 1.0}], 0.05, "holds too few scores"),
    ],
)
def test_nothing_to_compare_is_an_error_and_no_result(change, scores, level, message):
    calibration = dataclasses.replace(learned_from([0.0] * 100), **change)
    with pytest.raises(InputError, match=message):
        compare_scores(calibration, scores, level=level)


def test_the_command_has_a_status_a_picture_and_json(tmp_path):
    rng = np.random.default_rng(2)

    def measured(weights, size=120):
        return [estimate(list(rng.choice(WORDS, 5, p=weights)), equivalence="exact") for _ in range(size)]

    then = measured([0.8, 0.05, 0.05, 0.05, 0.05])
    calibration = dataclasses.replace(
        learned_from([result.entropy for result in then]),
        conditions=Conditions.of([Origin.of(then[0].provenance, 5)], ["discrete"]),
    )
    calibration.save(tmp_path / "calibration.json")
    same = write(tmp_path / "same.jsonl", [result.to_json() for result in measured([0.8, 0.05, 0.05, 0.05, 0.05])])
    other = write(tmp_path / "other.jsonl", [result.to_json() for result in measured([0.2] * 5)])

    def run(*arguments):
        ran = CliRunner().invoke(main, ["drift", str(tmp_path / "calibration.json"), *map(str, arguments)])
        return ran.exit_code, ran.output

    picture = tmp_path / "drift.png"
    status, output = run(same, "--picture", picture)
    assert (status, "this does not certify anything" in output, picture.read_bytes()[:4]) == (0, True, b"\x89PNG")
    status, output = run(other)
    assert (status, "DRIFT: the scores differ" in output) == (3, True)
    status, output = run(other, "--json")
    assert (status, json.loads(output)["is_seen"]) == (3, True)
    csv = tmp_path / "scores.csv"
    csv.write_text("id,discrete\n" + "".join(f"{i},{result.entropy}\n" for i, result in enumerate(then)))
    status, output = run(csv)
    assert (status, "do not say how they were measured" in output) == (0, True), output
    assert run(same, "--level", "nan")[0] == 2
    marked = tmp_path / "marked.jsonl"
    marked.write_text(same.read_text(), encoding="utf-8-sig")
    assert run(marked) == run(same)
    assert run(write(tmp_path / "empty.jsonl", []))[0] == 1
    assert run(write(tmp_path / "unscored.jsonl", [{"responses": ["a", "b"]}]))[0] == 1
    status, output = run(same, "--picture", tmp_path / "calibration.json")
    assert status == 1
    assert Calibration.load(tmp_path / "calibration.json") == calibration

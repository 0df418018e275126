"""Drift: the test against scipy's on the whole sample, its false alarms, the conditions, and the command."""

import dataclasses
import json
import math

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from semantic_entropy import InputError, estimate
from semantic_entropy.cli import main
from semantic_entropy.decisions import Calibration, Conditions, Origin, learn_then_test
from semantic_entropy.decisions.calibration import CalibratedScore, LabelCounts, Mapped
from semantic_entropy.decisions.score_drift import compare_scores, reference_samples
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
    assert found.distance == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    auc = stats.mannwhitneyu(now, then).statistic / len(then) / len(now)
    assert found.auc == pytest.approx(auc, abs=1e-12)


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
            assert exact - 1 / steps - 1e-9 <= found.distance <= exact + 1e-9


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
    assert (found.is_seen, found.unknown_now, found.unknown_then) == (True, 60, 0)
    assert "without a score: 0 then, 60 now" in str(found)
    same = learned_from([*values, *[math.nan] * 60])
    assert not compare_scores(same, scores_of(values + [math.nan] * 60), origins=[origin()]).is_seen


def test_no_drift_certifies_nothing_and_says_so():
    values = [0.0] * 60 + [1.0] * 40
    found = compare_scores(learned_from(values), scores_of(values), origins=[origin()])
    assert (found.p_value, found.distance, found.auc, found.is_seen) == (1.0, 0.0, 0.5, False)
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
        ({}, [{"discrete": math.inf}], 0.05, "none of the 1 group has the score discrete"),
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
    assert run(write(tmp_path / "empty.jsonl", []))[0] == 1
    assert run(write(tmp_path / "unscored.jsonl", [{"responses": ["a", "b"]}]))[0] == 1
    status, output = run(same, "--picture", tmp_path / "calibration.json")
    assert status == 1
    assert Calibration.load(tmp_path / "calibration.json") == calibration

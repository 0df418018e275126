"""Metrics by hand, against scikit-learn, against lm-polygraph's definition of PRR, and their invariants."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from semantic_entropy.evaluation.metrics import Ranking, calibration_metrics, resamples

GROUPS = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=25).filter(
    lambda groups: len({wrong for _, wrong in groups}) == 2
)


def metrics(uncertainty, wrong, coverages=(), weights=None):
    """All metrics of one set of weights (default: each group once), as floats."""
    weights = np.ones((1, len(wrong)), dtype=np.int64) if weights is None else np.array([weights])
    ranking = Ranking(np.array(uncertainty, dtype=float), np.array(wrong, dtype=bool))
    return {name: float(value[0]) for name, value in ranking.metrics(weights, coverages).items()}


def rejection_area(uncertainty, quality):
    """Area under the prediction-rejection curve: the mean quality of the k least uncertain groups, over k = 1..N."""
    in_order = np.array(quality, dtype=float)[np.argsort(uncertainty)]
    return np.mean(np.cumsum(in_order) / np.arange(1, len(in_order) + 1))


def test_all_metrics_of_four_groups_equal_those_computed_by_hand():
    # certain: one right; then a right and a wrong one that tie; uncertain: one wrong. acc(k) = 1, 3/4, 2/3, 1/2
    found = metrics([0.9, 0.5, 0.5, 0.1], [True, False, True, False], (0.25, 0.5, 0.75, 1))
    assert found["auroc"] == pytest.approx(3.5 / 4)
    assert found["auprc"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    area, best = (1 + 3 / 4 + 2 / 3 + 1 / 2) / 4, (1 + 1 + 2 / 3 + 1 / 2) / 4
    assert found["aurac"] == pytest.approx(area)
    assert found["prr"] == pytest.approx((area - 1 / 2) / (best - 1 / 2))
    accuracies = [found[f"accuracy@{share}%"] for share in (25, 50, 75, 100)]
    assert accuracies == pytest.approx([1, 3 / 4, 2 / 3, 1 / 2])


@given(GROUPS)
def test_auroc_and_average_precision_equal_those_of_scikit_learn(groups):
    uncertainty, wrong = zip(*groups, strict=True)
    found = metrics(uncertainty, wrong)
    assert found["auroc"] == pytest.approx(roc_auc_score(wrong, uncertainty), abs=1e-12)
    assert found["auprc"] == pytest.approx(average_precision_score(wrong, uncertainty), abs=1e-12)


@given(GROUPS, st.randoms(use_true_random=False))
def test_weights_give_the_metrics_of_the_repeated_groups(groups, random):
    chosen = [random.randrange(len(groups)) for _ in groups]
    repeated, weights = [groups[i] for i in chosen], np.bincount(chosen, minlength=len(groups))
    if len({wrong for _, wrong in repeated}) < 2:
        return
    weighted = metrics(*zip(*groups, strict=True), (0.5, 0.8), weights)
    assert weighted == pytest.approx(metrics(*zip(*repeated, strict=True), (0.5, 0.8)), abs=1e-12)


@given(st.permutations(range(12)), st.lists(st.booleans(), min_size=12, max_size=12))
def test_prr_is_the_rejection_area_between_random_and_perfect_as_in_lm_polygraph(uncertainty, wrong):
    right = [not each for each in wrong]
    if len(set(wrong)) < 2:
        return
    area, best = rejection_area(uncertainty, right), rejection_area(wrong, right)
    random = np.mean(right)  # the mean area over all orders
    found = metrics(uncertainty, wrong)
    assert found["aurac"] == pytest.approx(area, abs=1e-12)
    assert found["prr"] == pytest.approx((area - random) / (best - random), abs=1e-12)


def test_the_area_of_tied_groups_is_the_mean_over_their_orders():
    uncertainty, wrong = np.array([0.0, 1, 1, 1, 1, 2, 2]), np.array([0, 1, 0, 0, 1, 1, 0], dtype=bool)
    draw = np.random.default_rng(0)
    areas = [rejection_area(uncertainty + draw.random(7) * 1e-3, ~wrong) for _ in range(4000)]
    assert metrics(uncertainty, wrong)["aurac"] == pytest.approx(np.mean(areas), abs=0.005)


@given(GROUPS, st.randoms(use_true_random=False))
def test_no_metric_depends_on_the_order_of_the_rows_or_the_scale_of_the_score(groups, random):
    uncertainty, wrong = zip(*groups, strict=True)
    found = metrics(uncertainty, wrong, (0.3, 0.8))
    random.shuffle(groups)
    again, truth = zip(*groups, strict=True)
    assert metrics(np.exp(3.0 * np.array(again)), truth, (0.3, 0.8)) == pytest.approx(found, abs=1e-12)
    assert 0 <= found["auroc"] <= 1
    assert found["prr"] <= 1 + 1e-12


def test_a_perfect_score_has_the_metrics_1():
    found = metrics([3, 2, 1, 0], [True, True, False, False], (0.5,))
    assert (found["auroc"], found["auprc"], found["accuracy@50%"]) == (1, 1, 1)
    assert found["prr"] == pytest.approx(1)


def test_a_constant_score_has_the_metrics_of_the_base_rate():
    found = metrics([1, 1, 1, 1, 1], [True, False, False, True, False], (0.2, 0.8))
    expected = {"auroc": 0.5, "auprc": 0.4, "aurac": 0.6, "prr": 0, "accuracy@20%": 0.6, "accuracy@80%": 0.6}
    assert found == pytest.approx(expected, abs=1e-12)


def test_an_unknown_score_ranks_as_the_most_uncertain():
    assert metrics([math.nan, 1e300, 0], [True, False, False])["auroc"] == 1
    assert metrics([math.nan, -1e300, 0], [False, True, True])["auroc"] == 0


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e6])
def test_scores_that_differ_in_their_last_bits_are_tied(scale):
    value = 0.1 + 0.2
    assert metrics([value * scale, 0.3 * scale], [True, False])["auroc"] == 0.5
    assert metrics([0.31 * scale, 0.3 * scale], [True, False])["auroc"] == 1


@pytest.mark.parametrize("wrong", [True, False])
def test_a_metric_of_one_class_is_nan(wrong):
    found = metrics([1, 2, 3], [wrong] * 3, (0.8,))
    assert all(math.isnan(found[name]) for name in ("auroc", "auprc", "aurac", "prr"))
    assert found["accuracy@80%"] == (0 if wrong else 1)


@given(GROUPS)
def test_the_points_of_the_roc_curve_are_those_of_scikit_learn(groups):
    uncertainty, wrong = (np.array(column) for column in zip(*groups, strict=True))
    false, true = Ranking(uncertainty.astype(float), wrong).roc()
    expected_false, expected_true, _ = roc_curve(wrong, uncertainty, drop_intermediate=False)
    assert np.allclose(false, expected_false)
    assert np.allclose(true, expected_true)


@given(GROUPS)
def test_the_rejection_curve_has_the_area_aurac_and_ends_at_the_accuracy(groups):
    uncertainty, wrong = (np.array(column) for column in zip(*groups, strict=True))
    coverage, accuracy = Ranking(uncertainty.astype(float), wrong).curve()
    assert accuracy.mean() == pytest.approx(metrics(uncertainty, wrong)["aurac"])
    assert (coverage[-1], accuracy[-1]) == (1, pytest.approx(1 - wrong.mean()))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_the_brier_score_equals_that_of_scikit_learn(groups):
    probabilities, wrong = (np.array(column) for column in zip(*groups, strict=True))
    found = calibration_metrics(probabilities, wrong, np.ones((1, len(wrong)), dtype=np.int64))
    assert found["brier"][0] == pytest.approx(brier_score_loss(wrong, probabilities, pos_label=True), abs=1e-12)
    assert 0 <= found["ece"][0] <= 1


def test_the_calibration_error_of_two_bins_by_hand():
    # bin 0.2 to 0.3: mean p 0.25, half are wrong; bin 0.9 to 1: mean p 0.95, all are wrong
    probabilities, wrong = np.array([0.2, 0.3 - 1e-9, 0.9, 1.0]), np.array([True, False, True, True])
    found = calibration_metrics(probabilities, wrong, np.ones((1, 4), dtype=np.int64))
    assert found["ece"][0] == pytest.approx(0.5 * 0.25 + 0.5 * 0.05)


def test_resamples_have_the_size_of_the_data_and_the_same_seed_gives_the_same():
    weights = np.concatenate(list(resamples(7, 1000, seed=3)))
    assert weights.shape == (1000, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.1)
    assert (weights == np.concatenate(list(resamples(7, 1000, seed=3)))).all()

"""Intervals, the paired test, probabilities, and the mean over sources."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from semantic_entropy import InputError
from semantic_entropy.evaluation import ScoreMetrics, compare
from semantic_entropy.evaluation.comparison import mean_over


def drawn(groups=400, gains=(1.0, 0.4), seed=0):
    """Scores of groups with a common part: a score with a larger gain separates wrong answers better."""
    draw = np.random.default_rng(seed)
    wrong = draw.random(groups) < 0.3
    shared = draw.normal(size=groups)
    scores = {f"gain {gain}": list(gain * wrong + shared + draw.normal(size=groups)) for gain in gains}
    return scores, list(wrong)


def delong(scores, wrong):
    """AUROC and covariance of two scores by DeLong et al. 1988, from the placement values of each group."""
    bad, good = (np.array([np.array(s)[np.array(wrong) == w] for s in scores]) for w in (True, False))
    wins = (bad[:, :, None] > good[:, None, :]) + 0.5 * (bad[:, :, None] == good[:, None, :])
    covariance = np.cov(wins.mean(axis=2)) / bad.shape[1] + np.cov(wins.mean(axis=1)) / good.shape[1]
    return wins.mean(axis=(1, 2)), covariance


def test_the_paired_interval_and_p_value_agree_with_delong():
    scores, wrong = drawn()
    table = compare(scores, wrong, resampled=4000, reference="gain 0.4")
    aurocs, covariance = delong(scores.values(), wrong)
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    found = table["gain 1.0"].difference
    assert found.value == pytest.approx(aurocs[0] - aurocs[1])
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.08)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(found.value / error), abs=0.02)
    low, high = table["gain 1.0"].auroc[1:]
    assert (high - low) / (2 * 1.96) == pytest.approx(math.sqrt(covariance[0, 0]), rel=0.08)


def test_the_interval_covers_the_true_auroc_in_about_95_of_100_data_sets():
    truth = stats.norm.cdf(1 / math.sqrt(4))  # the difference of two groups is normal: mean 1, variance 2 + 2
    covered = 0
    for seed in range(100):
        scores, wrong = drawn(200, (1.0,), seed)
        _, low, high = compare(scores, wrong, resampled=300)["gain 1.0"].auroc
        covered += low <= truth <= high
    assert 88 <= covered <= 100


def test_equal_scores_do_not_differ():
    scores, wrong = drawn(gains=(1.0,))
    table = compare({"one": scores["gain 1.0"], "same": scores["gain 1.0"]}, wrong)
    assert table["same"].difference == (0, 0, 0, 1)
    assert table["one"].difference is None


def test_a_confidence_is_turned_round_and_its_unknown_values_stay_uncertain():
    wrong = [True, True, False, False]
    table = compare({"share": [None, 0.4, 0.8, 0.9]}, wrong, confidences=["share"])
    assert table["share"].auroc.value == 1
    assert table["share"].unknown == 1


def test_a_score_without_any_value_has_no_metrics():
    table = compare({"known": [1, 0], "absent": [None, math.nan]}, [True, False], reference="absent")
    assert list(table) == ["known"]
    assert table["known"].difference is None


def test_the_base_rate_is_what_a_constant_score_gets():
    wrong = [True, False, False, True, False, False]
    table = compare({"constant": [1.0] * 6}, wrong)
    for metric in ("auroc", "auprc", "aurac", "prr", "accuracy@80%", "accuracy@90%"):
        assert table["constant"].metrics[metric].value == pytest.approx(table.base[metric])


def test_a_probability_has_its_own_calibration_error_and_that_of_the_mapping():
    draw = np.random.default_rng(1)
    right = draw.random(3000)
    wrong = list(draw.random(3000) > right)
    overconfident = list(right**0.3)  # the same order, and too high
    table = compare(
        {"exact": list(right), "overconfident": overconfident, "rank": list(100 * right)},
        wrong,
        confidences=["exact", "overconfident", "rank"],
        probabilities=["exact", "overconfident"],
        resampled=50,
    )
    assert table["exact"].metrics["ece_as_given"].value < 0.03
    assert table["overconfident"].metrics["ece_as_given"].value > 0.2
    assert table["exact"].metrics["brier_as_given"].value == pytest.approx(1 / 6, abs=0.01)  # E[p (1 - p)], p uniform
    for name in table:  # the mapping reads the order only
        assert table[name].metrics["ece"].value == table["exact"].metrics["ece"].value < 0.05
        assert table[name].metrics["brier"].value == pytest.approx(1 / 6, abs=0.01)
    assert "ece_as_given" not in table["rank"].metrics


def test_the_mapping_to_probabilities_does_not_see_the_labels_that_it_is_measured_on():
    draw = np.random.default_rng(2)
    noise, wrong = list(draw.normal(size=400)), list(draw.random(400) < 0.5)
    brier = compare({"noise": noise}, wrong, resampled=0)["noise"].metrics["brier"].value
    assert brier >= 0.25  # an isotonic fit on the same labels would be below the base rate


def test_a_probability_outside_0_to_1_is_an_error():
    with pytest.raises(InputError, match=r"score 'share' is no probability: it gives p\(wrong\) = -2"):
        compare({"share": [3, 0.5]}, [True, False], confidences=["share"], probabilities=["share"])


def test_without_resamples_there_are_no_intervals():
    scores, wrong = drawn(50)
    found = compare(scores, wrong, resampled=0)["gain 0.4"]
    assert math.isnan(found.auroc.low)
    assert math.isnan(found.difference.p_value)
    assert str(found.auroc) == f"{found.auroc.value:.3f}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, [True]), "nothing to compare: 0 scores on 1 groups"),
        (({"a": []}, []), "nothing to compare: 1 scores on 0 groups"),
        (({"a": [1]}, [True, False]), "score 'a' has 1 values for 2 groups"),
        (({"a": [1, 2]}, [True, None]), r"wrong\[1\] is None; a label is True \(wrong\) or False"),
        (({"a": [1, 2]}, ["true", "false"]), r"wrong\[0\] is 'true'"),
        (({"a": [1, 2]}, [1, math.nan]), r"wrong\[1\] is nan"),
        (({"a": [1, "low"]}, [True, False]), "the values of score 'a' must be numbers: .*'low'"),
        (({"a": [[1], [2]]}, [True, False]), "the values of score 'a' must be numbers"),
        (({"a": [1]}, [True], {"reference": "b"}), "there is no score 'b': there are a"),
        (({"a": [1]}, [True], {"coverages": [1.5]}), "coverage 1.5 is a share"),
        (({"a": [1]}, [True], {"resampled": -1}), "-1 resamples: use a number from 0"),
    ],
)
def test_arguments_that_cannot_be_used_are_errors(arguments, message):
    scores, wrong, *options = arguments
    with pytest.raises(InputError, match=message):
        compare(scores, wrong, **(options[0] if options else {}))


def test_an_infinite_value_is_unknown_and_never_certain():
    found = compare({"a": [-math.inf, 1, 2], "b": [None, 1, 2]}, [True, False, False], resampled=0)
    assert found["a"] == ScoreMetrics(found["b"].metrics, 1)
    assert found["a"].auroc.value == 1


def test_the_mean_over_sources_weighs_them_equally_and_leaves_out_those_with_one_class():
    parts = [drawn(groups, seed=seed) for seed, groups in enumerate((100, 300))]
    tables = [compare(scores, wrong) for scores, wrong in parts]
    one_class = compare({"gain 1.0": [1, 2], "gain 0.4": [2, 1]}, [True, True])
    mean = mean_over([*tables, one_class])
    by_hand = np.mean([roc_auc_score(wrong, scores["gain 0.4"]) for scores, wrong in parts])
    assert mean["gain 0.4"].auroc.value == pytest.approx(by_hand)
    assert mean.groups == 400
    assert mean["gain 0.4"].difference.value == pytest.approx(by_hand - mean["gain 1.0"].auroc.value)
    widths = [table["gain 0.4"].auroc.high - table["gain 0.4"].auroc.low for table in tables]
    width = mean["gain 0.4"].auroc.high - mean["gain 0.4"].auroc.low
    assert width == pytest.approx(math.hypot(*widths) / 2, rel=0.15)


def test_the_dict_of_a_table_has_null_where_a_number_is_unknown():
    found = compare({"a": [1, 2], "b": [2, 1]}, [True, True]).to_dict()
    assert found["scores"]["b"]["metrics"]["auroc"] == {"value": None, "low": None, "high": None}
    assert found["scores"]["b"]["difference"]["p_value"] is None
    assert found["scores"]["a"]["difference"] is None
    assert (found["wrong"], found["groups"], found["reference"]) == (2, 2, "a")

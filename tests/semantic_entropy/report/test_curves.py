"""The curves of a report, beside scikit-learn and scipy."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

import semantic_entropy
from semantic_entropy.report.curves import (
    MOST_POINTS,
    calibration_bins,
    histogram,
    labelled_curves,
    thinned,
    wilson,
)
from semantic_entropy.report.scored_rows import ReportRow


def labelled_rows(count=60, seed=0):
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        responses = tuple(draw.choices("abcd", k=5))
        result = semantic_entropy.estimate(list(responses), equivalence="exact", estimator=["discrete", "majority"])
        rows.append(ReportRow("", None, responses, result, wrong=draw.random() < 0.2 + result.normalized / 2))
    return rows


def test_the_area_under_the_roc_curve_is_that_of_scikit_learn_for_a_score_and_for_a_confidence():
    rows = labelled_rows()
    found = {score["name"]: score for score in labelled_curves(rows, "entropy")["scores"]}
    wrong = [each.wrong for each in rows]
    for name, sign in (("entropy", 1), ("majority", -1)):
        values = [each.result.scores["discrete" if name == "entropy" else name] * sign for each in rows]
        expected = roc_auc_score(wrong, values)
        x, y = zip(*found[name]["roc"], strict=True)
        area = sum((x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2 for i in range(1, len(x)))
        assert found[name]["metrics"]["auroc"][0] == pytest.approx(expected)
        assert area == pytest.approx(expected, abs=1e-3)
        assert found[name]["confidence"] == (name == "majority")


def test_the_rejection_curve_begins_at_the_accuracy_of_all_answers():
    rows = labelled_rows()
    (score, *_) = labelled_curves(rows, "entropy")["scores"]
    share = sum(not each.wrong for each in rows) / len(rows)
    assert score["rejection"][0] == [0.0, pytest.approx(share, abs=1e-4)]


def test_there_are_no_curves_without_wrong_and_right_answers():
    rows = labelled_rows(10)
    assert labelled_curves([ReportRow("", None, ("a",), each.result) for each in rows], "entropy") is None
    assert labelled_curves([ReportRow("", None, ("a",), each.result, wrong=True) for each in rows], "entropy") is None


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_share_is_that_of_scipy(case):
    hits, count = case
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.3]) | st.floats(0, 3), st.booleans()), min_size=1))
def test_each_known_score_is_in_one_bin_of_the_calibration_and_equal_scores_are_together(pairs):
    scores, wrong = zip(*pairs, strict=True)
    bins = calibration_bins([*scores, math.nan], [*wrong, True])
    assert sum(each[4] for each in bins) == len(scores)
    assert len(bins) <= 10
    assert sum(each[1] * each[4] for each in bins) == pytest.approx(sum(wrong))
    means = [each[0] for each in bins]
    assert means == sorted(means)
    assert all(low <= share <= high for _, share, low, high, _ in bins)


@given(st.lists(st.floats(0, 5) | st.none()), st.booleans())
def test_a_histogram_counts_each_known_value_once(values, label):
    found = histogram(values, [label] * len(values))
    known = [value for value in values if value is not None]
    if not known:
        assert found is None
        return
    assert sum(found["wrong"] if label else found["right"]) == len(known)
    assert sum(found["unlabelled"]) == 0
    assert found["edges"][0] <= min(known)
    assert found["edges"][-1] >= max(known) - 1e-9


def test_a_long_curve_keeps_its_ends():
    points = thinned(range(5001), range(5001))
    assert (points[0], points[-1]) == ([0, 0], [5000, 5000])
    assert len(points) <= MOST_POINTS + 2


def test_a_report_without_labels_imports_neither_numpy_nor_matplotlib(tmp_path):
    result = semantic_entropy.estimate(["a", "b"], equivalence="exact").to_json()
    (tmp_path / "scored.jsonl").write_text(result[:-1] + ', "responses": ["a", "b"]}\n')
    code = (
        "import sys; from semantic_entropy.report import write_report; write_report('scored.jsonl', 'r.html'); "
        "sys.exit(bool({'numpy', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

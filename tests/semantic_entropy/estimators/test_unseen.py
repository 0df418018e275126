"""Corrections for meanings that no response has, against other implementations and other formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import digamma

from semantic_entropy import estimate
from semantic_entropy.estimators import Discrete
from semantic_entropy.estimators.posterior import Bayes, EntropyHigh, EntropyLow
from semantic_entropy.estimators.unseen import (
    ChaoShen,
    Coverage,
    Grassberger,
    MillerMadow,
    cluster_sizes,
)
from semantic_entropy.testing import check_estimator
from semantic_entropy.types import Evidence, by_first_appearance

ESTIMATORS = (MillerMadow(), ChaoShen(), Coverage(), Grassberger(), Bayes(), EntropyLow(), EntropyHigh())
NAMES = [each.name for each in ESTIMATORS]

# sizes of the clusters; miller_madow and chao_shen of infomeasure 0.6.3 (`infomeasure.entropy(..., base="e")`)
INFOMEASURE = [
    ((3,), 0.0, 0.0),
    ((2, 1), 0.8031808349614794, 1.0662472192320789),
    ((1, 1, 1), 1.4319456220014428, 2.460486508261295),
    ((4, 3, 2, 1), 1.4298542258336673, 1.4542598538950486),
    ((5, 5), 0.7431471805599453, 0.6938247437862991),
    ((6, 1, 1, 1, 1), 1.4275294114572126, 1.8355448240122374),
    ((10,), 0.0, 0.0),
    ((2, 2, 2, 2), 1.5737943611198906, 1.540520343371821),
    ((7, 2, 1), 0.9018185525433372, 1.0038766813411952),
    ((1, 1, 1, 1, 1), 2.0094379124341004, 3.4868903818942414),
]


def evidence(sizes):
    """Responses with clusters of these sizes, and with the similarity 1 inside a cluster, 0 between clusters."""
    labels = tuple(label for label, size in enumerate(sizes) for _ in range(size))
    return with_similarity(labels)


def with_similarity(labels):
    return Evidence(labels, similarity=tuple(tuple(float(a == b) for b in labels) for a in labels))


@pytest.mark.parametrize(("sizes", "miller_madow", "chao_shen"), INFOMEASURE)
def test_miller_madow_and_chao_shen_equal_the_values_of_infomeasure(sizes, miller_madow, chao_shen):
    assert MillerMadow().estimate(evidence(sizes)).value == pytest.approx(miller_madow, abs=1e-12)
    assert ChaoShen().estimate(evidence(sizes)).value == pytest.approx(chao_shen, abs=1e-12)


@pytest.mark.parametrize("sizes", [(1,), (2, 1), (4, 3, 2, 1), (9, 1), (1, 1, 1), (3, 3, 2), (17, 6, 1, 1)])
def test_grassberger_equals_the_formula_with_the_digamma_function(sizes):
    n, counts = sum(sizes), np.array(sizes)
    g = digamma(counts) + (-1.0) ** counts / 2 * (digamma((counts + 1) / 2) - digamma(counts / 2))  # Eq. 30
    assert Grassberger().estimate(evidence(sizes)).value == pytest.approx(math.log(n) - (counts * g).sum() / n)


def test_grassberger_is_not_negative():
    assert Grassberger().estimate(evidence((10,))).value == 0.0  # the formula gives -0.0017


def test_coverage_equals_the_example_of_the_authors():
    # the README of the code of arXiv 2509.14478: clusters 0, 0, 1, 2 give 1.04 without and 1.76 with the correction
    given = evidence((2, 1, 1))
    assert round(Discrete().estimate(given).value, 2) == 1.04
    assert round(Coverage().estimate(given).value, 2) == 1.76


def test_coverage_takes_the_larger_of_both_alphabet_sizes():
    labels = (0, 0, 0, 0)
    alike, different = Evidence(labels, similarity=((1.0,) * 4,) * 4), Evidence(labels, similarity=_identity(4))
    assert Coverage().estimate(alike).value == 0.0
    coverage = 1 / 4  # one meaning was seen, and the similarities say that there are four
    expected = -coverage * math.log(coverage) / (1 - (1 - coverage) ** 4)
    assert Coverage().estimate(different).value == pytest.approx(expected)


def test_coverage_uses_the_similarities_alone_if_all_responses_differ():
    n, similarity = 3, 0.4
    weights = np.full((n, n), similarity) + (1 - similarity) * np.eye(n)
    alphabet = 1 + (n - 1) * (1 - similarity) / (1 + (n - 1) * similarity)  # the eigenvalues of the Laplacian
    found = Coverage().estimate(Evidence((0, 1, 2), similarity=tuple(map(tuple, weights.tolist()))))
    p = min(1.0, n / alphabet) / n
    assert found.value == pytest.approx(-n * p * math.log(p) / (1 - (1 - p) ** n))


def _identity(n):
    return tuple(tuple(float(i == j) for j in range(n)) for i in range(n))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=NAMES)
def test_an_estimator_keeps_its_contract(estimator):
    check_estimator(estimator)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_order_and_names_of_the_clusters_change_nothing_and_no_value_is_negative(drawn, random):
    labels = by_first_appearance(drawn)
    renamed = by_first_appearance([6 - label for label in drawn])
    order = list(labels)
    random.shuffle(order)
    for estimator in ESTIMATORS:
        value = estimator.estimate(with_similarity(labels)).value
        assert value >= 0.0
        for other in (renamed, by_first_appearance(order)):
            assert estimator.estimate(with_similarity(other)).value == pytest.approx(value, abs=1e-12)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_miller_madow_is_never_below_the_plug_in_entropy(drawn):
    labels = by_first_appearance(drawn)
    assert MillerMadow().estimate(Evidence(labels)).value >= Discrete().estimate(Evidence(labels)).value


def test_the_plug_in_entropy_stays_the_entropy_of_a_result():
    result = estimate(["Paris", "Rome", "Paris"], estimator=NAMES)
    assert result.entropy == pytest.approx(math.log(3) - 2 / 3 * math.log(2))
    assert set(result.scores) == set(NAMES)
    assert result.scores["miller_madow"] == pytest.approx(result.entropy + 1 / 6)
    assert result.provenance.estimator == "discrete"


def test_without_a_response_that_counts_each_score_is_nan():
    result = estimate(["", ""], estimator=NAMES, invalid="drop")
    assert all(math.isnan(score) for score in result.scores.values())


def test_sizes_leave_out_dropped_responses():
    assert cluster_sizes((0, 1, -1, 1, 2)) == (2, 1, 1)
    assert cluster_sizes((-1, -1)) == ()

"""Estimators on the sizes of the clusters."""

from __future__ import annotations

import math

import pytest

from semantic_entropy.estimators import Discrete, Majority, NumSets
from semantic_entropy.types import Estimate, Evidence


@pytest.mark.parametrize(
    ("labels", "shares"),
    [((0,), (1.0,)), ((0, 0, 0), (1.0,)), ((0, 1), (0.5, 0.5)), ((0, 1, 0, 2, 0), (0.6, 0.2, 0.2))],
)
def test_each_estimator_gives_its_formula(labels, shares):
    evidence = Evidence(labels)
    estimate = Discrete().estimate(evidence)
    assert estimate.value == pytest.approx(-sum(p * math.log(p) for p in shares))
    assert estimate.probabilities == pytest.approx(shares)
    assert NumSets().estimate(evidence) == Estimate(float(len(shares)))
    assert Majority().estimate(evidence).value == max(shares)


def test_one_cluster_has_an_entropy_of_exactly_zero():
    assert math.copysign(1.0, Discrete().estimate(Evidence((0, 0))).value) == 1.0

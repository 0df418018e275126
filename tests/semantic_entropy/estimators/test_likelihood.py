"""Estimators on token log-probabilities."""

from __future__ import annotations

import math

import pytest

from semantic_entropy import estimate, load_estimator

LOGPROBS = [[-0.1, -0.3], [-0.2], [-2.0, -1.0, -0.6]]


def h(*shares):
    return -sum(p * math.log(p) for p in shares)


def test_likelihood_weighs_clusters_and_can_lead():
    result = estimate(["a", "a", "b"], logprobs=LOGPROBS, equivalence="exact", estimator=["likelihood", "discrete"])
    weights = [math.exp(-0.2), math.exp(-0.2), math.exp(-1.2)]
    share = weights[2] / sum(weights)
    assert result.probabilities == pytest.approx((1 - share, share))
    assert result.entropy == pytest.approx(h(share, 1 - share)) == result.scores["likelihood"]
    assert result.provenance.estimator == "likelihood(length_normalized=True)"


def test_log_likelihoods_of_minus_800_are_ordinary_numbers():
    raw = load_estimator("likelihood", length_normalized=False)
    result = estimate(["a", "b"], logprobs=[[-800.0], [-801.0]], equivalence="exact", estimator=raw)
    share = 1 / (1 + math.e)
    assert result.entropy == pytest.approx(h(share, 1 - share))

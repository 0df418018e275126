"""The posterior of the entropy: evidence that sums to 1, closed forms, draws against closed forms, intervals."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special

from semantic_entropy import estimate
from semantic_entropy.estimators import posterior
from semantic_entropy.estimators.posterior import interval, p_above, posterior_mean
from semantic_entropy.results import Result

SIZES = [(1,), (3,), (1, 1), (2, 1), (4, 3, 2, 1), (1,) * 6, (9, 1), (20, 6, 3, 1, 1, 1)]


def partitions(n, largest=None):
    """All sizes of clusters with the sum n, largest first."""
    if n == 0:
        yield ()
    for first in range(min(n, largest or n), 0, -1):
        for rest in partitions(n - first, first):
            yield (first, *rest)


def groupings(sizes):
    """The number of ways to divide n responses into clusters of these sizes."""
    many = math.factorial(sum(sizes))
    for size, count in Counter(sizes).items():
        many //= math.factorial(size) ** count * math.factorial(count)
    return many


def log_evidence(sizes, meanings, concentration):
    """ln p(partition | K, a), with scipy, for n responses from a symmetric Dirichlet over K meanings."""
    if meanings < len(sizes):
        return -math.inf
    n, total = sum(sizes), meanings * concentration
    found = special.gammaln(meanings + 1) - special.gammaln(meanings - len(sizes) + 1)
    found += special.gammaln(total) - special.gammaln(total + n)
    return found + sum(special.gammaln(concentration + s) - special.gammaln(concentration) for s in sizes)


def mean_entropy(sizes, meanings, concentration):
    """E[H | sizes, K, a] of Wolpert & Wolf 1995, with scipy."""
    counts = np.array([*sizes, *[0] * (meanings - len(sizes))]) + concentration
    total = counts.sum()
    return special.digamma(total + 1) - (counts / total * special.digamma(counts + 1)).sum()


@pytest.mark.parametrize("sizes", [(3,), (2, 1), (1, 1, 1), (4, 3, 2, 1)])
def test_bayes_equals_an_adaptive_integration_with_scipy(sizes):
    def weight(log_a, meanings, power):
        a = math.exp(log_a)
        return math.exp(log_evidence(sizes, meanings, a)) / meanings * mean_entropy(sizes, meanings, a) ** power

    parts = [
        [integrate.quad(weight, math.log(0.02), math.log(4), args=(k, power))[0] for power in (1, 0)]
        for k in range(len(sizes), 101)
    ]
    numerator, denominator = np.sum(parts, axis=0)
    assert posterior_mean(sizes) == pytest.approx(numerator / denominator, abs=5e-4)  # 33 values of a


@pytest.mark.parametrize("sizes", SIZES)
def test_the_posterior_of_meanings_and_concentration_follows_the_evidence(sizes):
    weights = posterior._finite_posterior(sizes)
    cells = [(k, i) for k in (len(sizes), len(sizes) + 1, 40) for i in (3, 16, 29)]
    logs = [log_evidence(sizes, k, posterior.CONCENTRATIONS[i]) - math.log(k) for k, i in cells]
    found = [math.log(weights[k - 1, i]) for k, i in cells]
    assert np.subtract(found, found[0]) == pytest.approx(np.subtract(logs, logs[0]), abs=1e-8)
    assert weights.sum() == pytest.approx(1.0)


def test_the_pitman_yor_posterior_follows_a_distribution_over_all_partitions():
    # p(partition | d, s) sums to 1 over the partitions of n responses: the posteriors times the marginal are flat
    discount, strength = 1, 7
    total = 0.0
    for sizes in partitions(6):
        d, s = posterior.DISCOUNTS[discount], posterior.STRENGTHS[strength]
        log = sum(math.log(s + i * d) for i in range(1, len(sizes))) - special.gammaln(s + 6) + special.gammaln(s + 1)
        log += sum(special.gammaln(size - d) - special.gammaln(1 - d) for size in sizes)
        total += groupings(sizes) * math.exp(log)
        weights = posterior._pitman_yor_posterior(sizes)
        other = weights[3, 20] / weights[discount, strength]
        d2, s2 = posterior.DISCOUNTS[3], posterior.STRENGTHS[20]
        log2 = sum(math.log(s2 + i * d2) for i in range(1, len(sizes))) - special.gammaln(s2 + 6)
        log2 += special.gammaln(s2 + 1) + sum(special.gammaln(size - d2) - special.gammaln(1 - d2) for size in sizes)
        assert other == pytest.approx(math.exp(log2 - log), rel=1e-8)
    assert total == pytest.approx(1.0)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_mean_of_finite_draws_is_the_closed_form(sizes):
    draws, _ = posterior._finite_draws(sizes, np.random.default_rng(5))
    entropies = posterior._entropies(draws)
    assert draws.sum(axis=1) == pytest.approx(1.0)
    assert entropies.mean() == pytest.approx(posterior_mean(sizes), abs=4 * entropies.std() / math.sqrt(len(draws)))


@pytest.mark.parametrize("sizes", SIZES)
def test_the_mean_of_pitman_yor_draws_is_the_closed_form_of_archer(sizes):
    d, s = posterior.DISCOUNTS[:, None], posterior.STRENGTHS[None, :]
    n, meanings = sum(sizes), len(sizes)
    seen = sum((size - d) * special.digamma(size - d + 1) for size in sizes)
    means = special.digamma(s + n + 1) - (s + meanings * d) / (s + n) * special.digamma(1 - d) - seen / (s + n)
    expected = (posterior._pitman_yor_posterior(sizes) * means).sum()
    draws, beyond = posterior._pitman_yor_draws(sizes, np.random.default_rng(5))
    entropies = posterior._entropies(draws) + beyond
    assert draws.sum(axis=1) == pytest.approx(1.0)
    assert entropies.mean() == pytest.approx(expected, abs=4 * entropies.std() / math.sqrt(len(draws)))


def test_digamma_equals_that_of_scipy():
    x = np.array([0.02, 0.25, 1.0, 2.5, 9.99, 10.0, 123.4, 1e6])
    assert posterior.digamma(x) == pytest.approx(special.digamma(x), rel=1e-12)


@given(st.lists(st.integers(1, 12), min_size=2, max_size=8))
def test_an_interval_is_in_bounds_and_has_more_than_one_point(sizes):
    found = interval(tuple(sorted(sizes, reverse=True)))
    assert 0.0 <= found.entropy[0] < found.entropy[1]
    assert 0.0 <= found.majority[0] < found.majority[1] <= 1.0


@pytest.mark.parametrize("n", [1, 2, 5, 10, 64])
def test_agreement_of_all_responses_never_excludes_certainty_and_never_proves_it(n):
    found = interval((n,))
    assert found.entropy[0] == 0.0 < found.entropy[1]
    assert found.majority[0] < 1.0 == found.majority[1]


def test_intervals_get_narrower_with_more_responses():
    for small, large in [((2, 1), (20, 10)), ((3,), (30,)), ((1, 1, 1), (10, 10, 10))]:
        few, many = interval(small), interval(large)
        assert many.entropy[1] - many.entropy[0] < few.entropy[1] - few.entropy[0]
        assert many.majority[1] - many.majority[0] < few.majority[1] - few.majority[0]


def test_more_than_a_hundred_different_responses_have_an_estimate():
    assert posterior_mean((1,) * 150) > math.log(150)
    assert interval((1,) * 150).entropy[0] > 4.0


def test_equal_clusters_have_equal_intervals_in_each_call():
    interval.cache_clear()
    first = interval((4, 2, 1))
    interval.cache_clear()
    assert interval((4, 2, 1)) == first


@pytest.mark.parametrize("sizes", SIZES)
def test_without_further_responses_the_decision_is_known(sizes):
    entropy = -sum(size / sum(sizes) * math.log(size / sum(sizes)) for size in sizes)
    assert p_above(sizes, 0, entropy + 0.01) == 0.0
    assert p_above(sizes, 0, entropy - 0.01) == 1.0


def test_the_next_response_has_the_predictive_probability_of_both_priors():
    sizes, threshold = (2, 1), 0.6  # only a response in the larger cluster gives less: H(3, 1) = 0.56
    weights = posterior._finite_posterior(sizes)
    a, k = posterior.CONCENTRATIONS, np.arange(1, 101)[:, None]
    finite = (weights * (2 + a) / (3 + k * a)).sum()
    d, s = posterior.DISCOUNTS[:, None], posterior.STRENGTHS
    pitman_yor = (posterior._pitman_yor_posterior(sizes) * (2 - d) / (3 + s)).sum()
    assert p_above(sizes, 1, threshold) == pytest.approx(1 - (finite + pitman_yor) / 2, abs=0.04)  # 2,000 draws


def test_the_interval_of_a_result_is_that_of_its_clusters_whichever_estimator_it_has():
    logprobs = [[-0.1], [-9.0], [-3.0]]
    counted = estimate(["Paris", "Rome", "Paris"])
    weighted = estimate(["Paris", "Rome", "Paris"], logprobs=logprobs, estimator="likelihood")
    assert counted.interval == weighted.interval == interval((2, 1))


def test_the_ends_of_an_interval_are_scores():
    result = estimate(["Paris", "Rome", "Paris"], estimator=["discrete", "entropy_low", "entropy_high"])
    assert (result.scores["entropy_low"], result.scores["entropy_high"]) == result.interval.entropy


def test_dropped_responses_do_not_count_in_an_interval_and_no_response_has_none():
    assert estimate(["Paris", "", "Paris", "Rome"], invalid="drop").interval == interval((2, 1))
    assert estimate(["", ""], invalid="drop").interval is None


def test_the_json_of_a_result_has_the_interval_only_if_you_ask_for_it():
    result = estimate(["Paris", "Rome", "Paris"])
    assert "interval" not in result.to_dict()
    fields = result.to_dict(interval=True)
    assert fields["interval"] == {"entropy": list(result.interval.entropy), "majority": list(result.interval.majority)}
    assert Result.from_dict(fields) == result
    assert estimate([""], invalid="drop").to_dict(interval=True)["interval"] is None

"""What n responses leave open: the posterior of the entropy, of the largest meaning, and of the next responses.

The sizes n_i of the M clusters, with the sum n, are the data. Two priors over distributions of meanings are used:

    finite      K meanings, symmetric Dirichlet(a); K = 1..100 with prior 1/K, a log-uniform on [0.02, 4]
    Pitman-Yor  infinitely many meanings; discount d in {0, 0.25, 0.5, 0.75}, strength s log-spaced on [0.02, 25]

    bayes              the mean of the entropy under the finite prior; given K and a it has a closed form (Wolpert &
                       Wolf 1995), and a mixture over a is the idea of Nemenman et al. 2002
    `interval`         quantiles of draws: half from the posterior of each prior; its ends are also the scores
                       entropy_low and entropy_high
    `p_above`          the probability that the plug-in entropy of more responses is above a threshold

The evidence for K and a is the probability of the partition (Pitman 1995): meanings have no order before they are seen.
Sources for entropies of LLM answers: arXiv 2504.03579 and 2603.22812. In nats. Shapes: S draws, C meanings.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from semantic_entropy.estimators.base import EntropyEstimator
from semantic_entropy.estimators.unseen import cluster_sizes
from semantic_entropy.types import Estimate, Evidence, Interval

Floats: TypeAlias = NDArray[np.float64]
Sizes: TypeAlias = tuple[int, ...]
"""The sizes (M,) of the clusters, largest first."""

MOST_MEANINGS = 100  # K of the finite prior; twice the number of seen meanings, if that is more
CONCENTRATIONS = np.geomspace(0.02, 4.0, 33)  # (A,): with 257 values, `bayes` changes by less than 0.001
DISCOUNTS = np.array([0.0, 0.25, 0.5, 0.75])
STRENGTHS = np.geomspace(0.02, 25.0, 25)
DRAWS = 1000  # from each prior: quantiles of other seeds differ by about 0.02 nats
STICKS = 40  # meanings that a Pitman-Yor draw has by name, besides those seen; the others have their expected entropy
TAIL = 0.035  # two tails of 7% together, and not 10%: with equal tails of 5%, fewer than 90% were covered
_SEED = 20250917  # any fixed number: equal clusters have equal intervals, in each process


class Bayes(EntropyEstimator):
    """The posterior mean of the entropy under the finite prior. It is above 0 also if all responses agree."""

    name = "bayes"

    def estimate(self, evidence: Evidence) -> Estimate:
        return Estimate(posterior_mean(cluster_sizes(evidence.labels)))


class EntropyLow(EntropyEstimator):
    """The low end of `Result.interval.entropy`, as a score: for files and tables, which hold scores."""

    name = "entropy_low"

    def estimate(self, evidence: Evidence) -> Estimate:
        return Estimate(interval(cluster_sizes(evidence.labels)).entropy[0])


class EntropyHigh(EntropyEstimator):
    """The high end of `Result.interval.entropy`, as a score: for files and tables, which hold scores."""

    name = "entropy_high"

    def estimate(self, evidence: Evidence) -> Estimate:
        return Estimate(interval(cluster_sizes(evidence.labels)).entropy[1])


@lru_cache(maxsize=4096)
def posterior_mean(sizes: Sizes) -> float:
    """E[H | sizes] in nats under the finite prior, summed over all K and a."""
    meanings, n = len(sizes), sum(sizes)
    counts = _meaning_counts(meanings)[:, None]  # (K, 1)
    weights = _finite_posterior(sizes)  # (K, A)
    total = n + counts * CONCENTRATIONS
    seen = np.array(sizes, dtype=float)[:, None] + CONCENTRATIONS  # (M, A)
    unseen = np.maximum(counts - meanings, 0) * CONCENTRATIONS * digamma(CONCENTRATIONS + 1)
    means = digamma(total + 1) - ((seen * digamma(seen + 1)).sum(axis=0) + unseen) / total
    return float((weights * means).sum())


@lru_cache(maxsize=4096)
def interval(sizes: Sizes) -> Interval:
    """The 90% interval for the entropy, and for the probability of the largest cluster's meaning."""
    finite, _ = _finite_draws(sizes, np.random.default_rng(_SEED))
    endless, beyond = _pitman_yor_draws(sizes, np.random.default_rng(_SEED))
    entropies = np.concatenate([_entropies(finite), _entropies(endless) + beyond])
    largest = np.concatenate([finite[:, 0], endless[:, 0]])
    if len(sizes) == 1:  # all responses agree: certainty cannot be excluded
        return Interval((0.0, _quantile(entropies, 1 - 2 * TAIL)), (_quantile(largest, 2 * TAIL), 1.0))
    return Interval(
        (_quantile(entropies, TAIL), _quantile(entropies, 1 - TAIL)),
        (_quantile(largest, TAIL), _quantile(largest, 1 - TAIL)),
    )


@lru_cache(maxsize=4096)
def p_above(sizes: Sizes, more: int, threshold: float) -> float:
    """The probability that the plug-in entropy is above the threshold after `more` further responses."""
    rng = np.random.default_rng(_SEED)
    above = []
    for draws, _ in (_finite_draws(sizes, rng), _pitman_yor_draws(sizes, rng)):
        ends = np.cumsum(draws, axis=1)  # (S, C)
        places = rng.random((len(draws), more)) * ends[:, -1:]
        drawn = (places[:, :, None] >= ends[:, None, :]).sum(axis=2).clip(max=draws.shape[1] - 1)  # (S, more)
        counts = np.zeros(draws.shape)
        counts[:, : len(sizes)] = sizes
        np.add.at(counts, (np.arange(len(draws))[:, None], drawn), 1.0)
        above.append(_entropies(counts / (sum(sizes) + more)) > threshold)
    return float(np.concatenate(above).mean())


def _finite_posterior(sizes: Sizes) -> Floats:
    """(K, A) the posterior of K and a: the prior times K!/(K-M)! G(Ka)/G(Ka+n) prod G(a+n_i)/G(a)."""
    counts = _meaning_counts(len(sizes))
    orders = np.array([_log_falling(k, len(sizes)) for k in counts.tolist()])
    of_meanings = (orders - np.log(counts))[:, None]  # with the prior 1/K
    return _normalised(of_meanings + _log_rising(CONCENTRATIONS, sizes) - _log_totals(len(counts), sum(sizes)))


@lru_cache(maxsize=128)
def _log_totals(most: int, n: int) -> Floats:
    """(K, A) of ln G(Ka+n)/G(Ka) for K = 1..most, and ln 2 at both ends of the trapezoidal rule over ln a."""
    totals = _log_rising(np.arange(1, most + 1)[:, None] * CONCENTRATIONS, (n,))
    totals[:, [0, -1]] += math.log(2)
    return totals


def _meaning_counts(meanings: int) -> NDArray[np.int64]:
    return np.arange(1, max(MOST_MEANINGS, 2 * meanings) + 1)


def _finite_draws(sizes: Sizes, rng: np.random.Generator) -> tuple[Floats, float]:
    """(S, C) distributions; column i < M is the meaning of cluster i. The second value is 0: they are complete."""
    posterior = _finite_posterior(sizes)
    cells = rng.choice(posterior.size, DRAWS, p=posterior.ravel())
    unseen = _meaning_counts(len(sizes))[cells // posterior.shape[1]] - len(sizes)  # (S,)
    concentrations = CONCENTRATIONS[cells % posterior.shape[1], None]  # (S, 1)
    has = np.arange(unseen.max()) < unseen[:, None]  # a shape of 0 gives the probability 0
    shapes = np.hstack([concentrations + np.array(sizes), concentrations * has])
    draws = rng.standard_gamma(shapes)
    return draws / draws.sum(axis=1, keepdims=True), 0.0


def _pitman_yor_draws(sizes: Sizes, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(S, M + STICKS + 1) distributions, the last column the mass of all other meanings, and (S,) what these add.

    The posterior of the seen meanings is Dirichlet(n_i - d, s + M d), and the last mass is again a Pitman-Yor process,
    with the strength s + M d (Pitman 1996). The expected entropy of such a process is psi(s + 1) - psi(1 - d) (Archer
    et al. 2014, Eq. 12).
    """
    meanings = len(sizes)
    posterior = _pitman_yor_posterior(sizes)  # (D, T)
    cells = rng.choice(posterior.size, DRAWS, p=posterior.ravel())
    discount = DISCOUNTS[cells // posterior.shape[1], None]  # (S, 1)
    strength = STRENGTHS[cells % posterior.shape[1], None] + meanings * discount
    gammas = rng.standard_gamma(np.hstack([np.array(sizes) - discount, strength]))
    masses = gammas / gammas.sum(axis=1, keepdims=True)
    order = np.arange(1, STICKS + 1)
    breaks = rng.beta(1 - discount, strength + order * discount)  # (S, STICKS)
    left = masses[:, -1:] * np.hstack([np.ones_like(discount), np.cumprod(1 - breaks, axis=1)])
    rest = left[:, -1]
    expected = digamma(strength + STICKS * discount + 1)[:, 0] - digamma(1 - discount)[:, 0]
    return np.hstack([masses[:, :-1], left[:, :-1] * breaks, left[:, -1:]]), rest * expected


def _pitman_yor_posterior(sizes: Sizes) -> Floats:
    """(D, T) the posterior of d and s: prod_{i<M} (s + i d) / (s + 1)_{n-1} prod (1 - d)_{n_i - 1}; flat prior."""
    discounts, strengths = DISCOUNTS[:, None], STRENGTHS[None, :]
    seen = np.arange(1, len(sizes))[:, None, None]
    new = np.log(strengths + seen * discounts).sum(axis=0)
    repeats = _log_rising(1 - DISCOUNTS, tuple(size - 1 for size in sizes))[:, None]
    return _normalised(new + repeats - _log_rising(STRENGTHS + 1, (sum(sizes) - 1,)))


def _log_rising(starts: Floats, lengths: Sizes) -> Floats:
    """Sum over the lengths of ln x (x + 1) ... (x + length - 1), for each x of `starts`."""
    repeats = Counter(lengths).items()
    sums = [
        sum(many * math.lgamma(x + length) for length, many in repeats) - len(lengths) * math.lgamma(x)
        for x in starts.ravel().tolist()
    ]
    return np.array(sums).reshape(starts.shape)


def _log_falling(start: int, length: int) -> float:
    """Ln start (start - 1) ... (start - length + 1); -inf if start < length: there are fewer meanings than seen."""
    return math.lgamma(start + 1) - math.lgamma(start - length + 1) if start >= length else -math.inf


def _normalised(logs: Floats) -> Floats:
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


def _entropies(distributions: Floats) -> Floats:
    """(S,) -sum p ln p over the last axis; a p of 0 adds nothing."""
    logs = np.log(distributions, out=np.zeros_like(distributions), where=distributions > 0)
    return np.asarray(np.maximum(0.0, -(distributions * logs).sum(axis=1)))


def _quantile(values: Floats, level: float) -> float:
    return float(np.quantile(values, level))


def digamma(x: Floats) -> Floats:
    """The derivative of ln Gamma for x > 0, to 1e-12: the recurrence up to 10, then the asymptotic series."""
    x = np.array(x, dtype=float)
    shift = np.zeros_like(x)
    while (small := x < 10).any():  # the terms that are left out are below 1e-13 there
        shift[small] -= 1 / x[small]
        x[small] += 1
    square = 1 / (x * x)
    series = square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square / 132))))
    return np.asarray(shift + np.log(x) - 0.5 / x - series)

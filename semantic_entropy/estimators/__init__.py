"""Compute scores from clusters: the `EntropyEstimator` interface and one module for each family of estimators."""

from semantic_entropy.estimators.base import EntropyEstimator
from semantic_entropy.estimators.counts import Discrete, Majority, Margin, NumSets
from semantic_entropy.estimators.likelihood import Likelihood, Predictive

__all__ = ["Discrete", "EntropyEstimator", "Likelihood", "Majority", "Margin", "NumSets", "Predictive"]

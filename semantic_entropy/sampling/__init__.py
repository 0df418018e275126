"""Draw responses from a language model: the `Sampler` interface, draws for many questions, and the store on disk."""

from semantic_entropy.sampling.adaptive import AdaptiveRun, StoppingRule, stopping_rule
from semantic_entropy.sampling.base import Sampler
from semantic_entropy.sampling.draw import (
    SampledQuestion,
    SampleMemory,
    SamplingRun,
    check_questions,
    sample_and_measure,
)
from semantic_entropy.sampling.greedy import GreedyRun
from semantic_entropy.sampling.store import SampleStore
from semantic_entropy.types import Request, SampleFailure

__all__ = [
    "AdaptiveRun",
    "GreedyRun",
    "Request",
    "SampleFailure",
    "SampleMemory",
    "SampleStore",
    "SampledQuestion",
    "Sampler",
    "SamplingRun",
    "StoppingRule",
    "check_questions",
    "sample_and_measure",
    "stopping_rule",
]

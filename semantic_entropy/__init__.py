"""Semantic entropy: a measure of how much a language model is guessing.

Ask a model the same question several times. If the answers mean the same, the model probably knows the answer; if they
differ, it is guessing. Cluster the answers by meaning: p(c) = |c| / n, H = -sum p ln p (nats).

    >>> from semantic_entropy import estimate
    >>> estimate(["Paris", "It is Paris.", "Rome"], question="What is the capital of France?").labels
    (0, 0, 1)
"""

from typing import TYPE_CHECKING, Any

from semantic_entropy.clusters import Clusterer, Equivalence, load_extractor
from semantic_entropy.errors import (
    AmbiguousComponentError,
    EquivalenceError,
    EvidenceError,
    InputError,
    MissingDependencyError,
    OptionError,
    PluginError,
    SamplingError,
    SemanticEntropyError,
    UnknownComponentError,
    install_command,
    nearest,
)
from semantic_entropy.estimators import EntropyEstimator
from semantic_entropy.long_answers import LongAnswer, ScoredSentence
from semantic_entropy.one_call import aestimate, estimate, estimate_file
from semantic_entropy.registry import (
    load_clusterer,
    load_component,
    load_equivalence,
    load_estimator,
    load_sampler,
    register,
)
from semantic_entropy.results import BatchResult, Cluster, Provenance, Result
from semantic_entropy.sampling import Sampler
from semantic_entropy.scorer import Scorer
from semantic_entropy.types import Interval, Pair, Sample, Usage, Verdict

if TYPE_CHECKING:
    from semantic_entropy.io import RunSummary

__version__ = "0.2.0"

__all__ = [
    "AmbiguousComponentError",
    "BatchResult",
    "Cluster",
    "Clusterer",
    "EntropyEstimator",
    "Equivalence",
    "EquivalenceError",
    "EvidenceError",
    "InputError",
    "Interval",
    "LongAnswer",
    "MissingDependencyError",
    "OptionError",
    "Pair",
    "PluginError",
    "Provenance",
    "Result",
    "RunSummary",
    "Sample",
    "Sampler",
    "SamplingError",
    "ScoredSentence",
    "Scorer",
    "SemanticEntropyError",
    "UnknownComponentError",
    "Usage",
    "Verdict",
    "aestimate",
    "estimate",
    "estimate_file",
    "install_command",
    "load_clusterer",
    "load_component",
    "load_equivalence",
    "load_estimator",
    "load_extractor",
    "load_sampler",
    "nearest",
    "register",
]


if not TYPE_CHECKING:  # a type checker takes any name for right where it finds this function

    def __getattr__(name: str) -> Any:
        """Import the class of the summary of a file when it is used: the readers of all formats take long to import."""
        if name == "RunSummary":
            from semantic_entropy.io import RunSummary

            return RunSummary
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

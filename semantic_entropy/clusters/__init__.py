"""From responses to clusters: checked groups, extracted answers, judges, clusterers and conventions."""

from semantic_entropy.clusters.answers import load_extractor, strip_reasoning
from semantic_entropy.clusters.clusterers import Clusterer
from semantic_entropy.clusters.conventions import Convention, load_convention
from semantic_entropy.clusters.equivalence import Equivalence, FunctionEquivalence
from semantic_entropy.clusters.groups import as_lists, is_batch, is_missing, many_groups, one_group

__all__ = [
    "Clusterer",
    "Convention",
    "Equivalence",
    "FunctionEquivalence",
    "as_lists",
    "is_batch",
    "is_missing",
    "load_convention",
    "load_extractor",
    "many_groups",
    "one_group",
    "strip_reasoning",
]

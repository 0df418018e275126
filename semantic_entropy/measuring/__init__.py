"""From checked groups to results: judges, the pipeline of clusters, similarities, estimates."""

from semantic_entropy.measuring.judges import Options, Resources, check_options
from semantic_entropy.measuring.measurer import Measurer
from semantic_entropy.measuring.pipeline import judge_key, verdict_key
from semantic_entropy.measuring.replies import Interviewer
from semantic_entropy.measuring.result_builder import Method, NamedEstimator, check_is_read, name_estimators
from semantic_entropy.measuring.similarities import COMPARED, JACCARD, AnySimilarity, Similarity, load_similarity
from semantic_entropy.measuring.supporting_samples import AnySupport, LongAnswerMeasurer, measurer_of

__all__ = [
    "COMPARED",
    "JACCARD",
    "AnySimilarity",
    "AnySupport",
    "Interviewer",
    "LongAnswerMeasurer",
    "Measurer",
    "Method",
    "NamedEstimator",
    "Options",
    "Resources",
    "Similarity",
    "check_is_read",
    "check_options",
    "judge_key",
    "load_similarity",
    "measurer_of",
    "name_estimators",
    "verdict_key",
]

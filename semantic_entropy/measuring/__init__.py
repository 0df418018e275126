"""From checked groups to results: judges, the pipeline of clusters, similarities, estimates."""

from semantic_entropy.measuring.claim_extraction import MOST_CLAIMS, AnyClaims
from semantic_entropy.measuring.judges import Options, Resources, check_options
from semantic_entropy.measuring.measurer import AnyEstimator, Measurer, chosen_estimators
from semantic_entropy.measuring.pipeline import judge_key, verdict_key
from semantic_entropy.measuring.replies import Interviewer
from semantic_entropy.measuring.result_builder import Method, check_is_read
from semantic_entropy.measuring.similarities import COMPARED, JACCARD, AnySimilarity, Similarity, load_similarity
from semantic_entropy.measuring.supporting_samples import NO_SENTENCES, AnySupport, LongChoices, measurer_of

__all__ = [
    "COMPARED",
    "JACCARD",
    "MOST_CLAIMS",
    "NO_SENTENCES",
    "AnyClaims",
    "AnyEstimator",
    "AnySimilarity",
    "AnySupport",
    "Interviewer",
    "LongChoices",
    "Measurer",
    "Method",
    "Options",
    "Resources",
    "Similarity",
    "check_is_read",
    "check_options",
    "chosen_estimators",
    "judge_key",
    "load_similarity",
    "measurer_of",
    "verdict_key",
]

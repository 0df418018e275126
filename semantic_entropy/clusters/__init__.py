"""From responses to clusters: checked groups, extracted answers, judges, clusterers and conventions."""

from semantic_entropy.clusters.answers import WHOLE_TEXT, is_doubted, load_extractor, strip_reasoning, whole
from semantic_entropy.clusters.chat_replies import OF_REPLIES, is_messages, last_user_turn, read_replies
from semantic_entropy.clusters.clusterers import Clusterer
from semantic_entropy.clusters.conventions import Convention, load_convention
from semantic_entropy.clusters.equivalence import Equivalence, FunctionEquivalence
from semantic_entropy.clusters.given_evidence import (
    EVIDENCE_FIELDS,
    LOWEST_LOGPROB,
    evidence_of_samples,
    greedy_answer,
    without_dropped,
)
from semantic_entropy.clusters.groups import as_lists, evidence_arguments, is_batch, is_missing, many_groups, one_group
from semantic_entropy.clusters.missing_answers import is_error_message

__all__ = [
    "EVIDENCE_FIELDS",
    "LOWEST_LOGPROB",
    "OF_REPLIES",
    "WHOLE_TEXT",
    "Clusterer",
    "Convention",
    "Equivalence",
    "FunctionEquivalence",
    "as_lists",
    "evidence_arguments",
    "evidence_of_samples",
    "greedy_answer",
    "is_batch",
    "is_doubted",
    "is_error_message",
    "is_messages",
    "is_missing",
    "last_user_turn",
    "load_convention",
    "load_extractor",
    "many_groups",
    "one_group",
    "read_replies",
    "strip_reasoning",
    "whole",
    "without_dropped",
]

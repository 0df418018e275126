"""From scores to decisions: the threshold above which a judge's score means "the same", and the labels of groups.

This folder is also the place of calibration, guarantees, drift and gates on the entropy of a group.
"""

from semantic_entropy.decisions.gate import GateSummary, RowGate, entropy_rule, why_unusable
from semantic_entropy.decisions.judge_tuning import (
    DEFAULT_FIELDS,
    LabelledPair,
    QualityComparison,
    ThresholdReport,
    read_labelled_pairs,
    tune_threshold,
)
from semantic_entropy.decisions.labels import LABEL_RULES, GroupLabel, LabelRule, group_label
from semantic_entropy.decisions.thresholds import CrossValidation, Quality, best_threshold, cross_validate, quality

__all__ = [
    "DEFAULT_FIELDS",
    "LABEL_RULES",
    "CrossValidation",
    "GateSummary",
    "GroupLabel",
    "LabelRule",
    "LabelledPair",
    "Quality",
    "QualityComparison",
    "RowGate",
    "ThresholdReport",
    "best_threshold",
    "cross_validate",
    "entropy_rule",
    "group_label",
    "quality",
    "read_labelled_pairs",
    "tune_threshold",
    "why_unusable",
]

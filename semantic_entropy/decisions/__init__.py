"""From scores to decisions. Today: the threshold above which a judge's score means "the same".

This folder is also the place of labels, calibration, guarantees, drift and gates on the entropy of a group.
"""

from semantic_entropy.decisions.judge_tuning import (
    DEFAULT_FIELDS,
    LabelledPair,
    QualityComparison,
    ThresholdReport,
    read_labelled_pairs,
    tune_threshold,
)
from semantic_entropy.decisions.thresholds import CrossValidation, Quality, best_threshold, cross_validate, quality

__all__ = [
    "DEFAULT_FIELDS",
    "CrossValidation",
    "LabelledPair",
    "Quality",
    "QualityComparison",
    "ThresholdReport",
    "best_threshold",
    "cross_validate",
    "quality",
    "read_labelled_pairs",
    "tune_threshold",
]

"""From scores to decisions: the threshold above which a judge's score means "the same", and the labels of groups.

`calibration` maps scores to p(wrong) and a threshold, `conditions` says for which results, `guarantee` certifies the
threshold. This folder is also the place of drift and gates on the entropy of a group.
"""

from semantic_entropy.decisions.calibration import METHODS, Calibration, CalibrationMethod
from semantic_entropy.decisions.conditions import Conditions, Origin
from semantic_entropy.decisions.gate import ACTIONS, MIN_COMPARED, MIN_SAMPLES, Action, Decision, decide, why_unusable
from semantic_entropy.decisions.guarantee import DELTA, Guarantee, labels_needed, learn_then_test
from semantic_entropy.decisions.judge_tuning import (
    DEFAULT_FIELDS,
    LabelledPair,
    QualityComparison,
    ThresholdReport,
    read_labelled_pairs,
    tune_threshold,
)
from semantic_entropy.decisions.labels import LABEL_RULES, GroupLabel, LabelRule, group_label
from semantic_entropy.decisions.row_gate import FlagCount, GateSummary, RowGate, all_rules, decision_rule, entropy_rule
from semantic_entropy.decisions.thresholds import CrossValidation, Quality, best_threshold, cross_validate, quality

__all__ = [
    "ACTIONS",
    "DEFAULT_FIELDS",
    "DELTA",
    "LABEL_RULES",
    "METHODS",
    "MIN_COMPARED",
    "MIN_SAMPLES",
    "Action",
    "Calibration",
    "CalibrationMethod",
    "Conditions",
    "CrossValidation",
    "Decision",
    "FlagCount",
    "GateSummary",
    "GroupLabel",
    "Guarantee",
    "LabelRule",
    "LabelledPair",
    "Origin",
    "Quality",
    "QualityComparison",
    "RowGate",
    "ThresholdReport",
    "all_rules",
    "best_threshold",
    "cross_validate",
    "decide",
    "decision_rule",
    "entropy_rule",
    "group_label",
    "labels_needed",
    "learn_then_test",
    "quality",
    "read_labelled_pairs",
    "tune_threshold",
    "why_unusable",
]

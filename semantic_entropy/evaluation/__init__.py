"""How well scores find wrong answers, on labelled groups: `evaluate` a file or rows, `compare` arrays.

    >>> from semantic_entropy.evaluation import compare
    >>> table = compare({"entropy": [0.9, 0.1, 0.5, 0.0]}, wrong=[True, False, True, False])
    >>> table["entropy"].auroc.value
    1.0

The modules are: `metrics` (AUROC, AURAC, PRR and others, for all resamples of a bootstrap at once), `comparison`
(several scores with intervals and paired tests), `labelled_scores` (reads or measures labelled rows), `evaluation`
(`evaluate` and its report), `fitting` (scores that learn from labels), and `picture` (the curves). `calibrating` learns
a calibration (`calibrate`), with `calibration_fit`, `calibration_report` and `calibration_picture`.
`import semantic_entropy` does not import this folder.
"""

from semantic_entropy.evaluation.calibrating import calibrate
from semantic_entropy.evaluation.calibration_report import CalibrationReport
from semantic_entropy.evaluation.comparison import Difference, MetricValue, ScoreMetrics, ScoreTable, compare
from semantic_entropy.evaluation.evaluation import Evaluation, evaluate

__all__ = [
    "CalibrationReport",
    "Difference",
    "Evaluation",
    "MetricValue",
    "ScoreMetrics",
    "ScoreTable",
    "calibrate",
    "compare",
    "evaluate",
]

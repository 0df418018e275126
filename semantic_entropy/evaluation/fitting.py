"""Fit `wepr` or `probe` on labelled rows, and score each row with weights that have not seen its label.

The rows are split into five folds, stratified by label; rows with the same question are in one fold. Each fold is
scored by an estimator that was fitted on the other four. Then one estimator is fitted on all rows and written to the
file of the caller. So the metrics are those of the method, on new rows of the same kind; no score is of a training row.

Rows without the evidence (`top_logprobs`, `hidden_state`) are not fitted on, and their score is unknown.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semantic_entropy.clusters.given_evidence import check_evidence
from semantic_entropy.errors import EvidenceError, InputError, MissingDependencyError, install_command
from semantic_entropy.estimators.fitted import WEPR, Probe, fit_probe, fit_wepr
from semantic_entropy.plain_text import one_writing
from semantic_entropy.types import Evidence

FITTED: Mapping[str, tuple[Any, Any]] = {"probe": (Probe, fit_probe), "wepr": (WEPR, fit_wepr)}
"""The estimators that can be fitted: the class, and the function that writes its file."""
_FOLDS = 5
_FEWEST = 15  # of each label: four fifths of them are more than the 10 that a fit needs
_SEED = 0


def check_fits(names: Sequence[str]) -> None:
    """Raise an error if an estimator cannot be fitted, before rows are measured."""
    for name in names:
        if name not in FITTED:
            raise InputError(f"{name!r} cannot be fitted: use one of {', '.join(FITTED)}")
    if names:
        try:
            import sklearn as _  # noqa: F401  # only whether it can be imported
        except ImportError as error:
            command = install_command("semantic-entropy[stats]")
            raise MissingDependencyError(f"fitting {', '.join(names)} needs scikit-learn: {command}") from error


def evidence_fields(names: Sequence[str]) -> frozenset[str]:
    """Return the fields of a row that these estimators are fitted on, and `question`, which keeps rows together."""
    return frozenset(FITTED[name][0].reads for name in names) | ({"greedy", "question"} if names else set())


def cross_fitted(
    name: str, rows: Sequence[Mapping[str, Any]], wrong: Sequence[bool], file: str, convention: str
) -> list[float]:
    """Fit an estimator, write it to the file, and return the cross-validated score (N,) of each row.

    Args:
        name: "probe" or "wepr".
        rows: (N,) the fields of `evidence_fields`.
        wrong: (N,) whether the answer is wrong.
        file: the file to write, after the folds.
        convention: what "wrong" means, for readers of the file.

    Raises:
        EvidenceError: no row has the evidence, or it cannot be used.
        InputError: there are too few right or wrong answers.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    kind, fit = FITTED[name]
    usable = [i for i, row in enumerate(rows) if _has(row, kind.reads)]
    if not usable:
        raise EvidenceError(
            f"{name} cannot be fitted: no labelled row has {kind.reads}, in the field greedy or for each response"
        )
    truth = np.array([wrong[i] for i in usable])
    numbers: dict[Any, int] = {}
    written = [one_writing(str(rows[i].get("question") or "")) or i for i in usable]
    questions = [numbers.setdefault(each, len(numbers)) for each in written]
    fewest = min(int(truth.sum()), int((~truth).sum()))
    if fewest < _FEWEST:
        raise InputError(
            f"{name}: {int(truth.sum())} wrong and {int((~truth).sum())} right answers with {kind.reads} are too few: "
            f"label at least {_FEWEST} of each"
        )
    scores = [math.nan] * len(rows)
    splitter = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=_SEED)
    with tempfile.TemporaryDirectory(prefix="semantic-entropy-") as folder:
        path = str(Path(folder, "fold.json"))
        for train, rest in splitter.split(truth, truth, questions):
            fit([rows[usable[i]] for i in train], list(map(bool, truth[train])), path, convention=convention)
            estimator = kind(file=path)
            for i in rest:
                scores[usable[i]] = _score(estimator, rows[usable[i]], kind.reads, usable[i])
    fit([rows[i] for i in usable], list(map(bool, truth)), file, convention=convention)
    return scores


def _has(row: Mapping[str, Any], name: str) -> bool:
    greedy = row.get("greedy")
    if isinstance(greedy, Mapping):
        return greedy.get(name) is not None
    return row.get(name) is not None


def _score(estimator: Any, row: Mapping[str, Any], name: str, number: int) -> float:
    given = {key: row[key] for key in ("greedy", name) if row.get(key) is not None}
    size = len(given.get(name, ()))
    known = check_evidence(given, size, f"row {number}: ")
    evidence = Evidence((0,) * max(1, size), greedy=known.greedy, **{name: getattr(known, name)})
    estimator.check(evidence)
    return float(estimator.estimate(evidence).value)

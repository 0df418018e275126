"""Learn a calibration from labelled rows: `calibrate` reads or measures the rows, `CalibrationReport` shows the result.

The questions are split in two parts by a digest of their text, whatever the labels and the order of the rows:

    fit part (a fifth)      p(wrong) and a combination of scores are fitted; the thresholds to test are its quantiles
    certifying part         the threshold is certified; all numbers and pictures of the report are of these groups

The certifying part is the large one, because a guarantee needs many answered groups, and the two numbers of `platt` few
groups. Rows with the same question are in one part, and only one of them certifies: the exact test counts independent
groups. Case, spaces and the width of characters make no other question; a number in front of it does. A group that
`decide` defers whatever its score (fewer than two valid answers, or mostly invalid ones, or a main answer such as
"None") has no score: it is never answered, as `Calibration.apply` does.
"""

from __future__ import annotations

import hashlib
import math
import random
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import Any, Unpack

import numpy as np

from semantic_entropy.decisions import (
    DELTA,
    METHODS,
    Calibration,
    CalibrationMethod,
    Conditions,
    Guarantee,
    LabelRule,
    learn_then_test,
)
from semantic_entropy.decisions.calibration import CalibratedScore, LabelCounts, Mapped
from semantic_entropy.decisions.guarantee import FIT_SHARE, check_levels, sequence_of
from semantic_entropy.decisions.score_drift import QUESTIONS_KEPT, question_digests
from semantic_entropy.errors import InputError
from semantic_entropy.evaluation.calibration_fit import check_scikit_learn, fit_probability
from semantic_entropy.evaluation.calibration_report import CalibrationReport
from semantic_entropy.evaluation.evaluation import evaluate_file, new_columns, no_rows
from semantic_entropy.evaluation.fitting import FITTED
from semantic_entropy.evaluation.labelled_scores import (
    LabelledScores,
    MeasuredGroup,
    estimator_class,
    read_rows,
)
from semantic_entropy.io import InputOptions
from semantic_entropy.plain_text import one_writing, plural
from semantic_entropy.scorer import Choices, Scorer
from semantic_entropy.tables import FieldNames

DEFAULT_SCORE = "discrete"
_QUANTILES = 100  # steps of the quantiles that are kept to compare with later scores


def calibrate(
    source: str | PathLike[str] | Iterable[Mapping[str, Any]],
    *,
    score: str | Sequence[str] = (),
    method: CalibrationMethod = "platt",
    alpha: float = 0.1,
    delta: float = DELTA,
    label: LabelRule = "main",
    correct: str = "correct",
    confidence: Sequence[str] = (),
    model: str | None = None,
    fit_share: float = FIT_SHARE,
    fitted_elsewhere: Sequence[str] = (),
    seed: int = 0,
    output: str | PathLike[str] | None = None,
    responses: str = "responses",
    question: str | None = None,
    question_id: str | None = None,
    input_format: str | None = None,
    group_by: str | None = None,
    progress: bool | None = None,
    **choices: Unpack[Choices],
) -> CalibrationReport:
    """Learn p(wrong) and a threshold with a guarantee from labelled rows.

    Rows that `semantic-entropy estimate` measured have scores; other rows are measured first, with `choices`. Save the
    result with `report.calibration.save("calibration.json")`. Docs: how-to/decide.md.

    Args:
        source: the path of a file that `estimate_file` reads, or rows as dicts.
        score: the score to calibrate, or several scores, which a logistic regression combines; empty: "discrete".
        method: how p(wrong) depends on one score: "platt", "isotonic" or "histogram".
        alpha: the highest risk of a wrong answer among the answered groups.
        delta: the probability that the guarantee does not hold.
        label: what makes a group wrong, as in `evaluate`.
        correct: the field with the labels, as in `evaluate`.
        confidence: scores that are higher for more certain answers, if no estimator of their name says so.
        model: the model that gave the responses, if no sampler of this package drew them.
        fit_share: the share of the questions that p(wrong) is fitted on. The others certify the threshold.
        fitted_elsewhere: scores with weights that were fitted on labels ("wepr", "probe"): you confirm that they were
            fitted on other questions than these.
        seed: another number splits the questions in another way. Do not try several: the best of them has no guarantee.
        output: a file of JSON lines that keeps the results of rows that are measured; None: they are not kept.
        responses: the field that holds the responses.
        question: the field that holds the question; None: "question", else a common name.
        question_id: a field that rows about one question share, such as "doc_id". Rows with the same value count once,
            also if their texts differ; None: only rows with the same text do.
        input_format: the format of the file; None: found from its suffix and its first line.
        group_by: the field that the rows with the responses to one question share; None: a row has all responses.
        progress: True: show a progress bar while rows are measured. None: show it on a terminal.
        **choices: the arguments of `estimate` that set how rows without scores are measured.

    Raises:
        InputError: no row has a label or a score, the rows were measured with different choices, or an argument cannot
            be used.
        MissingDependencyError: scikit-learn is not installed.
        SemanticEntropyError: the errors of `estimate`.
    """
    names = FieldNames(responses, question)
    scores = check_arguments(score, method, alpha, delta, fit_share, fitted_elsewhere)
    columns = new_columns(label, correct, "source", scores, names)
    columns.question_id = question_id
    measuring = with_estimators(choices, scores)
    if isinstance(source, str | PathLike):
        evaluate_file(
            fspath(source),
            columns,
            lambda: Scorer(**measuring),
            given=[f"{name}=" for name in choices],
            output=None if output is None else fspath(output),
            names=names,
            options=InputOptions(input_format, group_by),
            progress=sys.stderr.isatty() if progress is None else progress,
        )
    else:
        read_rows(source, columns, lambda: Scorer(**measuring), given=[f"{name}=" for name in choices])
    return calibration_of(columns, method, alpha, delta, confidence, model, fit_share, fitted_elsewhere, seed)


def check_arguments(
    score: str | Sequence[str],
    method: str,
    alpha: float,
    delta: float,
    fit_share: float,
    fitted_elsewhere: Collection[str],
) -> tuple[str, ...]:
    """Return the names of the scores. Raise an error for arguments that cannot be used, before rows are measured."""
    check_scikit_learn()
    check_levels(alpha, delta)
    scores = (score,) if isinstance(score, str) else tuple(score) or (DEFAULT_SCORE,)
    if len(set(scores)) < len(scores):
        raise InputError(f"the scores {', '.join(scores)} name one score twice: name each once")
    if method not in METHODS:
        raise InputError(f"method={method!r} is unknown: use one of {', '.join(METHODS)}")
    if len(scores) > 1 and method != "platt":
        raise InputError(
            f"method={method!r} is for one score: {', '.join(scores)} are combined by logistic regression, which is "
            "method='platt'"
        )
    if not 0 < fit_share < 1:
        raise InputError(f"fit_share={fit_share} is the share of the questions that p(wrong) is fitted on: in (0, 1)")
    for name in scores:
        if name.partition("(")[0] in FITTED and name not in fitted_elsewhere:
            raise InputError(
                f"the weights of {name!r} were fitted on labels, and nothing says on which: if they have seen these "
                f"rows, the guarantee is void. If they were fitted on other questions, say so: "
                f"--fitted-elsewhere {name} (fitted_elsewhere=[{name!r}])"
            )
    return scores


def with_estimators(choices: Mapping[str, Any], scores: Sequence[str]) -> Any:
    """Return the choices for rows without scores: the estimators are those of the scores, unless the caller names some.

    A score that no estimator has is a field of the rows, which are then not measured.
    """
    if choices.get("estimator") is not None or tuple(scores) == (DEFAULT_SCORE,):
        return dict(choices)
    return {**choices, "estimator": list(scores)}


def calibration_of(
    columns: LabelledScores,
    method: CalibrationMethod,
    alpha: float,
    delta: float,
    confidence: Sequence[str] = (),
    model: str | None = None,
    fit_share: float = FIT_SHARE,
    fitted_elsewhere: Sequence[str] = (),
    seed: int = 0,
) -> CalibrationReport:
    """Learn a calibration from these columns. The arguments are those of `calibrate`.

    Raises:
        InputError: there are too few rows, or rows that cannot be calibrated together.
    """
    if not columns.wrong:
        raise no_rows(columns, "calibrated")
    confidence = (confidence,) if isinstance(confidence, str) else tuple(confidence)
    certain, _, unknown = columns.direction_and_kind(confidence)
    names, notes = columns.names, []
    if undirected := [name for name in unknown if name in names]:
        notes.append(
            f"no estimator is named {', '.join(undirected)}: a higher value counts as more uncertain "
            "(--confidence NAME turns a score round)"
        )
    conditions = _conditions(columns, names, model, notes)
    wrong = np.array(columns.wrong, dtype=bool)
    fit, certify = _parts(columns.measured, fit_share, seed, notes)
    known = [_is_known(columns, i, conditions) for i in range(len(wrong))]
    rows = [{name: columns.scores[name][i] if known[i] else math.nan for name in names} for i in range(len(wrong))]
    scores = tuple(CalibratedScore(name, name not in certain) for name in names)
    parameters = _fitted(scores, [rows[i] for i in fit], wrong[fit], method, notes)
    shell = Calibration(
        scores=scores,
        method=method,
        parameters=parameters,
        conditions=conditions,
        labels=LabelCounts(
            n_fit=len(fit),
            n_certify=len(certify),
            wrong_fit=int(wrong[fit].sum()),
            wrong_certify=int(wrong[certify].sum()),
            rule=columns.rule,
            questions=question_digests(group.question for group in columns.measured)[:QUESTIONS_KEPT],
            judged=columns.judged.total(),
            fitted_elsewhere=tuple(name for name in fitted_elsewhere if name in names),
        ),
        guarantee=Guarantee(alpha, delta, None, "", len(certify), 0, 0, None, 0),
    )
    risks = [shell.risk_score(row) for row in rows]
    thresholds = sequence_of([risks[i] for i in fit], len(certify), alpha, delta)
    guarantee = learn_then_test([risks[i] for i in certify], wrong[certify].tolist(), thresholds, alpha, delta)
    quantiles, missing = _quantiles(risks)
    if len(scores) > 1:
        values = zip(*map(shell.single_values, rows), strict=True)
        scores = tuple(
            replace(score, quantiles=found, unknown=without)
            for score, (found, without) in zip(scores, map(_quantiles, values), strict=True)
        )
    calibration = replace(shell, scores=scores, guarantee=guarantee, quantiles=quantiles, unknown=missing)
    return CalibrationReport(
        calibration=calibration,
        risks=tuple(risks[i] for i in certify),
        probabilities=tuple(calibration.p_wrong(rows[i]) for i in certify),
        wrong=tuple(map(bool, wrong[certify])),
        labelled_by=dict(columns.rules),
        judged=dict(columns.judged),
        unlabelled=columns.unlabelled,
        bad=columns.bad,
        bad_rows=tuple(columns.bad_rows),
        notes=tuple(notes),
    )


def _conditions(
    columns: LabelledScores, names: Sequence[str], model: str | None, notes: list[str]
) -> Conditions | None:
    """Return the conditions of all rows; None: the scores are those of another program."""
    origins = [group.origin for group in columns.measured]
    without = origins.count(None)
    if 0 < without < len(origins):
        raise InputError(
            f"{without} of {len(origins)} rows do not say how they were measured (their field 'provenance'), and the "
            "others do: calibrate them by themselves"
        )
    if without:
        notes.append(
            "the rows do not say how their scores were measured, so `estimate --calibration` refuses this file; use "
            "calibration.p_wrong(scores) in Python"
        )
        return None
    classes = [columns.estimators.get(name) or estimator_class(name) for name in names]
    reads = set[str]().union(*({*each.requires, *each.uses} for each in classes if each is not None))
    found = Conditions.of(
        [origin for origin in origins if origin is not None],
        names,
        model=model,
        reads=reads,
    )
    if found.model is None:
        notes.append(
            "the model is undeclared: name the model that gave the responses with --model NAME, so that the "
            "calibration is not used on another one"
        )
    if found.stopping_rule is None and found.fewest < found.most:
        notes.append(
            f"the rows have {found.fewest} to {found.most} responses: a score says less with fewer of them, so the "
            "guarantee is about such a mixture only. Calibrate the rows of one number by themselves"
        )
    return found


def _is_known(columns: LabelledScores, row: int, conditions: Conditions | None) -> bool:
    """Whether a calibration of these conditions would answer with a row at all."""
    group = columns.measured[row]
    if conditions is None or group.origin is None:
        return True
    return not conditions.gaps(group.origin, group.n_valid or 0, group.answer)


def _parts(
    groups: Sequence[MeasuredGroup], fit_share: float, seed: int, notes: list[str]
) -> tuple[list[int], list[int]]:
    """Return the rows of the fit part, and the certifying rows: one for each question of the other part."""
    questions = [group.question for group in groups]
    by_question: dict[int, list[int]] = {}
    for i, question in enumerate(_same_question(groups)):
        by_question.setdefault(question, []).append(i)
    written = [f"row {i}" if question is None else f"question {question}" for i, question in enumerate(questions)]
    name = {question: min(written[i] for i in rows) for question, rows in by_question.items()}  # in any order of rows
    ranked = sorted(
        by_question, key=lambda same: hashlib.sha256(f"{seed} {name[same]}".encode("utf-8", "surrogatepass")).digest()
    )
    n_fit = min(len(ranked) - 1, max(1, round(fit_share * len(ranked))))
    if without := sum(each.question is None and each.question_id is None for each in groups):
        notes.append(
            f"{plural(without, 'row')} without a question: each counts as a question of its own, so the guarantee is "
            "void if some have the same one (--question FIELD names the field)"
        )
    if len(ranked) < 2:
        raise InputError(
            f"{plural(len(questions), 'row')} with {plural(len(ranked), 'question')}: a calibration needs some hundred "
            "different questions (--question FIELD names the field)"
        )
    draw = random.Random(seed)
    fit = [i for key in ranked[:n_fit] for i in by_question[key]]
    certify = [draw.choice(by_question[key]) for key in ranked[n_fit:]]
    if left_out := len(questions) - len(fit) - len(certify):
        notes.append(
            f"{plural(left_out, 'row')} of the certifying part with the question of another row left out: the exact "
            "test counts independent groups"
        )
    return fit, certify  # in the order of the digests: the order of the rows changes no digit of a fit


def _quantiles(values: Sequence[float]) -> tuple[tuple[float, ...], int]:
    """Return the known values at equal steps, and the number of unknown ones."""
    known = np.array([value for value in values if not math.isnan(value)])
    steps = np.linspace(0, 1, _QUANTILES + 1)
    found = np.quantile(known, steps, method="inverted_cdf") if len(known) else ()
    return tuple(map(float, found)), len(values) - len(known)


def _same_question(groups: Sequence[MeasuredGroup]) -> list[int]:
    """Return for each row the number of its question: rows with the same text have one, and rows with the same id."""
    parent = list(range(len(groups)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, group in enumerate(groups):
        text = None if group.question is None else one_writing(group.question)
        for key in (("text", text), ("id", group.question_id)):
            if key[1] is not None:
                parent[root(i)] = root(first.setdefault((key[0], key[1]), i))
    return [root(i) for i in range(len(groups))]


def _fitted(
    scores: Sequence[CalibratedScore],
    rows: Sequence[Mapping[str, float]],
    wrong: Any,
    method: CalibrationMethod,
    notes: list[str],
) -> Mapped:
    signs = np.array([1.0 if score.higher_is_uncertain else -1.0 for score in scores])
    values = np.array([[row[score.name] for score in scores] for row in rows]) * signs
    has_scores = ~np.isnan(values).any(axis=1)
    values, wrong = values[has_scores], wrong[has_scores]
    if not len(values):
        raise InputError(
            f"no row of the fit part has {' and '.join(score.name for score in scores)}: nothing can be fitted"
        )
    if wrong.all() or not wrong.any():
        kind = "wrong" if wrong.all() else "right"
        notes.append(
            f"all {len(wrong)} answers of the fit part are {kind}, so p(wrong) is one number for all scores: label more"
        )
    parameters = fit_probability(values, wrong, method)
    if len(scores) == 1 and parameters.weights and parameters.weights[0] < 0:
        notes.append(
            f"in the fit part, answers with a more uncertain {scores[0].name} are less often wrong: p(wrong) falls as "
            "the score rises, and a threshold on this score makes no sense"
        )
    return parameters

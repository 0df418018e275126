"""Collect the scores and the labels of rows, and measure the rows that have no scores yet.

A row is scored if it has `scores` (the field that `semantic-entropy estimate` writes, or a mapping from names to
numbers of other origin), or a field that the caller names as a score. Rows without scores are measured as
`semantic-entropy estimate` measures them, into an output that a later call continues.

An estimator says in which direction its score goes (`higher_is_uncertain`) and whether it is a probability. Of a score
that no estimator has, a higher value is more uncertain, unless the caller says that it is a confidence. The baseline
`length` is added to rows that have their responses.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from semantic_entropy.clusters import EVIDENCE_FIELDS, is_missing, read_replies
from semantic_entropy.decisions import LabelRule, Origin, group_label
from semantic_entropy.decisions.stored_results import check_stored
from semantic_entropy.errors import InputError, SemanticEntropyError, nearest
from semantic_entropy.estimators.tokens import Length
from semantic_entropy.io import FileRun, InputOptions, RunSummary, check_row, open_reader
from semantic_entropy.plain_text import one_line, one_writing, show_value
from semantic_entropy.registry import default_registry
from semantic_entropy.scorer import Scorer
from semantic_entropy.tables import FieldNames, bare_name, free_name
from semantic_entropy.types import Evidence, Sample

ScoredRow = tuple[str, Mapping[str, Any] | None, str]
"""The place of a row for messages, its fields, and its problem: empty if it has none. Without fields it has one."""
OpenScorer = Callable[[], AbstractContextManager[Scorer]]
LENGTH = Length.name
_JUDGE = "judge "
_SHOWN = 10  # number of bad rows that are listed


class MeasuredGroup(NamedTuple):
    """What a calibration needs to know of a row.

    Attributes:
        question: the question; None: the row has none.
        question_id: the value of the field that the caller names as the identity of the question; None: none is named.
        origin: how the row was measured; None: another program computed the scores.
        n_valid: the number of valid answers; None: not known.
        answer: the main answer; None: not known, or there is none.
    """

    question: str | None
    origin: Origin | None
    n_valid: int | None
    answer: str | None = None
    question_id: str | None = None


@dataclass(slots=True)
class LabelledScores:
    """The scores and labels of N rows, as columns.

    Attributes:
        names: the scores that the caller chose; empty: all scores of the rows.
        rule: what "wrong" means, see `semantic_entropy.decisions.labels`.
        correct: the field with the labels of the responses.
        by: the field with the source of a row.
        fields: the names of the fields with the responses, for the baseline `length`.
        scores: (N,) values of each score; nan: unknown.
        wrong: (N,) whether the answer is wrong.
        sources: (N,) the source of each row; empty text: none.
        rules: the numbers of rows that each rule decided.
        questions: the different questions of the rows, each in one writing.
        repeated: the number of rows with the question of an earlier row.
        judged: the numbers of labels by judges (`semantic-entropy label --gold`), by the name of the judge.
        unlabelled: the number of rows without a label, which are left out.
        bad: the number of rows that cannot be used, which are left out.
        bad_rows: what is wrong with the first ten of them.
        estimators: the estimators that measured the rows, by name.
        keep: the fields of the rows that are kept, for estimators that are fitted on them.
        kept: (N,) these fields of each row.
        measured: (N,) what a calibration needs to know of each row.
        question_id: the field that rows about one question share; None: only equal texts are one question.
    """

    names: tuple[str, ...]
    rule: LabelRule
    correct: str
    by: str
    fields: FieldNames = field(default_factory=FieldNames)
    scores: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[bool] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    questions: set[str] = field(default_factory=set)
    repeated: int = 0
    judged: Counter[str] = field(default_factory=Counter)
    unlabelled: int = 0
    bad: int = 0
    bad_rows: list[str] = field(default_factory=list)
    estimators: dict[str, Any] = field(default_factory=dict)
    keep: frozenset[str] = frozenset()
    kept: list[dict[str, Any]] = field(default_factory=list)
    measured: list[MeasuredGroup] = field(default_factory=list)
    question_id: str | None = None

    def is_scored(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has scores."""
        return isinstance(result_field(row, "scores"), Mapping) or any(name in row for name in self.names)

    def add_all(self, rows: Iterable[ScoredRow]) -> None:
        """Add the rows with a label and scores, and count the others.

        Raises:
            InputError: no row has a score that the caller chose.
        """
        available: dict[str, None] = {}
        for place, row, problem in rows:
            try:
                if row is None:
                    raise InputError(problem)  # noqa: TRY301  # reported like the problems below
                self._add(row, available)
            except InputError as error:
                self.bad += 1
                if len(self.bad_rows) < _SHOWN:
                    self.bad_rows.append(one_line(f"{place}: {error}"))
        for name in self.names:
            if self.wrong and all(map(math.isnan, self.scores[name])):
                known = ", ".join(available) or "none"
                if name in available:
                    raise InputError(
                        f"no row has a value of the score {name!r}: all {len(self.wrong)} are null, nan or infinite. "
                        "Measure the rows again, or choose another score"
                    )
                raise InputError(
                    f"no row has the score {name!r}; there are {known}.{nearest(name, available)} A score is a number "
                    "in a field of the rows, or the name of an estimator that measured them"
                )

    def add_measured(self, rows: Iterable[ScoredRow], scorer: Scorer) -> None:
        """Add rows that this scorer measured."""
        self.estimators = {each.name: each for each in scorer.components["estimators"]}
        self.add_all(rows)

    def direction_and_kind(self, confidences: Collection[str]) -> tuple[set[str], set[str], list[str]]:
        """Return the names of confidences, of probabilities, and of scores whose direction nobody states.

        Args:
            confidences: the scores that the caller names as confidences.
        """
        certain, probabilities, unknown = set(confidences), set(), []
        for name in self.scores:
            estimator = self.estimators.get(name) or estimator_class(name)
            if estimator is None and name not in certain:
                unknown.append(name)
            if not getattr(estimator, "higher_is_uncertain", True):
                certain.add(name)
            if getattr(estimator, "is_probability", False):
                probabilities.add(name)
        return certain, probabilities, unknown

    def _add(self, row: Mapping[str, Any], available: dict[str, None]) -> None:
        given = result_field(row, "scores")
        has_result = result_field(row, "provenance") is not None
        check_stored(result_fields(row))
        clusters = result_field(row, "labels") if has_result else None
        scores = {str(name): value for name, value in given.items()} if isinstance(given, Mapping) else {}
        scores |= {name: row[name] for name in self.names if name in row and name not in scores}
        if not scores:
            raise InputError("no scores, and other rows have them: measure all rows, or none")
        available |= dict.fromkeys(scores)
        values = {name: _number(name, scores.get(name)) for name in self.names or scores}
        if LENGTH not in values and (length := self._length(row)) is not None:
            values[LENGTH] = length
        label = group_label(row, self.rule, clusters, self.correct)
        if self.question_id is not None and is_missing(row.get(self.question_id)):
            raise InputError(f"the field {self.question_id!r}, which names the question, is missing or empty")
        if label is None:
            self.unlabelled += 1
            return
        for name in values:
            self.scores.setdefault(name, [math.nan] * len(self.wrong))
        for name, column in self.scores.items():
            column.append(values.get(name, math.nan))
        _, question = self.fields.question_in(row)
        if isinstance(question, str):
            written = one_writing(question)
            self.repeated += written in self.questions
            self.questions.add(written)
        source = row.get(self.by)
        self.wrong.append(label.wrong)
        self.sources.append("" if source is None else str(source))
        self.rules[label.rule] += 1
        if label.rule == "main" and (judge := judge_of_label(row)):
            self.judged[judge] += 1
        kept = {name: row[name] for name in sorted(self.keep) if name in row}
        replies = read_replies(row.get(self.fields.responses_field(row))) if self.keep - kept.keys() else None
        of_replies = replies.evidence if replies else {}
        self.kept.append({**{name: of_replies[name] for name in self.keep & of_replies.keys()}, **kept})
        group = _measured_group(row, None if question is None else str(question))
        named = None if self.question_id is None else str(row[self.question_id])
        self.measured.append(group._replace(question_id=named))

    def _length(self, row: Mapping[str, Any]) -> float | None:
        """Return the baseline that each score must beat; None: the row does not have its responses as texts."""
        responses, greedy = row.get(self.fields.responses_field(row)), row.get("greedy")
        if columns := self.fields.response_columns(tuple(row)):
            responses = [row[name] for name in columns if row[name] not in (None, "")]
        if replies := read_replies(responses):
            responses = replies.texts
        if not isinstance(responses, list) or not responses or not all(isinstance(text, str) for text in responses):
            return None
        text = _text_of_greedy(greedy)
        answer = None if text is None else Sample(text)
        evidence = Evidence((0,) * len(responses), responses=tuple(responses), greedy=answer)
        return Length().estimate(evidence).value


def _text_of_greedy(greedy: Any) -> str | None:
    if isinstance(greedy, Mapping) and isinstance(greedy.get("text"), str):
        return str(greedy["text"])
    replies = read_replies(greedy)
    return replies.texts[0] if replies and len(replies.texts) == 1 else None


def result_field(row: Mapping[str, Any], name: str) -> Any:
    """Return the field of a result in an output row. It has a prefix if the row had a field of this name before."""
    found = max((key for key in row if bare_name(str(key)) == name), key=len, default=None)
    return None if found is None else row[found]


def judge_of_label(row: Mapping[str, Any]) -> str | None:
    """Return the judge that labelled the main answer (`semantic-entropy label --gold`); None: it was no judge."""
    label = result_field(row, "label")
    by = label.get("by") if isinstance(label, Mapping) else None
    return by.removeprefix(_JUDGE) if isinstance(by, str) and by.startswith(_JUDGE) else None


def result_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an output row by their names without prefixes, as `result_field` finds each of them."""
    return {bare_name(str(key)): row[key] for key in sorted(row, key=lambda key: len(str(key)))}


def read_file(
    name: str,
    columns: LabelledScores,
    open_scorer: OpenScorer,
    *,
    given: Collection[str],
    output: str,
    names: FieldNames,
    options: InputOptions,
    progress: bool,
    on_run: Callable[[FileRun], object] = lambda _: None,
) -> RunSummary | None:
    """Add the rows of a file. Return the summary of measuring; None: the rows had scores.

    Args:
        name: the path of the file.
        columns: where the rows are added.
        open_scorer: opens the scorer that measures the rows.
        given: the choices of the caller that set how rows are measured, for the error if they are scored already.
        output: the file for the results of rows that are measured. A finished part of it is kept.
        names: the names of the fields that are measured.
        options: how the file is read.
        progress: whether a progress bar is shown while rows are measured.
        on_run: called with the run before rows are measured.
    """
    first = _first_row(name, names, options)
    if first is not None and columns.is_scored(first):
        _check_unused(given, name)
        reader = open_reader(name, names, options)
        with contextlib.closing(reader.rows()) as rows:
            columns.add_all((f"{name}, {reader.unit} {row.number}", row.fields, row.problem or "") for row in rows)
        return None
    with open_scorer() as scorer:
        run = FileRun(scorer, name, output, names=names, overwrite=False, strict=False, options=options)
        on_run(run)
        summary = run.execute(progress=progress)
        columns.add_measured(_measured_lines(Path(output), name), scorer)
    columns.bad += summary.rejected
    return summary


def read_rows(
    rows: Iterable[Mapping[str, Any]], columns: LabelledScores, open_scorer: OpenScorer, *, given: Collection[str]
) -> None:
    """Add rows of the caller. Rows without scores are measured. The arguments are those of `read_file`.

    Raises:
        InputError: a row cannot be measured, or choices are given for rows with scores.
    """
    listed = list(rows)
    for i, row in enumerate(listed):
        if not isinstance(row, Mapping):
            raise InputError(
                f"row {i} is {show_value(row)}; pass dicts (of a table: its to_dict('records')), or the path of a file"
            )
    if listed and not columns.is_scored(listed[0]):
        with open_scorer() as scorer:
            measured = _measured(listed, scorer)
            columns.add_measured(((f"row {i}", row, "") for i, row in enumerate(measured)), scorer)
    else:
        _check_unused(given if listed else (), "row 0")
        columns.add_all((f"row {i}", row, "") for i, row in enumerate(listed))


def _check_unused(given: Collection[str], scored: str) -> None:
    if given:
        raise InputError(
            f"{scored} has scores already, so {', '.join(given)} cannot change them: leave this out, or pass rows "
            "without scores"
        )


def _measured_group(row: Mapping[str, Any], question: str | None) -> MeasuredGroup:
    provenance, labels = result_field(row, "provenance"), result_field(row, "labels")
    try:
        origin = Origin.of(provenance, len(labels) if isinstance(labels, list) else None)
    except InputError:
        return MeasuredGroup(question, None, None)
    n_valid, answer = result_field(row, "n_valid"), result_field(row, "answer")
    known = n_valid if isinstance(n_valid, int) else None
    return MeasuredGroup(question, origin, known, answer if isinstance(answer, str) else None)


def estimator_class(name: str) -> Any:
    """Return the estimator of this name, which may have options in parentheses; None: there is none."""
    try:
        return default_registry().find("estimator", name.partition("(")[0]).component.load()
    except (SemanticEntropyError, ImportError):
        return None


def _measured(rows: list[Mapping[str, Any]], scorer: Scorer) -> list[Mapping[str, Any]]:
    names = FieldNames(evidence=scorer.needs & set(EVIDENCE_FIELDS))
    groups = []
    for i, row in enumerate(rows):
        group, problem = check_row(row, names)
        if group is None:
            raise InputError(f"row {i}: {problem}")
        groups.append(group)
    results = scorer.measure(groups)
    return [
        {**row, **{free_name(name, row): value for name, value in result.to_dict().items()}}
        for row, result in zip(rows, results, strict=True)
    ]


def _first_row(name: str, names: FieldNames, options: InputOptions) -> Mapping[str, Any] | None:
    """Return the fields of the first row that has fields."""
    silent = contextlib.redirect_stderr(StringIO())  # the format is printed when the rows are read for good
    with silent, contextlib.closing(open_reader(name, names, options).rows()) as rows:
        return next((row.fields for row in rows if row.fields is not None), None)


def _measured_lines(path: Path, name: str) -> Iterator[ScoredRow]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            yield f"{name}, result {number}", json.loads(line), ""


def _number(name: str, value: Any) -> float:
    """Return a score; nan if it is not known. An infinite number is not known."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        try:
            value = float(str(value)) if not isinstance(value, bool) else None
        except ValueError:
            value = None
        if value is None:
            raise InputError(f"the score {name!r} is no number")
    return float(value) if math.isfinite(value) else math.nan

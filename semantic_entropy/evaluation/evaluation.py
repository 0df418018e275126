"""Evaluate scores on labelled rows: `evaluate` reads or measures the rows, `Evaluation` shows what was found."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import Any, Unpack

from semantic_entropy.decisions import LABEL_RULES, LabelRule
from semantic_entropy.errors import InputError, install_command
from semantic_entropy.evaluation.comparison import (
    COVERAGES,
    RESAMPLES,
    Difference,
    ScoreTable,
    compare,
    format_number,
    has_scikit_learn,
    mean_over,
)
from semantic_entropy.evaluation.fitting import FITTED, check_fits, cross_fitted, evidence_fields
from semantic_entropy.evaluation.labelled_scores import (
    LabelledScores,
    OpenScorer,
    read_file,
    read_rows,
)
from semantic_entropy.files import check_distinct
from semantic_entropy.io import FileRun, InputOptions, RunSummary, check_paths
from semantic_entropy.plain_text import plural, show_value, to_json_line
from semantic_entropy.progress import progress_bar
from semantic_entropy.scorer import Choices, Scorer
from semantic_entropy.tables import FieldNames

_MOST_SOURCES = 30  # with more values, the field is an identifier and not a source
_TITLES = {"auroc": "AUROC", "auprc": "AUPRC", "aurac": "AURAC", "prr": "PRR", "brier": "Brier", "ece": "ECE"}


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """How well scores find wrong answers. `str()` is a report with tables in Markdown.

    Attributes:
        overall: the metrics on all rows together.
        sources: the metrics on the rows of each source; empty if there are fewer than two sources.
        mean: the mean AUROC over the sources that have wrong and right answers; None: there are no sources.
        label: the rule that says which answers are wrong.
        labelled_by: the number of rows that each rule decided: `main` falls back to `majority` and `mean`.
        unlabelled: the number of rows without a label, which are left out.
        bad: the number of rows that could not be read or measured, which are left out.
        bad_rows: what is wrong with the first of them.
        notes: what a reader of the numbers must know.
        columns: the scores and labels that were evaluated.
        confidences: the scores that are higher for more certain answers, and were turned round.
    """

    overall: ScoreTable
    sources: Mapping[str, ScoreTable]
    mean: ScoreTable | None
    label: LabelRule
    labelled_by: Mapping[str, int]
    unlabelled: int
    bad: int
    bad_rows: tuple[str, ...]
    notes: tuple[str, ...]
    columns: LabelledScores = field(compare=False)
    confidences: frozenset[str] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """Return lists, dicts, texts and numbers, with None for nan."""
        return {
            "label": self.label,
            "labelled_by": dict(self.labelled_by),
            "unlabelled": self.unlabelled,
            "bad": self.bad,
            "bad_rows": list(self.bad_rows),
            "notes": list(self.notes),
            "turned_round": sorted(self.confidences & set(self.overall)),
            "overall": self.overall.to_dict(),
            "sources": {name: table.to_dict() for name, table in self.sources.items()},
            "mean_over_sources": self.mean and self.mean.to_dict(),
        }

    def to_json(self) -> str:
        """Return the evaluation as one line of JSON."""
        return to_json_line(self.to_dict())

    def to_markdown(self) -> str:
        """Return the report: what was evaluated, a table of all rows, and a table of the sources."""
        table = self.overall
        rules = ", ".join(f"{rule} {count:,}" for rule, count in self.labelled_by.items())
        share = f"{table.wrong:,} wrong ({table.wrong / table.groups:.1%})"
        lines = [f"{plural(table.groups, 'group')}, {share}; label: {self.label} (decided by {rules})"]
        lines += [f"left out: {plural(self.unlabelled, 'row')} without a label"] * bool(self.unlabelled)
        lines += [f"left out: {plural(self.bad, 'bad row')}", *self.bad_rows] * bool(self.bad)
        lines += [f"note: {note}" for note in self.notes]
        lines += ["", *_score_lines(table)]
        if self.mean:
            lines += ["", *_source_lines(self.sources, self.mean)]
        return "\n".join(lines)

    def save_picture(self, path: str | PathLike[str]) -> None:
        """Draw the ROC curves and the rejection curves of all rows. The suffix of the path is .png, .svg or .pdf.

        Raises:
            MissingDependencyError: matplotlib is not installed.
            InputError: the path has another suffix, or there are no wrong or no right answers.
        """
        from semantic_entropy.evaluation.picture import save_picture

        save_picture(self.columns.scores, self.columns.wrong, self.confidences, self.overall, fspath(path))

    __repr__ = to_markdown
    __str__ = to_markdown


def evaluate(
    source: str | PathLike[str] | Iterable[Mapping[str, Any]],
    *,
    label: LabelRule = "main",
    correct: str = "correct",
    by: str = "source",
    score: Sequence[str] = (),
    confidence: Sequence[str] = (),
    reference: str | None = None,
    coverage: Sequence[float] = COVERAGES,
    resamples: int = RESAMPLES,
    seed: int = 0,
    fit: Mapping[str, str | PathLike[str]] = MappingProxyType({}),
    output: str | PathLike[str] | None = None,
    responses: str = "responses",
    question: str | None = None,
    input_format: str | None = None,
    group_by: str | None = None,
    progress: bool | None = None,
    **choices: Unpack[Choices],
) -> Evaluation:
    """Evaluate how well scores find the wrong answers in labelled rows.

    Rows that `semantic-entropy estimate` measured have scores; other rows are measured first, with `choices`. Docs:
    how-to/evaluate.md.

    Args:
        source: the path of a file that `estimate_file` reads, or rows as dicts.
        label: what makes a group wrong: "main", "majority" or "mean". "main": the label of the main answer
            (`answer_correct`, `greedy.correct`); of a row without it, the majority of the largest cluster; without
            clusters, fewer than half of `correct`.
        correct: the field with one label for each response, or with one label for the main answer.
        by: the field with the source of a row. Each source gets its own table.
        score: the scores to evaluate; empty: all that the rows have. A field of the row can be a score, too.
        confidence: scores that are higher for more certain answers, if no estimator of their name says so.
        reference: the score that all others are compared with; None: the first one.
        coverage: shares of the groups that are kept, for the accuracy of the most certain ones.
        resamples: the number of resamples of the bootstrap.
        seed: the seed of the bootstrap and of the folds of the calibration.
        fit: files by the name of an estimator that is fitted on the labels, "probe" or "wepr". The files are written;
            `load_estimator("wepr", file=...)` reads one. The scores in the tables are cross-validated.
        output: a file of JSON lines that keeps the results of rows that are measured, so that a second call continues;
            None: they are not kept.
        responses: the field that holds the responses.
        question: the field that holds the question; None: "question", else a common name.
        input_format: the format of the file; None: found from its suffix and its first line.
        group_by: the field that the rows with the responses to one question share; None: a row has all responses.
        progress: True: show a progress bar while rows are measured and resampled. None: show it on a terminal.
        **choices: the arguments of `estimate` that set how rows without scores are measured.

    Raises:
        InputError: no row has a label, no row has a score, or an argument cannot be used.
        SemanticEntropyError: the errors of `estimate`.
    """
    names = FieldNames(responses, question)
    columns = new_columns(label, correct, by, score, names, tuple(fit))
    shown = sys.stderr.isatty() if progress is None else progress
    files = {name: fspath(file) for name, file in fit.items()}
    written = {f"file of fit {name!r}": file for name, file in files.items()}
    if isinstance(source, str | PathLike):
        check_paths(fspath(source), None if output is None else fspath(output), None, None, written=written)
        evaluate_file(
            fspath(source),
            columns,
            lambda: Scorer(**choices),
            given=[f"{name}=" for name in choices],
            output=None if output is None else fspath(output),
            names=names,
            options=InputOptions(input_format, group_by),
            progress=shown,
        )
    else:
        check_distinct({role: Path(file) for role, file in written.items()})
        for name, value in (("output", output), ("input_format", input_format), ("group_by", group_by)):
            if value is not None:
                raise InputError(f"{name}={show_value(value)} is for a file, and source has rows: leave it out")
        read_rows(source, columns, lambda: Scorer(**choices), given=[f"{name}=" for name in choices])
    return evaluation_of(columns, confidence, reference, coverage, resamples, seed, files, shown)


def new_columns(
    label: LabelRule, correct: str, by: str, score: Sequence[str], names: FieldNames, fits: Sequence[str] = ()
) -> LabelledScores:
    """Return empty columns. Raise InputError if the rule is unknown, or one of `fits` cannot be fitted."""
    check_fits(fits)
    if label not in LABEL_RULES:
        raise InputError(f"label={label!r} is unknown: use one of {', '.join(LABEL_RULES)}")
    scores = (score,) if isinstance(score, str) else tuple(score)
    return LabelledScores(scores, label, correct, by, names, keep=evidence_fields(fits))


def evaluate_file(
    name: str,
    columns: LabelledScores,
    open_scorer: OpenScorer,
    *,
    given: Sequence[str],
    output: str | None,
    names: FieldNames,
    options: InputOptions,
    progress: bool,
    on_run: Callable[[FileRun], object] = lambda _: None,
) -> RunSummary | None:
    """Add the rows of a file to the columns, as `read_file` does. Without an output, results are in a temporary file.

    Standard input ("-") is copied to a temporary file.
    """
    with tempfile.TemporaryDirectory(prefix="semantic-entropy-") as folder:
        if name == "-":
            name = str(Path(folder, "standard-input"))
            Path(name).write_bytes(sys.stdin.buffer.read())
        results = output or str(Path(folder, "measured.jsonl"))
        return read_file(
            name,
            columns,
            open_scorer,
            given=given,
            output=results,
            names=names,
            options=options,
            progress=progress,
            on_run=on_run,
        )


def evaluation_of(
    columns: LabelledScores,
    confidence: Sequence[str] = (),
    reference: str | None = None,
    coverage: Sequence[float] = COVERAGES,
    resamples: int = RESAMPLES,
    seed: int = 0,
    fit: Mapping[str, str] = MappingProxyType({}),
    progress: bool = False,
) -> Evaluation:
    """Compare the scores of these columns, overall and by source. The arguments are those of `evaluate`.

    Raises:
        InputError: there are no labelled rows, or an argument cannot be used.
    """
    confidence = (confidence,) if isinstance(confidence, str) else tuple(confidence)
    if not columns.wrong:
        raise no_rows(columns, "evaluated")
    notes = []
    if fitted := [name for name in columns.scores if name.partition("(")[0] in FITTED]:
        notes.append(
            f"{', '.join(fitted)}: fitted on labelled answers; if these rows are among them, the numbers are too good "
            "(--fit NAME FILE shows cross-validated ones)"
        )
    for name, file in fit.items():
        title = f"{name} (cross-validated)"
        columns.scores[title] = cross_fitted(name, columns.kept, columns.wrong, file, f"label {columns.rule}")
        columns.estimators[title] = FITTED[name][0]
        notes.append(f"{title}: weights that were fitted on other rows score each row; {file} is fitted on all rows")
    certain, probabilities, unknown = columns.direction_and_kind(confidence)
    probabilities |= {f"{name} (cross-validated)" for name in fit}  # of a wrong answer

    by_source: dict[str, list[int]] = {}
    for row, name in enumerate(columns.sources):
        by_source.setdefault(name, []).append(row)
    if len(by_source) > _MOST_SOURCES:
        notes.append(f"the field {columns.by!r} has {len(by_source):,} values, so there is no table by source")
    if not 1 < len(by_source) <= _MOST_SOURCES:
        by_source = {}

    def table(rows: Sequence[int]) -> ScoreTable:
        return compare(
            {name: [values[i] for i in rows] for name, values in columns.scores.items()},
            [columns.wrong[i] for i in rows],
            confidences=certain,
            probabilities=probabilities & columns.scores.keys(),
            coverages=coverage,
            reference=reference,
            resampled=resamples,
            seed=seed,
            advance=advance,
        )

    with progress_bar("resamples", resamples * (len(by_source) + 1), progress) as advance:
        overall = table(range(len(columns.wrong)))
        tables = {name: table(rows) for name, rows in by_source.items()}
    notes += _notes(overall, unknown, columns)
    return Evaluation(
        overall=overall,
        sources=tables,
        mean=mean_over(list(tables.values())) if tables else None,
        label=columns.rule,
        labelled_by=dict(columns.rules),
        unlabelled=columns.unlabelled,
        bad=columns.bad,
        bad_rows=tuple(columns.bad_rows),
        notes=tuple(notes),
        columns=columns,
        confidences=frozenset(certain),
    )


def no_rows(columns: LabelledScores, done: str) -> InputError:
    """Return the error for columns without a row. `done` says what cannot be done: "evaluated"."""
    return InputError(
        f"no row can be {done}: {plural(columns.unlabelled, 'row')} without a label, {plural(columns.bad, 'bad row')}. "
        f"The rule {columns.rule!r} reads {_label_fields(columns)}" + "".join(f"\n  {bad}" for bad in columns.bad_rows)
    )


def _label_fields(columns: LabelledScores) -> str:
    several = f"one label for each response in {columns.correct!r} (--correct FIELD names another field)"
    return several if columns.rule != "main" else f"answer_correct, greedy.correct, or {several}"


def _notes(overall: ScoreTable, unknown: Sequence[str], columns: LabelledScores) -> list[str]:
    notes = []
    if overall.wrong in (0, overall.groups):
        notes.append("all answers are " + ("wrong" if overall.wrong else "right") + ", so no score can be evaluated")
    if unknown:
        notes.append(
            f"no estimator is named {', '.join(unknown)}: a higher value counts as more uncertain (--confidence NAME "
            "turns a score round)"
        )
    if missing := [name for name in columns.scores if name not in overall]:
        notes.append(f"no row has a value of {', '.join(missing)}")
    few = min(overall.wrong, overall.groups - overall.wrong)
    if 0 < few < 30:  # below, the 95% interval of an AUROC of 0.8 is wider than 0.15
        kind = "wrong" if few == overall.wrong else "right"
        notes.append(
            f"only {few} of the {overall.groups:,} answers are {kind}: the intervals are wide and may be too narrow "
            "all the same"
        )
    if columns.repeated:
        notes.append(
            f"{plural(columns.repeated, 'row')} have the question of an earlier row; the intervals and p-values count "
            "all rows as independent, and are too narrow"
        )
    if not has_scikit_learn():
        notes.append(f"Brier score and ECE need scikit-learn: {install_command('semantic-entropy[stats]')}")
    return notes


def _score_lines(table: ScoreTable) -> list[str]:
    """Return a Markdown table with a line for each score."""
    metrics = list(dict.fromkeys(metric for score in table.values() for metric in score.metrics))
    metrics.remove("auroc")
    shown = [_TITLES.get(m, m.replace("brier", "Brier").replace("ece", "ECE").replace("_", " ")) for m in metrics]
    base = [format_number(table.base[metric]) for metric in metrics]
    lines = [
        ["score", "AUROC (95%)", f"AUROC - {table.reference} (95%)", "p", *shown, "unknown"],
        ["(base rate)", format_number(table.base["auroc"]), "", "", *base, ""],
    ]
    for name, score in table.items():
        values = [format_number(score.metrics[m].value) if m in score.metrics else "" for m in metrics]
        lines.append([name, str(score.auroc), *_difference_cells(score.difference), *values, f"{score.unknown:,}"])
    return markdown_table(lines)


def _source_lines(sources: Mapping[str, ScoreTable], mean: ScoreTable) -> list[str]:
    """Return a Markdown table with the AUROC of each score on each source, and the mean over the sources."""
    names = list(dict.fromkeys(name for table in sources.values() for name in table))
    lines = [
        ["AUROC", *(source or "(none)" for source in sources), "mean (95%)", f"mean - {mean.reference} (95%)", "p"],
        ["(wrong / groups)", *(f"{table.wrong:,} / {table.groups:,}" for table in sources.values()), "", "", ""],
    ]
    for name in names:
        values = [format_number(t[name].auroc.value) if name in t else "-" for t in sources.values()]
        found = [str(mean[name].auroc), *_difference_cells(mean[name].difference)] if name in mean else ["-", "", ""]
        lines.append([name, *values, *found])
    return markdown_table(lines)


def _difference_cells(difference: Difference | None) -> list[str]:
    if difference is None:
        return ["", ""]
    if math.isnan(difference.value):
        return ["-", "-"]
    value, low, high, p_value = difference
    interval = "" if math.isnan(low) else f" ({low:+.3f} to {high:+.3f})"
    return [f"{value:+.3f}{interval}", format_number(p_value)]


def markdown_table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table. All cells of a column have the same width."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells]

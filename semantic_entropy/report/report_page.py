"""Write the report: the page without data, and the data; `semantic_entropy.html_views.offline_page` makes one file.

Answers are untrusted text. They reach the page only as JSON that no browser executes, and the scripts put them into the
page as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import version
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from semantic_entropy.decisions import LABEL_RULES, Calibration, LabelRule
from semantic_entropy.errors import InputError
from semantic_entropy.files import check_distinct, replacement
from semantic_entropy.html_views.offline_page import offline_page
from semantic_entropy.io import InputOptions
from semantic_entropy.plain_text import one_line, plural, shorten, to_json_value
from semantic_entropy.report.curves import histogram, labelled_curves
from semantic_entropy.report.findings import (
    RankScore,
    ResponseAgreement,
    compared_by_words,
    equally_uncertain,
    rank_score,
    ranking,
    reasons,
    score_of,
    totals,
)
from semantic_entropy.report.least_supported import least_supported
from semantic_entropy.report.row_fields import Texts, row_fields, shown_answer
from semantic_entropy.report.scored_rows import ScoredRows, given_rows, read_scored, unmeasured_rows
from semantic_entropy.results import Result
from semantic_entropy.tables import FieldNames

_FIRST = 5  # number of answers that `str(summary)` lists
_SCRIPTS = ("elements.js", "charts.js", "sentences.js", "row.js", "table.js", "page.js")  # in this order: one script
_RANKED_BY: dict[RankScore, str] = {
    "p_wrong": "",
    "entropy": "",
    "unsupported": ", by how little the samples support the answers",
    "uncertainty": ", long answers by how little the samples support them, others by their entropy",
}

Source = str | PathLike[str] | Iterable[Mapping[str, Any] | Result]


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """What a report shows. `str()` is a message for the user.

    Attributes:
        path: the file.
        rows: the number of rows that it shows.
        left_out: the number of rows without a usable result.
        problems: what is wrong with the first of them.
        first: the rows to check first, as (id, question or answer, reason).
        size: the size of the file in bytes.
        equal: the number of rows that are as uncertain as the last one of `first`; 0: `first` has all of them.
        score: the score that rows are ranked by, see `semantic_entropy.report.findings`.
    """

    path: str
    rows: int
    left_out: int
    problems: tuple[str, ...]
    first: tuple[tuple[str, str, str], ...]
    size: int
    equal: int = 0
    score: RankScore = "entropy"

    def __str__(self) -> str:
        lines = [f"{self.path}: {plural(self.rows, 'row')}, {self.size / 1e6:.1f} MB"]
        if self.first:
            equal = f" ({self.equal:,} rows are as uncertain as the last of these)" if self.equal else ""
            lines += [f"check first{_RANKED_BY[self.score]}{equal}:"]
            lines += [
                f"  {one_line(name)}  {shorten(text, 60)}\n      {one_line(why)}" for name, text, why in self.first
            ]
        if self.left_out:
            lines += [f"left out: {plural(self.left_out, 'row')} without a usable result"]
            lines += [f"  {problem}" for problem in self.problems]
        return "\n".join(lines)


def write_report(
    source: Source,
    output: str | PathLike[str],
    *,
    title: str | None = None,
    questions: Sequence[str | None] | None = None,
    calibration: Calibration | str | PathLike[str] | None = None,
    label: LabelRule = "main",
    correct: str = "correct",
    responses: str = "responses",
    question: str | None = None,
    input_format: str | None = None,
) -> ReportSummary:
    """Write an HTML file that shows scored rows: how uncertain they are, and which answers to check first.

    The file needs no network and no other file. Docs: how-to/report.md.

    Args:
        source: the path of an output of `estimate_file`; or results; or rows as dicts with the fields of results.
        output: the file to write. An existing file is replaced.
        title: the heading of the report; None: the name of the source.
        questions: the question of each result, if `source` has results without questions.
        calibration: a calibration or its file: each row shows p(wrong) and what `decide` says; None: rows that were
            measured with a calibration show their p(wrong) and their flag.
        label: which label makes an answer wrong: "main", "majority" or "mean", as in `evaluate`.
        correct: the field with one label for each response, or with one label for the main answer.
        responses: the field that holds the responses.
        question: the field that holds the question; None: "question", else a common name.
        input_format: the format of the file; None: found from its suffix and its first line.

    Raises:
        InputError: no row has a result, the source is the output, or an argument cannot be used.
    """
    path = fspath(output)
    if isinstance(source, str | PathLike):
        check_distinct({"input": Path(fspath(source)), "report": Path(path)})
    names = FieldNames(responses, question)
    rows = _read(source, questions, calibration, label, correct, names, input_format)
    data, first = report_data(rows, _title(source, title))
    content = _page(data).encode()
    with replacement(Path(path)) as temporary:
        temporary.write_bytes(content)
    return ReportSummary(
        path=path,
        rows=len(rows.rows),
        left_out=rows.left_out,
        problems=tuple(rows.problems),
        first=first,
        size=len(content),
        equal=data["equal"] if first else 0,
        score=data["score"],
    )


def report_html(
    source: Source,
    *,
    title: str | None = None,
    questions: Sequence[str | None] | None = None,
    calibration: Calibration | str | PathLike[str] | None = None,
    label: LabelRule = "main",
    correct: str = "correct",
    responses: str = "responses",
    question: str | None = None,
    input_format: str | None = None,
) -> str:
    """Return the text of the report. The arguments and errors are those of `write_report`."""
    names = FieldNames(responses, question)
    rows = _read(source, questions, calibration, label, correct, names, input_format)
    return _page(report_data(rows, _title(source, title))[0])


def _title(source: Source, title: str | None) -> str:
    if title is not None:
        return title
    return Path(fspath(source)).name if isinstance(source, str | PathLike) else "Results"


def _read(
    source: Source,
    questions: Sequence[str | None] | None,
    calibration: Calibration | str | PathLike[str] | None,
    label: LabelRule,
    correct: str,
    names: FieldNames,
    input_format: str | None,
) -> ScoredRows:
    if label not in LABEL_RULES:
        raise InputError(f"label={label!r} is unknown: use one of {', '.join(LABEL_RULES)}")
    if isinstance(calibration, str | PathLike):
        calibration = Calibration.load(calibration)
    rows = ScoredRows(label, correct, names, calibration)
    if isinstance(source, str | PathLike):
        file = fspath(source)
        if questions is not None:
            raise InputError("questions= is for results; the rows of a file have a field with their question")
        rows.add_all(read_scored(file, names, InputOptions(input_format)))
        rows.unmeasured = unmeasured_rows(file)
    else:
        listed: Iterable[Any] = [source] if isinstance(source, Result) else source
        rows.add_all(given_rows(listed, questions, names))
    return rows


def _page(data: Mapping[str, Any]) -> str:
    script = "\n".join(map(_text, _SCRIPTS))
    return offline_page(_text("page.html"), _text("page.css"), script, data)


def report_data(rows: ScoredRows, title: str) -> tuple[dict[str, Any], tuple[tuple[str, str, str], ...]]:
    """Return the data of the page, and the rows to check first as (id, question or answer, reason)."""
    agreements = [ResponseAgreement.of(row.result) for row in rows.rows]
    score, order = rank_score(rows.rows), ranking(rows.rows, agreements)
    ranks = {index: rank for rank, index in enumerate(order)}
    texts = Texts()
    fields = [
        row_fields(row, agreement, ranks[i], score, texts)
        for i, (row, agreement) in enumerate(zip(rows.rows, agreements, strict=True))
    ]
    data = {
        "title": title,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": version("semantic-entropy"),
        "score": score,
        "totals": totals(rows.rows, agreements),
        "left_out": {"rows": rows.left_out, "problems": rows.problems, "unmeasured": rows.unmeasured},
        "first": _FIRST,
        "equal": equally_uncertain(rows.rows, agreements, order, _FIRST),
        "words": compared_by_words(rows.rows),
        "least": least_supported(rows.rows, order),
        "histogram": histogram([score_of(row.result, score) for row in rows.rows], [row.wrong for row in rows.rows]),
        "labelled": labelled_curves(rows.rows, score),
        "texts": texts.listed,
        "rows": fields,
    }
    first = []
    for index in order[:_FIRST]:
        row, agreement = rows.rows[index], agreements[index]
        if score_of(row.result, score) is not None and agreement.band not in ("unknown", "agree"):
            first.append((row.id, row.question or shown_answer(row.result) or "", "; ".join(reasons(row, agreement))))
    return to_json_value(data), tuple(first)


def _text(name: str) -> str:
    return resources.files("semantic_entropy.report").joinpath(name).read_text(encoding="utf-8")

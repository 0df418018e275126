"""The whole step: read, remove by rules, draw by seed, compare, drop, write; or only compare.

Rows are walked in the order of the draw. A row that is dropped makes room for the next one, so that as many are kept as
were asked for, while the source has them. Twice as many are drawn where some may be dropped; should they not suffice,
the source is read again and twice as many again are drawn, of which those are the beginning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from empo_rl.data.draw import Draw, Row
from empo_rl.data.overlap import KINDS, Finder, Finding, Kind, Question
from empo_rl.data.preparation import Columns, Preparation, Removed
from empo_rl.data.records import RecordStream, column_text
from empo_rl.data.report import Report
from empo_rl.run.files import written_whole
from semantic_entropy import InputError

Progress = Callable[[str, int, int], None]
"""(stage, done, total)."""

HALF_A_CHARACTER = "half a character (a lone surrogate)"  # a rule of every preparation, told where a row breaks it
_HALF = re.compile("[\ud800-\udfff]")
_EVERY = 500  # rows between two signs of progress
_SPARE = 2  # times as many are drawn where some may be dropped, and again where that was too few


@dataclass(frozen=True, slots=True)
class Choices:
    """What is asked for: so many rows by a seed, without those of the kinds in `drop`."""

    count: int
    seed: int
    columns: Columns
    drop: Collection[Kind] = ()


def prepare(
    stream: RecordStream,
    preparation: Preparation,
    choices: Choices,
    report: Report,
    finder: Finder,
    files: Files,
    progress: Progress,
) -> Report:
    """Fill `report` and write the files, all of them or none.

    Raises:
        InputError: a column that is not there, or no row is left.
    """
    report.seed, report.asked = choices.seed, choices.count
    with ExitStack() as stack:
        out, summary, dropped = files.opened(stack)
        drawn = _drawn(stream, preparation, choices, report, dropped, progress)
        for row in _kept(drawn, choices, report, finder, dropped, progress):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
        if not report.kept:
            raise InputError(_none_left(report))
        summary.write(json.dumps(report.as_json(), ensure_ascii=False, indent=2) + "\n")
    return report


def check(stream: RecordStream, column: str, report: Report, finder: Finder, progress: Progress) -> Report:
    """Fill `report` for every row of a file; nothing is written.

    Raises:
        InputError: the column is not there, or holds no text somewhere, or the file is empty.
    """
    for place, record in _shown(stream, "comparing", progress):
        report.read += 1
        question = Question(place, column_text(record, column, "question", place, "--column question=..."))
        report.findings += finder.look(question)
        finder.keep(question)
    report.compared = report.kept = report.read
    if not report.read:
        raise InputError(f"{stream.name}: holds no row.")
    return report


@dataclass(frozen=True, slots=True)
class Files:
    """What is written: the rows, the report, and where asked for a line for each row that was removed or dropped."""

    out: Path
    report: Path
    dropped: Path | None = None

    def opened(self, stack: ExitStack) -> tuple[TextIO, TextIO, TextIO | None]:
        """All of them under temporary names; an error deletes them, the stack's end moves them to their places."""
        paths = [self.out, self.report, *([self.dropped] if self.dropped else [])]
        out, report, *rest = stack.enter_context(written_whole(*paths))
        return out, report, rest[0] if rest else None


def _drawn(
    stream: RecordStream,
    preparation: Preparation,
    choices: Choices,
    report: Report,
    dropped: TextIO | None,
    progress: Progress,
) -> Iterator[tuple[str, Row]]:
    """Rows in the order of the draw, for as long as they are asked for where some may be dropped."""
    draw = Draw(choices.count * (_SPARE if choices.drop else 1), choices.seed)
    report.removed = dict.fromkeys(preparation.rules, 0)
    for place, record in _shown(stream, "reading", progress):
        report.read += 1
        row = _row(preparation, record, place, choices.columns)
        if isinstance(row, Removed):
            report.removed[row.rule] = report.removed.get(row.rule, 0) + 1
            _note(dropped, place, row.rule, record.get(choices.columns["question"]))
        else:
            draw.offer(place, row)
    left = report.read - sum(report.removed.values())
    yield from draw.rows()
    while choices.drop and draw.size < left:
        before, draw = draw.size, Draw(draw.size * _SPARE, choices.seed)
        for place, record in _shown(replace(stream, done=0), "reading again", progress):
            row = _row(preparation, record, place, choices.columns)
            if not isinstance(row, Removed):
                draw.offer(place, row)
        yield from draw.rows()[before:]


def _row(preparation: Preparation, record: Mapping[str, Any], place: str, columns: Columns) -> Row | Removed:
    """What the preparation makes of a record, unless it holds what neither UTF-8 nor a tokenizer has a place for."""
    row = preparation.row(record, place, columns)
    if isinstance(row, Removed) or not any(_HALF.search(value) for value in row.values() if isinstance(value, str)):
        return row
    return Removed(HALF_A_CHARACTER)


def _kept(
    drawn: Iterable[tuple[str, Row]],
    choices: Choices,
    report: Report,
    finder: Finder,
    dropped: TextIO | None,
    progress: Progress,
) -> Iterator[Row]:
    for place, row in drawn:
        question = Question(place, row["question"])
        findings = finder.look(question)
        report.findings += findings
        report.compared += 1
        reason = next((kind for kind in KINDS if kind in choices.drop and kind in {f.kind for f in findings}), None)
        if reason is not None:
            report.dropped[reason] += 1
            _note(dropped, place, reason, question.text, [f for f in findings if f.kind == reason])
            continue
        report.kept += 1
        finder.keep(question)
        if report.kept % _EVERY == 0:
            progress("comparing", report.kept, choices.count)
        yield row
        if report.kept == choices.count:  # before one more is asked for, which may be another reading
            break
    progress("comparing", choices.count, choices.count)


def _note(file: TextIO | None, place: str, reason: str, question: Any, findings: Collection[Finding] = ()) -> None:
    if file is None:
        return
    others = [
        {"place": f.other.place, "suite": f.suite, "similarity": round(f.similarity, 4), "question": f.other.text}
        for f in findings
    ]
    line = {"place": place, "reason": reason, "question": question, "found": others}
    file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")


def _none_left(report: Report) -> str:
    why = [f"{rule}: {count:,}" for rule, count in (*report.removed.items(), *report.dropped.items()) if count]
    return f"{report.source}: of {report.read:,} rows none is left{_in_brackets(why)}."


def _in_brackets(reasons: list[str]) -> str:
    return f" ({'; '.join(reasons)})" if reasons else ""


def _shown(stream: RecordStream, stage: str, progress: Progress) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, item in enumerate(stream, start=1):
        yield item
        if number % _EVERY == 0:
            progress(stage, stream.done, max(stream.total, 1))
    progress(stage, max(stream.total, 1), max(stream.total, 1))

"""Prepare training questions: read rows, remove rows by rules, sample, compare, drop overlapping rows, write a file.

`check` only compares the questions of a file, and writes no file.

The sample does not depend on the order of the source. Each row gets a number: a hash (BLAKE2b) of the seed and the
row's content. The rows with the smallest numbers are the sample. This is uniform sampling without replacement in one
pass, which stores only the sampled rows. The hash of equal rows also contains a counter, so each of the equal rows has
its own chance. A sample of n rows is the beginning of every larger sample with the same seed. The counters of equal
rows take about 130 bytes for each row of the source.

Rows are compared in the order of the sample. The next row replaces a dropped row, so the output has the requested
number of rows if the source has enough rows. If rows may be dropped, the sample has twice the requested size. If this
sample is too small, the source is read again for a sample of twice the size, and the comparison continues with the
first row that was not yet compared.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, TextIO

from empo_rl.data.overlap import OVERLAP_KINDS, ComparedQuestion, OverlapIndex, OverlapKind, OverlapPair
from empo_rl.data.records import RecordStream, column_question, open_records, question_text
from empo_rl.data.report import DataReport
from empo_rl.data.sources import ColumnNames, DataSource, Removed, TrainingRow
from empo_rl.files import open_atomically
from semantic_entropy import InputError
from semantic_entropy.plain_text import has_surrogate

DataProgress = Callable[[str, int, int], None]
"""A function that is called with (stage, done, total)."""

# a rule of every data set; the report lists the rule only if a row breaks it
LONE_SURROGATE = "half a character (a lone surrogate)"
_PROGRESS_INTERVAL = 500  # rows
_SAMPLE_FACTOR = 2  # sample size / requested rows, if rows may be dropped; also the growth of a too small sample


class SeededSample:
    """A uniform sample of rows. Call `add` for every row of the source; `rows` then returns the sample."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self._equal_rows: Counter[bytes] = Counter()
        self._heap: list[tuple[int, int, str, TrainingRow]] = []  # negative hashes, so the largest hash is at the top
        self._added = 0

    def add(self, place: str, row: TrainingRow) -> None:
        """Add a row of the source, with its place."""
        self._added += 1
        # the counter `_added` is unique, so the heap never compares two rows
        entry = (-self._hash(row), self._added, place, row)
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, entry)
        elif entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    def rows(self) -> list[tuple[str, TrainingRow]]:
        """(place, row) for each sampled row, in the order of the hashes, which is random."""
        return [(place, row) for _, _, place, row in sorted(self._heap, reverse=True)]

    def _hash(self, row: TrainingRow) -> int:
        content = json.dumps(row, sort_keys=True).encode()
        digest = blake2b(content, digest_size=16, salt=self.seed.to_bytes(8, "little")).digest()
        self._equal_rows[digest] += 1
        numbered = digest + self._equal_rows[digest].to_bytes(8, "little")
        return int.from_bytes(blake2b(numbered, digest_size=16).digest(), "little")


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """The options of a sample: number of rows, seed, column names, and the kinds of overlap that drop a row."""

    count: int
    seed: int
    columns: ColumnNames
    drop: Collection[OverlapKind] = ()


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """The paths of the rows, of the report, and of the optional file with the removed and dropped rows."""

    out: Path
    report: Path
    dropped: Path | None = None

    def opened(self, stack: ExitStack) -> tuple[TextIO, TextIO, TextIO | None]:
        """Open all files under temporary names. When `stack` closes, rename them; after an error, delete them."""
        paths = [self.out, self.report, *([self.dropped] if self.dropped else [])]
        out, report, *rest = stack.enter_context(open_atomically(*paths))
        return out, report, rest[0] if rest else None


def prepare(
    stream: RecordStream,
    source: DataSource,
    options: SampleOptions,
    report: DataReport,
    index: OverlapIndex,
    files: OutputFiles,
    progress: DataProgress,
) -> DataReport:
    """Fill `report` and write all files. If an error occurs, write no file.

    Raises:
        InputError: a column does not exist, or no row is left.
    """
    report.seed, report.requested = options.seed, options.count
    with ExitStack() as stack:
        out, summary, dropped = files.opened(stack)
        sampled = _sampled_rows(stream, source, options, report, dropped, progress)
        for row in _kept_rows(sampled, options, report, index, dropped, progress):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
        if not report.kept:
            counts = [*report.removed.items(), *report.dropped.items()]
            reasons = "; ".join(f"{rule}: {count:,}" for rule, count in counts if count)
            raise InputError(
                f"{report.source}: no row is left of {report.read:,} rows{f' ({reasons})' if reasons else ''}."
            )
        summary.write(json.dumps(report.to_dict(), ensure_ascii=False, indent=2) + "\n")
    return report


def open_file(file: str, column: str) -> RecordStream:
    """Open a local file for `check`. Check its first record, so that errors come before the evaluation sets are loaded.

    Raises:
        InputError: the file does not exist, cannot be read, has no rows, or its first row has no text in `column`.
    """
    if not Path(file).is_file():
        raise InputError(f"FILE: {file} does not exist or is not a file.")
    first = next(iter(open_records(file, columns=(column,), key="FILE")), None)
    if first is None:
        raise InputError(f"{file} contains no rows.")
    column_question(first[1], column, first[0], "--column question=...")
    return open_records(file, columns=(column,), key="FILE")


def check(
    stream: RecordStream, column: str, report: DataReport, index: OverlapIndex, progress: DataProgress
) -> DataReport:
    """Compare every row of a file, and fill `report`. This function writes no file.

    Raises:
        InputError: the column does not exist, the column of a row contains no text, or the file has no rows.
    """
    for place, record in _with_progress(stream, "comparing", progress):
        report.read += 1
        asked = column_question(record, column, place, "--column question=...")
        question = ComparedQuestion(place, question_text(asked))
        report.pairs += index.find(question)
        index.add(question)
    report.compared = report.kept = report.read
    if not report.read:
        raise InputError(f"{stream.name} contains no rows.")
    return report


def _sampled_rows(
    stream: RecordStream,
    source: DataSource,
    options: SampleOptions,
    report: DataReport,
    dropped: TextIO | None,
    progress: DataProgress,
) -> Iterator[tuple[str, TrainingRow]]:
    """Rows in the order of the sample. If rows may be dropped, the sample grows after its last row is used."""
    sample = SeededSample(options.count * (_SAMPLE_FACTOR if options.drop else 1), options.seed)
    report.removed = dict.fromkeys(source.rules, 0)
    for place, record in _with_progress(stream, "reading", progress):
        report.read += 1
        row = _convert(source, record, place, options.columns)
        if isinstance(row, Removed):
            report.removed[row.rule] = report.removed.get(row.rule, 0) + 1
            _write_dropped(dropped, place, row.rule, record.get(options.columns["question"]))
        else:
            sample.add(place, row)
    available = report.read - sum(report.removed.values())
    yield from sample.rows()
    while options.drop and sample.size < available:
        previous, sample = sample.size, SeededSample(sample.size * _SAMPLE_FACTOR, options.seed)
        for place, record in _with_progress(replace(stream, done=0), "reading again", progress):
            row = _convert(source, record, place, options.columns)
            if not isinstance(row, Removed):
                sample.add(place, row)
        yield from sample.rows()[previous:]


def _convert(source: DataSource, record: Mapping[str, Any], place: str, columns: ColumnNames) -> TrainingRow | Removed:
    """The training row of a record. A row with a lone surrogate is removed: UTF-8 and tokenizers cannot encode it."""
    row = source.convert(record, place, columns)
    if isinstance(row, Removed):
        return row
    texts = [question_text(row["question"]), *(value for value in row.values() if isinstance(value, str))]
    return Removed(LONE_SURROGATE) if any(map(has_surrogate, texts)) else row


def _kept_rows(
    sampled: Iterable[tuple[str, TrainingRow]],
    options: SampleOptions,
    report: DataReport,
    index: OverlapIndex,
    dropped: TextIO | None,
    progress: DataProgress,
) -> Iterator[TrainingRow]:
    for place, row in sampled:
        question = ComparedQuestion(place, question_text(row["question"]))
        pairs = index.find(question)
        report.pairs += pairs
        report.compared += 1
        found = {pair.kind for pair in pairs}
        reason = next((kind for kind in OVERLAP_KINDS if kind in options.drop and kind in found), None)
        if reason is not None:
            report.dropped[reason] += 1
            _write_dropped(dropped, place, reason, question.text, [pair for pair in pairs if pair.kind == reason])
            continue
        report.kept += 1
        index.add(question)
        if report.kept % _PROGRESS_INTERVAL == 0:
            progress("comparing", report.kept, options.count)
        yield row
        if report.kept == options.count:  # stop here: the next sampled row can require another pass over the source
            break
    progress("comparing", options.count, options.count)


def _write_dropped(
    file: TextIO | None, place: str, reason: str, question: Any, pairs: Collection[OverlapPair] = ()
) -> None:
    if file is None:
        return
    others = [
        {"place": p.other.place, "suite": p.suite, "similarity": round(p.similarity, 4), "question": p.other.text}
        for p in pairs
    ]
    line = {"place": place, "reason": reason, "question": question, "found": others}
    file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")


def _with_progress(stream: RecordStream, stage: str, progress: DataProgress) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, item in enumerate(stream, start=1):
        yield item
        if number % _PROGRESS_INTERVAL == 0:
            progress(stage, stream.done, max(stream.total, 1))
    progress(stage, max(stream.total, 1), max(stream.total, 1))

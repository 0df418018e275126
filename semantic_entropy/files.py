"""Many groups from a file to another: written as it goes, resumable, bad rows set aside.

Where it was after a kill follows from the files alone. Results and bad rows are written in the order of the input, the
bad rows of a chunk before its results; so the results written, plus the numbers in the file of bad rows, say which row
is next. The formats (`jsonl`, `parquet`) add only what is theirs: how a row is read, and how a write is made whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.groups import one_group
from semantic_entropy.jsonl import STANDARD_OUTPUT, JsonlSink, JsonlSource
from semantic_entropy.lines import append, drop_cut_line
from semantic_entropy.progress import bar
from semantic_entropy.rows import SETTINGS, Before, Measured, Row, Sink, Source
from semantic_entropy.sampling.rows import AskedRows
from semantic_entropy.scorer import Scorer
from semantic_entropy.types import Group, Result, to_json_line

_CHUNK = 256  # rows in one pipeline run at most: enough pairs to fill a model's batch
_SECONDS = 2.0  # that a chunk should take at most: what is lost at a kill, and how long a progress bar stands still
_PARQUET = (".parquet", ".pq")


def is_parquet(name: str | None) -> bool:
    """Whether a name's suffix says Parquet."""
    return name is not None and Path(name).suffix.lower() in _PARQUET


def open_source(name: str, field: str, *, copied: bool = False, asked: bool = False) -> Source:
    """The source that the suffix names; "-" is standard input.

    `copied`: to a sink that takes a table's cells. `asked`: a sampler asks the questions that come without responses.

    Raises:
        InputError: no such file, or not of its suffix's format.
        MissingDependencyError: Parquet without pyarrow.
    """
    if name != "-" and (not Path(name).exists() or Path(name).is_dir()):
        raise InputError(f"{name}: no such file")
    if not is_parquet(name):
        return JsonlSource(name, field)
    from semantic_entropy.parquet import ParquetSource

    return ParquetSource(name, field, batch=_CHUNK, whole=not copied, asked=asked)


def open_sink(name: str | None, source: Source) -> Sink:
    """The sink that the suffix names; None and "-" are standard output. Raises as `open_source`."""
    if name is None or name == "-":
        return JsonlSink(None)
    if source.name != "-" and Path(name).resolve() == Path(source.name).resolve():
        raise InputError(f"{name} is both input and output: choose another output")
    if not is_parquet(name):
        return JsonlSink(Path(name))
    from semantic_entropy.json_columns import JsonColumns
    from semantic_entropy.parquet import ArrowColumns, ParquetSource
    from semantic_entropy.parquet_parts import ParquetSink

    if isinstance(source, ParquetSource) and not source.whole:
        return ParquetSink(Path(name), ArrowColumns(source.schema))
    return ParquetSink(Path(name), JsonColumns())


def find_row(name: str, row_id: str | None) -> dict[str, Any]:
    """The row with this id, or the first.

    Raises:
        InputError: no such row, or it is not usable.
    """
    source = open_source(name, "responses")
    for row in source.rows():
        if row.problem and row_id is None:
            raise InputError(f"{name}, {source.unit} {row.number}: {row.problem}")
        if row.fields and not row.problem and (row_id is None or str(row.fields.get("id")) == row_id):
            return row.fields
    raise InputError(f"{name} has no usable row" + (f" with id {row_id!r}" if row_id is not None else ""))


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did, and how to say it."""

    rows: int
    skipped: int
    bad: int
    bad_file: str
    seconds: float
    bad_before: int = 0

    def __str__(self) -> str:
        nothing_left = "" if self.bad else " (nothing left to do)"
        rate = f" ({self.rows / self.seconds:,.0f} rows/s)" if self.seconds > 0 and self.rows else nothing_left
        parts = [f"{self.rows} rows in {self.seconds:.1f} s{rate}"]
        if self.skipped:
            parts.append(f"{self.skipped} done before (--overwrite starts anew)")
        if self.bad:
            parts.append(
                f"{self.bad} bad rows set aside in {self.bad_file}" if self.bad_file else f"{self.bad} bad rows"
            )
        if self.bad_before:
            parts.append(f"{self.bad_before} bad rows were set aside before in {self.bad_file}")
        return "; ".join(parts)


class Run:
    """One pass over a file. `source` and `output` may be standard streams ("-" and None)."""

    def __init__(
        self, scorer: Scorer, source: str, output: str | None, *, field: str, overwrite: bool, strict: bool
    ) -> None:
        self.scorer, self.field, self.strict, self.overwrite = scorer, field, strict, overwrite
        self.asking = AskedRows(scorer.sampler, scorer.n, scorer.store, field) if scorer.sampler else None
        asked = self.asking is not None
        self.source = open_source(source, field, copied=is_parquet(output) and not asked, asked=asked)
        self.sink = open_sink(output, self.source)
        self.bad_file = None if output in (None, "-") else Path(f"{output}.bad.jsonl")
        self.rows = 0  # measured and written so far

    def execute(self, progress: bool) -> Done:
        """Measure what is not done yet.

        Raises:
            InputError: a bad row under `strict`, or an output that belongs to another input or other settings.
            SemanticEntropyError: the disk is full or the output cannot be written; what was written stays.
        """
        with _alone(self.sink.name):
            return self._execute(progress)

    def _execute(self, progress: bool) -> Done:
        start = time.perf_counter()
        if self.overwrite:
            self.sink.clear()
        before = self.sink.before()
        if before and self.source.name == "-":
            raise InputError(f"{self.sink.name} exists, and standard input cannot be resumed: use --overwrite")
        aside = self._set_aside_before(before)
        bad, size = 0, _CHUNK // 8
        with contextlib.closing(self.source.rows()) as every:
            left: Generator[Row, None, None] = (row for row in every if row.number not in aside)
            written = self._skip(left, before) if before and before.written else 0
            total = self.source.total() if progress else None
            with self.sink, self._asked(left) as complete, bar("rows", total, progress, self._life) as advance:
                advance(written + len(aside))
                while chunk := _take(complete, size):
                    began = time.perf_counter()
                    good, problems = self._measure(chunk, untried=not (written or self.rows))
                    if problems and self.strict:
                        self._stop_at(problems[0], good)
                    self._set_aside(problems)
                    self.sink.write(good)
                    self.rows, bad = self.rows + len(good), bad + len(problems)
                    advance(len(chunk))
                    size = _next_size(size, time.perf_counter() - began)
                self.sink.finish()
        return Done(self.rows, written, bad, str(self.bad_file or ""), time.perf_counter() - start, len(aside))

    def _asked(self, left: Generator[Row, None, None]) -> contextlib.closing[Generator[Row, None, None]]:
        return contextlib.closing(self.asking.filled(left) if self.asking else left)

    def _life(self) -> str:
        """What goes on while no row is finished."""
        drawn = f", {self.scorer.store.added} responses" if self.scorer.store else ""
        return f"{self.scorer.cache.arrived} verdicts{drawn}"

    def _stop_at(self, problem: _Problem, good: list[Measured]) -> None:
        """Write what stands before a bad row, and end there."""
        self.sink.write([(row, result) for row, result in good if row.number < problem[0].number])
        raise InputError(self._said(*problem))

    def _measure(self, chunk: list[Row], *, untried: bool) -> tuple[list[Measured], list[_Problem]]:
        """The rows that have a result, with it; and those that have none, with what is wrong."""
        problems = [(row, row.problem) for row in chunk if row.problem]
        good = [row for row in chunk if not row.problem]
        try:
            return list(zip(good, self._estimate(good), strict=True)), problems
        except EvidenceError:  # a row lacks what an estimator asked for by name needs: find out which
            measured, lacking = self._one_by_one(good)
        if lacking and untried and not measured:  # all of them: a mistake in the call, not in the rows
            raise InputError(lacking[0][1])
        return measured, sorted(problems + lacking, key=lambda problem: problem[0].number)

    def _estimate(self, rows: list[Row]) -> list[Result]:
        if not rows:
            return []
        return [replace(result, samples=None) for result in self.scorer.measure(list(map(self._group, rows)))]

    def _group(self, row: Row) -> Group:
        fields = row.fields or {}
        return row.drawn or one_group(fields[self.field], fields.get("question"), fields.get("logprobs"))

    def _one_by_one(self, rows: list[Row]) -> tuple[list[Measured], list[_Problem]]:
        measured, lacking = [], []
        for row in rows:
            try:
                measured.append((row, self._estimate([row])[0]))
            except EvidenceError as error:
                lacking.append((row, str(error)))
        return measured, lacking

    def _set_aside(self, problems: list[_Problem]) -> None:
        for problem in problems:
            sys.stderr.write(self._said(*problem) + "\n")
        if problems and self.bad_file:
            entries = [{self.source.key: row.number, "problem": said, "row": row.text} for row, said in problems]
            append(self.bad_file, list(map(to_json_line, entries)))

    def _said(self, row: Row, problem: str) -> str:
        return f"{self.source.name}, {self.source.unit} {row.number}: {problem}"

    def _set_aside_before(self, before: Before | None) -> set[int]:
        """Numbers of the rows that an earlier run set aside; the file of an output that is gone goes too."""
        if not self.bad_file or not self.bad_file.exists():
            return set()
        if before is None:
            self.bad_file.unlink()
            return set()
        drop_cut_line(self.bad_file)
        with self.bad_file.open("rb") as lines:
            return {json.loads(line)[self.source.key] for line in lines}

    def _skip(self, rows: Iterator[Row], before: Before) -> int:
        """Pass over the rows whose results are written; they must be this input's, and made with these settings."""
        done = islice(rows, before.written)
        first = last = next(done, None)
        count = int(first is not None)
        for last in done:  # noqa: B007  # the last one is what is wanted
            count += 1
        if self.asking and first and last:
            first, last = self.asking.bare(first), self.asking.bare(last)
        if first is None or last is None or count < before.written or not before.holds(first, last):
            raise InputError(f"{self.sink.name} holds results of another input: remove it, or use --overwrite")
        self._check_settings(before, last)
        return count

    def _check_settings(self, before: Before, last: Row) -> None:
        """Measure the last row again: what it says of itself must be what is written."""
        if self.asking:
            last = self.asking.again(last, self.sink.name)
        try:
            again = self._estimate([last])[0].provenance
        except InputError as error:
            raise InputError(f"{self.sink.name} was made with other settings ({error}): use --overwrite") from error
        written = before.settings(last)
        for name in SETTINGS:
            if written.get(name) != getattr(again, name):
                raise InputError(
                    f"{self.sink.name} was made with {name} {written.get(name)!r}, not {getattr(again, name)!r}: "
                    "use --overwrite, or another output"
                )


_Problem = tuple[Row, str]


def _take(rows: Iterator[Row], size: int) -> list[Row]:
    """The next rows, `size` at most: those that come within a time in which a reader wants to see progress."""
    taken: list[Row] = []
    began = time.perf_counter()
    for row in rows:
        taken.append(row)
        if len(taken) == size or time.perf_counter() - began > _SECONDS:
            break
    return taken


def _next_size(size: int, seconds: float) -> int:
    """How many rows to take next: as many as keep a chunk's time in bounds."""
    if seconds > _SECONDS:
        return max(1, size // 2)
    return min(_CHUNK, 2 * size) if seconds < _SECONDS / 4 else size


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Hold an output against other runs; the system lets go of it when this one dies, however it dies."""
    if name == STANDARD_OUTPUT or sys.platform == "win32":
        yield
        return
    import fcntl

    place = hashlib.sha256(str(Path(name).resolve()).encode()).hexdigest()[:16]
    with _opened(Path(tempfile.gettempdir()) / f"semantic-entropy-{os.getuid()}-{place}.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another run is writing {name}: wait for it, or choose another output") from None
        yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A file to lock, which this neither reads nor writes: anyone may have put something else there, such as a link."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise InputError(
            f"{path}, which keeps two runs off one output, cannot be opened: {error.strerror}. Remove it, or set "
            "TMPDIR to a folder of your own"
        ) from error
    try:
        yield lock
    finally:
        os.close(lock)

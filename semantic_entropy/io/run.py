"""Many groups from a file to another: written as it goes, resumable, bad rows set aside.

Where it was after a kill follows from the files alone. Results and bad rows are written in the order of the input, the
bad rows of a chunk before its results; so the results written, plus the numbers in the file of bad rows, say which row
is next. Rows that were set aside for no fault of their own are tried again at the end (`asked_again`). The formats
(`jsonl`, `parquet`) add only what is theirs: how a row is read, and how a write is made whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from semantic_entropy.clusters.groups import one_group
from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.files import try_lock
from semantic_entropy.io.drawn_rows import AskedRows
from semantic_entropy.io.jsonl import STANDARD_OUTPUT, JsonlSink, JsonlSource
from semantic_entropy.io.rejected import Entry, SetAside, entry_of
from semantic_entropy.io.retried import beside, insert
from semantic_entropy.io.rows import DRAWN, SETTINGS, Before, Measured, Row, Sink, Source
from semantic_entropy.io.summary import Done
from semantic_entropy.progress import progress_bar
from semantic_entropy.scorer import Scorer
from semantic_entropy.types import Group, Result

_CHUNK = 256  # rows in one pipeline run at most: enough pairs to fill a model's batch
_SECONDS = 2.0  # that a chunk should take at most: what is lost at a kill, and how long a progress bar stands still
_SHOWN = 10  # bad rows on standard error at most, where a file holds them all
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
    from semantic_entropy.io.parquet_reader import ParquetSource

    return ParquetSource(name, field, batch=_CHUNK, whole=not copied, asked=asked)


def open_sink(name: str | None, source: Source) -> Sink:
    """The sink that the suffix names; None and "-" are standard output. Raises as `open_source`."""
    if name is None or name == "-":
        return JsonlSink(None)
    if source.name != "-" and Path(name).resolve() == Path(source.name).resolve():
        raise InputError(f"{name} is both input and output: choose another output")
    if not is_parquet(name):
        return JsonlSink(Path(name))
    from semantic_entropy.io.json_columns import JsonColumns
    from semantic_entropy.io.parquet_reader import ArrowColumns, ParquetSource
    from semantic_entropy.io.parquet_writer import ParquetSink

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
        self.aside = None if output in (None, "-") else SetAside(Path(f"{output}.bad.jsonl"), self.source.key)
        self.rows = 0  # measured and written so far
        self._bad = 0
        self._unanswered = 0  # of them, those that another run asks again
        self._unasked, self._similar = 0, ""  # rows with a question alone and nobody to ask; a field like responses

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
        if self.aside:
            self.aside.recover(self._fresh(), beside(Path(self.sink.name)))
        before = self.sink.before()
        if before and self.source.name == "-":
            raise InputError(f"{self.sink.name} exists, and standard input cannot be resumed: use --overwrite")
        aside = self._set_aside_before(before)
        with contextlib.closing(self.source.rows()) as every:
            left: Generator[Row, None, None] = (row for row in every if row.number not in aside)
            written, last = self._skip(left, before) if before else (0, 0)
            self._take_up(aside, last)
            total = self.source.total() if progress else None
            with self.sink, self._asked(left) as complete, progress_bar("rows", total, progress, self._life) as advance:
                advance(written + len(aside))
                for good in self._measured(complete, advance, untried=not written):
                    self.sink.write(good)
                    self.rows += len(good)
                self.sink.finish()
        answered = self._ask_again(aside, progress)
        empty = "" if written or self.rows or self._bad or aside else self.source.name
        seconds, bad_file = time.perf_counter() - start, str(self.aside.path if self.aside else "")
        before_ = len(aside) - answered
        return Done(self.rows, written, self._bad, bad_file, seconds, before_, self._unanswered, empty, self._hint())

    def _measured(
        self, rows: Generator[Row, None, None], advance: Callable[[int], object], *, untried: bool
    ) -> Iterator[list[Measured]]:
        """Chunk by chunk what has a result; what has none is set aside before it."""
        size = _CHUNK // 8
        while chunk := _take(rows, size):
            began = time.perf_counter()
            good, problems = self._measure(chunk, untried=untried and not self.rows)
            if problems and self.strict:
                yield [(row, result) for row, result in good if row.number < problems[0][0].number]
                raise InputError(self._said(*problems[0]))
            self._set_aside(problems)
            yield good
            advance(len(chunk))
            size = _next_size(size, time.perf_counter() - began)

    def _fresh(self) -> Sink:
        return open_sink(str(beside(Path(self.sink.name))), self.source)

    def _take_up(self, aside: dict[int, Entry], last: int) -> None:
        """Rows set aside for no fault of their own come back among the rest where no row after them is written."""
        back = [number for number, entry in aside.items() if number > last and entry.get("again")]
        if back and self.asking and self.aside and not self.sink.is_final:
            for number in back:
                del aside[number]
            self.aside.replace(aside)

    def _ask_again(self, aside: dict[int, Entry], progress: bool) -> int:
        """Try the others of them, which earlier runs set aside; how many have a result now."""
        again = {number for number, entry in aside.items() if entry.get("again")}
        if not again or not self.asking or not self.aside:
            return 0
        every = self.source.rows()
        rows: Generator[Row, None, None] = (row for row in every if row.number in again)
        new: dict[int, Measured] = {}
        with (
            contextlib.closing(every),
            self._asked(rows) as complete,
            progress_bar("rows again", len(again), progress, self._life) as advance,
        ):
            while chunk := _take(complete, _CHUNK):
                good, problems = self._measure(chunk, untried=False)
                if problems and self.strict:
                    raise InputError(self._said(*problems[0]))
                new.update((row.number, (row, result)) for row, result in good)
                self._unanswered += sum(row.again for row, _ in problems)
                refused = {row.number: self._entry(row, said) for row, said in problems if not row.again}
                if refused:  # by now they are wrong in themselves
                    self.aside.replace({**self.aside.read(), **refused})
                advance(len(chunk))
        if new:
            insert(new, self.sink, self._fresh(), self.source, self.field, self.aside)
            self.rows += len(new)
        return len(new)

    def _asked(self, left: Generator[Row, None, None]) -> contextlib.closing[Generator[Row, None, None]]:
        return contextlib.closing(self.asking.filled(left) if self.asking else left)

    def _life(self) -> str:
        """What goes on while no row is finished."""
        drawn = f", {self.scorer.store.added} responses" if self.scorer.store else ""
        return f"{self.scorer.cache.arrived} verdicts{drawn}"

    def _measure(self, chunk: list[Row], *, untried: bool) -> tuple[list[Measured], list[_Problem]]:
        """The rows that have a result, with it; and those that have none, with what is wrong."""
        problems = [(row, row.problem) for row in chunk if row.problem]
        good = [row for row in chunk if not row.problem]
        try:
            return list(zip(good, self._estimate(good), strict=True)), problems
        except EvidenceError:  # a row lacks what an estimator asked for by name needs: find out which
            measured, lacking = self._one_by_one(good)
        if lacking and untried and not measured:  # all of them: a mistake in the call, not in the rows
            raise InputError(f"{self.source.name}: no row has what --estimator asks for: {lacking[0][1]}")
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
        for row, problem in problems:
            self._bad += 1
            if not self.aside or self._bad <= _SHOWN:
                sys.stderr.write(self._said(row, problem) + "\n")
        if self.aside and self._bad > _SHOWN >= self._bad - len(problems):
            sys.stderr.write(f"... and so on, all of them in {self.aside.path}\n")
        unanswerable = [row for row, _ in problems if not self.asking and row.fields and not row.fields.get(self.field)]
        self._unasked += sum(row.lacks(self.field) for row in unanswerable)
        self._similar = self._similar or next(filter(None, map(_similar, unanswerable)), "")
        self._unanswered += sum(row.again for row, _ in problems)
        if problems and self.aside:
            self.aside.add(self._entry(row, said) for row, said in problems)

    def _entry(self, row: Row, problem: str) -> Entry:
        unasked = not self.asking and row.lacks(self.field)
        return entry_of(self.source.key, row, problem, again=row.again or unasked)

    def _hint(self) -> str:
        """What would help rows that have a question and no responses."""
        hints = []
        if self._unasked:
            hints.append(f"hint: {self._unasked} rows have a question and no responses: --sampler NAME asks a model")
        if self._similar:
            hints.append(f"hint: the field {self._similar!r} holds texts: --responses {self._similar} takes them")
        return "\n".join(hints)

    def _said(self, row: Row, problem: str) -> str:
        return f"{self.source.name}, {self.source.unit} {row.number}: {problem}"

    def _set_aside_before(self, before: Before | None) -> dict[int, Entry]:
        """The rows that an earlier run set aside, by number; those of an output that is gone go too."""
        if not self.aside:
            return {}
        if before is None:
            self.aside.clear()
        return self.aside.read()

    def _skip(self, rows: Iterator[Row], before: Before) -> tuple[int, int]:
        """Pass over the rows whose results are written; they must be this input's, and made with these settings.

        Returns how many they are, and the number of the last.
        """
        if not before.written:
            return 0, 0
        done = islice(rows, before.written)
        first = last = next(done, None)
        count = int(first is not None)
        for last in done:  # noqa: B007  # the last one is what is wanted
            count += 1
        if first and last:
            first, last = first.bare(self.field), last.bare(self.field)
        if first is None or last is None or count < before.written or not before.holds(first, last):
            raise InputError(f"{self.sink.name} holds results of another input: remove it, or use --overwrite")
        self._check_drawn(before)
        self._check_settings(before, last)
        return count, last.number

    def _check_drawn(self, before: Before) -> None:
        """Who drew responses, and how many a row, must be as it was."""
        sampler = self.scorer.sampler
        now = {"sampler": sampler.describe(), "n": self.scorer.n} if sampler else dict.fromkeys(DRAWN)
        for name, then in before.drawn.items():
            if then != now[name]:
                raise self._made_otherwise(name, then, now[name])

    def _made_otherwise(self, name: str, then: object, now: object) -> InputError:
        but = "and now there is none" if now is None else f"not {now!r}"
        return InputError(f"{self.sink.name} was made with {name} {then!r}, {but}: use --overwrite, or another output")

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
                raise self._made_otherwise(name, written.get(name), getattr(again, name))


_Problem = tuple[Row, str]


def _similar(row: Row) -> str | None:
    """A field of the row that could be its responses: a list of texts."""
    fields = (row.fields or {}).items()
    return next((name for name, value in fields if value and isinstance(value, list) and _texts(value)), None)


def _texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


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
    place = hashlib.sha256(str(Path(name).resolve()).encode()).hexdigest()[:16]
    with _opened(Path(tempfile.gettempdir()) / f"semantic-entropy-{os.getuid()}-{place}.lock") as lock:
        if not try_lock(lock):
            raise InputError(f"another run is writing {name}: wait for it, or choose another output")
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

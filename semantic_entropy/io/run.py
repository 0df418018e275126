"""One pass over a file: measure every row, write each result as soon as possible, and continue an interrupted run.

The output files show where an interrupted run stopped. Results and rejected rows are written in input order; the
rejected rows of a chunk are written before the results of the chunk. So the next row follows from the number of results
and the row numbers in the file of rejected rows. Rejected rows that can be retried are measured again at the end. The
formats (`jsonl`, `parquet`) only read rows and write results.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.files import locked_output
from semantic_entropy.io.formats import is_parquet, open_reader, open_writer
from semantic_entropy.io.jsonl import STANDARD_OUTPUT
from semantic_entropy.io.rejected import (
    RejectedRows,
    Rejection,
    can_retry,
    insert_results,
    second_path,
    to_rejection,
)
from semantic_entropy.io.rows import (
    FIXED_SAMPLING,
    FIXED_SETTINGS,
    ExistingOutput,
    InputRow,
    MeasuredRow,
    ResultWriter,
)
from semantic_entropy.io.sampled_rows import RowSampler
from semantic_entropy.progress import progress_bar
from semantic_entropy.results import Provenance, Result
from semantic_entropy.scorer import Scorer
from semantic_entropy.tables import FieldNames, QuestionUse

_CHUNK = 256  # most rows in one pipeline run: enough pairs to fill a model's batch
_CHUNK_SECONDS = 2.0  # longest time for a chunk: a kill loses one chunk, and the progress bar moves after each chunk
_SHOWN = 10  # most rejected rows that are printed, if a file has all rejected rows

_Problem = tuple[InputRow, str]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The summary of a run over a file. `str()` of the summary is a line for the user.

    Attributes:
        rows: the number of rows that this run measured.
        skipped: the number of rows that earlier runs measured.
        rejected: the number of rows that this run rejected.
        rejected_file: the path of the file of rejected rows; empty if there is no such file.
        seconds: the duration of the run.
        rejected_before: the number of rows that earlier runs rejected.
        retryable: the number of rejected rows that the next run retries.
        empty_input: the name of the input if the input has no rows, else empty.
        hint: advice for the user about rejected rows; empty if there is none.
        warning: what may make the results of this run wrong, such as rows without a question; empty if there is none.
    """

    rows: int
    skipped: int
    rejected: int
    rejected_file: str
    seconds: float
    rejected_before: int = 0
    retryable: int = 0
    empty_input: str = ""
    hint: str = ""
    warning: str = ""

    def __str__(self) -> str:
        if self.empty_input:
            return f"{self.empty_input} has no rows"
        rate = "" if self.rejected else " (nothing left to do)"
        if self.seconds > 0 and self.rows:
            rate = f" ({self.rows / self.seconds:,.0f} rows/s)"
        parts = [f"{self.rows} rows in {self.seconds:.1f} s{rate}"]
        if self.skipped:
            parts.append(f"{self.skipped} rows were done before (--overwrite measures them again)")
        if self.rejected:
            parts.append(f"{self.rejected} bad rows" + (f": see {self.rejected_file}" if self.rejected_file else ""))
        if self.rejected_before:
            parts.append(f"{self.rejected_before} bad rows from an earlier run: see {self.rejected_file}")
        if self.retryable:
            parts.append(f"{self.retryable} of the bad rows got no response: run the same command again to retry them")
        warning = f"warning: {self.warning}" if self.warning else ""
        return "\n".join(filter(None, ("; ".join(parts), warning, self.hint)))


class FileRun:
    """One pass over a file.

    Args:
        scorer: the scorer that measures the rows. If it has a sampler, the sampler draws missing responses.
        source: the input file; "-": standard input.
        output: the output file; None or "-": standard output.
        names: the names of the fields that are measured.
        overwrite: True: measure all rows again; False: continue an existing output.
        strict: True: stop at the first bad row; False: write bad rows to the file of rejected rows.
    """

    def __init__(
        self, scorer: Scorer, source: str, output: str | None, *, names: FieldNames, overwrite: bool, strict: bool
    ) -> None:
        self.scorer, self.names, self.strict, self.overwrite = scorer, names, strict, overwrite
        self.row_sampler = RowSampler(scorer.sampler, scorer.n, scorer.store, names) if scorer.sampler else None
        has_sampler = self.row_sampler is not None
        copies_cells = is_parquet(output) and not has_sampler
        self.reader = open_reader(source, names, copies_cells=copies_cells, has_sampler=has_sampler)
        self.writer = open_writer(output, self.reader)
        self.rejected = (
            None if output in (None, "-") else RejectedRows(Path(f"{output}.bad.jsonl"), self.reader.number_key)
        )
        self.rows = 0  # number of rows measured and written so far
        self._bad = 0  # number of rows rejected so far
        self._retryable = 0  # number of these rejected rows that the next run retries
        self._unanswered = 0  # number of rows with a question and no responses, in a run without a sampler
        self._questions = QuestionUse(names)
        self._similar_field = ""  # the name of a field of these rows that may hold the responses

    def execute(self, progress: bool) -> RunSummary:
        """Measure the rows that have no result yet.

        Raises:
            InputError: there is a bad row and `strict` is true; or the existing output belongs to another input or was
                made with other settings.
            SemanticEntropyError: the output cannot be written, for example because the disk is full. The rows written
                before stay in the output.
        """
        lock = contextlib.nullcontext() if self.writer.name == STANDARD_OUTPUT else locked_output(self.writer.name)
        with lock:
            return self._execute(progress)

    def _execute(self, progress: bool) -> RunSummary:
        start = time.perf_counter()
        if self.overwrite:
            self.writer.clear()
        if self.rejected:
            self.rejected.recover(self._second_writer(), second_path(Path(self.writer.name)))
        existing = self.writer.existing()
        if existing and self.reader.name == "-":
            raise InputError(f"{self.writer.name} exists, and standard input cannot be resumed: use --overwrite")
        rejections = self._earlier_rejections(existing)
        with contextlib.closing(self.reader.rows()) as all_rows:
            left: Generator[InputRow, None, None] = (row for row in all_rows if row.number not in rejections)
            skipped, last = self._skip_written(left, existing) if existing else (0, 0)
            self._retry_in_order(rejections, last)
            total = self.reader.total() if progress else None
            with (
                self.writer,
                self._with_responses(left) as rows,
                progress_bar("rows", total, progress, self._activity) as advance,
            ):
                advance(skipped + len(rejections))
                for measured in self._measure_chunks(rows, advance, is_first_run=not skipped):
                    self.writer.write(measured)
                    self.rows += len(measured)
                self.writer.finish()
        retried = self._retry_rejected(rejections, progress)
        has_rows = skipped or self.rows or self._bad or rejections
        return RunSummary(
            rows=self.rows,
            skipped=skipped,
            rejected=self._bad,
            rejected_file=str(self.rejected.path) if self.rejected else "",
            seconds=time.perf_counter() - start,
            rejected_before=len(rejections) - retried,
            retryable=self._retryable,
            empty_input="" if has_rows else self.reader.name,
            hint=self._hint(),
            warning=self._questions.warning("--question FIELD"),
        )

    # Measuring

    def _measure_chunks(
        self, rows: Generator[InputRow, None, None], advance: Callable[[int], object], *, is_first_run: bool
    ) -> Iterator[list[MeasuredRow]]:
        """Reject the bad rows of each chunk, then yield its measured rows."""
        size = _CHUNK // 8
        while chunk := _take(rows, size):
            began = time.perf_counter()
            good, problems = self._measure(chunk, is_first=is_first_run and not self.rows)
            if problems and self.strict:
                yield [(row, result) for row, result in good if row.number < problems[0][0].number]
                raise InputError(self._located(*problems[0]))
            self._reject(problems)
            self._note_questions(good)
            yield good
            advance(len(chunk))
            size = _next_size(size, time.perf_counter() - began)

    def _measure(self, chunk: list[InputRow], *, is_first: bool) -> tuple[list[MeasuredRow], list[_Problem]]:
        """Return the measured rows with their results, and the rows that cannot be measured with their problems."""
        problems = [(row, row.problem) for row in chunk if row.problem]
        good = [row for row in chunk if not row.problem]
        try:
            return self._estimate(good), problems
        except EvidenceError:  # a row lacks the evidence that an estimator of the user needs: find this row
            measured, lacking = self._estimate_each(good)
        if lacking and is_first and not measured:  # no row has the evidence: the command is wrong, not the rows
            raise InputError(f"{self.reader.name}: no row has what --estimator needs: {lacking[0][1]}")
        return measured, sorted(problems + lacking, key=lambda problem: problem[0].number)

    def _estimate(self, rows: list[InputRow]) -> list[MeasuredRow]:
        results = self.scorer.measure([row.group for row in rows if row.group]) if rows else []
        return list(zip(rows, map(_without_samples, results), strict=True))

    def _note_questions(self, measured: list[MeasuredRow]) -> None:
        """Print which field was taken as the question, once, and count the rows that have no question."""
        for row, result in measured:
            uses = self.scorer.uses_question(result)
            if taken := self._questions.add(row.fields or {}, result, uses_question=uses):
                sys.stderr.write(f"question: the field {taken!r} (--question FIELD names another one)\n")

    def _estimate_each(self, rows: list[InputRow]) -> tuple[list[MeasuredRow], list[_Problem]]:
        measured, lacking = [], []
        for row in rows:
            try:
                measured += self._estimate([row])
            except EvidenceError as error:
                lacking.append((row, str(error)))
        return measured, lacking

    def _with_responses(
        self, rows: Generator[InputRow, None, None]
    ) -> contextlib.closing[Generator[InputRow, None, None]]:
        return contextlib.closing(self.row_sampler.fill(rows) if self.row_sampler else rows)

    def _activity(self) -> str:
        """Return the note of the progress bar. The note changes even while no row is complete."""
        drawn = f", {self.scorer.store.added} responses" if self.scorer.store else ""
        return f"{self.scorer.cache.arrived} verdicts{drawn}"

    # Rejected rows

    def _reject(self, problems: list[_Problem]) -> None:
        for row, problem in problems:
            self._bad += 1
            if not self.rejected or self._bad <= _SHOWN:
                sys.stderr.write(self._located(row, problem) + "\n")
            if not self.row_sampler and row.fields and not row.fields.get(self.names.responses):
                self._unanswered += row.needs_responses(self.names)
                self._similar_field = self._similar_field or _field_of_texts(row) or ""
            self._retryable += row.retry
        if self.rejected and self._bad > _SHOWN >= self._bad - len(problems):
            sys.stderr.write(f"... and more bad rows: all of them are in {self.rejected.path}\n")
        if problems and self.rejected:
            self.rejected.add(self._rejection(row, problem) for row, problem in problems)

    def _rejection(self, row: InputRow, problem: str) -> Rejection:
        unanswered = not self.row_sampler and row.needs_responses(self.names)
        return to_rejection(self.reader.number_key, row, problem, retry=row.retry or unanswered)

    def _located(self, row: InputRow, problem: str) -> str:
        return f"{self.reader.name}, {self.reader.unit} {row.number}: {problem}"

    def _hint(self) -> str:
        hints = []
        if self._unanswered:
            hints.append(
                f"hint: {self._unanswered} rows have a question and no responses: add --sampler NAME to ask a model"
            )
        if self._similar_field:
            hints.append(
                f"hint: the field {self._similar_field!r} holds texts: add --responses {self._similar_field} to use it"
            )
        return "\n".join(hints)

    def _earlier_rejections(self, existing: ExistingOutput | None) -> dict[int, Rejection]:
        """Return the rejections of earlier runs by row number. If the output does not exist, remove all rejections."""
        if not self.rejected:
            return {}
        if existing is None:
            self.rejected.clear()
        return self.rejected.read()

    def _retry_in_order(self, rejections: dict[int, Rejection], last: int) -> None:
        """Remove retryable rejections of rows after the last written row. This run measures these rows in order."""
        numbers = [number for number, rejection in rejections.items() if number > last and can_retry(rejection)]
        if numbers and self.row_sampler and self.rejected and not self.writer.is_final:
            for number in numbers:
                del rejections[number]
            self.rejected.replace(rejections)

    def _retry_rejected(self, rejections: dict[int, Rejection], progress: bool) -> int:
        """Retry rejected rows before the last written row. Return the number of rows that have a result now."""
        numbers = {number for number, rejection in rejections.items() if can_retry(rejection)}
        if not numbers or not self.row_sampler or not self.rejected:
            return 0
        all_rows = self.reader.rows()
        left: Generator[InputRow, None, None] = (row for row in all_rows if row.number in numbers)
        new: dict[int, MeasuredRow] = {}
        with (
            contextlib.closing(all_rows),
            self._with_responses(left) as rows,
            progress_bar("retried rows", len(numbers), progress, self._activity) as advance,
        ):
            while chunk := _take(rows, _CHUNK):
                good, problems = self._measure(chunk, is_first=False)
                if problems and self.strict:
                    raise InputError(self._located(*problems[0]))
                new.update((row.number, (row, result)) for row, result in good)
                self._retryable += sum(row.retry for row, _ in problems)
                final = {row.number: self._rejection(row, problem) for row, problem in problems if not row.retry}
                if final:  # the row is wrong: do not retry it in later runs
                    self.rejected.replace({**self.rejected.read(), **final})
                advance(len(chunk))
        if new:
            insert_results(new, self.writer, self._second_writer(), self.reader, self.names, self.rejected)
            self.rows += len(new)
        return len(new)

    def _second_writer(self) -> ResultWriter:
        return open_writer(str(second_path(Path(self.writer.name))), self.reader)

    # Continuing an output

    def _skip_written(self, rows: Iterator[InputRow], existing: ExistingOutput) -> tuple[int, int]:
        """Skip the rows that have results. Check that the output has the same input and the same settings.

        Returns the number of results and the row number of the last result.
        """
        if not existing.written:
            return 0, 0
        written = islice(rows, existing.written)
        first = last = next(written, None)
        count = int(first is not None)
        for last in written:  # noqa: B007  # only the last row is needed
            count += 1
        if first and last:
            first, last = first.marked_as_sampled(self.names), last.marked_as_sampled(self.names)
        if first is None or last is None or count < existing.written or not existing.comes_from(first, last):
            raise InputError(f"{self.writer.name} holds results of another input: remove it, or use --overwrite")
        self._check_sampling(existing)
        self._check_settings(existing, last)
        return count, last.number

    def _check_sampling(self, existing: ExistingOutput) -> None:
        """Raise InputError if the sampler or the number of responses differs from the existing results."""
        sampler = self.scorer.sampler
        now = {"sampler": sampler.describe(), "n": self.scorer.n} if sampler else dict.fromkeys(FIXED_SAMPLING)
        for name, then in existing.drawn.items():
            if then != now[name]:
                raise self._different(name, then, now[name])

    def _check_settings(self, existing: ExistingOutput, last: InputRow) -> None:
        """Measure the last written row again. Raise InputError if its settings differ from those in the output."""
        if self.row_sampler:
            last = self.row_sampler.restore(last, self.writer.name)
        try:
            now = self._measured_provenance(last)
        except InputError as error:
            raise InputError(f"{self.writer.name} was made with other settings ({error}): use --overwrite") from error
        written = existing.settings(last)
        for name in FIXED_SETTINGS:
            if written.get(name) != getattr(now, name):
                raise self._different(name, written.get(name), getattr(now, name))

    def _measured_provenance(self, row: InputRow) -> Provenance:
        if row.problem:
            raise InputError(row.problem)
        ((_, result),) = self._estimate([row])
        return result.provenance

    def _different(self, name: str, then: object, now: object) -> InputError:
        but = f"no {name}" if now is None else f"{name} {now!r}"
        return InputError(
            f"{self.writer.name} was made with {name} {then!r}, and this run has {but}: use --overwrite, or "
            "another output"
        )


def _without_samples(result: Result) -> Result:
    """Return the result without its samples, because the output row already has the responses."""
    return result if result.samples is None else replace(result, samples=None)


def _field_of_texts(row: InputRow) -> str | None:
    """Return the name of a field with a list of texts, which may be the responses; None: there is no such field."""
    fields = (row.fields or {}).items()
    return next((name for name, value in fields if value and isinstance(value, list) and _are_texts(value)), None)


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _take(rows: Iterator[InputRow], size: int) -> list[InputRow]:
    """Take the next rows: at most `size` rows, and only rows that arrive within `_CHUNK_SECONDS`."""
    taken: list[InputRow] = []
    began = time.perf_counter()
    for row in rows:
        taken.append(row)
        if len(taken) == size or time.perf_counter() - began > _CHUNK_SECONDS:
            break
    return taken


def _next_size(size: int, seconds: float) -> int:
    """Return the size of the next chunk. The last chunk had `size` rows and took `seconds`."""
    if seconds > _CHUNK_SECONDS:
        return max(1, size // 2)
    return min(_CHUNK, 2 * size) if seconds < _CHUNK_SECONDS / 4 else size

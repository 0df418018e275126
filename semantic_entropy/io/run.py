"""One pass over a file: keep the results that exist, measure the other rows, and write each result as soon as possible.

A result is kept if its row has the same key and its run the same choices (`fingerprints`). So a row that was edited,
added, or failed for a server's sake is one case: it has no result, and is measured. At the end, the output has the rows
of the input in their order, as if one run had measured all of them.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

from semantic_entropy.clusters import EVIDENCE_FIELDS
from semantic_entropy.decisions import GateSummary, RowGate
from semantic_entropy.errors import EvidenceError, InputError, SamplingError
from semantic_entropy.files import locked_output
from semantic_entropy.io.bad_rows import BadRow, BadRows
from semantic_entropy.io.fingerprints import row_key, run_choices
from semantic_entropy.io.formats import (
    FOUND,
    InputOptions,
    check_paths,
    is_parquet,
    is_stream,
    open_reader,
    open_writer,
)
from semantic_entropy.io.rows import InputRow, MeasuredRow, RowReader
from semantic_entropy.io.run_summary import RunSummary
from semantic_entropy.io.sampled_rows import RowSampler
from semantic_entropy.plain_text import plural
from semantic_entropy.progress import progress_bar
from semantic_entropy.results import MAX_UNDECIDED, Result, undecided_warning
from semantic_entropy.scorer import Scorer
from semantic_entropy.tables import FieldNames, QuestionUse

_CHUNK = 256  # most rows in one pipeline run: enough pairs to fill a model's batch
_CHUNK_PAIRS = 500_000  # most pairs of responses in a chunk, unless one row has more: estimators can read a matrix
_CHUNK_SECONDS = 2.0  # longest time for a chunk: a kill loses one chunk, and the progress bar moves after each chunk


OpenReader = Callable[[FieldNames, bool, bool], RowReader]
"""Opens a reader, given the names of the fields, `has_sampler` and `copies_cells`, as `open_reader` has them."""


class FileRun:
    """One pass over a file.

    Args:
        scorer: the scorer that measures the rows. If it has a sampler, the sampler draws missing responses.
        source: the input file; "-": standard input; or what opens the reader of another input.
        output: the output file; None or "-": standard output. A symbolic link stays: its target is written.
        names: the names of the fields that are measured.
        overwrite: True: remove an existing output and measure all rows; False: continue it.
        strict: True: stop at the first bad row; False: write bad rows to OUTPUT.bad.jsonl.
        options: how the input is read.
        gate: counts the rows that fail a rule, with those that have their result from an earlier run.
        chunk_rows: the number of rows in a pipeline run; None: it follows the speed of the judge, so that a kill loses
            little work.

    Raises:
        InputError: the input does not exist, two paths are the same file, or a suffix is unknown.
        MissingDependencyError: a file is a Parquet file, and pyarrow is not installed.
    """

    def __init__(
        self,
        scorer: Scorer,
        source: str | OpenReader,
        output: str | None,
        *,
        names: FieldNames,
        overwrite: bool,
        strict: bool,
        options: InputOptions = FOUND,
        gate: RowGate | None = None,
        chunk_rows: int | None = None,
    ) -> None:
        self.gate = gate
        names = replace(names, evidence=scorer.needs & set(EVIDENCE_FIELDS))
        self.scorer, self.names, self.strict, self.overwrite = scorer, names, strict, overwrite
        self.rows = 0  # number of rows measured and written so far
        self.skipped = 0  # number of rows whose results were kept so far
        self._chunk: list[InputRow] = []  # rows that have arrived and are not measured yet
        self._is_adaptive = chunk_rows is None
        self._size = chunk_rows or _CHUNK // 8  # number of rows that fill the chunk
        self._lacking: list[BadRow] = []  # rows before the first result that lack evidence
        self._noted_responses = False
        self._shown = 0  # number of rows that the progress bar has counted
        self._advance: Callable[[int], object] = int  # moves the progress bar
        samples, cache = (getattr(store, "path", None) for store in (scorer.store, scorer.cache))
        check_paths(source if isinstance(source, str) else None, output, samples, cache, options.requests)
        self.row_sampler = RowSampler(scorer.sampling_run(), names) if scorer.sampler else None
        has_sampler = self.row_sampler is not None
        copies_cells = is_parquet(output) and not is_stream(output) and not has_sampler
        on_wait = None if has_sampler else self._input_waits  # a sampler may read rows in another thread
        self.reader = (
            open_reader(source, names, options, on_wait=on_wait, copies_cells=copies_cells, has_sampler=has_sampler)
            if isinstance(source, str)
            else source(names, has_sampler, copies_cells)
        )
        self.writer = open_writer(output, self.reader, run_choices(scorer, names))
        report = None if self.writer.path is None else Path(f"{output}.bad.jsonl")
        self.bad = BadRows(self.reader, report, has_sampler=has_sampler)
        self._questions = QuestionUse(names)
        self._most_responses = self._usable = 0  # of a row that was measured; rows with two valid answers
        self._given = self._given_cut_off = 0  # responses of the input that were measured; those that were cut off

    def execute(self, progress: bool, on_rows: Callable[[int], object] | None = None) -> RunSummary:
        """Measure the rows that have no result yet.

        Args:
            progress: True: show a progress bar.
            on_rows: called with the number of newly finished rows, in place of the progress bar.

        Raises:
            InputError: there is a bad row and `strict` is true; or the existing output belongs to another input or was
                made with other choices; or another run is writing the output.
            SemanticEntropyError: the output cannot be written, for example because the disk is full. The rows written
                before stay in the output.
        """
        start = time.perf_counter()
        with contextlib.ExitStack() as stack:
            if self.writer.path is not None:
                stack.enter_context(locked_output(self.writer.path))
            self.bad.check()
            if self.overwrite:
                self.writer.clear()
            stack.enter_context(self.writer)
            self._check_same_input()
            stack.enter_context(self.bad)
            rows = stack.enter_context(contextlib.closing(self.reader.rows()))
            total = self.reader.total() if progress else None
            self._advance = on_rows or stack.enter_context(progress_bar("rows", total, progress, self._activity))
            self._measure_all(self._without_results(rows))
            self._check_evidence()
            removed = self._check_removed()
            self.writer.finish()
        drawn = self.row_sampler.run if self.row_sampler else None
        return RunSummary(
            rows=self.rows,
            skipped=self.skipped,
            rejected=self.bad.count,
            rejected_file=str(self.bad.path or ""),
            seconds=time.perf_counter() - start,
            retryable=self.bad.retryable,
            removed=removed,
            empty_input="" if self.skipped or self.rows or self.bad.count else self.reader.name,
            hint="\n".join(filter(None, (self.bad.hint(), self._nulls_hint()))),
            warning="\nwarning: ".join(filter(None, self._warnings())),
            pairs=self.writer.pairs,
            undecided=self.writer.undecided,
            responses=self._given + (drawn.responses if drawn else 0),
            cut_off=self._given_cut_off + (drawn.cut_off if drawn else 0),
            empty=drawn.empty if drawn else 0,
            gate=self._gate_summary(self.gate) if self.gate else None,
        )

    # Keeping

    def _without_results(self, rows: Generator[InputRow, None, None]) -> Generator[InputRow, None, None]:
        """Keep the rows that have a result, and yield the others: with a key, or with a problem."""
        for row in rows:
            if problem := self.writer.prepare(row):
                yield replace(row, problem=problem, fields=None)  # without fields, no sampler is asked
            elif not self._can_be_measured(row):
                yield row
            else:
                keyed = replace(row, key=row_key(row, self.names))
                if self.writer.keep(keyed):
                    self.skipped += 1
                    if self.gate:
                        self.gate.add(keyed.number, self.writer.kept(keyed.number))
                    if self.skipped % _CHUNK == 0:
                        self._move_bar()
                else:
                    yield keyed

    def _can_be_measured(self, row: InputRow) -> bool:
        return not row.problem or (self.row_sampler is not None and row.needs_responses(self.names))

    def _check_same_input(self) -> None:
        """Raise InputError if more than half of the existing results belong to no row of the input file.

        So a wrong input costs nothing. An input that can be read once is checked at the end of the run.
        """
        index = self.writer.index
        if index and self.reader.can_reread:
            with contextlib.closing(self.reader.rows()) as rows:
                keys = (row_key(row, self.names) for row in rows if self._can_be_measured(row))
                self._check_unused(index.unused_by(keys), len(index))

    def _check_removed(self) -> int:
        """Return the number of results without a row in the input.

        Raises:
            InputError: they are more than half of the existing results. The output is as it was before the run.
        """
        index = self.writer.index
        if index is None:
            return 0
        try:
            self._check_unused(index.unused, len(index))
        except InputError:
            self.writer.drop_written()
            raise
        return index.unused

    def _check_unused(self, unused: int, existing: int) -> None:
        output, source = self.writer.name, self.reader.name
        if unused * 2 <= existing:
            return
        if unused == existing:
            raise InputError(
                f"{output} holds results of another input: none of its {existing} results belongs to a row of "
                f"{source}. Use --overwrite, or another output"
            )
        raise InputError(
            f"{unused} of the {existing} results in {output} belong to no row of {source}, and would be removed. The "
            "output was not changed: use the whole input, another output, or --overwrite"
        )

    # Measuring

    def _measure_all(self, rows: Generator[InputRow, None, None]) -> None:
        """Measure rows in chunks. A chunk ends when it is full, has lasted long enough, or the input pauses."""
        with contextlib.closing(self.row_sampler.fill(rows) if self.row_sampler else rows) as filled:
            began, pairs = 0.0, 0
            may_be_early = self._is_adaptive or self.row_sampler is not None  # a sampler delivers rows slowly
            try:
                for row in filled:
                    if not self._chunk:
                        began, pairs = time.perf_counter(), 0
                    self._chunk.append(row)
                    pairs += len(row.group.responses) ** 2 if row.group else 0
                    is_full = len(self._chunk) >= self._size or pairs >= _CHUNK_PAIRS
                    if is_full or (may_be_early and time.perf_counter() - began > _CHUNK_SECONDS):
                        self._end_chunk()
            except SamplingError:  # the rows before have their responses
                self._end_chunk()
                raise
            self._end_chunk()

    def _input_waits(self) -> None:
        """Measure the rows that have arrived: the program that writes to the pipe may wait for their results."""
        if self._chunk:
            self._end_chunk()

    def _end_chunk(self) -> None:
        chunk, self._chunk = self._chunk, []
        began = time.perf_counter()
        self._measure_chunk(chunk)
        if self._is_adaptive:
            self._size = _next_size(self._size, time.perf_counter() - began)
        self._move_bar()

    def _move_bar(self) -> None:
        seen = self.rows + self.skipped + self.bad.count
        self._advance(seen - self._shown)
        self._shown = seen

    def _measure_chunk(self, chunk: list[InputRow]) -> None:
        """Write the rows that can be measured, and report the others."""
        good, bad = self._measure(chunk)
        if bad and self.strict:
            self.writer.write([(row, result) for row, result in good if row.number < bad[0][0].number])
            raise InputError(self.bad.located(*bad[0]))
        self.bad.add(bad)
        self.writer.write(good)
        self.rows += len(good)
        if self.gate:
            self.gate.add_results((row.number, result) for row, result in good)
            self.gate.add_bad((row.number, problem) for row, problem in bad)
        for row, result in good:
            self._note_question(row, result)
            self.writer.count_pairs(result.provenance.pairs, result.provenance.undecided)
            self._count_responses(row, result.n_valid)

    def _count_responses(self, row: InputRow, n_valid: int) -> None:
        self._usable += n_valid > 1
        if row.group:
            self._note_responses(row)
            self._most_responses = max(self._most_responses, len(row.group.responses))
            if row.group.cut_off is not None:  # replies of a chat model; the sampling run counts its own responses
                self._given += len(row.group.responses)
                self._given_cut_off += row.group.cut_off

    def _note_responses(self, row: InputRow) -> None:
        found = self.names.responses_field(row.fields or {})
        if found != self.names.responses and not self._noted_responses:
            self._noted_responses = True
            sys.stderr.write(f"responses: the field {found!r} (--responses FIELD names another one)\n")

    def _measure(self, chunk: list[InputRow]) -> tuple[list[MeasuredRow], list[BadRow]]:
        """Return the rows with their results, and the bad rows with their problems."""
        bad = [(row, row.problem) for row in chunk if row.problem]
        good = [row for row in chunk if not row.problem]
        try:
            return self._estimate(good), bad
        except EvidenceError:  # a row lacks the evidence that an estimator of the user needs: find this row
            measured, lacking = self._estimate_each(good)
        if not (measured or self.rows or self.skipped):
            self._lacking += lacking
            if len(self._lacking) >= _CHUNK:
                self._check_evidence()
        return measured, sorted(bad + lacking, key=lambda found: found[0].number)

    def _check_evidence(self) -> None:
        """Raise InputError if no row so far has the evidence that the estimators need: the command is wrong."""
        if self._lacking and not self.rows and not self.skipped:
            row, problem = self._lacking[0]
            raise InputError(
                f"{self.reader.name}: none of the {len(self._lacking)} rows from {self.reader.unit} {row.number} has "
                f"what --estimator{' or --calibration' * bool(self.scorer.calibration)} needs: {problem}"
            )

    def _estimate(self, rows: list[InputRow]) -> list[MeasuredRow]:
        results = self.scorer.measure([row.group for row in rows if row.group]) if rows else []
        return list(zip(rows, map(_without_samples, results), strict=True))

    def _estimate_each(self, rows: list[InputRow]) -> tuple[list[MeasuredRow], list[BadRow]]:
        measured, lacking = [], []
        for row in rows:
            try:
                measured += self._estimate([row])
            except EvidenceError as error:
                note = f" ({row.group.note})" if row.group and row.group.note else ""
                lacking.append((row, f"{error}{note}"))
        return measured, lacking

    def _warnings(self) -> Generator[str, None, None]:
        """Yield a warning if rows have no question, if no row has two answers, and if too many pairs are undecided."""
        yield self._questions.warning(self.reader.question_option)
        if self._most_responses == 1:
            yield (
                f"each of the {self.rows} rows has one response, so there is nothing to compare: give several "
                "responses for each question, or --group-by FIELD with a field that the rows of one question share"
            )
        elif self.rows and not self._usable:
            yield f"none of the {self.rows} rows has two valid answers, so nothing was compared: no score says anything"
        if (undecided := self.writer.undecided) > MAX_UNDECIDED * self.writer.pairs:
            yield undecided_warning(undecided, self.writer.pairs)

    def _note_question(self, row: InputRow, result: Result) -> None:
        """Print which field was taken as the question, once, and count the rows that have no question."""
        uses = self.scorer.uses_question(result)
        question = row.group.question if row.group else None
        if taken := self._questions.add(row.fields or {}, question, result, uses_question=uses):
            sys.stderr.write(f"question: the field {taken!r} (--question FIELD names another one)\n")

    def _nulls_hint(self) -> str:
        many = plural(self.writer.nulls, "row")
        return f"{many} with a nan in a field: null was written, which JSON has" if self.writer.nulls else ""

    def _gate_summary(self, gate: RowGate) -> GateSummary:
        """Return the summary of the gate. Of several files, a failed row has the number in its file."""
        made, found = gate.summary(self.reader.unit), []
        for number, reason in made.first:
            place = self.reader.place(number)
            found.append((place.number, reason if place.name == self.reader.name else f"({place.name}) {reason}"))
        return replace(made, first=tuple(found))

    def _activity(self) -> str:
        """Return the note of the progress bar. The note changes even while no row is complete."""
        drawn = f", {self.scorer.store.added} responses" if self.scorer.store else ""
        return f"{self.scorer.cache.arrived} verdicts{drawn}"


def _without_samples(result: Result) -> Result:
    """Return the result without its samples, because the output row has the responses and the greedy answer."""
    return result if result.samples is None else replace(result, samples=None, greedy_sample=None)


def _next_size(size: int, seconds: float) -> int:
    """Return the size of the next chunk. The last chunk had `size` rows and took `seconds`."""
    if seconds > _CHUNK_SECONDS:
        return max(1, size // 2)
    return min(_CHUNK, 2 * size) if seconds < _CHUNK_SECONDS / 4 else size

"""One run over inputs of any size: plan, continue, score all shards, and write the manifest.

The memory of a run does not depend on the number of rows: a worker holds a part of one shard, and this process holds
the plan and the record of each shard, about a kilobyte for each four megabytes of input.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from semantic_entropy.bulk.earlier_results import keep_results
from semantic_entropy.bulk.local_engine import OpenScorer, default_workers, score_alone, score_in_processes
from semantic_entropy.bulk.manifest import BAD_ROWS, Manifest, Shard
from semantic_entropy.bulk.one_file import OneFile
from semantic_entropy.bulk.ray_engine import RayOptions, check_ray, score_with_ray
from semantic_entropy.bulk.ray_generation import Generation, draw_shards
from semantic_entropy.bulk.sections import SHARD_MB, BulkInput, check_apart, described, find_inputs, unread_files
from semantic_entropy.bulk.shard_scoring import BATCH_SIZE, ShardRecord, ShardTask
from semantic_entropy.bulk.storage import open_storage
from semantic_entropy.clusters import EVIDENCE_FIELDS
from semantic_entropy.decisions import GateSummary, RowGate
from semantic_entropy.files import locked_output
from semantic_entropy.io import InputOptions, RunSummary
from semantic_entropy.io.fingerprints import RunChoices, run_choices
from semantic_entropy.io.readers.parquet_folder import MANIFEST
from semantic_entropy.plain_text import one_line, plural
from semantic_entropy.progress import progress_bar
from semantic_entropy.results import MAX_UNDECIDED, undecided_warning
from semantic_entropy.scorer import Scorer
from semantic_entropy.tables import FieldNames

_SAVE_INTERVAL = 60.0  # seconds between two writes of the manifest during a run
_SHOWN = 10  # notes, bad rows and failed rows that are printed


class BulkRun:
    """One run with a folder as output, or with one file that the shards become.

    Args:
        open_scorer: opens the scorer, here and in each worker. It can be pickled.
        sources: files, folders, patterns and URLs.
        output: the folder or URL of the output, or the file.
        names: the names of the fields that are measured.
        options: how the input is read.
        overwrite: True: remove the results of an earlier run; False: continue it.
        strict: True: stop at the first bad row.
        gate: makes the gate; it can be pickled. None: the run has no gate.
        gate_key: a text that changes with the rule of the gate.
        workers: the processes of the engine `local`; None: `default_workers`.
        batch_size: the number of groups in one pipeline run.
        shard_mb: megabytes of input in a shard; None: that of the earlier run, or `SHARD_MB`.
        ray: the options of the engine `ray`; None: the engine `local`.
        generation: how the engine `ray` draws the responses of rows that have none; None: they have responses.

    Attributes:
        measured: the number of rows that were measured so far.
    """

    def __init__(
        self,
        open_scorer: OpenScorer,
        sources: Sequence[str],
        output: str | OneFile,
        *,
        names: FieldNames,
        options: InputOptions,
        overwrite: bool = False,
        strict: bool = False,
        gate: Callable[[], RowGate] | None = None,
        gate_key: str = "",
        workers: int | None = None,
        batch_size: int = BATCH_SIZE,
        shard_mb: float | None = None,
        ray: RayOptions | None = None,
        generation: Generation | None = None,
    ) -> None:
        self._open_scorer, self._sources = open_scorer, sources
        self._file = output if isinstance(output, OneFile) else None
        self._storage = open_storage(output if isinstance(output, str) else str(output.folder))
        self._names, self._options, self._overwrite, self._strict = names, options, overwrite, strict
        self._gate, self._gate_key = gate, gate_key
        self._workers, self._batch_size, self._shard_mb, self._ray = workers, batch_size, shard_mb, ray
        self._generation = generation
        self._saved = time.monotonic()
        self._said: set[str] = set()  # notes, without their numbers
        self._removed = 0  # earlier results without a row in the input
        self._in_shard = 0  # rows of the shard that this process is scoring
        self.measured = 0

    def execute(self, *, progress: bool) -> RunSummary:
        """Score the shards that are not finished.

        Raises:
            InputError: the input cannot be read or cut; the output is in the input, or belongs to another run; with
                `strict`, a row is bad.
            MissingDependencyError: pyarrow, fsspec or ray is not installed.
            SemanticEntropyError: the errors of `Scorer.measure`; or workers died; or the output cannot be written.
        """
        if self._ray is not None:
            check_ray()  # before any file is written
        suffix = self._file.suffix if self._file else ".parquet"
        if suffix == ".parquet":
            import semantic_entropy.tables.arrow  # noqa: F401  # a missing pyarrow is an error before any work

        start = time.perf_counter()
        inputs = find_inputs(self._sources, self._options)
        check_apart(self._sources, inputs, str(self._file.path) if self._file else self._storage.root)
        with contextlib.ExitStack() as stack:
            if self._file:
                stack.enter_context(self._file.begun(overwrite=self._overwrite))
            if self._storage.local is not None:
                self._storage.local.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked_output(self._storage.local / MANIFEST))
            opened = contextlib.ExitStack()
            scorer = stack.enter_context(opened).enter_context(self._open_scorer())
            workers = self._workers or default_workers(scorer)
            names = replace(self._names, evidence=scorer.needs & set(EVIDENCE_FIELDS))
            runs = run_choices(scorer, names)
            manifest = self._open_manifest(inputs, runs, names, suffix, scorer, progress)
            waiting = [shard for shard in manifest.shards if not manifest.is_finished(shard, self._gate_key)]
            tasks = [self._task(shard, manifest) for shard in waiting]
            done = len(manifest.shards) - len(tasks)
            if self._ray is not None:
                opened.close()
                if self._generation is not None:
                    draw_shards(self._storage, waiting, self._names, self._options, self._generation, progress=progress)
                who, records = "Ray", score_with_ray(self._open_scorer, tasks, self._ray)
            elif workers == 1 or len(tasks) < 2:
                who, records = "this process", score_alone(scorer, tasks, self._note_rows)
            else:
                opened.close()  # a loaded model must not stay here beside those of the workers
                workers = min(workers, len(tasks))
                who, records = f"{workers} workers", score_in_processes(self._open_scorer, tasks, workers)
            cut = f"{plural(len(manifest.shards), 'shard')} of {manifest.shard_mb:g} MB"
            sys.stderr.write(f"{described(inputs)} in {cut}, {done:,} of them finished; {who}\n")
            try:
                with progress_bar("shards", len(tasks), progress, self._activity) as advance:
                    self._collect(manifest, stack.enter_context(contextlib.closing(records)), advance)
            except BaseException:
                manifest.save(finished=False)
                raise
            manifest.finish()
            self._show_bad_rows(manifest)
            if self._file:
                self._file.join(manifest, names, runs, self._options)
        return self._summary(manifest, time.perf_counter() - start)

    def _open_manifest(
        self,
        inputs: Sequence[BulkInput],
        runs: Sequence[RunChoices],
        names: FieldNames,
        suffix: str,
        scorer: Scorer,
        progress: bool,
    ) -> Manifest:
        """Return the manifest of the run. If an input has changed, the results of its unchanged rows are kept."""
        manifest = Manifest.open(
            self._storage,
            self._with_reading(runs),
            inputs,
            self._shard_mb,
            default_mb=SHARD_MB,
            overwrite=self._overwrite,
            suffix=suffix,
            replaces=self._file.identity if self._file else "",
            in_order=self._file is not None,
            progress=progress,
        )
        if manifest.changed:
            draws = scorer.sampler is not None or self._generation is not None
            self._removed = keep_results(manifest, names, self._options, runs, draws=draws, progress=progress)
        return manifest

    def _task(self, shard: Shard, manifest: Manifest) -> ShardTask:
        before = manifest.records.get(shard.name)
        return ShardTask(
            shard.name,
            shard.section,
            self._storage.root,
            self._names,
            self._options,
            self._batch_size,
            self._strict,
            self._gate,
            self._gate_key,
            self._generation is not None,
            manifest.suffix,
            (before.responses, before.cut_off, before.empty) if before else (0, 0, 0),
        )

    def _with_reading(self, runs: Sequence[RunChoices]) -> list[RunChoices]:
        """Return the choices with what decides which rows are read, as the key of a row does for a file."""
        reading = {
            "question field": self._names.question,
            "input format": self._options.format,
            "requests": self._options.requests,
        }
        given = {name: value for name, value in reading.items() if value}
        if self._generation is not None:
            given |= self._generation.choices
        return [{**choices, **given} for choices in runs]

    def _collect(self, manifest: Manifest, records: Iterable[ShardRecord], advance: Callable[[int], object]) -> None:
        for record in records:
            manifest.records[record.name] = record
            self.measured, self._in_shard = self.measured + record.measured, 0
            for note in record.notes:
                self._say(note)
            advance(1)
            if time.monotonic() - self._saved > _SAVE_INTERVAL:
                manifest.save(finished=False)
                self._saved = time.monotonic()
        self._say_rest()

    def _note_rows(self, rows: int) -> None:
        self._in_shard += rows

    def _activity(self) -> str:
        return f"{self.measured + self._in_shard:,} rows"

    def _say(self, note: str) -> None:
        """Print a note once. Notes of several shards differ in numbers only."""
        kind = "".join(char for char in note if not char.isdigit())
        if kind not in self._said and len(self._said) < _SHOWN:
            sys.stderr.write(note + "\n")
        self._said.add(kind)

    def _say_rest(self) -> None:
        """Print how many notes were not printed."""
        if (rest := len(self._said) - _SHOWN) > 0:
            sys.stderr.write(f"... and {plural(rest, 'other note')}\n")

    def _show_bad_rows(self, manifest: Manifest) -> None:
        """Print the first bad rows, as for one file."""
        for line in itertools.islice(manifest.bad_rows(), _SHOWN):
            bad = json.loads(line)
            unit = "line" if "line" in bad else "row"
            place = bad.get("line", bad.get("row_number"))
            sys.stderr.write(one_line(f"{bad['input']}, {unit} {place}: {bad['problem']}") + "\n")
        if sum(each.rejected for each in manifest.records.values()) > _SHOWN:
            sys.stderr.write(f"... and more bad rows: all of them are in {self._report}\n")

    @property
    def _report(self) -> str:
        return str(self._file.report) if self._file else f"{self._storage.root}/{BAD_ROWS}"

    def _summary(self, manifest: Manifest, seconds: float) -> RunSummary:
        records = list(manifest.records.values())
        rejected = sum(each.rejected for each in records)
        pairs, undecided = sum(each.pairs for each in records), sum(each.undecided for each in records)
        return RunSummary(
            rows=self.measured,
            skipped=sum(each.rows for each in records) - self.measured,
            rejected=rejected,
            rejected_file=self._report if rejected else "",
            seconds=seconds,
            retryable=sum(each.retryable for each in records),
            removed=self._removed,
            pairs=pairs,
            undecided=undecided,
            responses=sum(each.responses for each in records),
            cut_off=sum(each.cut_off for each in records),
            empty=sum(each.empty for each in records),
            empty_input="" if any(each.rows or each.rejected for each in records) else " ".join(self._sources),
            hint=unread_files(self._sources),
            warning=undecided_warning(undecided, pairs) if undecided > MAX_UNDECIDED * pairs else "",
            gate=self._gate_summary(manifest, records),
        )

    def _gate_summary(self, manifest: Manifest, records: Sequence[ShardRecord]) -> GateSummary | None:
        if self._gate is None:
            return None
        made = self._gate()
        first = [(number, f"({source}) {reason}") for source, number, reason in manifest.gate_first(_SHOWN)]
        rows, failed = sum(each.gate_rows for each in records), sum(each.gate_failed for each in records)
        made.add_counts(rows, failed, first)
        return made.summary("row")

"""One run over inputs of any size: plan, continue, score all shards, and write the manifest.

The memory of a run does not depend on the number of rows: a worker holds a part of one shard, and this process holds
the plan and the record of each shard, about a kilobyte for each four megabytes of input.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from semantic_entropy.bulk.local_engine import OpenScorer, default_workers, score_alone, score_in_processes
from semantic_entropy.bulk.manifest import BAD_ROWS, MANIFEST, Manifest
from semantic_entropy.bulk.ray_engine import RayOptions, score_with_ray
from semantic_entropy.bulk.ray_generation import Generation, draw_shards
from semantic_entropy.bulk.sections import SHARD_MB, Section, check_apart, described, find_inputs
from semantic_entropy.bulk.shard_scoring import BATCH_SIZE, ShardRecord, ShardTask
from semantic_entropy.bulk.storage import is_url, open_storage
from semantic_entropy.clusters import EVIDENCE_FIELDS
from semantic_entropy.decisions import GateSummary, RowGate
from semantic_entropy.files import locked_output
from semantic_entropy.io import InputOptions, RunSummary
from semantic_entropy.io.fingerprints import RunChoices, run_choices
from semantic_entropy.progress import progress_bar
from semantic_entropy.results import MAX_UNDECIDED, undecided_warning
from semantic_entropy.scorer import Scorer
from semantic_entropy.tables import FieldNames

_SAVE_INTERVAL = 60.0  # seconds between two writes of the manifest during a run
_SHOWN = 10  # notes, and failed rows, that are printed


def is_bulk_input(name: str) -> bool:
    """Whether an input is a folder, a pattern or a URL, which only a run with a folder as output reads."""
    return is_url(name) or Path(name).is_dir() or (not Path(name).exists() and any(mark in name for mark in "*?["))


def is_bulk_output(name: str | None) -> bool:
    """Whether an output is a folder: it exists, or its name ends with a slash, or it is a URL."""
    return name is not None and (is_url(name) or name.endswith("/") or Path(name).is_dir())


class BulkRun:
    """One run with a folder as output.

    Args:
        open_scorer: opens the scorer, here and in each worker. It can be pickled.
        sources: files, folders, patterns and URLs.
        output: the folder or URL of the output.
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
        output: str,
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
        self._storage = open_storage(output)
        self._names, self._options, self._overwrite, self._strict = names, options, overwrite, strict
        self._gate, self._gate_key = gate, gate_key
        self._workers, self._batch_size, self._shard_mb, self._ray = workers, batch_size, shard_mb, ray
        self._generation = generation
        self._saved = time.monotonic()
        self._said: set[str] = set()
        self.measured = 0

    def execute(self, *, progress: bool) -> RunSummary:
        """Score the shards that are not finished.

        Raises:
            InputError: the input cannot be read or cut; the output is in the input, or belongs to another run; with
                `strict`, a row is bad.
            MissingDependencyError: pyarrow, fsspec or ray is not installed.
            SemanticEntropyError: the errors of `Scorer.measure`; or workers died; or the output cannot be written.
        """
        import semantic_entropy.tables.arrow  # noqa: F401  # a missing pyarrow is an error before any work

        start = time.perf_counter()
        inputs = find_inputs(self._sources, self._options)
        check_apart(self._sources, inputs, self._storage.root)
        with contextlib.ExitStack() as stack:
            if self._storage.local is not None:
                self._storage.local.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked_output(self._storage.local / MANIFEST))
            opened = contextlib.ExitStack()
            scorer = stack.enter_context(opened).enter_context(self._open_scorer())
            workers = self._workers or default_workers(scorer)
            runs = self._choices(scorer)
            manifest = Manifest.open(
                self._storage, runs, inputs, self._shard_mb, default_mb=SHARD_MB, overwrite=self._overwrite
            )
            waiting = [shard for shard in manifest.shards if not manifest.is_finished(shard, self._gate_key)]
            tasks = [self._task(shard.name, shard.section) for shard in waiting]
            done = len(manifest.shards) - len(tasks)
            if self._ray is not None:
                opened.close()
                if self._generation is not None:
                    draw_shards(self._storage, waiting, self._names, self._options, self._generation)
                who, records = "Ray", score_with_ray(self._open_scorer, tasks, self._ray)
            elif workers == 1 or len(tasks) < 2:
                who, records = "this process", score_alone(scorer, tasks)
            else:
                opened.close()  # a loaded model must not stay here beside those of the workers
                workers = min(workers, len(tasks))
                who, records = f"{workers} workers", score_in_processes(self._open_scorer, tasks, workers)
            sys.stderr.write(
                f"{described(inputs)} in {len(manifest.shards):,} shards of {manifest.shard_mb:g} MB, {done:,} of them "
                f"finished; {who}\n"
            )
            try:
                with progress_bar("shards", len(tasks), progress, lambda: f"{self.measured:,} rows") as advance:
                    self._collect(manifest, stack.enter_context(contextlib.closing(records)), advance)
            except BaseException:
                manifest.save(finished=False)
                raise
            manifest.finish()
        return self._summary(manifest, time.perf_counter() - start)

    def _task(self, name: str, section: Section) -> ShardTask:
        return ShardTask(
            name,
            section,
            self._storage.root,
            self._names,
            self._options,
            self._batch_size,
            self._strict,
            self._gate,
            self._gate_key,
            self._generation is not None,
        )

    def _choices(self, scorer: Scorer) -> list[RunChoices]:
        """Return the choices of the run, and what decides which rows it reads, as the key of a row does for a file."""
        names = replace(self._names, evidence=scorer.needs & set(EVIDENCE_FIELDS))
        reading = {
            "question field": names.question,
            "input format": self._options.format,
            "requests": self._options.requests,
        }
        given = {name: value for name, value in reading.items() if value}
        if self._generation is not None:
            given |= self._generation.choices
        return [{**choices, **given} for choices in run_choices(scorer, names)]

    def _collect(self, manifest: Manifest, records: Iterable[ShardRecord], advance: Callable[[int], object]) -> None:
        for record in records:
            manifest.records[record.name] = record
            self.measured += record.measured
            for note in record.notes:
                self._say(note)
            advance(1)
            if time.monotonic() - self._saved > _SAVE_INTERVAL:
                manifest.save(finished=False)
                self._saved = time.monotonic()

    def _say(self, note: str) -> None:
        """Print a note once. Notes of several shards differ in numbers only."""
        kind = "".join(char for char in note if not char.isdigit())
        if kind not in self._said and len(self._said) < _SHOWN:
            self._said.add(kind)
            sys.stderr.write(note + "\n")

    def _summary(self, manifest: Manifest, seconds: float) -> RunSummary:
        records = list(manifest.records.values())
        root = self._storage.root
        rejected = sum(each.rejected for each in records)
        pairs, undecided = sum(each.pairs for each in records), sum(each.undecided for each in records)
        return RunSummary(
            rows=self.measured,
            skipped=sum(each.rows for each in records) - self.measured,
            rejected=rejected,
            rejected_file=f"{root}/{BAD_ROWS}" if rejected else "",
            seconds=seconds,
            retryable=sum(each.retryable for each in records),
            pairs=pairs,
            undecided=undecided,
            responses=sum(each.responses for each in records),
            cut_off=sum(each.cut_off for each in records),
            empty=sum(each.empty for each in records),
            empty_input="" if any(each.rows or each.rejected for each in records) else " ".join(self._sources),
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

"""Score one shard: a function of the scorer, the rows and the choices, which every engine calls.

The rows of the shard go through `io.FileRun`, as those of a whole file, so a shard is measured, resumed and reported in
the same way. What other shards hold changes nothing: the verdict cache in memory begins empty, and a pipeline run has a
fixed number of rows. So the same rows give the same bytes on any number of workers, on any engine. With a cache file,
only `provenance.asked` and `cached` depend on which shard asked first.

A shard is published in this order: bad rows, results, record. The record makes it a finished shard. A kill before this
costs the shard; on a local disk, a later run keeps the rows that were measured (`FileRun`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from semantic_entropy.bulk.sections import Section, options_of, section_file, write_section
from semantic_entropy.bulk.storage import Storage, open_storage
from semantic_entropy.decisions import RowGate
from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.files import digest_of, remove, sealed
from semantic_entropy.io import FileRun, InputOptions, check_row
from semantic_entropy.io.jsonl import JsonlReader
from semantic_entropy.io.readers.input_file import InputFile
from semantic_entropy.io.readers.parquet_folder import RECORDS
from semantic_entropy.io.rows import RowReader
from semantic_entropy.scorer import Scorer
from semantic_entropy.tables import FieldNames, free_name
from semantic_entropy.types import Group

BATCH_SIZE = 128
"""Groups in one pipeline run: some hundred pairs, which fill a batch of a model."""
RESPONSES = "_responses"
WORK = "_work"
FINISH_REASONS = "finish_reasons"
"""The field of a drawn row that says why each of its responses ended."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to score. It can be pickled, and holds no rows.

    Attributes:
        name: the name of the shard, such as "part-00000-000012".
        section: the rows.
        output: the path or URL of the output folder.
        names: the names of the fields that are measured.
        options: how the input is read.
        batch_size: the number of groups in one pipeline run.
        strict: True: a bad row is an error.
        gate: makes the gate of the run; None: there is none.
        gate_key: a text that changes with the rule of the gate.
        is_drawn: whether the rows, with drawn responses, are in `responses_file`.
        suffix: the suffix of the file with the results: ".parquet", or ".jsonl" for shards that become one file.
        counted: the responses, cut-off and empty ones that earlier runs counted in this shard.
    """

    name: str
    section: Section
    output: str
    names: FieldNames
    options: InputOptions
    batch_size: int = BATCH_SIZE
    strict: bool = False
    gate: Callable[[], RowGate] | None = None
    gate_key: str = ""
    is_drawn: bool = False
    suffix: str = ".parquet"
    counted: tuple[int, int, int] = (0, 0, 0)

    @property
    def file(self) -> str:
        """The name of the file with the results."""
        return f"{self.name}{self.suffix}"


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """What a finished shard holds. The counts are those of `io.RunSummary`.

    Attributes:
        name: the name of the shard.
        lines: the lines, or rows, of the section, with blank ones and bad rows.
        rows: the rows with a result.
        measured: those that the last run measured.
        size: bytes of the file with the results; 0: not known.
        digest: the digest of this file; empty: not known.
        bad_digest: the digest of the file with the bad rows; empty: there is none, or it is not known.
        input_digest: the digest of the rows of the section (`write_section`); empty: not known.
        gate_key: the rule of the gate that counted `gate_rows` and `gate_failed`; empty: no gate did.
        gate_first: the first failed rows: (number in the section, reason).
        notes: lines for the user, such as the field that was taken as the question.
    """

    name: str
    lines: int
    rows: int
    measured: int = 0
    size: int = 0
    digest: str = ""
    bad_digest: str = ""
    input_digest: str = ""
    rejected: int = 0
    retryable: int = 0
    pairs: int = 0
    undecided: int = 0
    responses: int = 0
    cut_off: int = 0
    empty: int = 0
    seconds: float = 0.0
    gate_key: str = ""
    gate_rows: int = 0
    gate_failed: int = 0
    gate_first: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values, without what belongs to one run."""
        values = dataclasses.asdict(self)
        del values["notes"]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ShardRecord:
        """Return the record of `to_json`."""
        first = tuple((int(number), str(reason)) for number, reason in values.get("gate_first", ()))
        return cls(**{**values, "gate_first": first})


def score_shard(scorer: Scorer, task: ShardTask, on_rows: Callable[[int], object] | None = None) -> ShardRecord:
    """Score a shard, publish it, and return its record.

    Args:
        scorer: the scorer.
        task: the shard.
        on_rows: called with the number of newly finished rows.

    Raises:
        InputError: the rows cannot be read; with `strict`, a row is bad.
        SemanticEntropyError: the errors of `Scorer.measure`; or the output cannot be written.
    """
    storage = open_storage(task.output)
    folder = work_folder(storage)
    folder.mkdir(mode=0o777 if storage.local else 0o700, parents=True, exist_ok=True)
    source, output = section_file(task.section, folder, task.name), folder / task.file
    if storage.local is None:  # what an earlier run left on this machine can have other choices, and be out of date
        for path in (*folder.glob(f"{task.name}.*"), *folder.glob(f".{task.name}.*")):
            remove(path)
    if task.is_drawn:
        source = source.with_suffix(".jsonl")
    notes = io.StringIO()
    try:
        lines = _write_drawn(storage, task.name, source) if task.is_drawn else write_section(task.section, source)
        is_kept = storage.fetch(task.file, output)  # a shard that is retried, or counted with another gate
        if getattr(scorer.cache, "path", None) is None:
            scorer.cache.clear()
        with contextlib.redirect_stderr(notes):
            if is_kept:
                _remove_damaged(storage, task, output)
            run = FileRun(
                scorer,
                functools.partial(_drawn_reader, source) if task.is_drawn else str(source),
                str(output),
                names=task.names,
                overwrite=False,
                strict=task.strict,
                options=options_of(task.section, task.options),
                gate=task.gate() if task.gate else None,
                chunk_rows=task.batch_size,
            )
            summary = run.execute(progress=False, on_rows=on_rows)
    except InputError as error:
        raise InputError(_with_place(str(error), source, task.section)) from error
    except SemanticEntropyError as error:
        raise type(error)(_with_place(f"{task.section}: {error}", source, task.section)) from error
    said = [line for line in notes.getvalue().splitlines() if not line.startswith((str(source), "... and more bad"))]
    said += [line for line in (*summary.warning.splitlines(), *summary.hint.splitlines()) if line]
    gate = summary.gate
    responses, cut_off, empty = task.counted
    bad = Path(f"{output}.bad.jsonl")
    record = ShardRecord(
        name=task.name,
        lines=lines,
        rows=summary.rows + summary.skipped,
        measured=summary.rows,
        size=output.stat().st_size,
        digest=digest_of(output),
        bad_digest=digest_of(bad) if bad.exists() else "",
        input_digest=digest_of(source),
        rejected=summary.rejected,
        retryable=summary.retryable,
        pairs=summary.pairs,
        undecided=summary.undecided,
        responses=summary.responses + responses,
        cut_off=summary.cut_off + cut_off,
        empty=summary.empty + empty,
        seconds=round(summary.seconds, 3),
        gate_key=task.gate_key,
        gate_rows=gate.rows if gate else 0,
        gate_failed=gate.failed if gate else 0,
        gate_first=gate.first if gate else (),
        notes=tuple(_with_place(line, source, task.section) for line in said),
    )
    storage.remove(f"{RECORDS}/{task.name}.bad.jsonl")
    if bad.exists():
        storage.publish(bad, f"{RECORDS}/{task.name}.bad.jsonl")
    storage.publish(output, task.file)
    storage.write(f"{RECORDS}/{task.name}.json", sealed(record.to_json()))
    remove(source)
    return record


def _remove_damaged(storage: Storage, task: ShardTask, output: Path) -> None:
    """Remove the copy of an earlier result that cannot be read, so that its rows are measured again."""
    if task.suffix != ".parquet":
        return
    from semantic_entropy.tables.arrow import pa, read_whole

    try:
        read_whole(output)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a name of a column
        sys.stderr.write(f"{storage.root}/{task.file} is damaged ({error}): its rows are measured again\n")
        remove(output)


def responses_file(name: str) -> str:
    """Return the name of the file with the rows of a shard and their drawn responses."""
    return f"{RESPONSES}/{name}.jsonl"


def _write_drawn(storage: Storage, name: str, target: Path) -> int:
    if not storage.fetch(responses_file(name), target):
        raise InputError(f"{storage.root}/{responses_file(name)} is missing: run the same command again to draw it")
    with target.open("rb") as file:
        return sum(1 for _ in file)


def _drawn_reader(source: Path, names: FieldNames, *_: bool) -> RowReader:
    return JsonlReader(InputFile(str(source)), names, _check_drawn)


def _check_drawn(fields: Mapping[str, Any], names: FieldNames) -> tuple[Group | None, str | None]:
    """Read the group of a row as usual, with the number of its responses that reached the token limit."""
    group, problem = check_row(fields, names)
    reasons = fields.get(free_name(FINISH_REASONS, (FINISH_REASONS,)), fields.get(FINISH_REASONS))
    if group is None or not isinstance(reasons, list):
        return group, problem
    return replace(group, cut_off=reasons.count("length")), problem


def work_folder(storage: Storage) -> Path:
    """Return the local folder for shards that are not finished. For a bucket, each user has another one."""
    if storage.local is not None:
        return storage.local / WORK
    digest = hashlib.sha256(f"{getattr(os, 'getuid', int)()} {storage.root}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"semantic-entropy-{digest}"


def _with_place(text: str, source: Path, section: Section) -> str:
    """Replace the path of the temporary file by the section that it holds."""
    return text.replace(f"{source}, ", f"{section}: ").replace(str(source), str(section))

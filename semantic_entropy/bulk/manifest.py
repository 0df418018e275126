"""The manifest of an output folder: what the run is, and which shards are finished.

    OUT/_manifest.json          choices, inputs, size of a shard; at the end, the record of each shard
    OUT/part-00000-000012.parquet   the results of shard 12 of input 0 (.jsonl: `one_file`)
    OUT/_bad.jsonl              the bad rows of all shards, written at the end
    OUT/_shards/                records of finished shards, until the manifest has them
    OUT/_responses/             the rows with the responses that `ray_generation` drew
    OUT/_work/                  shards that are not finished (in a bucket: a folder of this machine)

A run continues if its choices are equal (`io.fingerprints`). Inputs can be added; if one has changed, `earlier_results`
keeps the results of its unchanged rows. A shard whose file is gone, or is not the one that its record describes, is
scored again. The manifest and the records end with a digest of their content (`files.sealed`).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from semantic_entropy.bulk.sections import BulkInput, Section, cut
from semantic_entropy.bulk.shard_scoring import RESPONSES, WORK, ShardRecord, work_folder
from semantic_entropy.bulk.storage import Storage
from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.files import digest_of, sealed, unsealed
from semantic_entropy.io.fingerprints import RunChoices, check_choices
from semantic_entropy.io.readers.parquet_folder import MANIFEST, RECORDS
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.progress import progress_bar

BAD_ROWS = "_bad.jsonl"
KEPT = "_kept.jsonl"
"""The results of changed inputs, while `earlier_results` sorts them into the shards of this run."""
SORTED = "_sorted"
"""The folder for these results, sorted."""
_FORMAT = 1  # of the manifest
_REMOVING = b'{"semantic_entropy_bulk": 1, "removing": true}'  # the manifest while --overwrite removes an earlier run


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard of the plan: its name and its rows."""

    name: str
    section: Section


class Manifest:
    """The manifest of one output folder.

    Attributes:
        storage: the output folder.
        runs: the choices of the run.
        inputs: the files of the input. The place of a file is a part of the names of its shards.
        shard_mb: megabytes of input in a shard.
        suffix: the suffix of the files with results.
        records: the records of finished shards by name.
        replaces: the identity of the file that the shards replace when they become one file (`OneFile.identity`).
        changed: the files of the input, if `earlier_results.keep_results` must give them to the manifest; else empty.
    """

    replaces = ""
    changed: tuple[BulkInput, ...] = ()

    def __init__(
        self,
        storage: Storage,
        runs: Sequence[RunChoices],
        inputs: Sequence[BulkInput],
        shard_mb: float,
        suffix: str = ".parquet",
    ) -> None:
        self.storage, self.runs, self.shard_mb = storage, list(runs), shard_mb
        self.inputs, self.suffix = list(inputs), suffix
        self.records: dict[str, ShardRecord] = {}

    @classmethod
    def open(
        cls,
        storage: Storage,
        runs: Sequence[RunChoices],
        inputs: Sequence[BulkInput],
        shard_mb: float | None,
        *,
        default_mb: float,
        overwrite: bool,
        suffix: str = ".parquet",
        replaces: str = "",
        in_order: bool = False,
        progress: bool = False,
    ) -> Manifest:
        """Return the manifest of a new run, or that of an earlier run that this run continues.

        Args:
            storage: the output folder.
            runs: the choices of the run.
            inputs: the files of the input.
            shard_mb: megabytes of input in a shard; None: those of the earlier run, or `default_mb`.
            default_mb: those of a new run.
            overwrite: whether the results of an earlier run are removed.
            suffix: the suffix of the files with results.
            replaces: see the attributes.
            in_order: True: the shards are in the order of the files; False: new files come last.
            progress: True: show a progress bar.

        Raises:
            InputError: the folder holds something else, or results of other choices, of an input that is not there or
                of another size of shards. The message names what differs.
        """
        content = storage.read(MANIFEST)
        if content is None or overwrite or content == _REMOVING:
            others = [name for name in storage.sizes() if not name.endswith(".lock")]
            if content is None and others:
                raise InputError(
                    f"{storage.root} is not the output of a run: it holds {others[0]} and no {MANIFEST}. Choose a new "
                    "folder, or another name"
                )
            if others:
                storage.write(MANIFEST, _REMOVING)  # a run after a kill removes the rest
            _clear(storage, others)
            made = cls(storage, runs, inputs, shard_mb or default_mb, suffix)
            made.replaces = replaces
            made.save(finished=False)
            return made
        found = cls._read(storage, content)
        found.suffix = suffix
        for then in found.runs:
            check_choices(storage.root, then, runs)
        if shard_mb is not None and shard_mb != found.shard_mb:
            raise InputError(
                f"{storage.root} was made with --shard-mb {found.shard_mb:g}, and this run has {shard_mb:g}: leave the "
                "option out, or use --overwrite, or another output"
            )
        found.runs = list(runs)
        found.load_records(progress=progress)
        found.take_inputs(inputs, in_order=in_order)
        if not found.changed:
            found.save(finished=False)
        return found

    @classmethod
    def _read(cls, storage: Storage, content: bytes) -> Manifest:
        try:
            values = unsealed(content)
            if values["semantic_entropy_bulk"] != _FORMAT:
                raise InputError(
                    f"{storage.root}/{MANIFEST} has the format {values['semantic_entropy_bulk']}, which this version "
                    "cannot continue: choose another output, or use --overwrite"
                )
            inputs = [BulkInput(**each) for each in values["inputs"]]
            made = cls(storage, values["runs"], inputs, values["shard_mb"])
            made.replaces = str(values.get("replaces", ""))
            made.records = {each["name"]: ShardRecord.from_json(_counts(each)) for each in values["shards"]}
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{storage.root}/{MANIFEST} cannot be read ({error}): choose another output, or use --overwrite"
            ) from error
        return made

    def take_inputs(self, inputs: Sequence[BulkInput], *, in_order: bool) -> None:
        """Add new files. If a file of the earlier run has changed, note in `changed` that all files are to be taken.

        Raises:
            InputError: a file of the earlier run is missing.
        """
        now = {each.name: each for each in inputs}
        for each in self.inputs:
            if each.name not in now:
                raise InputError(
                    f"{self.storage.root} has results of {each.name}, which is not in the input: give it too, or use "
                    "--overwrite, or another output"
                )
        known = {each.name for each in self.inputs}
        wanted = [now[each.name] for each in self.inputs] + [each for each in inputs if each.name not in known]
        if in_order:
            wanted = list(inputs)
        if wanted[: len(self.inputs)] == self.inputs and not self.storage.exists(KEPT):
            self.inputs = wanted
        else:
            self.changed = tuple(wanted)

    def load_records(self, *, progress: bool = False) -> None:
        """Read the records that the manifest does not have: the earlier run was killed, or a shard was retried.

        The record of a shard whose file is gone is left out. A file that its record does not describe is removed.
        """
        for name in self.storage.sizes(RECORDS):
            if name.endswith(".json"):
                content = self.storage.read(f"{RECORDS}/{name}")
                try:
                    record = ShardRecord.from_json(unsealed(content or b"{}"))
                except (ValueError, KeyError, TypeError) as error:
                    self._say_count_again(name, str(error))
                    continue
                self.records[record.name] = record
        sizes = self.storage.sizes()
        with progress_bar("shards checked", len(self.records), progress) as advance:
            for name, record in list(self.records.items()):
                if f"{name}{self.suffix}" not in sizes:
                    del self.records[name]
                elif damage := self._damage(record, sizes[f"{name}{self.suffix}"]):
                    file = f"{name}{self.suffix}"
                    sys.stderr.write(
                        f"{self.storage.root}/{file} is damaged: {damage}. It is removed, and its rows are measured "
                        "again\n"
                    )
                    self.storage.remove(file)
                    del self.records[name]
                elif record.rejected and not self._has_bad_rows(record):
                    self._say_count_again(f"{name}.bad.jsonl", "it was changed after it was written")
                    del self.records[name]
                advance(1)

    def _say_count_again(self, name: str, problem: str) -> None:
        path = f"{self.storage.root}/{RECORDS}/{name}"
        sys.stderr.write(f"{path} cannot be read ({problem}): its shard is counted again\n")

    def _damage(self, record: ShardRecord, size: int) -> str:
        """Return why the file of a shard is not the one that was written; empty: it is. A bucket has its own checks."""
        if record.size and size != record.size:
            return f"it has {size:,} bytes, and its record says {record.size:,}"
        local = self.storage.local
        if local is None or record.digest in ("", digest_of(local / f"{record.name}{self.suffix}")):
            return ""
        return "it was changed after it was written"

    def _has_bad_rows(self, record: ShardRecord) -> bool:
        """Whether the file with the bad rows of a shard is the one that was written."""
        content = self.storage.read(f"{RECORDS}/{record.name}.bad.jsonl")
        return content is not None and record.bad_digest in ("", hashlib.sha256(content).hexdigest())

    @functools.cached_property
    def shards(self) -> tuple[Shard, ...]:
        """All shards, in the order of the input: about 300 bytes of memory for each."""
        return tuple(
            shard for place, source in enumerate(self.inputs) for shard in shards_of(place, source, self.shard_mb)
        )

    def is_finished(self, shard: Shard, gate_key: str) -> bool:
        """Whether nothing is left to do for a shard: no row to retry, and its rows are counted with this gate."""
        record = self.records.get(shard.name)
        return record is not None and not record.retryable and (not gate_key or record.gate_key == gate_key)

    def save(self, *, finished: bool) -> None:
        """Write the manifest with the records of the shards that are finished."""
        shards = [self._described(shard) for shard in self.shards if shard.name in self.records]
        values = {
            "semantic_entropy_bulk": _FORMAT,
            "finished": finished,
            **({"replaces": self.replaces} if self.replaces else {}),
            "planned_shards": len(self.shards),
            "runs": self.runs,
            "shard_mb": self.shard_mb,
            "rows": sum(each["rows"] for each in shards),
            "bad_rows": sum(each["rejected"] for each in shards),
            "undecided_pairs": sum(each["undecided"] for each in shards),
            "gate_failed": sum(each["gate_failed"] for each in shards),
            "inputs": [dataclasses.asdict(each) for each in self.inputs],
            "shards": shards,
        }
        self.storage.write(MANIFEST, sealed(values))

    def finish(self) -> None:
        """Write the manifest with all records, and the report of bad rows."""
        bad = b"".join(f"{line}\n".encode() for line in self.bad_rows())
        if bad:
            self.storage.write(BAD_ROWS, bad)
        else:
            self.storage.remove(BAD_ROWS)
        self.save(finished=True)
        for name in self.records:  # the manifest has them now; the bad rows are needed if a shard is retried
            self.storage.remove(f"{RECORDS}/{name}.json")
        if not bad:
            self.storage.remove(RECORDS)
        self.storage.remove(WORK)
        shutil.rmtree(work_folder(self.storage), ignore_errors=True)  # of a bucket: a folder of this machine

    def _described(self, shard: Shard) -> dict[str, Any]:
        section, record = shard.section, self.records[shard.name]
        place = {"file": f"{shard.name}{self.suffix}", "input": section.source.name}
        return {**place, "start": section.start, "stop": section.stop, **record.to_json()}

    def bad_rows(self, *, with_input: bool = True) -> Iterator[str]:
        """Yield the bad rows of all shards as JSON, with the input (if wanted) and the line or row number in it."""
        for shard, before in self._with_lines():
            if not self.records[shard.name].rejected:
                continue
            if not self._has_bad_rows(self.records[shard.name]):
                raise SemanticEntropyError(
                    f"{self.storage.root}/{RECORDS}/{shard.name}.bad.jsonl was changed after it was written: run the "
                    "same command again"
                )
            content = self.storage.read(f"{RECORDS}/{shard.name}.bad.jsonl") or b""
            for line in content.splitlines():
                values = json.loads(line)
                values["row_number" if shard.section.is_parquet else "line"] += before
                yield to_json_line({**values, "input": shard.section.source.name} if with_input else values)

    def _with_lines(self) -> Iterator[tuple[Shard, int]]:
        """Yield each finished shard, and the number of lines, or rows, of its input before it."""
        source, before = None, 0
        for shard in self.shards:
            if shard.section.source is not source:
                source, before = shard.section.source, 0
            if shard.name in self.records:
                yield shard, before
                before += self.records[shard.name].lines

    def gate_first(self, most: int) -> Iterable[tuple[str, int, str]]:
        """Yield (input, line or row number, reason) of the first rows that failed the gate."""
        found = 0
        for shard, before in self._with_lines():
            for number, reason in self.records[shard.name].gate_first:
                if found == most:
                    return
                found += 1
                yield shard.section.source.name, number + before, reason


def shards_of(place: int, source: BulkInput, shard_mb: float) -> Iterator[Shard]:
    """Yield the shards of a file, which has this place in the list of all files."""
    for number, section in enumerate(cut(source, shard_mb)):
        yield Shard(f"part-{place:05d}-{number:06d}", section)


_PLACE = ("file", "input", "start", "stop")


def _counts(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _PLACE}


def _clear(storage: Storage, names: Sequence[str]) -> None:
    """Remove what an earlier run wrote, and nothing else."""
    for name in names:
        if name in (BAD_ROWS, KEPT) or (name.startswith("part-") and name.endswith((".parquet", ".jsonl"))):
            storage.remove(name)
    storage.remove(RECORDS)
    storage.remove(WORK)
    storage.remove(SORTED)
    storage.remove(RESPONSES)

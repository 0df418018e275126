"""Keep the results of an earlier run if its input has changed: a file that was edited, extended or only touched.

A finished shard stays if the rows of its section are equal byte for byte (`ShardRecord.input_digest`). The other
results, also those of unfinished shards, are kept by the keys of their rows (`io.fingerprints`), wherever the rows are:

    OUT/_kept.jsonl     all these results; 20 bytes of memory for each
    OUT/_sorted/        the results by the shard that has their rows now; they become `OUT/_work/`
    OUT/_manifest.json  is written with the new files before this

Then each of these shards is scored: `io.FileRun` continues the results in its working file, compares the key of each
row again, and measures the rows without a result. So no row has a result of other responses.

Before the manifest is written, an error, Ctrl-C or a kill leaves the earlier run as it was; if `_kept.jsonl` is there,
the next run sorts again.

Not supported: a bucket, where no file can be continued, and rows whose responses are drawn. There, all finished shards
must stay.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from semantic_entropy.bulk.manifest import KEPT, SORTED, Manifest, Shard, shards_of
from semantic_entropy.bulk.sections import BulkInput, options_of, section_file, write_section
from semantic_entropy.bulk.shard_scoring import WORK
from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.files import digest_of, remove, replacement, sync
from semantic_entropy.io import InputOptions, open_reader
from semantic_entropy.io.fingerprints import RunChoices, row_key
from semantic_entropy.io.jsonl import to_line
from semantic_entropy.io.readers.parquet_folder import RECORDS
from semantic_entropy.io.result_lines import ResultLines, work_file
from semantic_entropy.io.rows import InputRow
from semantic_entropy.plain_text import plural
from semantic_entropy.progress import progress_bar
from semantic_entropy.tables import FieldNames

_SHOWN = 3  # changed files in a message
_RESULTS = re.compile(r"(part-\d+)-\d+\.(?:jsonl|parquet|parquet\.partial\.jsonl)")  # files with results of shards


def result_lines(file: Path, runs: Sequence[RunChoices]) -> Iterator[bytes]:
    """Yield the results in a file of a shard as JSON lines, without a line that a kill cut off.

    Raises:
        InputError: it is a Parquet file, and cannot be read.
    """
    if file.suffix == ".jsonl":
        with file.open("rb") as lines:
            yield from (line for line in lines if line.endswith(b"\n"))
        return
    from semantic_entropy.io.parquet import FinishedResults

    found = FinishedResults(file, str(file), (), runs)
    for index in range(len(found.index)):
        drawn, result, key = found.read(index)
        yield f"{to_line(InputRow(0, '', None, key=key), drawn, result, runs)}\n".encode()


def keep_results(
    manifest: Manifest,
    names: FieldNames,
    options: InputOptions,
    runs: Sequence[RunChoices],
    *,
    draws: bool,
    progress: bool,
) -> int:
    """Give the files in `manifest.changed` to the manifest. Return the number of results without a row in them.

    Args:
        manifest: the manifest of the earlier run.
        names: the names of the fields that are measured, with the evidence.
        options: how the input is read.
        runs: the choices that results of this run have.
        draws: whether the responses of rows are drawn.
        progress: True: show a progress bar.

    Raises:
        InputError: the results cannot be kept; or more than half of them belong to no row, as in `io.FileRun`.
        SemanticEntropyError: the disk is full.
    """
    before = {each.name: each for each in manifest.inputs}
    edited = [each.name for each in manifest.changed if before.get(each.name, each) != each]
    said = ", ".join(edited[:_SHOWN]) + (" and others" if len(edited) > _SHOWN else "") or "the input"
    is_sorting = manifest.storage.exists(KEPT)  # an earlier run was killed while it sorted
    changes = _Changes(manifest, is_sorting=is_sorting, progress=progress)
    removed, kept = 0, changes.unchanged_rows()
    folder = manifest.storage.local
    if folder is None or draws:
        if changes.has_changed_shards():
            why = "its responses were drawn" if draws else "results in a bucket are not sorted again"
            raise InputError(
                f"{said} has changed since {manifest.storage.root} was made from it, and {why}: put the earlier file "
                "back, and give new rows as another file of the input; or use --overwrite, or another output"
            )
        changes.save()
    else:
        sort = _Sort(folder, manifest.suffix, changes)
        try:
            removed, sorted_rows = sort.sort(names, options, runs, others=kept, progress=progress)
        except BaseException:
            sort.undo(keeps_gathered=is_sorting)
            raise
        sort.commit()
        kept += sorted_rows
    if kept + removed:
        sys.stderr.write(f"{said} has changed since the run began: {plural(kept, 'result')} of unchanged rows kept\n")
    return removed


class _Changes:
    """Which shards have other rows than in the earlier run."""

    def __init__(self, manifest: Manifest, *, is_sorting: bool, progress: bool) -> None:
        self._manifest = manifest
        then = dict(enumerate(manifest.inputs))
        changed = [(i, each) for i, each in enumerate(manifest.changed) if is_sorting or each != then.get(i)]
        self._prefixes = {f"part-{place:05d}" for place, _ in changed}
        self._staying = set[str]()
        self.shards: list[Shard] = []  # those to score
        plan = [(s, then.get(place)) for place, each in changed for s in shards_of(place, each, manifest.shard_mb)]
        with progress_bar("shards compared", len(plan), progress) as advance:
            for shard, before in plan:
                if self._stays(shard, before):
                    self._staying.add(shard.name)
                else:
                    self.shards.append(shard)
                advance(1)

    def _stays(self, shard: Shard, before: BulkInput | None) -> bool:
        """Whether a shard is finished, and the rows of its section have not changed."""
        record = self._manifest.records.get(shard.name)
        if record is None or before is None or before.name != shard.section.source.name:
            return False
        with _rows_of(shard) as file:
            return record.input_digest == digest_of(file)

    def is_changed(self, name: str) -> bool:
        """Whether this is the name of a shard, or of one of its files, whose rows may have changed."""
        shard = name.removeprefix(".").partition(".")[0]
        return shard.rpartition("-")[0] in self._prefixes and shard not in self._staying

    def has_changed_shards(self) -> bool:
        """Whether a finished shard has other rows now."""
        return any(map(self.is_changed, self._manifest.records))

    def unchanged_rows(self) -> int:
        """Return the number of results in finished shards whose rows have not changed."""
        return sum(each.rows for name, each in self._manifest.records.items() if not self.is_changed(name))

    def save(self) -> None:
        """Give the new files to the manifest, without the records of changed shards."""
        manifest = self._manifest
        manifest.records = {name: each for name, each in manifest.records.items() if not self.is_changed(name)}
        manifest.inputs, manifest.changed = list(manifest.changed), ()
        manifest.save(finished=False)


class _Sort:
    """The results of changed shards, on their way into the shards that have their rows now."""

    def __init__(self, folder: Path, suffix: str, changes: _Changes) -> None:
        self._folder, self._suffix, self._changes = folder, suffix, changes

    def sort(
        self, names: FieldNames, options: InputOptions, runs: Sequence[RunChoices], *, others: int, progress: bool
    ) -> tuple[int, int]:
        """Write the results to the folder `SORTED`. Return the numbers of results without a row, and of rows with one.

        `others` is the number of results in other shards.
        """
        target, shards = self._folder / SORTED, self._changes.shards
        if target.exists():
            shutil.rmtree(target)
        self._gather(runs)
        lines = ResultLines(self._folder / KEPT, str(self._folder / KEPT), runs)
        found, kept = len(lines.index), 0
        try:
            target.mkdir()
            with lines, progress_bar("shards sorted", len(shards), progress) as advance:
                for shard in shards:
                    if not lines.index.left:
                        break
                    kept += _write_lines(target / self._work_name(shard), _take(shard, lines, names, options))
                    advance(1)
        except OSError as error:
            raise SemanticEntropyError(f"{target}: {error.strerror or error}; run again to continue") from error
        unused = lines.index.unused
        if unused * 2 > found + others:
            raise InputError(
                f"{unused:,} of the {found + others:,} results in {self._folder} belong to no row of the input, and "
                "would be removed. Nothing was changed: use the whole input, another output, or --overwrite"
            )
        return unused, kept

    def _gather(self, runs: Sequence[RunChoices]) -> None:
        """Write the results of the changed files to `KEPT`, with those that are there."""
        files: dict[str, list[Path]] = {}
        for file in (*self._folder.iterdir(), *(self._folder / WORK).glob("*")):
            if self._is_gathered(file) or file.name == KEPT:
                files.setdefault(file.name.partition(".")[0], []).append(file)
        with replacement(self._folder / KEPT) as temporary, temporary.open("wb") as out:
            for _, found in sorted(files.items()):
                out.writelines(_lines_once(sorted(found), runs))

    def _is_gathered(self, file: Path) -> bool:
        return bool(_RESULTS.fullmatch(file.name)) and self._changes.is_changed(file.name)

    def _work_name(self, shard: Shard) -> str:
        file = Path(f"{shard.name}{self._suffix}")
        return file.name if file.suffix == ".jsonl" else work_file(file).name

    def undo(self, *, keeps_gathered: bool) -> None:
        """Remove what `sort` wrote. The results of an earlier sort, which have no other place, stay."""
        shutil.rmtree(self._folder / SORTED, ignore_errors=True)
        if not keeps_gathered:
            remove(self._folder / KEPT)

    def commit(self) -> None:
        """Give the new files to the manifest, and the sorted results to the shards."""
        work = self._folder / WORK
        for folder in (self._folder / RECORDS, self._folder, work):
            if folder.is_dir():
                for each in folder.iterdir():
                    if self._changes.is_changed(each.name):
                        each.unlink()
                sync(folder)  # before the manifest has the new files: an old record must not count for them
        self._changes.save()
        work.mkdir(exist_ok=True)
        for each in (self._folder / SORTED).iterdir():
            each.replace(work / each.name)
        (self._folder / SORTED).rmdir()
        remove(self._folder / KEPT)


def _lines_once(files: Sequence[Path], runs: Sequence[RunChoices]) -> Iterator[bytes]:
    """Yield the results in the files of a shard. A result that is in several files is yielded once, from the first.

    A finished shard that is retried has a copy in the folder `WORK`, which comes first: it has the newer results.
    """
    known = Counter[str]()
    for file in files:
        own = Counter[str]()
        try:
            if file.suffix == ".jsonl":
                ResultLines(file, str(file), runs)  # checks all lines
            for line in result_lines(file, runs):
                if len(files) > 1:
                    key = str([*json.loads(line).values()][-2])  # before the choices of the run
                    own[key] += 1
                    if own[key] <= known[key]:
                        continue
                yield line
        except InputError as error:
            sys.stderr.write(f"{error}: its rows are measured again\n")
        known |= own


def _take(shard: Shard, lines: ResultLines, names: FieldNames, options: InputOptions) -> Iterator[bytes]:
    """Yield the results of the rows of a shard, in their order."""
    with _rows_of(shard) as file, contextlib.redirect_stderr(io.StringIO()):  # the run says how a file is read
        reader = open_reader(str(file), names, options_of(shard.section, options))
        with contextlib.closing(reader.rows()) as rows:
            for row in rows:
                if not row.problem and (found := lines.take(row_key(row, names))):
                    yield found[1]


def _write_lines(target: Path, lines: Iterator[bytes]) -> int:
    """Write lines to a file, if there are some. Return their number."""
    count = 0
    if (first := next(lines, None)) is not None:
        with target.open("wb") as out:
            for count, line in enumerate(itertools.chain([first], lines), start=1):  # noqa: B007  # the last count
                out.write(line)
    return count


@contextlib.contextmanager
def _rows_of(shard: Shard) -> Iterator[Path]:
    """Yield a file with the rows of a shard, as the shard is scored from it."""
    with tempfile.TemporaryDirectory() as folder:
        file = section_file(shard.section, Path(folder), "rows")
        write_section(shard.section, file)
        yield file

"""One file as output of a bulk run: the shards are in a hidden folder beside it, and become the file at the end.

    OUT/.measured.jsonl.shards/      the folder of the run, see `manifest`; removed when the file is complete
    OUT/measured.jsonl               appears at the end, complete; with --overwrite, the old file stays until then

For JSON lines, the shards are JSON lines, and the file is one after another. For Parquet, the types of the columns
depend on all rows. So the results of the shards become the results of an unfinished run (`io.parquet`), and the end of
such a run writes the file. In both cases, the file is that of a run in one process, byte for byte; only
`provenance.asked` and `cached` of a judge with a cache say which rows were measured together.

A file with results is never cut into shards: `io.FileRun` continues it, with `open_input` for inputs of several files.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import hashlib
import io
import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from semantic_entropy.bulk.earlier_results import result_lines
from semantic_entropy.bulk.manifest import Manifest
from semantic_entropy.bulk.sections import (
    SHARD_MB,
    BulkInput,
    Section,
    check_apart,
    cut,
    find_inputs,
    is_bulk_input,
    options_of,
    section_file,
    unread_files,
    write_section,
)
from semantic_entropy.bulk.storage import local_path, open_binary
from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.files import digest_of, link_target, locked_output, remove, replacement
from semantic_entropy.io import InputOptions, open_reader
from semantic_entropy.io.bad_rows import check_report
from semantic_entropy.io.fingerprints import RunChoices, row_key
from semantic_entropy.io.formats import is_parquet_output, open_writer
from semantic_entropy.io.readers.parquet_folder import MANIFEST
from semantic_entropy.io.result_lines import work_file
from semantic_entropy.io.rows import InputRow, RowPlace, RowReader
from semantic_entropy.io.run import OpenReader
from semantic_entropy.tables import FieldNames


def is_worth_shards(source: str, options: InputOptions) -> bool:
    """Whether an input is a file that can be cut, and has more than one shard: less is faster in one process."""
    if options.group_by or not Path(source).is_file():
        return False
    try:
        sections = (section for each in find_inputs([source], options) for section in cut(each, SHARD_MB))
        return len(list(itertools.islice(sections, 2))) > 1
    except InputError:  # another format, or the error that reading it raises
        return False


class OneFile:
    """The output file of a bulk run.

    Attributes:
        name: the path that the user gave, for messages.
        path: the file. A symbolic link stays: its target is written.
        folder: the folder of the shards.
        suffix: the suffix of the shards.
        report: the report of bad rows.

    Raises:
        InputError: the suffix of the file is that of another format.
    """

    def __init__(self, name: str) -> None:
        self.name, self.path = name, link_target(Path(name))
        self.folder = self.path.with_name(f".{self.path.name}.shards")
        self.suffix = ".parquet" if is_parquet_output(name) else ".jsonl"
        self.report = Path(f"{name}.bad.jsonl")

    @property
    def has_shards(self) -> bool:
        """Whether an earlier run with shards was not finished: its file does not exist, or is the one it replaces."""
        if not (self.folder / MANIFEST).is_file():
            return False
        return not _is_filled(self.path) or self._replaced() == self.identity

    @property
    def identity(self) -> str:
        """A text that differs for each file that is written under this name; empty: there is none with results."""
        if not _is_filled(self.path):
            return ""
        status = self.path.stat()
        return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"

    def _replaced(self) -> str:
        """Return the identity of the file that the shards replace."""
        try:
            return str(json.loads((self.folder / MANIFEST).read_bytes()).get("replaces", ""))
        except (ValueError, AttributeError):  # a damaged manifest
            return ""

    @property
    def has_results(self) -> bool:
        """Whether there are results to continue, which are not in shards."""
        return not self.has_shards and (_is_filled(self.path) or _is_filled(work_file(self.path)))

    def remove_shards(self) -> None:
        """Remove the shards that a run left when it was killed after it had written the file.

        Raises:
            InputError: another run writes the file.
        """
        if self._has_leftover():
            with locked_output(self.path):
                self._remove_leftover()

    def _has_leftover(self) -> bool:
        """Whether the folder has shards that no run continues, and nothing else."""
        if not self.folder.is_dir() or self.has_shards:
            return False
        return all(each.name.startswith(("part-", "_", ".")) for each in self.folder.iterdir())

    def _remove_leftover(self) -> None:
        if self._has_leftover():
            self._remove_folder()

    def _remove_folder(self) -> None:
        """Remove the folder. The manifest goes last: after a kill, the rest still belongs to a run."""
        for each in self.folder.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            elif each.name != MANIFEST:
                each.unlink(missing_ok=True)
        shutil.rmtree(self.folder)

    @contextlib.contextmanager
    def begun(self, *, overwrite: bool) -> Iterator[None]:
        """Lock the file while a run scores its shards. An existing file stays until `join` replaces it.

        Raises:
            InputError: another run writes the file, or has just written it; or its report of bad rows is another file.
        """
        with locked_output(self.path):
            check_report(self.report)
            self._remove_leftover()
            if not overwrite and _is_filled(self.path) and not self.has_shards:
                raise InputError(f"another run has just written {self.name}: run the command again to continue it")
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # it has files
                    self.folder.rmdir()  # of a run that could not begin

    def join(self, manifest: Manifest, names: FieldNames, runs: Sequence[RunChoices], options: InputOptions) -> None:
        """Write the file and the report of bad rows from the shards of a finished run, and remove the shards.

        Raises:
            SemanticEntropyError: the file cannot be written. The shards stay.
        """
        # The report comes first: when the file is there, a later run removes the shards
        bad = "".join(f"{line}\n" for line in manifest.bad_rows(with_input=len(manifest.inputs) > 1))
        if bad:
            with replacement(self.report) as temporary:
                temporary.write_text(bad, encoding="utf-8")
        else:
            remove(self.report)  # of the file that is replaced
        shards = self._checked_shards(manifest)
        if self.suffix == ".jsonl":
            with replacement(self.path) as temporary, temporary.open("wb") as out:
                for shard in shards:
                    with shard.open("rb") as lines:
                        shutil.copyfileobj(lines, out)
        else:
            self._join_tables(manifest, shards, names, runs, options)
        self._remove_folder()

    def _checked_shards(self, manifest: Manifest) -> Iterator[Path]:
        """Yield the files of the shards. Raise a SemanticEntropyError if one is not as it was written."""
        for shard in manifest.shards:
            file = self.folder / f"{shard.name}{self.suffix}"
            if manifest.records[shard.name].digest not in ("", digest_of(file)):
                raise SemanticEntropyError(
                    f"{file} was changed after it was written: run the same command again, which measures its rows "
                    "again"
                )
            yield file

    def _join_tables(
        self,
        manifest: Manifest,
        shards: Iterator[Path],
        names: FieldNames,
        runs: Sequence[RunChoices],
        options: InputOptions,
    ) -> None:
        joined = self.folder / "_joined.parquet"  # an old file stays under its name until this one is complete
        remove(joined)
        with replacement(work_file(joined)) as temporary, temporary.open("wb") as out:
            for shard in shards:
                out.writelines(result_lines(shard, runs))
        with contextlib.redirect_stderr(io.StringIO()):  # the shards have said how they are read
            reader = _reader(manifest.inputs, options, names, has_sampler=False, copies_cells=True)
        kept = 0
        with open_writer(str(joined), reader, runs) as writer, contextlib.closing(reader.rows()) as rows:
            for row in rows:
                if not writer.prepare(row) and not row.problem:
                    kept += writer.keep(replace(row, key=row_key(row, names)))
            if kept != (scored := sum(each.rows for each in manifest.records.values())):
                raise SemanticEntropyError(
                    f"{self.name}: {scored:,} rows were scored, and {kept:,} of them are in the input now: the input "
                    "has changed since the run began. Run the same command again when nothing writes to it: the "
                    "results of unchanged rows are kept"
                )
            writer.finish()
        remove(work_file(self.path))  # of a run in one process that --overwrite replaces
        with replacement(self.path) as temporary:
            joined.replace(temporary)


def _is_filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def open_input(source: str, output: str | None, options: InputOptions) -> str | OpenReader:
    """Return what `FileRun` reads: the path of a file, or what opens all files of a folder, a pattern or a URL.

    Raises:
        InputError: there is no such file, a format cannot be cut, or the output is a part of the input.
    """
    if not is_bulk_input(source):
        return source
    inputs = find_inputs([source], options)
    if output not in (None, "-"):
        check_apart([source], inputs, str(output))
    if unread := unread_files([source]):
        sys.stderr.write(f"{unread}\n")
    return functools.partial(_reader, inputs, options)


def _reader(
    inputs: Sequence[BulkInput], options: InputOptions, names: FieldNames, has_sampler: bool, copies_cells: bool
) -> RowReader:
    """Return a reader of all rows of these files."""
    if len(inputs) == 1 and (path := local_path(inputs[0].name)) is not None:
        of_file = replace(options, format=inputs[0].format)
        return open_reader(str(path), names, of_file, copies_cells=copies_cells, has_sampler=has_sampler)
    return ManyFilesReader(inputs, options, names, has_sampler=has_sampler, copies_cells=copies_cells)


class ManyFilesReader(RowReader):
    """Reads all rows of several files, also of a bucket. Row numbers go on from file to file; blank lines count.

    The files are read section by section: one section is on the disk of this machine.

    Args:
        inputs: the files.
        options: how they are read.
        names: the names of the fields that are measured.
        has_sampler: True if rows may have a question and no responses.
        copies_cells: True if the writer copies the cells of Parquet files. It does so if they have the same columns.
    """

    unit = "row"
    number_key = "row_number"

    def __init__(
        self,
        inputs: Sequence[BulkInput],
        options: InputOptions,
        names: FieldNames,
        *,
        has_sampler: bool,
        copies_cells: bool,
    ) -> None:
        super().__init__(inputs[0].name if len(inputs) == 1 else f"{inputs[0].name} ... {inputs[-1].name}", names)
        self._inputs, self._options, self._has_sampler = inputs, options, has_sampler
        self._starts: list[tuple[int, BulkInput]] = []  # the rows before each file that was begun, and the file
        schema = _common_schema(inputs) if copies_cells else None
        if schema is not None:
            from semantic_entropy.io.parquet_columns import CopiedColumns  # needs pyarrow

            self.copied = CopiedColumns(schema, self._batches, self._digest)

    def rows(self) -> Generator[InputRow, None, None]:
        before, self._starts = 0, []
        for section, file, rows in self._sections():
            if not self._starts or self._starts[-1][1] is not section.source:
                self._starts.append((before, section.source))
            with contextlib.redirect_stderr(io.StringIO()):  # it says once for each file how it is read
                reader = open_reader(
                    str(file),
                    self.names,
                    options_of(section, self._options),
                    copies_cells=self.copied is not None,
                    has_sampler=self._has_sampler,
                )
            for row in reader.rows():
                yield replace(row, number=before + row.number)
            before += rows

    def place(self, number: int) -> RowPlace:
        before, source = self._starts[bisect.bisect_left(self._starts, number, key=lambda start: start[0]) - 1]
        unit, key = ("row", "row_number") if source.format == "parquet" else ("line", "line")
        return RowPlace(source.name, unit, key, number - before)

    def _sections(self) -> Iterator[tuple[Section, Path, int]]:
        """Yield each section, a file with its rows, and their number."""
        with tempfile.TemporaryDirectory() as folder:
            for source in self._inputs:
                for section in cut(source, SHARD_MB):
                    file = section_file(section, Path(folder), "rows")
                    yield section, file, write_section(section, file)

    def _batches(self) -> Iterator[Any]:
        for _, file, _ in self._sections():
            from semantic_entropy.io.parquet import ParquetReader

            yield from ParquetReader(str(file), self.names, all_columns=False).batches()

    def _digest(self) -> str:
        parts = [f"{each.name} {each.size} {each.version}" for each in self._inputs]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _common_schema(inputs: Sequence[BulkInput]) -> Any:
    """Return the schema that all files have; None: they are no Parquet files, or have different ones."""
    if any(each.format != "parquet" for each in inputs):
        return None
    from semantic_entropy.tables.arrow import pq

    found = None
    for each in inputs:
        with open_binary(each.name) as file, pq.ParquetFile(file) as table:
            if found is not None and not table.schema_arrow.equals(found):
                return None
            found = found or table.schema_arrow
    return found

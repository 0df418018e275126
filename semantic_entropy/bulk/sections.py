"""The inputs of a run, and how they are cut into sections: ranges of rows that are read without the rest of the file.

A section of JSON lines is a range of bytes: the lines that begin in this range. A section of a Parquet file is a range
of row groups. So a plan needs the size of a file and its footer, and no row is read to make it. It depends on the input
and on `shard_mb` alone, not on the number of workers.

Not supported: formats that cannot be cut (CSV, JSON arrays, logs of inspect_ai), and rows that are joined with
`--group-by`, because the rows of one question can be in two sections.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from semantic_entropy.bulk.storage import find_files, is_url, local_path, open_binary, other_suffixes, unread_links
from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.files import link_target
from semantic_entropy.io import InputOptions, format_of, unfinished_shards
from semantic_entropy.io.readers.input_file import NO_NAME
from semantic_entropy.plain_text import one_line, plural

SHARD_MB = 4.0
"""Megabytes of input in a shard: 30,000 groups of five short answers, which one core measures in about ten seconds."""
_SUFFIXES = (".jsonl", ".ndjson", ".parquet", ".pq")
_NAMES = ", ".join(_SUFFIXES)
_SHOWN = 5  # links in a note
_LINE_FORMATS = ("jsonl", "openai", "lm-eval")


@dataclass(frozen=True, slots=True)
class BulkInput:
    """A file of the input.

    Attributes:
        name: the path or URL.
        size: bytes.
        version: a text that changes when the file changes.
        format: one of `io.FORMATS` that can be cut.
    """

    name: str
    size: int
    version: str
    format: str


@dataclass(frozen=True, slots=True)
class Section:
    """A range of the rows of a file.

    Attributes:
        source: the file.
        start: the first byte, or the first row group.
        stop: the byte or row group after the last one.
        before: the rows of a Parquet file before the section; 0 for JSON lines, where the number is not known.
    """

    source: BulkInput
    start: int
    stop: int
    before: int = 0

    @property
    def is_parquet(self) -> bool:
        """Whether the file is a Parquet file."""
        return self.source.format == "parquet"

    def __str__(self) -> str:
        unit = "row groups" if self.is_parquet else "bytes"
        return f"{self.source.name}, {unit} {self.start:,} to {self.stop:,}"


def is_bulk_input(name: str) -> bool:
    """Whether an input is a folder, a pattern or a URL: it can mean many files."""
    return is_url(name) or Path(name).is_dir() or (not Path(name).exists() and any(mark in name for mark in "*?["))


def find_inputs(names: Sequence[str], options: InputOptions) -> list[BulkInput]:
    """Return the files that paths, folders, patterns and URLs mean, without repetition.

    A local file with several names, such as a link and its target, is one file.

    Raises:
        InputError: no file is found, a format cannot be cut, or the folder of a run has other files than the run wrote.
    """
    if options.group_by:
        raise InputError(
            "--group-by joins rows that can be in two shards: write the groups to a file first, with an output file "
            "(-o grouped.jsonl) instead of a folder"
        )
    files = _distinct_files(names)[0]
    _unfinished(names)
    found = [BulkInput(path, size, version, options.format or _format_of(path, size)) for path, size, version in files]
    for each in found:
        if each.format not in (*_LINE_FORMATS, "parquet"):
            raise InputError(
                f"{each.name} is {each.format}, which cannot be cut into shards: give JSON lines or Parquet, or write "
                "to one file (-o results.jsonl) instead of a folder"
            )
    return found


def _distinct_files(names: Sequence[str]) -> tuple[list[tuple[str, int, str]], list[str]]:
    """Return (path, bytes, version) of the files, and the other names of local files among them, as notes.

    Of several names, the first one that is not a link stays.
    """
    found: dict[str, tuple[str, int, str]] = {}
    for name in names:
        if not name:
            raise InputError(NO_NAME)
        files = list(find_files(name, _SUFFIXES))
        if not files:
            raise InputError(f"{name}: no such file, and no folder with files {_NAMES} in it")
        for each in files:
            found.setdefault(each[0], each)
    kept: dict[Any, str] = {}  # by the device and the number of the file; a URL is its own key
    local = {name: path for name in found if (path := local_path(name)) is not None}
    for name in sorted(found, key=lambda name: name in local and local[name].is_symlink()):  # stable: links come last
        status = local[name].stat() if name in local else None
        kept.setdefault((status.st_dev, status.st_ino) if status else name, name)
    notes = []
    for name in set(found) - set(kept.values()):
        status = local[name].stat()
        notes.append(f"{name} (the same file as {kept[status.st_dev, status.st_ino]})")
    return [each for name, each in found.items() if name in set(kept.values())], sorted(notes)


def unread_files(names: Sequence[str]) -> str:
    """Return in lines what of the inputs is not read: files, links, missing shards; empty: all is read."""
    lines = []
    if found := sum((other_suffixes(name, _SUFFIXES) for name in names), Counter[str]()):
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in found.most_common())
        lines.append(f"{plural(found.total(), 'file')} in the input not read ({kinds}): of a folder, {_NAMES} are read")
    if links := [link for name in names for link in unread_links(name)]:
        lines.append(f"{plural(len(links), 'link')} in the input not read: {_listed(links)}")
    if others := _distinct_files(names)[1]:
        lines.append(f"{plural(len(others), 'other name')} of files in the input not read: {_listed(others)}")
    return "\n".join([*lines, *_unfinished(names)])


def _unfinished(names: Sequence[str]) -> list[str]:
    """Return which inputs are folders of runs that are not finished. Raises like `unfinished_shards`."""
    return [line for name in names if (path := local_path(name)) and (line := unfinished_shards(str(path)))]


def _listed(texts: Sequence[str]) -> str:
    more = f", and {len(texts) - _SHOWN:,} more" if len(texts) > _SHOWN else ""
    return one_line(f"{', '.join(texts[:_SHOWN])}{more}")


def check_apart(names: Sequence[str], inputs: Sequence[BulkInput], output: str) -> None:
    """Raise InputError if the output is in a folder of the input: a later run would measure its own results.

    Args:
        names: what the user gave: files, folders, patterns and URLs.
        inputs: the files that they mean.
        output: the path or URL of the output.
    """
    place = _absolute(output)
    for name in names:
        folder = _absolute(name)
        hidden = any(part.startswith(("_", ".")) for part in place[len(folder) :])  # no input is read from there
        if place[: len(folder)] == folder and not hidden:
            raise InputError(f"the output {output} is in the input {name}: choose an output beside it")
    for each in inputs:
        if _absolute(each.name)[: len(place)] == place:
            raise InputError(f"the input {each.name} is in the output {output}: choose another output")


def _absolute(name: str) -> tuple[str, ...]:
    """Return the parts of an absolute path, or of a URL."""
    path = local_path(name)
    return tuple(name.rstrip("/").split("/")) if path is None else link_target(path).parts


def cut(source: BulkInput, shard_mb: float) -> Iterator[Section]:
    """Yield the sections of a file, each with about `shard_mb` megabytes; a row group is not cut."""
    size = max(1, int(shard_mb * 1e6))
    if source.format != "parquet":
        for start in range(0, source.size, size):
            yield Section(source, start, min(start + size, source.size))
        return
    first = rows_before = rows = used = 0
    groups = _row_groups(source.name)
    for index, (rows_here, bytes_here) in enumerate(groups):
        if index > first and used + bytes_here > size:
            yield Section(source, first, index, rows_before)
            first, rows_before, used = index, rows, 0
        rows, used = rows + rows_here, used + bytes_here
    if groups:
        yield Section(source, first, len(groups), rows_before)


def write_section(section: Section, target: Path) -> int:
    """Write the rows of a section to a file of their own. Return the number of its lines, or of its rows.

    Raises:
        InputError: the file cannot be read, or has changed since the run began.
        SemanticEntropyError: the rows cannot be written, for example because the disk is full.
    """
    _check_unchanged(section)
    return _write_groups(section, target) if section.is_parquet else _write_lines(section, target)


@contextlib.contextmanager
def _reading(section: Section, errors: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    try:
        yield
    except errors as error:
        raise InputError(f"{section}: cannot be read: {error}") from error


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Name the folder if its disk is full: the file is a temporary one."""
    try:
        yield
    except OSError as error:
        raise SemanticEntropyError(
            f"the rows of a shard cannot be written to {target.parent}: {error.strerror or error}. Finished shards "
            "stay: run again to continue"
        ) from error


def _check_unchanged(section: Section) -> None:
    """Raise InputError if a local file is another one than at the start: its shards would belong to two contents."""
    source, path = section.source, local_path(section.source.name)
    if path is None or not source.version:
        return
    for _, size, version in find_files(str(path), _SUFFIXES):
        if (size, version) != (source.size, source.version):
            raise InputError(
                f"{section}: the file has changed since the run began. Run the same command again when nothing writes "
                "to it: the results of unchanged rows are kept"
            )


def section_file(section: Section, folder: Path, name: str) -> Path:
    """Return the path of the file that holds the rows of a section."""
    return folder / f"{name}.in{'.parquet' if section.is_parquet else '.jsonl'}"


def described(inputs: Sequence[BulkInput]) -> str:
    """Return the number and the size of the inputs, for a user."""
    size = sum(each.size for each in inputs)
    return f"{plural(len(inputs), 'file')}, {size / 1e6:,.1f} MB"


def options_of(section: Section, options: InputOptions) -> InputOptions:
    """Return the options that read the file of a section: the format is that of the whole input."""
    return replace(options, format=section.source.format)


def _write_lines(section: Section, target: Path) -> int:
    with _reading(section):
        content = _lines(section)
    with _writing(target):
        target.write_bytes(content)
    return content.count(b"\n") + (content[-1:] not in (b"", b"\n"))


def _lines(section: Section) -> bytes:
    with open_binary(section.source.name) as file:
        start = section.start
        if start:  # a line that begins before the section belongs to the section before
            file.seek(start - 1)
            start += len(file.readline()) - 1
        if start >= section.stop:  # one long line
            return b""
        file.seek(start)
        content = file.read(section.stop - start)
        return content if content.endswith(b"\n") else content + file.readline()


def _write_groups(section: Section, target: Path) -> int:
    from semantic_entropy.tables.arrow import pa, parquet_file, pq  # the extra `parquet`

    rows = 0
    with contextlib.ExitStack() as stack:
        with _reading(section, (pa.ArrowException, OSError)):
            file = stack.enter_context(open_binary(section.source.name))
            source = stack.enter_context(parquet_file(file))
            batches = source.iter_batches(batch_size=1024, row_groups=list(range(section.start, section.stop)))
        with _writing(target), pq.ParquetWriter(target, source.schema_arrow) as out:
            while True:
                with _reading(section, (pa.ArrowException, OSError)):
                    batch = next(batches, None)
                if batch is None:
                    return rows
                out.write_batch(batch)
                rows += batch.num_rows


def _row_groups(name: str) -> list[tuple[int, int]]:
    """Return (rows, bytes) of each row group."""
    from semantic_entropy.tables.arrow import pa, pq

    try:
        with open_binary(name) as file, pq.ParquetFile(file) as source:
            groups: list[Any] = [source.metadata.row_group(i) for i in range(source.num_row_groups)]
            return [(group.num_rows, group.total_byte_size) for group in groups]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a damaged name of a column
        raise InputError(f"{name}: not a Parquet file: {error}") from error


def _format_of(name: str, size: int) -> str:
    """Return the format of a file, from its suffix and its first line."""
    if name.lower().endswith((".parquet", ".pq")):
        return "parquet"
    if local_path(name) is not None:
        return format_of(str(local_path(name)))
    import tempfile

    with tempfile.TemporaryDirectory() as folder:  # the first line, with the name that the messages need
        head = Path(folder) / (Path(name).name or "input.jsonl")
        with open_binary(name) as file:
            head.write_bytes(file.read(min(size, 65536)) if size < 65536 else _whole_line(file))
        try:
            return format_of(str(head))
        except InputError as error:
            raise InputError(str(error).replace(str(head), name)) from error


def _whole_line(file: Any) -> bytes:
    content: bytes = file.read(65536)
    return content if b"\n" in content else content + file.readline()

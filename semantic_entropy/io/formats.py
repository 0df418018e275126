"""Select the reader and the writer of a file by its suffix, check the paths of a run, and find one row of a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from semantic_entropy.errors import InputError
from semantic_entropy.files import check_distinct, link_target
from semantic_entropy.io.fingerprints import RunChoices
from semantic_entropy.io.jsonl import JsonlReader, JsonlWriter, StreamWriter
from semantic_entropy.io.readers.delimited import DelimitedReader
from semantic_entropy.io.readers.detection import FORMATS, find_format, is_document
from semantic_entropy.io.readers.grouping import GroupedReader, check_single
from semantic_entropy.io.readers.input_file import NO_NAME, InputFile
from semantic_entropy.io.readers.inspect_logs import InspectJsonReader, InspectZipReader, is_inspect_zip
from semantic_entropy.io.readers.json_array import JsonArrayReader
from semantic_entropy.io.readers.lm_eval_logs import check_sample
from semantic_entropy.io.readers.openai_replies import OpenAICheck, read_questions
from semantic_entropy.io.result_lines import work_file
from semantic_entropy.io.rows import InputRow, ResultWriter, RowReader, check_row
from semantic_entropy.plain_text import one_line
from semantic_entropy.tables import FieldNames

_PARQUET_SUFFIXES = (".parquet", ".pq")
_LINE_SUFFIXES = (".jsonl", ".ndjson", "")
_DESCRIPTIONS = {
    "json": "JSON",
    "openai": "replies of an OpenAI-compatible API",
    "lm-eval": "a sample log of lm-evaluation-harness",
    "inspect": "a log of inspect_ai",
}


def is_parquet(name: str | None) -> bool:
    """Whether the name has the suffix of a Parquet file."""
    return name is not None and Path(name).suffix.lower() in _PARQUET_SUFFIXES


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How an input is read, as far as its names of fields do not say it.

    Attributes:
        format: one of `FORMATS`; None: found from the suffix and the first line.
        group_by: the field that the rows with the responses to one question share; None: a row has all responses.
        requests: the file with the requests of a batch, which has the questions; None: there is none.
    """

    format: str | None = None
    group_by: str | None = None
    requests: str | None = None


FOUND = InputOptions()
"""The format is found, and each row has all responses."""


def format_of(name: str) -> str:
    """Return the format of a file, one of `FORMATS`, from its suffix and its first line. Raises like `open_reader`."""
    return find_format(InputFile(name))


def open_reader(
    name: str,
    names: FieldNames,
    options: InputOptions = FOUND,
    *,
    on_wait: Callable[[], None] | None = None,
    copies_cells: bool = False,
    has_sampler: bool = False,
) -> RowReader:
    """Return the reader for a file, or for standard input ("-").

    Args:
        name: the path of the file, or of a folder of Parquet files.
        names: the names of the fields that are measured.
        options: the format, and how rows are joined.
        on_wait: called before the reader waits for a pipe.
        copies_cells: True if the writer copies the cells of a Parquet input. Then the reader converts only the columns
            that are measured.
        has_sampler: True if rows may have a question and no responses.

    Raises:
        InputError: the file does not exist, or its format cannot be read.
        MissingDependencyError: the file is a Parquet file, and pyarrow is not installed.
    """
    if options.format not in (None, *FORMATS):
        raise InputError(f"the input format {options.format!r} is unknown: use one of {', '.join(FORMATS)}")
    if not name:
        raise InputError(NO_NAME)  # the path of an empty name is the current folder
    if Path(name).is_dir():
        return _folder_reader(name, names, options, has_sampler=has_sampler)
    file = InputFile(name, on_wait)
    kind = options.format or find_format(file)
    if options.requests and kind != "openai":
        raise InputError(f"--requests is for the output of a batch, and {name} is read as {kind}")
    if options.group_by and kind == "inspect":
        raise InputError("a log of inspect_ai is grouped by its samples: leave --group-by out")
    if options.group_by and kind != "parquet":
        file.copy_to_disk()
    reader = _reader(file, names, kind, options, all_columns=not copies_cells, has_sampler=has_sampler)
    if description := reader.description if isinstance(reader, DelimitedReader) else _DESCRIPTIONS.get(kind):
        sys.stderr.write(one_line(f"{name}: read as {description}") + "\n")
    if kind == "openai":
        reader.question_option = "--requests FILE (the input of the batch) or --question FIELD"
    return GroupedReader(reader, options.group_by) if options.group_by else reader


def _folder_reader(name: str, names: FieldNames, options: InputOptions, *, has_sampler: bool) -> RowReader:
    from semantic_entropy.io.readers.parquet_folder import ParquetFolderReader

    if options.format not in (None, "parquet") or options.requests:
        raise InputError(
            f"{name} is a folder, of which Parquet files are read: leave --input-format and --requests out"
        )
    check = check_single if options.group_by else None
    reader = ParquetFolderReader(name, names, has_sampler=has_sampler, check=check)
    return GroupedReader(reader, options.group_by) if options.group_by else reader


def _reader(
    file: InputFile, names: FieldNames, kind: str, options: InputOptions, *, all_columns: bool, has_sampler: bool
) -> RowReader:
    check = check_single if options.group_by else check_row
    if kind == "parquet":
        from semantic_entropy.io.parquet import ParquetReader

        if options.group_by:
            return ParquetReader(file.name, names, all_columns=True, check=check)
        return ParquetReader(file.name, names, all_columns=all_columns, has_sampler=has_sampler)
    if kind in ("csv", "tsv"):
        return DelimitedReader(file, names, check, "\t" if kind == "tsv" else None)
    if kind == "inspect":
        return InspectZipReader(file, names) if is_inspect_zip(file) else InspectJsonReader(file, names)
    if kind == "openai":
        check = OpenAICheck(read_questions(InputFile(options.requests)) if options.requests else None)
    elif kind == "lm-eval":
        check = check_sample
    if kind == "json" or (kind != "jsonl" and is_document(file)):
        return JsonArrayReader(file, names, check)
    return JsonlReader(file, names, check)


def is_stream(output: str | None) -> bool:
    """Whether the output is standard output, a pipe or a device: a run writes to it, and cannot continue it."""
    return output is None or output == "-" or (Path(output).exists() and not Path(output).is_file())


def is_parquet_output(output: str) -> bool:
    """Whether results are written as Parquet, and not as JSON lines.

    Raises:
        InputError: the suffix of the file is that of another format.
    """
    if is_parquet(output):
        return True
    if (suffix := Path(output).suffix.lower()) not in _LINE_SUFFIXES:
        raise InputError(
            f"{output}: results cannot be written as {suffix}. The suffix decides the format: .jsonl or .ndjson "
            "for JSON lines, .parquet or .pq for Parquet"
        )
    return False


def open_writer(output: str | None, reader: RowReader, runs: Sequence[RunChoices]) -> ResultWriter:
    """Return the writer for a file, or for standard output (None or "-").

    Args:
        output: the path of the file. If it is a symbolic link, the writer writes its target.
        reader: the reader of the input.
        runs: the choices that the results of this run have.

    Raises:
        InputError: the suffix of the file is that of another format.
        MissingDependencyError: the file is a Parquet file, and pyarrow is not installed.
    """
    if output is None or is_stream(output):
        return StreamWriter(None if output in (None, "-") else Path(str(output)), runs)
    path = link_target(Path(output))
    if not is_parquet_output(output):
        return JsonlWriter(path, output, reader.names, runs)
    from semantic_entropy.io.parquet import ParquetWriter
    from semantic_entropy.io.parquet_columns import JsonColumns

    return ParquetWriter(path, output, runs, reader.copied or JsonColumns(reader.names, path.parent))


_ID_FIELDS = ("custom_id", "doc_id")  # of a batch, of lm-eval: they identify a row without the field `id`


def check_paths(
    source: str | None,
    output: str | None,
    samples: str | Path | None,
    cache: str | Path | None,
    requests: str | None = None,
    written: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raise InputError if two files of a run are the same file: it opens, replaces or removes them.

    Standard input and standard output can be redirected from and to a file. A run that reads the file to which it
    appends would not end.

    Args:
        source: the input; "-": standard input; None: it is checked elsewhere.
        output: the output; None or "-": standard output.
        samples: the sample store; None: there is none.
        cache: the verdict cache; None: there is none.
        requests: the file of `--requests`; None: there is none.
        written: other files that the run writes, by their role.
    """
    paths: dict[str, str | Path | IO[Any] | None]
    paths = {"standard input": sys.stdin} if source == "-" else {"input": source}  # None is left out
    paths |= {"samples file": samples, "requests": requests, **written}
    if cache is not None:
        paths |= {"cache": cache, **{f"cache log ({end})": f"{cache}{end}" for end in ("-wal", "-shm", "-journal")}}
    if output is not None and not is_stream(output):
        target = link_target(Path(output))
        paths |= {
            "output": output,
            "report of bad rows": f"{output}.bad.jsonl",
            "lock": f"{target}.lock",
            "temporary output": target.with_name(f".{target.name}.tmp"),
            "file of unfinished results": work_file(target) if is_parquet(output) else None,
        }
    elif output in (None, "-"):
        paths["standard output"] = sys.stdout
    else:
        paths["output"] = output
    check_distinct(
        {role: Path(path) if isinstance(path, str) else path for role, path in paths.items() if path is not None}
    )


def find_row(name: str, row_id: str | None, names: FieldNames, options: InputOptions = FOUND) -> InputRow:
    """Return the row with this id, which has a group; None: the first row.

    The id is the value of the field of `group_by`, or else of `id`, `custom_id` or `doc_id`; or FIELD=VALUE, with a
    field of the row.

    Raises:
        InputError: the file has no such row, or the row cannot be measured.
    """
    reader = open_reader(name, names, options)
    problem = looked_in = has = ""
    for row in reader.rows():
        if row.problem and row_id is None:
            raise InputError(f"{name}, {reader.unit} {row.number}: {row.problem}")
        if row_id is not None:
            fields = row.fields or {}
            field, value = _id_field(row_id, fields, names, options)
            looked_in, has = looked_in or field, has or ", ".join(fields)
            if field not in fields or str(fields[field]) != value:
                continue
        if row.group is not None:
            return row
        problem = f"{name}, {reader.unit} {row.number}: {row.problem}"
        if not options.group_by:  # else it can be one of the rows of its group, which is measured without it
            break
    if problem:
        raise InputError(problem)
    if row_id is None or not has:
        raise InputError(f"{name} has no row")
    raise InputError(
        f"{name} has no row with {row_id!r} in the field {looked_in!r}; its rows have {has}. --id FIELD=VALUE looks in "
        "another field"
    )


def _id_field(row_id: str, fields: Mapping[str, Any], names: FieldNames, options: InputOptions) -> tuple[str, str]:
    """Return the field that identifies the row, and the value that is looked for."""
    field, separator, value = row_id.partition("=")
    if separator and field in fields:
        return field, value
    known = (options.group_by or names.id, names.id, *_ID_FIELDS)
    return next((field for field in known if field in fields), known[0]), row_id

"""The reader and the writer of Parquet files. They need pyarrow (extra `parquet`).

Each row has a reference to its record batch, so the writer can copy the columns of the input with their types. Only the
fields that are measured are converted to Python values.

A Parquet file cannot be appended to, so a run appends its results to a working file of JSON lines (`result_lines`), and
writes the Parquet file at the end:

    OUT.parquet.partial.jsonl    the results of this run
    OUT.parquet                  all rows in the order of the input; then the working file is removed

The Parquet file is written under another name, read back and renamed: after a kill, it is complete, or the old file, or
does not exist. Its rows have the keys of `fingerprints` in the column `row_key`. Its footer has a note with the choices
of its results and a digest of the input, so the next run keeps its results, and leaves an unchanged file alone. Its
pages have checksums, which the reader verifies.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

from semantic_entropy.errors import InputError, SemanticEntropyError
from semantic_entropy.files import remove, replacement
from semantic_entropy.io.fingerprints import RunChoices, check_choices
from semantic_entropy.io.jsonl import pairs_of, split_line, to_line
from semantic_entropy.io.parquet_columns import CopiedColumns, InputColumns
from semantic_entropy.io.result_lines import KeyIndex, ResultLines, work_file
from semantic_entropy.io.rows import InputRow, MeasuredRow, ResultWriter, RowCheck, RowReader, check_row
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables import (
    LONG_ANSWER,
    RESULT_FIELDS,
    SAMPLES,
    FieldNames,
    bare_name,
    free_name,
    open_keys,
    result_shape,
    stored_fields,
)
from semantic_entropy.tables.arrow import CONVERSION_ERRORS, arrow_type, pa, parquet_file, pq, read_whole, to_array

_NOTE_KEY = b"semantic_entropy"
_BATCH = 256  # rows read at once
_ROW_GROUP = 8192  # rows in a row group of the output: small row groups are slow to read


class ParquetReader(RowReader):
    """Reads a Parquet file in batches. At most one row group of the file is in memory.

    Args:
        name: the path of the file.
        names: the names of the columns that are measured.
        all_columns: True: `InputRow.fields` has all columns; False: `InputRow.fields` has only the measured columns.
        has_sampler: True if the file may have a column of questions and no column of responses.
        check: returns the group, or the problem, of a row; None: `check_row`.
    """

    unit = "row"
    number_key = "row_number"

    def __init__(
        self,
        name: str,
        names: FieldNames,
        *,
        all_columns: bool,
        has_sampler: bool = False,
        check: RowCheck | None = None,
    ) -> None:
        super().__init__(name, names)
        self.all_columns, self._check = all_columns, check or check_row
        try:
            with parquet_file(name) as file:
                self.schema: Any = file.schema_arrow
                self._total: int = file.metadata.num_rows
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a damaged name of a column
            raise InputError(f"{name}: not a Parquet file: {error}") from error
        columns = self.schema.names
        questions = names.question_fields(columns)
        if missing := [column for column in questions if column not in columns]:
            raise InputError(f"{name}: no column {missing[0]!r} for --question; it has {', '.join(columns) or 'none'}")
        in_place = () if names.responses in columns or SAMPLES not in columns else (SAMPLES,)  # of the responses
        if check is None and names.responses not in columns and not in_place and not (has_sampler and questions):
            hint = "; or pass --sampler NAME to send the questions to a model" if questions else ""
            raise InputError(
                f"{name}: no column {names.responses!r}; it has {', '.join(columns) or 'none'}. Name the column of the "
                f"responses with --responses{hint}"
            )
        if repeated := [column for column in columns if columns.count(column) > 1]:
            raise InputError(f"{name}: several columns are named {repeated[0]!r}: rename them")
        measured = (*names.measured, *in_place, *questions)
        self._measured = tuple(dict.fromkeys(column for column in measured if column in columns))
        self.copied = None if all_columns else CopiedColumns(self.schema, self.batches, self._digest)

    def rows(self) -> Generator[InputRow, None, None]:
        columns, number = self.schema.names if self.all_columns else list(self._measured), 0
        try:
            with parquet_file(self.name) as file:
                for batch in file.iter_batches(batch_size=_BATCH):
                    for index, fields in enumerate(self._values(batch.select(columns))):
                        number += 1
                        group, problem = self._check(fields, self.names)
                        text = json.dumps(fields, default=str) if problem else ""
                        cells = (batch, index)
                        yield InputRow(number, text, fields, group, problem, cells)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.name}: cannot be read after row {number}: {error}") from error

    def _values(self, batch: Any) -> list[dict[str, Any]]:
        """Return the rows of a batch as Python values."""
        names = batch.schema.names
        try:
            rows: list[dict[str, Any]] = batch.to_pylist()
        except (ValueError, OverflowError) as error:  # such as a time after the year 9999
            if len(names) == 1:
                raise InputError(
                    f"{self.name}: column {names[0]!r} ({batch.schema.types[0]}) holds a value that Python does not "
                    f"have ({error}): convert the column to texts or integers"
                ) from error
            for name in names:
                self._values(batch.select([name]))
            raise
        return rows

    def batches(self) -> Generator[Any, None, None]:
        """Yield the record batches of the file, with all columns."""
        with parquet_file(self.name) as file:
            yield from file.iter_batches(batch_size=_BATCH)

    def total(self) -> int:
        return self._total

    def _digest(self) -> str:
        with Path(self.name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class ParquetWriter(ResultWriter):
    """Appends results to the working file, and writes the Parquet file at the end.

    Args:
        path: the path of the output.
        name: the path that the user gave, for messages.
        runs: the choices that the results of this run have.
        columns: the columns of the input rows.
    """

    path: Path

    def __init__(self, path: Path, name: str, runs: Sequence[RunChoices], columns: InputColumns) -> None:
        self.path, self.name, self._runs, self._columns = path, name, runs, columns
        self._work = work_file(path)

    def __enter__(self) -> Self:
        if (parts := self.path.with_name(f"{self.path.name}.parts")).exists():
            raise InputError(f"{parts} holds results of version 0.1.0, which cannot be continued: remove this folder")
        self._finished = (
            FinishedResults(self.path, self.name, self._columns.drawn, self._runs) if self.path.exists() else None
        )
        self._lines = ResultLines(self._work, str(self._work), self._runs).__enter__()
        self._columns.open()
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.__exit__(*error)
        self._columns.close()

    @property
    def index(self) -> KeyIndex:
        return (self._finished or self._lines).index

    def prepare(self, row: InputRow) -> str | None:
        problem = self._columns.add(row)
        self.nulls = self._columns.nulls
        return problem

    def keep(self, row: InputRow) -> bool:
        if self._finished and (index := self._finished.index.take(row.key)) is not None:
            self._lines.place(row.number, -2 - index)  # -1: no result
            self.count_pairs(*self._finished.pairs(index))
        elif found := self._lines.take(row.key):
            self._lines.place(row.number, found[0])
            self.count_pairs(*pairs_of(split_line(found[1])[1]["provenance"]))
        else:
            return False
        return True

    def kept(self, number: int) -> Mapping[str, Any]:
        place = self._lines.places[number]
        if place >= 0 or self._finished is None:
            return split_line(self._lines.line_of(number))[1]
        return self._finished.read(-2 - place)[1]

    def write(self, measured: Sequence[MeasuredRow]) -> None:
        lines = []
        for row, result in measured:
            drawn = {name: value for name, value in (row.fields or {}).items() if name in row.sampled}
            lines.append((row.number, to_line(row, drawn, result.to_dict(), self._runs)))
        self._lines.append(lines)

    def finish(self) -> None:
        digest = self._columns.digest()
        if not (self._finished and self._finished.is_current(self._lines.places, digest)):
            self._copy_if_reordered()
            with replacement(self.path) as temporary:
                try:
                    self._write_table(temporary, digest)
                    read_whole(temporary)
                except CONVERSION_ERRORS as error:
                    temporary.unlink(missing_ok=True)
                    raise SemanticEntropyError(
                        f"{self.name}: the rows cannot be written as Parquet ({error}). The results stay in "
                        f"{self._work}: use an output with the suffix .jsonl, or change the input"
                    ) from error
        self._lines.close()
        self._work.unlink(missing_ok=True)

    def drop_written(self) -> None:
        self._lines.drop_appended()

    def clear(self) -> None:
        remove(self.path)
        remove(self._work)

    def _copy_if_reordered(self) -> None:
        """Copy the kept results to the working file if their order has changed.

        They are read in the order of the finished file: in another order, each read would convert a part of this file.
        """
        if self._finished is None:
            return
        kept = (-2 - place for place in self._lines.places if place < -1)
        if all(first <= second for first, second in pairwise(kept)):
            return
        import numpy as np  # only for a run that continues, like in `KeyIndex`

        places = np.array(self._lines.places)
        numbers = map(int, np.argsort(-places, kind="stable")[np.count_nonzero(places >= -1) :])
        while part := list(islice(numbers, _BATCH)):
            lines = []
            for number in part:
                drawn, result, key = self._finished.read(-2 - self._lines.places[number])
                sampled = frozenset(drawn) if is_sampled(result) else frozenset()
                row = InputRow(number, "", None, sampled=sampled, key=key)
                lines.append((number, to_line(row, drawn, result, self._runs)))
            self._lines.append(lines)

    def _write_table(self, target: Path, digest: str) -> None:
        keys, runs, has_long = self._open_keys()
        shapes = result_shape(keys)
        stored = stored_fields(is_calibrated="calibration" in self._runs[0], has_long=has_long)
        types = {name: arrow_type(shapes[name]) for name in stored} | {"row_key": pa.string()}
        self._columns.find_types(self._places)
        own = self._columns.schema
        names = {name: free_name(name, own.names) for name in types}
        metadata = {**(own.metadata or {}), _NOTE_KEY: to_json_line({"runs": runs, "input": digest}).encode()}
        schema = pa.schema([*own, *((names[name], kind) for name, kind in types.items())], metadata)
        with pq.ParquetWriter(target, schema, write_page_checksum=True) as writer:
            collected: list[Any] = []
            for part, table in zip(self._parts(), self._columns.tables(self._places()), strict=True):
                columns = _result_columns(part, stored) | {"row_key": [each.key for each in part]}
                arrays = [to_array(columns[name], kind) for name, kind in types.items()]
                both = pa.Table.from_arrays([*table.columns, *arrays], [*table.column_names, *names.values()])
                collected.append(both.cast(schema))
                if sum(map(len, collected)) >= _ROW_GROUP:
                    writer.write_table(pa.concat_tables(collected))
                    collected = []
            if collected:
                writer.write_table(pa.concat_tables(collected))

    def _open_keys(self) -> tuple[dict[str, list[str]], list[RunChoices], bool]:
        """Return the keys of the open mappings in all results, their choices, and whether one has a long answer."""
        has_long = False
        keys: dict[str, list[str]] = {}
        runs: dict[int, RunChoices] = {}
        for part in self._parts():
            for name, found in open_keys(_result_columns(part, RESULT_FIELDS)).items():
                keys[name] = list(dict.fromkeys([*keys.get(name, ()), *found]))
            for each in part:
                index = -1 if is_sampled(each.result) else 0
                runs.setdefault(index, self._runs[index])
                has_long = has_long or each.result.get(LONG_ANSWER) is not None
        return keys, list(runs.values()), has_long

    def _places(self) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        """Yield the (number, drawn fields) of the rows with a result, in parts."""
        if len(self._runs) == 1:  # no sampler
            numbers = (number for number, place in enumerate(self._lines.places) if place != -1)
            while part_numbers := list(islice(numbers, _BATCH)):
                yield [(number, {}) for number in part_numbers]
            return
        for part in self._parts():
            yield [(each.number, each.drawn) for each in part]

    def _parts(self) -> Iterator[list[_Stored]]:
        """Yield the stored results in the order of the input, in parts."""
        stored = self._stored()
        while part := list(islice(stored, _BATCH)):
            yield part

    def _stored(self) -> Iterator[_Stored]:
        for number, place in enumerate(self._lines.places):
            if place >= 0:
                yield _Stored(number, *split_line(self._lines.read(place)))
            elif self._finished and place < -1:
                yield _Stored(number, *self._finished.read(-2 - place))


class _Stored(NamedTuple):
    """A stored result: the number of its row, the fields that a sampler filled, the result and the key of the row."""

    number: int
    drawn: dict[str, Any]
    result: dict[str, Any]
    key: str


def _result_columns(part: Sequence[_Stored], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [each.result.get(name) for each in part] for name in names}


def is_sampled(result: Mapping[str, Any]) -> bool:
    """Whether a sampler drew the responses of this result."""
    return result["provenance"]["sampler"] is not None


class FinishedResults:
    """The results in a finished Parquet file, by the keys of their rows. One row group is in memory.

    Raises:
        InputError: another program wrote the file, or its results have other choices.
    """

    def __init__(self, path: Path, name: str, drawn: Sequence[str], runs: Sequence[RunChoices]) -> None:
        self._path = path
        try:
            read_whole(path)
            with parquet_file(path) as file:
                columns: list[str] = file.schema_arrow.names
                note = json.loads((file.schema_arrow.metadata or {})[_NOTE_KEY])
                for run in note["runs"]:
                    check_choices(name, run, runs)
                self._input = note["input"]
                self._groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
                self.index = KeyIndex()
                self._pairs, self._undecided = array("q"), array("q")
                provenance = next(column for column in reversed(columns) if bare_name(column) == "provenance")
                wanted = [columns[-1], *(f"{provenance}.{name}" for name in ("asked", "cached", "undecided"))]
                for batch in file.iter_batches(columns=wanted):
                    for key in batch.column(columns[-1]).to_pylist():
                        self.index.add(key, len(self.index))
                    for counts in batch.column(provenance).to_pylist():
                        pairs, undecided = pairs_of(counts)
                        self._pairs.append(pairs)
                        self._undecided.append(undecided)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{name}: not a Parquet file ({error}): remove it, or use --overwrite") from error
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{name} is a Parquet file that this version did not write, so it cannot be continued: choose another "
                "output, or use --overwrite"
            ) from error
        start = max(i for i, column in enumerate(columns) if bare_name(column) == RESULT_FIELDS[0])
        self._results = columns[start:]
        self._drawn = [column for column in columns[:start] if column in drawn]
        self._group = -1
        self._table: Any = None  # this row group, which is in memory
        self._first, self._rows = 0, list[dict[str, Any]]()  # a part of it, as Python values, and its first row

    def pairs(self, index: int) -> tuple[int, int]:
        """Return (compared pairs, undecided pairs) of the result in this row."""
        return self._pairs[index], self._undecided[index]

    def is_current(self, places: Sequence[int], digest: str) -> bool:
        """Whether the file holds the results of exactly these places, in order, and the input has this digest."""
        rows = 0
        for place in places:
            if place not in (-1, -2 - rows):
                return False
            rows += place != -1
        return rows == len(self.index) and digest == self._input

    def read(self, index: int) -> tuple[dict[str, Any], dict[str, Any], str]:
        """Return (drawn fields, fields of the result, key) of a row, like `split_line`."""
        if not self._first <= index < self._first + len(self._rows):
            self._load(index)
        row = self._rows[index - self._first]
        result = {bare_name(name): row[name] for name in self._results[:-1]}
        for keyed, name in ((result, "scores"), (result["provenance"], "versions")):  # a struct has all keys
            keyed[name] = {key: value for key, value in keyed[name].items() if value is not None}
        drawn = {name: row[name] for name in self._drawn if row[name] is not None} if is_sampled(result) else {}
        return drawn, result, row[self._results[-1]]

    def _load(self, index: int) -> None:
        """Convert the part of the row group with this row to Python values."""
        group, first = 0, 0
        while index >= first + self._groups[group]:
            first += self._groups[group]
            group += 1
        if group != self._group:
            with parquet_file(self._path) as file:
                self._table = file.read_row_group(group, [*self._drawn, *self._results])
            self._group = group
        start = (index - first) // _BATCH * _BATCH
        self._rows, self._first = self._table.slice(start, _BATCH).to_pylist(), first + start

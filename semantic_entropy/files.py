"""Many groups from a JSON lines file to another: written as it goes, resumable, bad rows set aside.

Where it was after a kill follows from the files alone. Results and bad rows are appended in the order of the input, the
bad rows of a chunk before its results; so the results written, plus the line numbers in the file of bad rows, say which
line is next. A line cut short by the kill is removed.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from semantic_entropy.errors import InputError
from semantic_entropy.rows import (
    Row,
    appending,
    came_from,
    drop_cut_line,
    ends,
    merged,
    open_source,
    parse,
    result_key,
    write,
)
from semantic_entropy.scorer import Scorer
from semantic_entropy.types import Result, to_json_line

_CHUNK = 256  # rows in one pipeline run: enough pairs to fill a model's batch, a second or two of work lost at a kill


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did, and how to say it."""

    rows: int
    skipped: int
    bad: int
    bad_file: str
    seconds: float

    def __str__(self) -> str:
        rate = f"{self.rows / self.seconds:,.0f} rows/s" if self.seconds > 0 and self.rows else "nothing left to do"
        parts = [f"{self.rows} rows in {self.seconds:.1f} s ({rate})"]
        if self.skipped:
            parts.append(f"{self.skipped} done before (--overwrite starts anew)")
        if self.bad:
            parts.append(
                f"{self.bad} bad rows set aside in {self.bad_file}" if self.bad_file else f"{self.bad} bad rows"
            )
        return "; ".join(parts)


class Run:
    """One pass over a file. `source` and `output` may be standard streams ("-" and None)."""

    def __init__(
        self, scorer: Scorer, source: str, output: str | None, *, field: str, overwrite: bool, strict: bool
    ) -> None:
        self.scorer, self.source, self.field, self.strict = scorer, source, field, strict
        self.output = None if output in (None, "-") else Path(output or "")
        self.bad_file = self.output.with_name(self.output.name + ".bad.jsonl") if self.output else None
        if source != "-" and not Path(source).is_file():
            raise InputError(f"{source}: no such file")
        if self.output and source != "-" and self.output.resolve() == Path(source).resolve():
            raise InputError(f"{source} is both input and output: choose another output")
        if overwrite:
            for path in filter(None, (self.output, self.bad_file)):
                path.unlink(missing_ok=True)

    def execute(self, progress: bool) -> Done:
        """Measure what is not done yet.

        Raises:
            InputError: a bad row under `strict`, or an output that belongs to another input or other settings.
            SemanticEntropyError: the disk is full or the output cannot be written; what was written stays.
        """
        start = time.perf_counter()
        written, bad_numbers = self._already_done()
        rows = bad = 0
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(open_source(self.source))
            out = stack.enter_context(appending(self.output)) if self.output else sys.stdout
            lines = _remaining(self._read(source), written, bad_numbers)
            with _bar(self.source, progress) as advance:
                advance(written + len(bad_numbers))
                while chunk := list(islice(lines, _CHUNK)):
                    results = self._measure(chunk)
                    bad += self._set_aside([(row, p) for row, p in results if isinstance(p, str)])
                    good = [(row, r) for row, r in results if isinstance(r, Result)]
                    write(out, [merged(row.fields or {}, r) for row, r in good], self.output)
                    rows += len(good)
                    advance(len(chunk))
        return Done(rows, written, bad, str(self.bad_file or ""), time.perf_counter() - start)

    def _read(self, source: IO[bytes]) -> Iterator[Row]:
        for number, line in enumerate(source, start=1):
            if line.strip():
                yield parse(number, line, self.field)

    def _measure(self, chunk: list[Row]) -> list[tuple[Row, Result | str]]:
        """A result, or what is wrong, for each row."""
        good: list[tuple[Row, dict[str, Any]]] = []
        for row in chunk:
            if row.problem is None and row.fields is not None:
                good.append((row, row.fields))
            elif self.strict:
                raise InputError(f"{self.source}, line {row.number}: {row.problem}")
        batch = (
            self.scorer.estimate(
                [fields[self.field] for _, fields in good],
                question=[fields.get("question") for _, fields in good],
                logprobs=[fields.get("logprobs") for _, fields in good],
            )
            if good
            else []
        )
        found = {row.number: result for (row, _), result in zip(good, batch, strict=True)}
        return [(row, found.get(row.number, row.problem or "")) for row in chunk]

    def _set_aside(self, bad: list[tuple[Row, str]]) -> int:
        for row, problem in bad:
            sys.stderr.write(f"{self.source}, line {row.number}: {problem}\n")
        if bad and self.bad_file:
            with appending(self.bad_file) as out:
                write(
                    out,
                    [to_json_line({"line": row.number, "problem": problem, "row": row.text}) for row, problem in bad],
                    self.bad_file,
                )
        return len(bad)

    def _already_done(self) -> tuple[int, set[int]]:
        if not self.output or not self.output.exists():
            return 0, set()
        if self.source == "-":
            raise InputError(f"{self.output} exists, and standard input cannot be resumed: use --overwrite")
        drop_cut_line(self.output)
        bad: set[int] = set()
        if self.bad_file and self.bad_file.exists():
            drop_cut_line(self.bad_file)
            bad = {json.loads(line)["line"] for line in self.bad_file.read_bytes().splitlines()}
        both, written = ends(self.output)
        if written:
            self._check_same(list(map(json.loads, both)), written, bad)
        return written, bad

    def _check_same(self, both: list[dict[str, Any]], written: int, bad: set[int]) -> None:
        """The first and the last result belong to this input and these settings."""
        rows: list[Row] = []
        with open_source(self.source) as source:
            for number, row in enumerate(_remaining(self._read(source), 0, bad), start=1):
                if number in (1, written):
                    rows.append(row)
                if number == written:
                    break
        if len(rows) < len({1, written}) or not all(map(came_from, both, (rows[0], rows[-1]))):
            raise InputError(f"{self.output} holds results of another input: remove it, or use --overwrite")
        self._check_settings(both[-1], rows[-1].fields or {})

    def _check_settings(self, before: dict[str, Any], fields: dict[str, Any]) -> None:
        """Measure the last row again: what it says of itself must be what is written."""
        try:
            again = self.scorer.estimate(
                fields[self.field], question=fields.get("question"), logprobs=fields.get("logprobs")
            ).provenance
        except InputError as error:
            raise InputError(f"{self.output} was made with other settings ({error}): use --overwrite") from error
        provenance = before.get(result_key("provenance", fields), {})
        for name in ("convention", "equivalence", "clusterer", "estimator", "extract", "invalid"):
            if provenance.get(name) != getattr(again, name):
                raise InputError(
                    f"{self.output} was made with {name} {provenance.get(name)!r}, not {getattr(again, name)!r}: "
                    "use --overwrite, or another output"
                )


def _remaining(rows: Iterator[Row], written: int, bad: set[int]) -> Iterator[Row]:
    for row in rows:
        if row.number in bad:
            continue
        if written:
            written -= 1
            continue
        yield row


@contextlib.contextmanager
def _bar(source: str, shown: bool) -> Iterator[Any]:
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console  # 60 ms that a script without a terminal need not pay
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    total = None
    if source != "-":
        with Path(source).open("rb") as lines:
            total = sum(1 for line in lines if line.strip())
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rows", total=total)
        yield lambda rows: bar.advance(task, rows)

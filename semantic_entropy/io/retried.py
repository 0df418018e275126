"""Rows that an earlier run set aside for no fault of their own, asked again once all others are done.

Those that get a result now come to stand where they belong: the output is written anew, with what it held and with
them, in the order of the input. How a kill is survived, `set_aside` says.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from semantic_entropy.io.rejected import Entry, SetAside, sync
from semantic_entropy.io.rows import Measured, Sink, Source

_CHUNK = 256  # rows written at once


def beside(output: Path) -> Path:
    """Where an output is written anew: a name of the same suffix."""
    return output.with_name(f"{output.name}.again{output.suffix}")


def insert(new: Mapping[int, Measured], sink: Sink, fresh: Sink, source: Source, field: str, aside: SetAside) -> None:
    """Put these rows with their results, by number, in their places in the output, and out of those set aside.

    Args:
        new: what is measured now.
        sink: the output, finished.
        fresh: writes `beside` it.
        source: the rows of the input.
        field: of theirs, the one that holds the responses.
        aside: the rows that have no result.
    """
    entries: dict[int, Entry] = aside.read()
    fresh.clear()
    with contextlib.closing(source.rows()) as rows:
        held = sink.held(row.bare(field) for row in rows if row.number not in entries)
        merged = heapq.merge(held, (new[number] for number in sorted(new)), key=lambda one: one[0].number)
        with fresh:
            for chunk in _chunks(merged):
                fresh.write(chunk)
            fresh.finish()
    output = Path(sink.name)
    sync(beside(output))
    aside.prepare({number: entry for number, entry in entries.items() if number not in new})
    aside.exchange(beside(output), output)


def _chunks(measured: Iterable[Measured]) -> Iterator[list[Measured]]:
    rest = iter(measured)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk

"""The options that `empo-data`'s commands share: what is compared and how, what is read, drawn and written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast

import click

from empo_rl.data.overlap import KINDS, Kind

Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Compared:
    """Which evaluation sets, what near means, and how the report is printed."""

    against: tuple[str, ...]
    source_column: str | None
    alone: bool
    threshold: float
    words: int
    numbers: Literal["same", "any"]
    show: int
    as_json: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is read, what is drawn of it, and where that goes."""

    output: Path | None
    source: str | None
    split: str
    count: int | None
    seed: int
    columns: Mapping[str, str]
    drop: tuple[Kind, ...]
    dropped: Path | None


def compared(command: Command) -> Command:
    """Give a command the options that make its argument `compared`."""
    return _gathered(command, "compared", Compared, _COMPARED)


def prepared(command: Command) -> Command:
    """Give a command the options that make its argument `prepared`."""
    return _gathered(command, "prepared", Prepared, _PREPARED)


def roles(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """ROLE=COLUMN, any number of times, as a mapping."""
    wrong = next((value for value in values if value.partition("=")[0] in ("", value)), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r}: write ROLE=COLUMN, for example question=problem.")
    return dict(value.split("=", 1) for value in values)


def _kinds(_: click.Context, __: click.Parameter, value: str) -> tuple[Kind, ...]:
    given = {part.strip() for part in value.split(",")} - {""}
    wrong = given - set(KINDS)
    if wrong:
        raise click.BadParameter(f"{', '.join(sorted(wrong))}: choose from {', '.join(KINDS)}.")
    return tuple(kind for kind in KINDS if kind in given)


def _gathered(
    command: Command, name: str, into: type[Compared | Prepared], options: tuple[Callable[[Command], Command], ...]
) -> Command:
    names = [each.name for each in fields(into)]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        command(**{name: into(**{each: given.pop(each) for each in names})}, **given)

    return functools.reduce(lambda given, option: option(given), reversed(options), cast("Command", run))


_COMPARED = (
    click.option(
        "--against",
        multiple=True,
        metavar="SET",
        help="A suite or set of empo-eval, a file, or NAME=FILE; repeat it. [default: all sets that can be loaded]",
    ),
    click.option("--source-column", metavar="COLUMN", help="The column that tells the sets in such a file apart."),
    click.option("--alone", is_flag=True, help="Compare with no evaluation set."),
    click.option(
        "--threshold",
        type=click.FloatRange(0.2, 1.0),
        default=0.5,
        show_default=True,
        help="Near: the least Jaccard similarity of the runs of tokens.",
    ),
    click.option("--words", type=click.IntRange(1, 10), default=3, show_default=True, help="Near: tokens in a run."),
    click.option(
        "--numbers",
        type=click.Choice(["same", "any"]),
        default="same",
        show_default=True,
        help="Near: only with the same numbers, or with any.",
    ),
    click.option("--show", type=click.IntRange(min=0), default=0, help="Print so many pairs of each kind."),
    click.option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
)
_PREPARED = (
    click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="[default: COMMAND.jsonl]"),
    click.option("--from", "source", metavar="NAME|FILE", help="A hub data set, a .jsonl or a .parquet file."),
    click.option("--split", default="train", show_default=True, help="Of a hub data set."),
    click.option("--n", "count", type=click.IntRange(min=1), help="Rows to draw. [default: the paper's number]"),
    click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=42, show_default=True, help="Of the draw."),
    click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="ROLE=COLUMN",
        callback=roles,
        help="What a column is called; repeat it.",
    ),
    click.option("--drop", default="", metavar="KIND,...", callback=_kinds, help=f"Leave out: {', '.join(KINDS)}."),
    click.option(
        "--dropped",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write there each row that was removed or dropped, with the reason.",
    ),
)

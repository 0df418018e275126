"""Define the options that several commands of `empo-data` have."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast

import click

from empo_rl.data.overlap import OVERLAP_KINDS, OverlapKind

CommandFunction = Callable[..., None]


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """Options of the comparison: the evaluation sets, the definition of near questions, the format of the report."""

    against: tuple[str, ...]
    source_column: str | None
    alone: bool
    threshold: float
    words: int
    numbers: Literal["same", "any"]
    show: int
    as_json: bool


@dataclass(frozen=True, slots=True)
class PreparationOptions:
    """Options of the preparation: the input, the size and seed of the sample, the output files."""

    output: Path | None
    source: str | None
    split: str
    count: int | None
    seed: int
    columns: Mapping[str, str]
    drop: tuple[OverlapKind, ...]
    dropped: Path | None


def comparison_options(command: CommandFunction) -> CommandFunction:
    """Add the comparison options to a command. The command receives the options as its argument `comparison`."""
    return _add_options(command, "comparison", ComparisonOptions, _COMPARISON)


def preparation_options(command: CommandFunction) -> CommandFunction:
    """Add the preparation options to a command. The command receives the options as its argument `preparation`."""
    return _add_options(command, "preparation", PreparationOptions, _PREPARATION)


def parse_roles(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Convert repeated ROLE=COLUMN values to a dict."""
    wrong = next((value for value in values if value.partition("=")[0] in ("", value)), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r}: write ROLE=COLUMN, for example question=problem.")
    return dict(value.split("=", 1) for value in values)


def _parse_kinds(_: click.Context, __: click.Parameter, value: str) -> tuple[OverlapKind, ...]:
    given = {part.strip() for part in value.split(",")} - {""}
    wrong = given - set(OVERLAP_KINDS)
    if wrong:
        raise click.BadParameter(f"{', '.join(sorted(wrong))}: choose from {', '.join(OVERLAP_KINDS)}.")
    return tuple(kind for kind in OVERLAP_KINDS if kind in given)


def _add_options(
    command: CommandFunction,
    argument: str,
    options_class: type[ComparisonOptions | PreparationOptions],
    options: tuple[Callable[[CommandFunction], CommandFunction], ...],
) -> CommandFunction:
    names = [field.name for field in fields(options_class)]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        command(**{argument: options_class(**{name: values.pop(name) for name in names})}, **values)

    return functools.reduce(lambda function, option: option(function), reversed(options), cast("CommandFunction", run))


_COMPARISON = (
    click.option(
        "--against",
        multiple=True,
        metavar="SET",
        help="Evaluation set to compare with: a suite or set of empo-eval, a file, or NAME=FILE; repeatable. "
        "[default: all sets that can be loaded]",
    ),
    click.option("--source-column", metavar="COLUMN", help="Column of the file that holds the name of a row's set."),
    click.option("--alone", is_flag=True, help="Compare with no evaluation set."),
    click.option(
        "--threshold",
        type=click.FloatRange(0.2, 1.0),
        default=0.5,
        show_default=True,
        help="Near questions: least Jaccard similarity of the token runs.",
    ),
    click.option(
        "--words", type=click.IntRange(1, 10), default=3, show_default=True, help="Near questions: tokens in a run."
    ),
    click.option(
        "--numbers",
        type=click.Choice(["same", "any"]),
        default="same",
        show_default=True,
        help="Near questions: must contain the same numbers, or can contain any numbers.",
    ),
    click.option(
        "--show",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Number of pairs of each kind to print.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
)
_PREPARATION = (
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Output file. [default: COMMAND.jsonl]",
    ),
    click.option(
        "--from", "source", metavar="NAME|FILE", help="Hugging Face dataset, or a .jsonl or .parquet file, to read."
    ),
    click.option("--split", default="train", show_default=True, help="Split of the Hugging Face dataset."),
    click.option(
        "--n", "count", type=click.IntRange(min=1), help="Number of rows to sample. [default: the paper's number]"
    ),
    click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=42, show_default=True, help="Sampling seed."),
    click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="ROLE=COLUMN",
        callback=parse_roles,
        help="Column that has this role; repeatable.",
    ),
    click.option(
        "--drop",
        default="",
        metavar="KIND,...",
        callback=_parse_kinds,
        help=f"Drop rows with these kinds of overlap: {', '.join(OVERLAP_KINDS)}.",
    ),
    click.option(
        "--dropped",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File for the rows that were removed or dropped, with the reasons.",
    ),
)

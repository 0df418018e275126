"""`empo-plot`: draw one run, or compare several runs in the same figures.

    empo-plot RUN... [-o DIR|FILE] [--only entropy,accuracy,...] [--smooth N]

The module imports matplotlib only when a figure is drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from empo_rl.plot.panels import FIGURES, NAMES
from semantic_entropy.plain_text import printable


def _parse_names(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip()) if text is not None else NAMES
    for name in names:
        if name not in NAMES:
            raise click.BadParameter(f"{name!r}: choose from {', '.join(NAMES)}.")
    if not names:
        raise click.BadParameter(f"no panel is named: choose from {', '.join(NAMES)}.")
    return names


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("directories", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("plots"),
    show_default=True,
    help="Directory for the figures, each as PNG and SVG; or a .png or .svg file for all panels.",
)
@click.option(
    "--only", metavar="NAMES", callback=_parse_names, help=f"Panels to draw: {', '.join(NAMES)}.  [default: all]"
)
@click.option(
    "--smooth",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of steps of the running mean; the unsmoothed curve is drawn lighter.",
)
@click.version_option(package_name="semantic-entropy")
def main(directories: tuple[Path, ...], output: Path, only: tuple[str, ...], smooth: int) -> None:
    """Draw training runs (output_dir of `empo-train`) and evaluations (directories of `empo-eval`).

    Several runs are drawn into the same panels. A run may be unfinished. The command prints the paths of its files.
    """
    from empo_rl.plot.figures import draw_figure, in_order, require_matplotlib
    from semantic_entropy import SemanticEntropyError

    try:
        require_matplotlib("empo-plot")
        data = _read(directories, smooth)
        reasons = {name: data.missing(name) for name in in_order(only)}
        for name, reason in reasons.items():
            if reason:
                click.echo(f"left out: {name}: {reason}", err=True)
        available = [name for name, reason in reasons.items() if not reason]
        if not available:
            raise click.ClickException("nothing to draw: every panel is left out, for the reasons above.")
        for names, paths in _output_files(available, output):
            draw_figure(names, data, paths)
            for path in paths:
                click.echo(path)
    except (SemanticEntropyError, OSError) as error:
        raise click.ClickException(printable(str(error))) from error


def _read(directories: Sequence[Path], window: int) -> Any:
    """Read runs and evaluations. A directory with `results.json` is an evaluation; it can also be a run."""
    from empo_rl.evaluate import RESULTS
    from empo_rl.files.run_directory import METRICS
    from empo_rl.plot.figures import PlotData
    from empo_rl.plot.pass_at_k_panel import read_evaluations
    from empo_rl.plot.run_files import read_runs, short_names

    unique = list(dict.fromkeys(directories))
    evaluations = [path for path in unique if (path / RESULTS).is_file()]
    runs = read_runs([path for path in unique if path not in evaluations or (path / METRICS).is_file()])
    names = dict(zip(unique, short_names(unique), strict=True))
    for note in (note for run in runs for note in run.notes):
        click.echo(note, err=True)
    curves = read_evaluations({path: names[path] for path in evaluations})
    return PlotData(tuple(runs), tuple(curves), window)


def _output_files(names: Sequence[str], output: Path) -> Iterable[tuple[list[str], list[Path]]]:
    """The names of the panels and the paths of the files of each figure."""
    from empo_rl.plot.figures import FORMATS
    from semantic_entropy import InputError

    if output.suffix in FORMATS and not output.is_dir():
        output.parent.mkdir(parents=True, exist_ok=True)
        return [(list(names), [output])]
    if output.suffix and not output.is_dir():
        raise InputError(
            f"--output {output}: the suffix of a file must be {' or '.join(FORMATS)}; a directory has no suffix."
        )
    output.mkdir(parents=True, exist_ok=True)
    figures = ((figure, [name for name in members if name in names]) for figure, members in FIGURES.items())
    return [(found, [output / f"{figure}{end}" for end in FORMATS]) for figure, found in figures if found]


if __name__ == "__main__":
    sys.exit(main())

"""`empo-plot`: pictures of one run, or of several compared.

    empo-plot RUN... [-o DIR|FILE] [--only entropy,accuracy,...] [--smooth N]

Light at import: matplotlib is loaded when something is drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from empo_rl.plot.panels import FIGURES, NAMES


def _chosen(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip()) if text is not None else NAMES
    for name in names:
        if name not in NAMES:
            raise click.BadParameter(f"{name!r} is none of {', '.join(NAMES)}")
    if not names:
        raise click.BadParameter(f"names nothing: give some of {', '.join(NAMES)}")
    return names


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("directories", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("plots"),
    show_default=True,
    help="A directory: each figure as PNG and SVG. A .png or .svg file: all panels in it.",
)
@click.option("--only", metavar="NAMES", callback=_chosen, help=f"Some of {', '.join(NAMES)}.  [default: all]")
@click.option(
    "--smooth",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Running mean over so many steps; what was measured stays behind it.",
)
@click.version_option(package_name="semantic-entropy")
def main(directories: tuple[Path, ...], output: Path, only: tuple[str, ...], smooth: int) -> None:
    """Draw training runs (output_dir of `empo-train`) and evaluations (directories of `empo-eval`).

    Several are drawn into the same panels. A run may still be going on. What was written is listed on stdout.
    """
    from empo_rl.plot.figures import draw, in_order, require_matplotlib
    from semantic_entropy import SemanticEntropyError

    try:
        require_matplotlib("empo-plot")
        material = _read(directories, smooth)
        reasons = {name: material.missing(name) for name in in_order(only)}
        for name, reason in reasons.items():
            if reason:
                click.echo(f"left out: {name}: {reason}", err=True)
        there = [name for name, reason in reasons.items() if not reason]
        if not there:
            raise click.ClickException("nothing to draw: each panel is left out, for the reasons above.")
        for names, paths in _files(there, output):
            draw(names, material, paths)
            for path in paths:
                click.echo(path)
    except (SemanticEntropyError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _read(directories: Sequence[Path], window: int) -> Any:
    """Runs and evaluations, told apart by their files; a directory may be both."""
    from empo_rl.evaluate.evaluation_directory import RESULTS
    from empo_rl.files.run_directory import METRICS
    from empo_rl.plot.evaluations import read_evaluations
    from empo_rl.plot.figures import Material
    from empo_rl.plot.run_files import read_runs, short_names

    once = list(dict.fromkeys(directories))
    evaluations = [path for path in once if (path / RESULTS).is_file()]
    runs = read_runs([path for path in once if path not in evaluations or (path / METRICS).is_file()])
    names = dict(zip(once, short_names(once), strict=True))
    for note in (note for run in runs for note in run.notes):
        click.echo(note, err=True)
    evaluated = read_evaluations({path: names[path] for path in evaluations})
    return Material(tuple(runs), tuple(evaluated), window)


def _files(names: Sequence[str], output: Path) -> Iterable[tuple[list[str], list[Path]]]:
    """Which panels go to which files."""
    from empo_rl.plot.figures import FORMATS
    from semantic_entropy import InputError

    if output.suffix in FORMATS and not output.is_dir():
        output.parent.mkdir(parents=True, exist_ok=True)
        return [(list(names), [output])]
    if output.suffix and not output.is_dir():
        raise InputError(f"--output {output}: a file ends in {' or '.join(FORMATS)}; a directory's name has no ending.")
    output.mkdir(parents=True, exist_ok=True)
    figures = ((figure, [name for name in members if name in names]) for figure, members in FIGURES.items())
    return [(found, [output / f"{figure}{end}" for end in FORMATS]) for figure, found in figures if found]


if __name__ == "__main__":
    sys.exit(main())

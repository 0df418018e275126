"""`semantic-entropy report`: one HTML file that shows scored rows."""

from __future__ import annotations

import sys
from typing import Any

import click

from semantic_entropy.cli.options import FORMATS, OutputFile, field_options


@click.command("report")
@click.argument("file", metavar="SCORED", type=click.Path(allow_dash=True))
@click.option("-o", "--output", type=OutputFile(), required=True, metavar="FILE.html", help="The report to write.")
@click.option(
    "--calibration",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="A calibration: each row shows p(wrong) and what the gate decides, with its reasons.",
)
@click.option("--title", metavar="TEXT", help="The heading; default: the name of SCORED.")
@click.option(
    "--label",
    default="main",
    show_default=True,
    type=click.Choice(["main", "majority", "mean"]),
    help="Which label decides that an answer is wrong, as in `evaluate`.",
)
@click.option(
    "--correct",
    default="correct",
    show_default=True,
    metavar="FIELD",
    help="The field with one label (true or false) for each response, or with one for the main answer.",
)
@field_options
@click.option(
    "--input-format",
    type=click.Choice(FORMATS),
    help="The format of SCORED; default: found from its suffix and its first line.",
)
def report_command(*, file: str, output: str, **choices: Any) -> None:
    """Write an HTML report of SCORED, an output of `estimate`.

    The report is one file without any network access. It shows how far the responses agree, which answers to check
    first and why, and a table of all rows that you can sort, filter and search; each row opens to its meanings. If rows
    have labels ("answer_correct", "greedy", "correct": see `evaluate`), it also shows how well the scores find the
    wrong answers.

    The exit status is 1 if rows were left out, or if SCORED is the folder of a run that is not finished. The report is
    written all the same.
    """
    from semantic_entropy.io import unfinished_shards
    from semantic_entropy.report import write_report

    names = {"responses": choices.pop("responses_field"), "question": choices.pop("question_field")}
    summary, missing = write_report(file, output, **names, **choices), unfinished_shards(file)
    click.echo("\n".join(filter(None, (str(summary), missing))))
    if missing or summary.left_out:
        click.echo(f"exit status 1: {missing or 'rows were left out'}", err=True)
        sys.exit(1)

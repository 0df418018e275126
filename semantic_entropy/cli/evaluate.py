"""`semantic-entropy evaluate`: how well scores find wrong answers, on labelled rows."""

from __future__ import annotations

import sys
from typing import Any

import click

from semantic_entropy.cli.options import (
    OutputFile,
    field_names,
    given_options,
    how_to_read,
    labelled_rows,
    read_labelled,
)
from semantic_entropy.errors import InputError


@click.command("evaluate")
@click.option("--source", default="source", show_default=True, metavar="FIELD", help="Each value gets its own column.")
@click.option(
    "--score",
    "scores",
    multiple=True,
    metavar="NAME",
    help="Evaluate this score only, which can be a field of the rows; repeatable. Default: all scores of the rows.",
)
@click.option("--reference", metavar="NAME", help="The score that the others are compared with; default: the first.")
@click.option(
    "--coverage",
    "coverages",
    multiple=True,
    type=click.FloatRange(0, 1, min_open=True),
    default=(0.8, 0.9),
    show_default=True,
    metavar="SHARE",
    help="The accuracy of this share of the rows, the most certain ones; repeatable.",
)
@click.option("--resamples", default=1000, show_default=True, type=click.IntRange(0), help="For the intervals.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="For the resamples and the folds.")
@click.option(
    "--fit",
    "fits",
    multiple=True,
    type=(click.Choice(["probe", "wepr"]), OutputFile()),
    metavar="NAME FILE",
    help="Fit probe (hidden states) or wepr (top log-probabilities) on the labels, write FILE, and show its "
    "cross-validated score; repeatable.",
)
@click.option(
    "--picture", type=OutputFile(), metavar="FILE.png", help="Draw the ROC and rejection curves (.png, .svg)."
)
@click.option(
    "-o", "--output", type=OutputFile(), help="Keep the results of measured rows here, so that a second run continues."
)
@labelled_rows
def evaluate_command(
    *,
    file: str,
    label: Any,
    correct: str,
    source: str,
    scores: tuple[str, ...],
    confidences: tuple[str, ...],
    reference: str | None,
    coverages: tuple[float, ...],
    resamples: int,
    seed: int,
    fits: tuple[tuple[str, str], ...],
    picture: str | None,
    output: str | None,
    as_json: bool,
    quiet: bool,
    **choices: Any,
) -> None:
    """Evaluate how well scores find the wrong answers in LABELLED rows.

    LABELLED is an output of `estimate`, or an input of `estimate`, which is measured first with the same options. A row
    says which answers are right: "answer_correct" (true or false) for the main answer, "greedy": {"correct": ...} for
    the greedy answer, or "correct" with a list of true and false for the responses. Rows without a label are counted
    and left out.

    The table has a line for each score: AUROC with its 95% interval, AUPRC, the area under the rejection-accuracy curve
    (AURAC), the prediction-rejection ratio (PRR), the accuracy of the most certain rows, Brier score and calibration
    error, and the difference in AUROC from the first score with a p-value. A row with an unknown score counts as the
    most uncertain one.

    The exit status is 1 if rows could not be used, or if LABELLED is the folder of a run that is not finished. The
    table is printed all the same.
    """
    from semantic_entropy.evaluation.evaluation import evaluation_of, new_columns
    from semantic_entropy.evaluation.picture import check_picture
    from semantic_entropy.io import check_paths, unfinished_shards

    names, options = field_names(choices), how_to_read(choices)
    written = {f"file of --fit {name}": path for name, path in fits}
    if len(written) < len(fits):
        raise InputError("--fit names an estimator twice: fit each once")
    if picture:
        check_picture(picture)
        written["picture"] = picture
    check_paths(file, output, None, choices["cache"], options.requests, written)
    columns = new_columns(label, correct, source, scores, names, [name for name, _ in fits])
    given = given_options(choices)
    read_labelled(file, columns, choices, given=given, options=options, output=("-o", output), quiet=quiet)
    progress = not quiet and sys.stderr.isatty()
    evaluation = evaluation_of(columns, confidences, reference, coverages, resamples, seed, dict(fits), progress)
    if picture:
        evaluation.save_picture(picture)
    click.echo(evaluation.to_json() if as_json else evaluation.to_markdown())
    if (missing := unfinished_shards(file)) or evaluation.bad:
        click.echo(f"exit status 1: {missing or 'some rows could not be used'}", err=True)
        sys.exit(1)

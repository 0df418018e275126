"""`semantic-entropy calibrate`: p(wrong) and a threshold with a guarantee, from labelled rows."""

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

_LEVEL = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command("calibrate")
@click.option(
    "-o", "--output", type=OutputFile(), required=True, metavar="FILE.json", help="The calibration file to write."
)
@click.option(
    "--score",
    "scores",
    multiple=True,
    metavar="NAME",
    help="The score to calibrate; default: discrete. Repeatable: several are combined by logistic regression.",
)
@click.option(
    "--method",
    default="platt",
    show_default=True,
    type=click.Choice(["platt", "isotonic", "histogram"]),
    help="How p(wrong) depends on the score.",
)
@click.option(
    "--alpha",
    default=0.1,
    show_default=True,
    type=_LEVEL,
    metavar="RISK",
    help="The highest share of wrong answers among the answered rows.",
)
@click.option(
    "--delta",
    default=0.1,
    show_default=True,
    type=_LEVEL,
    metavar="P",
    help="The probability that the guarantee does not hold.",
)
@click.option(
    "--model", metavar="NAME", help="The model that gave the responses, if no sampler of this package drew them."
)
@click.option(
    "--question-id",
    metavar="FIELD",
    help="A field that rows about one question share, such as doc_id. They count once, as rows with the same text do.",
)
@click.option(
    "--fit-share",
    default=0.2,
    show_default=True,
    type=_LEVEL,
    metavar="SHARE",
    help="The share of the questions that p(wrong) is fitted on; the others certify the threshold.",
)
@click.option(
    "--fitted-elsewhere",
    multiple=True,
    metavar="NAME",
    help="Confirm that the weights of this score (wepr, probe) were fitted on other questions; repeatable.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="For the two parts of the labels.")
@click.option(
    "--picture", type=OutputFile(), metavar="FILE.png", help="Draw ROC, precision and recall, reliability (.png, .svg)."
)
@click.option(
    "--measured",
    type=OutputFile(),
    metavar="FILE",
    help="Keep the results of measured rows here, so that a second run continues.",
)
@labelled_rows
def calibrate_command(
    *,
    file: str,
    output: str,
    scores: tuple[str, ...],
    method: Any,
    alpha: float,
    delta: float,
    label: Any,
    correct: str,
    confidences: tuple[str, ...],
    model: str | None,
    question_id: str | None,
    fit_share: float,
    fitted_elsewhere: tuple[str, ...],
    seed: int,
    picture: str | None,
    measured: str | None,
    as_json: bool,
    quiet: bool,
    **choices: Any,
) -> None:
    """Learn from LABELLED rows which answers to trust, and write it to a calibration file.

    LABELLED is an output of `estimate` with labels, or an input of `estimate` with labels, which is measured first. The
    labels are those of `evaluate`: "answer_correct", "greedy": {"correct": ...}, or "correct".

    The file has p(wrong) for each value of the score, and a threshold: among the answers with a score of at most the
    threshold, at most RISK are wrong, with confidence 1 - P. One fifth of the questions is used to fit p(wrong), the
    others to certify the threshold. It takes 45, 22 or 11 answered rows without an error for a RISK of 0.05, 0.1 or
    0.2. If nothing can be certified, the file is written without a threshold, the report says what is needed, and the
    exit status is 3. It is 1 if rows could not be used, or if LABELLED is the folder of a run that is not finished.

    `estimate --calibration FILE.json` uses the file.
    """
    from semantic_entropy.evaluation.calibrating import calibration_of, check_arguments, with_estimators
    from semantic_entropy.evaluation.evaluation import new_columns
    from semantic_entropy.evaluation.picture import check_picture
    from semantic_entropy.io import check_paths, unfinished_shards

    names, options = field_names(choices), how_to_read(choices)
    scores = check_arguments(scores, method, alpha, delta, fit_share, fitted_elsewhere)
    written = {"calibration": output}
    if picture:
        check_picture(picture)
        written["picture"] = picture
    check_paths(file, measured, None, choices["cache"], options.requests, written)
    columns = new_columns(label, correct, "source", scores, names)
    columns.question_id = question_id
    given = given_options(choices)
    estimators = with_estimators({"estimator": choices["estimators"] or None}, scores).get("estimator")
    choices["estimators"] = tuple(estimators or ())
    kept = ("--measured", measured)
    read_labelled(file, columns, choices, given=given, options=options, output=kept, quiet=quiet)
    report = calibration_of(columns, method, alpha, delta, confidences, model, fit_share, fitted_elsewhere, seed)
    report.calibration.save(output)
    if picture:
        report.save_picture(picture)
        click.echo(f"{picture} is written: ROC, precision and recall, reliability", err=True)
    click.echo(report.to_json() if as_json else report.to_markdown())
    click.echo(f"{output} is written: use it with `semantic-entropy estimate --calibration {output}`", err=True)
    if not report.is_certified:
        click.echo("exit status 3: no threshold is certified", err=True)
        sys.exit(3)
    if (missing := unfinished_shards(file)) or report.bad:
        click.echo(f"exit status 1: {missing or 'some rows could not be used'}", err=True)
        sys.exit(1)

"""`semantic-entropy explain`: draw the clusters of one question in the terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import click

from semantic_entropy.cli.options import (
    calibration_options,
    given_options,
    how_to_read,
    input_options,
    judge_option,
    open_scorer,
    sampling_options,
)

if TYPE_CHECKING:
    from semantic_entropy.decisions import Decision
    from semantic_entropy.types import Group


@click.command("explain")
@click.argument("responses", nargs=-1, metavar="[RESPONSE]...")
@click.option("--file", type=click.Path(exists=True), help="Use a row of this file, or of a folder of Parquet files.")
@click.option(
    "--id",
    "row_id",
    metavar="[FIELD=]VALUE",
    help="The row with this value in the field of --group-by, else in id, custom_id or doc_id; or in FIELD. Default: "
    "the first row.",
)
@click.option(
    "--responses",
    "responses_field",
    metavar="FIELD",
    help="The field of --file that holds the responses; default: responses.",
)
@click.option("-q", "--question", help="The question that was asked. With --file: the field that holds the question.")
@input_options
@click.option("-e", "--equivalence", metavar="NAME", help="The judge; default: auto (math, else text).")
@judge_option
@click.option("--convention", default="default", show_default=True, metavar="NAME")
@click.option("--extract", metavar="HOW", help="How to find the answer in a response, as in `estimate`.")
@calibration_options
@click.option("--long/--no-long", default=None, help="Also draw the sentences of one answer, as in `estimate`.")
@click.option("--support", metavar="NAME", help="Says what supports a sentence; default: text.")
@click.option("--support-option", "support_options", multiple=True, metavar="K=V", help="An option of this judge.")
@click.option("--claims", metavar="NAME", help="Draw claims, not sentences: the sampler that lists them.")
@click.option("--claims-option", "claims_options", multiple=True, metavar="K=V", help="An option of this sampler.")
@sampling_options
def explain_command(
    *,
    responses: tuple[str, ...],
    file: str | None,
    row_id: str | None,
    responses_field: str | None,
    question: str | None,
    **choices: Any,
) -> None:
    """Draw the clusters of one question.

    The responses are the RESPONSE arguments, a row of --file, or what --sampler draws for the question -q.

    A row that `estimate` wrote has a result: this result is drawn, and nothing is measured. -e, --option, --convention,
    --extract and --model measure the responses again.

    With --calibration, p(wrong), the threshold and the decision of the gate are shown, with all reasons.
    """
    from semantic_entropy.decisions import Calibration, decide
    from semantic_entropy.io import find_row
    from semantic_entropy.io.readers.parquet_folder import MANIFEST
    from semantic_entropy.report.scored_rows import stored_result
    from semantic_entropy.report.terminal import draw_question
    from semantic_entropy.tables import FieldNames

    if sum(map(bool, (responses, file, choices["sampler"]))) != 1:
        raise click.UsageError("give one of these: responses, --file FILE, or --sampler NAME with -q QUESTION")
    if responses and any(map(os.path.isfile, (responses[0], os.path.join(responses[0], MANIFEST)))):  # noqa: PTH118
        raise click.UsageError(
            f"the first response is the name of a file or of results: write --file {responses[0]} --id VALUE; or, if "
            "it is an answer, give another response first"
        )
    if choices["sampler"] and not question:
        raise click.UsageError("--sampler needs a question: add -q QUESTION")
    of_file = {name: choices[name] for name in ("input_format", "group_by", "requests")}
    of_file |= {"id": row_id, "responses": responses_field}
    if not file and (given := [name.replace("_", "-") for name, value in of_file.items() if value]):
        raise click.UsageError(f"--{given[0]} is for a row of a file: add --file FILE")
    measuring = {name: choices[name] for name in ("equivalence", "options", "convention", "extract", "model")}
    measuring |= {name: choices[name] for name in ("long", "support", "support_options", "claims", "claims_options")}
    learned = Calibration.load(choices["calibration"]) if choices["calibration"] else None
    options, group, result = how_to_read(choices), None, None
    if file:
        row = find_row(file, row_id, FieldNames(responses_field or "responses", question), options)
        group = cast("Group", row.group)
        responses, question = group.responses, group.question
        if not given_options(measuring):
            result = stored_result(row.fields or {}, group)
    is_stored = result is not None
    if result is None:
        estimators = learned.names if learned else ()
        with open_scorer({"clusterer": None, "estimators": estimators, "invalid": "separate", **choices}) as scorer:
            result = (
                scorer.measure([group])[0] if group else scorer.estimate(list(responses) or None, question=question)
            )
    draw_question(result, responses or [sample.text for sample in result.samples or ()], question)
    if is_stored:
        click.echo("the stored result of this row; -e JUDGE measures again")
    if learned:
        _show(decide(result, learned))


def _show(decision: Decision) -> None:
    """Print the decision with its numbers and its reasons."""
    from semantic_entropy.plain_text import printable

    numbers = {"p(wrong)": decision.p_wrong, "score": decision.risk_score, "threshold": decision.threshold}
    shown = ", ".join(f"{name} {'unknown' if value is None else f'{value:.4g}'}" for name, value in numbers.items())
    click.echo(f"decision: {decision.action} ({shown})")
    for reason in decision.reasons:
        click.echo(printable(f"  - {reason}"))

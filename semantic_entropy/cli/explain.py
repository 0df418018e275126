"""`semantic-entropy explain`: draw the clusters of one question in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from semantic_entropy.cli.options import how_to_read, input_options, judge_option, open_scorer, sampling_options

if TYPE_CHECKING:
    from rich.console import Console

    from semantic_entropy.results import Result

_BAR_WIDTH = 30  # characters for a cluster that has all responses


@click.command("explain")
@click.argument("responses", nargs=-1, metavar="[RESPONSE]...")
@click.option("--file", type=click.Path(exists=True, dir_okay=False), help="Use a row of this file.")
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
    """
    from semantic_entropy.io import find_row
    from semantic_entropy.tables import FieldNames

    if sum(map(bool, (responses, file, choices["sampler"]))) != 1:
        raise click.UsageError("give one of these: responses, --file FILE, or --sampler NAME with -q QUESTION")
    if choices["sampler"] and not question:
        raise click.UsageError("--sampler needs a question: add -q QUESTION")
    of_file = {name: choices[name] for name in ("input_format", "group_by", "requests")}
    of_file |= {"id": row_id, "responses": responses_field}
    if not file and (given := [name.replace("_", "-") for name, value in of_file.items() if value]):
        raise click.UsageError(f"--{given[0]} is for a row of a file: add --file FILE")
    options, row = how_to_read(choices), None
    if file:
        row = find_row(file, row_id, FieldNames(responses_field or "responses", question), options)
        responses, question = row.responses, row.question
    with open_scorer({"clusterer": None, "estimators": (), "invalid": "separate", **choices}) as scorer:
        result = scorer.measure([row])[0] if row else scorer.estimate(list(responses) or None, question=question)
    print_clusters(result, responses or [sample.text for sample in result.samples], question)


def print_clusters(
    result: Result, responses: Sequence[str], question: str | None, console: Console | None = None
) -> None:
    """Print a bar for each cluster, the most probable first, with its responses below it."""
    from rich.console import Console
    from rich.markup import escape

    from semantic_entropy.plain_text import one_line

    console = console or Console(highlight=False)
    if question:
        console.print(f"[bold]{escape(one_line(question))}[/bold]")
    share = f"{result.normalized:.0%} of the maximum; " if result.n_valid > 1 else "too few valid answers to compare; "
    console.print(
        f"semantic entropy [bold]{result.entropy:.3f}[/bold] nats, {share}"
        f"{len(result.clusters)} meaning{'s' * (len(result.clusters) != 1)} in {len(responses)} responses"
    )
    for cluster in sorted(result.clusters, key=lambda c: -c.share):
        name = "[dim](no answer)[/dim]" if cluster.representative is None else escape(one_line(cluster.representative))
        filled = round(cluster.share * _BAR_WIDTH)
        bar = f"[cyan]{'█' * filled}[/cyan][dim]{'·' * (_BAR_WIDTH - filled)}[/dim]"
        console.print(f"\n{bar} {cluster.share:6.1%}  {name}")
        for index in cluster.indices:
            line = f"    [dim]{index:>3}[/dim]  {escape(one_line(responses[index]))}"
            console.print(line, overflow="ellipsis", no_wrap=True)
    if result.greedy_sample:
        console.print(f"\ngreedy answer: {escape(one_line(result.greedy_sample.text))}")
    provenance = result.provenance
    judged_by = f"{provenance.equivalence} ({provenance.equivalence_reason})"
    method = one_line(f"{judged_by}; {provenance.clusterer}; {provenance.estimator}")
    console.print(f"\n[dim]{escape(method)}[/dim]")
    for line in provenance.costs():
        console.print(f"[dim]{escape(one_line(line))}[/dim]")
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(one_line(warning))}")

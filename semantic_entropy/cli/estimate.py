"""`semantic-entropy estimate`: measure every row of a file."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from semantic_entropy.cli.options import (
    OutputFile,
    cache_option,
    field_names,
    field_options,
    how_to_read,
    input_options,
    measuring_options,
    open_scorer,
    quiet_option,
    sampling_options,
)
from semantic_entropy.results import MAX_UNDECIDED


@click.command("estimate")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("-o", "--output", type=OutputFile(), help="The file to write; default: standard output.")
@measuring_options
@field_options
@input_options
@cache_option
@sampling_options
@click.option(
    "--max-undecided",
    default=MAX_UNDECIDED,
    show_default=True,
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="If the judge cannot decide a larger share of the compared pairs, the exit status is 1.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output, instead of continuing it.")
@click.option("--strict", is_flag=True, help="Stop at the first bad row, instead of writing it to OUTPUT.bad.jsonl.")
@quiet_option
def estimate_command(
    *, file: str, output: str | None, overwrite: bool, strict: bool, quiet: bool, max_undecided: float, **choices: Any
) -> None:
    """Measure every row of a file.

    FILE is JSON lines, a JSON array, CSV, TSV, Parquet, chat completions, the output of a batch, or a log of lm-eval or
    inspect_ai. The output is Parquet if its suffix is .parquet or .pq, else JSON lines. - is standard input or output.

    A row has "responses" (a list of strings) and optionally "question" and "logprobs" (token log-probabilities for each
    response, in nats). Estimators that need other evidence read it from the fields top_logprobs, token_entropies,
    token_similarity, similarity, embeddings, hidden_state and greedy. Without "question", a field with a common name
    (prompt, query, messages, ...) is the question.
    The output has the same rows with the fields of the result added. Rows are written as soon as they are measured:
    after an interruption, run the same command again and it continues. Bad rows are written to OUTPUT.bad.jsonl. A
    Parquet output is written at the end; until then, results are in OUTPUT.partial.jsonl.

    Where the judge cannot decide a pair, its answers count as different. If this concerns more than --max-undecided of
    all compared pairs, the rows are written, and the exit status is 1.

    With --sampler, a row may have a question and no responses. The drawn responses are stored in --samples (default:
    OUTPUT.samples.jsonl) and not drawn again.
    """
    from semantic_entropy.io import FileRun, check_paths

    if choices["sampler"] and output not in (None, "-"):
        choices["samples"] = choices["samples"] or f"{output}.samples.jsonl"
    names, options = field_names(choices), how_to_read(choices)
    check_paths(
        file, output, choices["samples"], choices["cache"], options.requests
    )  # before a file is opened or removed
    with open_scorer(choices) as scorer:
        run = FileRun(scorer, file, output, names=names, overwrite=overwrite, strict=strict, options=options)
        try:
            summary = run.execute(progress=not quiet and sys.stderr.isatty())
        except KeyboardInterrupt:
            advice = "; run the same command again to continue" if output not in (None, "-") else ""
            stored = f"; {scorer.store.added} new responses are stored" if scorer.store else ""
            click.echo(f"interrupted after {run.rows} rows{stored}{advice}", err=True)
            sys.exit(130)
        except BrokenPipeError:  # the reader, such as `head`, has ended: the flush at exit must not fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
    click.echo(str(summary), err=True)
    if choices["cache"]:
        click.echo(f"cache {scorer.cache}", err=True)
    if scorer.store:
        click.echo(f"samples {scorer.store}", err=True)
    if too_many := summary.undecided_share > max_undecided:
        click.echo(f"exit status 1: more pairs are undecided than --max-undecided {max_undecided:g}", err=True)
    if summary.rejected or too_many:
        sys.exit(1)

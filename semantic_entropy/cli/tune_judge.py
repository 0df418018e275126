"""`semantic-entropy tune-judge`: choose a judge's threshold from labelled pairs. Its name was `threshold` in 0.1.0."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

import click

from semantic_entropy.cli.options import cache_option, json_option, judge_option, parse_options, quiet_option


@click.command("tune-judge")
@click.argument("file", type=click.Path(dir_okay=False, exists=True))
@click.option("-e", "--equivalence", metavar="NAME", required=True, help="The judge; its verdicts must have scores.")
@judge_option
@cache_option
@click.option(
    "--metric",
    default="accuracy",
    show_default=True,
    help="What to maximise: accuracy, f1, or precision@P (0 < P <= 1).",
)
@click.option("--left", default="a", show_default=True, metavar="FIELD", help="The field of the first answer.")
@click.option("--right", default="b", show_default=True, metavar="FIELD", help="The field of the second answer.")
@click.option("--label", default="equivalent", show_default=True, metavar="FIELD", help="Whether they mean the same.")
@click.option("--question", default="question", show_default=True, metavar="FIELD", help="The question, if any.")
@click.option("--source", default="source", show_default=True, metavar="FIELD", help="Each value gets its own line.")
@json_option
@quiet_option
def tune_judge_command(
    *,
    file: str,
    equivalence: str,
    options: tuple[str, ...],
    metric: str,
    cache: str | None,
    as_json: bool,
    quiet: bool,
    **fields: str,
) -> None:
    """Choose a judge's threshold from FILE: JSON lines of labelled pairs.

    A row has two answers, "a" and "b", and "equivalent" (true or false); optionally "question" and "source". The table
    shows two scores. The score on the pairs from which the threshold was chosen is too good. The 5-fold cross-validated
    score is fairer: a threshold chosen from other questions judges each pair.
    """
    from semantic_entropy import load_equivalence
    from semantic_entropy.decisions import read_labelled_pairs, tune_threshold
    from semantic_entropy.measuring import Resources

    pairs = read_labelled_pairs(file, fields)
    verdicts = Resources(cache=cache).cache
    judge_options = parse_options(options)
    judge = load_equivalence(equivalence, **judge_options)
    hidden = quiet or not sys.stderr.isatty()
    try:
        with click.progressbar(length=len(pairs), label="pairs", file=sys.stderr, hidden=hidden) as bar:
            report = tune_threshold(judge, pairs, metric, bar.update, verdicts)
    finally:
        judge.close()
        verdicts.close()
    if cache:
        click.echo(f"cache {verdicts}", err=True)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
        return
    click.echo(str(report))
    if report.own_threshold is None:
        stage: dict[str, Any] = {"judge": equivalence, **({"options": judge_options} if options else {})}
        stage["band"] = [report.threshold, report.threshold]
        click.echo(f"\nuse it as a stage of a cascade: {json.dumps(stage)}")
    else:
        kept = [option for option in options if not option.startswith("threshold=")]
        chosen = [part for option in (*kept, f"threshold={report.threshold}") for part in ("--option", option)]
        click.echo(f"\nuse it: {shlex.join(['--equivalence', equivalence, *chosen])}")


@click.command("threshold", params=tune_judge_command.params, hidden=True)
def threshold_command(**options: Any) -> None:
    """The old name of tune-judge."""
    click.echo("this command is now called tune-judge: semantic-entropy tune-judge", err=True)
    assert tune_judge_command.callback is not None
    tune_judge_command.callback(**options)

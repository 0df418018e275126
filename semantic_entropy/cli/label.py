"""`semantic-entropy label`: say of each row whether its main answer is right, by a gold answer or by a person."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from semantic_entropy.cli.options import (
    OutputFile,
    cache_option,
    field_names,
    field_options,
    how_to_read,
    input_options,
    judge_option,
    open_scorer,
    quiet_option,
)
from semantic_entropy.results import MAX_UNDECIDED

if TYPE_CHECKING:
    from semantic_entropy.labelling import LabelRun, LabelSummary

_OF_JUDGE = ("equivalence", "options", "extract", "cache", "overwrite", "no_answer_is_wrong")


@click.command("label")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("-o", "--output", type=OutputFile(), help="The labelled rows, JSON lines. Not needed with --html.")
@click.option(
    "--gold",
    multiple=True,
    metavar="FIELD",
    help="Let a judge compare the answers with this field: a text, or a list of accepted texts; repeatable.",
)
@click.option("--html", type=OutputFile(), metavar="PAGE.html", help="Write a page on which a person labels the rows.")
@click.option(
    "--import",
    "imports",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Take over the labels that such a page exported, or those of another labelled file; repeatable.",
)
@click.option(
    "--answer",
    metavar="FIELD",
    help="The field with the answer that is labelled; default: the greedy answer, else the answer of the result.",
)
@click.option("--show", multiple=True, metavar="FIELD", help="Show a person this field too; repeatable.")
@click.option(
    "--order",
    default="random",
    show_default=True,
    type=click.Choice(["random", "file"]),
    help="The order in which a person sees the rows.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Show a person at most N rows.")
@click.option(
    "-e", "--equivalence", metavar="NAME", help="The judge for --gold; default: auto (math, else text), for each row."
)
@judge_option
@click.option("--extract", metavar="HOW", help="How to find the answer in a response, as in `estimate`.")
@cache_option
@click.option(
    "--no-answer-is-wrong",
    is_flag=True,
    help="With --gold: a row without a valid answer (a refusal, an empty text) is wrong. Default: it has no label.",
)
@click.option(
    "--max-undecided",
    default=MAX_UNDECIDED,
    show_default=True,
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="If the judge cannot decide a larger share of the rows, the exit status is 1.",
)
@click.option("--overwrite", is_flag=True, help="With --gold: make the labels of judges again. Those of people stay.")
@click.option(
    "--correct",
    default="correct",
    show_default=True,
    metavar="FIELD",
    help="The field with labels that rows may have, as in `evaluate`.",
)
@click.option(
    "--alpha",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="The risk of a wrong answer that you want to guarantee.",
)
@click.option(
    "--delta",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="The guarantee may fail with this probability.",
)
@field_options
@input_options
@quiet_option
def label_command(
    *,
    file: str,
    output: str | None,
    gold: tuple[str, ...],
    html: str | None,
    imports: tuple[str, ...],
    answer: str | None,
    show: tuple[str, ...],
    order: str,
    limit: int | None,
    max_undecided: float,
    correct: str,
    alpha: float,
    delta: float,
    quiet: bool,
    **choices: Any,
) -> None:
    """Label the rows of FILE: is the main answer of a row right?

    FILE is an output of `estimate`, whose main answer is that of the largest cluster; or any input of `estimate` with a
    field for the answer (--answer), a greedy answer, or one response in each row. The output has the same rows with
    "answer_correct" (true, false, or null without a label) and "label", which says who made the label. `evaluate` and
    `calibrate` read it.

    \b
    --gold FIELD      a judge compares the answer with the gold answer
    --html PAGE.html  a page for a browser; it works without a network
    --import FILE     takes over what the page exported
    none of these     you answer y or n in the terminal

    Each label is stored at once: run the same command again to continue, also in another way. A judge labels what it
    can, and a person the rest. Labels of main answers that rows have already stay, and --gold says how often the judge
    agrees with them. Labels of the responses (--correct) are compared with the judge's, and not taken over.
    """  # noqa: D301  # click reads the character \b, which a raw text does not have
    from semantic_entropy.labelling import ItemOptions, LabelRun

    _check_ways(output, gold, html, imports, choices)
    names, options = field_names(choices), how_to_read(choices)
    items = ItemOptions(answer, gold, show, correct)
    overwrite, no_answer_is_wrong = choices.pop("overwrite"), choices.pop("no_answer_is_wrong")
    run = LabelRun(file, output, names=names, options=options, items=items, cache=choices["cache"])
    with run:
        if html:
            from semantic_entropy.labelling.page import write_page

            count = write_page(html, run.waiting(order)[:limit], file)
            click.echo(
                f"{html}: {count} answers to label. Open it in a browser, export the labels, and --import them",
                err=True,
            )
            return
        if gold:
            _judge(run, choices, again=overwrite, no_answer_is_wrong=no_answer_is_wrong, quiet=quiet)
        elif imports:
            from semantic_entropy.labelling.page import read_labels

            for name in imports:
                run.take_over(read_labels(name), name)
        else:
            from semantic_entropy.labelling.dialog import Dialog

            Dialog(run, run.waiting(order)[:limit]).ask()
        summary = run.finish()
    _report(summary, alpha, delta, max_undecided)


def _check_ways(
    output: str | None, gold: tuple[str, ...], html: str | None, imports: tuple[str, ...], choices: dict[str, Any]
) -> None:
    given = [name for name, value in (("--gold", gold), ("--html", html), ("--import", imports)) if value]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} are different ways to label: give one of them")
    if output is None and not html:
        raise click.UsageError("name the file for the labelled rows: -o LABELLED.jsonl")
    if output == "-":
        raise click.UsageError("labels are kept in a file: -o LABELLED.jsonl")
    if not gold and (of_judge := [name for name in _OF_JUDGE if choices[name]]):
        names = {"options": "option"}
        option = names.get(of_judge[0], of_judge[0]).replace("_", "-")
        raise click.UsageError(f"--{option} is for a judge: add --gold FIELD, the field with the gold answers")
    if not given and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("a person labels in a terminal, and this is none: add --gold FIELD, or --html PAGE.html")


def _judge(run: LabelRun, choices: dict[str, Any], *, again: bool, no_answer_is_wrong: bool, quiet: bool) -> None:
    try:
        with open_scorer({**choices, "sampler": None, "sampler_options": (), "samples": None}) as scorer:
            progress = not quiet and sys.stderr.isatty()
            run.judge(scorer, no_answer_is_wrong=no_answer_is_wrong, again=again, progress=progress)
            if choices["cache"]:
                click.echo(f"cache {scorer.cache}", err=True)
    except KeyboardInterrupt:
        click.echo("interrupted: the labels so far are stored; run the same command again to continue", err=True)
        sys.exit(130)


def _report(summary: LabelSummary, alpha: float, delta: float, max_undecided: float) -> None:
    click.echo(str(summary), err=True)
    if trust := summary.trust(alpha):
        click.echo(trust, err=True)
    click.echo(summary.still_needed(alpha, delta), err=True)
    if too_many := summary.undecided_share > max_undecided:
        click.echo(f"exit status 1: more rows are undecided than --max-undecided {max_undecided:g}", err=True)
    if summary.rejected or summary.unmatched or too_many:
        sys.exit(1)

"""`semantic-entropy`: estimate files, explain one question, list plugins, check the installation.

Light on purpose: what a command needs is imported when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from semantic_entropy.errors import InputError, SemanticEntropyError

_TEXTS = frozenset(("api_key",))  # options that are texts even where they look like a number
_OPTION_HELP = "An option of the equivalence, as key=value; may be repeated."


class _New(click.Path):
    """A file to be written, whose folder must be there: a slip of the pen should not make one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        folder = Path(value).parent
        if not folder.is_dir():
            self.fail(f"{value}: there is no folder {folder}: make it first, or mend the path", param, ctx)
        return super().convert(value, param, ctx)


def _sampling(command: Any) -> Any:
    """The options of who draws the responses."""
    for option in reversed(
        (
            click.option("--sampler", metavar="NAME", help="Who answers questions that come alone: hf, openai, vllm."),
            click.option(
                "--sampler-option",
                "sampler_options",
                multiple=True,
                metavar="K=V",
                help="An option of the sampler, as key=value; may be repeated.",
            ),
            click.option("-n", "n", default=10, show_default=True, type=click.IntRange(1), help="Responses to draw."),
            click.option(
                "--samples", type=_New(dir_okay=False), help="Where drawn responses are kept, one JSON line each."
            ),
        )
    ):
        command = option(command)
    return command


class _Group(click.Group):
    """Shows this package's own errors as messages, not tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SemanticEntropyError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="semantic-entropy")
def main() -> None:
    """Measure how much a language model is guessing: entropy over the meanings of several answers."""


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("-o", "--output", type=_New(dir_okay=False), help="Where to write; default: standard output.")
@click.option("-e", "--equivalence", metavar="NAME", help="Who means the same; default: auto (math, else text).")
@click.option("--option", "options", multiple=True, metavar="K=V", help=_OPTION_HELP)
@click.option("--clusterer", metavar="NAME", help="Default: the convention's.")
@click.option("--estimator", "estimators", multiple=True, metavar="NAME", help="May be repeated; the first leads.")
@click.option("--convention", default="default", show_default=True, metavar="NAME")
@click.option("--extract", metavar="HOW", help="boxed, choice, number, last-line, whole, regex:PATTERN.")
@click.option("--invalid", default="separate", show_default=True, type=click.Choice(["separate", "drop", "together"]))
@click.option(
    "--responses", "field", default="responses", show_default=True, help="The field that holds the responses."
)
@click.option("--cache", type=_New(dir_okay=False), help="An SQLite file that keeps verdicts from run to run.")
@_sampling
@click.option("--overwrite", is_flag=True, help="Start anew where the output exists, instead of going on.")
@click.option("--strict", is_flag=True, help="Stop at the first bad row, instead of setting it aside.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def estimate(
    *, file: str, output: str | None, field: str, overwrite: bool, strict: bool, quiet: bool, **how: Any
) -> None:
    """Measure every row of FILE: JSON lines or, by its suffix, Parquet; - is standard input. So for the output.

    A row holds "responses" (a list of strings) and, where there are, "question" and "logprobs" (token log-probabilities
    a response, nats). Out comes the row with the fields of the result added. Rows are written as they are done; run the
    same command again after an interruption and it goes on where it was. Bad rows go to OUTPUT.bad.jsonl. Parquet is
    written to OUTPUT.parts/ and merged at the end.

    With --sampler, a row may hold a question alone. What is drawn is kept in --samples (default: OUTPUT.samples.jsonl)
    and never asked for again.
    """
    from semantic_entropy.io.run import Run

    if how["sampler"] and output not in (None, "-"):
        how["samples"] = how["samples"] or f"{output}.samples.jsonl"
    with _scorer(how) as scorer:
        run = Run(scorer, file, output, field=field, overwrite=overwrite, strict=strict)
        try:
            done = run.execute(progress=not quiet and sys.stderr.isatty())
        except KeyboardInterrupt:
            goes_on = "; the same command goes on from there" if output not in (None, "-") else ""
            click.echo(f"interrupted after {run.rows} rows{goes_on}", err=True)
            sys.exit(130)
        except BrokenPipeError:  # `| head`: what Python flushes at its end must not complain again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
    click.echo(str(done), err=True)
    if how["cache"]:
        click.echo(f"cache {scorer.cache}", err=True)
    if scorer.store:
        click.echo(f"samples {scorer.store}", err=True)
    if done.bad or done.bad_before:
        sys.exit(1)


@main.command()
@click.argument("responses", nargs=-1, metavar="[RESPONSE]...")
@click.option("--file", type=click.Path(exists=True, dir_okay=False), help="Take a row of this file instead.")
@click.option("--id", "row_id", help="The row's id; default: its first row.")
@click.option("-q", "--question", help="The question that was asked.")
@click.option("-e", "--equivalence", metavar="NAME")
@click.option("--option", "options", multiple=True, metavar="K=V", help=_OPTION_HELP)
@click.option("--convention", default="default", show_default=True, metavar="NAME")
@click.option("--extract", metavar="HOW")
@_sampling
def explain(responses: tuple[str, ...], file: str | None, row_id: str | None, question: str | None, **how: Any) -> None:
    """Draw the clusters of one question: the RESPONSEs given, a row of --file, or what --sampler answers to -q."""
    from semantic_entropy.cli.drawing import draw
    from semantic_entropy.io.run import find_row

    if sum(map(bool, (responses, file, how["sampler"]))) != 1:
        raise click.UsageError("give responses, or --file FILE, or --sampler NAME with -q QUESTION: one of the three")
    if how["sampler"] and not question:
        raise click.UsageError("--sampler needs a question to ask: -q QUESTION")
    row: dict[str, Any] = find_row(file, row_id) if file else {"responses": list(responses), "question": question}
    with _scorer({"clusterer": None, "estimators": (), "invalid": "separate", **how}) as scorer:
        responses_ = row["responses"] or None
        result = scorer.estimate(responses_, question=row.get("question"), logprobs=row.get("logprobs"))
    draw(result, responses_ or [sample.text for sample in result.samples], row.get("question"))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def plugins(as_json: bool) -> None:
    """List every component and where it came from, and every plugin that failed to load."""
    from semantic_entropy.cli.doctor import listing

    found = listing()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for kind, components in found["components"].items():
        click.echo(click.style(kind, bold=True))
        for one in components:
            missing = f"  [missing: {', '.join(one['missing'])}]" if one["missing"] else ""
            click.echo(f"  {one['name']:<16} {one['summary']}  ({one['source']}){missing}")
    for failure in found["failed"]:
        click.secho(f"FAILED {failure['plugin']} ({failure['source']}): {failure['reason']}", fg="red")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def doctor(as_json: bool) -> None:
    """Check what is installed and what works, and say the command that fixes what does not."""
    from semantic_entropy.cli.doctor import examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([finding.__dict__ for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = click.style("ok  ", fg="green") if finding.ok else click.style(finding.mark, fg="yellow")
            click.echo(f"{mark} {finding.name:<14} {finding.detail}")
            if finding.fix:
                click.echo(f"{'':19} fix: {finding.fix}")
    sys.exit(any(not finding.ok and finding.needed for finding in findings))


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, exists=True))
@click.option("-e", "--equivalence", metavar="NAME", required=True, help="The judge, which must give scores.")
@click.option("--option", "options", multiple=True, metavar="K=V", help=_OPTION_HELP)
@click.option("--cache", type=_New(dir_okay=False), help="An SQLite file that keeps verdicts from run to run.")
@click.option("--metric", default="accuracy", show_default=True, help="accuracy, f1, or precision@P (P in 0 to 1).")
@click.option("--left", default="a", show_default=True, metavar="FIELD", help="The field of one answer.")
@click.option("--right", default="b", show_default=True, metavar="FIELD", help="The field of the other.")
@click.option("--label", default="equivalent", show_default=True, metavar="FIELD", help="Whether they mean the same.")
@click.option("--question", default="question", show_default=True, metavar="FIELD", help="The question, if any.")
@click.option("--source", default="source", show_default=True, metavar="FIELD", help="A line of its own for each.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def threshold(
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
    """Pick a judge's threshold from FILE: JSON lines of labelled pairs.

    A row holds two answers, "a" and "b", and "equivalent", true or false; "question" and "source" where there are. What
    a threshold scores on the pairs it was picked from flatters it: beside that stands what thresholds picked on four
    fifths of the questions made of the rest.
    """
    from semantic_entropy import load_equivalence
    from semantic_entropy.decisions.judge_tuning import choose, read_labelled
    from semantic_entropy.resources import Resources

    pairs = read_labelled(file, fields)
    verdicts = Resources(cache=cache).cache
    judge = load_equivalence(equivalence, **dict(map(_option, options)))
    hidden = quiet or not sys.stderr.isatty()
    try:
        with click.progressbar(length=len(pairs), label="pairs", file=sys.stderr, hidden=hidden) as bar:
            choice = choose(judge, pairs, metric, bar.update, verdicts)
    finally:
        judge.close()
        verdicts.close()
    if cache:
        click.echo(f"cache {verdicts}", err=True)
    if as_json:
        click.echo(json.dumps(choice.to_dict(), indent=2))
        return
    click.echo(str(choice))
    if choice.own is None:
        said = {"options": dict(map(_option, options))} if options else {}
        stage = json.dumps({"judge": equivalence, **said, "band": [choice.threshold, choice.threshold]})
        click.echo(f"\nuse it as a stage of a cascade: {stage}")
    else:
        kept = [option for option in options if not option.startswith("threshold=")]
        chosen = [part for option in (*kept, f"threshold={choice.threshold}") for part in ("--option", option)]
        click.echo(f"\nuse it: {shlex.join(['--equivalence', equivalence, *chosen])}")


@contextlib.contextmanager
def _scorer(how: dict[str, Any]) -> Iterator[Any]:
    """The scorer that the options describe; closed at the end with all that was loaded for it."""
    from semantic_entropy import Scorer, load_equivalence, load_sampler
    from semantic_entropy.progress import show_waits

    options, equivalence = how.pop("options"), how.pop("equivalence")
    sampler, sampler_options = how.pop("sampler"), how.pop("sampler_options")
    estimators = how.pop("estimators", ())
    with contextlib.ExitStack() as loaded:
        if not sys.stderr.isatty():  # where there is one, a bar shows life
            loaded.enter_context(show_waits())
        if options:
            if equivalence in (None, "auto"):
                raise InputError("--option needs --equivalence NAME: it sets an option of that equivalence")
            equivalence = load_equivalence(equivalence, **dict(map(_option, options)))
            loaded.callback(equivalence.close)
        if sampler:
            sampler = load_sampler(sampler, **dict(map(_option, sampler_options)))
            loaded.callback(sampler.close)
        elif sampler_options or how["samples"]:
            raise InputError("--sampler-option and --samples need --sampler NAME: they say how it draws responses")
        yield loaded.enter_context(Scorer(equivalence, estimator=list(estimators) or None, sampler=sampler, **how))


def _option(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InputError(f"--option {text!r} is not of the form key=value")
    if key in _TEXTS:
        return key, value
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value

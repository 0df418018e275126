"""`semantic-entropy estimate`: measure every row of a file."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from semantic_entropy.cli.options import (
    FiniteNumber,
    OutputFile,
    cache_option,
    calibration_options,
    field_names,
    field_options,
    how_to_read,
    input_options,
    measuring_options,
    open_scorer,
    parse_options,
    quiet_option,
    sampling_options,
)
from semantic_entropy.decisions import MIN_SAMPLES
from semantic_entropy.results import MAX_UNDECIDED

if TYPE_CHECKING:
    from semantic_entropy.bulk import OneFile
    from semantic_entropy.decisions import Action, RowGate
    from semantic_entropy.io import InputOptions, RunSummary
    from semantic_entropy.tables import FieldNames


class OutputPlace(OutputFile):
    """The type of an option for an output file, or for a folder or a URL where files are written."""

    def __init__(self) -> None:
        super().__init__()
        self.dir_okay = True

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if "://" in str(value) else super().convert(value, param, ctx)


def entropy_gate_options(command: Any) -> Any:
    """Add to a command the options of a decision by the entropy: `--fail-above` and `--min-samples`."""
    command = click.option(
        "--min-samples",
        default=MIN_SAMPLES,
        show_default=True,
        type=click.IntRange(2),
        metavar="N",
        help="The fewest valid answers of a group that passes --fail-above.",
    )(command)
    return click.option(
        "--fail-above",
        type=FiniteNumber(0),
        metavar="NATS",
        help="A gate: a higher or unknown entropy fails, and a result that rests on too little.",
    )(command)


@click.command("estimate")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option(
    "-o", "--output", type=OutputPlace(), help="The file to write, or a folder or URL; default: standard output."
)
@measuring_options
@calibration_options
@field_options
@input_options
@cache_option
@sampling_options
@click.option(
    "--max-undecided",
    default=MAX_UNDECIDED,
    show_default=True,
    type=FiniteNumber(0, 1),
    metavar="SHARE",
    help="If the judge cannot decide a larger share of the compared pairs, the exit status is 1.",
)
@entropy_gate_options
@click.option(
    "--fail-on",
    type=click.Choice(["warn", "defer", "block"]),
    help="A gate with --calibration: a row fails if the decision about it is this one, or a stricter one.",
)
@click.option(
    "--fail-rate",
    default=0.0,
    show_default=True,
    type=FiniteNumber(0, 1),
    metavar="SHARE",
    help="With --fail-above or --fail-on: if a larger share of the rows fails, the exit status is 3.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output, instead of continuing it.")
@click.option("--strict", is_flag=True, help="Stop at the first bad row, instead of writing it to OUTPUT.bad.jsonl.")
@click.option(
    "--answer",
    "answer_field",
    metavar="FIELD",
    help="The field with the one answer that is scored (--long, perplexity, ...); default: greedy, if a row has it.",
)
@click.option(
    "--sentences",
    "sentences_path",
    type=OutputFile(),
    metavar="FILE.jsonl",
    help="Also write one line for each sentence, or claim, of the long answers in the output.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    help="What measures shards of the input: processes of this machine, or Ray Data (RAY_ADDRESS: a cluster).",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Processes of the engine local. Default: the usable cores; 1 for a small file, or if each loads a model.",
)
@click.option("--actors", type=click.IntRange(1), metavar="N", help="Actors of the engine ray. Default: the CPUs.")
@click.option("--gpus-per-actor", default=0.0, type=FiniteNumber(0), metavar="X", help="GPUs for each actor of ray.")
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Groups of a shard that a judge gets at once.")
@click.option("--shard-mb", type=FiniteNumber(0.001), metavar="MB", help="Megabytes of input in a shard.")
@quiet_option
def estimate_command(
    *,
    file: str,
    output: str | None,
    overwrite: bool,
    strict: bool,
    quiet: bool,
    max_undecided: float,
    fail_above: float | None,
    min_samples: int,
    fail_on: Action | None,
    fail_rate: float,
    sentences_path: str | None,
    engine: str | None,
    workers: int | None,
    actors: int | None,
    gpus_per_actor: float,
    batch_size: int | None,
    shard_mb: float | None,
    **choices: Any,
) -> None:
    """Measure every row of a file, or of many files.

    FILE is JSON lines, a JSON array, CSV, TSV, Parquet, chat completions, the output of a batch, or a log of lm-eval or
    inspect_ai. The output is Parquet if its suffix is .parquet or .pq, else JSON lines. - is standard input or output.

    A row has "responses" (a list of strings) and optionally "question" and "logprobs" (token log-probabilities for each
    response, in nats). Estimators that need other evidence read it from the fields top_logprobs, token_entropies,
    token_similarity, similarity, embeddings, hidden_state and greedy. Without "question", a field with a common name
    (prompt, query, messages, ...) is the question.
    The output has the same rows with the fields of the result added. In one process, rows are written as soon as they
    are measured. After an interruption, run the same command again and it continues. Bad rows are written to
    OUTPUT.bad.jsonl. A Parquet output is written at the end; until then, results are in OUTPUT.partial.jsonl.

    Where the judge cannot decide a pair, its answers count as different. If this concerns more than --max-undecided of
    all compared pairs, the rows are written, and the exit status is 1.

    With --fail-above, the exit status is 3 if a larger share of the rows than --fail-rate fails. A row fails if its
    entropy is above --fail-above (nats) or unknown, if it has fewer valid answers than --min-samples or more invalid
    ones than valid ones, if more than --max-undecided of its pairs are undecided, or if it is a bad row. Rows whose
    results an earlier run wrote count too. Without rows, the gate fails. Exit status 3 goes before 1. With --fail-on
    and --calibration, a row fails if the decision from the calibration (allow, warn, defer, block) is too strict; with
    both options, a row must pass both. With --calibration alone, the flagged rows are counted, and nothing is gated.

    With --long, or for long answers, a row has "long_answer": each sentence of one answer (that of --answer, else
    "greedy", else the first response) with its uncertainty and the number of the other responses that support it. With
    --claims NAME, a language model lists the claims of the answer first, and each claim is measured. Its replies are
    stored in --samples (default: OUTPUT.samples.jsonl), and it is not asked again.

    With --sampler, a row may have a question and no responses. The drawn responses are stored in --samples (default:
    OUTPUT.samples.jsonl) and not drawn again.

    FILE can also be a folder, a pattern ("rows/*.jsonl") or a URL (s3://bucket/rows) of JSON lines or Parquet. Such an
    input, and a file of more than 4 MB, is cut into shards of 4 MB (--shard-mb), which worker processes or Ray score. A
    run that was killed continues with the next shard. If the output is a folder (-o results/) or a URL, each shard is a
    Parquet file, _manifest.json lists the shards, and _bad.jsonl the bad rows. If it is a file, it appears at the end;
    until then, the shards are in the folder .OUTPUT.shards beside it. The rows do not depend on the number of workers.
    """
    from semantic_entropy.bulk import OneFile, is_cut_by_default, open_input, shards_of_output
    from semantic_entropy.io import FileRun, check_paths, write_sentences

    limits = fail_above, fail_on, fail_rate, max_undecided, min_samples
    gate = _gate(*limits, choices)
    make_gate = functools.partial(_gate, *limits, dict(choices))
    of_shards = {
        "--engine": engine,
        "--workers": workers,
        "--actors": actors,
        "--gpus-per-actor": gpus_per_actor,
        "--batch-size": batch_size,
        "--shard-mb": shard_mb,
    }
    given = sorted(name for name, value in of_shards.items() if value)
    names, options = field_names(choices), how_to_read(choices)
    all_choices = {**choices, "sentences": sentences_path}
    place = shards_of_output(file, output, engine, given, options, all_choices, overwrite)
    opened = functools.partial(_open_checked, choices, names.answer)
    if place is None and is_cut_by_default(file, output, options, all_choices, opened, overwrite=overwrite):
        place = OneFile(str(output))
    if place is not None:
        check_paths(file, output if isinstance(place, OneFile) else None, None, choices["cache"], options.requests)
        summary = _measure_shards(
            file,
            place,
            names,
            options,
            choices,
            ray={"actors": actors, "gpus_per_actor": gpus_per_actor} if engine == "ray" else None,
            progress=not quiet and sys.stderr.isatty(),
            overwrite=overwrite,
            strict=strict,
            gate=make_gate if gate else None,
            gate_key=f"{fail_above} {fail_on} {max_undecided} {min_samples} {choices['calibration']}" if gate else "",
            workers=workers,
            **({"batch_size": batch_size} if batch_size else {}),
            shard_mb=shard_mb,
        )
        _end(summary, max_undecided)
        return
    if (choices["sampler"] or choices["claims"]) and output not in (None, "-"):
        choices["samples"] = choices["samples"] or f"{output}.samples.jsonl"
    written = _written(sentences_path, output, choices["long"])
    # before a file is opened or removed
    check_paths(file, output, choices["samples"], choices["cache"], options.requests, written)
    source = open_input(file, output, options)
    with _open_checked(choices, names.answer) as scorer:
        run = FileRun(
            scorer, source, output, names=names, overwrite=overwrite, strict=strict, options=options, gate=gate
        )
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
    if sentences_path:
        click.echo(str(write_sentences(str(output), sentences_path, names)), err=True)
    if choices["cache"]:
        click.echo(f"cache {scorer.cache}", err=True)
    if scorer.store:
        click.echo(f"samples {scorer.store}", err=True)
    _end(summary, max_undecided, is_shown=True)


def _measure_shards(
    file: str,
    output: str | OneFile,
    names: FieldNames,
    options: InputOptions,
    choices: dict[str, Any],
    *,
    ray: dict[str, Any] | None,
    progress: bool,
    **run_options: Any,
) -> RunSummary:
    """Run with shards. Ctrl-C ends the program."""
    from semantic_entropy.bulk import RAY_LLM, BulkRun, Generation, RayOptions

    generation = None
    if choices["sampler"] == RAY_LLM:
        if ray is None:
            raise click.UsageError(f"--sampler {RAY_LLM} draws with Ray: add --engine ray")
        if choices["greedy"]:
            raise click.UsageError(f"--sampler {RAY_LLM} draws no greedy answer: leave --greedy out")
        generation = Generation.from_options(parse_options(choices["sampler_options"]), choices["n"])
        choices = {**choices, "sampler": None, "sampler_options": (), "model": choices["model"] or generation.model}
    run = BulkRun(
        functools.partial(_open_checked, choices, names.answer),
        [file],
        output,
        names=names,
        options=options,
        ray=None if ray is None else RayOptions(**ray),
        generation=generation,
        **run_options,
    )
    try:
        return run.execute(progress=progress)
    except KeyboardInterrupt:
        click.echo(f"interrupted after {run.measured} rows; run the same command again to continue", err=True)
        sys.exit(130)


def _end(summary: RunSummary, max_undecided: float, *, is_shown: bool = False) -> None:
    """Print the summary, and end with the exit status that says what failed."""
    if not is_shown:
        click.echo(str(summary), err=True)
    if summary.gate and not summary.gate.passed:
        click.echo("exit status 3: the gate failed", err=True)
        sys.exit(3)
    if too_many := summary.undecided_share > max_undecided:
        click.echo(f"exit status 1: more pairs are undecided than --max-undecided {max_undecided:g}", err=True)
    if summary.rejected or too_many:
        sys.exit(1)


def _written(sentences: str | None, output: str | None, long: bool | None) -> dict[str, str]:
    """Return the other file that the run writes, by its role."""
    if sentences and output in (None, "-"):
        raise click.UsageError("--sentences is written from the output file: add -o OUTPUT")
    if sentences and long is False:
        raise click.UsageError("--sentences is for the sentences of long answers, and --no-long measures none")
    return {"file of --sentences": sentences} if sentences else {}


@contextlib.contextmanager
def _open_checked(choices: dict[str, Any], answer: str | None) -> Iterator[Any]:
    """Open the scorer, and check that it scores the answer of `--answer`. A worker opens it again."""
    with open_scorer(choices) as scorer:
        if answer and "greedy" not in scorer.needs:
            raise click.UsageError(
                f"--answer {answer} names the answer to score, and nothing scores one: add --long, or --estimator NAME "
                "with a score of one answer"
            )
        yield scorer


def _gate(
    fail_above: float | None,
    fail_on: Action | None,
    fail_rate: float,
    max_undecided: float,
    min_samples: int,
    choices: dict[str, Any],
) -> RowGate | None:
    """Return the gate that the options describe, or the count of flagged rows; None: there is neither.

    With -n auto, a gate sets the threshold too.
    """
    from semantic_entropy.decisions import Calibration, FlagCount, RowGate, all_rules, decision_rule, entropy_rule

    rules = []
    if fail_on is not None:
        if choices["calibration"] is None:
            raise click.UsageError("--fail-on needs --calibration FILE, which the decision about a row rests on")
        rules.append(decision_rule(Calibration.load(choices["calibration"]), fail_on, max_undecided))
    if fail_above is not None:
        rules.append(entropy_rule(fail_above, max_undecided, min_samples))
    if min_samples != MIN_SAMPLES and fail_above is None:
        raise click.UsageError("--min-samples needs --fail-above, whose gate it is a part of")
    if not rules:
        if fail_rate:
            raise click.UsageError("--fail-rate needs --fail-above or --fail-on, which say when a row fails")
        return FlagCount() if choices["calibration"] else None
    if choices["n"] == "auto" and fail_above is not None:
        threshold = choices["threshold"] = choices["threshold"] if choices["threshold"] is not None else fail_above
        if threshold != fail_above:
            raise click.UsageError(
                f"-n auto draws responses until the decision at --threshold {threshold:g} is settled, and --fail-above "
                f"{fail_above:g} is another decision: leave --threshold out"
            )
    return RowGate(all_rules(rules), fail_rate)

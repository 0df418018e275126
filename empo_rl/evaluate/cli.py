r"""`empo-eval`: a model on the paper's evaluation sets, or on questions of your own.

    empo-eval MODEL --suite math                      ask, grade, print the table
    empo-eval --regrade DIR                           grade again what DIR keeps, without the model
    empo-eval --table DIR DIR ...                     several evaluations in one table

Light at import: torch is loaded when something has to be generated.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from empo_rl.config.templates import TEMPLATES
from empo_rl.data.suites import SETS, SUITES, QuestionSet, SetColumns, select_sets
from semantic_entropy import InputError, SemanticEntropyError

_USES = """\
empo-eval MODEL --suite math              MATH-500, Minerva, OlympiadBench, AIME24, AMC23
empo-eval MODEL --suite natural           MMLU-Pro, GPQA diamond
empo-eval MODEL --suite omni --samples 8  Omni-MATH, with pass@k, majority@8, entropy
empo-eval MODEL --data FILE --kind math   questions of your own (JSONL)
empo-eval --regrade DIR                   grade again, without the model
empo-eval --table DIR DIR ...             several evaluations in one table
"""
_AS_GIVEN = (
    *("source_column", "engine", "max_tokens", "samples", "temperature", "top_p", "seed", "template", "system", "user"),
    *("chat_template", "plain", "few_shot", "few_shot_file", "limit"),
)
_TEMPLATE_OF_KIND = {"math": "math", "choice": "mmlu-pro", "text": "natural"}


def _pairs(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE, several times."""
    found = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            raise click.BadParameter(f"{value!r} is not of the form NAME=VALUE.", param=parameter)
        found[name] = rest
    return found


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"Evaluate a language model: greedy accuracy, pass@k, majority, semantic entropy.\n\n\b\n{_USES}",
)
@click.argument("targets", nargs=-1, metavar="MODEL|DIR...")
@click.option("--suite", "suites", multiple=True, metavar="NAME", help=f"{', '.join((*SUITES, *SETS))}; repeatable.")
@click.option(
    "--suite-file",
    callback=_pairs,
    multiple=True,
    metavar="NAME=FILE",
    help="JSONL in place of the hub, for a set or a suite.",
)
@click.option("--source-column", help="Column of such a file that holds the set's name, if it holds several sets.")
@click.option("--data", type=click.Path(path_type=Path), help="A JSONL file of your own questions.")
@click.option(
    "--kind", type=click.Choice(["math", "choice", "text"]), default="math", show_default=True, help="Of --data."
)
@click.option("--question-column", default="question", show_default=True, help="Of --data.")
@click.option("--answer-column", default="answer", show_default=True, help="Of --data.")
@click.option("--options-column", default="options", show_default=True, help="Of --data: the choices, a list.")
@click.option("--output-dir", type=click.Path(path_type=Path), help="[default: runs/eval-MODEL]")
@click.option("--label", help="The row's name in a table.  [default: the model]")
@click.option("--limit", type=click.IntRange(min=1), help="Questions of a set at most, drawn under the seed.")
@click.option("--samples", type=click.IntRange(min=0), default=0, show_default=True, help="Beside the greedy response.")
@click.option(
    "--temperature", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True, help="Of --samples."
)
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True, help="Of --samples."
)
@click.option("--max-tokens", type=click.IntRange(min=1), default=2048, show_default=True, help="Of a response.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--template", type=click.Choice(list(TEMPLATES)), help="[default: the set's]")
@click.option("--system", help="System turn in place of the template's; '' for none.")
@click.option("--user", help="User turn in place of the template's, with {question} in it.")
@click.option("--chat-template", help="Jinja text, or a file of it, in place of the model's.")
@click.option("--plain", is_flag=True, help="No chat template: the model continues the plain text.")
@click.option(
    "--few-shot", type=click.IntRange(min=0), default=0, show_default=True, help="Examples before a question."
)
@click.option(
    "--few-shot-file", type=click.Path(path_type=Path), help="Whence the examples; JSONL in the set's columns."
)
@click.option("--engine", type=click.Choice(["hf", "vllm"]), default="hf", show_default=True)
@click.option(
    "--engine-option",
    callback=_pairs,
    multiple=True,
    metavar="NAME=VALUE",
    help="Of the sampler: dtype, device, batch_tokens, engine, ...; JSON or text.",
)
@click.option("--grader", help="A judge by name.  [default: math; none for free text]")
@click.option(
    "--grader-option", callback=_pairs, multiple=True, metavar="NAME=VALUE", help="Of the judge; JSON or text."
)
@click.option("--extract", help="How an answer is found: boxed, number, ...  [default: the judge's own way]")
@click.option("--regrade", is_flag=True, help="Grade again what DIR keeps.")
@click.option("--table", is_flag=True, help="Print the table of the evaluations in DIR...")
@click.version_option(package_name="semantic-entropy")
def main(targets: tuple[str, ...], regrade: bool, table: bool, **choices: Any) -> None:
    """The front door."""
    if regrade and table:
        raise click.UsageError("--regrade grades one directory again, --table prints several: give one of them.")
    try:
        if table:
            _table(targets)
        elif regrade:
            _regrade(targets, choices)
        else:
            _evaluate(targets, choices)
    except SemanticEntropyError as error:
        raise click.ClickException(str(error)) from error


def _table(targets: tuple[str, ...]) -> None:
    from empo_rl.evaluate.evaluation_run import tables

    if not targets:
        raise click.UsageError("--table needs directories of evaluations.")
    click.echo(tables([Path(one) for one in targets]), nl=False)


def _regrade(targets: tuple[str, ...], choices: Mapping[str, Any]) -> None:
    from empo_rl.evaluate.evaluation_directory import Directory
    from empo_rl.evaluate.evaluation_run import regrade
    from empo_rl.run.progress import StageProgress

    if len(targets) != 1:
        raise click.UsageError("--regrade needs one directory.")
    judges = _judges(choices)
    try:
        with StageProgress() as progress:
            shown = regrade(Directory(Path(targets[0])), judges, choices["label"], progress)
    except KeyboardInterrupt:
        _stop("interrupted: the responses are untouched, and the same command grades them")
    finally:
        judges.close()
    click.echo(shown, nl=False)


def _evaluate(targets: tuple[str, ...], choices: Mapping[str, Any]) -> None:
    from empo_rl.evaluate.evaluation_directory import Directory
    from empo_rl.evaluate.evaluation_run import evaluate
    from empo_rl.evaluate.plan import Wanted
    from empo_rl.run.progress import StageProgress

    if len(targets) != 1:
        raise click.UsageError("needs one MODEL: a name on the hub, or a folder.")
    sets, files = _sets(choices)
    options = _json_or_text(choices["engine_option"])
    wanted = Wanted(targets[0], sets, files, engine_options=options, **{name: choices[name] for name in _AS_GIVEN})
    path = choices["output_dir"] or Path("runs") / f"eval-{_slug(targets[0])}"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # forked workers would warn about it
    judges = _judges(choices)
    try:
        with StageProgress() as progress:
            shown = evaluate(wanted, Directory(path), judges, choices["label"], progress)
    except KeyboardInterrupt:
        _stop(f"{progress.interrupted()}. What has been drawn is kept in {path}: the same command goes on.")
    finally:
        judges.close()
    click.echo(f"{shown}\nwritten to {path}")


def _sets(choices: Mapping[str, Any]) -> tuple[list[QuestionSet], dict[str, Path]]:
    if not choices["suites"] and choices["data"] is None:
        raise click.UsageError(f"what to ask? --suite {'|'.join(SUITES)}, or --data FILE.")
    sets = select_sets(choices["suites"])
    given = {name: Path(file) for name, file in choices["suite_file"].items()}
    files = {one: file for name, file in given.items() for one in SUITES.get(name, (name,))}
    if (data := choices["data"]) is None:
        return sets, files
    name = _slug(data.stem)
    if name in {*SETS, *SUITES}:
        raise InputError(
            f"--data: {data} is called like the set {name!r}: rename it, or use --suite-file {name}={data}."
        )
    columns = SetColumns(
        question=(choices["question_column"],),
        answer=(choices["answer_column"],),
        options=(choices["options_column"],),
    )
    kind = choices["kind"]
    own = QuestionSet(name, data.stem, "", "", kind, _TEMPLATE_OF_KIND[kind], columns=columns)
    return [*sets, own], {**files, name: data}


def _judges(choices: Mapping[str, Any]) -> Any:
    from empo_rl.evaluate.grades import Judges

    return Judges(choices["grader"], _json_or_text(choices["grader_option"]), choices["extract"])


def _json_or_text(options: Mapping[str, str]) -> dict[str, Any]:
    return {name: _read(value) for name, value in options.items()}


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", Path(name).name if Path(name).exists() else name).strip("-.") or "model"


def _stop(line: str) -> NoReturn:
    """The end of a run that its user interrupted; 130 is what shells expect after Ctrl-C."""
    click.echo(line, err=True)
    raise SystemExit(130)


if __name__ == "__main__":
    sys.exit(main())

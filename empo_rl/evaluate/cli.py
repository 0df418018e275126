r"""`empo-eval`: evaluate a model on the paper's evaluation sets, or on your own questions.

    empo-eval MODEL --suite math                      sample responses, grade them, print the table
    empo-eval --regrade DIR                           grade the responses in DIR again, without the model
    empo-eval --table DIR DIR ...                     print several evaluations in one table
    empo-eval --compare BEFORE AFTER                  print the differences with paired intervals

The module imports torch only when responses are sampled.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from empo_rl.config.templates import TEMPLATES
from empo_rl.data.suites import SETS, SUITES, GoldPolicy, QuestionSet, SetColumns, select_sets
from semantic_entropy import InputError, SemanticEntropyError
from semantic_entropy.plain_text import printable

_EXAMPLES = """\
empo-eval MODEL --suite math              MATH-500, Minerva, OlympiadBench, AIME24, AMC23
empo-eval MODEL --suite natural           MMLU-Pro, GPQA diamond
empo-eval MODEL --suite omni --samples 8  Omni-MATH, with pass@k, majority@8, entropy
empo-eval MODEL --data FILE --kind math   your own questions (JSONL)
empo-eval --regrade DIR                   grade stored responses again, without the model
empo-eval --table DIR DIR ...             several evaluations in one table
empo-eval --compare BEFORE AFTER          the differences, with paired intervals
"""
_COPIED_OPTIONS = (
    *("source_column", "engine", "max_tokens", "samples", "temperature", "top_p", "seed", "template", "system", "user"),
    *("chat_template", "plain", "few_shot", "few_shot_file", "limit"),
)
_TEMPLATE_OF_KIND = {"math": "math", "choice": "mmlu-pro", "text": "natural"}


def _parse_pairs(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Convert repeated NAME=VALUE values to a dict."""
    found = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            raise click.BadParameter(f"{value!r}: write NAME=VALUE.", param=parameter)
        found[name] = rest
    return found


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"Evaluate a language model: greedy accuracy, pass@k, majority, semantic entropy.\n\n\b\n{_EXAMPLES}",
)
@click.argument("targets", nargs=-1, metavar="MODEL|DIR...")
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME",
    help=f"Suite or set to evaluate: {', '.join((*SUITES, *SETS))}; repeatable.",
)
@click.option(
    "--suite-file",
    callback=_parse_pairs,
    multiple=True,
    metavar="NAME=FILE",
    help="JSONL file that replaces the hub dataset of a set or a suite; repeatable.",
)
@click.option("--source-column", help="Column with the name of the set, if a --suite-file contains several sets.")
@click.option("--data", type=click.Path(path_type=Path), help="JSONL file with your own questions.")
@click.option(
    "--kind",
    type=click.Choice(["math", "choice", "text"]),
    default="math",
    show_default=True,
    help="Kind of the answers in --data.",
)
@click.option(
    "--question-column",
    default="question",
    show_default=True,
    help="Question column of --data: text, or a list of messages.",
)
@click.option(
    "--answer-column",
    help="Answer column of --data.  [default: answer, if the data have it; questions without an answer: entropy alone]",
)
@click.option("--options-column", default="options", show_default=True, help="Choices column of --data.")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    help="Directory of the evaluation.  [default: runs/eval-MODEL-SUITE]",
)
@click.option("--label", help="Name of the evaluation in tables.  [default: the model]")
@click.option("--limit", type=click.IntRange(min=1), help="Largest number of questions of a set, chosen with the seed.")
@click.option(
    "--samples",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Sampled responses to each question, in addition to the greedy response.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Temperature of --samples.",
)
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Top-p of --samples.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=2048,
    show_default=True,
    help="Largest number of tokens of a response.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed.")
@click.option(
    "--template", type=click.Choice(list(TEMPLATES)), help="Prompt template.  [default: the template of the set]"
)
@click.option("--system", help="System message that replaces that of the template; '' for none.")
@click.option("--user", help="User message that replaces that of the template; it must contain {question}.")
@click.option("--chat-template", help="Jinja text or file that replaces the chat template of the model.")
@click.option("--plain", is_flag=True, help="Use no chat template: the model continues plain text.")
@click.option(
    "--few-shot", type=click.IntRange(min=0), default=0, show_default=True, help="Examples before each question."
)
@click.option(
    "--few-shot-file", type=click.Path(path_type=Path), help="JSONL file with the examples, in the columns of the set."
)
@click.option(
    "--engine", type=click.Choice(["hf", "vllm"]), default="hf", show_default=True, help="Library that runs the model."
)
@click.option(
    "--engine-option",
    callback=_parse_pairs,
    multiple=True,
    metavar="NAME=VALUE",
    help="Sampler option: dtype, device, batch_tokens, engine, ...; JSON or text; repeatable.",
)
@click.option("--base-model", help="Base model of a LoRA adapter.  [default: the model that its configuration names]")
@click.option(
    "--grader",
    help="Judge that compares answers with gold answers and with each other.  [default: math; none for free text]",
)
@click.option(
    "--grader-option",
    callback=_parse_pairs,
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the judge; JSON or text; repeatable.",
)
@click.option("--extract", help="Extractor that finds the answer: boxed, number, ...  [default: that of the judge]")
@click.option("--regrade", is_flag=True, help="Grade the responses in DIR again.")
@click.option("--table", is_flag=True, help="Print the table of the evaluations in DIR...")
@click.option(
    "--compare", is_flag=True, help="Print the differences of two evaluations, BEFORE AFTER, with paired intervals."
)
@click.version_option(package_name="semantic-entropy")
def main(targets: tuple[str, ...], regrade: bool, table: bool, compare: bool, **options: Any) -> None:
    """Entry point of the command."""
    if regrade + table + compare > 1:
        raise click.UsageError("use only one of the options --regrade, --table and --compare.")
    try:
        if compare:
            _compare(targets, options["seed"])
        elif table:
            _table(targets)
        elif regrade:
            _regrade(targets, options)
        else:
            _evaluate(targets, options)
    except SemanticEntropyError as error:
        raise click.ClickException(printable(str(error))) from error


def _table(targets: tuple[str, ...]) -> None:
    from empo_rl.evaluate.evaluation_run import tables

    if not targets:
        raise click.UsageError("--table needs one or more directories of evaluations.")
    click.echo(tables([Path(target) for target in targets]), nl=False)


def _compare(targets: tuple[str, ...], seed: int) -> None:
    from empo_rl.evaluate.comparison import compare
    from empo_rl.evaluate.evaluation_directory import EvaluationDirectory

    if len(targets) != 2:
        raise click.UsageError("--compare needs two directories of evaluations: BEFORE AFTER.")
    before, after = (EvaluationDirectory(Path(target)) for target in targets)
    click.echo(compare(before, after, seed), nl=False)


def _regrade(targets: tuple[str, ...], options: Mapping[str, Any]) -> None:
    from empo_rl.evaluate.evaluation_directory import EvaluationDirectory
    from empo_rl.evaluate.evaluation_run import regrade
    from empo_rl.progress import StageProgress

    if len(targets) != 1:
        raise click.UsageError("--regrade needs one directory.")
    judges = _judges(options)
    try:
        with StageProgress() as progress:
            text = regrade(EvaluationDirectory(Path(targets[0])), judges, options["label"], progress)
    except KeyboardInterrupt:
        _stop("interrupted: the responses are unchanged; the same command grades them")
    finally:
        judges.close()
    click.echo(text, nl=False)


def _evaluate(targets: tuple[str, ...], options: Mapping[str, Any]) -> None:
    from empo_rl.evaluate.evaluation_directory import EvaluationDirectory
    from empo_rl.evaluate.evaluation_run import evaluate
    from empo_rl.evaluate.plan import EvaluationOptions
    from empo_rl.progress import StageProgress

    if len(targets) != 1:
        raise click.UsageError("needs one MODEL: the name of a Hugging Face model, or a folder.")
    sets, files = _sets(options)
    base_model = {} if options["base_model"] is None else {"base_model": options["base_model"]}
    evaluation = EvaluationOptions(
        targets[0],
        sets,
        files,
        engine_options={**_json_or_text(options["engine_option"]), **base_model},
        **{name: options[name] for name in _COPIED_OPTIONS},
    )
    path = options["output_dir"] or Path("runs") / _directory_name(targets[0], options["suites"], options["data"])
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # avoids a warning in forked workers
    judges = _judges(options)
    try:
        with StageProgress() as progress:
            text = evaluate(evaluation, EvaluationDirectory(path), judges, options["label"], progress)
    except KeyboardInterrupt:
        _stop(f"{progress.interrupted()}. {path} keeps the sampled responses: the same command continues.")
    finally:
        judges.close()
    click.echo(f"{text}\nwritten to {path}")
    for report in sorted(path.glob("report/*.html")) if options["samples"] else ():
        click.echo(f"the questions with their samples: {report}")


def _sets(options: Mapping[str, Any]) -> tuple[list[QuestionSet], dict[str, Path]]:
    if not options["suites"] and options["data"] is None:
        raise click.UsageError(f"no questions: give --suite {'|'.join(SUITES)}, or --data FILE.")
    sets = select_sets(options["suites"])
    given = {name: Path(file) for name, file in options["suite_file"].items()}
    files = {set_name: file for name, file in given.items() for set_name in SUITES.get(name, (name,))}
    if (data := options["data"]) is None:
        return sets, files
    name = _slug(data.stem)
    if name in {*SETS, *SUITES}:
        raise InputError(
            f"--data: {data} has the name of the set {name!r}: rename the file, or use --suite-file {name}={data}."
        )
    columns = SetColumns(
        question=(options["question_column"],),
        answer=(options["answer_column"] or "answer",),
        options=(options["options_column"],),
    )
    kind = options["kind"]
    golds: GoldPolicy = "optional" if options["answer_column"] is None else "nullable"
    own = QuestionSet(name, data.stem, "", "", kind, _TEMPLATE_OF_KIND[kind], columns=columns, golds=golds)
    return [*sets, own], {**files, name: data}


def _judges(options: Mapping[str, Any]) -> Any:
    from empo_rl.evaluate.grades import Judges

    return Judges(options["grader"], _json_or_text(options["grader_option"]), options["extract"])


def _json_or_text(values: Mapping[str, str]) -> dict[str, Any]:
    return {name: _parse_value(value) for name, value in values.items()}


def _parse_value(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _directory_name(model: str, suites: Sequence[str], data: Path | None) -> str:
    """The default name of the directory, different for each model and for each selection of sets.

    The name of a local model has two parts, because the models of several runs are all in a folder `final`.
    """
    folder = Path(model)
    name = "-".join(folder.resolve().parts[-2:]) if folder.exists() else model
    return "-".join(["eval", _slug(name), *map(_slug, suites), *([] if data is None else [_slug(data.stem)])])


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"


def _stop(line: str) -> NoReturn:
    """Print a line and exit with status 130, which shells expect after Ctrl-C."""
    click.echo(line, err=True)
    raise SystemExit(130)


if __name__ == "__main__":
    sys.exit(main())

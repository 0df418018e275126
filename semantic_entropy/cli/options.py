"""Options that several commands share, and the scorer that they describe."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from semantic_entropy.errors import InputError

if TYPE_CHECKING:
    from semantic_entropy.evaluation.labelled_scores import LabelledScores
    from semantic_entropy.io import FileRun, InputOptions
    from semantic_entropy.tables import FieldNames

_CommandT = TypeVar("_CommandT", bound=Callable[..., Any])
FORMATS = ("jsonl", "json", "csv", "tsv", "openai", "lm-eval", "inspect", "parquet")  # those of io, imported late
_ALWAYS_TEXT = frozenset(("api_key",))  # options with values that stay texts, even if they look like numbers


class OutputFile(click.Path):
    """The type of an option for an output file. Its folder must exist: a typing mistake must not create a folder."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("the name is empty: is a variable of the shell unset?", param, ctx)
        if not (folder := Path(value).parent).is_dir():
            self.fail(f"{value}: there is no folder {folder}: create it first, or correct the path", param, ctx)
        return super().convert(value, param, ctx)


class ResponseCount(click.IntRange):
    """The type of an option that is a number of responses, or the word auto."""

    def __init__(self) -> None:
        super().__init__(1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "auto" else super().convert(value, param, ctx)


class FiniteNumber(click.FloatRange):
    """The type of an option that is a finite number in a range. Nan is refused: a comparison with it is false."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


judge_option = click.option(
    "--option", "options", multiple=True, metavar="K=V", help="An option of the judge, as key=value; repeatable."
)
cache_option = click.option(
    "--cache", type=OutputFile(), help="An SQLite file that stores the judge's verdicts for later runs."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress bar.")

_MEASURING_OPTIONS = (
    click.option(
        "-e",
        "--equivalence",
        metavar="NAME",
        help="The judge that decides whether two answers mean the same; default: auto (math, else text).",
    ),
    judge_option,
    click.option("--clusterer", metavar="NAME", help="Default: that of the convention."),
    click.option(
        "--estimator",
        "estimators",
        multiple=True,
        metavar="NAME",
        help="Repeatable; the first one with probabilities gives the entropy. Default: those of the convention.",
    ),
    click.option(
        "--estimator-option",
        "estimator_options",
        multiple=True,
        metavar="NAME.K=V",
        help="An option of a named estimator, such as wepr.file=weights.json; repeatable.",
    ),
    click.option(
        "--similarity",
        default="jaccard",
        show_default=True,
        metavar="NAME",
        help="For estimators that read a similarity: jaccard (common words), or a judge, such as nli.",
    ),
    click.option(
        "--similarity-option",
        "similarity_options",
        multiple=True,
        metavar="K=V",
        help="An option of this judge, as key=value; repeatable.",
    ),
    click.option(
        "--convention",
        default="default",
        show_default=True,
        metavar="NAME",
        help="default, lm-polygraph, nature-2024, uqlm.",
    ),
    click.option(
        "--extract",
        metavar="HOW",
        help="How to find the answer in a response: boxed, choice, number, last-line, whole, regex:PATTERN.",
    ),
    click.option(
        "--invalid",
        default="separate",
        show_default=True,
        type=click.Choice(["separate", "drop", "together"]),
        help="How invalid answers count: each as its own cluster, not at all, or all as one cluster.",
    ),
    click.option("--long/--no-long", default=None, help="Also measure the sentences; default: if answers are long."),
    click.option("--support", metavar="NAME", help="Says what supports a sentence; default: text."),
    click.option("--support-option", "support_options", multiple=True, metavar="K=V", help="An option of this judge."),
    click.option("--claims", metavar="NAME", help="Measure claims, not sentences: the sampler that lists them."),
    click.option("--claims-option", "claims_options", multiple=True, metavar="K=V", help="An option of this sampler."),
)


def measuring_options(command: _CommandT) -> _CommandT:
    """Add to a command the options that set how responses are measured: the judge, the estimators, and the rest."""
    return _with_options(command, _MEASURING_OPTIONS)


_CALIBRATION_OPTIONS = (
    click.option(
        "--calibration",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE.json",
        help="A file that `calibrate` wrote: each result gets p_wrong, flag and threshold.",
    ),
    click.option(
        "--model",
        metavar="NAME",
        help="The model that gave the responses, so that the calibration of another model is refused.",
    ),
)


def calibration_options(command: _CommandT) -> _CommandT:
    """Add to a command the options that set how results are calibrated."""
    return _with_options(command, _CALIBRATION_OPTIONS)


_SAMPLING_OPTIONS = (
    click.option(
        "--sampler",
        metavar="NAME",
        help="The sampler that draws responses to questions without responses: hf, openai, vllm.",
    ),
    click.option(
        "--sampler-option",
        "sampler_options",
        multiple=True,
        metavar="K=V",
        help="An option of the sampler, as key=value; repeatable.",
    ),
    click.option(
        "-n",
        "n",
        default=10,
        show_default=True,
        type=ResponseCount(),
        help="Responses per question; auto: stop when the decision against --threshold is settled.",
    ),
    click.option("--threshold", type=float, metavar="NATS", help="For -n auto: the entropy that you compare with."),
    click.option("--min-n", default=3, show_default=True, help="For -n auto: responses of the first round."),
    click.option("--max-n", default=10, show_default=True, help="For -n auto: most responses per question."),
    click.option(
        "--greedy", is_flag=True, help="Also draw the greedy answer (temperature 0), for scores of one answer."
    ),
    click.option("--samples", type=OutputFile(), help="The file that stores drawn responses, one JSON line each."),
)
SAMPLER_OPTIONS = _SAMPLING_OPTIONS[:2]  # --sampler and --sampler-option


def sampling_options(command: _CommandT) -> _CommandT:
    """Add to a command the options that set how responses are drawn."""
    return _with_options(command, _SAMPLING_OPTIONS)


_FIELD_OPTIONS = (
    click.option(
        "--responses",
        "responses_field",
        metavar="FIELD",
        default="responses",
        show_default=True,
        help="The field that holds the responses.",
    ),
    click.option(
        "--question",
        "question_field",
        metavar="FIELD",
        help="The field that holds the question; default: question, else a common name (prompt, query, messages, ...).",
    ),
)
_LABEL_OPTIONS = (
    click.option(
        "--label",
        default="main",
        show_default=True,
        type=click.Choice(["main", "majority", "mean"]),
        help="Which label decides that a row is wrong: that of the main answer, the largest cluster, or all responses.",
    ),
    click.option(
        "--correct",
        default="correct",
        show_default=True,
        metavar="FIELD",
        help="The field with one label (true or false) for each response, or with one for the main answer.",
    ),
)
_SCORE_OPTIONS = (
    *_LABEL_OPTIONS,
    click.option(
        "--confidence",
        "confidences",
        multiple=True,
        metavar="NAME",
        help="A score that is higher for more certain answers; repeatable. An estimator of this name says it itself.",
    ),
)
_INPUT_OPTIONS = (
    click.option(
        "--input-format",
        type=click.Choice(FORMATS),
        help="The format of FILE; default: found from its suffix and its first line.",
    ),
    click.option(
        "--group-by",
        metavar="FIELD",
        help="Each row has one response: the rows with the same FIELD are the responses to one question.",
    ),
    click.option(
        "--requests",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="The requests of a batch, with the questions; the input is the output of this batch.",
    ),
)


def field_options(command: _CommandT) -> _CommandT:
    """Add to a command the options that name the fields of a row. `field_names` returns their values."""
    return _with_options(command, _FIELD_OPTIONS)


def input_options(command: _CommandT) -> _CommandT:
    """Add to a command the options that say how a file is read. `how_to_read` returns their values."""
    return _with_options(command, _INPUT_OPTIONS)


def field_names(choices: dict[str, Any]) -> FieldNames:
    """Remove the values of `field_options` from the choices of a command, and return them."""
    from semantic_entropy.tables import FieldNames

    responses, question = choices.pop("responses_field"), choices.pop("question_field")
    return FieldNames(responses, question, answer=choices.pop("answer_field", None))


def how_to_read(choices: dict[str, Any]) -> InputOptions:
    """Remove the values of `input_options` from the choices of a command, and return them."""
    from semantic_entropy.io import InputOptions

    return InputOptions(choices.pop("input_format"), choices.pop("group_by"), choices.pop("requests"))


_OF_SENTENCES = ("support", "support_options", "claims", "claims_options")
_MEASURING_DEFAULTS = {"similarity": "jaccard", "convention": "default", "invalid": "separate"}


def given_options(choices: dict[str, Any]) -> Sequence[str]:
    """Return the `measuring_options` that the user gave, as on the command line."""
    given = [name for name, value in choices.items() if value and value != _MEASURING_DEFAULTS.get(name)]
    names = [name.removesuffix("s") if name.endswith(("options", "estimators")) else name for name in given]
    return [f"--{name.replace('_', '-')}" for name in names if name != "cache"]


def _with_options(command: _CommandT, options: Sequence[Callable[[_CommandT], _CommandT]]) -> _CommandT:
    for option in reversed(options):
        command = option(command)
    return command


def parse_options(texts: Iterable[str]) -> dict[str, Any]:
    """Convert texts of the form key=value to the options of a component. A value that is valid JSON is decoded.

    Raises:
        InputError: a text does not have the form key=value.
    """
    options: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise InputError(f"--option {text!r} is not of the form key=value")
        options[key] = value
        if key not in _ALWAYS_TEXT:
            with contextlib.suppress(ValueError):
                options[key] = json.loads(value)
    return options


@contextlib.contextmanager
def open_scorer(choices: dict[str, Any]) -> Iterator[Any]:
    """Open the scorer that the options (by parameter name) describe. The end of the block closes what it loaded."""
    from semantic_entropy import Scorer
    from semantic_entropy.progress import show_waits
    from semantic_entropy.registry import load_estimators

    choices = dict(choices)  # a worker opens it again
    sampler, sampler_options = choices.pop("sampler"), choices.pop("sampler_options")
    arguments = scorer_arguments(choices)
    arguments["estimator"] = load_estimators(arguments["estimator"])
    with contextlib.ExitStack() as stack:
        if not sys.stderr.isatty():  # on a terminal, the progress bar already shows activity
            stack.enter_context(show_waits())
        if sampler:
            arguments["sampler_options"] = parse_options(sampler_options)
        elif sampler_options or (choices["samples"] and not choices.get("claims")) or choices.get("greedy"):
            raise InputError(
                "--sampler-option, --samples and --greedy need --sampler NAME: they set how responses are drawn"
            )
        yield stack.enter_context(Scorer(**arguments, sampler=sampler))


def scorer_arguments(choices: dict[str, Any]) -> dict[str, Any]:
    """Take options of the command line, and return arguments of `Scorer` as JSON holds them, see `load_estimators`."""
    options, equivalence = choices.pop("options"), choices.pop("equivalence")
    estimators = _estimators(choices.pop("estimators", ()), choices.pop("estimator_options", ()))
    of_sentences = given_options({name: choices.get(name) for name in _OF_SENTENCES})
    if choices.get("long") is False and of_sentences:
        raise click.UsageError(f"{of_sentences[0]} is for sentences and claims, and --no-long measures none")
    for name in ("similarity_options", "support_options", "claims_options"):
        if given := parse_options(choices.pop(name, ())):
            choices[name] = given
    if options:
        if equivalence in (None, "auto"):
            raise InputError("--option needs --equivalence NAME: it sets an option of that judge")
        choices["equivalence_options"] = parse_options(options)
    return {"equivalence": equivalence, "estimator": estimators or None, **choices}


def _estimators(names: Sequence[str], texts: Iterable[str]) -> list[Any]:
    """Return the estimators: a name, or (name, options) if options of the form NAME.key=value are given."""
    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, separator, option = text.partition(".")
        if not separator or name not in names:
            given = ", ".join(names) or "none"
            raise InputError(f"--estimator-option {text!r} is not NAME.key=value with an --estimator NAME ({given})")
        options.setdefault(name, {}).update(parse_options([option]))
    return [(name, options[name]) if name in options else name for name in names]


def labelled_rows(command: _CommandT) -> _CommandT:
    """Add to a command a file of labelled rows, and how it is read and measured. `read_labelled` reads it."""
    labelled = click.argument("file", metavar="LABELLED", type=click.Path(allow_dash=True))
    read = (*_SCORE_OPTIONS, *_MEASURING_OPTIONS, *_FIELD_OPTIONS, *_INPUT_OPTIONS)
    return _with_options(command, (labelled, *read, cache_option, json_option, quiet_option))


def read_labelled(
    file: str,
    columns: LabelledScores,
    choices: Mapping[str, Any],
    *,
    given: Sequence[str],
    options: InputOptions,
    output: tuple[str, str | None],
    quiet: bool,
) -> None:
    """Add the rows of a file to the columns. Rows without scores are measured. Ctrl-C ends the program.

    Args:
        file: the path of the file, or "-".
        columns: where the rows are added.
        choices: the values of `measuring_options` and of `--cache`.
        given: those that the user gave (`given_options`), for the error if the rows have scores already.
        options: how the file is read (`how_to_read`).
        output: the option that keeps the results of measured rows, and its value.
        quiet: whether there is no progress bar.
    """
    from semantic_entropy.evaluation.evaluation import evaluate_file

    option, path = output
    run: list[FileRun] = []
    try:
        summary = evaluate_file(
            file,
            columns,
            lambda: open_scorer({**choices, "sampler": None, "sampler_options": (), "samples": None}),
            given=given,
            output=path,
            names=columns.fields,
            options=options,
            progress=not quiet and sys.stderr.isatty(),
            on_run=run.append,
        )
    except KeyboardInterrupt:
        advice = "; run the same command again to continue" if path else f"; with {option} FILE, a second run continues"
        click.echo(f"interrupted after {run[0].rows if run else 0} rows{advice}", err=True)
        sys.exit(130)
    if summary:
        click.echo(str(summary), err=True)

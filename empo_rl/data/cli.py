"""`empo-data`: prepare training questions, and compare them with the evaluation sets.

    empo-data numina [-o FILE]       a sample of 20,000 questions of NuminaMath-CoT
    empo-data natural [-o FILE]      Natural Reasoning, filtered with the paper's Algorithm 4; a sample of 18,000
    empo-data check FILE             duplicates in a file, and overlap with evaluation sets; writes no file

The module imports datasets and datasketch only when a command needs them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from empo_rl.data.data_options import (
    ComparisonOptions,
    PreparationOptions,
    comparison_options,
    parse_roles,
    preparation_options,
)
from semantic_entropy.plain_text import printable

if TYPE_CHECKING:
    from empo_rl.data.overlap import OverlapIndex
    from empo_rl.data.prepare import OutputFiles
    from empo_rl.data.report import DataReport
    from empo_rl.data.sources import DataSource
    from empo_rl.progress import StageProgress

_EXAMPLES = """\
empo-data numina                 20,000 of NuminaMath-CoT -> numina.jsonl
empo-data natural                18,000 of Natural Reasoning -> natural.jsonl
empo-data numina --from FILE     the same from a local JSONL or Parquet file
empo-data check FILE             duplicates and overlap in your own file
"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=f"Prepare training questions, and find their overlap with the evaluation sets.\n\n\b\n{_EXAMPLES}",
)
@click.version_option(package_name="semantic-entropy")
def main() -> None:
    """Entry point of the command."""


@main.command(short_help="A sample of 20,000 questions of NuminaMath-CoT.")
@preparation_options
@click.option("--answered", is_flag=True, help="Keep only questions whose solution has a boxed answer.")
@comparison_options
def numina(preparation: PreparationOptions, comparison: ComparisonOptions, answered: bool) -> None:
    r"""Sample questions of NuminaMath-CoT. A row has question, answer, solution, source.

    The answer is the content of the last \boxed{} of the solution, or null.
    Roles of --column: question, solution, source.
    """
    from empo_rl.data.sources import numina_source

    with _errors_without_traceback():
        _prepare(numina_source(answered=answered), preparation, comparison)


@main.command(short_help="Natural Reasoning, filtered with Algorithm 4; a sample of 18,000.")
@preparation_options
@click.option("--tokenizer", metavar="MODEL", help="Measure responses in tokens of this model, not in characters.")
@comparison_options
def natural(preparation: PreparationOptions, comparison: ComparisonOptions, tokenizer: str | None) -> None:
    """Filter Natural Reasoning with the paper's Algorithm 4, then sample. A row has question, answer, response.

    Roles of --column: question, answer, response (COLUMN, or COLUMN.FIELD for a field of objects; `response=` for no
    response).
    """
    from empo_rl.data.sources import natural_source

    with _errors_without_traceback():
        source = natural_source(_token_counter(tokenizer), "tokens") if tokenizer else natural_source()
        _prepare(source, preparation, comparison)


@main.command(short_help="Duplicates in a file, and overlap with evaluation sets.")
@click.argument("file")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="question=COLUMN",
    callback=parse_roles,
    help="Column of the questions.",
)
@comparison_options
def check(file: str, columns: Mapping[str, str], comparison: ComparisonOptions) -> None:
    """Compare the questions of FILE (.jsonl or .parquet) with each other and with evaluation sets. Writes no file."""
    from empo_rl.data.prepare import check as check_records
    from empo_rl.data.prepare import open_file

    if set(columns) - {"question"}:
        raise click.UsageError("--column: this command has one role: question=COLUMN.")
    column = columns.get("question", "question")
    with _errors_without_traceback():
        with _progress() as progress:
            stream = open_file(file, column)
            _test_hub(progress, None, comparison)
            report, index = _report_and_index(stream.name, progress, comparison)
            check_records(stream, column, report, index, progress)
        _print(report, comparison)


def _prepare(source: DataSource, preparation: PreparationOptions, comparison: ComparisonOptions) -> None:
    from empo_rl.data.prepare import SampleOptions, prepare
    from empo_rl.data.records import open_records

    columns = source.with_columns(preparation.columns)
    dataset = preparation.source or source.dataset
    output = preparation.output or Path(f"{source.name}.jsonl")
    files = _output_files(output, preparation.dropped, [dataset, *comparison.against])
    with _progress() as progress, _explain_full_disk(files.out.parent):
        _test_hub(progress, dataset, comparison)
        names = {name for column in columns.values() if column for name in (column, column.partition(".")[0])}
        stream = open_records(dataset, split=preparation.split, columns=names, key="--from")
        report, index = _report_and_index(stream.name, progress, comparison)
        options = SampleOptions(preparation.count or source.count, preparation.seed, columns, preparation.drop)
        prepare(stream, source, options, report, index, files, progress)
    _print(report, comparison)
    click.echo(f"Rows: {files.out}. Report with every pair: {files.report}.", err=True)


def _output_files(out: Path, dropped: Path | None, inputs: list[str]) -> OutputFiles:
    """Create the folders of the output files, and return the paths of the rows, the report and the dropped rows.

    Raises:
        InputError: a path is a folder, or two of the input and output files have the same path.
    """
    from empo_rl.data.prepare import OutputFiles
    from semantic_entropy import InputError

    if out.is_dir():  # check this first: the name of the report is made from `out`
        raise InputError(f"{out} is a folder: name a file in it.")
    files = OutputFiles(out, out.with_suffix(".report.json"), dropped)
    outputs = [path for path in (files.out, files.report, files.dropped) if path is not None]
    if folder := next((path for path in outputs if path.is_dir()), None):
        raise InputError(f"{folder} is a folder: name a file in it, or move the folder.")
    used = [Path(name.rpartition("=")[2]).resolve() for name in inputs]
    for path in outputs:
        if path.resolve() in used:
            raise InputError(f"{path} names two files (input or output) of this command: choose another name with -o.")
        used.append(path.resolve())
        path.parent.mkdir(parents=True, exist_ok=True)
    return files


def _report_and_index(
    name: str, progress: StageProgress, comparison: ComparisonOptions
) -> tuple[DataReport, OverlapIndex]:
    from empo_rl.data.comparison_sets import ComparisonSets, load_comparison_sets
    from empo_rl.data.overlap import NearCriterion, OverlapIndex
    from empo_rl.data.report import DataReport
    from empo_rl.extras import require_extra

    require_extra("empo-data", ("datasketch",), extra="data")
    loaded = (
        ComparisonSets()
        if comparison.alone
        else load_comparison_sets(comparison.against, comparison.source_column, progress)
    )
    near = NearCriterion(comparison.threshold, comparison.words, comparison.numbers)
    return DataReport(name, near, loaded.sets, loaded.unavailable), OverlapIndex(loaded.sets, near)


def _test_hub(progress: StageProgress, dataset: str | None, comparison: ComparisonOptions) -> None:
    """If a dataset comes from the hub, test the connection before Hugging Face's libraries are imported."""
    from empo_rl.data.records import go_offline_if_hub_unreachable, is_local
    from empo_rl.extras import require_extra

    from_hub = [name for name in (dataset, *comparison.against) if name and not is_local(name.rpartition("=")[2])]
    if not from_hub and (comparison.alone or comparison.against):
        return
    require_extra("empo-data", ("datasets",), extra="data")
    message = go_offline_if_hub_unreachable()
    if message:
        progress.say(message)


def _token_counter(model: str) -> Callable[[str], int]:
    from empo_rl.extras import require_extra
    from semantic_entropy import InputError

    require_extra("empo-data natural --tokenizer", ("transformers",))
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--tokenizer: cannot load the tokenizer of {model!r}: {error}") from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def _print(report: DataReport, comparison: ComparisonOptions) -> None:
    if comparison.as_json:
        text = json.dumps(report.to_dict(), ensure_ascii=False, indent=2)
    else:
        text = "\n".join(report.lines(comparison.show))
    # print a lone surrogate as an escape sequence
    click.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"))


@contextmanager
def _errors_without_traceback() -> Iterator[None]:
    from semantic_entropy import SemanticEntropyError

    try:
        yield
    except SemanticEntropyError as error:
        raise click.ClickException(printable(str(error))) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'a file'}: {error.strerror or error}") from error


@contextmanager
def _progress() -> Iterator[StageProgress]:
    """Show progress bars. After Ctrl-C, print a message and exit with status 130, which shells expect."""
    from empo_rl.progress import StageProgress

    with StageProgress() as progress:
        try:
            yield progress
        except KeyboardInterrupt:
            stage, done, total = progress.reached or ("starting", 0, 0)
            share = f" at {done / total:.0%}" if total else ""
            progress.say(f"interrupted while {stage}{share}: nothing was written")
            raise SystemExit(130) from None


@contextmanager
def _explain_full_disk(folder: Path) -> Iterator[None]:
    from empo_rl.files import DiskError, disk_full_message, is_disk_full

    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise DiskError(
            f"{disk_full_message(folder, error)} Nothing was written. Free some space, or choose another disk with -o, "
            "and run the command again."
        ) from error


if __name__ == "__main__":
    sys.exit(main())

"""`empo-data`: training questions from a public data set, compared with the evaluation sets.

    empo-data numina [-o FILE]       a seeded 20,000 of NuminaMath-CoT
    empo-data natural [-o FILE]      Natural Reasoning by the paper's Algorithm 4, a seeded 18,000 of what is left
    empo-data check FILE             duplicates in a file, and overlap with evaluation sets; writes nothing

Light at import: datasets and datasketch are loaded when a command needs them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from empo_rl.data.data_options import Compared, Prepared, compared, prepared, roles

if TYPE_CHECKING:
    from empo_rl.data.overlap import Finder
    from empo_rl.data.preparation import Preparation
    from empo_rl.data.prepare import Files
    from empo_rl.data.report import Report
    from empo_rl.run.progress import StageProgress

_USES = """\
empo-data numina                 20,000 of NuminaMath-CoT -> numina.jsonl
empo-data natural                18,000 of Natural Reasoning -> natural.jsonl
empo-data numina --from FILE     the same from a local JSONL or Parquet file
empo-data check FILE             duplicates and overlap in a file of yours
"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=f"Prepare training questions, and see what they share with the evaluation sets.\n\n\b\n{_USES}",
)
@click.version_option(package_name="semantic-entropy")
def main() -> None:
    """The front door."""


@main.command(short_help="A seeded 20,000 of NuminaMath-CoT.")
@prepared
@click.option("--answered", is_flag=True, help="Only questions whose solution boxes an answer.")
@compared
def numina(prepared: Prepared, compared: Compared, answered: bool) -> None:
    r"""Draw questions of NuminaMath-CoT: rows of question, answer, solution, source.

    The answer is what the last \boxed{} of the solution holds, null where there is none.
    Roles of --column: question, solution, source.
    """
    from empo_rl.data.numina import numina as preparation

    with _one_sentence():
        _prepare(preparation(answered=answered), prepared, compared)


@main.command(short_help="Natural Reasoning by Algorithm 4, 18,000 of it.")
@prepared
@click.option("--tokenizer", metavar="MODEL", help="Count a response in this model's tokens, not in characters.")
@compared
def natural(prepared: Prepared, compared: Compared, tokenizer: str | None) -> None:
    """Filter Natural Reasoning as the paper's Algorithm 4 does, and draw: rows of question, answer, response.

    Roles of --column: question, answer, response (COLUMN, or COLUMN.FIELD of objects; `response=` for none).
    """
    from empo_rl.data.natural import natural as preparation

    with _one_sentence():
        chosen = preparation(_token_counter(tokenizer), "tokens") if tokenizer else preparation()
        _prepare(chosen, prepared, compared)


@main.command(short_help="Duplicates in a file, and overlap with evaluation sets.")
@click.argument("file")
@click.option(
    "--column", "columns", multiple=True, metavar="question=COLUMN", callback=roles, help="What its column is called."
)
@compared
def check(file: str, columns: Mapping[str, str], compared: Compared) -> None:
    """Compare the questions of FILE (.jsonl or .parquet) with each other and with evaluation sets. Writes nothing."""
    from empo_rl.data.prepare import check as compare
    from empo_rl.data.records import open_records

    if set(columns) - {"question"}:
        raise click.UsageError("--column: a file that is checked has one role, question=COLUMN.")
    column = columns.get("question", "question")
    with _one_sentence():
        with _progress() as progress:
            _hub_or_cache(progress, None, compared)
            stream = open_records(file, columns=(column,), key="FILE")
            report, finder = _comparison(stream.name, progress, compared)
            compare(stream, column, report, finder, progress)
        _print(report, compared)


def _prepare(preparation: Preparation, prepared: Prepared, compared: Compared) -> None:
    from empo_rl.data.prepare import Choices, prepare
    from empo_rl.data.records import open_records

    columns = preparation.with_columns(prepared.columns)
    source = prepared.source or preparation.source
    files = _files(prepared.output or Path(f"{preparation.name}.jsonl"), prepared.dropped, [source, *compared.against])
    with _progress() as progress, _room(files.out.parent):
        _hub_or_cache(progress, source, compared)
        names = {name for column in columns.values() if column for name in (column, column.partition(".")[0])}
        stream = open_records(source, split=prepared.split, columns=names, key="--from")
        report, finder = _comparison(stream.name, progress, compared)
        choices = Choices(prepared.count or preparation.count, prepared.seed, columns, prepared.drop)
        prepare(stream, preparation, choices, report, finder, files, progress)
    _print(report, compared)
    click.echo(f"{files.out}, and the report with every pair: {files.report}", err=True)


def _files(out: Path, dropped: Path | None, read: list[str]) -> Files:
    """Where the rows, the report and the dropped rows go.

    Raises:
        InputError: a folder, or a file that is also read or written as something else.
    """
    from empo_rl.data.prepare import Files
    from semantic_entropy import InputError

    if out.is_dir():  # before a report is named after it
        raise InputError(f"{out} is a folder: name a file in it.")
    files = Files(out, out.with_suffix(".report.json"), dropped)
    written = [path for path in (files.out, files.report, files.dropped) if path is not None]
    if folder := next((path for path in written if path.is_dir()), None):
        raise InputError(f"{folder} is a folder: name a file in it, or move it away.")
    taken = [Path(name.rpartition("=")[2]).resolve() for name in read]
    for path in written:
        if path.resolve() in taken:
            raise InputError(f"{path} is read or written as something else too: give -o another name.")
        taken.append(path.resolve())
        path.parent.mkdir(parents=True, exist_ok=True)
    return files


def _comparison(name: str, progress: StageProgress, compared: Compared) -> tuple[Report, Finder]:
    from empo_rl.data.against import Against, load_against
    from empo_rl.data.overlap import Finder, Near
    from empo_rl.data.report import Report
    from empo_rl.extras import require_extra

    require_extra("empo-data", ("datasketch",), extra="data")
    against = Against() if compared.alone else load_against(compared.against, compared.source_column, progress)
    near = Near(compared.threshold, compared.words, compared.numbers)
    return Report(name, near, against.sets, against.absent), Finder(against.sets, near)


def _hub_or_cache(progress: StageProgress, source: str | None, compared: Compared) -> None:
    """Before anything of Hugging Face is imported: see whether it answers, where it will be asked."""
    from empo_rl.data.hub import stay_off_if_unreachable
    from empo_rl.data.records import is_local
    from empo_rl.extras import require_extra

    from_hub = [name for name in (source, *compared.against) if name and not is_local(name.rpartition("=")[2])]
    if not from_hub and (compared.alone or compared.against):
        return
    require_extra("empo-data", ("datasets",), extra="data")
    said = stay_off_if_unreachable()
    if said:
        progress.say(said)


def _token_counter(model: str) -> Callable[[str], int]:
    from empo_rl.extras import require_extra
    from semantic_entropy import InputError

    require_extra("empo-data natural --tokenizer", ("transformers",))
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise InputError(f"--tokenizer: {model!r} has no tokenizer that can be loaded: {error}") from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def _print(report: Report, compared: Compared) -> None:
    if compared.as_json:
        said = json.dumps(report.as_json(), ensure_ascii=False, indent=2)
    else:
        said = "\n".join(report.lines(compared.show))
    click.echo(said.encode("utf-8", "backslashreplace").decode("utf-8"))  # half a character as its escape


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Errors that have a sentence, without a traceback."""
    from semantic_entropy import SemanticEntropyError

    try:
        yield
    except SemanticEntropyError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'a file'}: {error.strerror or error}") from error


@contextmanager
def _progress() -> Iterator[StageProgress]:
    """Bars while the block runs; Ctrl-C ends it with a line, and 130, which is what shells expect."""
    from empo_rl.run.progress import StageProgress

    with StageProgress() as progress:
        try:
            yield progress
        except KeyboardInterrupt:
            stage, done, total = progress.reached or ("starting", 0, 0)
            far = f" at {done / total:.0%}" if total else ""
            progress.say(f"interrupted while {stage}{far}: nothing was written")
            raise SystemExit(130) from None


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """A full disk, in words."""
    from empo_rl.run import files as disk

    try:
        yield
    except OSError as error:
        if not disk.is_refusal(error):
            raise
        raise disk.DiskError(
            f"{disk.refused(folder, error)} Nothing was written. Make room, or give -o a place on another disk, and "
            "run it again."
        ) from error


if __name__ == "__main__":
    sys.exit(main())

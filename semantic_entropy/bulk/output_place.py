"""Where a run writes: a folder of shards, one file that shards become, or one file that one process writes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

from semantic_entropy.bulk.local_engine import loads_model
from semantic_entropy.bulk.one_file import OneFile, is_worth_shards
from semantic_entropy.bulk.ray_generation import NAME as RAY_LLM
from semantic_entropy.bulk.sections import is_bulk_input
from semantic_entropy.bulk.storage import is_url
from semantic_entropy.errors import InputError
from semantic_entropy.io import InputOptions
from semantic_entropy.io.formats import is_stream
from semantic_entropy.scorer import Scorer

_FILE_SUFFIXES = (".jsonl", ".ndjson", ".parquet", ".pq")
_OF_ONE_PROCESS = ("sentences", "samples", "sampler", "claims", "group_by")  # options, if the output is a file


def is_bulk_output(name: str | None) -> bool:
    """Whether an output is a folder: it exists, or its name ends with a slash, or it is a URL."""
    return name is not None and (is_url(name) or name.endswith("/") or Path(name).is_dir())


def shards_of_output(
    file: str,
    output: str | None,
    engine: str | None,
    given: Collection[str],
    options: InputOptions,
    choices: Mapping[str, Any],
    overwrite: bool,
) -> str | OneFile | None:
    """Return the folder of shards, or the file that they become; None: no option needs shards.

    An output is a folder by its name; or if it has no suffix, and the input or the engine needs a folder.

    Args:
        file: the input.
        output: the output.
        engine: the engine that the user named.
        given: the options about shards that the user gave.
        options: how the input is read.
        choices: the other options.
        overwrite: whether earlier results are removed.

    Raises:
        InputError: options contradict each other.
    """
    alone = _option_of_one_process(options, choices)
    is_many = is_bulk_input(file)
    needs_folder = (is_many or engine == "ray") and output not in (None, "-") and not Path(str(output)).suffix
    if output and is_url(output) and PurePosixPath(output).suffix in _FILE_SUFFIXES:
        raise InputError(f"{output}: a URL is a folder of shards. Choose a name without a suffix, or a local file")
    if is_bulk_output(output) or needs_folder:
        if alone in ("--sentences", "--samples"):
            raise InputError(f"{alone} is for an output file, and the output is a folder")
        return output
    _check_file(file, output, given, alone, choices, overwrite=overwrite)
    if is_stream(output) or alone or not (given or is_many):
        return None
    place = OneFile(str(output))
    place.remove_shards()
    if overwrite or not place.has_results:
        return place
    if given:
        sys.stderr.write(
            f"{output} has results, which are kept: one process measures the other rows, without {', '.join(given)}\n"
        )
    return None


def _check_file(
    file: str,
    output: str | None,
    given: Collection[str],
    alone: str,
    choices: Mapping[str, Any],
    *,
    overwrite: bool,
) -> None:
    """Raise InputError if the output is a file or a stream, and the options need something else."""
    if choices["sampler"] == RAY_LLM:
        raise InputError(f"--sampler {RAY_LLM} writes a folder: -o results/")
    named = ", ".join(given)
    if given and (is_stream(output) or file == "-"):
        raise InputError(f"{named}: shards need an input and an output on a disk: -o results.jsonl, or results/")
    if given and alone:
        raise InputError(f"{alone} is for one process if the output is a file: leave {named} out")
    if is_stream(output) or not (alone or file == "-") or overwrite:
        return
    if (place := OneFile(str(output))).has_shards:  # one process would measure their rows again
        fix = f"without {alone}, and then with it" if alone else "with the file as the input"
        raise InputError(
            f"{output} is not finished: an earlier run left its results in {place.folder}, and "
            f"{alone or 'standard input'} is for one process. Run the command {fix}, which keeps these results; or "
            "remove this folder, or use --overwrite, or another output"
        )


def is_cut_by_default(
    file: str,
    output: str | None,
    options: InputOptions,
    choices: Mapping[str, Any],
    open_scorer: Callable[[], AbstractContextManager[Scorer]],
    *,
    overwrite: bool,
) -> bool:
    """Whether shards measure a file though no option says so: they have begun, or it is large and no model is loaded.

    This does not depend on the number of cores, so the same command writes the same bytes on all machines. With
    `--cache`, what one process asked first depends on the other processes: the file is not cut.
    """
    if is_stream(output) or file == "-" or _option_of_one_process(options, choices):
        return False
    place = OneFile(str(output))
    place.remove_shards()
    if place.has_shards:
        return True
    if choices["cache"] or (place.has_results and not overwrite) or not is_worth_shards(file, options):
        return False
    with open_scorer() as scorer:
        return not loads_model(scorer)


def _option_of_one_process(options: InputOptions, choices: Mapping[str, Any]) -> str:
    """Return an option that one process serves if the output is a file; empty: none was given."""
    values = {**choices, "group_by": options.group_by}
    return next((f"--{name.replace('_', '-')}" for name in _OF_ONE_PROCESS if values.get(name)), "")

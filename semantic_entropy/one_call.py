"""The main interface for one call: `estimate`, `aestimate` for programs with an event loop, `estimate_file` for files.

All calls in a process share the judges that are loaded by name (with their worker processes and models) and a verdict
cache, because loading a judge is expensive. A program that sets a cache file, or calls a sampler by name many times,
uses a `Scorer`.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from semantic_entropy.cache import LRUCache
from semantic_entropy.clusters import EVIDENCE_FIELDS
from semantic_entropy.errors import InputError, nearest
from semantic_entropy.measuring import Resources
from semantic_entropy.progress import run_cancellable
from semantic_entropy.registry import default_registry
from semantic_entropy.results import BatchResult, Result
from semantic_entropy.sampling import Sampler
from semantic_entropy.scorer import Arguments, ArrayLike, SamplingChoices, Scorer, Tokens
from semantic_entropy.tables import TableT

if TYPE_CHECKING:
    from semantic_entropy.io import RunSummary


@overload
def estimate(
    responses: Sequence[str],
    *,
    question: str | None = None,
    logprobs: Tokens | None = None,
    **choices: Unpack[Arguments],
) -> Result: ...
@overload
def estimate(
    responses: Sequence[list[str] | tuple[str, ...]],
    *,
    question: Sequence[str | None] | None = None,
    logprobs: Sequence[Tokens | None] | None = None,
    **choices: Unpack[Arguments],
) -> BatchResult: ...
@overload
def estimate(
    responses: TableT,
    *,
    question: str | None = None,
    logprobs: str | None = None,
    column: str | None = None,
    group_by: str | None = None,
    **choices: Unpack[Arguments],
) -> TableT: ...
@overload
def estimate(
    responses: ArrayLike, *, question: Any = None, logprobs: Any = None, **choices: Unpack[Arguments]
) -> Result | BatchResult: ...
@overload
def estimate(
    responses: None = None, *, question: str, sampler: str | Sampler, **choices: Unpack[SamplingChoices]
) -> Result: ...
@overload
def estimate(
    responses: None = None,
    *,
    question: list[str] | tuple[str, ...],
    sampler: str | Sampler,
    progress: bool | None = None,
    **choices: Unpack[SamplingChoices],
) -> BatchResult: ...
def estimate(
    responses: Any = None,
    *,
    question: Any = None,
    logprobs: Any = None,
    column: str | None = None,
    group_by: str | None = None,
    progress: bool | None = None,
    **choices: Any,  # `Choices` or `SamplingChoices`, by overload
) -> Any:
    """Measure the semantic entropy of the responses to one question or to many questions.

    `estimate(["Paris", "paris", "Rome"])` returns a `Result`. A list of such lists returns a `BatchResult`. NumPy
    arrays and pandas or polars Series are read as lists. A pandas or polars frame, or a `datasets.Dataset`, with a
    column `responses` returns a table with the results as columns. With a sampler, the responses are drawn first:
    `estimate(question="...", sampler="openai", sampler_options={"model": "..."}, n=10)`.

    The arguments are those of `Scorer.estimate`, and these arguments of `Scorer`: `equivalence`, `equivalence_options`,
    `clusterer`, `estimator`, `convention`, `extract`, `invalid`, `similarity`, `similarity_options`, `long`, `support`,
    `support_options`, `claims`, `claims_options`, `calibration`, `model`, `sampler`, `sampler_options`, `n`,
    `threshold`, `min_n`, `max_n`, `greedy` (True or False), `samples`.
    `similarity` is a matrix, or the name or function that `Scorer` takes. All calls in a process share the judges that
    are loaded by name with the same options, and a verdict cache in memory. A sampler that is given by name is loaded
    and closed by each call.

    Raises:
        InputError: an argument cannot be used. The message names the group, the response and the value.
        EvidenceError: an estimator that you named needs evidence that a response does not have.
        UnknownComponentError: no component has this name. The message lists the existing names.
        MissingDependencyError: a required module is missing. The message names the extra to install.
        EquivalenceError: the judge broke its contract, or its model or server is not available.
        SamplingError: the sampler's model or server is not available, or refuses the requests. Responses that were
            drawn before are stored in the file `samples=`.

    Source: Farquhar et al., Nature 2024; EMPO, Eq. 1-2 and Algorithm 1.
    """
    return _estimate_once(choices, responses, question, logprobs, column, group_by, progress)


@overload
async def aestimate(
    responses: Sequence[str],
    *,
    question: str | None = None,
    logprobs: Tokens | None = None,
    **choices: Unpack[Arguments],
) -> Result: ...
@overload
async def aestimate(
    responses: Sequence[list[str] | tuple[str, ...]],
    *,
    question: Sequence[str | None] | None = None,
    logprobs: Sequence[Tokens | None] | None = None,
    **choices: Unpack[Arguments],
) -> BatchResult: ...
@overload
async def aestimate(
    responses: TableT,
    *,
    question: str | None = None,
    logprobs: str | None = None,
    column: str | None = None,
    group_by: str | None = None,
    **choices: Unpack[Arguments],
) -> TableT: ...
@overload
async def aestimate(
    responses: ArrayLike, *, question: Any = None, logprobs: Any = None, **choices: Unpack[Arguments]
) -> Result | BatchResult: ...
@overload
async def aestimate(
    responses: None = None, *, question: str, sampler: str | Sampler, **choices: Unpack[SamplingChoices]
) -> Result: ...
@overload
async def aestimate(
    responses: None = None,
    *,
    question: list[str] | tuple[str, ...],
    sampler: str | Sampler,
    progress: bool | None = None,
    **choices: Unpack[SamplingChoices],
) -> BatchResult: ...
async def aestimate(
    responses: Any = None,
    *,
    question: Any = None,
    logprobs: Any = None,
    column: str | None = None,
    group_by: str | None = None,
    progress: bool | None = None,
    **choices: Any,  # `Choices` or `SamplingChoices`, by overload
) -> Any:
    """Run `estimate` without blocking the event loop. Arguments, return value and errors are those of `estimate`.

    If the task is cancelled, sampler and judge start no new work: see `Scorer.aestimate`.
    """
    return await run_cancellable(_estimate_once, choices, responses, question, logprobs, column, group_by, progress)


def estimate_file(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    responses: str = "responses",
    question: str | None = None,
    input_format: str | None = None,
    group_by: str | None = None,
    requests: str | PathLike[str] | None = None,
    cache: str | PathLike[str] | None = None,
    overwrite: bool = False,
    strict: bool = False,
    progress: bool | None = None,
    sampler: str | Sampler | None = None,
    answer: str | None = None,
    sentences: str | PathLike[str] | None = None,
    **choices: Unpack[SamplingChoices],
) -> RunSummary:
    """Measure every row of a file, as the command `semantic-entropy estimate` does, and continue an earlier run.

    Results in the output are kept if their rows and the choices are the same. So after an interruption, the same call
    measures only what is missing. Docs: how-to/files.md.

    Args:
        source: the input: JSON lines, Parquet, CSV, TSV, a JSON array, batch output of OpenAI, a log of lm-eval or
            inspect_ai.
        output: the file to write: JSON lines, or Parquet if the suffix is .parquet or .pq. Bad rows are reported in
            OUTPUT.bad.jsonl.
        responses: the field that holds the responses.
        question: the field that holds the question; None: "question", else a common name.
        input_format: the format of the input; None: found from its suffix and its first line.
        group_by: the field that the rows with the responses to one question share; None: a row has all responses.
        requests: the file with the requests of a batch, which has the questions.
        cache: an SQLite file that stores verdicts for later runs.
        overwrite: True: remove an existing output and measure all rows.
        strict: True: stop at the first bad row.
        progress: True: show a progress bar. None: show it on a terminal.
        sampler: a name or a `Sampler`. It draws the responses of rows that have only a question; they are stored in
            `samples` (default: OUTPUT.samples.jsonl) and not drawn again.
        answer: the field with the one answer that is scored (`long=True`, "perplexity", ...); None: "greedy", if a row
            has it.
        sentences: a file to write, with one JSON line for each sentence, or claim, of the long answers in the output.
        choices: the arguments of `estimate`.

    Returns:
        The summary of the run: numbers of rows, bad rows, compared and undecided pairs. Print it, or check
        `summary.rejected` and `summary.undecided_share`.

    Raises:
        InputError: the input cannot be read; the output belongs to another input or to other choices, or another run is
            writing it; with `strict`, a row is bad.
        SemanticEntropyError: the errors of `estimate`; the rows written before stay in the output.
    """
    from semantic_entropy.io import FileRun, InputOptions, check_paths, write_sentences  # the readers of all formats
    from semantic_entropy.tables import FieldNames

    _check_names(choices, estimate_file)
    if sentences is not None and choices.get("long") is False:
        raise InputError("sentences= is for the sentences of long answers, and long=False measures none: drop one")
    path, asked = fspath(output), None if requests is None else fspath(requests)
    samples, stored = choices.get("samples"), None if cache is None else Path(cache)
    replies = sampler is not None or isinstance(choices.get("claims"), str | Sampler)
    if replies and samples is None:
        samples = choices["samples"] = f"{path}.samples.jsonl"
    # before a file is opened or removed
    written = {} if sentences is None else {"sentences": fspath(sentences)}
    check_paths(fspath(source), path, None if samples is None else Path(samples), stored, asked, written)
    resources = _shared if cache is None else None
    with Scorer(**choices, sampler=sampler, cache=cache, _resources=resources) as scorer:
        names, options = FieldNames(responses, question, answer=answer), InputOptions(input_format, group_by, asked)
        if answer and "greedy" not in scorer.needs:
            raise InputError(f"answer={answer!r} names the answer to score, and nothing scores one: pass long=True")
        run = FileRun(scorer, fspath(source), path, names=names, overwrite=overwrite, strict=strict, options=options)
        summary = run.execute(progress=sys.stderr.isatty() if progress is None else progress)
        if sentences is not None:
            write_sentences(path, fspath(sentences), names)
        return summary


_CHOICES = {*SamplingChoices.__annotations__, "sampler"}
_shared = Resources()
_scorers: LRUCache[Any, Scorer] = LRUCache(32)  # the scorers of `estimate`, by their choices


def _close_shared() -> None:
    """Close the judges that the calls of `estimate` share, and drop the scorers that use these judges."""
    global _scorers  # noqa: PLW0603
    _scorers = LRUCache(32)
    _shared.close()


atexit.register(_close_shared)


def _estimate_once(choices: Mapping[str, Any], *call: Any) -> Any:
    """Call a scorer that has these choices and the shared judges and verdict cache."""
    evidence = {name: choices[name] for name in EVIDENCE_FIELDS if choices.get(name) is not None}
    choices = {name: value for name, value in choices.items() if name not in EVIDENCE_FIELDS}
    if isinstance(evidence.get("similarity"), str) or callable(evidence.get("similarity")):
        choices["similarity"] = evidence.pop("similarity")
    if isinstance(evidence.get("greedy"), bool):
        choices["greedy"] = evidence.pop("greedy")
    _check_names(choices, estimate)
    key = _choices_key(choices)
    if key is None:
        with Scorer(**choices, _resources=_shared) as scorer:
            return scorer._estimate(evidence, *call)  # noqa: SLF001  # the arguments of `estimate`
    kept = _scorers.get(key)
    if kept is None:
        kept = Scorer(**choices, _resources=_shared)
        _scorers.put(key, kept)
    return kept._estimate(evidence, *call)  # noqa: SLF001


def _check_names(choices: Mapping[str, Any], call: Callable[..., Any]) -> None:
    """Raise TypeError if a choice is neither one of a scorer nor an argument of this call."""
    if unknown := choices.keys() - _CHOICES:
        known = {*_CHOICES, *(call.__kwdefaults__ or ())}
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}.{nearest(min(unknown), known)}")


def _choices_key(choices: Mapping[str, Any]) -> Any:
    """Return a key if all choices are names; None if a choice is an object, or a file that must be closed."""
    if any(choices.get(name) is not None for name in ("sampler", "samples", "calibration", "claims")):
        return None
    values = [tuple(value) if isinstance(value, list) else value for value in choices.values()]
    for value in values:
        if not all(isinstance(each, str | int | None) for each in (value if isinstance(value, tuple) else (value,))):
            return None
    return default_registry().state, *sorted(zip(choices, values, strict=True))

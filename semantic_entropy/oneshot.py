"""`estimate` and `aestimate`: a scorer made for one call, on judges and verdicts that all such calls share."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from os import PathLike
from typing import Any, overload

from semantic_entropy.clusters.clusterers import Clusterer
from semantic_entropy.progress import run_cancellable
from semantic_entropy.resources import Resources
from semantic_entropy.sampling import Sampler
from semantic_entropy.scorer import AnyEquivalence, AnyEstimator, InvalidPolicy, Scorer, Tokens
from semantic_entropy.tables import TableT
from semantic_entropy.types import BatchResult, Extractor, Result

_shared = Resources()
atexit.register(_shared.close)


@overload
def estimate(
    responses: Sequence[str],
    *,
    question: str | None = None,
    logprobs: Tokens | None = None,
    equivalence: AnyEquivalence | None = None,
    clusterer: str | Clusterer | None = None,
    estimator: AnyEstimator | Sequence[AnyEstimator] | None = None,
    convention: str = "default",
    extract: str | Extractor | None = None,
    invalid: InvalidPolicy = "separate",
) -> Result: ...
@overload
def estimate(
    responses: Sequence[list[str] | tuple[str, ...]],
    *,
    question: Sequence[str | None] | None = None,
    logprobs: Sequence[Tokens | None] | None = None,
    equivalence: AnyEquivalence | None = None,
    clusterer: str | Clusterer | None = None,
    estimator: AnyEstimator | Sequence[AnyEstimator] | None = None,
    convention: str = "default",
    extract: str | Extractor | None = None,
    invalid: InvalidPolicy = "separate",
) -> BatchResult: ...
@overload
def estimate(
    responses: TableT,
    *,
    question: str | None = None,
    logprobs: str | None = None,
    column: str | None = None,
    equivalence: AnyEquivalence | None = None,
    clusterer: str | Clusterer | None = None,
    estimator: AnyEstimator | Sequence[AnyEstimator] | None = None,
    convention: str = "default",
    extract: str | Extractor | None = None,
    invalid: InvalidPolicy = "separate",
) -> TableT: ...
@overload
def estimate(
    responses: None = None,
    *,
    question: str,
    sampler: str | Sampler,
    n: int = 10,
    samples: str | PathLike[str] | None = None,
    equivalence: AnyEquivalence | None = None,
    clusterer: str | Clusterer | None = None,
    estimator: AnyEstimator | Sequence[AnyEstimator] | None = None,
    convention: str = "default",
    extract: str | Extractor | None = None,
    invalid: InvalidPolicy = "separate",
) -> Result: ...
@overload
def estimate(
    responses: None = None,
    *,
    question: list[str] | tuple[str, ...],
    sampler: str | Sampler,
    n: int = 10,
    samples: str | PathLike[str] | None = None,
    progress: bool | None = None,
    equivalence: AnyEquivalence | None = None,
    clusterer: str | Clusterer | None = None,
    estimator: AnyEstimator | Sequence[AnyEstimator] | None = None,
    convention: str = "default",
    extract: str | Extractor | None = None,
    invalid: InvalidPolicy = "separate",
) -> BatchResult: ...
def estimate(
    responses: Any = None,
    *,
    question: Any = None,
    logprobs: Any = None,
    column: str | None = None,
    equivalence: AnyEquivalence | None = None,
    clusterer: str | Clusterer | None = None,
    estimator: AnyEstimator | Sequence[AnyEstimator] | None = None,
    convention: str = "default",
    extract: str | Extractor | None = None,
    invalid: InvalidPolicy = "separate",
    sampler: str | Sampler | None = None,
    n: int = 10,
    samples: str | PathLike[str] | None = None,
    progress: bool | None = None,
) -> Any:
    """Semantic entropy of the responses to one question, or to many.

    `estimate(["Paris", "paris", "Rome"])` gives a `Result`; a list of such lists gives a `BatchResult` from one run; a
    pandas or polars frame, or a `datasets.Dataset`, with a column `responses` comes back with the results as columns.
    `estimate(question="...", sampler=load_sampler("openai", model=...), n=10)` draws the responses first.
    The arguments are those of `Scorer` and of `Scorer.estimate`; judges loaded by name and their verdicts are shared by
    all calls of the process.

    Raises:
        InputError: names the group, the response and the value.
        EvidenceError: an estimator asked for by name lacks its evidence.
        UnknownComponentError: no component of that name; lists those that exist.
        MissingDependencyError: names the extra to install.
        EquivalenceError: the judge broke its contract, or its model or server is away.
        SamplingError: the sampler's model or server is away, or refuses; `samples=` keeps what it had drawn.

    Source: Farquhar et al., Nature 2024; EMPO, Eq. 1-2 and Algorithm 1.
    """
    choices = {
        "equivalence": equivalence,
        "clusterer": clusterer,
        "estimator": estimator,
        "convention": convention,
        "extract": extract,
        "invalid": invalid,
        "sampler": sampler,
        "n": n,
        "samples": samples,
    }
    return _once(choices, responses, question, logprobs, column, progress)


async def aestimate(
    responses: Any = None,
    *,
    question: Any = None,
    logprobs: Any = None,
    column: str | None = None,
    progress: bool | None = None,
    **choices: Any,
) -> Any:
    """`estimate` without blocking the event loop; the same arguments, and what it returns.

    A cancelled task asks sampler and judge for nothing more: `Scorer.aestimate`.
    """
    return await run_cancellable(_once, choices, responses, question, logprobs, column, progress)


def _once(choices: dict[str, Any], *call: Any) -> Any:
    """One call of a scorer made for it, on the judges and verdicts that all of them share."""
    with Scorer(**choices, _resources=_shared) as scorer:
        return scorer._estimate(*call)  # noqa: SLF001  # the arguments of `estimate`

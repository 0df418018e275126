"""Functions that call judges, clusterers and estimators, and check what these components return.

The rest of the package calls components only through these functions. If a component raises, or returns a nan, a wrong
number of values or a value of the wrong type, the function raises an error that names the component and the value.
`stream_verdicts` yields the verdicts that arrive before such an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Hashable, Sequence
from typing import Any, NoReturn

from semantic_entropy.clusters.clusterers import Clusterer, Flow
from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.errors import EquivalenceError, PluginError, SemanticEntropyError
from semantic_entropy.estimators.base import EntropyEstimator
from semantic_entropy.types import Estimate, Evidence, Pair, Verdict


def stream_verdicts(judge: Equivalence, pairs: Sequence[Pair]) -> Generator[tuple[int, Verdict], None, None]:
    """Yield (index of the pair, verdict) when a verdict arrives: exactly one verdict for each pair.

    If you stop early, close the generator. This closes the judge's stream, which ends the judge's pending calls.

    Raises:
        EquivalenceError: the judge raised, left out a pair, judged a pair twice, or returned a wrong value.
    """
    missing = set(range(len(pairs)))
    stream: Any = None
    try:
        if type(judge).stream is Equivalence.stream and "stream" not in vars(judge):
            # All verdicts arrive together: checking them together is faster.
            verdicts = judge.judge(pairs)
            if isinstance(verdicts, list) and len(verdicts) == len(pairs) and all(map(_is_verdict, verdicts)):
                yield from enumerate(verdicts)
                return
            stream = enumerate(verdicts)
        else:
            stream = judge.stream(pairs)
        for index, verdict in stream:
            if index not in missing:
                _reject_count(judge, pairs, len(pairs) - len(missing) + 1 + sum(1 for _ in stream))
            if not _is_verdict(verdict):
                _reject_verdict(judge, pairs[index], verdict)
            missing.remove(index)
            yield index, verdict
        if missing:
            _reject_count(judge, pairs, len(pairs) - len(missing))
    except SemanticEntropyError:
        raise
    except Exception as error:
        raise _raised(judge, error, f"judge() on {len(pairs)} pairs, the first {pairs[:1]}") from error
    finally:
        if hasattr(stream, "close"):
            stream.close()


def judge_pairs(judge: Equivalence, pairs: Sequence[Pair]) -> list[Verdict]:
    """Return the judge's verdicts in the order of the pairs. Raises the errors of `stream_verdicts`."""
    verdicts = dict(stream_verdicts(judge, pairs))
    return [verdicts[index] for index in range(len(pairs))]


def extract_answers(judge: Equivalence, responses: Sequence[str]) -> tuple[str | None, ...]:
    """Return the answer that the judge extracts from each response; None (invalid) for a missing or blank answer.

    Raises:
        EquivalenceError: the judge raised, or returned a wrong value.
    """
    answers = _list(judge, f"extract() on {len(responses)} responses", judge.extract, responses)
    if len(answers) != len(responses) or not all(issubclass(kind, str | None) for kind in set(map(type, answers))):
        raise EquivalenceError(
            f"equivalence {judge.name!r} extracted {answers!r:.200} from {len(responses)} responses; "
            "extract() returns one str or None for each"
        )
    return tuple([a if a and not a.isspace() else None for a in answers])


def answer_keys(judge: Equivalence, question: str | None, answers: Sequence[str]) -> list[Hashable | None]:
    """Return the judge's key for each answer. Raises the errors of `extract_answers`."""
    keys = _list(judge, f"keys() on {len(answers)} answers", judge.keys, question, answers)
    if len(keys) != len(answers) or not _are_hashable(keys):
        raise EquivalenceError(
            f"equivalence {judge.name!r} returned the keys {keys!r:.200} for {len(answers)} answers; "
            "keys() returns one hashable key or None for each"
        )
    return keys


def checked_flow(clusterer: Clusterer, size: int) -> Flow:
    """Run the clusterer's flow on `size` answers. Empty lists of pairs are answered here, not yielded to the caller.

    Raises:
        PluginError: the flow raised, asked for a pair that does not exist, or did not return a list of `size` labels.
    """
    try:
        flow = clusterer.flow(size)
        wanted = next(flow)
        while True:
            for i, j in wanted or ():
                if not (0 <= i < size and 0 <= j < size):
                    _reject_flow(clusterer, size, f"asked for the pairs {wanted!r:.200}")
            verdicts = (yield wanted) if wanted else []
            wanted = flow.send(verdicts)
    except StopIteration as end:
        labels = end.value
    except PluginError:
        raise
    except Exception as error:  # noqa: BLE001  # the new error names the clusterer
        _reject_flow(clusterer, size, f"raised {type(error).__name__}: {error}", error)
    if not isinstance(labels, list) or len(labels) != size or not _are_hashable(labels):
        _reject_flow(clusterer, size, f"returned {labels!r:.200}; flow(size) returns a list of one label for each")
    return labels


def run_estimator(estimator: EntropyEstimator, evidence: Evidence) -> Estimate:
    """Run the estimator. If no response counts, the value is nan (the uncertainty is unknown), without probabilities.

    Raises:
        EvidenceError: evidence that the estimator requires is missing.
        PluginError: the value is nan, or the number of probabilities is not the number of clusters.
    """
    if not evidence.labels:
        return Estimate(math.nan, ())
    estimator.check(evidence)
    estimate: Any  # not yet checked
    try:
        estimate = estimator.estimate(evidence)
    except SemanticEntropyError:
        raise
    except Exception as error:
        raise PluginError(f"estimator {estimator.name!r} raised {type(error).__name__}: {error}") from error
    if (
        not isinstance(estimate, Estimate)
        or math.isnan(estimate.value)
        or (estimate.probabilities and len(estimate.probabilities) != max(evidence.labels) + 1)
    ):
        raise PluginError(
            f"estimator {estimator.name!r} returned {estimate!r:.200} for {max(evidence.labels) + 1} clusters; "
            "it returns an Estimate: a number, and one probability for each cluster or none at all"
        )
    assert isinstance(estimate, Estimate)
    return estimate


def _list(judge: Equivalence, call: str, method: Callable[..., Any], *arguments: Any) -> list[Any]:
    try:
        return list(method(*arguments))
    except SemanticEntropyError:
        raise
    except Exception as error:
        raise _raised(judge, error, call) from error


def _is_verdict(value: object) -> bool:
    return isinstance(value, Verdict) and value.same in (True, False, None)


def _are_hashable(keys: Sequence[object]) -> bool:
    try:
        set(keys)
    except TypeError:
        return False
    return True


def _raised(judge: Equivalence, error: Exception, call: str) -> EquivalenceError:
    return EquivalenceError(f"equivalence {judge.name!r} raised {type(error).__name__}: {error} in {call}")


def _reject_count(judge: Equivalence, pairs: Sequence[Pair], count: int) -> NoReturn:
    raise EquivalenceError(
        f"equivalence {judge.name!r} returned {count} verdicts for {len(pairs)} pairs; "
        "it returns one verdict for each pair: judge() in order, stream() with the index of each"
    )


def _reject_verdict(judge: Equivalence, pair: Pair, verdict: object) -> NoReturn:
    raise EquivalenceError(
        f"equivalence {judge.name!r} returned {verdict!r} for {pair!r}; "
        "return Verdict(True), Verdict(False), or Verdict(None) if the judge cannot decide"
    )


def _reject_flow(clusterer: Clusterer, size: int, defect: str, cause: Exception | None = None) -> NoReturn:
    raise PluginError(f"clusterer {clusterer.name!r}, on {size} answers, {defect}") from cause

"""Clusterers and estimators: pairs and labels of the answers that exist, finite scores, probabilities that sum to 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from numbers import Integral, Real
from typing import Any, NoReturn

from semantic_entropy.clusters.clusterers import Clusterer, Flow
from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.contracts.component_calls import (
    are_hashable,
    as_float,
    call_component,
    raised_message,
    share,
    shown,
)
from semantic_entropy.errors import EvidenceError, PluginError, SemanticEntropyError
from semantic_entropy.estimators.base import EntropyEstimator
from semantic_entropy.types import Estimate, Evidence

_SUM_ROUNDING = 1e-4  # the sum of a thousand float32 probabilities differs from 1 by less


def clusterer_for(clusterer: Clusterer, judge: Equivalence) -> Clusterer:
    """Return the clusterer to use with this judge. Raise PluginError if `for_judge` does not return a clusterer."""
    what = f"clusterer {clusterer.name!r}"
    chosen: Any = call_component(what, clusterer.for_judge, judge, during="for_judge()")
    if not isinstance(chosen, Clusterer):
        raise PluginError(f"{what}: for_judge() returned {shown(chosen)}; return a Clusterer, such as self")
    return chosen


def checked_flow(clusterer: Clusterer, size: int) -> Flow:
    """Run the clusterer's flow on `size` answers. Empty lists of pairs are answered here, not yielded to the caller.

    Raises:
        PluginError: the flow raised, asked for a pair that does not exist, asked for far more pairs than there are, or
            did not return a list of `size` labels.
    """
    steps, most = 0, 4 * size * size + 4  # each pair in both directions takes a quarter of this
    try:
        flow = clusterer.flow(size)
        wanted = next(flow)
        while True:
            steps += max(1, len(wanted or ()))
            if steps > most:
                _reject_flow(clusterer, size, f"asked for {steps} pairs and did not end")
            for i, j in wanted or ():
                usual = type(i) is type(j) is int and 0 <= i < size and 0 <= j < size
                if not usual and not (_is_index(i, size) and _is_index(j, size)):
                    _reject_flow(clusterer, size, f"asked for the pairs {shown(wanted)}; a pair is two indices")
            verdicts = (yield wanted) if wanted else []
            wanted = flow.send(verdicts)
    except StopIteration as end:
        labels = end.value
    except PluginError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the new error names the clusterer
        _reject_flow(clusterer, size, f"raised {type(error).__name__}: {error}", error)
    if not isinstance(labels, list) or len(labels) != size or not are_hashable(labels):
        _reject_flow(clusterer, size, f"returned {shown(labels)}; flow(size) returns a list of one label for each")
    return labels


def _reject_flow(clusterer: Clusterer, size: int, defect: str, cause: BaseException | None = None) -> NoReturn:
    raise PluginError(f"clusterer {clusterer.name!r}, on {size} answers, {defect}") from cause


def _is_index(value: Any, size: int) -> bool:
    return isinstance(value, Integral) and 0 <= int(value) < size


def check_requirements(estimator: EntropyEstimator) -> None:
    """Raise PluginError if `requires` or `uses` is not a set of fields of `Evidence`: no evidence would be enough."""
    fields = Evidence.__dataclass_fields__
    for attribute in ("requires", "uses"):
        names: Any = getattr(estimator, attribute)
        if not isinstance(names, AbstractSet) or not all(name in fields for name in names):
            raise PluginError(
                f"estimator {estimator.name!r}: {attribute} is {shown(names)}; it is a set of fields of Evidence: "
                f"{', '.join(fields)}"
            )


def estimator_prompts(estimator: EntropyEstimator, evidence: Evidence) -> list[str]:
    """Return the prompts of an estimator that asks the model. Raise PluginError if they are not a list of texts."""
    prompts: Any = call_component(f"estimator {estimator.name!r}", estimator.prompts, evidence, during="prompts()")
    if not isinstance(prompts, list | tuple) or not all(isinstance(each, str) and each.strip() for each in prompts):
        raise PluginError(
            f"estimator {estimator.name!r}: prompts() returned {shown(prompts)}; return a list of texts that are not "
            "empty"
        )
    return list(prompts)


def run_estimator(estimator: EntropyEstimator, evidences: Sequence[Evidence]) -> list[Estimate]:
    """Return an estimate for each evidence. Without a response that counts, it is nan and has no probabilities.

    Raises:
        EvidenceError: evidence that the estimator requires is missing. The message names the group, if there are many.
        PluginError: the estimator raised, a value is not a finite number, or the probabilities are not a distribution
            over the clusters.
    """
    counted = [evidence for evidence in evidences if evidence.labels]
    try:
        for i, evidence in enumerate(evidences):
            if evidence.labels:
                _check_evidence(estimator, evidence, f"group {i}: " if len(evidences) > 1 else "")
        returned: Any = estimator.estimate_batch(counted) if counted else []
    except SemanticEntropyError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(raised_message(f"estimator {estimator.name!r}", error, "")) from error
    if not isinstance(returned, list | tuple) or len(returned) != len(counted):
        raise PluginError(
            f"estimator {estimator.name!r}: estimate_batch() returned {shown(returned)} for {len(counted)} groups; "
            "return a list with one Estimate for each"
        )
    checked = (_checked(estimator, evidence, one) for evidence, one in zip(counted, returned, strict=True))
    return [next(checked) if evidence.labels else Estimate(math.nan, ()) for evidence in evidences]


def _check_evidence(estimator: EntropyEstimator, evidence: Evidence, where: str) -> None:
    try:
        estimator.check(evidence)
    except EvidenceError as error:
        raise EvidenceError(f"{where}{error}") from None


def _checked(estimator: EntropyEstimator, evidence: Evidence, returned: Any) -> Estimate:
    clusters = max(evidence.labels) + 1
    value: Any = returned.value if isinstance(returned, Estimate) else None
    note: Any = returned.note if isinstance(returned, Estimate) else None
    if note is not None and not isinstance(note, str):
        raise PluginError(f"estimator {estimator.name!r} returned the note {shown(note)}; it is a text or None")
    undefined = type(value) is float and math.isnan(value) and (len(evidence.labels) == 1 or bool(note))
    if not undefined and (not isinstance(value, Real) or not math.isfinite(as_float(value))):
        raise PluginError(
            f"estimator {estimator.name!r} returned {shown(returned)} for {clusters} clusters; return Estimate(value) "
            "with a finite number, or Estimate(value, probabilities) with one probability for each cluster"
        )
    estimate: Estimate = returned
    if type(value) is float and (estimate.probabilities is None or _is_distribution(estimate.probabilities, clusters)):
        return estimate
    return Estimate(float(value), _distribution(estimator, estimate.probabilities, clusters), note)


def _distribution(estimator: EntropyEstimator, probabilities: Any, clusters: int) -> tuple[float, ...] | None:
    """Return the probabilities as floats. Raise PluginError if they are no distribution over the clusters."""
    if probabilities is None:
        return None
    try:
        # the order of a set is no order of clusters, and the values of a dict are not those that it yields
        found = () if isinstance(probabilities, Mapping | AbstractSet | str) else tuple(map(share, probabilities))
    except Exception:  # noqa: BLE001  # not a sequence, or a class whose methods raise
        found = ()
    if not _is_distribution(found, clusters):
        raise PluginError(
            f"estimator {estimator.name!r} returned the probabilities {shown(probabilities)} for {clusters} clusters; "
            "return one for each cluster, in [0, 1], with the sum 1; or None if the value is not the entropy of a "
            "distribution"
        )
    return found


def _is_distribution(values: Any, clusters: int) -> bool:
    if type(values) is not tuple or len(values) != clusters:
        return False
    for value in values:  # a loop, because `all` takes longer, and each estimate is checked
        if type(value) is not float or not 0.0 <= value <= 1.0:
            return False
    return abs(math.fsum(values) - 1.0) <= _SUM_ROUNDING

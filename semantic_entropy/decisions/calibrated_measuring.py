"""Measure groups and apply a calibration to their results, with the checks that cost nothing first.

The calibration is for one way to measure. A scorer that measures in another way is refused when it is made, and a group
of another size before its pairs are judged, and paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

from semantic_entropy.contracts import clusterer_for, describe
from semantic_entropy.decisions.calibration import Calibration
from semantic_entropy.decisions.conditions import Origin, describe_model
from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.measuring import Measurer, Method
from semantic_entropy.results import Result
from semantic_entropy.types import Group


def as_calibration(value: str | PathLike[str] | Calibration) -> Calibration:
    """Return the calibration itself, or that of a file.

    Raises:
        InputError: the file is no calibration.
    """
    return value if isinstance(value, Calibration) else Calibration.load(value)


@dataclass(frozen=True, slots=True)
class CalibratedMeasurer:
    """Measures groups with fixed choices, and applies a calibration.

    Attributes:
        measurer: measures the groups.
        calibration: the calibration, with conditions.
    """

    measurer: Measurer
    calibration: Calibration

    def check(self, n: int | None, stopping_rule: str | None) -> None:
        """Check the choices of a run before anything is asked.

        Args:
            n: the number of responses that a sampler is asked for; None: there is no sampler, or a rule.
            stopping_rule: the rule of `n="auto"`.

        Raises:
            InputError: the calibration is for other choices, or reads a score that no estimator of the run gives.
        """
        if self.calibration.conditions is None:
            raise InputError(
                "the calibration was learned from scores without their provenance, so nothing says for which results "
                "it is: use calibration.p_wrong(scores) in Python"
            )
        named = [each.name for each in self.measurer.estimators]
        if missing := [name for name in self.calibration.names if name not in named]:
            raise InputError(
                f"the calibration reads the score {missing[0]!r}, and this run has {', '.join(named)}: name its "
                f"estimators, {', '.join(self.calibration.names)} (--estimator NAME, estimator=[...])"
            )
        sampler = self.measurer.sampler
        drawn = None if sampler is None else describe("sampler", sampler)
        group = Group((), sampler=drawn, n=n, stopping_rule=stopping_rule)
        for method in self._methods():
            self.calibration.conditions.check(self._origin(group, method))

    def measure(self, groups: Sequence[Group]) -> list[Result]:
        """Measure groups in one run of the pipeline, and apply the calibration to each result.

        Raises:
            EvidenceError: a group was drawn in another way, or has another number of responses, than the labelled ones.
        """
        conditions = self.calibration.conditions
        assert conditions is not None
        methods = self._methods()
        for i, group in enumerate(groups):
            for method in methods:
                if found := conditions.differences(self._origin(group, method)):
                    where = f"group {i}: " if len(groups) > 1 else ""
                    raise EvidenceError(f"{where}the calibration is for other conditions: {'; '.join(found)}")
        return [self.calibration.apply(result) for result in self.measurer.measure(groups)]

    def _methods(self) -> list[Method]:
        """Return how a group is measured by each judge that may be chosen."""
        candidates, clusterer = self.measurer.candidates(), self.measurer.clusterer
        return [self.measurer.method(judge, reason, clusterer_for(clusterer, judge)) for judge, reason in candidates]

    def _origin(self, group: Group, method: Method) -> Origin:
        """Return how the group will be measured."""
        model, prompts = describe_model(group.sampler) if group.sampler else (method.model, None)
        responses = len(group.responses) or None
        has_matrix = method.similarity and group.evidence and group.evidence.similarity
        return Origin(
            convention=method.convention,
            equivalence=method.equivalence,
            auto=method.equivalence_reason.startswith("auto"),
            clusterer=method.clusterer,
            extract=method.extract,
            invalid=method.invalid,
            similarity=self.measurer.compared_by("given") if has_matrix else method.similarity,
            estimators=tuple(each.description for each in self.measurer.estimators),
            n=group.n if group.sampler else responses,
            responses=responses,
            stopping_rule=group.stopping_rule,
            model=model,
            prompts=prompts,
            replies_by=describe_model(method.replies_by)[0],
        )

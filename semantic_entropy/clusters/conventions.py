"""Conventions: the clusterer and the estimators that a public implementation of semantic entropy uses.

With the same NLI logits, three public implementations agree in 4 of 24 cases, so every result names its convention. A
convention sets the clusterer, the estimators, and the rule of the judge `nli`, if the user does not set them: uqlm
joins two answers if one of them entails the other, lm-polygraph if both do. A convention does not choose the judge
(`equivalence=`), because the judge could download a model that the user did not ask for. The judge of each
implementation is in docs/explanation/conventions.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from semantic_entropy.errors import InputError, nearest


@dataclass(frozen=True, slots=True)
class Convention:
    """A named choice of a clusterer (with options), of estimators, and of options for judges.

    The first estimator computes `Result.entropy`. `judge_options` has options by the full name of a judge; they count
    if the user names this judge and does not set them.
    """

    name: str
    clusterer: str
    clusterer_options: Mapping[str, Any] = field(default_factory=dict)
    judge_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    estimators: tuple[str, ...] = tuple(
        f"semantic-entropy/{name}" for name in ("discrete", "num_sets", "majority", "likelihood", "predictive")
    )
    """Names of estimators. An estimator is skipped if its evidence is missing."""


_NLI = "semantic-entropy/nli"
CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention("default", "semantic-entropy/representative", {"pick": "auto"}),
        Convention("lm-polygraph", "semantic-entropy/representative", {"order": "given"}, {_NLI: {"rule": "strict"}}),
        Convention("nature-2024", "semantic-entropy/last-match"),
        Convention("uqlm", "semantic-entropy/representative", {"order": "given"}, {_NLI: {"rule": "either"}}),
    )
}


def load_convention(name: str) -> Convention:
    """The convention of this name.

    Raises:
        InputError: no convention has this name. The message lists the existing names.
    """
    if name not in CONVENTIONS:
        raise InputError(
            f"convention={name!r} is unknown.{nearest(str(name), CONVENTIONS)} Use one of: {', '.join(CONVENTIONS)}"
        )
    return CONVENTIONS[name]

"""Conventions: what "semantic entropy" means in the code that a convention is named after.

With the same NLI logits, three public codes agree in 4 of 24 cases; so every result names its convention. A convention
fills in the clusterer and the estimators that are not given. It does not choose the judge (`equivalence=`), because no
convention downloads a model unasked: docs/explanation/conventions.md says which judge each code uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from semantic_entropy.errors import InputError, nearest


@dataclass(frozen=True, slots=True)
class Convention:
    """A name for a clusterer (with options) and estimators; the first estimator gives `Result.entropy`."""

    name: str
    clusterer: str
    clusterer_options: Mapping[str, Any] = field(default_factory=dict)
    estimators: tuple[str, ...] = tuple(
        f"semantic-entropy/{name}" for name in ("discrete", "num_sets", "majority", "likelihood", "predictive")
    )
    """Estimators whose evidence is missing are skipped."""


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention("default", "semantic-entropy/representative", {"pick": "auto"}),
        Convention("lm-polygraph", "semantic-entropy/representative", {"order": "given"}),
        Convention("nature-2024", "semantic-entropy/last-match"),
        Convention("uqlm", "semantic-entropy/representative", {"order": "given"}),
    )
}


def load_convention(name: str) -> Convention:
    """The convention of this name.

    Raises:
        InputError: no such convention; lists those that exist.
    """
    if name not in CONVENTIONS:
        raise InputError(
            f"convention={name!r} is unknown.{nearest(str(name), CONVENTIONS)} Use one of: {', '.join(CONVENTIONS)}"
        )
    return CONVENTIONS[name]

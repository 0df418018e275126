"""Conventions: what "semantic entropy" means in the code it is named after.

With the same NLI logits, three public codes agree in 4 of 24 cases; so every result names its convention. A
convention fills in what is not given: clusterer and estimators here. The judge stays yours (`equivalence=`), since no
convention downloads a model unasked: docs/explanation/conventions.md says which judge each one's own code uses.
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
    thorough: bool = False
    """Whether a judge that costs nothing is asked about every member of a cluster (`pick="all"`)."""
    estimators: tuple[str, ...] = tuple(
        f"semantic-entropy/{name}" for name in ("discrete", "num_sets", "majority", "likelihood", "predictive")
    )
    """Those that need evidence which was not given are passed over."""


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention("default", "semantic-entropy/representative", thorough=True),
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
            f"convention={name!r} is unknown.{nearest(str(name), CONVENTIONS)} There are: {', '.join(CONVENTIONS)}"
        )
    return CONVENTIONS[name]

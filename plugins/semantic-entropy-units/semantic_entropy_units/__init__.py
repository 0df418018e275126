"""An equivalence that understands physical units, announced. Light: pint is imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from semantic_entropy.plugin import Component, hookimpl


def load() -> Callable[..., Any]:
    """The judge, with pint behind it."""
    from semantic_entropy_units.judge import Units

    return Units


@hookimpl
def semantic_entropy_equivalences() -> list[Component]:
    """The one judge of this distribution."""
    summary = "equal physical quantities, whatever their units (pint)"
    return [Component("units", load, summary, requires=("pint",), extra="semantic-entropy-units")]

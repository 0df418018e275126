"""The hook of the plugin: it offers the judge `units`. Light: pint is imported when the judge is first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from semantic_entropy.plugin import Component, hookimpl


def load() -> Callable[..., Any]:
    """Import and return the judge; this imports pint."""
    from semantic_entropy_units.judge import Units

    return Units


@hookimpl
def semantic_entropy_equivalences() -> list[Component]:
    """Offer the judge of this distribution."""
    summary = "equal physical quantities, whatever their units (pint)"
    return [Component("units", load, summary, requires=("pint",), extra="semantic-entropy-units")]

"""The configurations that ship with the package. Reading one as text needs no YAML library."""

from __future__ import annotations

from importlib import resources


def recipe_names() -> list[str]:
    """The recipes, sorted."""
    names = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def recipe_text(name: str) -> str:
    """A recipe as it is written."""
    return resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")

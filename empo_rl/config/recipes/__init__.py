"""Read the recipes: configurations that are part of the package. Their text can be read without a YAML library."""

from __future__ import annotations

from importlib import resources


def recipe_names() -> list[str]:
    """The names of the recipes, sorted."""
    names = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def recipe_text(name: str) -> str:
    """The text of a recipe file."""
    return resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")

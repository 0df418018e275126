"""From a YAML file, or a recipe's name, and `key=value` arguments to a checked `Config`.

`extends: NAME` at the top of a file means: the file of that name, beside this one or from the working directory, or the
recipe, with the keys here on top of it, section by section. A file goes before a recipe of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from empo_rl.config.config_errors import COMMAND_LINE, explain
from empo_rl.config.recipes import recipe_names, recipe_text
from empo_rl.config.schema import Config
from empo_rl.extras import require_extra
from semantic_entropy import InputError, nearest

COMMANDS = ("demo", "recipes")  # what else the first argument of empo-train may be


def load_config(source: str, overrides: Sequence[str] = ()) -> Config:
    """Read a file or a recipe, put the overrides on top, and check."""
    values, name = whole(source)
    origins: dict[str, str] = {}
    for override in overrides:
        _apply(values, override, origins)
    return _check(values, name, origins)


def whole(source: str) -> tuple[dict[str, Any], str]:
    """A file's or recipe's keys with those of what it extends, and what to call it."""
    return _whole(source, ())


def _whole(source: str, extended_by: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    text, name = _read(source)
    if name in extended_by:
        raise InputError(f"{name}: extends itself, by way of {' -> '.join([*extended_by, name])}.")
    require_extra("reading a configuration", ("yaml",))
    values = _parse(text, name)
    base = values.pop("extends", None)
    if base is None:
        return values, name
    if not isinstance(base, str):
        raise InputError(f"{name}: extends: expected the name of a recipe or file, found {base!r}.")
    below, _ = _whole(_beside(source, base), (*extended_by, name))
    return _on_top(below, values), name


def _beside(source: str, base: str) -> str:
    """What a file extends lies beside it; a recipe, and a path from here, where nothing does."""
    beside = Path(source).parent / base
    return str(beside) if Path(source).is_file() and beside.is_file() else base


def _on_top(below: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Sections are merged; whatever else is in both is the upper one's."""
    merged = dict(below)
    for key, value in values.items():
        old = merged.get(key)
        merged[key] = _on_top(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _read(source: str) -> tuple[str, str]:
    path = Path(source)
    if path.is_file():
        return path.read_text(encoding="utf-8"), str(path)
    recipe = source.removesuffix(".yaml")
    if recipe in recipe_names():
        return recipe_text(recipe), f"recipe {recipe}"
    known = recipe_names()
    hint = nearest(recipe, [*known, *COMMANDS])
    raise InputError(f"{source}: no such file, and no recipe of that name.{hint} Recipes: {', '.join(known)}.")


def _parse(text: str, name: str) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not readable as YAML: {' '.join(str(error).split())}") from error
    if values is None:
        raise InputError(
            f"{name}: the file is empty: it needs model, output_dir and data. "
            "`empo-train recipes tiny` prints an example."
        )
    if not isinstance(values, dict):
        raise InputError(f"{name}: expected keys and values, found {type(values).__name__}.")
    return values


def _apply(values: dict[str, Any], override: str, origins: dict[str, str]) -> None:
    import yaml

    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"{override!r} is not key=value, for example training.steps=10.")
    *sections, last = key.split(".")
    place = values
    for depth, section in enumerate(sections, start=1):
        inner = place.get(section)
        if not isinstance(inner, dict):
            inner = place[section] = {}
            origins[".".join(sections[:depth])] = COMMAND_LINE
        place = inner
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{override!r}: the value is not readable as YAML.") from error
    origins[key] = COMMAND_LINE


def _check(values: Mapping[str, Any], name: str, origins: Mapping[str, str]) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        details = [dict(detail) for detail in error.errors()]
        raise InputError("\n".join(explain(details, name, origins))) from error

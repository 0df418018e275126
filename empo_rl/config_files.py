"""From a YAML file, or a recipe's name, and `key=value` arguments to a checked `Config`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from empo_rl.config import Config
from empo_rl.extra import require_extra
from empo_rl.recipes import recipe_names, recipe_text
from semantic_entropy import InputError

COMMAND_LINE = "command line"
COMMANDS = ("demo", "recipes")  # what else the first argument of empo-train may be


def load_config(source: str, overrides: Sequence[str] = ()) -> Config:
    """Read a file or a recipe, put the overrides on top, and check."""
    text, name = _read(source)
    require_extra("reading a configuration", ("yaml",))
    values = _parse(text, name)
    origins: dict[str, str] = {}
    for override in overrides:
        _apply(values, override, origins)
    return _check(values, name, origins)


def _read(source: str) -> tuple[str, str]:
    path = Path(source)
    if path.is_file():
        return path.read_text(encoding="utf-8"), str(path)
    recipe = source.removesuffix(".yaml")
    if recipe in recipe_names():
        return recipe_text(recipe), f"recipe {recipe}"
    known = recipe_names()
    close = difflib.get_close_matches(recipe, [*known, *COMMANDS], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise InputError(f"{source}: no such file, and no recipe of that name.{hint} Recipes: {', '.join(known)}.")


def _parse(text: str, name: str) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not readable as YAML: {' '.join(str(error).split())}") from error
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
    for section in sections:
        inner = place.get(section)
        if not isinstance(inner, dict):
            inner = place[section] = {}
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
        problems = [_problem(dict(detail), name, origins) for detail in error.errors()]
        raise InputError("\n".join(problems)) from error


def _problem(detail: Mapping[str, Any], name: str, origins: Mapping[str, str]) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    where = origins.get(key, name)
    if detail["type"] == "extra_forbidden":
        return f"{where}: {_unknown(key)}"
    if detail["type"] == "missing":
        return f"{where}: {key} is missing."
    message = detail["msg"].removeprefix("Value error, ")
    given = f" (given: {detail['input']!r})" if key and not isinstance(detail["input"], Mapping) else ""
    return f"{where}: {f'{key}: ' if key else ''}{message}{given}"


def _unknown(key: str) -> str:
    known = list(config_keys())
    close = difflib.get_close_matches(key, known, n=1) or _same_ending(key, known)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    section = key.rpartition(".")[0]
    prefix = f"{section}." if section else ""
    below = [name.removeprefix(prefix).partition(".")[0] for name in known if name.startswith(prefix)]
    place = f"under {section}" if section else "at the top"
    return f"{key} is not a key.{hint} Keys {place}: {', '.join(dict.fromkeys(below))}."


def _same_ending(key: str, known: Sequence[str]) -> list[str]:
    """The right name in the wrong section: `learning_rate` for `training.learning_rate`."""
    last = key.rpartition(".")[2]
    names = {name.rpartition(".")[2]: name for name in known}
    return [names[match] for match in difflib.get_close_matches(last, list(names), n=1)]


def config_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Every key, nested ones with dots."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from config_keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"

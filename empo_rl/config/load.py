"""Load a YAML file or a recipe, apply `key=value` arguments, and check the result: a `Config`.

`extends: NAME` at the top of a file sets a base configuration. NAME is a file in the same folder, a path from the
working directory, or a recipe. The keys of the file override the keys of the base, section by section. If a file and a
recipe have the same name, the file is used.

An error message names the origin of the key (the file or the command line), the key, the value, and what is allowed or
the nearest existing key. All errors of a configuration are reported together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from empo_rl.config.error_messages import COMMAND_LINE, explain
from empo_rl.config.recipes import recipe_names, recipe_text
from empo_rl.config.schema import Config
from empo_rl.config.yaml_reader import MOST_LEVELS, check_values, parse_yaml, read_config_text
from empo_rl.extras import require_extra
from semantic_entropy import InputError, nearest
from semantic_entropy.plain_text import shorten

COMMANDS = ("demo", "recipes", "samples", "components")  # other possible values of empo-train's first argument


def load_config(source: str, overrides: Sequence[str] = ()) -> Config:
    """Read a file or a recipe, apply the overrides, and check the result.

    Raises:
        InputError: the configuration has problems. The message has one line per problem.
    """
    values, name = read_with_bases(source)
    origins: dict[str, str] = {}
    for override in overrides:
        _apply_override(values, override, origins)
    check_values(values, f"{name} with the {COMMAND_LINE}" if overrides else name)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        details = [dict(detail) for detail in error.errors()]
        raise InputError("\n".join(explain(details, name, origins))) from error


def read_with_bases(source: str) -> tuple[dict[str, Any], str]:
    """The keys of a file or recipe, merged with those of its bases, and its name for messages."""
    return _read_with_bases(source, ())


def _read_with_bases(source: str, extended_by: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    text, name = _read(source)
    if name in extended_by:
        raise InputError(f"{name}: `extends` forms a circle: {' -> '.join([*extended_by, name])}.")
    require_extra("reading a configuration", ("yaml",))
    values = _parse(text, name)
    base = values.pop("extends", None)
    if base is None:
        return values, name
    if not isinstance(base, str):
        raise InputError(f"{name}: extends: expected the name of a recipe or file, found {shorten(repr(base))}.")
    try:
        base_values, _ = _read_with_bases(_base_path(source, base), (*extended_by, name))
    except InputError as error:
        raise InputError(f"{name}: extends: {error}") from error
    return _merge(base_values, values), name


def _base_path(source: str, base: str) -> str:
    """The path of the file `base` in the folder of `source` if this file exists; else `base` itself."""
    sibling = Path(source).parent / base
    return str(sibling) if _is_file(Path(source)) and _is_file(sibling) else base


def _merge(base: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two configurations. Sections are merged key by key; for other keys, `values` overrides `base`."""
    merged = dict(base)
    for key, value in values.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _read(source: str) -> tuple[str, str]:
    path = Path(source)
    if _is_file(path):
        return read_config_text(path), str(path)
    recipe = source.removesuffix(".yaml")
    if recipe in recipe_names():
        return recipe_text(recipe), f"recipe {recipe}"
    known = recipe_names()
    hint = nearest(recipe, [*known, *COMMANDS])
    shown = shorten(source, 200)
    if _is_directory(path):
        raise InputError(f"{shown} is a folder without config.yaml, so it is not the directory of a run. Name a file.")
    raise InputError(f"{shown}: no such file, and no recipe of that name.{hint} Recipes: {', '.join(known)}.")


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long or contains a null character
        return False


def _parse(text: str, name: str) -> dict[str, Any]:
    values = parse_yaml(text, name)
    if values is None:
        raise InputError(
            f"{name}: the file is empty: it needs model, output_dir and data. "
            "`empo-train recipes tiny` prints an example."
        )
    if not isinstance(values, dict):
        raise InputError(f"{name}: expected keys and values, found {type(values).__name__}.")
    return values


def _apply_override(values: dict[str, Any], override: str, origins: dict[str, str]) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"{shorten(override)!r} is not key=value, for example training.steps=10.")
    *sections, last = key.split(".")
    if len(sections) > MOST_LEVELS:
        raise InputError(f"{COMMAND_LINE}: {shorten(key)} has more than {MOST_LEVELS} parts.")
    section_values = values
    for depth, section in enumerate(sections, start=1):
        inner = section_values.get(section)
        if not isinstance(inner, dict):
            origins[".".join(sections[:depth])] = COMMAND_LINE
            inner = {}
        section_values[section] = dict(inner)  # a copy: aliases of YAML share one dict
        section_values = section_values[section]
    section_values[last] = parse_yaml(text, f"{COMMAND_LINE}: {shorten(override)!r}")
    origins[key] = COMMAND_LINE

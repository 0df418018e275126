"""Load a YAML file or a recipe, apply `key=value` arguments, and check the result: a `Config`.

`extends: NAME` at the top of a file sets a base configuration. NAME is a file in the same folder, a path from the
working directory, or a recipe. The keys of the file override the keys of the base, section by section. If a file and a
recipe have the same name, the file is used.

An error message names the origin of the key (the file or the command line), the key, the value, and the nearest
existing key. All errors of a configuration are reported together.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from empo_rl.config.recipes import recipe_names, recipe_text
from empo_rl.config.schema import Config
from empo_rl.extras import require_extra
from semantic_entropy import InputError, nearest

COMMANDS = (
    "demo",
    "recipes",
    "samples",
    "components",
)  # commands: other possible values of empo-train's first argument
_COMMAND_LINE = "command line"


def load_config(source: str, overrides: Sequence[str] = ()) -> Config:
    """Read a file or a recipe, apply the overrides, and check the result.

    Raises:
        InputError: the configuration has problems. The message has one line per problem.
    """
    values, name = read_with_bases(source)
    origins: dict[str, str] = {}
    for override in overrides:
        _apply_override(values, override, origins)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        details = [dict(detail) for detail in error.errors()]
        raise InputError("\n".join(_explain(details, name, origins))) from error


def read_with_bases(source: str) -> tuple[dict[str, Any], str]:
    """The keys of a file or recipe, merged with those of its bases, and its name for messages."""
    return _read_with_bases(source, ())


def config_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """All keys of the configuration. A nested key contains dots, for example `training.steps`."""
    for name, field in model.model_fields.items():
        section = _section_type(field.annotation)
        if section is not None:
            yield from config_keys(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


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
        raise InputError(f"{name}: extends: expected the name of a recipe or file, found {base!r}.")
    base_values, _ = _read_with_bases(_base_path(source, base), (*extended_by, name))
    return _merge(base_values, values), name


def _base_path(source: str, base: str) -> str:
    """The path of the file `base` in the folder of `source` if this file exists; else `base` itself."""
    sibling = Path(source).parent / base
    return str(sibling) if Path(source).is_file() and sibling.is_file() else base


def _merge(base: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two configurations. Sections are merged key by key; for other keys, `values` overrides `base`."""
    merged = dict(base)
    for key, value in values.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
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


def _apply_override(values: dict[str, Any], override: str, origins: dict[str, str]) -> None:
    import yaml

    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"{override!r} is not key=value, for example training.steps=10.")
    *sections, last = key.split(".")
    section_values = values
    for depth, section in enumerate(sections, start=1):
        inner = section_values.get(section)
        if not isinstance(inner, dict):
            inner = section_values[section] = {}
            origins[".".join(sections[:depth])] = _COMMAND_LINE
        section_values = inner
    try:
        section_values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{override!r}: the value is not readable as YAML.") from error
    origins[key] = _COMMAND_LINE


def _explain(details: Sequence[Mapping[str, Any]], name: str, origins: Mapping[str, str]) -> list[str]:
    """A line for each error of pydantic. A misspelt required key is reported only as unknown, not also as missing.

    name: the name of the file.
    origins: key -> "command line", for each key that was given there.
    """
    unknown = [_key(detail) for detail in details if detail["type"] == "extra_forbidden"]
    misspelt = {meant for key in unknown for meant in _nearest_keys(key)}
    reported = [detail for detail in details if detail["type"] != "missing" or _key(detail) not in misspelt]
    return [_problem(detail, name, origins) for detail in reported]


def _key(detail: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in detail["loc"])


def _origin(key: str, name: str, origins: Mapping[str, str]) -> str:
    """The origin of a key, for messages: the command line, the file `name`, or both (for a section)."""
    parts = key.split(".")
    sections = {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    if sections & set(origins):
        return _COMMAND_LINE
    below = f"{key}." if key else ""
    return f"{name} with the {_COMMAND_LINE}" if any(origin.startswith(below) for origin in origins) else name


def _problem(detail: Mapping[str, Any], name: str, origins: Mapping[str, str]) -> str:
    key = _key(detail)
    origin = _origin(key, name, origins)
    if detail["type"] == "extra_forbidden":
        return f"{origin}: {_unknown_key(key)}"
    if detail["type"] == "missing":
        return f"{origin}: {key} is missing."
    message = detail["msg"].removeprefix("Value error, ")
    given = f" (given: {detail['input']!r})" if key and not isinstance(detail["input"], Mapping) else ""
    lines = message.split("\n")
    return "\n".join(f"{origin}: {f'{key}: ' if key else ''}{line}{given}" for line in lines)


def _unknown_key(key: str) -> str:
    known = list(config_keys())
    close = _nearest_keys(key)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    section = key.rpartition(".")[0]
    prefix = f"{section}." if section else ""
    below = [name.removeprefix(prefix).partition(".")[0] for name in known if name.startswith(prefix)]
    place = f"under {section}" if section else "at the top"
    return f"{key} is not a key.{hint} Keys {place}: {', '.join(dict.fromkeys(below))}."


def _nearest_keys(key: str) -> list[str]:
    """At most one key or section: one with similar spelling, or one with a similar last part in another section."""
    keys = list(config_keys())
    sections = {name.rpartition(".")[0] for name in keys} - {""}
    known = [*sorted(sections), *keys]
    if close := difflib.get_close_matches(key, known, n=1):
        return close
    by_last_part = {name.rpartition(".")[2]: name for name in known}
    matches = difflib.get_close_matches(key.rpartition(".")[2], list(by_last_part), n=1)
    return [by_last_part[match] for match in matches]


def _section_type(annotation: Any) -> type[BaseModel] | None:
    """The class of the section, if the value of the key can be a section; None for a plain value."""
    kinds = get_args(annotation) or (annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)

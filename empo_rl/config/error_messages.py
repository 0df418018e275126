"""Explain the errors that pydantic finds in a configuration: one line with the origin, the key, the value and the fix.

command line: training.loss='ppo': expected one of grpo, dr_grpo, bnpo, dapo.
run.yaml: training.stepz is not a key. Did you mean 'training.steps'? Keys under training: steps, epochs, ...
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from empo_rl.config.schema import Config
from semantic_entropy import nearest
from semantic_entropy.plain_text import shorten

COMMAND_LINE = "command line"
_LONGEST_VALUE = 80  # characters of a value in a message

# type of an error of pydantic -> the expected value, with the placeholders of the error's context
_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of at most 64 bits",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text; put a number or a word such as `on` in quotes",
    "list_type": "a list",
    "dict_type": "a section of keys and values",
    "model_type": "a section of keys and values",
    "model_attributes_type": "a section of keys and values",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number of at most {le}",
}


def explain(details: Sequence[Mapping[str, Any]], name: str, origins: Mapping[str, str]) -> list[str]:
    """One or more lines for each wrong key. A misspelt required key is reported as unknown, not also as missing.

    Args:
        details: the errors of a pydantic `ValidationError`.
        name: the name of the file, for messages.
        origins: key -> "command line", for each key that was given there.
    """
    unknown = [_full_key(detail) for detail in details if detail["type"] == "extra_forbidden"]
    misspelt = {meant for key in unknown for meant in _nearest_keys(key)}
    values: dict[str, list[Mapping[str, Any]]] = {}  # a key with several allowed types has an error for each type
    lines = []
    for detail in details:
        if detail["type"] == "extra_forbidden":
            lines.append(f"{_origin(_full_key(detail), name, origins)}: {_unknown_key(_full_key(detail))}")
        elif detail["type"] == "missing":
            key = _full_key(detail)
            lines += [] if key in misspelt else [f"{_origin(key, name, origins)}: {key} is missing."]
        else:
            values.setdefault(_schema_key(detail["loc"]), []).append(detail)
    return [*lines, *(line for key, found in values.items() for line in _wrong_value(key, found, name, origins))]


def expected_value(detail: Mapping[str, Any]) -> str:
    """The value that pydantic expected, in words, for example "a number greater than 0"."""
    context = detail.get("ctx", {})
    if detail["type"] == "literal_error":
        return f"one of {', '.join(_alternatives(detail))}"
    if detail["type"] in _EXPECTED:
        return _EXPECTED[detail["type"]].format(**context)
    return str(detail["msg"])


def config_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """All keys of the configuration. A nested key contains dots, for example `training.steps`."""
    for name, field in model.model_fields.items():
        section = _section_type(field.annotation)
        if section is not None:
            yield from config_keys(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _wrong_value(
    key: str, details: Sequence[Mapping[str, Any]], name: str, origins: Mapping[str, str]
) -> Iterator[str]:
    origin = _origin(key, name, origins)
    value = details[0]["input"]
    for detail in details:
        if detail["type"] == "value_error":  # a message of this package, with a line for each problem
            given = f" (given: {_shown(value)})" if key and not isinstance(value, Mapping) else ""
            for line in str(detail["msg"]).removeprefix("Value error, ").split("\n"):
                yield f"{origin}: {f'{key}: ' if key else ''}{line}{given}"
    others = [detail for detail in details if detail["type"] != "value_error"]
    if not others:
        return
    wanted = " or ".join(dict.fromkeys(expected_value(detail) for detail in others))
    choices = [choice for detail in others for choice in _alternatives(detail)]
    yield f"{origin}: {key}={_shown(value)}: expected {wanted}.{nearest(str(value), choices)}"


def _alternatives(detail: Mapping[str, Any]) -> list[str]:
    """The allowed words of a `Literal`; an empty list for other errors."""
    return re.findall(r"'([^']*)'", detail["ctx"]["expected"]) if detail["type"] == "literal_error" else []


def _shown(value: Any) -> str:
    return shorten(repr(value), _LONGEST_VALUE)


def _full_key(detail: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in detail["loc"])


def _schema_key(location: Sequence[Any]) -> str:
    """The key of the schema at a location of pydantic, which may end with the name of a type (`str`, `list[str]`)."""
    known = {*config_keys(), *_sections()}
    parts = [str(part) for part in location]
    return next((key for end in range(len(parts), 0, -1) if (key := ".".join(parts[:end])) in known), "")


def _origin(key: str, name: str, origins: Mapping[str, str]) -> str:
    """The origin of a key, for messages: the command line, the file `name`, or both (for a section)."""
    parts = key.split(".")
    sections = {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    if sections & set(origins):
        return COMMAND_LINE
    below = f"{key}." if key else ""
    return f"{name} with the {COMMAND_LINE}" if any(origin.startswith(below) for origin in origins) else name


def _unknown_key(key: str) -> str:
    known = list(config_keys())
    close = _nearest_keys(key)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    section = key.rpartition(".")[0]
    prefix = f"{section}." if section else ""
    below = [name.removeprefix(prefix).partition(".")[0] for name in known if name.startswith(prefix)]
    place = f"under {section}" if section else "at the top"
    return f"{shorten(key, _LONGEST_VALUE)} is not a key.{hint} Keys {place}: {', '.join(dict.fromkeys(below))}."


def _nearest_keys(key: str) -> list[str]:
    """At most one key or section: one with similar spelling, or one with a similar last part in another section."""
    known = [*sorted(_sections()), *config_keys()]
    by_name = {name.casefold(): name for name in known}
    by_last_part = {name.rpartition(".")[2].casefold(): name for name in known}
    for word, names in ((key, by_name), (key.rpartition(".")[2], by_last_part)):
        if close := difflib.get_close_matches(word.casefold(), names, n=1):
            return [names[close[0]]]
    return []


def _sections() -> set[str]:
    """The names of all sections, for example `data` and `data.columns`."""
    parts = [name.split(".") for name in config_keys()]
    return {".".join(part[:depth]) for part in parts for depth in range(1, len(part))}


def _section_type(annotation: Any) -> type[BaseModel] | None:
    """The class of the section, if the value of the key can be a section; None for a plain value."""
    kinds = get_args(annotation) or (annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)

"""What is wrong with a configuration, in sentences: who said it, the key, and the key that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from empo_rl.config.schema import Config

COMMAND_LINE = "command line"


def explain(details: Sequence[Mapping[str, Any]], name: str, origins: Mapping[str, str]) -> list[str]:
    """A line for each of pydantic's errors. A key that is missing because it is misspelt is told once.

    `name` is the file's; `origins` holds the keys, with dots, that came from elsewhere.
    """
    unknown = [_key(detail) for detail in details if detail["type"] == "extra_forbidden"]
    misspelt = {meant for key in unknown for meant in _nearest(key)}
    told = [detail for detail in details if detail["type"] != "missing" or _key(detail) not in misspelt]
    return [_problem(detail, name, origins) for detail in told]


def _key(detail: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in detail["loc"])


def _where(key: str, name: str, origins: Mapping[str, str]) -> str:
    """Who said it: the command line where it gave the key, or the section the key is in; else the file."""
    parts = key.split(".")
    sections = {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    if sections & set(origins):
        return COMMAND_LINE
    below = f"{key}." if key else ""
    return f"{name} with the {COMMAND_LINE}" if any(origin.startswith(below) for origin in origins) else name


def _problem(detail: Mapping[str, Any], name: str, origins: Mapping[str, str]) -> str:
    key = _key(detail)
    where = _where(key, name, origins)
    if detail["type"] == "extra_forbidden":
        return f"{where}: {_unknown(key)}"
    if detail["type"] == "missing":
        return f"{where}: {key} is missing."
    message = detail["msg"].removeprefix("Value error, ")
    given = f" (given: {detail['input']!r})" if key and not isinstance(detail["input"], Mapping) else ""
    lines = message.split("\n")
    return "\n".join(f"{where}: {f'{key}: ' if key else ''}{line}{given}" for line in lines)


def _unknown(key: str) -> str:
    known = list(config_keys())
    close = _nearest(key)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    section = key.rpartition(".")[0]
    prefix = f"{section}." if section else ""
    below = [name.removeprefix(prefix).partition(".")[0] for name in known if name.startswith(prefix)]
    place = f"under {section}" if section else "at the top"
    return f"{key} is not a key.{hint} Keys {place}: {', '.join(dict.fromkeys(below))}."


def _all_keys() -> list[str]:
    """The sections too: `dta` is a misspelt `data`."""
    known = list(config_keys())
    sections = {key.rpartition(".")[0] for key in known} - {""}
    return [*sorted(sections), *known]


def _nearest(key: str) -> list[str]:
    known = _all_keys()
    return difflib.get_close_matches(key, known, n=1) or _same_ending(key, known)


def _same_ending(key: str, known: Sequence[str]) -> list[str]:
    """The right name in the wrong section: `learning_rate` for `training.learning_rate`."""
    last = key.rpartition(".")[2]
    names = {name.rpartition(".")[2]: name for name in known}
    return [names[match] for match in difflib.get_close_matches(last, list(names), n=1)]


def config_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Every key, nested ones with dots."""
    for name, field in model.model_fields.items():
        kind = _section(field.annotation)
        if kind is not None:
            yield from config_keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section that a key holds, or may hold; None for a value."""
    kinds = get_args(annotation) or (annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)

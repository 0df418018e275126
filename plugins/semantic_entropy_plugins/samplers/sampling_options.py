"""Checks of what a sampler with a model of its own is given: what cannot be is refused at construction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from semantic_entropy.plugin import errors

_HOTTEST = 100.0  # a temperature above it is a mistake


def checked_temperature(owner: str, value: Any) -> float:
    """A finite number of at least 0. Raises OptionError."""
    if not _is_number(value) or not 0 <= value <= _HOTTEST:
        raise errors.OptionError(f"{owner}: temperature={value!r} must be a number of at least 0 (the likeliest token)")
    return float(value)


def checked_top_p(owner: str, value: Any) -> float:
    """A number in (0, 1]. Raises OptionError."""
    if not _is_number(value) or not 0 < value <= 1:
        raise errors.OptionError(f"{owner}: top_p={value!r} must be a number above 0 and at most 1 (all tokens)")
    return float(value)


def checked_whole(owner: str, name: str, value: Any, *, optional: bool = False) -> Any:
    """A whole number of at least 1, or None where that is an option. Raises OptionError."""
    if (value is None and optional) or (type(value) is int and value >= 1):
        return value
    or_none = " or None" if optional else ""
    raise errors.OptionError(f"{owner}: {name}={value!r} must be a whole number of at least 1{or_none}")


def checked_seed(owner: str, value: Any) -> int | None:
    """A whole number or None. Raises OptionError."""
    if value is None or type(value) is int:
        return value
    raise errors.OptionError(f"{owner}: seed={value!r} must be a whole number, or None for other samples each time")


def checked_text(owner: str, name: str, value: Any) -> str | None:
    """A text with content, or None. Raises OptionError."""
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise errors.OptionError(f"{owner}: {name}={value!r} must be a text that is not empty, or None")


def checked_stops(owner: str, value: Any) -> tuple[str, ...]:
    """One stop string, several, or none. Raises OptionError."""
    stops: Any = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(stops, Sequence) or not all(isinstance(one, str) and one for one in stops):
        raise errors.OptionError(f"{owner}: stop={value!r} must be a text that is not empty, or a list of such texts")
    return tuple(stops)


def checked_logprobs(owner: str, value: Any) -> str | bool:
    """Whose: "drawn" (for True, too), "model", or False for none. Raises OptionError."""
    if isinstance(value, bool):
        return "drawn" if value else False
    if value in ("drawn", "model"):
        return str(value)
    raise errors.OptionError(
        f"{owner}: logprobs={value!r} is unknown.{errors.nearest(str(value), ['drawn', 'model'])} Use 'drawn' (of the "
        "distribution that was drawn from), 'model' (the model's own, at temperature 1), or False"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

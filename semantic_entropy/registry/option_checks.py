"""Checks of a component's options before the component is built: their names, and their types where it states them.

A parameter states its type with an annotation of `int`, `float`, `bool`, `str` and `None`, such as `int | None`. All
other annotations say nothing here: the component checks these options itself.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

from semantic_entropy.errors import OptionError, nearest

_TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("a whole number", lambda value: isinstance(value, Integral) and not isinstance(value, bool)),
    "float": ("a number", lambda value: isinstance(value, Real) and not isinstance(value, bool)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "str": ("a text", lambda value: isinstance(value, str | os.PathLike)),
    "None": ("None", lambda value: value is None),
}


def check_options(kind: str, name: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Check the options of a component.

    Raises:
        OptionError: an option does not exist, has another type than the factory states, or is missing. The message
            lists the existing options.
    """
    parameters = _parameters(factory)
    if parameters is None:
        return
    written = ", ".join(map(_written, parameters.values())) or "none"
    for option, value in options.items():
        if option not in parameters:
            raise OptionError(
                f"{kind} {name!r} has no option {option!r}.{nearest(option, parameters)} Its options: {written}"
            )
        if expected := _expected_type(parameters[option].annotation, value):
            raise OptionError(f"{kind} {name!r}: {option}={value!r:.200} must be {expected}")
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise OptionError(f"{kind} {name!r} needs the option {option!r}. Its options: {written}")


def _expected_type(annotation: Any, value: Any) -> str | None:
    """Return the stated type, such as "a whole number or None", if the value does not have it; else None."""
    stated = [part.strip() for part in str(getattr(annotation, "__name__", annotation)).split("|")]
    if not all(part in _TYPES for part in stated) or any(_TYPES[part][1](value) for part in stated):
        return None
    return " or ".join(_TYPES[part][0] for part in stated)


def _written(parameter: inspect.Parameter) -> str:
    return parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default!r}"


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """Return the options of a factory by name; None if it accepts any option."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some factories written in C have no signature
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}

"""Checks the options of judges and samplers, and describes a component with its options as text.

Every check returns the value or raises `OptionError` with the owner, the option, the value and the values allowed.
The checks run at construction, so that a wrong option is reported before a model is loaded or a request is sent.

Left out: the options of the HTTP client (address, prices, request body). The folder `endpoint` checks them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from typing import Any, TypeVar, cast

from semantic_entropy.plugin import errors

HIGHEST_TEMPERATURE = 100.0  # a larger value is taken for a mistake
_LARGEST = 1e15  # the default upper limit: it excludes infinity, and messages do not show it

_N = TypeVar("_N", bound=float | None)
_S = TypeVar("_S", bound=str | None)


def checked_number(
    owner: str,
    name: str,
    value: _N,
    least: float,
    *,
    most: float = _LARGEST,
    whole: bool = False,
    above: bool = False,
    optional: bool = False,
) -> _N:
    """The value as an int or a float; a NumPy number is converted.

    Args:
        owner: the component's name, for the message.
        name: the option's name, for the message.
        value: the value to check.
        least: the lower limit.
        most: the upper limit.
        whole: only integers are allowed.
        above: the value must be greater than `least`, not equal to it.
        optional: None is allowed.

    Raises:
        OptionError: the value is not a number, is not finite, or is outside the limits.
    """
    if value is None and optional:
        return value
    number: Any = value
    if _is_number(number, whole=whole) and least <= number <= most and not (above and number == least):
        return cast("_N", int(number) if isinstance(number, Integral) else float(number))
    kind = "a whole number" if whole else "a number"
    limits = f"above {least:.15g}" if above else f"of at least {least:.15g}"
    limits += "" if most >= _LARGEST else f" and at most {most:.15g}"
    raise errors.OptionError(f"{owner}: {name}={value!r} must be {kind} {limits}{' or None' * optional}")


def _is_number(value: object, *, whole: bool) -> bool:
    return isinstance(value, Integral if whole else Real) and not isinstance(value, bool)


def checked_temperature(owner: str, value: _N, *, optional: bool = False) -> _N:
    """A sampling temperature; 0 means greedy decoding. Raises OptionError."""
    return checked_number(owner, "temperature", value, 0, most=HIGHEST_TEMPERATURE, optional=optional)


def checked_top_p(owner: str, value: _N, *, optional: bool = False) -> _N:
    """The probability mass of nucleus sampling, in (0, 1]; 1 means all tokens. Raises OptionError."""
    return checked_number(owner, "top_p", value, 0, most=1, above=True, optional=optional)


def checked_seed(owner: str, value: int | None) -> int | None:
    """An integer, or None for different samples each time. Raises OptionError."""
    if value is None or _is_number(value, whole=True):
        return None if value is None else int(value)
    raise errors.OptionError(f"{owner}: seed={value!r} must be a whole number, or None for different samples each time")


def checked_text(owner: str, name: str, value: _S, *, optional: bool = False) -> _S:
    """A text that is not blank, or None if `optional` is true. Raises OptionError."""
    if (value is None and optional) or (isinstance(value, str) and value.strip()):
        return value
    raise errors.OptionError(f"{owner}: {name}={value!r} must be a text that is not empty{' or None' * optional}")


def checked_choice(owner: str, name: str, value: _S, choices: Iterable[str]) -> _S:
    """The value, if it is one of the choices. Raises OptionError, which suggests the most similar choice."""
    known = list(choices)
    if isinstance(value, str) and value in known:
        return value
    raise errors.OptionError(
        f"{owner}: {name}={value!r} is unknown.{errors.nearest(str(value), known)} Use one of: {', '.join(known)}"
    )


def checked_stops(owner: str, value: str | Sequence[str] | None) -> tuple[str, ...]:
    """The stop strings as a tuple; the value is one text, a list of texts, or None. Raises OptionError."""
    stops: Any = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(stops, Sequence) or not all(isinstance(stop, str) and stop for stop in stops):
        raise errors.OptionError(f"{owner}: stop={value!r} must be a text that is not empty, or a list of such texts")
    return tuple(stops)


def checked_logprobs(owner: str, value: str | bool) -> str | bool:
    """The option `logprobs`: "drawn" (also for True) or "model", the distribution of the log-probabilities; or False.

    Raises:
        OptionError: the value is not allowed.
    """
    if isinstance(value, bool):
        return "drawn" if value else False
    if value in ("drawn", "model"):
        return value
    raise errors.OptionError(
        f"{owner}: logprobs={value!r} is unknown.{errors.nearest(str(value), ['drawn', 'model'])} Use 'drawn' (the "
        "distribution that the tokens were drawn from), 'model' (the model's distribution at temperature 1), or False"
    )


def describe_component(component: type, name: str, options: Mapping[str, Any]) -> str:
    """The component's name, followed by the options that are not its defaults: `name(option=value, ...)`.

    Args:
        component: the class with these options as its parameters. Do not pass `type(self)`: a subclass may have other
            parameters.
        name: the component's name.
        options: the values, by parameter name.
    """
    defaults = _defaults(component)
    shown = [f"{option}={value!r}" for option, value in options.items() if value != defaults[option]]
    return f"{name}({', '.join(shown)})" if shown else name


@cache
def _defaults(component: type) -> Mapping[str, Any]:
    return {parameter.name: parameter.default for parameter in inspect.signature(component).parameters.values()}

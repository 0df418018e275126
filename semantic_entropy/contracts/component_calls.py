"""Calls of components of every kind: an exception, a description or a version of a component names the component."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from semantic_entropy.errors import PluginError, SemanticEntropyError
from semantic_entropy.types import Usage

_MOST_TOKENS = 2**53  # above, a float or a file of 64-bit integers cannot hold a sum
_ROUNDING = 1e-6  # scores and probabilities in float32 exceed their limits by less


def call_component(
    what: str,
    method: Callable[..., Any],
    *arguments: Any,
    error: type[SemanticEntropyError] = PluginError,
    during: str = "",
) -> Any:
    """Call a component. Return what it returns.

    Args:
        what: the kind and the name of the component, such as "judge 'nli'".
        method: the method to call.
        *arguments: the arguments of the method.
        error: the error to raise if the component raises an error that is not of this package.
        during: the call, for the message.

    Raises:
        SemanticEntropyError: the component raised it, or `error`: the component raised another exception, or called
            `sys.exit`.
    """
    try:
        return method(*arguments)
    except SemanticEntropyError:
        raise
    except (Exception, SystemExit) as raised:
        raise error(raised_message(what, raised, during)) from raised


def check_component(kind: str, component: Any) -> None:
    """Check the attributes that every kind has. Raise PluginError if `name` or `rules` cannot be used."""
    if not isinstance(component.name, str) or not component.name:
        raise PluginError(
            f"{kind} {type(component).__name__}: name is {component.name!r:.200}; it is a text, not empty"
        )
    if type(component.rules) is not int or component.rules < 1:
        raise PluginError(f"{kind} {component.name!r}: rules is {component.rules!r:.200}; it is a whole number from 1")


def describe(kind: str, component: Any) -> str:
    """Return `component.describe()`. Raise PluginError if it is not a text."""
    what = f"{kind} {component.name!r}"
    text = call_component(what, component.describe, during="describe()")
    if not isinstance(text, str) or not text:
        raise PluginError(f"{what}: describe() returned {text!r:.200}; return a text that is not empty")
    return text


def component_versions(kind: str, component: Any) -> dict[str, str]:
    """Return `component.versions`, from names to versions as texts. Raise PluginError if it is not a mapping."""
    what = f"{kind} {component.name!r}"
    versions = call_component(what, lambda: component.versions, during="versions")
    if not isinstance(versions, Mapping):
        raise PluginError(f"{what}: versions is {versions!r:.200}; return a mapping, such as {{'torch': '2.9'}}")
    return {str(name): str(version) for name, version in versions.items()}


def raised_message(what: str, error: BaseException, during: str) -> str:
    """Return the message for an exception of a component."""
    return f"{what} raised {type(error).__name__}: {error}" + (f" in {during}" if during else "")


def shown(value: object) -> str:
    """Return the beginning of the value's repr for a message. A component's own `__repr__` may raise."""
    try:
        return f"{value!r:.200}"
    except Exception:  # noqa: BLE001  # any code of a component
        return f"<{type(value).__name__}, whose repr raises>"


def is_usage(value: Any) -> bool:
    """Whether the value is None or a `Usage` whose numbers are finite and not negative."""
    if value is None:
        return True
    if not isinstance(value, Usage):
        return False
    counts: tuple[Any, ...] = (value.requests, value.input_tokens, value.output_tokens)
    cost: Any = value.cost
    return all(isinstance(count, Integral) and 0 <= int(count) <= _MOST_TOKENS for count in counts) and (
        cost is None or (isinstance(cost, Real) and 0 <= as_float(cost) < math.inf)
    )


def are_hashable(keys: Sequence[object]) -> bool:
    """Whether all values have a hash."""
    try:
        set(keys)
    except TypeError:
        return False
    return True


def share(value: Any) -> Any:
    """Return a number in [0, 1] as a float, without its rounding error; another value unchanged."""
    if type(value) is float and 0.0 <= value <= 1.0:  # the usual case, checked fast
        return value
    number = as_float(value) if isinstance(value, Real) else math.nan
    return min(1.0, max(0.0, number)) if -_ROUNDING <= number <= 1 + _ROUNDING else value


def as_float(number: Real | float) -> float:
    """Return the number as a float; inf if it is too large for a float; nan if it is a broken number of a component."""
    try:
        return float(number)
    except OverflowError:
        return math.inf
    except Exception:  # noqa: BLE001  # its own `__float__`
        return math.nan

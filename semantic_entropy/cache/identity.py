"""The identity of a component in results, in cache files and in sample stores.

Judges (`Equivalence`) and samplers (`Sampler`) share the base class `Identified`. A cache file finds verdicts by the
judge's class (`class_identity`), `rules`, `settings` and `versions`. A sample store finds samples by the sampler's
class, `rules` and `settings`.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Mapping
from types import FunctionType
from typing import Any, ClassVar


class PrivateSettings:
    """Settings that mean one object of this process: they are equal to nothing else.

    Files do not store verdicts with such settings. The cache in memory stores them until the settings are deleted.
    """

    __slots__ = ("__weakref__",)

    def __repr__(self) -> str:
        return "PrivateSettings()"  # equal in every process: `describe_identity` digests settings that contain it


def class_identity(component_class: type) -> tuple[str, str]:
    """Return the (module, qualified name) of a component class for the keys of cache files and sample stores.

    The default is the module and the name of the class. A class that was moved or renamed keeps its old identity with
    `cache_identity = "old.module:OldName"`, so that results stored before the move are still found. Subclasses do not
    inherit `cache_identity`, because their verdicts and samples can differ.
    """
    pinned = component_class.__dict__.get("cache_identity")
    if pinned is None:
        return component_class.__module__, component_class.__qualname__
    module, _, name = pinned.partition(":")
    return module, name


def describe_function(function: Any) -> str:
    """Return "module:qualified name" of a function that `def` made. A change of its code is not seen.

    A `functools.partial` with plain arguments has its arguments too. All other callables (a lambda, a function with
    values of its surroundings, a method, an object) get a text that no other call returns, because their name does not
    say what they do.
    """
    if isinstance(function, functools.partial):
        values = (*function.args, *function.keywords.values())
        if all(isinstance(value, str | int | float | None) for value in values):
            return f"{describe_function(function.func)} with {function.args!r}, {function.keywords!r}"
    name = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', type(function).__qualname__)}"
    is_named = isinstance(function, FunctionType) and function.__name__ != "<lambda>" and function.__closure__ is None
    return name if is_named else f"{name} {_of_this_run()}"


def _of_this_run() -> str:
    return f"(an object without a name or settings, {os.urandom(4).hex()})"


def describe_identity(component: Any) -> dict[str, str]:
    """Return what tells a component from others, for output files: its name with options, its class, its settings.

    The settings are a digest; for a judge that is a plain function, they are `describe_function`. An object without
    settings is equal to no other object if its class takes options, because nothing says which options it has.
    """
    identity = {"name": component.describe(), "class": ":".join(class_identity(type(component)))}
    settings = getattr(component, "settings", None)
    if isinstance(settings, PrivateSettings):
        if function := getattr(component, "function", None):
            return {**identity, "settings": f"{describe_function(function)} {component.policy}"}
        return {**identity, "settings": _of_this_run()} if inspect.signature(type(component)).parameters else identity
    if settings is None:
        return identity
    return {**identity, "settings": hashlib.sha256(repr(settings).encode(errors="replace")).hexdigest()[:16]}


class Identified:
    """Base class of judges and samplers: a name, a description, versions, and an identity for files."""

    name: str = ""
    """The name in results; default: the name of the class."""
    cache_identity: ClassVar[str | None] = None
    """The old "module:Name" of a class that was moved or renamed; None: not moved. See `class_identity`."""
    rules: int = 1
    """The version of the component's rules. Raise it when the same settings and input can give another result: stored
    verdicts and samples of older rules are then not used, and a run of older rules is not continued. Leave it as it is
    in all other releases, so that an upgrade throws no paid work away."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.name and Identified not in cls.__bases__:
            cls.name = cls.__name__

    @property
    def versions(self) -> Mapping[str, str]:
        """Return the versions of the libraries and models that change the results, such as {"math-verify": "0.8.0"}."""
        return {}

    def describe(self) -> str:
        """Return the name with the options that differ from their defaults. `Provenance` contains this text."""
        return self.name

    def __repr__(self) -> str:
        try:
            return f"<{self.describe()}>"
        except AttributeError:  # a traceback may show an object whose __init__ has not finished
            return f"<{self.name}>"

    def close(self) -> None:
        """Release worker processes, models and connections. A second call does nothing. Default: do nothing."""

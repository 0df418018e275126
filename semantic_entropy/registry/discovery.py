"""Discovery: from entry points to named components, one broken plugin never taking the others down.

Each entry point of the group `semantic_entropy` is loaded by itself; what fails to import, or whose hook raises, is
listed as failed with its reason. Two plugins may announce one name: an error only when that name is asked for, which
says how to choose (`distribution/name`). `SEMANTIC_ENTROPY_DISABLE_PLUGINS=a,b` blocks entry points or distributions by
name.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

from semantic_entropy.errors import (
    AmbiguousComponentError,
    InputError,
    MissingDependencyError,
    OptionError,
    PluginError,
    SemanticEntropyError,
    UnknownComponentError,
    nearest,
)
from semantic_entropy.registry.hookspecs import KINDS, PROJECT, Component

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

DISABLE = "SEMANTIC_ENTROPY_DISABLE_PLUGINS"


@dataclass(frozen=True, slots=True)
class Entry:
    """A component and the distribution it came from (`in-process` where `register` brought it)."""

    kind: str
    component: Component
    source: str

    @property
    def full_name(self) -> str:
        """`distribution/name`, which is never ambiguous between distributions."""
        return f"{self.source}/{self.component.name}"

    def missing(self) -> list[str]:
        """The modules it requires that are not installed."""
        return [module for module in self.component.requires if not _importable(module)]


@dataclass(frozen=True, slots=True)
class Failure:
    """A plugin that is there but does not work."""

    plugin: str
    source: str
    reason: str


IN_PROCESS = "in-process"


class Registry:
    """All components of all kinds. Discovery happens at the first question."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._failures: list[Failure] = []
        self._discovered = False
        self._lock = threading.RLock()

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Every component, of one kind or of all."""
        self._discover()
        return [entry for entry in self._entries if kind in (None, entry.kind)]

    def failures(self) -> list[Failure]:
        """Every plugin that could not be loaded, and why."""
        self._discover()
        return list(self._failures)

    def register(self, kind: str, name: str, factory: Callable[..., Any], summary: str = "") -> None:
        """Add a component from this process; it comes before one of the same name from a plugin."""
        _check_kind(kind)
        if not name or "/" in name:
            raise InputError(f"register: {name!r} is not a name: it may not be empty nor hold a slash")
        if not callable(factory):
            raise InputError(f"register: the factory of {name!r} must be callable, not {factory!r}")
        with self._lock:
            self._discover()
            mine = (kind, name, IN_PROCESS)
            self._entries = [e for e in self._entries if (e.kind, e.component.name, e.source) != mine]
            self._entries.append(Entry(kind, Component(name, lambda: factory, summary), IN_PROCESS))

    def create(self, kind: str, name: str, **options: Any) -> Any:
        """Load the component of this name and build it with these options.

        Raises:
            UnknownComponentError: no such name; lists what exists and what failed.
            AmbiguousComponentError: two plugins offer it; lists the full names to choose from.
            MissingDependencyError: as `require`.
            PluginError: its `load` raised.
            OptionError: no such option, or one is missing; lists those that exist.
        """
        entry = self.find(kind, name)
        self.require(kind, [name])
        try:
            factory = entry.component.load()
        except Exception as error:
            raise PluginError(f"{kind} {entry.full_name!r} could not be loaded: {_reason(error)}") from error
        if not callable(factory):
            raise PluginError(f"{kind} {entry.full_name!r}: its load() returned {factory!r}, which cannot be called")
        _check_options(kind, name, factory, options)
        try:
            return factory(**options)
        except SemanticEntropyError:
            raise
        except (TypeError, ValueError) as error:
            raise OptionError(f"{kind} {name!r} refuses its options ({', '.join(options)}): {error}") from error
        except Exception as error:
            raise PluginError(f"{kind} {entry.full_name!r} could not be built: {_reason(error)}") from error

    def require(self, kind: str, names: Iterable[str]) -> None:
        """Raise MissingDependencyError where components lack what they need: all of it, and one command for all."""
        lacking = {
            entry: missing for entry in (self.find(kind, name) for name in names) if (missing := entry.missing())
        }
        if not lacking:
            return
        who = "; ".join(f"{kind} {entry.component.name!r} needs {', '.join(lacking[entry])}" for entry in lacking)
        extras = dict.fromkeys(entry.component.extra or " ".join(missing) for entry, missing in lacking.items())
        torch = any("torch" in missing for missing in lacking.values())
        which = " (which torch that brings, and how to choose another: docs/install.md)" if torch else ""
        raise MissingDependencyError(f"{who}: pip install {' '.join(map(repr, extras))}{which}")

    def find(self, kind: str, name: str) -> Entry:
        """The component of this name, or of this full name (`distribution/name`). Raises as `create`."""
        _check_kind(kind)
        if not isinstance(name, str):
            raise InputError(f"{kind}={name!r} is not a name")
        entries = self.entries(kind)
        found = [e for e in entries if name in (e.component.name, e.full_name)]
        own = [e for e in found if e.source == IN_PROCESS]
        if len(found) == 1 or own:
            return (own or found)[0]
        if found:
            choices = ", ".join(repr(e.full_name) for e in found)
            raise AmbiguousComponentError(f"{kind} {name!r} is offered more than once: ask for one of {choices}")
        names = sorted({e.component.name for e in entries})
        failed = "".join(f"\n  failed to load: {f.plugin} ({f.source}): {f.reason}" for f in self._failures)
        raise UnknownComponentError(
            f"no {kind} named {name!r}.{nearest(name, names)} There are: {', '.join(names)}.{failed}\n"
            f"A plugin brings more: pip install one that has an entry point in the group {PROJECT!r}."
        )

    def _discover(self) -> None:
        with self._lock:
            if self._discovered:
                return
            self._discovered = True
            from importlib.metadata import entry_points  # a fifth of this package's import time

            disabled = {name.strip() for name in os.environ.get(DISABLE, "").split(",") if name.strip()}
            for point in sorted(entry_points(group=PROJECT), key=lambda p: (_distribution(p), p.name)):
                if not disabled & {point.name, _distribution(point)}:
                    self._load(point)

    def _load(self, point: EntryPoint) -> None:
        try:
            self._entries += _announced(point)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a stranger's module: whatever it raises is its failure, listed, and not ours
            self._failures.append(Failure(point.name, _distribution(point), _reason(error)))


def _announced(point: EntryPoint) -> list[Entry]:
    """Load one plugin, check its hooks against the specification, and call them."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(importlib.import_module("semantic_entropy.registry.hookspecs"))
    manager.register(point.load(), name=point.name)
    manager.check_pending()
    found = []
    for kind, spec in KINDS.items():
        for components in getattr(manager.hook, spec.__name__)():
            found += [Entry(kind, _checked(component), _distribution(point)) for component in components]
    if not found:
        raise PluginError(f"it implements none of the hooks: {', '.join(s.__name__ for s in KINDS.values())}")
    return found


def _checked(component: Any) -> Component:
    """A stranger's word for it, looked at."""
    if not isinstance(component, Component):
        raise PluginError(f"a hook returned {component!r}; it must return a list of Component")
    name: Any = component.name
    if not isinstance(name, str) or not name or "/" in name:
        raise PluginError(f"a component is named {name!r}: a name is a str, not empty and without a slash")
    requires: Any = component.requires
    if isinstance(requires, str) or not callable(component.load):
        raise PluginError(f"component {name!r}: requires is a tuple of module names, and load can be called")
    return component


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a parent that is missing, or a name that cannot be one
        return False


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InputError(f"kind={kind!r} is unknown: use one of {', '.join(KINDS)}")


def _check_options(kind: str, name: str, factory: Callable[..., Any], options: dict[str, Any]) -> None:
    parameters = options_of(factory)
    if parameters is None:
        return
    for option in options:
        if option not in parameters:
            exist = ", ".join(parameters.values()) or "none"
            raise OptionError(
                f"{kind} {name!r} has no option {option!r}.{nearest(option, parameters)} Its options: {exist}"
            )
    for option, value in options.items():
        if wrong := _wrong_kind(inspect.signature(factory).parameters[option], value):
            raise OptionError(f"{kind} {name!r}: {option}={value!r} must be {wrong}")
    needed = [o for o, shown in parameters.items() if "=" not in shown and o not in options]
    if needed:
        raise OptionError(
            f"{kind} {name!r} needs the option {needed[0]!r}. Its options: {', '.join(parameters.values())}"
        )


def _wrong_kind(parameter: inspect.Parameter, value: Any) -> str | None:
    """What a text must be instead, where the option is plainly a number or a truth value: a command line has texts."""
    if not isinstance(value, str):
        return None
    declared = getattr(parameter.annotation, "__name__", parameter.annotation)
    kinds = {"float": "a number", "int": "a whole number", "bool": "true or false"}
    return kinds.get(str(declared).removesuffix(" | None"))


def options_of(factory: Callable[..., Any]) -> dict[str, str] | None:
    """Option name -> how to write it (`order='canonical'`); None where the factory takes anything."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some built in C have none
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in named}


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


_default = Registry()


def default_registry() -> Registry:
    """The one registry of this process."""
    return _default

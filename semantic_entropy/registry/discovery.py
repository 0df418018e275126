"""Find plugins by their entry points, and build their components by name.

A `Registry` has the components of one entry-point group. The registry of the group `semantic_entropy` has judges,
clusterers, estimators and samplers. A package with other kinds of component makes its own registry:

    hookspec = pluggy.HookspecMarker("my_package")

    @hookspec
    def my_package_rewards() -> Iterable[Component]: ...

    registry = Registry("my_package", {"reward": my_package_rewards})
    registry.create("reward", "length", weight=2.0)

Each entry point is loaded separately. If a plugin cannot be imported or its hook raises, the registry lists the plugin
as failed, with the reason; all other plugins work. Two plugins may offer the same name. This is an error only if a user
asks for that name, and the message lists the full names (`distribution/name`) to choose from. The environment variable
`SEMANTIC_ENTROPY_DISABLE_PLUGINS=a,b` disables the entry points or distributions a and b.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import threading
from collections.abc import Callable, Iterable, Mapping
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
from semantic_entropy.registry.hookspecs import KINDS, MOVED_KINDS, PROJECT, Component, MovedKind

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

DISABLE = "SEMANTIC_ENTROPY_DISABLE_PLUGINS"
IN_PROCESS = "in-process"
_Factory = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A component and the name of its distribution (`in-process` if the component was added by `register`)."""

    kind: str
    component: Component
    source: str

    @property
    def full_name(self) -> str:
        """`distribution/name`: unique even if two distributions offer the same name."""
        return f"{self.source}/{self.component.name}"

    def missing(self) -> list[str]:
        """Return the required modules of the component that are not installed."""
        return [module for module in self.component.requires if not _importable(module)]


@dataclass(frozen=True, slots=True)
class Failure:
    """A plugin that failed, or a part of a plugin that failed, with the reason."""

    plugin: str
    source: str
    reason: str


class Registry:
    """All components of one entry-point group. Plugins are discovered at the first use of the registry.

    Args:
        group: the name of the entry-point group and of pluggy's hook markers.
        kinds: the hook specification of each kind of component, marked with `pluggy.HookspecMarker(group)`.
        moved: kinds that belonged to this registry in an earlier release. If a plugin still implements the hook of such
            a kind, the registry lists a failure with the kind's message; the other components of the plugin work.
    """

    def __init__(self, group: str, kinds: Mapping[str, _Factory], moved: Mapping[str, MovedKind] | None = None) -> None:
        self.group, self.kinds, self.moved = group, dict(kinds), dict(moved or {})
        self._entries: list[Entry] = []
        self._failures: list[Failure] = []
        self._found: dict[tuple[str, str], Entry] = {}  # by kind and name
        self._registered = 0
        self._discovered = False
        self._lock = threading.RLock()

    @property
    def state(self) -> tuple[Registry, int]:
        """A value that changes when a name may mean another component. Caches of built components compare it."""
        return self, self._registered

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Return all components of one kind; None: of all kinds."""
        self._discover()
        return [entry for entry in self._entries if kind in (None, entry.kind)]

    def failures(self) -> list[Failure]:
        """Return all failed plugins with their reasons."""
        self._discover()
        return list(self._failures)

    def register(self, kind: str, name: str, factory: _Factory, summary: str = "") -> None:
        """Add a component from this process. It replaces a plugin's component of the same name."""
        self._check_kind(kind)
        if not name or "/" in name:
            raise InputError(f"register: {name!r} is not a valid name: a name is not empty and has no slash")
        if not callable(factory):
            raise InputError(f"register: the factory of {name!r} must be callable, not {factory!r}")
        with self._lock:
            self._discover()
            replaced = (kind, name, IN_PROCESS)
            kept = [e for e in self._entries if (e.kind, e.component.name, e.source) != replaced]
            self._entries = [*kept, Entry(kind, Component(name, lambda: factory, summary), IN_PROCESS)]
            self._found = {}
            self._registered += 1

    def create(self, kind: str, name: str, **options: Any) -> Any:
        """Load the component of this name and build it with these options.

        Raises:
            UnknownComponentError: no component has this name. The message lists existing names and failed plugins.
            AmbiguousComponentError: two plugins offer this name. The message lists the full names to choose from.
            MissingDependencyError: a required module is missing. The message has the install command.
            PluginError: the component's `load` or its factory raised.
            OptionError: an option does not exist, is missing, or is rejected. The message lists existing options.
        """
        entry = self.find(kind, name)
        self.require(kind, [name])
        try:
            factory = entry.component.load()
        except Exception as error:
            raise PluginError(f"{kind} {entry.full_name!r} could not be loaded: {_reason(error)}") from error
        if not callable(factory):
            raise PluginError(f"{kind} {entry.full_name!r}: its load() returned {factory!r}, which is not callable")
        _check_options(kind, name, factory, options)
        try:
            return factory(**options)
        except SemanticEntropyError:
            raise
        except (TypeError, ValueError) as error:
            raise OptionError(f"{kind} {name!r} rejects its options ({', '.join(options)}): {error}") from error
        except Exception as error:
            raise PluginError(f"{kind} {entry.full_name!r} could not be built: {_reason(error)}") from error

    def require(self, kind: str, names: Iterable[str]) -> None:
        """Check that the required modules of these components are installed.

        Raises:
            MissingDependencyError: modules are missing. The message has one command that installs all missing modules.
        """
        lacking = {
            entry: missing for entry in (self.find(kind, name) for name in names) if (missing := entry.missing())
        }
        if not lacking:
            return
        needs = "; ".join(f"{kind} {entry.component.name!r} needs {', '.join(lacking[entry])}" for entry in lacking)
        extras = dict.fromkeys(entry.component.extra or " ".join(missing) for entry, missing in lacking.items())
        torch = any("torch" in missing for missing in lacking.values())
        which = " (which torch that installs, and how to choose another: docs/install.md)" if torch else ""
        raise MissingDependencyError(f"{needs}: pip install {' '.join(map(repr, extras))}{which}")

    def find(self, kind: str, name: str) -> Entry:
        """Return the component with this name or full name (`distribution/name`). Raises the errors of `create`."""
        self._check_kind(kind)
        if not isinstance(name, str):
            raise InputError(f"{kind}={name!r} is not a name: pass a str")
        found = self._found  # `register` replaces this dict: an entry from before must not get into the new one
        if (kind, name) not in found:
            found[kind, name] = self._find(kind, name)
        return found[kind, name]

    def _find(self, kind: str, name: str) -> Entry:
        entries = self.entries(kind)
        found = [e for e in entries if name in (e.component.name, e.full_name)]
        registered = [e for e in found if e.source == IN_PROCESS]
        if len(found) == 1 or registered:
            return (registered or found)[0]
        if found:
            choices = ", ".join(repr(e.full_name) for e in found)
            raise AmbiguousComponentError(f"more than one plugin offers {kind} {name!r}: ask for one of {choices}")
        names = sorted({e.component.name for e in entries})
        failed = "".join(f"\n  failed to load: {f.plugin} ({f.source}): {f.reason}" for f in self._failures)
        raise UnknownComponentError(
            f"no {kind} named {name!r}.{nearest(name, names)} Available: {', '.join(names)}.{failed}\n"
            f"To add more, install a plugin that has an entry point in the group {self.group!r}."
        )

    def _check_kind(self, kind: str) -> None:
        if kind in self.moved:
            raise InputError(f"kind={kind!r}: {self.moved[kind].message}")
        if kind not in self.kinds:
            raise InputError(f"kind={kind!r} is unknown: use one of {', '.join(self.kinds)}")

    def _discover(self) -> None:
        with self._lock:
            if self._discovered:
                return
            self._discovered = True
            from importlib.metadata import entry_points  # a fifth of this package's import time

            disabled = {name.strip() for name in os.environ.get(DISABLE, "").split(",") if name.strip()}
            for point in sorted(entry_points(group=self.group), key=lambda p: (_distribution(p), p.name)):
                if not disabled & {point.name, _distribution(point)}:
                    self._load(point)

    def _load(self, point: EntryPoint) -> None:
        """Load one plugin. If its module raises an error, add a `Failure`."""
        source = _distribution(point)
        try:
            hooks = self._hooks(point)
            moved = [kind for kind in self.moved if getattr(hooks, self.moved[kind].hook).get_hookimpls()]
            self._failures += [Failure(point.name, source, self.moved[kind].message) for kind in moved]
            found = self._components(hooks, source)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a failing plugin must not stop the others
            self._failures.append(Failure(point.name, source, _reason(error)))
            return
        self._entries += found
        if not found and not moved:
            names = ", ".join(hook.__name__ for hook in self.kinds.values())
            self._failures.append(Failure(point.name, source, f"no component by any of the hooks {names}"))

    def _hooks(self, point: EntryPoint) -> Any:
        """Return the hooks that the plugin implements, after a check against the hook specifications."""
        moved = {kind.hook: pluggy.HookspecMarker(self.group)(lambda: ()) for kind in self.moved.values()}
        manager = pluggy.PluginManager(self.group)
        manager.add_hookspecs(type("Hooks", (), {hook.__name__: hook for hook in self.kinds.values()} | moved))
        manager.register(point.load(), name=point.name)
        manager.check_pending()
        return manager.hook

    def _components(self, hooks: Any, source: str) -> list[Entry]:
        return [
            Entry(kind, _checked(component), source)
            for kind, hook in self.kinds.items()
            for components in getattr(hooks, hook.__name__)()
            for component in components
        ]


def _checked(component: Any) -> Component:
    """Check an item that a hook returned."""
    if not isinstance(component, Component):
        raise PluginError(f"a hook returned {component!r}; it must return a list of Component")
    name: Any = component.name
    if not isinstance(name, str) or not name or "/" in name:
        raise PluginError(f"a component is named {name!r}: a name is a str, not empty and without a slash")
    requires: Any = component.requires
    if isinstance(requires, str) or not callable(component.load):
        raise PluginError(f"component {name!r}: requires must be a tuple of module names, and load must be callable")
    return component


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # the parent module is missing, or the name is not valid
        return False


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"


def _check_options(kind: str, name: str, factory: _Factory, options: Mapping[str, Any]) -> None:
    parameters = _parameters(factory)
    if parameters is None:
        return
    written = ", ".join(map(_written, parameters.values())) or "none"
    for option, value in options.items():
        if option not in parameters:
            raise OptionError(
                f"{kind} {name!r} has no option {option!r}.{nearest(option, parameters)} Its options: {written}"
            )
        if expected := _expected_type(parameters[option], value):
            raise OptionError(f"{kind} {name!r}: {option}={value!r} must be {expected}")
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise OptionError(f"{kind} {name!r} needs the option {option!r}. Its options: {written}")


def _expected_type(parameter: inspect.Parameter, value: Any) -> str | None:
    """Return the expected type, such as "a number", if the value is a str and the option takes no str; else None."""
    if not isinstance(value, str):
        return None
    declared = getattr(parameter.annotation, "__name__", parameter.annotation)
    kinds = {"float": "a number", "int": "a whole number", "bool": "true or false"}
    return kinds.get(str(declared).removesuffix(" | None"))


def _written(parameter: inspect.Parameter) -> str:
    return parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default!r}"


def _parameters(factory: _Factory) -> dict[str, inspect.Parameter] | None:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some factories written in C have no signature
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


_default = Registry(PROJECT, KINDS, MOVED_KINDS)


def default_registry() -> Registry:
    """Return the registry of the group `semantic_entropy`. The process has one."""
    return _default

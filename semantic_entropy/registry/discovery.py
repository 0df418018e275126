"""Find plugins by their entry points, and build their components by name.

A `Registry` has the components of one entry-point group. The registry of the group `semantic_entropy` has judges,
clusterers, estimators and samplers. A package with other kinds of component makes its own registry:

    hookspec = pluggy.HookspecMarker("my_package")

    @hookspec
    def my_package_rewards() -> Iterable[Component]: ...

    registry = Registry("my_package", {"reward": my_package_rewards})
    registry.create("reward", "length", weight=2.0)

Each entry point is loaded separately. If a plugin cannot be imported, calls `sys.exit` or its hook raises, the registry
lists the plugin as failed, with the reason; all other plugins work. A plugin that takes long to import is named by a
message. A plugin may also call `register` when it is imported.

Two plugins may offer the same name. This is an error only if a user asks for that name, and the message lists the full
names (`distribution/name`) to choose from. A name of a built-in component always means the built-in component; the
plugin's component has its full name. The environment variable `SEMANTIC_ENTROPY_DISABLE_PLUGINS=a,b` disables the entry
points or distributions a and b; as in pip, capitals and hyphens make no difference.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
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
    install_command,
    nearest,
)
from semantic_entropy.registry.hookspecs import KINDS, MOVED_KINDS, PROJECT, Component, MovedKind
from semantic_entropy.registry.option_checks import check_options

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

DISABLE = "SEMANTIC_ENTROPY_DISABLE_PLUGINS"
IN_PROCESS = "in-process"
BUILT_IN = "semantic-entropy"  # the distribution whose components keep their names, whatever other plugins offer
_SLOW_IMPORT = 10.0  # seconds: light modules take milliseconds; a slow disk takes a second
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
        """Return the required modules of the component that cannot be imported, each with the reason if it raises."""
        problems = ((module, _import_problem(module)) for module in self.component.requires)
        return [f"{module} ({problem})" if problem else module for module, problem in problems if problem is not None]


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
        self._loading: str | None = None  # the distribution of the plugin that is being imported
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
        """Add a component from this process. It replaces a plugin's component of the same name.

        If a plugin calls this function when discovery imports it, the component belongs to the plugin.
        """
        self._check_kind(kind)
        if not name or "/" in name:
            raise InputError(f"register: {name!r} is not a valid name: a name is not empty and has no slash")
        if not callable(factory):
            raise InputError(f"register: the factory of {name!r} must be callable, not {factory!r}")
        with self._lock:  # without discovery: it would import the plugin that calls this function a second time
            source = self._loading or IN_PROCESS
            kept = [e for e in self._entries if (e.kind, e.component.name, e.source) != (kind, name, source)]
            self._entries = [*kept, Entry(kind, Component(name, lambda: factory, summary), source)]
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
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PluginError(f"{kind} {entry.full_name!r} could not be loaded: {_reason(error)}") from error
        if not callable(factory):
            raise PluginError(f"{kind} {entry.full_name!r}: its load() returned {factory!r}, which is not callable")
        check_options(kind, name, factory, options)
        try:
            return factory(**options)
        except SemanticEntropyError:
            raise
        except (TypeError, ValueError) as error:
            raise OptionError(f"{kind} {name!r} rejects its options ({', '.join(options)}): {error}") from error
        except (Exception, SystemExit) as error:
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
        extras = dict.fromkeys(
            entry.component.extra or " ".join(module.partition(" ")[0] for module in missing)
            for entry, missing in lacking.items()
        )
        torch = any("torch" in missing for missing in lacking.values())
        which = " (which torch that installs, and how to choose another: docs/install.md)" if torch else ""
        raise MissingDependencyError(f"{needs}: {install_command(*extras)}{which}")

    def find(self, kind: str, name: str) -> Entry:
        """Return the component with this name or full name (`distribution/name`). Raises the errors of `create`."""
        self._check_kind(kind)
        if not isinstance(name, str):
            raise InputError(f"{kind}={name!r} is not a name: pass a str")
        found = self._found  # `register` replaces this dict: an entry from before must not get into the new one
        if (kind, name) not in found:
            found[kind, name] = self._find(kind, name)
        return found[kind, name]

    def name_of(self, entry: Entry) -> str:
        """Return the name to ask for: the component's name, or its full name if the name means another component."""
        try:
            is_found = self.find(entry.kind, entry.component.name) == entry
        except AmbiguousComponentError:
            is_found = False
        return entry.component.name if is_found else entry.full_name

    def _find(self, kind: str, name: str) -> Entry:
        entries = self.entries(kind)
        found = [e for e in entries if name in (e.component.name, e.full_name)]
        for preferred in (IN_PROCESS, BUILT_IN):
            if own := [e for e in found if _normalize(e.source) == preferred]:
                return own[0]
        if len(found) == 1:
            return found[0]
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
            self._discovered = True  # from now on: a plugin may use the registry when it is imported
            from importlib.metadata import entry_points  # a fifth of this package's import time

            disabled = {_normalize(name) for name in os.environ.get(DISABLE, "").split(",") if name.strip()}
            for point in sorted(entry_points(group=self.group), key=lambda p: (_distribution(p), p.name)):
                if not disabled & {_normalize(point.name), _normalize(_distribution(point))}:
                    try:
                        self._load(point)
                    except KeyboardInterrupt:  # the next use of the registry starts again
                        self._entries = [entry for entry in self._entries if entry.source == IN_PROCESS]
                        self._failures, self._discovered = [], False
                        raise

    def _load(self, point: EntryPoint) -> None:
        """Load one plugin. If its module raises an error, add a `Failure`."""
        self._loading = source = _distribution(point)
        try:
            with _slow_import_message(point.name, source):
                hooks = self._hooks(point)
                moved = [kind for kind in self.moved if getattr(hooks, self.moved[kind].hook).get_hookimpls()]
                self._failures += [Failure(point.name, source, self.moved[kind].message) for kind in moved]
                found = self._components(hooks, source)
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(f"while the plugin {point.name} ({source}) was imported; {DISABLE}={source} disables it")
            raise
        except BaseException as error:  # noqa: BLE001  # a failing plugin must not stop the others
            self._failures.append(Failure(point.name, source, _reason(error)))
            return
        finally:
            self._loading = None
        self._entries += found
        if not (found or moved or self._has_hooks(hooks) or self._has_registered(point, source)):
            names = ", ".join(hook.__name__ for hook in self.kinds.values())
            self._failures.append(Failure(point.name, source, f"its module has none of the hooks {names}"))

    def _hooks(self, point: EntryPoint) -> Any:
        """Return the hooks that the plugin implements, after a check against the hook specifications."""
        moved = {kind.hook: pluggy.HookspecMarker(self.group)(lambda: ()) for kind in self.moved.values()}
        manager = pluggy.PluginManager(self.group)
        manager.add_hookspecs(type("Hooks", (), {hook.__name__: hook for hook in self.kinds.values()} | moved))
        manager.register(point.load(), name=point.name)
        manager.check_pending()
        return manager.hook

    def _components(self, hooks: Any, source: str) -> list[Entry]:
        entries = []
        for kind, hook in self.kinds.items():
            caller = getattr(hooks, hook.__name__)
            returned = caller()
            if len(returned) < len(caller.get_hookimpls()):  # pluggy leaves out None
                raise PluginError(f"the hook {hook.__name__} returned None; it must return a list of Component")
            entries += [Entry(kind, _checked(component), source) for components in returned for component in components]
        counts = Counter((entry.kind, entry.component.name) for entry in entries)
        for (kind, name), count in counts.items():
            if count > 1:
                raise PluginError(f"its hooks return {count} components of the kind {kind} with the name {name!r}")
        return entries

    def _has_hooks(self, hooks: Any) -> bool:
        return any(getattr(hooks, hook.__name__).get_hookimpls() for hook in self.kinds.values())

    def _has_registered(self, point: EntryPoint, source: str) -> bool:
        """Whether the plugin called `register`: during discovery, or before, when the user imported its module."""
        for entry in self._entries:
            module = str(getattr(entry.component.load(), "__module__", "")) if entry.source == IN_PROCESS else ""
            if entry.source == source or f"{module}.".startswith(f"{point.module}."):
                return True
        return False


def _checked(component: Any) -> Component:
    """Check an item that a hook returned. Return it with a tuple of required modules."""
    if not isinstance(component, Component):
        raise PluginError(f"a hook returned {component!r:.200}; it must return a list of Component")
    name: Any = component.name
    if not isinstance(name, str) or not name or "/" in name:
        raise PluginError(f"a component is named {name!r}: a name is a str, not empty and without a slash")
    requires: Any = component.requires
    are_names = isinstance(requires, tuple | list) and all(isinstance(module, str) and module for module in requires)
    if not are_names or not callable(component.load):
        raise PluginError(f"component {name!r}: requires must be a tuple of module names, and load must be callable")
    texts: tuple[Any, ...] = component.summary, component.extra
    if not all(isinstance(text, str) for text in texts):
        raise PluginError(f"component {name!r}: summary and extra must be texts, not {texts!r:.200}")
    return replace(component, requires=tuple(requires))


def _import_problem(module: str) -> str | None:
    """Return None if the module can be imported, "" if it is not installed, and the reason if its package raises."""
    try:
        return None if importlib.util.find_spec(module) is not None else ""  # this imports the module's package
    except (ImportError, ValueError):  # the package is missing, or the name is not valid
        return ""
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a broken package must not end a list of components
        return f"its package raises {_reason(error)}"


@contextlib.contextmanager
def _slow_import_message(plugin: str, source: str) -> Iterator[None]:
    """Name the plugin in a warning if its import takes long: otherwise, nothing shows why the program hangs."""

    def warn() -> None:
        import logging

        logging.getLogger(PROJECT).warning(
            "still importing the plugin %s (%s) after %g seconds; %s=%s disables it",
            *(plugin, source, _SLOW_IMPORT, DISABLE, source),
        )

    timer = threading.Timer(_SLOW_IMPORT, warn)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _normalize(name: str) -> str:
    """Return the name as pip compares names: without capitals, with hyphens."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


_default = Registry(PROJECT, KINDS, MOVED_KINDS)


def default_registry() -> Registry:
    """Return the registry of the group `semantic_entropy`. The process has one."""
    return _default

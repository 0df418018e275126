"""Load components by name, and convert a user's argument (a name, an instance or a function) to a component.

`load_equivalence("ngram", threshold=0.8)` builds a judge with options. All functions that accept the name of a
component also accept the built component.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from semantic_entropy.clusters.clusterers import Clusterer
from semantic_entropy.clusters.equivalence import Equivalence, FunctionEquivalence
from semantic_entropy.contracts import check_component
from semantic_entropy.errors import InputError, PluginError
from semantic_entropy.estimators import EntropyEstimator
from semantic_entropy.registry.discovery import default_registry
from semantic_entropy.sampling import Sampler

_T = TypeVar("_T")


def load_equivalence(name: str, **options: Any) -> Equivalence:
    """Load the judge of this name and build it with these options.

    Raises:
        UnknownComponentError: no judge has this name. The message lists the existing names and the failed plugins.
        OptionError: the judge has no such option. The message lists the existing options.
        MissingDependencyError: a required module is missing. The message names the extra to install.
    """
    return _load("equivalence", name, Equivalence, options)


def load_clusterer(name: str, **options: Any) -> Clusterer:
    """Load a clusterer and build it with these options. Raises the errors of `load_equivalence`."""
    return _load("clusterer", name, Clusterer, options)


def load_estimator(name: str, **options: Any) -> EntropyEstimator:
    """Load an estimator and build it with these options. Raises the errors of `load_equivalence`."""
    return _load("estimator", name, EntropyEstimator, options)


def load_estimators(chosen: Sequence[Any] | None) -> list[Any] | None:
    """Return the same list, with a built estimator in place of each pair (name, options)."""
    return [each if isinstance(each, str) else load_estimator(each[0], **each[1]) for each in chosen or ()] or None


def load_sampler(name: str, **options: Any) -> Sampler:
    """Load a sampler and build it with these options. Raises the errors of `load_equivalence`."""
    return _load("sampler", name, Sampler, options)


def require_equivalences(names: Iterable[str]) -> None:
    """Check that the required modules of these judges are installed, before a judge is loaded.

    Raises:
        MissingDependencyError: modules are missing. The message has one command that installs all missing modules.
        UnknownComponentError: there is no judge with one of these names.
    """
    default_registry().require("equivalence", names)


def load_component(kind: str, name: str, **options: Any) -> Any:
    """Load a component of any kind and build it with these options. Raises the errors of `load_equivalence`."""
    return default_registry().create(kind, name, **options)


def register(kind: str, name: str, factory: Callable[..., Any], summary: str = "") -> None:
    """Register a component under a name, for this process.

    Args:
        kind: "equivalence", "clusterer", "estimator" or "sampler".
        name: the name of the component.
        factory: a class, or a function: `factory(**options)` returns the component.
        summary: one line about the component, for lists of components.

    Raises:
        InputError: the kind is unknown, or the name or the factory is not valid.
    """
    default_registry().register(kind, name, factory, summary)


def as_equivalence(value: Any) -> Equivalence:
    """Convert an `Equivalence` or a plain function of two strings to a judge."""
    if isinstance(value, Equivalence):
        check_component("equivalence", value)
        return value
    if isinstance(value, type):
        raise InputError(f"equivalence={value.__name__} is a class: pass an instance, {value.__name__}(...)")
    if inspect.iscoroutinefunction(value):
        raise InputError(f"equivalence={value.__name__} is an async function: make it a plain function, without async")
    if callable(value):
        return FunctionEquivalence(value)
    raise InputError(
        f"equivalence={value!r} is not usable: pass a name, an Equivalence, or a function of two strings that "
        "returns True, False or None"
    )


def as_clusterer(value: Any) -> Clusterer:
    """Convert a name or a `Clusterer` to a clusterer."""
    return load_clusterer(value) if isinstance(value, str) else _instance("clusterer", value, Clusterer)


def as_estimator(value: Any) -> EntropyEstimator:
    """Convert a name or an `EntropyEstimator` to an estimator."""
    return load_estimator(value) if isinstance(value, str) else _instance("estimator", value, EntropyEstimator)


def as_sampler(value: Any, **options: Any) -> Sampler:
    """Convert a name, with options, or a `Sampler` to a sampler."""
    return load_sampler(value, **options) if isinstance(value, str) else _instance("sampler", value, Sampler)


def _load(kind: str, name: str, base: type[_T], options: dict[str, Any]) -> _T:
    component = default_registry().create(kind, name, **options)
    if not isinstance(component, base):
        raise PluginError(f"{kind} {name!r} built {component!r}, which is not an instance of {base.__name__}")
    check_component(kind, component)
    return component


def _instance(kind: str, value: object, base: type[_T]) -> _T:
    if isinstance(value, base):
        check_component(kind, value)
        return value
    raise InputError(f"{kind}={value!r} is not usable: pass a name or an instance of {base.__name__}")

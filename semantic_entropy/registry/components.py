"""Components by name, and from what a user passes: a name, an instance, or a plain function.

`load_equivalence("text")` builds a component with options. Its return value is accepted wherever a name is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from semantic_entropy.clusters.clusterers import Clusterer
from semantic_entropy.clusters.equivalence import Equivalence, FunctionEquivalence
from semantic_entropy.errors import InputError, PluginError
from semantic_entropy.estimators import EntropyEstimator
from semantic_entropy.registry.discovery import default_registry
from semantic_entropy.sampling import Sampler

_T = TypeVar("_T")


def load_equivalence(name: str, **options: Any) -> Equivalence:
    """The judge of this name, built with these options.

    Raises:
        UnknownComponentError: no such name; lists what exists and what failed to load.
        OptionError: no such option; lists those that exist.
        MissingDependencyError: names the extra to install.
    """
    return _load("equivalence", name, Equivalence, options)


def load_clusterer(name: str, **options: Any) -> Clusterer:
    """The clusterer of this name, built with these options. Raises as `load_equivalence`."""
    return _load("clusterer", name, Clusterer, options)


def load_estimator(name: str, **options: Any) -> EntropyEstimator:
    """The estimator of this name, built with these options. Raises as `load_equivalence`."""
    return _load("estimator", name, EntropyEstimator, options)


def load_sampler(name: str, **options: Any) -> Sampler:
    """The sampler of this name, built with these options. Raises as `load_equivalence`."""
    return _load("sampler", name, Sampler, options)


def require_equivalences(names: Iterable[str]) -> None:
    """Check that the modules which these judges require are installed: one error for all, before any is loaded.

    Raises:
        MissingDependencyError: names the command that installs what is missing.
        UnknownComponentError: no equivalence of one of these names.
    """
    default_registry().require("equivalence", names)


def load_component(kind: str, name: str, **options: Any) -> Any:
    """The component of this kind and name, built with these options. Raises as `load_equivalence`."""
    return default_registry().create(kind, name, **options)


def register(kind: str, name: str, factory: Callable[..., Any], summary: str = "") -> None:
    """Add a component of this process by name: kind "equivalence", "clusterer", "estimator" or "sampler".

    `factory(**options)` returns the component; so it can be a class. Raises InputError on an unknown kind.
    """
    default_registry().register(kind, name, factory, summary)


def as_equivalence(value: Any) -> Equivalence:
    """An instance, or a plain function of two strings, as a judge."""
    if isinstance(value, Equivalence):
        return value
    if isinstance(value, type):
        raise InputError(f"equivalence={value.__name__} is a class: pass an instance, {value.__name__}(...)")
    if callable(value):
        return FunctionEquivalence(value)
    raise InputError(
        f"equivalence={value!r} is not usable: pass a name, an Equivalence, or a function of two strings that "
        "returns True, False or None"
    )


def as_clusterer(value: Any) -> Clusterer:
    """A name or an instance as a clusterer."""
    return load_clusterer(value) if isinstance(value, str) else _instance("clusterer", value, Clusterer)


def as_estimator(value: Any) -> EntropyEstimator:
    """A name or an instance as an estimator."""
    return load_estimator(value) if isinstance(value, str) else _instance("estimator", value, EntropyEstimator)


def as_sampler(value: Any) -> Sampler:
    """A name or an instance as a sampler."""
    return load_sampler(value) if isinstance(value, str) else _instance("sampler", value, Sampler)


def _load(kind: str, name: str, base: type[_T], options: dict[str, Any]) -> _T:
    component = default_registry().create(kind, name, **options)
    if not isinstance(component, base):
        raise PluginError(f"{kind} {name!r} built {component!r}, which is not an instance of {base.__name__}")
    return component


def _instance(kind: str, value: object, base: type[_T]) -> _T:
    if isinstance(value, base):
        return value
    raise InputError(f"{kind}={value!r} is not usable: pass a name or an instance of {base.__name__}")

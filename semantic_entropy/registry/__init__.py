"""Plugins: the hooks that they implement, their discovery, and functions that load components by name."""

from semantic_entropy.registry.components import (
    as_clusterer,
    as_equivalence,
    as_estimator,
    as_sampler,
    load_clusterer,
    load_component,
    load_equivalence,
    load_estimator,
    load_estimators,
    load_sampler,
    register,
    require_equivalences,
)
from semantic_entropy.registry.discovery import Entry, Registry, default_registry
from semantic_entropy.registry.hookspecs import Component, MovedKind, hookimpl

__all__ = [
    "Component",
    "Entry",
    "MovedKind",
    "Registry",
    "as_clusterer",
    "as_equivalence",
    "as_estimator",
    "as_sampler",
    "default_registry",
    "hookimpl",
    "load_clusterer",
    "load_component",
    "load_equivalence",
    "load_estimator",
    "load_estimators",
    "load_sampler",
    "register",
    "require_equivalences",
]

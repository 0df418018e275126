"""The hooks of `semantic_entropy`: a plugin implements a hook to add components.

A plugin is a module; an entry point in the group `semantic_entropy` names it. The module implements one or more of
these hooks, and discovery calls each hook once. The module must not import heavy modules; a component's `load` imports
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pluggy

PROJECT = "semantic_entropy"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class Component:
    """The description of a component. Hooks return a list of these.

    Attributes:
        name: the name of the component, without a slash.
        load: a function that imports and returns the factory. The factory is a class, or a function with the options as
            keyword arguments.
        summary: one line about the component, for lists of components.
        requires: names of modules that must be installed, such as ("torch", "transformers").
        extra: the pip requirement that installs the required modules, for the error message.
    """

    name: str
    load: Callable[[], Callable[..., Any]]
    summary: str = ""
    requires: tuple[str, ...] = field(default=())
    extra: str = ""


@dataclass(frozen=True, slots=True)
class MovedKind:
    """A kind of component that moved to another package.

    Attributes:
        hook: the hook of the earlier release.
        message: tells the author of a plugin how to register such components now.
    """

    hook: str
    message: str


@hookspec
def semantic_entropy_equivalences() -> Iterable[Component]:  # type: ignore[empty-body]
    """Judges: factories of `Equivalence`."""


@hookspec
def semantic_entropy_clusterers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Clusterers: factories of `Clusterer`."""


@hookspec
def semantic_entropy_estimators() -> Iterable[Component]:  # type: ignore[empty-body]
    """Estimators: factories of `EntropyEstimator`."""


@hookspec
def semantic_entropy_samplers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Samplers: factories of `Sampler`."""


KINDS = {
    "equivalence": semantic_entropy_equivalences,
    "clusterer": semantic_entropy_clusterers,
    "estimator": semantic_entropy_estimators,
    "sampler": semantic_entropy_samplers,
}
"""The hook of each kind of component."""

MOVED_KINDS: Mapping[str, MovedKind] = {
    "reward": MovedKind(
        "semantic_entropy_rewards",
        "reward signals belong to empo_rl: announce them with the hook empo_rl_rewards in the entry-point group "
        "'empo_rl' (from empo_rl.plugin import hookimpl), or call empo_rl.register_reward(name, factory)",
    )
}
"""Kinds that had a hook here in an earlier release. If a plugin still implements this hook, it is listed as failed."""

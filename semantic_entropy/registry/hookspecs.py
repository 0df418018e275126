"""All extension points of `semantic_entropy`.

A plugin is a module that an entry point of the group `semantic_entropy` names. The module implements any of these
hooks; discovery calls each hook once. The module must be light to import: a component's `load` imports what is heavy.
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
    """What a hook returns for each component.

    Attributes:
        name: how users ask for it; no slash.
        load: imports and returns the factory: a class, or a function whose keyword arguments are the options.
        summary: one line for listings.
        requires: the importable modules that it needs.
        extra: what to install when a required module is missing, for the error message.
    """

    name: str
    load: Callable[[], Callable[..., Any]]
    summary: str = ""
    requires: tuple[str, ...] = field(default=())
    extra: str = ""


@dataclass(frozen=True, slots=True)
class MovedKind:
    """A kind of component that another package has taken over.

    hook: the hook that announced it here. message: where such components are announced now.
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
"""Each kind of component and the hook that announces it."""

MOVED_KINDS: Mapping[str, MovedKind] = {
    "reward": MovedKind(
        "semantic_entropy_rewards",
        "reward signals belong to empo_rl: announce them with the hook empo_rl_rewards in the entry-point group "
        "'empo_rl' (from empo_rl.plugin import hookimpl), or call empo_rl.register_reward(name, factory)",
    )
}
"""Kinds that were announced here in an earlier release. A plugin that still does is listed with the message."""

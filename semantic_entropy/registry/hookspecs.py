"""Every extension point, on one page.

A plugin is a module named by an entry point of the group `semantic_entropy`. It implements any of these hooks, each
called once, at discovery. Keep that module light: what is heavy is imported by a component's `load`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pluggy

PROJECT = "semantic_entropy"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class Component:
    """What a hook announces.

    name: how users ask for it. load: imports and returns the factory (a class, or a function whose keyword arguments
    are the component's options). summary: one line for listings. requires: importable modules it needs, and
    extra: the extra of which distribution brings them, for messages.
    """

    name: str
    load: Callable[[], Callable[..., Any]]
    summary: str = ""
    requires: tuple[str, ...] = field(default=())
    extra: str = ""


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


@hookspec
def semantic_entropy_rewards() -> Iterable[Component]:  # type: ignore[empty-body]
    """Reward signals: factories of `empo_rl.RewardSignal`, which the toolkit itself does not use."""


KINDS = {
    "equivalence": semantic_entropy_equivalences,
    "clusterer": semantic_entropy_clusterers,
    "estimator": semantic_entropy_estimators,
    "sampler": semantic_entropy_samplers,
    "reward": semantic_entropy_rewards,
}

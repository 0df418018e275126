"""Functions that call reward signals, guards and filters, and check what these components return.

If a component raises, or returns a wrong shape, a wrong type or a reward that is not a number, the function raises a
`PluginError` that names the component and the value. So nothing is trained on such a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semantic_entropy import PluginError, SemanticEntropyError

if TYPE_CHECKING:  # these modules import signals, which import this module
    from empo_rl.core.filters import Filter
    from empo_rl.core.guards import Guard
    from empo_rl.core.rewards.base import RewardSignal, ScoredGroup


def compute_rewards(signal: RewardSignal, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
    """Return the rewards of the signal, (B, G): finite numbers; nan if the signal abstains or the answer is dropped."""
    name = f"reward {signal.name!r}"
    rewards: NDArray[np.float64] = _array(name, _call(name, signal.rewards, scored), scored, np.float64)
    unusable = np.isinf(rewards)
    if not signal.abstains:
        dropped = [
            [signal.context.invalid == "drop" and answer is None for answer in item.result.answers] for item in scored
        ]
        unusable |= np.isnan(rewards) & ~np.array(dropped)
    for group, row in np.argwhere(unusable)[:1]:
        advice = "" if np.isinf(rewards[group, row]) else " If nan means that it has no reward, set abstains = True."
        raise PluginError(
            f"{name} returned {rewards[group, row]} for {int(unusable.sum())} of {rewards.size} completions, first for "
            f"{scored[group].group.completions[row][:60]!r} (group {group}): return a finite number.{advice}"
        )
    return rewards


def compute_flags(guard: Guard, scored: Sequence[ScoredGroup]) -> NDArray[np.bool_]:
    """Return whether the guard flags each completion, (B, G)."""
    name = f"guard {guard.name!r}"
    flags: NDArray[np.bool_] = _array(name, _call(name, guard.flags, scored), scored, np.bool_)
    return flags


def compute_drop_reasons(
    chosen: Filter, scored: Sequence[ScoredGroup], rewards: NDArray[np.float64]
) -> list[str | None]:
    """Return the reason why the filter drops each group, (B,); None if the group stays."""
    name = f"filter {chosen.name!r}"
    found: Any = _call(name, chosen.drop_reasons, scored, rewards)
    if not isinstance(found, list | tuple) or len(found) != len(scored):
        raise PluginError(f"{name} returned {found!r:.200} for {len(scored)} groups: return one reason, or None, each.")
    for reason in found:
        if reason is not None and (not isinstance(reason, str) or not reason):
            raise PluginError(f"{name} returned the reason {reason!r}: return a text, or None if the group stays.")
    return list(found)


def _call(name: str, method: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return method(*arguments)
    except SemanticEntropyError:
        raise
    except Exception as error:
        raise PluginError(f"{name} raised {type(error).__name__}: {error}") from error


def _array(name: str, values: Any, scored: Sequence[ScoredGroup], kind: type) -> NDArray[Any]:
    """The values as an array (B, G)."""
    shape = len(scored), len(scored[0].group.completions)
    try:
        array: NDArray[Any] = np.asarray(values, dtype=kind)
    except (TypeError, ValueError):  # texts, or rows of different lengths
        array = np.empty(0)
    if array.shape != shape:
        found = getattr(values, "shape", None)
        returned = f"{values!r:.200}" if found is None else f"shape {tuple(found)}"
        raise PluginError(
            f"{name} returned {returned} for {shape[0]} groups of {shape[1]} completions: return an array of the shape "
            f"{shape}."
        )
    return array

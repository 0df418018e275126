"""Functions that call reward signals, guards, filters and alarms, and check what these components return.

If a component raises or calls `sys.exit`, or returns a wrong shape, a wrong type or a reward that is not a number, the
function raises a `PluginError` that names the component and the value. So nothing is trained on such a value.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.advantages import Scale
from empo_rl.core.groups import LARGEST, pad_rows
from semantic_entropy import InputError, PluginError
from semantic_entropy.plugin import call_component

if TYPE_CHECKING:  # these modules import signals, which import this module
    from empo_rl.core.filters import Filter
    from empo_rl.core.guards import Guard
    from empo_rl.core.rewards.base import RewardSignal, ScoredGroup, SignalContext
    from empo_rl.monitor.base import Action, Alarm, Firing
    from empo_rl.monitor.observation import Observation


def bind_signal(signal: RewardSignal, context: SignalContext, scale: Scale) -> None:
    """Give the signal the settings of the provider. Raise an InputError if it needs another scale."""
    if signal.needs_scale not in (None, scale):
        raise InputError(
            f"reward={signal.name!r} needs scale={signal.needs_scale!r}, because it computes the advantages itself, "
            f"and scale is {scale!r}. Set scale={signal.needs_scale!r} (empo.scale)."
        )
    call_component(f"reward {signal.name!r}", signal.bind, context, during="bind()")


def is_filtered(signal: RewardSignal, item: ScoredGroup) -> bool:
    """Return whether the filters of the provider apply to a group of this signal."""
    return bool(call_component(f"reward {signal.name!r}", signal.filtered, item, during="filtered()"))


def compute_rewards(signal: RewardSignal, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
    """Return the rewards of the signal, (B, G): finite numbers; nan if the signal abstains or the answer is dropped.

    In groups of different sizes, G is the largest size, and the rewards after the end of a smaller group are nan.
    """
    name = f"reward {signal.name!r}"
    rewards = _array(name, call_component(name, signal.rewards, scored), scored, "numbers")
    unusable = np.abs(rewards) > LARGEST
    if not signal.abstains:
        drops = signal.context.invalid == "drop"
        rewarded = pad_rows([not drops or answer is not None for answer in item.result.answers] for item in scored)
        unusable |= np.isnan(rewards) & (rewarded == 1)
    for group, row in np.argwhere(unusable)[:1]:
        advice = " If nan means that it has no reward, set abstains = True." if np.isnan(rewards[group, row]) else ""
        raise PluginError(
            f"{name} returned {rewards[group, row]} for {int(unusable.sum())} of {rewards.size} completions, first for "
            f"{scored[group].group.completions[row][:60]!r} (group {group}): return a finite number, at most "
            f"{LARGEST:g}.{advice}"
        )
    return rewards


def compute_flags(guard: Guard, scored: Sequence[ScoredGroup]) -> NDArray[np.bool_]:
    """Return whether the guard flags each completion, (B, G)."""
    name = f"guard {guard.name!r}"
    flags = _array(name, call_component(name, guard.flags, scored), scored, "True or False")
    for value in flags[(flags != 0) & (flags != 1) & _completions(scored)]:  # nan, too
        raise PluginError(f"{name} returned the flag {value:g}: return True or False for each completion.")
    is_flagged: NDArray[np.bool_] = flags == 1
    return is_flagged


def compute_drop_reasons(
    chosen: Filter, scored: Sequence[ScoredGroup], rewards: NDArray[np.float64]
) -> list[str | None]:
    """Return the reason why the filter drops each group, (B,); None if the group stays."""
    name = f"filter {chosen.name!r}"
    found: Any = call_component(name, chosen.drop_reasons, scored, rewards)
    if not isinstance(found, list | tuple) or len(found) != len(scored):
        raise PluginError(f"{name} returned {found!r:.200} for {len(scored)} groups: return one reason, or None, each.")
    for reason in found:
        if reason is not None and (not isinstance(reason, str) or not reason):
            raise PluginError(f"{name} returned the reason {reason!r}: return a text, or None if the group stays.")
    return list(found)


def component_state(kind: str, component: RewardSignal | Guard | Filter) -> dict[str, Any]:
    """Return the state of the component. Raise PluginError if it is not JSON, which a checkpoint needs."""
    name = f"{kind} {component.name!r}"
    state: Any = call_component(name, component.state_dict, during="state_dict()")
    try:
        json.dumps(state)
    except (TypeError, ValueError) as error:
        raise PluginError(f"{name}: state_dict() returned {state!r:.200}, which is not JSON: {error}.") from error
    return dict(state)


def update_alarm(alarm: Alarm, observation: Observation, step: int, action: Action) -> Firing | None:
    """Update the alarm with the observation of a step. Return the firing if it fires."""
    firing: Firing | None = call_component(
        f"alarm {alarm.name!r}", alarm.update, observation, step, action, during=f"step {step}"
    )
    return firing


def _array(name: str, values: Any, scored: Sequence[ScoredGroup], what: str) -> NDArray[np.float64]:
    """Return the values as an array (B, G) of floats; None becomes nan. `what` says in a message what they must be.

    G is the size of the largest group. Rows can also have the sizes of their groups. The array is nan after the end of
    a smaller group.
    """
    completions = _completions(scored)
    sizes = [int(size) for size in completions.sum(axis=1)]
    shape = completions.shape
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):  # rows of different lengths
        array = _ragged_rows(values, sizes)
    numeric = array.dtype.kind in "biuf" or all(isinstance(value, Real | None) for value in array.flat)
    if array.shape != shape or not numeric:
        found = getattr(values, "shape", None) if numeric else None
        returned = f"{values!r:.200}" if found is None else f"shape {tuple(found)}"
        of = shape[1] if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
        raise PluginError(
            f"{name} returned {returned} for {shape[0]} groups of {of} completions: return an array of the shape "
            f"{shape} of {what}."
        )
    return np.where(completions, array.astype(np.float64), np.nan)


def _completions(scored: Sequence[ScoredGroup]) -> NDArray[np.bool_]:
    """(B, G): whether the group of the row has this completion. G is the size of the largest group."""
    sizes = np.array([len(item.group.completions) for item in scored])
    has_one: NDArray[np.bool_] = np.arange(sizes.max()) < sizes[:, None]
    return has_one


def _ragged_rows(values: Any, sizes: Sequence[int]) -> NDArray[Any]:
    """Rows with the sizes of their groups as one array of objects, with None after the end; else an empty array."""
    try:
        rows = [list(row) for row in values]
    except TypeError:
        return np.empty(0)
    if [len(row) for row in rows] != list(sizes):
        return np.empty(0)
    return np.array([row + [None] * (max(sizes) - len(row)) for row in rows], dtype=object)

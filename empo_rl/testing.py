"""Conformance checks for reward signals, filters, guards and alarms.

    from empo_rl.testing import check_guard
    check_guard(MyGuard())

Each function raises `ConformanceError` (an AssertionError) if the component breaks a rule on which the provider or the
monitor relies. The message lists all broken rules with values. The checks need neither torch nor a trainer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.filters import Filter
from empo_rl.core.groups import RolloutGroup
from empo_rl.core.guards import Guard
from empo_rl.core.rewards import RewardSignal, ScoredGroup, SignalContext
from empo_rl.monitor import Alarm, Example, Observation, Reading, Update
from semantic_entropy import Scorer, SemanticEntropyError
from semantic_entropy.testing import ConformanceError

__all__ = ["GROUPS", "ConformanceError", "check_alarm", "check_filter", "check_guard", "check_reward"]

_MEASURES = dict.fromkeys(("token_entropy", "self_certainty", "tokens"), (1.0, 2.0, 0.5, 0.0))


def _group(*texts: str, question: str | None, gold: str | None) -> RolloutGroup:
    return RolloutGroup(texts, question, gold, {**_MEASURES, "truncated": (0.0, 1.0, 0.0, 0.0)})


GROUPS = (
    _group(r"\boxed{4}", r"\boxed{4}", r"\boxed{5}", "no answer", question="2 + 2 = ?", gold="4"),
    _group(
        r"\boxed{Rome}", r"\boxed{Rome}", r"\boxed{Rome}", r"\boxed{Rome}", question="Capital of Italy?", gold="Rome"
    ),
    _group("", "I do not know", "\u6771\u4eac", "a\x00b", question="Why?\n\nBecause {question}.", gold="nothing"),
    _group(r"\boxed{1}", r"\boxed{2}", r"\boxed{3}", r"\boxed{4}", question="\u6771\u4eac?", gold="7"),
)
"""Groups that a component must handle: agreement, disagreement, no valid answer, empty text, another script."""


def check_reward(signal: RewardSignal, groups: Sequence[RolloutGroup] = GROUPS) -> None:
    """Check a reward signal.

    The rewards have the shape (B, G), and are finite numbers, or nan if the signal `abstains`. Without `stateful`, the
    rewards of a group do not depend on the other groups of the batch. The state is JSON, and equal states give equal
    rewards.

    Args:
        signal: the signal.
        groups: groups of one size of the kind that your signal is made for.
    """
    _report(signal, _reward_rules(signal, _scored(groups)))


def check_guard(guard: Guard, groups: Sequence[RolloutGroup] = GROUPS) -> None:
    """Check a guard: flags of the shape (B, G), and the rules about batches and states of `check_reward`."""
    _report(guard, _guard_rules(guard, _scored(groups)))


def check_filter(chosen: Filter, groups: Sequence[RolloutGroup] = GROUPS) -> None:
    """Check a filter: a reason or None for each group, and the rules about batches and states of `check_reward`."""
    _report(chosen, _filter_rules(chosen, _scored(groups)))


def check_alarm(make: Callable[[], Alarm]) -> None:
    """Check an alarm.

    The alarm has a name and a meaning. It reads steps in which nothing was measured, or no answer is valid, without an
    error. A reading is finite. After its state was saved as JSON and loaded, the alarm continues as before.

    Args:
        make: the class of the alarm, or a function that returns a new alarm.
    """
    _report(make(), _alarm_rules(make))


def _report(component: Any, rules: Iterator[str]) -> None:
    broken: list[str] = []
    name = getattr(component, "name", "")
    if not isinstance(name, str) or not name or "/" in name:
        broken.append(f"name is {name!r}: log columns need a text without a slash")
    try:
        broken.extend(rules)
    except SemanticEntropyError as error:
        broken.append(str(error))
    if broken:
        raise ConformanceError(str(name) or type(component).__name__, broken)


def _scored(groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
    with Scorer(equivalence="exact", extract="boxed", invalid="separate") as scorer:
        results = scorer.estimate([list(g.completions) for g in groups], question=[g.question for g in groups])
    return [ScoredGroup(group, result) for group, result in zip(groups, results, strict=True)]


def _reward_rules(signal: RewardSignal, scored: Sequence[ScoredGroup]) -> Iterator[str]:
    signal.bind(SignalContext("singleton_zero", 0, lambda pairs: [answer == gold for _, answer, gold in pairs]))

    def rewards(items: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return np.asarray(signal.rewards(items), dtype=np.float64)

    yield from _state_rules(signal, lambda: rewards(scored))
    whole, shape = rewards(scored), (len(scored), len(scored[0].group.completions))
    if whole.shape != shape:
        yield f"rewards() returned the shape {whole.shape} for B, G = {shape}"
        return
    if np.isinf(whole).any():
        yield f"rewards() returned infinity: {whole.tolist()}"
    if np.isnan(whole).any() and not signal.abstains:
        yield f"rewards() returned nan: {whole.tolist()}. Set abstains = True if nan means that there is no reward"
    if not signal.stateful:
        alone = np.concatenate([rewards([item]) for item in scored])
        if not np.array_equal(whole, alone, equal_nan=True):
            yield (
                f"the rewards of a group depend on the other groups: {whole.tolist()} together, {alone.tolist()} one "
                "by one. Set stateful = True, so that several processes make one decision"
            )


def _guard_rules(guard: Guard, scored: Sequence[ScoredGroup]) -> Iterator[str]:
    if guard.pays is not None and not math.isfinite(guard.pays):
        yield f"pays is {guard.pays!r}: a payment is a finite number, or None"
    yield from _state_rules(guard, lambda: np.asarray(guard.flags(scored), dtype=np.float64))
    flags, size = [list(row) for row in guard.flags(scored)], len(scored[0].group.completions)
    if [len(row) for row in flags] != [size] * len(scored):
        yield f"flags() returned rows of the lengths {[len(row) for row in flags]} for {len(scored)} groups of {size}"
        return
    if any(flag not in (True, False) for row in flags for flag in row):
        yield f"flags() returned values that are neither True nor False: {flags}"
    if not guard.stateful and flags != [list(guard.flags([item])[0]) for item in scored]:
        yield "the flags of a group depend on the other groups: set stateful = True"


def _filter_rules(chosen: Filter, scored: Sequence[ScoredGroup]) -> Iterator[str]:
    size = len(scored[0].group.completions)
    rewards = np.arange(len(scored) * size, dtype=np.float64).reshape(-1, size) % 3
    rewards[0] = 1.0
    rewards[1, 0] = np.nan

    def reasons(items: Sequence[ScoredGroup], paid: NDArray[np.float64]) -> list[Any]:
        return list(chosen.drop_reasons(items, paid))

    found = reasons(scored, rewards)
    if len(found) != len(scored):
        yield f"drop_reasons() returned {len(found)} reasons for {len(scored)} groups"
        return
    if any(reason is not None and (not isinstance(reason, str) or not reason) for reason in found):
        yield f"drop_reasons() returned {found}: a reason is a text that is not empty, or None"
    if not chosen.stateful:
        alone = [reasons([item], rewards[[row]])[0] for row, item in enumerate(scored)]
        if found != alone:
            yield f"the decision about a group depends on the other groups ({found}; {alone}): set stateful = True"
    if any(not isinstance(note, str) for note in chosen.check(size)):
        yield f"check({size}) returned {chosen.check(size)!r}: return a list of texts"


def _state_rules(component: RewardSignal | Guard, run: Callable[[], NDArray[np.float64]]) -> Iterator[str]:
    """The state survives JSON, and two runs from the same state give the same numbers."""
    try:
        state = json.loads(json.dumps(component.state_dict()))
    except TypeError as error:
        yield f"state_dict() is not JSON: {error}"
        return
    first = run()
    component.load_state_dict(state)
    second = run()
    if not np.array_equal(first, second, equal_nan=True):
        yield f"two runs from the same state differ: {first.tolist()}, then {second.tolist()}"
    component.load_state_dict(state)


def _observations() -> list[Observation]:
    size, nothing = 4, math.nan
    plain = Observation(size, (0.5, 1.0), ("1", "2"), 1, (3.0,) * 8)
    return [
        plain,
        Observation(size, (nothing, nothing), (None, None), 8),
        Observation(size, (0.0, 0.0), ("1", "1"), 0, (9.0,) * 8, flat=2, filtered=1, truncated=8),
        Observation(size, (1.2, 0.1), ("x", None), 4, (1.0,) * 8, update=Update(gradient=False)),
        Observation(
            *(size, (1.2, 0.1), ("x", "y"), 4, (1.0,) * 8),
            examples=(Example("text", None, nothing),),
            update=Update(gradient=True, moved=0.0, learning_rate=1e-6),
        ),
        *[plain] * 8,
    ]


def _alarm_rules(make: Callable[[], Alarm]) -> Iterator[str]:
    observations = _observations()
    whole, before, after = make(), make(), make()
    if not getattr(whole, "meaning", ""):
        yield "meaning is empty: the message would not say what to do"
    half = len(observations) // 2
    for number, observation in enumerate(observations, start=1):
        reading = make().read(observation)
        if reading is not None and not isinstance(reading, Reading):
            yield f"read() returned {reading!r}: return a Reading or None"
            return
        whole.update(observation, number, "warn")
        (before if number <= half else after).update(observation, number, "warn")
        if number == half:
            try:
                after.load_state_dict(json.loads(json.dumps(before.state_dict())))
            except TypeError as error:
                yield f"state_dict() is not JSON: {error}"
                return
    if after.state_dict() != whole.state_dict() or after.reading not in (None, whole.reading):
        yield (
            f"after its state was loaded, the alarm continues differently: {after.state_dict()} instead of "
            f"{whole.state_dict()}. Extend state_dict and load_state_dict"
        )

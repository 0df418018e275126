"""The monitor of a run. Call `Monitor.update` once for each step; it returns the alarms that fire.

    monitor = Monitor(action="stop")
    for step in ...:
        decision = provider.step(groups)
        for firing in monitor.update(decision, lengths=lengths, step=step): print(firing.message)
        if monitor.stopping: break

The monitor needs no trainer, reads no labels and writes no files. `empo_rl.trainers.trl.callbacks` contains a callback
for TRL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from empo_rl.core.contracts import update_alarm
from empo_rl.core.decision import BatchDecision
from empo_rl.core.groups import RolloutGroup
from empo_rl.monitor.base import ACTIONS, Action, Alarm, Firing
from empo_rl.monitor.observation import Observation
from empo_rl.plugin import built_in_alarms, check_unique_names, components, create, is_file_reference
from semantic_entropy import InputError, SemanticEntropyError

ALARMS: Mapping[str, type[Alarm]] = {
    component.name: cast("type[Alarm]", component.load()) for component in built_in_alarms()
}
"""The built-in alarms by name. They watch each run unless its configuration excludes them."""


def load_alarms(choices: Mapping[str, Any] | None = None) -> tuple[Alarm, ...]:
    """Make the built-in alarms, and the alarms of plugins that `choices` names.

    Args:
        choices: changes to the default options, by the name of the alarm or by `path.py:NAME`; None excludes the alarm.
            Example: `{"concentration": {"share": 0.3, "action": "stop"}, "length_drift": None}`

    Raises:
        SemanticEntropyError: an alarm does not exist or does not accept the options.
    """
    defaults: dict[str, Any] = {name: {} for name in ALARMS}
    chosen = {**defaults, **(choices or {})}
    return tuple(made for name, options in chosen.items() if (made := _make_alarm(name, options)) is not None)


def _make_alarm(name: str, options: Any) -> Alarm | None:
    if not is_file_reference(name):
        components.find("alarm", name)  # a name that does not exist is an error, also with the options None
    if options is None:
        return None
    if not isinstance(options, Mapping):
        raise InputError(
            f"alarm {name}: {options!r} is not a mapping of options: set for example {{steps: 5}}, or {{}} for the "
            "default options, or null to exclude the alarm."
        )
    alarm: Alarm = create("alarm", name, dict(options), Alarm)
    return alarm


class RunStoppedError(SemanticEntropyError):
    """An alarm stopped the run. The message names the alarm and says how to continue."""


class Monitor:
    """A set of alarms.

    Args:
        alarms: changes to the default alarms, and more alarms, by name (see `load_alarms`), for example
            `{"variety": None, "concentration": {"share": 0.3}}`; or `Alarm` instances, which replace all default
            alarms.
        action: `warn` or `stop`: the action of each alarm with `action=None`.
    """

    def __init__(self, alarms: Mapping[str, Any] | Sequence[Alarm] | None = None, *, action: Action = "warn") -> None:
        if action not in ACTIONS:
            raise InputError(f"action is {action!r}: choose one of {', '.join(ACTIONS)}.")
        self.action: Action = action
        by_name = alarms is None or isinstance(alarms, Mapping)
        self.alarms: tuple[Alarm, ...] = load_alarms(alarms) if by_name else tuple(alarms)  # type: ignore[arg-type]
        check_unique_names("alarm", self.alarms)
        self._step = 0

    def update(
        self,
        decision: BatchDecision,
        *,
        lengths: Sequence[float] | None = None,
        step: int | None = None,
        groups: Sequence[RolloutGroup] | None = None,
    ) -> list[Firing]:
        """Update all alarms with one step. Return the alarms that fire in this step.

        Args:
            decision: the provider's decision about all groups of the step.
            lengths: (B*G,) the lengths of the completions, in group order, in any unit; needed by `length_drift` only.
            step: the number of the step; None means the step after the last step.
            groups: (B,) the groups of the step; with them, messages show completions, and `cut_off` has a reading.
        """
        return self.observe(Observation.of(decision, lengths, groups), self._step + 1 if step is None else step)

    def observe(self, observation: Observation, step: int) -> list[Firing]:
        """Update all alarms with an observation, which may be joined from the observations of several processes."""
        if step <= self._step:
            raise InputError(f"step {step} after step {self._step}: pass each step to a monitor once, in order.")
        self._step = step
        firings = [update_alarm(alarm, observation, step, self.action) for alarm in self.alarms]
        return [firing for firing in firings if firing is not None]

    def see(self, *_: object) -> NoReturn:
        """Raise an error: `observe` replaces this method of 0.1.0."""
        raise AttributeError("Monitor.see(Seen(...), step) is now Monitor.observe(Observation(...), step)")

    @property
    def step(self) -> int:
        """The number of the last step; 0 before the first step."""
        return self._step

    @property
    def stopping(self) -> tuple[str, ...]:
        """The names of the alarms that are on and whose action is `stop`."""
        return tuple(alarm.name for alarm in self.alarms if alarm.on and (alarm.action or self.action) == "stop")

    @property
    def suspect_since(self) -> int | None:
        """The first step of the earliest current condition of an alarm, also if the alarm has not fired yet.

        The value is None if no condition holds.

        The completions of step s are sampled from the weights after step s - 1. The completions of step
        `suspect_since - 1` did not meet the condition, so the last good weights are the weights after step
        `suspect_since - 2`.
        """
        return min((alarm.began for alarm in self.alarms if alarm.began is not None), default=None)

    def columns(self) -> dict[str, float]:
        """Return columns for a log.

        `alarm/NAME` is 1 while the alarm is on, otherwise 0; `watch/NAME` is the watched number of the alarm.
        """
        columns: dict[str, float] = {}
        for alarm in self.alarms:
            columns[f"alarm/{alarm.name}"] = float(alarm.on)
            if alarm.reading is not None:
                columns[f"watch/{alarm.name}"] = alarm.reading.value
        return columns

    def state_dict(self) -> dict[str, Any]:
        """The state that a restart needs, as JSON."""
        return {"step": self._step, "alarms": {alarm.name: alarm.state_dict() for alarm in self.alarms}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from this state. An alarm without a saved state does not change."""
        self._step = state["step"]
        for alarm in self.alarms:
            if alarm.name in state["alarms"]:
                alarm.load_state_dict(state["alarms"][alarm.name])

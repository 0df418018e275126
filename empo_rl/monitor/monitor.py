"""All alarms over a run: call `update` once a step; it returns the alarms that fire.

    monitor = Monitor(action="stop")
    for step in ...:
        decision = provider.step(groups)
        for firing in monitor.update(decision, lengths=lengths, step=step): print(firing.message)
        if monitor.stopping: break

Knows no trainer, reads no label, writes no file. `empo_rl.trainers.trl.callbacks` has the callback for TRL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from empo_rl.core.provider import BatchDecision
from empo_rl.monitor.alarms import load_alarms
from empo_rl.monitor.base import ACTIONS, Action, Alarm, Firing
from empo_rl.monitor.observation import Observation
from semantic_entropy import InputError, SemanticEntropyError


class RunStoppedError(SemanticEntropyError):
    """An alarm stopped the run; the message names the alarm and says how to continue."""


class Monitor:
    """A set of alarms.

    Args:
        alarms: changes to the default alarms, by name: `{"variety": None, "concentration": {"share": .3}}`; or `Alarm`
            instances, which replace the default alarms.
        action: `warn` or `stop`, for each alarm without an action of its own.
    """

    def __init__(self, alarms: Mapping[str, Any] | Sequence[Alarm] | None = None, *, action: Action = "warn") -> None:
        if action not in ACTIONS:
            raise InputError(f"action is {action!r}: choose one of {', '.join(ACTIONS)}.")
        self.action: Action = action
        by_name = alarms is None or isinstance(alarms, Mapping)
        self.alarms: tuple[Alarm, ...] = load_alarms(alarms) if by_name else tuple(alarms)  # type: ignore[arg-type]
        self._step = 0

    def update(
        self, decision: BatchDecision, *, lengths: Sequence[float] | None = None, step: int | None = None
    ) -> list[Firing]:
        """Take in one step. Returns the alarms that fire in it.

        Args:
            decision: the provider's decision about all groups of the step.
            lengths: (B*G,) of the completions, group after group, in any unit; `length_drift` needs them.
            step: the number of the step; None counts on from the last one.
        """
        return self.observe(Observation.of(decision, lengths), self._step + 1 if step is None else step)

    def observe(self, observation: Observation, step: int) -> list[Firing]:
        """As `update`, from an observation that was gathered from several processes."""
        if step <= self._step:
            raise InputError(f"step {step} after step {self._step}: give a monitor each step once, in order.")
        self._step = step
        firings = (alarm.update(observation, step, self.action) for alarm in self.alarms)
        return [firing for firing in firings if firing is not None]

    def see(self, *_: object) -> NoReturn:
        """Removed: raises an error that names `observe`."""
        raise AttributeError("Monitor.see(Seen(...), step) is now Monitor.observe(Observation(...), step)")

    @property
    def step(self) -> int:
        """The last step that it took in; 0 before the first."""
        return self._step

    @property
    def stopping(self) -> tuple[str, ...]:
        """The names of the alarms that are on and whose action is `stop`."""
        return tuple(alarm.name for alarm in self.alarms if alarm.on and (alarm.action or self.action) == "stop")

    @property
    def suspect_since(self) -> int | None:
        """The first step of the earliest condition that holds now, whether its alarm fired yet or not.

        The completions of a step are sampled from the weights after the step before it. The last good weights are
        therefore those after step `suspect_since - 2`: their completions, in the next step, were not suspect.
        """
        return min((alarm.began for alarm in self.alarms if alarm.began is not None), default=None)

    def columns(self) -> dict[str, float]:
        """For a log: `alarm/NAME` is 1 while the alarm is on, otherwise 0; `watch/NAME` is the watched number."""
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
        """Continue from this state. An alarm that is not in the state starts from the beginning."""
        self._step = state["step"]
        for alarm in self.alarms:
            if alarm.name in state["alarms"]:
                alarm.load_state_dict(state["alarms"][alarm.name])

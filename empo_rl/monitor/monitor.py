"""Alarms over a run: fed once a step with what the run knows without labels, it says which alarms fire.

    monitor = Monitor(action="stop")
    for step in ...:
        decision = provider.step(groups)
        for firing in monitor.update(decision, lengths=lengths, step=step): print(firing.message)
        if monitor.stopping: break

Knows no trainer, reads no label, writes no file. `adapters.monitoring` has the callback for TRL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from empo_rl.core.decision import BatchDecision
from empo_rl.monitor.alarm import ACTIONS, Action, Alarm, Firing
from empo_rl.monitor.alarms import load_alarms
from empo_rl.monitor.seen import Seen
from semantic_entropy import InputError, SemanticEntropyError


class RunStoppedError(SemanticEntropyError):
    """An alarm stopped the run; the message says which, and how to go on."""


class Monitor:
    """A set of alarms and what follows from them.

    Args:
        alarms: by name with their options, on top of the defaults: `{"variety": None, "concentration": {"share": .3}}`;
            or `Alarm` instances, and then those alone.
        action: of every alarm that has none of its own: `warn` or `stop`.
    """

    def __init__(self, alarms: Mapping[str, Any] | Sequence[Alarm] | None = None, *, action: Action = "warn") -> None:
        if action not in ACTIONS:
            raise InputError(f"action is {action!r}: choose of {', '.join(ACTIONS)}.")
        self.action: Action = action
        by_name = alarms is None or isinstance(alarms, Mapping)
        self.alarms: tuple[Alarm, ...] = load_alarms(alarms) if by_name else tuple(alarms)  # type: ignore[arg-type]
        self._step = 0

    def update(
        self, decision: BatchDecision, *, lengths: Sequence[float] | None = None, step: int | None = None
    ) -> list[Firing]:
        """Take in a step, and return the alarms that fire in it.

        Args:
            decision: the provider's, about all groups of the step.
            lengths: (B*G,) of the completions, group after group, in any unit; without them `length_drift` is silent.
            step: its number; None counts on from the last one.
        """
        return self.see(Seen.of(decision, lengths), self._step + 1 if step is None else step)

    def see(self, seen: Seen, step: int) -> list[Firing]:
        """As `update`, from what was gathered of several processes."""
        if step <= self._step:
            raise InputError(f"step {step} after step {self._step}: a monitor is fed each step once, in order.")
        self._step = step
        firings = (alarm.update(seen, step, self.action) for alarm in self.alarms)
        return [firing for firing in firings if firing is not None]

    @property
    def step(self) -> int:
        """The last step it was fed; 0 before the first."""
        return self._step

    @property
    def stopping(self) -> tuple[str, ...]:
        """The names of the alarms that are on and stop the run."""
        return tuple(alarm.name for alarm in self.alarms if alarm.on and (alarm.action or self.action) == "stop")

    @property
    def suspect_since(self) -> int | None:
        """The first step of the earliest condition that holds now, whether its alarm fired yet or not.

        What the step showed are samples of the weights before it: the last good weights are those of step
        `suspect_since - 2`, whose samples, in the step after, were still unsuspected.
        """
        return min((alarm.began for alarm in self.alarms if alarm.began is not None), default=None)

    def columns(self) -> dict[str, float]:
        """For a log: `alarm/NAME` is 1 while the alarm is on, else 0; `watch/NAME` is the number it watches."""
        columns: dict[str, float] = {}
        for alarm in self.alarms:
            columns[f"alarm/{alarm.name}"] = float(alarm.on)
            if alarm.reading is not None:
                columns[f"watch/{alarm.name}"] = alarm.reading.value
        return columns

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart, as JSON has it."""
        return {"step": self._step, "alarms": {alarm.name: alarm.state_dict() for alarm in self.alarms}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. An alarm that the state does not know begins anew."""
        self._step = state["step"]
        for alarm in self.alarms:
            if alarm.name in state["alarms"]:
                alarm.load_state_dict(state["alarms"][alarm.name])

"""The interface of an alarm.

An alarm watches a number. The condition of the alarm holds in a step if the number is beyond its limit. If the
condition holds in `steps` consecutive steps, the alarm fires; it fires once and is then on. `began` is the first of
these consecutive steps. If the condition does not hold in `steps` consecutive steps, the alarm is off again and can
fire again.

A step without a reading (no valid answer, no lengths, too early in the run) does not change an alarm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from numbers import Real
from typing import Any, ClassVar, Literal

from empo_rl.monitor.observation import Observation
from semantic_entropy import InputError, PluginError

Action = Literal["warn", "stop"]
ACTIONS: tuple[Action, ...] = ("warn", "stop")


@dataclass(frozen=True, slots=True)
class Reading:
    """The watched number of an alarm in one step.

    Attributes:
        value: the watched number.
        limit: the limit of the number.
        holds: whether the condition of the alarm holds: the number is beyond the limit.
        words: the number and the limit in words, for a message.
        evidence: lines for the end of the message, such as the likely cause and completions of the step.
    """

    value: float
    limit: float
    holds: bool
    words: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Firing:
    """An alarm that fired.

    Attributes:
        alarm: the name of the alarm.
        step: the step in which it fired.
        began: the first of the consecutive steps that made it fire.
        value: the watched number in `step`.
        limit: the limit of that number.
        action: `warn` or `stop`.
        message: the watched number and its limit in words, the first step, the meaning, the advice, and the evidence.
    """

    alarm: str
    step: int
    began: int
    value: float
    limit: float
    action: Action
    message: str


@dataclass(slots=True)
class _Streak:
    """The state of an alarm.

    Attributes:
        began: the first step of the condition; None if there is none.
        held: the number of consecutive last steps in which the condition held.
        quiet: the number of consecutive last steps in which the condition did not hold.
        on: whether the alarm fired and is not off again.
    """

    began: int | None = None
    held: int = 0
    quiet: int = 0
    on: bool = False


class Alarm(ABC):
    """An alarm. A subclass with more state extends `state_dict` and `load_state_dict`.

    Args:
        steps: the number of consecutive steps in which the condition must hold before the alarm fires. The alarm is off
            again after the same number of consecutive steps in which the condition does not hold.
        action: `warn`, `stop`, or None for the action of the monitor.

    Attributes:
        name: the name of the alarm.
        meaning: the meaning of the alarm and the advice, in a few sentences.
        reading: the last reading; None before the first reading.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for removed, replacement in (("memory", "state_dict"), ("recall", "load_state_dict")):
            if removed in cls.__dict__:  # names of 0.1.0; without the error, --resume would lose the state
                raise TypeError(
                    f"{cls.__name__}.{removed}: extend Alarm.{replacement} instead; Alarm has no method {removed}"
                )

    def __init__(self, *, steps: int = 5, action: Action | None = None) -> None:
        self.steps = check_count(self.name, "steps", steps)
        if action not in (None, *ACTIONS):
            raise InputError(f"alarm {self.name}: action is {action!r}: choose one of {', '.join(ACTIONS)}.")
        self.action = action
        self.reading: Reading | None = None
        self._streak = _Streak()

    @abstractmethod
    def read(self, observation: Observation) -> Reading | None:
        """Return the reading of this step; None if the step has no reading.

        The monitor calls this method once for each step, in the order of the steps.
        """

    @property
    def on(self) -> bool:
        """Whether the alarm fired and is not off again."""
        return self._streak.on

    @property
    def began(self) -> int | None:
        """The first step of the current condition, also if the alarm has not fired yet; None without a condition."""
        return self._streak.began

    def update(self, observation: Observation, step: int, action: Action) -> Firing | None:
        """Update the alarm with the observation of a step.

        Args:
            observation: the numbers of the step.
            step: the number of the step.
            action: the action if `self.action` is None.

        Returns:
            The firing if the alarm fires in this step, otherwise None.
        """
        reading: Any = self.read(observation)
        if reading is None:
            return None
        value: Any = reading.value if isinstance(reading, Reading) else None
        if not isinstance(value, Real) or not isfinite(value):
            raise PluginError(
                f"alarm {self.name!r} read {reading!r:.200} in step {step}: return a Reading with a finite value, or "
                "None."
            )
        self.reading = reading
        if not self._fires(reading.holds, step):
            return None
        began = self._streak.began or step
        since = f" since step {began}" if began < step else ""
        evidence = f"\n{reading.evidence}" if reading.evidence else ""
        return Firing(
            alarm=self.name,
            step=step,
            began=began,
            value=reading.value,
            limit=reading.limit,
            action=self.action or action,
            message=f"alarm {self.name} at step {step}: {reading.words}{since}. {self.meaning}{evidence}",
        )

    def _fires(self, holds: bool, step: int) -> bool:
        """Count the step. Return whether the alarm fires in this step."""
        streak = self._streak
        if holds:
            streak.began = step if streak.began is None else streak.began
            streak.held, streak.quiet = streak.held + 1, 0
            fires = not streak.on and streak.held >= self.steps
            streak.on = streak.on or fires
            return fires
        streak.held, streak.quiet = 0, streak.quiet + 1
        if not streak.on or streak.quiet >= self.steps:
            self._streak = _Streak()
        return False

    def state_dict(self) -> dict[str, Any]:
        """The state that a restart needs, as JSON."""
        return asdict(self._streak)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from this state."""
        self._streak = _Streak(state["began"], state["held"], state["quiet"], state["on"])


@dataclass(slots=True)
class StartMean:
    """The mean of a number at the start of a run. Alarms compare later steps with this mean.

    Attributes:
        steps: the number of values that are averaged.
        values: the values so far.
    """

    steps: int
    values: list[float] = field(default_factory=list)

    def update(self, value: float) -> float | None:
        """Add the value of a step during the first `steps` steps and return None. Later, return the mean."""
        if len(self.values) < self.steps:
            self.values.append(value)
            return None
        return sum(self.values) / len(self.values)


def check_count(alarm: str, option: str, value: Any) -> int:
    """Return the value if it is a whole number of 1 or more; otherwise raise an error."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"alarm {alarm}: {option} is {value!r}: set a whole number of 1 or more.")
    return value


def check_range(alarm: str, option: str, value: Any, low: float, high: float) -> float:
    """Return the value if it is a number from `low` to `high`; otherwise raise an error."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"alarm {alarm}: {option} is {value!r}: set a number from {low:g} to {high:g}.")
    return float(value)

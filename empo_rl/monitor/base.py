"""The interface of an alarm: a watched number, a limit, and a count of consecutive steps.

    holds    the number is beyond its limit in this step
    began    the first of the consecutive steps in which it has been
    fires    it has held for `steps` consecutive steps; reported once
    is over  it has not held for `steps` consecutive steps; the alarm can then fire again

A step without a reading (no valid answer, no lengths, too early) changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from empo_rl.monitor.observation import Observation
from semantic_entropy import InputError

Action = Literal["warn", "stop"]
ACTIONS: tuple[Action, ...] = ("warn", "stop")


@dataclass(frozen=True, slots=True)
class Reading:
    """The watched number in one step, the limit it is compared with, and both in words."""

    value: float
    limit: float
    holds: bool
    words: str


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
        message: what happened, since which step, what it means and what to do.
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
    """Consecutive steps in which the condition held, and, while the alarm is on, in which it did not (`quiet`)."""

    began: int | None = None
    held: int = 0
    quiet: int = 0
    on: bool = False


class Alarm(ABC):
    """One alarm. A subclass with more state extends `state_dict` and `load_state_dict`.

    Args:
        steps: the number of consecutive steps before it fires.
        action: `warn`, `stop`, or None for the monitor's action.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]  # what it means and what to do, in one or two sentences

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for removed, replacement in (("memory", "state_dict"), ("recall", "load_state_dict")):
            if removed in cls.__dict__:  # names of 0.1.0: ignored, an alarm would lose its state at --resume
                raise TypeError(f"{cls.__name__}.{removed}: extend Alarm.{replacement} instead; Alarm has no {removed}")

    def __init__(self, *, steps: int = 5, action: Action | None = None) -> None:
        self.steps = check_count(self.name, "steps", steps)
        if action not in (None, *ACTIONS):
            raise InputError(f"alarm {self.name}: action is {action!r}: choose one of {', '.join(ACTIONS)}.")
        self.action = action
        self.reading: Reading | None = None
        self._streak = _Streak()

    @abstractmethod
    def read(self, observation: Observation) -> Reading | None:
        """The reading of this step; None if the step has none. Called once a step, in order."""

    @property
    def on(self) -> bool:
        """Whether it fired and is not over."""
        return self._streak.on

    @property
    def began(self) -> int | None:
        """The first step of the condition that holds now, whether the alarm fired yet or not."""
        return self._streak.began

    def update(self, observation: Observation, step: int, action: Action) -> Firing | None:
        """Take in one step. `action` applies if the alarm has no action of its own."""
        reading = self.read(observation)
        if reading is None:
            return None
        self.reading = reading
        if not self._fires(reading.holds, step):
            return None
        began = self._streak.began or step
        since = f" since step {began}" if began < step else ""
        return Firing(
            alarm=self.name,
            step=step,
            began=began,
            value=reading.value,
            limit=reading.limit,
            action=self.action or action,
            message=f"alarm {self.name} at step {step}: {reading.words}{since}. {self.meaning}",
        )

    def _fires(self, holds: bool, step: int) -> bool:
        """Count the step. Returns whether the alarm fires in it."""
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
    """The mean of a number over the first `steps` steps of a run, to compare later steps with."""

    steps: int
    values: list[float] = field(default_factory=list)

    def update(self, value: float) -> float | None:
        """Take in one step. Returns the mean, or None during the first steps."""
        if len(self.values) < self.steps:
            self.values.append(value)
            return None
        return sum(self.values) / len(self.values)


def check_count(alarm: str, option: str, value: Any) -> int:
    """An option that counts something: a whole number of 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"alarm {alarm}: {option} is {value!r}: set a whole number of 1 or more.")
    return value


def check_range(alarm: str, option: str, value: Any, low: float, high: float) -> float:
    """An option that is a number between two others, both included."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"alarm {alarm}: {option} is {value!r}: set a number from {low:g} to {high:g}.")
    return float(value)

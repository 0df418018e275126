"""What every alarm is: a number that is watched, a limit, and a count of steps.

    holds    the number is beyond its limit in this step
    began    the first step of those in a row in which it has been
    fires    once it has held for `steps` steps in a row: said once
    is over  once it has not held for `steps` steps in a row; it may then fire again

A step that tells nothing (no valid answer, no lengths, too early) leaves all of this as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from empo_rl.monitor.seen import Seen
from semantic_entropy import InputError

Action = Literal["warn", "stop"]
ACTIONS: tuple[Action, ...] = ("warn", "stop")


@dataclass(frozen=True, slots=True)
class Reading:
    """The watched number in one step, the limit it is held against, and both in words."""

    value: float
    limit: float
    holds: bool
    words: str


@dataclass(frozen=True, slots=True)
class Firing:
    """An alarm that fired.

    Attributes:
        alarm: its name.
        step: when it fired.
        began: the first step of those in a row that made it fire.
        value: the watched number at `step`.
        limit: what it was held against.
        action: `warn` or `stop`.
        message: what, since when, what it means and what to do.
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
    """In a row: steps that held, or, once on, steps that did not."""

    began: int | None = None
    held: int = 0
    quiet: int = 0
    on: bool = False


class Alarm(ABC):
    """One alarm.

    Args:
        steps: in a row, before it fires.
        action: `warn`, `stop`, or None: the monitor's.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]  # what it means, and what to do, in one or two sentences

    def __init__(self, *, steps: int = 5, action: Action | None = None) -> None:
        self.steps = whole(self.name, "steps", steps)
        if action not in (None, *ACTIONS):
            raise InputError(f"alarm {self.name}: action is {action!r}: choose of {', '.join(ACTIONS)}.")
        self.action = action
        self.reading: Reading | None = None
        self._streak = _Streak()

    @abstractmethod
    def read(self, seen: Seen) -> Reading | None:
        """This step's reading; None where the step tells nothing. Called once a step, in order."""

    @property
    def on(self) -> bool:
        """It fired and is not over."""
        return self._streak.on

    @property
    def began(self) -> int | None:
        """The first step of what holds now, fired or not yet."""
        return self._streak.began

    def update(self, seen: Seen, step: int, action: Action) -> Firing | None:
        """Take in a step. `action` counts where the alarm has none of its own."""
        reading = self.read(seen)
        if reading is None:
            return None
        self.reading = reading
        if not self._count(reading.holds, step):
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

    def _count(self, holds: bool, step: int) -> bool:
        """Whether it fires now."""
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
        """What must survive a restart, as JSON has it."""
        streak = self._streak
        return {"began": streak.began, "held": streak.held, "quiet": streak.quiet, "on": streak.on, **self.memory()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._streak = _Streak(state["began"], state["held"], state["quiet"], state["on"])
        self.recall(state)

    def memory(self) -> dict[str, Any]:
        """What an alarm remembers beyond the count of steps."""
        return {}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Take it up again."""
        del memory


@dataclass(slots=True)
class Start:
    """The mean of a number over a run's first `steps` steps, to compare later ones with."""

    steps: int
    seen: list[float] = field(default_factory=list)

    def take(self, value: float) -> float | None:
        """The mean, once the first steps are over; None during them."""
        if len(self.seen) < self.steps:
            self.seen.append(value)
            return None
        return sum(self.seen) / len(self.seen)


def whole(alarm: str, option: str, value: Any) -> int:
    """An option that counts something: a whole number from 1 on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"alarm {alarm}: {option} is {value!r}: give a whole number of 1 or more.")
    return value


def within(alarm: str, option: str, value: Any, low: float, high: float) -> float:
    """An option that is a number between two others, both included."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"alarm {alarm}: {option} is {value!r}: give a number from {low:g} to {high:g}.")
    return float(value)

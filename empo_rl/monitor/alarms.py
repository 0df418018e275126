"""The alarms, by name. Each watches one number that needs no label.

    entropy_floor  the mean semantic entropy is under a floor
    entropy_rise   the mean semantic entropy has come back from its lowest
    concentration  one and the same answer is the main answer of too many of the last prompts
    variety        the last prompts' main answers are fewer different ones than at the run's start
    unparsable     too many completions hold no answer that can be extracted
    length_drift   the mean length has left what it was at the run's start

The main answer of a prompt is its largest cluster's. Answers of different prompts are compared as texts, without case
and spaces: 1/2 and 0.5 count as two. The defaults come from runs of the tiny model (benchmarks/collapse_alarms.py).
"""

from __future__ import annotations

import inspect
import math
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Literal, get_args

from empo_rl.monitor.alarm import Action, Alarm, Reading, Start, whole, within
from empo_rl.monitor.seen import Seen
from semantic_entropy import InputError

Units = Literal["normalized", "nats"]


class EntropyFloor(Alarm):
    """The batch's mean semantic entropy is under `floor`.

    Args:
        floor: exclusive.
        units: of the floor: `normalized`, a share of ln G, or `nats`.
        steps: as for every alarm.
        action: as for every alarm.
    """

    name = "entropy_floor"
    meaning = (
        "The samples of a prompt agree almost always: the reward has little left to teach, and what is agreed on may "
        "be wrong. Look at a few completions; stop here if they are right, else go back to an earlier checkpoint with "
        "a lower learning rate."
    )

    def __init__(
        self, *, floor: float = 0.02, units: Units = "normalized", steps: int = 5, action: Action | None = None
    ) -> None:
        super().__init__(steps=steps, action=action)
        if units not in get_args(Units):
            raise InputError(f"alarm {self.name}: units is {units!r}: choose of {', '.join(get_args(Units))}.")
        self.units = units
        self.floor = within(self.name, "floor", floor, 0.0, 1.0 if units == "normalized" else math.inf)

    def read(self, seen: Seen) -> Reading | None:
        if seen.entropy is None or seen.size < 2:
            return None
        share = self.units == "normalized"
        value = seen.entropy / math.log(seen.size) if share else seen.entropy
        unit = " of ln G" if share else " nats"
        words = f"mean semantic entropy is {value:.3f}{unit}, under {self.floor:g}{unit}"
        return Reading(value, self.floor, value < self.floor, words)


class EntropyRise(Alarm):
    """The mean semantic entropy of the last `over` steps is above the lowest such mean of the run by more than `rise`.

    Args:
        rise: a share of ln G, exclusive.
        over: steps in a mean.
        steps: as for every alarm.
        action: as for every alarm.
    """

    name = "entropy_rise"
    meaning = (
        "A reward for agreement brings entropy down; where it comes back, the model is losing what it agreed on, and "
        "what it finds next need not be right. Go back to a checkpoint from before, with a lower learning rate."
    )

    def __init__(self, *, rise: float = 0.05, over: int = 5, steps: int = 2, action: Action | None = None) -> None:
        super().__init__(steps=steps, action=action)
        self.rise = within(self.name, "rise", rise, 0.0, 1.0)
        self._last: deque[float] = deque(maxlen=whole(self.name, "over", over))
        self._lowest = math.inf

    def read(self, seen: Seen) -> Reading | None:
        if seen.entropy is None or seen.size < 2:
            return None
        self._last.append(seen.entropy / math.log(seen.size))
        if len(self._last) < (self._last.maxlen or 0):
            return None
        mean = math.fsum(self._last) / len(self._last)
        self._lowest = min(self._lowest, mean)
        value = mean - self._lowest
        words = (
            f"mean semantic entropy of the last {len(self._last)} steps is {mean:.3f} of ln G, {value:.3f} above its "
            f"lowest, over {self.rise:g}"
        )
        return Reading(value, self.rise, value > self.rise, words)

    def memory(self) -> dict[str, Any]:
        lowest = None if math.isinf(self._lowest) else self._lowest  # JSON has no infinity
        return {"last": list(self._last), "lowest": lowest}

    def recall(self, memory: Mapping[str, Any]) -> None:
        self._last = deque(memory["last"], maxlen=self._last.maxlen)
        self._lowest = math.inf if memory["lowest"] is None else memory["lowest"]


class _OverPrompts(Alarm):
    """An alarm about the main answers of the last `window` prompts."""

    def __init__(self, *, window: int, steps: int, action: Action | None) -> None:
        super().__init__(steps=steps, action=action)
        self.window = whole(self.name, "window", window)
        self._answers: deque[str] = deque(maxlen=self.window)

    def _look_back(self, seen: Seen) -> Counter[str]:
        """How often each main answer stands in the window, this step's included."""
        self._answers += [answer for answer in seen.main if answer is not None]
        return Counter(self._answers)

    def memory(self) -> dict[str, Any]:
        return {"answers": list(self._answers)}

    def recall(self, memory: Mapping[str, Any]) -> None:
        self._answers = deque(memory["answers"], maxlen=self.window)


class Concentration(_OverPrompts):
    """One answer is the main answer of more than `share` of the last `window` prompts, and of more than `times` what
    the commonest one's share was at the run's start.

    Args:
        share: of prompts, exclusive.
        times: of the mean share over the first steps; 0 compares with the start not at all. A task with few possible
            answers (A to D) has a large share from the start.
        window: prompts looked back at.
        fewest: prompts that must have been seen.
        start: steps at the beginning that are compared with.
        steps: as for every alarm.
        action: as for every alarm.
    """

    name = "concentration"
    meaning = (
        "Different questions get one answer: the model may be learning to say the same whatever it is asked, which a "
        "reward per prompt cannot see. Go back to a checkpoint from before, with a lower learning rate or a better "
        "base."
    )

    def __init__(
        self,
        *,
        share: float = 0.1,
        times: float = 2.0,
        window: int = 128,
        fewest: int = 64,
        start: int = 5,
        steps: int = 3,
        action: Action | None = None,
    ) -> None:
        super().__init__(window=window, steps=steps, action=action)
        self.share = within(self.name, "share", share, 0.0, 1.0)
        self.times = within(self.name, "times", times, 0.0, math.inf)
        self.fewest = whole(self.name, "fewest", fewest)
        self._start = Start(whole(self.name, "start", start))

    def read(self, seen: Seen) -> Reading | None:
        counts = self._look_back(seen)
        if len(self._answers) < min(self.fewest, self.window):
            return None
        answer, count = max(counts.items(), key=lambda item: (item[1], item[0]))
        value = count / len(self._answers)
        start = self._start.take(value)
        if start is None and self.times > 0:
            return None
        limit = max(self.share, self.times * (start or 0.0))
        prompts = len(self._answers)
        words = f"{answer[:40]!r} is the main answer of {value:.0%} of the last {prompts} prompts, over {limit:.0%}"
        return Reading(value, limit, value > limit, words)

    def memory(self) -> dict[str, Any]:
        return {**super().memory(), "start": self._start.seen}

    def recall(self, memory: Mapping[str, Any]) -> None:
        super().recall(memory)
        self._start.seen = list(memory["start"])


class Variety(_OverPrompts):
    """The last `window` prompts' main answers hold fewer than `share` as many different ones as the first `window` did.

    Args:
        share: of the number at the start, exclusive.
        window: prompts looked back at, and at the start.
        steps: as for every alarm.
        action: as for every alarm.
    """

    name = "variety"
    meaning = (
        "Different questions share a shrinking set of answers: the answers may be losing their dependence on the "
        "question. Go back to a checkpoint from before, with a lower learning rate or a better base."
    )

    def __init__(self, *, share: float = 0.75, window: int = 128, steps: int = 3, action: Action | None = None) -> None:
        super().__init__(window=window, steps=steps, action=action)
        self.share = within(self.name, "share", share, 0.0, 1.0)
        self._first: int | None = None

    def read(self, seen: Seen) -> Reading | None:
        distinct = len(self._look_back(seen))
        if len(self._answers) < self.window:
            return None
        if self._first is None:
            self._first = distinct
            return None
        value = distinct / self._first
        words = (
            f"the last {self.window} prompts' main answers hold {distinct} different ones, {value:.0%} of the "
            f"{self._first} at the start, under {self.share:.0%}"
        )
        return Reading(value, self.share, value < self.share, words)

    def memory(self) -> dict[str, Any]:
        return {**super().memory(), "first": self._first}

    def recall(self, memory: Mapping[str, Any]) -> None:
        super().recall(memory)
        self._first = memory["first"]


class _SinceStart(Alarm):
    """An alarm about a number that is compared with its mean over the run's first `start` steps."""

    def __init__(self, *, start: int, steps: int, action: Action | None) -> None:
        super().__init__(steps=steps, action=action)
        self._start = Start(whole(self.name, "start", start))

    def memory(self) -> dict[str, Any]:
        return {"start": self._start.seen}

    def recall(self, memory: Mapping[str, Any]) -> None:
        self._start.seen = list(memory["start"])


class Unparsable(_SinceStart):
    """The share of completions without an extractable answer is over `most`, or over the start's by more than `rise`.

    Args:
        most: of completions, exclusive; 1 looks at the rise alone.
        rise: in shares of completions, exclusive; 1 looks at `most` alone.
        start: steps at the beginning that are compared with.
        steps: as for every alarm.
        action: as for every alarm.
    """

    name = "unparsable"
    meaning = (
        "Answers that cannot be extracted agree with nothing, and what is left to agree on shrinks. Look at a few "
        "completions: cut off at the token limit (raise rollout.max_completion_tokens), another format (the template, "
        "empo.extract), or text that has fallen apart (go back to a checkpoint from before)."
    )

    def __init__(
        self,
        *,
        most: float = 1.0,
        rise: float = 0.1,
        start: int = 5,
        steps: int = 3,
        action: Action | None = None,
    ) -> None:
        super().__init__(start=start, steps=steps, action=action)
        self.most = within(self.name, "most", most, 0.0, 1.0)
        self.rise = within(self.name, "rise", rise, 0.0, 1.0)

    def read(self, seen: Seen) -> Reading | None:
        value = seen.unread_fraction
        start = self._start.take(value)
        limit = self.most if start is None else min(self.most, start + self.rise)
        words = f"{value:.0%} of the completions hold no answer that can be extracted, over {limit:.0%}"
        return Reading(value, limit, value > limit, words)


class LengthDrift(_SinceStart):
    """The mean length of the completions, over that of the run's start, is under `shrink` or over `grow`.

    Args:
        shrink: a ratio, exclusive; 0 looks at growth alone.
        grow: a ratio, exclusive; None looks at shrinking alone, since a model that learns to reason writes more.
        start: steps at the beginning that are compared with.
        steps: as for every alarm.
        action: as for every alarm.
    """

    name = "length_drift"
    meaning = (
        "A model that drops its chain of thought, or rambles into the token limit, can agree with itself all the "
        "better. Read a few completions beside some from the start; if the working is gone, go back to a checkpoint "
        "from before."
    )

    def __init__(
        self,
        *,
        shrink: float = 0.7,
        grow: float | None = None,
        start: int = 5,
        steps: int = 3,
        action: Action | None = None,
    ) -> None:
        super().__init__(start=start, steps=steps, action=action)
        self.shrink = within(self.name, "shrink", shrink, 0.0, 1.0)
        self.grow = math.inf if grow is None else within(self.name, "grow", grow, 1.0, math.inf)

    def read(self, seen: Seen) -> Reading | None:
        if seen.length is None:
            return None
        start = self._start.take(seen.length)
        if not start:
            return None
        value = seen.length / start
        long = value > 1 and self.grow < math.inf
        limit = self.grow if long else self.shrink
        words = (
            f"completions are {value:.2f} times as long as at the start ({seen.length:.1f} against {start:.1f}), "
            f"{'over' if long else 'under'} {limit:g}"
        )
        return Reading(value, limit, value > limit if long else value < limit, words)


ALARMS: Mapping[str, type[Alarm]] = {
    alarm.name: alarm for alarm in (EntropyFloor, EntropyRise, Concentration, Variety, Unparsable, LengthDrift)
}


def load_alarms(choices: Mapping[str, Any] | None = None) -> tuple[Alarm, ...]:
    """All alarms with their defaults, but as `choices` has it: a name with its options, or None, which leaves it out.

    `{"concentration": {"share": 0.3, "action": "stop"}, "length_drift": None}`
    """
    chosen = dict(choices or {})
    for name in chosen:
        if name not in ALARMS:
            raise InputError(f"alarm {name!r} does not exist. Choose of: {', '.join(ALARMS)}.")
    return tuple(_made(name, chosen.get(name, {})) for name in ALARMS if chosen.get(name, {}) is not None)


def _made(name: str, options: Any) -> Alarm:
    if not isinstance(options, Mapping):
        raise InputError(
            f"alarm {name}: {options!r} is no set of options: give {{steps: 5}} for example, {{}} for the defaults, or "
            "null to leave the alarm out."
        )
    try:
        return ALARMS[name](**options)
    except TypeError as error:
        known = ", ".join(option for option in inspect.signature(ALARMS[name]).parameters)
        raise InputError(f"alarm {name} refuses {dict(options)}: its options are {known}.") from error

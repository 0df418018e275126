"""The built-in alarms for signs of a collapse. Each alarm watches a number that needs no label.

    entropy_floor  the mean semantic entropy is below a floor
    entropy_rise   the mean semantic entropy has risen from its lowest value
    concentration  too many of the last prompts have the same main answer
    variety        the last prompts have fewer different main answers than the first prompts of the run
    unparsable     too many completions have no extractable answer
    length_drift   the mean length of the completions differs from the mean length at the start of the run
    step_budget    the run has more steps than the probe of a short run allows

The main answer of a prompt is the most frequent answer of its group. Main answers are compared as texts, without case
and extra spaces: 1/2 and 0.5 count as two different answers. The default options were chosen with runs of the tiny
model (benchmarks/collapse_alarms.py).
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, get_args

from empo_rl.core.filters import EntropyUnits
from empo_rl.monitor.base import Action, Alarm, Reading, StartMean, check_count, check_range
from empo_rl.monitor.observation import Observation
from semantic_entropy import InputError


class EntropyFloorAlarm(Alarm):
    """The mean semantic entropy of the batch is below `floor`.

    Args:
        floor: the condition holds if the entropy is smaller than this number.
        units: the unit of `floor`: `normalized` for a share of ln G, or `nats`.
        steps: see `Alarm`.
        action: see `Alarm`.
    """

    name = "entropy_floor"
    meaning = (
        "The completions of a prompt agree almost always. The reward has little left to teach, and the agreed answer "
        "may be wrong. Read a few completions: if they are right, stop here; if not, go back to an earlier checkpoint "
        "with a lower learning rate."
    )

    def __init__(
        self, *, floor: float = 0.02, units: EntropyUnits = "normalized", steps: int = 5, action: Action | None = None
    ) -> None:
        super().__init__(steps=steps, action=action)
        if units not in get_args(EntropyUnits):
            raise InputError(
                f"alarm {self.name}: units is {units!r}: choose one of {', '.join(get_args(EntropyUnits))}."
            )
        self.units = units
        self.floor = check_range(self.name, "floor", floor, 0.0, 1.0 if units == "normalized" else math.inf)

    def read(self, observation: Observation) -> Reading | None:
        if observation.entropy is None or observation.size < 2:
            return None
        share = self.units == "normalized"
        value = observation.entropy / math.log(observation.size) if share else observation.entropy
        unit = " of ln G" if share else " nats"
        words = f"mean semantic entropy is {value:.3f}{unit}, below {self.floor:g}{unit}"
        return Reading(value, self.floor, value < self.floor, words)


class EntropyRiseAlarm(Alarm):
    """The mean semantic entropy of the last `over` steps is more than `rise` above its lowest value in the run.

    Args:
        rise: the largest allowed rise, as a share of ln G.
        over: the number of steps over which the entropy is averaged.
        steps: see `Alarm`.
        action: see `Alarm`.
    """

    name = "entropy_rise"
    meaning = (
        "A reward for agreement lowers the entropy. If the entropy rises again, the model is losing its agreed "
        "answers, and the new answers may be wrong. Go back to an earlier checkpoint, with a lower learning rate."
    )

    def __init__(self, *, rise: float = 0.05, over: int = 5, steps: int = 2, action: Action | None = None) -> None:
        super().__init__(steps=steps, action=action)
        self.rise = check_range(self.name, "rise", rise, 0.0, 1.0)
        self._last: deque[float] = deque(maxlen=check_count(self.name, "over", over))
        self._lowest = math.inf

    def read(self, observation: Observation) -> Reading | None:
        if observation.entropy is None or observation.size < 2:
            return None
        self._last.append(observation.entropy / math.log(observation.size))
        if len(self._last) < (self._last.maxlen or 0):
            return None
        mean = math.fsum(self._last) / len(self._last)
        self._lowest = min(self._lowest, mean)
        value = mean - self._lowest
        words = (
            f"mean semantic entropy of the last {len(self._last)} steps is {mean:.3f} of ln G, {value:.3f} above its "
            f"lowest value, more than the limit of {self.rise:g}"
        )
        return Reading(value, self.rise, value > self.rise, words)

    def state_dict(self) -> dict[str, Any]:
        lowest = None if math.isinf(self._lowest) else self._lowest  # JSON has no infinity
        return {**super().state_dict(), "last": list(self._last), "lowest": lowest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._last = deque(state["last"], maxlen=self._last.maxlen)
        self._lowest = math.inf if state["lowest"] is None else state["lowest"]


class _PromptWindowAlarm(Alarm):
    """An alarm about the main answers of the last `window` prompts."""

    def __init__(self, *, window: int, steps: int, action: Action | None) -> None:
        super().__init__(steps=steps, action=action)
        self.window = check_count(self.name, "window", window)
        self._answers: deque[str] = deque(maxlen=self.window)

    def _count_answers(self, observation: Observation) -> Counter[str]:
        """The number of occurrences of each main answer in the last `window` prompts, which include this step."""
        self._answers += [answer for answer in observation.main_answers if answer is not None]
        return Counter(self._answers)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "answers": list(self._answers)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._answers = deque(state["answers"], maxlen=self.window)


class ConcentrationAlarm(_PromptWindowAlarm):
    """The commonest main answer of the last `window` prompts has too large a share of these prompts.

    The share is too large if it is above `share` and above `times` the mean share at the start of the run. The second
    limit is for tasks with few possible answers (A to D), where the share is large from the start.

    Args:
        share: the largest allowed share of the prompts.
        times: the largest allowed ratio of the share to the mean share at the start; 0 does not check this ratio.
        window: the number of last prompts that are counted.
        fewest: the number of prompts that must be counted before the first reading.
        start: the number of readings at the start of the run over which the share is averaged.
        steps: see `Alarm`.
        action: see `Alarm`.
    """

    name = "concentration"
    meaning = (
        "Different questions get the same answer: the model may be learning one answer for all questions. A reward "
        "that is computed per prompt cannot detect this. Go back to an earlier checkpoint with a lower learning rate, "
        "or use a better base model."
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
        self.share = check_range(self.name, "share", share, 0.0, 1.0)
        self.times = check_range(self.name, "times", times, 0.0, math.inf)
        self.fewest = check_count(self.name, "fewest", fewest)
        self._start = StartMean(check_count(self.name, "start", start))

    def read(self, observation: Observation) -> Reading | None:
        counts = self._count_answers(observation)
        if len(self._answers) < min(self.fewest, self.window):
            return None
        answer, count = max(counts.items(), key=lambda item: (item[1], item[0]))
        value = count / len(self._answers)
        start = self._start.update(value)
        if start is None and self.times > 0:
            return None
        limit = max(self.share, self.times * (start or 0.0))
        prompts = len(self._answers)
        words = (
            f"{answer[:40]!r} is the main answer of {value:.0%} of the last {prompts} prompts, more than {limit:.0%}"
        )
        return Reading(value, limit, value > limit, words)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "start": self._start.values}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._start.values = list(state["start"])


class VarietyAlarm(_PromptWindowAlarm):
    """The last `window` prompts have too few different main answers, compared with the first `window` prompts.

    Args:
        share: the smallest allowed ratio of the number of different main answers in the last `window` prompts to the
            number in the first `window` prompts.
        window: the number of prompts that are counted.
        steps: see `Alarm`.
        action: see `Alarm`.
    """

    name = "variety"
    meaning = (
        "Different questions get fewer different answers: the answers may no longer depend on the question. Go back to "
        "an earlier checkpoint with a lower learning rate, or use a better base model."
    )

    def __init__(self, *, share: float = 0.75, window: int = 128, steps: int = 3, action: Action | None = None) -> None:
        super().__init__(window=window, steps=steps, action=action)
        self.share = check_range(self.name, "share", share, 0.0, 1.0)
        self._first: int | None = None

    def read(self, observation: Observation) -> Reading | None:
        distinct = len(self._count_answers(observation))
        if len(self._answers) < self.window:
            return None
        if self._first is None:
            self._first = distinct
            return None
        value = distinct / self._first
        words = (
            f"the last {self.window} prompts have {distinct} different main answers, {value:.0%} of the {self._first} "
            f"different main answers at the start, less than {self.share:.0%}"
        )
        return Reading(value, self.share, value < self.share, words)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "first": self._first}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._first = state["first"]


class _SinceStartAlarm(Alarm):
    """An alarm that compares a number with its mean over the first `start` steps of the run."""

    def __init__(self, *, start: int, steps: int, action: Action | None) -> None:
        super().__init__(steps=steps, action=action)
        self._start = StartMean(check_count(self.name, "start", start))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "start": list(self._start.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._start.values = list(state["start"])


class UnparsableAlarm(_SinceStartAlarm):
    """The share of completions without an extractable answer is too large, or has risen since the start of the run.

    Args:
        most: the largest allowed share of the completions; 1 checks only the rise.
        rise: the largest allowed difference between the share and its mean at the start; 1 checks only `most`.
        start: the number of steps at the start of the run over which the share is averaged.
        steps: see `Alarm`.
        action: see `Alarm`.
    """

    name = "unparsable"
    meaning = (
        "An answer that cannot be extracted agrees with no other answer, so fewer answers can agree. Read a few "
        "completions. If the completion length limit cuts the completions off, raise rollout.max_completion_tokens. If "
        "the completions have another format, change the template or empo.extract. If the text is broken, go back to "
        "an earlier checkpoint."
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
        self.most = check_range(self.name, "most", most, 0.0, 1.0)
        self.rise = check_range(self.name, "rise", rise, 0.0, 1.0)

    def read(self, observation: Observation) -> Reading | None:
        value = observation.invalid_fraction
        start = self._start.update(value)
        limit = self.most if start is None else min(self.most, start + self.rise)
        words = f"{value:.0%} of the completions have no extractable answer, more than {limit:.0%}"
        return Reading(value, limit, value > limit, words)


class LengthDriftAlarm(_SinceStartAlarm):
    """The mean length of the completions has shrunk or grown too much since the start of the run.

    The watched number is the ratio of the mean length in a step to the mean length at the start.

    Args:
        shrink: the smallest allowed ratio; 0 does not check shrinking.
        grow: the largest allowed ratio. None does not check growth: a model that learns to reason writes more.
        start: the number of steps at the start of the run over which the length is averaged.
        steps: see `Alarm`.
        action: see `Alarm`.
    """

    name = "length_drift"
    meaning = (
        "A model that omits its chain of thought, or writes until the completion length limit, can agree with itself "
        "more often. Compare a few completions with completions from the start of the run. If the chain of thought is "
        "missing, go back to an earlier checkpoint."
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
        self.shrink = check_range(self.name, "shrink", shrink, 0.0, 1.0)
        self.grow = math.inf if grow is None else check_range(self.name, "grow", grow, 1.0, math.inf)

    def read(self, observation: Observation) -> Reading | None:
        if observation.length is None:
            return None
        start = self._start.update(observation.length)
        if not start:
            return None
        value = observation.length / start
        long = value > 1 and self.grow < math.inf
        limit = self.grow if long else self.shrink
        words = (
            f"completions are {value:.2f} times as long as at the start (mean length {observation.length:.1f} now, "
            f"{start:.1f} at the start), {'above' if long else 'below'} {limit:g} times"
        )
        return Reading(value, limit, value > limit if long else value < limit, words)


class StepBudgetAlarm(Alarm):
    """The run has made more than `budget` steps. `empo-train probe` finds a budget in a short run.

    Args:
        budget: the number of steps; None: no budget, and the alarm has no reading.
        steps: see `Alarm`.
        action: see `Alarm`.
    """

    name = "step_budget"
    meaning = (
        "Rewards without labels raise the accuracy first, and then it falls. The probe found that agreement misleads "
        "after these steps. Evaluate on labelled questions, and take an earlier checkpoint if the accuracy has fallen."
    )

    def __init__(self, *, budget: int | None = None, steps: int = 1, action: Action | None = None) -> None:
        super().__init__(steps=steps, action=action)
        self.budget = None if budget is None else check_count(self.name, "budget", budget)
        self._made = 0

    def read(self, observation: Observation) -> Reading | None:
        del observation
        self._made += 1
        if self.budget is None:
            return None
        words = f"this is step {self._made}, and the budget is {self.budget} steps"
        return Reading(float(self._made), float(self.budget), self._made > self.budget, words)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "made": self._made}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._made = state["made"]

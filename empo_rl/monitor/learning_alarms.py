"""The built-in alarms for a run that cannot learn. They fire in the first steps, without a start value to compare with.

    nothing_readable  (almost) no completion has an extractable answer, and the reward reads answers
    cut_off           (almost) all completions reach the completion length limit
    no_signal         no group is in the loss with two different rewards, so the gradient is zero
    no_gradient       groups have different rewards, but the measured gradient is zero
    no_update         the gradient is not zero, but the step changes (almost) no weight

The message of an alarm has the likely cause and three completions of the step. If almost nothing is readable, or almost
everything is cut off, `no_signal` has no reading: the other alarm names the cause.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from empo_rl.monitor.base import Action, Alarm, Reading, check_count, check_range
from empo_rl.monitor.observation import Observation

ALMOST_ALL = 0.95  # of the completions; a single readable answer in a large batch does not make a run learn
_SAME = 1e-9  # nats
MOST = 0.5  # of the completions: the main cause of missing answers, if nothing else is known


class NothingReadableAlarm(Alarm):
    """Almost no completion has an extractable answer. No reading if the reward reads no answers (`reads_answers`).

    Args:
        most: the largest allowed share of completions without an extractable answer; 1 only fires if there is none.
        steps: see `Alarm`.
        action: see `Alarm`.
    """

    name = "nothing_readable"
    meaning = "Without readable answers there are no rewards to learn from."

    def __init__(self, *, most: float = ALMOST_ALL, steps: int = 1, action: Action | None = None) -> None:
        super().__init__(steps=steps, action=action)
        self.most = check_range(self.name, "most", most, 0.0, 1.0)

    def read(self, observation: Observation) -> Reading | None:
        if not observation.reads_answers:
            return None
        value = observation.invalid_fraction
        holds = value >= self.most
        count = len(observation.main_answers) * observation.size
        words = f"no answer can be read in {observation.invalid} of {count} completions ({value:.0%})"
        return Reading(value, self.most, holds, words, _evidence(observation) if holds else "")


class CutOffAlarm(Alarm):
    """Almost all completions reach the completion length limit. A trainer that does not measure this gives no reading.

    Args:
        most: the largest allowed share of completions that are cut off; 1 only fires if all are.
        steps: see `Alarm`.
        action: see `Alarm`.
    """

    name = "cut_off"
    meaning = "The answer is usually at the end, so a completion that is cut off has none, or the wrong one."

    def __init__(self, *, most: float = ALMOST_ALL, steps: int = 1, action: Action | None = None) -> None:
        super().__init__(steps=steps, action=action)
        self.most = check_range(self.name, "most", most, 0.0, 1.0)

    def read(self, observation: Observation) -> Reading | None:
        value = observation.cut_off_fraction
        if value is None:
            return None
        holds = value >= self.most
        words = f"{value:.0%} of the completions reach the completion length limit and are cut off"
        return Reading(value, self.most, holds, words, _evidence(observation) if holds else "")


class NoSignalAlarm(Alarm):
    """No group of the last steps is in the loss with two different rewards: all advantages are 0.

    Args:
        fewest: the number of consecutive groups without an advantage at which the condition holds. A step with fewer
            groups counts together with the steps before it.
        steps: see `Alarm`.
        action: see `Alarm`.
    """

    name = "no_signal"
    meaning = (
        "The gradient is zero, and the model does not change. If this happens after many good steps, the model may "
        "have learned the questions."
    )

    def __init__(self, *, fewest: int = 8, steps: int = 1, action: Action | None = None) -> None:
        super().__init__(steps=steps, action=action)
        self.fewest = check_count(self.name, "fewest", fewest)
        self._groups = 0  # consecutive groups without an advantage

    def read(self, observation: Observation) -> Reading | None:
        if _nothing_readable(observation) or (observation.cut_off_fraction or 0.0) >= ALMOST_ALL:
            return None
        total = len(observation.main_answers)
        self._groups = self._groups + total if observation.flat == total else 0
        holds = self._groups >= self.fewest
        words = (
            f"no completion of the last {self._groups} groups has an advantage (in this step, {observation.filtered} "
            f"of {total} groups are dropped by the filters, {observation.unrewarded} have no reward, and "
            f"{_equal(observation)} have equal rewards)"
        )
        return Reading(float(self._groups), float(self.fewest), holds, words, _evidence(observation) if holds else "")

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "groups": self._groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._groups = state["groups"]


class NoGradientAlarm(Alarm):
    """The measured gradient of the weights is zero, although groups have different rewards.

    Args:
        steps: see `Alarm`.
        action: see `Alarm`.
    """

    name = "no_gradient"
    meaning = (
        "No trained weight receives a gradient. Check which weights are trained (lora.target_modules, frozen layers), "
        "and whether the loss of the step is 0."
    )

    def __init__(self, *, steps: int = 3, action: Action | None = None) -> None:
        super().__init__(steps=steps, action=action)

    def read(self, observation: Observation) -> Reading | None:
        if observation.update.gradient is None or observation.flat == len(observation.main_answers):
            return None
        return Reading(
            float(observation.update.gradient), 0.0, not observation.update.gradient, "the gradient of the step is zero"
        )


class NoUpdateAlarm(Alarm):
    """The gradient of a step is not zero, but the step changes almost no weight. Steps of the warm-up do not count.

    Args:
        least: the smallest allowed share of the weights with a gradient that a step changes.
        steps: see `Alarm`.
        action: see `Alarm`.
    """

    name = "no_update"
    meaning = (
        "The model does not learn. Raise training.learning_rate. If the weights are kept in bf16 (training.weights), "
        "small changes are rounded away: use training.weights=fp32."
    )

    def __init__(self, *, least: float = 0.01, steps: int = 1, action: Action | None = None) -> None:
        super().__init__(steps=steps, action=action)
        self.least = check_range(self.name, "least", least, 0.0, 1.0)

    def read(self, observation: Observation) -> Reading | None:
        update = observation.update
        if update.moved is None or not update.gradient:
            return None
        rate = "" if update.learning_rate is None else f" (learning rate {update.learning_rate:g})"
        words = f"the step changed {update.moved:.1%} of the weights that have a gradient{rate}"
        return Reading(update.moved, self.least, update.moved < self.least, words)


def _evidence(observation: Observation) -> str:
    """The likely cause, and the ends of three completions."""
    lines = [f"Likely cause: {_likely_cause(observation)}"]
    if observation.examples:
        lines.append("Completions of this step (their ends):")
    lines += [f"  {number}. {example}" for number, example in enumerate(observation.examples, 1)]
    return "\n".join(lines)


def _nothing_readable(observation: Observation) -> bool:
    return observation.reads_answers and observation.invalid_fraction >= ALMOST_ALL


def _equal(observation: Observation) -> int:
    """The number of groups in the loss with equal rewards."""
    return observation.flat - observation.filtered - observation.unrewarded


def _likely_cause(observation: Observation) -> str:
    cut_off = observation.cut_off_fraction or 0.0
    if cut_off >= MOST:
        return (
            f"{cut_off:.0%} of the completions are cut off before their answer. Raise rollout.max_completion_tokens. "
            "If the completions never end, the chat template may not match the model."
        )
    if _nothing_readable(observation):
        return _unreadable_cause(observation)
    most = max(observation.filtered, observation.unrewarded, _equal(observation))
    if observation.unrewarded == most:
        return (
            "no completion has a reward: the reward function returns None, or empo.invalid=drop or a guard without a "
            "payment (empo.guards) takes the completions out of the loss."
        )
    if observation.filtered == most:
        return "the filters drop the groups. Check empo.delta_low, empo.delta_high, empo.max_p_* and empo.filters."
    if observation.grades_gold:
        return (
            "the reward compares answers with gold answers, and no group has right and wrong answers. Compare the gold "
            "answers below with the answers: a gold answer that the judge cannot read (a whole solution, another "
            "format) equals no answer. If all answers are wrong, the questions are too hard for this model."
        )
    return _equal_rewards_cause(observation)


def _equal_rewards_cause(observation: Observation) -> str:
    entropies = [entropy for entropy in observation.entropies if not math.isnan(entropy)]
    if entropies and min(entropies) > math.log(observation.size) - _SAME:
        return (
            f"all {observation.size} answers of each group differ, so no answer has more agreement than another. Raise "
            "rollout.num_generations, lower rollout.temperature, or use a stronger model or easier questions."
        )
    if entropies and max(entropies) < _SAME:
        return "all answers of each group agree. Use harder questions, or raise rollout.temperature."
    return "the reward gives all completions of a group the same number."


def _unreadable_cause(observation: Observation) -> str:
    prompt = observation.prompt
    if "boxed" not in observation.extract:
        return f"the rule {observation.extract!r} (empo.extract) finds no answer in completions of this form."
    if prompt is not None and "boxed" not in prompt:
        return (
            r"the answer is read from \boxed{...} (empo.extract), and the prompt does not ask for a box. Set "
            f"template.name=math, or choose another empo.extract. The prompt ends with {prompt[-80:]!r}."
        )
    return (
        r"the model does not write \boxed{...}, from which the answer is read (empo.extract). Use a model that follows "
        "the format, or choose another empo.extract."
    )

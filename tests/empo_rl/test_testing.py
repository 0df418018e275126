"""The conformance checks: built-in components pass, and each broken rule is found and named."""

import itertools

import numpy as np
import pytest

from empo_rl import Alarm, Filter, Guard, Reading, RewardSignal
from empo_rl.core.rewards import load_reward
from empo_rl.plugin import components
from empo_rl.testing import ConformanceError, check_alarm, check_filter, check_guard, check_reward


def built_in(kind):
    return [e.component for e in components.entries(kind) if e.source == "semantic-entropy"]


def test_each_built_in_component_passes_its_check():
    options = {
        "composite": {"weights": {"empo": 1.0, "random": 0.5}},
        "evol": {"similarity": "ngram"},
        "restrain": {"base_votes": "none"},
    }
    for component in built_in("reward"):
        check_reward(load_reward(component.name, options.get(component.name)))
    for component in built_in("guard"):
        check_guard(component.load()())
    for component in built_in("filter"):
        check_filter(component.load()())
    for component in built_in("alarm"):
        check_alarm(component.load())


def signal(pay, **attributes):
    return type("Own", (RewardSignal,), {"name": "own", "rewards": lambda self, scored: pay(scored), **attributes})()


def guard(flag):
    return type("Own", (Guard,), {"name": "own", "flags": lambda self, scored: flag(scored)})()


def chosen(reasons):
    return type("Own", (Filter,), {"name": "own", "drop_reasons": lambda self, scored, rewards: reasons(scored)})()


def alarm(read, **attributes):
    return type("Own", (Alarm,), {"name": "own", "meaning": "Look.", "read": read, **attributes})


def counted(self, observation):
    self.count = getattr(self, "count", 0) + 1
    return Reading(float(self.count), 3.0, self.count > 3, "count")


calls = itertools.count()


@pytest.mark.parametrize(
    ("check", "component", "message"),
    [
        (check_reward, signal(lambda scored: np.zeros(len(scored))), r"the shape \(4,\) for B, G = \(4, 4\)"),
        (check_reward, signal(lambda scored: np.full((len(scored), 4), np.inf)), "returned infinity"),
        (check_reward, signal(lambda scored: np.full((len(scored), 4), np.nan)), "returned nan.* Set abstains = True"),
        (check_reward, signal(lambda scored: np.full((len(scored), 4), len(scored))), "Set stateful = True"),
        (check_reward, signal(lambda scored: np.full((len(scored), 4), next(calls))), "from the same state differ"),
        (
            check_reward,
            signal(lambda scored: np.zeros((len(scored), 4)), state_dict=lambda self: {"a": {1}}),
            "is not JSON",
        ),
        (check_reward, signal(lambda scored: np.zeros((len(scored), 4)), name=""), "name is ''"),
        (check_guard, guard(lambda scored: [[False] * 3 for _ in scored]), r"lengths \[3, 3, 3, 3\]"),
        (check_guard, guard(lambda scored: [[0.5] * 4 for _ in scored]), "neither True nor False"),
        (check_guard, guard(lambda scored: [[len(scored) > 1] * 4 for _ in scored]), "set stateful = True"),
        (check_filter, chosen(lambda scored: [None]), "1 reasons for 4 groups"),
        (check_filter, chosen(lambda scored: [True] * len(scored)), "a reason is a text"),
        (check_filter, chosen(lambda scored: ["many" if len(scored) > 1 else None] * len(scored)), "set stateful"),
        (check_alarm, alarm(lambda self, observation: 3.0), "return a Reading or None"),
        (check_alarm, alarm(lambda self, observation: None, meaning=""), "meaning is empty"),
        (check_alarm, alarm(lambda self, observation: Reading(float("nan"), 0, False, "")), "with a finite value"),
        (check_alarm, alarm(counted), "after its state was loaded, the alarm continues differently"),
    ],
)
def test_a_broken_rule_is_named(check, component, message):
    with pytest.raises(ConformanceError, match=message):
        check(component)

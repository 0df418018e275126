"""The monitor in a plain training loop, with the decisions of a real provider."""

import json
import math
import sys

import pytest

from empo_rl import Alarm, EmpoProvider, Monitor
from empo_rl.monitor import Reading
from semantic_entropy import InputError, PluginError


def box(answer):
    return rf"\boxed{{{answer}}}"


def batch(*answers):
    """A group of three for each answer, two of which give it."""
    return [[box(answer), box(answer.upper()), "I do not know"] for answer in answers]


@pytest.fixture(scope="module")
def provider():
    with EmpoProvider(lambda left, right: left.lower() == right.lower(), extract="boxed") as made:
        yield made


ALARMS = {"concentration": {"share": 0.5, "times": 0, "window": 4, "fewest": 4, "steps": 2}, "unparsable": None}


def test_a_plain_loop_learns_which_alarm_fires_and_whether_to_stop(provider):
    monitor = Monitor(ALARMS, action="stop")
    firings_by_step = []
    for step, answers in enumerate(["abcd", "abcd", "aaab", "aaac", "aaad"], start=1):
        decision = provider.step(batch(*answers))
        firings_by_step.append(monitor.update(decision, lengths=[9.0] * 12, step=step))
        if monitor.stopping:
            break
    assert [len(firings) for firings in firings_by_step] == [0, 0, 0, 1]
    (firing,) = firings_by_step[-1]
    assert (firing.alarm, firing.step, firing.began, firing.value, firing.action) == (
        "concentration",
        4,
        3,
        0.75,
        "stop",
    )
    assert firing.message.startswith(
        "alarm concentration at step 4: 'a' is the main answer of 75% of the last 4 prompts"
    )
    assert "since step 3" in firing.message
    assert monitor.stopping == ("concentration",)
    assert monitor.suspect_since == 3


def test_the_watched_numbers_are_the_entropy_and_the_invalid_answers_of_the_decision(provider):
    monitor = Monitor({"entropy_floor": {"units": "nats"}})
    decision = provider.step(batch(*"ab"))
    monitor.update(decision)
    columns = monitor.columns()
    assert columns["watch/entropy_floor"] == pytest.approx(decision.metrics["entropy"])
    assert columns["watch/unparsable"] == pytest.approx(1 / 3)
    assert columns["alarm/unparsable"] == 0.0
    assert "watch/length_drift" not in columns


def test_the_action_of_an_alarm_overrides_that_of_the_monitor(provider):
    warned = {**ALARMS, "concentration": {**ALARMS["concentration"], "action": "warn"}}
    monitor = Monitor(warned, action="stop")
    fired = [f for _ in range(4) for f in monitor.update(provider.step(batch(*"aaab")))]
    assert [(f.alarm, f.action) for f in fired] == [("concentration", "warn")]
    assert monitor.stopping == ()


def test_a_restored_monitor_continues_with_the_same_alarms(provider):
    whole, before, after = Monitor(ALARMS), Monitor(ALARMS), Monitor(ALARMS)
    decisions = [provider.step(batch(*answers)) for answers in ("abcd", "aaab", "aaab", "aaab")]
    expected = [whole.update(decision) for decision in decisions]
    first = [before.update(decision) for decision in decisions[:2]]
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert [*first, *(after.update(decision) for decision in decisions[2:])] == expected
    assert sum(map(len, expected)) == 1


def test_wrong_numbers_are_refused(provider):
    decision = provider.step(batch(*"ab"))
    with pytest.raises(InputError, match="lengths has 2 numbers for 6 completions"):
        Monitor().update(decision, lengths=[1, 2])
    monitor = Monitor()
    monitor.update(decision, step=3)
    with pytest.raises(InputError, match="step 3 after step 3"):
        monitor.update(decision, step=3)
    with pytest.raises(InputError, match="action is 'halt': choose one of warn, stop"):
        Monitor(action="halt")


def test_two_alarms_of_one_name_are_refused():
    class Mine(Alarm):
        name, meaning = "mine", "nothing"

        def read(self, observation):
            return None

    with pytest.raises(InputError, match="2 components of the kind alarm have the name 'mine'"):
        Monitor([Mine(), Mine()])


def raise_index_error():
    raise IndexError("no answers")


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (lambda: 0.5, "alarm 'mine' read 0.5 in step 1: return a Reading"),
        (lambda: Reading(math.nan, 1.0, True, "x"), r"alarm 'mine' read Reading\(value=nan.* finite value"),
        (raise_index_error, "alarm 'mine' raised IndexError: no answers in step 1"),
        (lambda: sys.exit(0), "alarm 'mine' raised SystemExit: 0 in step 1"),
    ],
)
def test_an_alarm_that_breaks_its_contract_is_named(provider, read, says):
    members = {"name": "mine", "meaning": "nothing", "read": lambda self, observation: read()}
    monitor = Monitor([type("Mine", (Alarm,), members)()])
    with pytest.raises(PluginError, match=says):
        monitor.update(provider.step(batch(*"1234")))


def test_names_of_0_1_0_fail_with_their_replacement():
    with pytest.raises(TypeError, match="Old.memory: extend Alarm.state_dict instead"):
        type("Old", (Alarm,), {"memory": lambda self: {}})
    with pytest.raises(AttributeError, match=r"now Monitor.observe\(Observation"):
        Monitor().see(None, 1)

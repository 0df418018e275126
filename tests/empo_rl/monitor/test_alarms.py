"""Each alarm on steps with known results."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl.monitor import ALARMS, Monitor, Observation, Update, load_alarms
from empo_rl.monitor.alarms import (
    ConcentrationAlarm,
    EntropyFloorAlarm,
    EntropyRiseAlarm,
    LengthDriftAlarm,
    UnparsableAlarm,
    VarietyAlarm,
)
from semantic_entropy import SemanticEntropyError

G = 4


def step_of(main=("1", "2"), entropies=None, invalid=0, lengths=(), **more):
    """A step of len(main) groups of four."""
    return Observation(G, tuple(entropies or [1.0] * len(main)), tuple(main), invalid, tuple(lengths), **more)


def fires(alarm, steps):
    """The steps, counted from 1, in which the alarm fires."""
    firings = [alarm.update(observation, number, "warn") for number, observation in enumerate(steps, start=1)]
    return [firing.step for firing in firings if firing]


def entropies(*values):
    return [step_of(entropies=[value, value]) for value in values]


def lengths(*means):
    return [step_of(lengths=[mean - 1, mean + 1]) for mean in means]


def invalid(*counts):
    """Steps with this many invalid answers among the eight completions of two groups."""
    return [step_of(invalid=count) for count in counts]


def test_an_alarm_fires_once_after_consecutive_steps_and_again_after_as_many_quiet_steps():
    alarm = EntropyFloorAlarm(floor=0.5, units="nats", steps=2)
    low, high = 0.4, 0.6
    assert fires(alarm, entropies(low, high, low, low, low, high, low, high, high, low, low)) == [4, 11]


def test_an_alarm_ends_after_enough_quiet_steps_and_not_after_one():
    alarm = EntropyFloorAlarm(floor=0.5, units="nats", steps=2)
    states = []
    for number, observation in enumerate(entropies(0.4, 0.4, 0.6, 0.4, 0.6, 0.6), start=1):
        alarm.update(observation, number, "warn")
        states.append((alarm.on, alarm.began))
    assert states == [(False, 1), (True, 1), (True, 1), (True, 1), (True, 1), (False, None)]


def test_the_entropy_floor_is_exclusive_and_in_nats_or_shares_of_ln_g():
    assert fires(EntropyFloorAlarm(floor=0.5, units="nats", steps=1), entropies(0.5, 0.49)) == [2]
    at_g_of_four = [0.26 * math.log(4), 0.24 * math.log(4)]
    assert fires(EntropyFloorAlarm(floor=0.25, steps=1), entropies(*at_g_of_four)) == [2]


def test_a_step_without_a_valid_answer_does_not_change_the_count_of_steps():
    alarm = EntropyFloorAlarm(floor=0.5, units="nats", steps=2)
    nothing = step_of(main=[None, None], entropies=[math.nan, math.nan], invalid=8)
    assert fires(alarm, [*entropies(0.4), nothing, *entropies(0.4)]) == [3]


def test_entropy_rise_compares_the_mean_of_the_last_steps_with_the_lowest_such_mean():
    at_g_of_four = [share * math.log(4) for share in (0.8, 0.6, 0.4, 0.4, 0.5, 0.6, 0.6)]
    alarm = EntropyRiseAlarm(rise=0.1, over=2, steps=1)
    assert fires(alarm, entropies(*at_g_of_four)) == [6]  # means: .7, .5, .4, .45, .55
    assert fires(EntropyRiseAlarm(rise=0.1, over=2, steps=1), entropies(*at_g_of_four[:3])) == []


def test_concentration_is_the_share_of_the_most_common_main_answer():
    varied, same = step_of(["1", "2", "3", "4"]), step_of(["7", "7", "7", "4"])
    alarm = ConcentrationAlarm(share=0.4, times=0, window=8, fewest=8, steps=1)
    # equal main answers among the last eight prompts: -, 2, 3, then 6
    assert fires(alarm, [varied, varied, same, same]) == [4]
    assert alarm.reading.value == 0.75
    assert "'7' is the main answer of 75% of the last 8 prompts, more than 40%" in alarm.reading.words


def test_concentration_compares_with_the_start_of_the_run():
    """Two possible answers are concentrated from the start, which is not an alarm."""
    letters, one = step_of(["a", "b", "a", "b"]), step_of(["a", "a", "a", "a"])
    alarm = ConcentrationAlarm(share=0.3, times=1.8, window=4, fewest=4, start=2, steps=1)
    assert fires(alarm, [letters, letters, letters, one]) == [4]
    assert alarm.reading.limit == pytest.approx(0.9)
    assert fires(ConcentrationAlarm(share=0.3, times=0, window=4, fewest=4, steps=1), [letters]) == [1]


def test_concentration_waits_for_enough_prompts():
    same = step_of(["7", "7", None])
    assert fires(ConcentrationAlarm(share=0.4, times=0, window=8, fewest=6, steps=1), [same] * 4) == [3]


def test_variety_compares_the_number_of_different_main_answers_with_the_first_window():
    four, two = step_of(["1", "2", "3", "4"]), step_of(["1", "2", "1", "2"])
    alarm = VarietyAlarm(share=0.6, window=4, steps=1)
    assert fires(alarm, [four, four, two]) == [3]
    assert alarm.reading.value == 0.5
    assert "have 2 different main answers, 50% of the 4 different main answers at the start" in alarm.reading.words


def test_unparsable_is_a_rise_from_the_start_or_a_share_of_all_completions():
    # 2 of 8 are invalid at the start; 4 of 8 is not above the limit
    assert fires(UnparsableAlarm(rise=0.25, start=2, steps=1), invalid(1, 3, 4, 5)) == [4]
    assert fires(UnparsableAlarm(rise=1, most=0.5, start=2, steps=1), invalid(5, 4, 4, 5)) == [1, 4]
    assert fires(UnparsableAlarm(start=2, steps=1), invalid(7, 7, 7, 7)) == []  # invalid from the start, without a rise


def test_length_drift_is_a_ratio_to_the_start_and_checks_growth_if_grow_is_set():
    drift = lengths(10, 20, 8, 7, 31)
    assert fires(LengthDriftAlarm(shrink=0.5, start=2, steps=1), drift) == [4]
    assert fires(LengthDriftAlarm(shrink=0.0, grow=2.0, start=2, steps=1), drift) == [5]
    assert fires(LengthDriftAlarm(start=2, steps=1), [step_of()] * 5) == []  # no lengths were measured


@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_the_order_of_groups_and_their_distribution_to_processes_change_no_digit(dice, processes):
    steps = [
        [(dice.random(), dice.choice("abc"), dice.randint(0, G), dice.random()) for _ in range(6)] for _ in range(12)
    ]
    options = {"concentration": {"window": 6, "fewest": 6, "start": 2}, "variety": {"window": 6}}

    def run(split):
        monitor = Monitor(options)
        for number, groups in enumerate(steps, start=1):
            monitor.observe(Observation.join([part_of(part) for part in split(groups) if part]), number)
        return monitor.columns()

    def part_of(groups):
        h, main, empty, length = zip(*groups, strict=True)
        return Observation(G, h, main, sum(empty), length)

    def distribute(groups):
        shuffled = dice.sample(groups, len(groups))
        return [shuffled[start::processes] for start in range(processes)]

    assert run(lambda groups: [groups]) == run(distribute)


def test_a_window_smaller_than_a_batch_keeps_the_last_main_answers_of_the_batch():
    """Three of five main answers fall out of the window; which three depends on the order of the groups."""
    alarm = ConcentrationAlarm(share=0.0, times=0, window=2, fewest=1, steps=1)
    alarm.update(step_of(["1", "1", "1", "2", "3"]), 1, "warn")
    assert alarm.state_dict()["answers"] == ["2", "3"]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_restored_from_json_continues_as_if_uninterrupted(name):
    def steps(dice=(1, 2, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1)):
        more = {"flat": 4, "truncated": 3, "update": Update(gradient=True, moved=0.0)}
        flat = {**more, "flat": 0}
        return [
            step_of(
                [str(n * k % 3) for k in range(4)],
                [n / 9] * 4,
                invalid=15 - 5 * n,
                lengths=[n],
                **(flat if name == "no_gradient" else more),
            )
            for n in dice
        ]

    options = {"concentration": {"window": 8, "fewest": 4}, "variety": {"window": 4}, "step_budget": {"budget": 5}}.get(
        name, {}
    )
    (whole,), (before,), (after,) = [[a for a in load_alarms({name: options}) if a.name == name] for _ in range(3)]
    for number, observation in enumerate(steps(), start=1):
        whole.update(observation, number, "warn")
        (after if number > 7 else before).update(observation, number, "warn")
        if number == 7:
            after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert after.state_dict() == whole.state_dict()
    assert whole.reading is not None


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"entropy": {}}, "no alarm named 'entropy'.*entropy_floor, entropy_rise"),
        ({"entropy": None}, "no alarm named 'entropy'"),
        ({"variety": 3}, "alarm variety: 3 is not a mapping of options"),
        (
            {"variety": {"sharp": 3}},
            "alarm 'variety' has no option 'sharp'.*Its options: share=0.75, window=128, steps=3, action=None",
        ),
        ({"variety": {"share": 2}}, "alarm variety: share is 2: set a number from 0 to 1"),
        ({"variety": {"steps": 0}}, "alarm variety: steps is 0: set a whole number of 1 or more"),
        ({"variety": {"action": "end"}}, "alarm variety: action is 'end': choose one of warn, stop"),
        ({"entropy_floor": {"units": "bits"}}, "units is 'bits': choose one of nats, normalized"),
    ],
)
def test_an_unknown_alarm_or_option_is_refused_with_the_known_ones(choices, message):
    with pytest.raises(SemanticEntropyError, match=message):
        load_alarms(choices)


def test_unnamed_alarms_have_their_defaults_and_none_leaves_an_alarm_out():
    names = [alarm.name for alarm in load_alarms({"variety": None, "concentration": {"share": 0.5}})]
    assert names == [name for name in ALARMS if name != "variety"]

"""Each alarm on steps worked by hand."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl.monitor import ALARMS, Monitor, Seen, load_alarms
from empo_rl.monitor.alarms import Concentration, EntropyFloor, EntropyRise, LengthDrift, Unparsable, Variety
from semantic_entropy import InputError

G = 4


def step_of(main=("1", "2"), entropies=None, unread=0, lengths=()):
    """A step of len(main) groups of four."""
    return Seen(G, tuple(entropies or [1.0] * len(main)), tuple(main), unread, tuple(lengths))


def fires(alarm, steps):
    """The steps, from 1 on, in which it fires."""
    said = [alarm.update(seen, number, "warn") for number, seen in enumerate(steps, start=1)]
    return [firing.step for firing in said if firing]


def entropies(*values):
    return [step_of(entropies=[value, value]) for value in values]


def lengths(*means):
    return [step_of(lengths=[mean - 1, mean + 1]) for mean in means]


def unread(*counts):
    """Of the eight completions of two groups."""
    return [step_of(unread=count) for count in counts]


def test_an_alarm_fires_once_after_its_steps_in_a_row_and_again_after_as_many_quiet_ones():
    alarm = EntropyFloor(floor=0.5, units="nats", steps=2)
    low, high = 0.4, 0.6
    assert fires(alarm, entropies(low, high, low, low, low, high, low, high, high, low, low)) == [4, 11]


def test_one_quiet_step_does_not_end_an_alarm_and_enough_of_them_do():
    alarm = EntropyFloor(floor=0.5, units="nats", steps=2)
    states = []
    for number, seen in enumerate(entropies(0.4, 0.4, 0.6, 0.4, 0.6, 0.6), start=1):
        alarm.update(seen, number, "warn")
        states.append((alarm.on, alarm.began))
    assert states == [(False, 1), (True, 1), (True, 1), (True, 1), (True, 1), (False, None)]


def test_the_entropy_floor_is_exclusive_and_in_nats_or_in_shares_of_the_largest_entropy():
    assert fires(EntropyFloor(floor=0.5, units="nats", steps=1), entropies(0.5, 0.49)) == [2]
    at_g_of_four = [0.26 * math.log(4), 0.24 * math.log(4)]
    assert fires(EntropyFloor(floor=0.25, steps=1), entropies(*at_g_of_four)) == [2]


def test_a_step_without_a_valid_answer_neither_ends_nor_lengthens_a_row():
    alarm = EntropyFloor(floor=0.5, units="nats", steps=2)
    nothing = step_of(main=[None, None], entropies=[math.nan, math.nan], unread=8)
    assert fires(alarm, [*entropies(0.4), nothing, *entropies(0.4)]) == [3]


def test_entropy_rise_is_the_mean_of_the_last_steps_over_the_lowest_such_mean():
    at_g_of_four = [share * math.log(4) for share in (0.8, 0.6, 0.4, 0.4, 0.5, 0.6, 0.6)]
    alarm = EntropyRise(rise=0.1, over=2, steps=1)
    assert fires(alarm, entropies(*at_g_of_four)) == [6]  # means: .7, .5, .4, .45, .55
    assert fires(EntropyRise(rise=0.1, over=2, steps=1), entropies(*at_g_of_four[:3])) == []


def test_concentration_is_the_commonest_main_answer_of_the_last_prompts():
    varied, same = step_of(["1", "2", "3", "4"]), step_of(["7", "7", "7", "4"])
    alarm = Concentration(share=0.4, times=0, window=8, fewest=8, steps=1)
    # the last eight prompts hold: -, 2 of 8 the same, 3 of 8, then 6 of 8
    assert fires(alarm, [varied, varied, same, same]) == [4]
    assert alarm.reading.value == 0.75
    assert "'7' is the main answer of 75% of the last 8 prompts, over 40%" in alarm.reading.words


def test_concentration_compares_with_the_runs_own_start():
    """A choice of two letters is concentrated from the start, and no alarm."""
    letters, one = step_of(["a", "b", "a", "b"]), step_of(["a", "a", "a", "a"])
    alarm = Concentration(share=0.3, times=1.8, window=4, fewest=4, start=2, steps=1)
    assert fires(alarm, [letters, letters, letters, one]) == [4]
    assert alarm.reading.limit == pytest.approx(0.9)
    assert fires(Concentration(share=0.3, times=0, window=4, fewest=4, steps=1), [letters]) == [1]


def test_concentration_waits_for_enough_prompts():
    same = step_of(["7", "7", None])
    assert fires(Concentration(share=0.4, times=0, window=8, fewest=6, steps=1), [same] * 4) == [3]


def test_variety_is_the_number_of_different_main_answers_against_the_first_window():
    four, two = step_of(["1", "2", "3", "4"]), step_of(["1", "2", "1", "2"])
    alarm = Variety(share=0.6, window=4, steps=1)
    assert fires(alarm, [four, four, two]) == [3]
    assert alarm.reading.value == 0.5
    assert "hold 2 different ones, 50% of the 4 at the start" in alarm.reading.words


def test_unparsable_is_a_rise_against_the_start_or_a_share_of_all():
    assert fires(Unparsable(rise=0.25, start=2, steps=1), unread(1, 3, 4, 5)) == [4]  # 2 of 8 at the start, 4 not over
    assert fires(Unparsable(rise=1, most=0.5, start=2, steps=1), unread(5, 4, 4, 5)) == [1, 4]
    assert fires(Unparsable(start=2, steps=1), unread(7, 7, 7, 7)) == []  # bad from the start, and no worse


def test_length_drift_is_a_ratio_to_the_start_and_looks_at_growth_where_it_is_asked_to():
    drift = lengths(10, 20, 8, 7, 31)
    assert fires(LengthDrift(shrink=0.5, start=2, steps=1), drift) == [4]
    assert fires(LengthDrift(shrink=0.0, grow=2.0, start=2, steps=1), drift) == [5]
    assert fires(LengthDrift(start=2, steps=1), [step_of()] * 5) == []  # nobody measured a length


@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_the_order_of_the_groups_of_a_step_and_their_processes_changes_no_digit(dice, processes):
    steps = [
        [(dice.random(), dice.choice("abc"), dice.randint(0, G), dice.random()) for _ in range(6)] for _ in range(12)
    ]
    options = {"concentration": {"window": 6, "fewest": 6, "start": 2}, "variety": {"window": 6}}

    def run(deal):
        monitor = Monitor(options)
        for number, groups in enumerate(steps, start=1):
            monitor.see(Seen.joined([part_of(part) for part in deal(groups) if part]), number)
        return monitor.columns()

    def part_of(groups):
        h, main, empty, length = zip(*groups, strict=True)
        return Seen(G, h, main, sum(empty), length)

    def dealt(groups):
        shuffled = dice.sample(groups, len(groups))
        return [shuffled[start::processes] for start in range(processes)]

    assert run(lambda groups: [groups]) == run(dealt)


def test_the_order_of_groups_cannot_matter_to_a_window_that_ends_inside_a_batch():
    """Three of five main answers fall out of the window: which three is a matter of order, and stated."""
    alarm = Concentration(share=0.0, times=0, window=2, fewest=1, steps=1)
    alarm.update(step_of(["1", "1", "1", "2", "3"]), 1, "warn")
    assert alarm.memory()["answers"] == ["2", "3"]


@pytest.mark.parametrize("name", ALARMS)
def test_a_state_through_json_gives_the_same_alarms(name):
    def steps(dice=(1, 2, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1)):
        return [step_of([str(n * k % 3) for k in range(4)], [n / 9] * 4, unread=16 - 5 * n, lengths=[n]) for n in dice]

    options = {"concentration": {"window": 8, "fewest": 4}, "variety": {"window": 4}}.get(name, {})
    (whole,), (before,), (after,) = [[a for a in load_alarms({name: options}) if a.name == name] for _ in range(3)]
    for number, seen in enumerate(steps(), start=1):
        whole.update(seen, number, "warn")
        (after if number > 7 else before).update(seen, number, "warn")
        if number == 7:
            after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert after.state_dict() == whole.state_dict()
    assert whole.reading is not None


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"entropy": {}}, "alarm 'entropy' does not exist. Choose of: entropy_floor, entropy_rise"),
        ({"variety": 3}, "alarm variety: 3 is no set of options"),
        ({"variety": {"sharp": 3}}, "alarm variety refuses {'sharp': 3}: its options are share, window, steps, action"),
        ({"variety": {"share": 2}}, "alarm variety: share is 2: give a number from 0 to 1"),
        ({"variety": {"steps": 0}}, "alarm variety: steps is 0: give a whole number of 1 or more"),
        ({"variety": {"action": "end"}}, "alarm variety: action is 'end': choose of warn, stop"),
        ({"entropy_floor": {"units": "bits"}}, "units is 'bits': choose of normalized, nats"),
    ],
)
def test_an_alarm_or_option_that_is_not_there_is_refused_with_those_that_are(choices, message):
    with pytest.raises(InputError, match=message):
        load_alarms(choices)


def test_alarms_that_are_not_named_stand_at_their_defaults_and_null_leaves_one_out():
    names = [alarm.name for alarm in load_alarms({"variety": None, "concentration": {"share": 0.5}})]
    assert names == [name for name in ALARMS if name != "variety"]

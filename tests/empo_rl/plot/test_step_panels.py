import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from empo_rl.plot.panels import BY_NAME
from empo_rl.plot.run_files import RaisedAlarm
from empo_rl.plot.step_panels import draw_alarms, draw_steps, smooth
from semantic_entropy import InputError
from tests.empo_rl.plot.example_runs import example_run, lines


def test_a_smoothed_curve_has_the_measured_curve_behind_it(axes):
    draw_steps(axes, BY_NAME["entropy"], [example_run(alarms=())], window=4)
    (steps, measured), (_, mean) = lines(axes)
    assert steps == list(range(1, 13))
    assert measured == [1 / step for step in steps]
    assert mean[3] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    measured_line, mean_line = axes.get_lines()
    assert measured_line.get_alpha() < 0.5
    assert mean_line.get_alpha() is None


def test_the_y_axis_shows_zero_for_entropy_the_full_range_for_shares_and_negative_rewards(axes):
    draw_steps(axes, BY_NAME["entropy"], [example_run()], window=1)
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > 1
    draw_steps(axes, BY_NAME["accuracy"], [example_run()], window=1)
    assert axes.get_ylim() == pytest.approx((-0.03, 1.03))
    other = Figure().add_subplot()
    draw_steps(other, BY_NAME["reward"], [example_run()], window=1)
    assert other.get_ylim()[0] < -12


def test_skipped_steps_are_marked(axes):
    draw_steps(axes, BY_NAME["keep"], [example_run()], window=1)
    assert [7] in [steps for steps, _ in lines(axes)]
    assert "step skipped: nothing kept" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_each_kind_of_alarm_has_a_row_with_markers_at_its_steps(axes):
    alarms = [RaisedAlarm(3, "entropy_floor"), RaisedAlarm(5, "length_drift"), RaisedAlarm(9, "entropy_floor")]
    draw_alarms(axes, [example_run(alarms=alarms)])
    assert lines(axes) == [([3, 5, 9], [0, 1, 0])]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["entropy_floor", "length_drift"]


def test_the_first_alarm_is_marked_in_the_other_panels(axes):
    draw_steps(
        axes,
        BY_NAME["entropy"],
        [example_run(alarms=[RaisedAlarm(9, "b"), RaisedAlarm(4, "a")])],
        window=1,
        explain=True,
    )
    assert [4, 4] in [steps for steps, _ in lines(axes)]
    assert axes.get_legend().get_texts()[-1].get_text() == "first alarm"


def test_each_value_is_the_mean_of_itself_and_the_values_before_it():
    assert smooth([1, 2, 6, 10], 3) == pytest.approx([1, 1.5, 3, 6])


def test_a_window_of_one_does_not_change_the_values():
    assert smooth([0.1, 0.2, 0.3], 1) == [0.1, 0.2, 0.3]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.integers(1, 50))
def test_smoothing_gives_the_mean_of_the_window_for_any_curve(values, window):
    expected = [sum(part) / len(part) for t in range(len(values)) if (part := values[max(0, t + 1 - window) : t + 1])]
    assert smooth(values, window) == pytest.approx(expected, abs=1e-6)


def test_a_large_value_has_no_effect_after_it_leaves_the_window():
    assert smooth([1e16, 1, 1, 1], 2) == [1e16, 5e15, 1, 1]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_affect_only_the_windows_that_contain_them(odd):
    smoothed = smooth([1, odd, 3, 5, 7], 2)
    assert [math.isfinite(value) for value in smoothed] == [True, False, False, True, True]
    assert smoothed[3:] == [4, 6]
    assert math.isnan(smooth([math.inf, -math.inf], 2)[1])


def test_a_window_of_zero_is_refused():
    with pytest.raises(InputError, match="cannot smooth over 0 steps: give 1"):
        smooth([1.0], 0)

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl.plot.step_panels import smooth
from semantic_entropy import InputError


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

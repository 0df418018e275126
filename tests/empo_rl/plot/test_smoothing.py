import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl.plot.smoothing import smooth
from semantic_entropy import InputError


def test_each_step_is_the_mean_of_itself_and_those_before_it():
    assert smooth([1, 2, 6, 10], 3) == pytest.approx([1, 1.5, 3, 6])


def test_a_window_of_one_leaves_the_values_as_they_were_measured():
    assert smooth([0.1, 0.2, 0.3], 1) == [0.1, 0.2, 0.3]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.integers(1, 50))
def test_it_is_the_mean_of_the_window_for_any_curve(values, window):
    expected = [sum(part) / len(part) for t in range(len(values)) if (part := values[max(0, t + 1 - window) : t + 1])]
    assert smooth(values, window) == pytest.approx(expected, abs=1e-6)


def test_no_window_is_refused():
    with pytest.raises(InputError, match="give 1"):
        smooth([1.0], 0)

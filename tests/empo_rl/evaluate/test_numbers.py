"""pass@k by hand, by enumeration and by its invariants; intervals and AUROC in cases with known values."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl.evaluate.numbers import auroc, bootstrap_indices, mean, number, pass_at_k, powers_up_to, with_interval
from semantic_entropy import InputError


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        (8, 0, 4, 0.0),
        (8, 8, 1, 1.0),
        (8, 2, 1, 0.25),
        (4, 1, 2, 1 - 3 / 6),  # C(3,2) / C(4,2)
        (5, 2, 3, 1 - 1 / 10),  # C(3,3) / C(5,3)
        (10, 3, 5, 1 - 21 / 252),  # C(7,5) / C(10,5)
        (4, 3, 2, 1.0),  # of two from four with one wrong, at least one is right
    ],
)
def test_pass_at_k_equals_values_computed_by_hand(n, c, k, expected):
    assert pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-12)


def test_pass_at_k_is_the_share_of_all_choices_with_a_right_sample():
    for c in range(7):
        right = [True] * c + [False] * (6 - c)
        for k in range(1, 7):
            choices = list(combinations(right, k))
            assert pass_at_k(6, c, k) == pytest.approx(sum(map(any, choices)) / len(choices))


counts = st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


@given(counts)
def test_pass_at_k_rises_from_the_mean_to_1_if_any_sample_is_right(case):
    n, c = case
    curve = [pass_at_k(n, c, k) for k in range(1, n + 1)]
    assert curve[0] == pytest.approx(c / n)
    assert all(low <= high for low, high in pairwise(curve))
    assert curve[-1] == (c > 0)


@given(counts, st.data())
def test_one_more_right_sample_never_lowers_pass_at_k(case, data):
    n, c = case
    k = data.draw(st.integers(1, n))
    assert pass_at_k(n, max(c - 1, 0), k) <= pass_at_k(n, c, k)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_impossible_arguments_of_pass_at_k_are_refused(n, c, k):
    with pytest.raises(InputError, match=f"n={n}, c={c}, k={k}"):
        pass_at_k(n, c, k)


def test_the_curve_contains_the_powers_of_two_and_n():
    assert powers_up_to(1) == [1]
    assert powers_up_to(8) == [1, 2, 4, 8]
    assert powers_up_to(12) == [1, 2, 4, 8, 12]


def test_an_interval_of_a_large_sample_is_the_normal_approximation():
    values = (np.arange(400) < 120).astype(float)  # a share of 0.3 of 400: standard error 0.0229
    found, _ = with_interval(mean, values, bootstrap_indices(400, 0, "x"))
    assert found.value == 0.3
    assert found.low == pytest.approx(0.3 - 1.96 * 0.0229, abs=0.008)
    assert found.high == pytest.approx(0.3 + 1.96 * 0.0229, abs=0.008)


def test_an_interval_leaves_out_2_5_percent_of_the_resamples_at_each_end():
    found = number(0.5, np.arange(1001.0))
    assert (found.low, found.high) == (25.0, 975.0)


def test_equal_seeds_give_equal_intervals_and_other_seeds_other_intervals():
    values = np.random.default_rng(0).random(50)
    ends = [
        with_interval(mean, values, bootstrap_indices(50, seed, name))[0]
        for seed, name in ((0, "a"), (0, "a"), (1, "a"), (0, "b"))
    ]
    assert ends[0] == ends[1]
    assert len({end.low for end in ends}) == 3


def test_auroc_counts_ties_half():
    wrong, entropy = [1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1]  # pairs: 1, 1, 1/2, 1
    assert auroc(np.column_stack([wrong, entropy]).astype(float)) == pytest.approx(3.5 / 4)
    jitter = np.array([0, 1e-12, 0, 0])
    assert auroc(np.column_stack([wrong, entropy + jitter])) == pytest.approx(3.5 / 4)


def test_auroc_is_nan_if_all_are_right_and_leaves_out_questions_without_entropy():
    assert math.isnan(auroc(np.array([[0.0, 0.1], [0.0, 0.2]])))
    assert auroc(np.array([[1.0, 0.9], [0.0, 0.1], [1.0, math.nan]])) == 1.0

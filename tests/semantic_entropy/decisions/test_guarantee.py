"""The guarantee: exact binomial numbers against scipy, and learn-then-test against a simulation with known risks."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_entropy import InputError
from semantic_entropy.decisions import Guarantee, labels_needed, learn_then_test
from semantic_entropy.decisions.guarantee import (
    answers_needed,
    binomial_tail,
    most_wrong,
    proportion_interval,
    sequence_of,
    upper_bound,
)

levels = st.floats(0.005, 0.5)
counts = st.integers(1, 3000)
scores = st.lists(st.sampled_from([0.0, 0.5, 0.69, 1.1, math.nan]) | st.floats(0, 2), max_size=60)


@given(counts, st.data(), st.floats(0.001, 0.999))
def test_the_binomial_tail_is_that_of_scipy(n, data, p):
    k = data.draw(st.integers(-1, n))
    assert binomial_tail(k, n, p) == pytest.approx(scipy.stats.binom.cdf(k, n, p), rel=1e-9, abs=1e-14)


def test_a_tail_below_the_smallest_float_is_0_at_once():
    assert binomial_tail(10**9, 10**12, 0.1) == 0  # a sum of 10**9 terms would not end


@pytest.mark.parametrize(("alpha", "needed"), [(0.05, 45), (0.1, 22), (0.2, 11)])
def test_the_labels_that_are_needed_without_an_error_are_those_of_the_formula(alpha, needed):
    assert labels_needed(alpha, 0.1) == needed == math.ceil(math.log(0.1) / math.log(1 - alpha))


@given(levels, levels, st.integers(0, 20))
def test_the_labels_that_are_needed_are_the_fewest_that_certify(alpha, delta, wrong):
    needed = labels_needed(alpha, delta, wrong)
    tail = scipy.stats.binom.cdf
    assert tail(wrong, needed, alpha) <= delta + 1e-12
    assert tail(wrong, needed - 1, alpha) >= delta - 1e-12


@given(counts, levels, levels)
def test_the_allowed_errors_are_the_most_that_certify(n, alpha, delta):
    most = most_wrong(n, alpha, delta)
    assert most == -1 or scipy.stats.binom.cdf(most, n, alpha) <= delta + 1e-12
    assert scipy.stats.binom.cdf(most + 1, n, alpha) >= delta - 1e-12


@settings(max_examples=25)
@given(counts, st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_of_a_proportion_is_that_of_clopper_and_pearson(n, data, level):
    k = data.draw(st.integers(0, n))
    exact = scipy.stats.binomtest(k, n).proportion_ci(level, method="exact")
    assert proportion_interval(k, n, level) == pytest.approx((exact.low, exact.high), abs=1e-9)
    one_sided = scipy.stats.binomtest(k, n, alternative="less").proportion_ci(level, method="exact")
    assert upper_bound(k, n, 1 - level) == pytest.approx(one_sided.high, abs=1e-9)


@settings(max_examples=25)
@given(st.floats(0, 0.3), st.floats(0.01, 0.4))
def test_the_answers_that_are_needed_certify_at_their_share_of_errors(risk, alpha):
    needed = answers_needed(risk, alpha)
    if risk >= alpha:
        assert needed is None
    elif needed is not None:
        assert math.ceil(needed * risk) <= most_wrong(needed, alpha, 0.1)


def direct(values, wrong, thresholds, alpha, delta):
    """Learn-then-test, written as in the paper: p-values of scipy, and the first failure ends the sequence."""
    values, wrong = np.asarray(values, dtype=float), np.asarray(wrong, dtype=bool)
    certified = None
    for threshold in thresholds:
        answered = values <= threshold
        if scipy.stats.binom.cdf(wrong[answered].sum(), answered.sum(), alpha) > delta:
            break
        certified = threshold
    return certified


@given(scores, st.randoms(use_true_random=False), levels, levels)
def test_learn_then_test_is_the_procedure_of_the_paper(values, random, alpha, delta):
    wrong = [random.random() < 0.05 for _ in values]
    thresholds = sorted({value for value in values[::3] if not math.isnan(value)})
    found = learn_then_test(values, wrong, thresholds, alpha, delta)
    assert found.threshold == direct(values, wrong, thresholds, alpha, delta)
    if found.threshold is not None:
        kept = [label for value, label in zip(values, wrong, strict=True) if value <= found.threshold]
        assert (found.answered, found.wrong) == (len(kept), sum(kept))
        assert found.upper_bound <= alpha + 1e-12


@given(scores, st.randoms(use_true_random=False), levels)
def test_the_order_of_the_rows_changes_nothing(values, random, alpha):
    rows = [(value, random.random() < 0.1) for value in values]
    shuffled = random.sample(rows, len(rows))
    first, second = (
        learn_then_test([v for v, _ in each], [w for _, w in each], [0.0, 0.5, 1.0, 2.0], alpha)
        for each in (rows, shuffled)
    )
    assert first == second


@pytest.mark.parametrize("discrete", [False, True])
def test_the_risk_is_above_alpha_in_at_most_delta_of_simulated_label_sets(discrete):
    """The truth is known: scores are uniform (or have five values), and P(wrong | score) = 0.3 score."""
    draw, alpha, delta, n, runs = np.random.default_rng(5), 0.1, 0.1, 400, 1000
    violations = certified = 0
    for _ in range(runs):
        values = draw.random(2 * n)
        if discrete:
            values = np.ceil(values * 5) / 5
        wrong = draw.random(2 * n) < 0.3 * values
        thresholds = sequence_of(values[:n].tolist(), n, alpha, delta)
        found = learn_then_test(values[n:].tolist(), wrong[n:].tolist(), thresholds, alpha, delta)
        if found.threshold is not None:
            certified += 1
            t = found.threshold
            risk = 0.3 * (t / 2 + 0.1 if discrete else t / 2)  # mean of the scores up to t
            violations += risk > alpha
    assert violations / runs <= delta + 2 * math.sqrt(delta * (1 - delta) / runs)
    assert violations > 0  # the bound is exact, so it is reached sometimes
    assert certified / runs > 0.3  # otherwise the bound would hold trivially


def test_a_constant_score_is_answered_for_all_or_for_none():
    thresholds = sequence_of([0.0] * 30, 60, 0.1)
    assert thresholds == [0.0]
    assert learn_then_test([0.0] * 60, [False] * 60, thresholds, 0.1).coverage == 1
    assert learn_then_test([0.0] * 60, [True] * 60, thresholds, 0.1).threshold is None


def test_the_sequence_starts_where_enough_groups_are_answered_to_certify():
    values = [i / 100 for i in range(100)]
    assert sequence_of(values, 440, 0.1)[0] == values[9]  # twice 22 answered groups are a tenth of 440
    assert sequence_of(values, 10, 0.1) == [values[-1]]  # ten groups never certify: the test says so
    assert sequence_of(values, 50, 0.1)[0] == values[57]  # 1.3 x 22 of 50 groups
    assert sequence_of([math.nan] * 5, 100, 0.1) == []
    assert sequence_of([], 100, 0.1) == []


def test_an_unknown_score_is_never_answered_and_counts_against_coverage():
    found = learn_then_test([0.0] * 50 + [math.nan] * 50, [False] * 50 + [True] * 50, [0.0], 0.1)
    assert (found.answered, found.wrong, found.coverage) == (50, 0, 0.5)


@pytest.mark.parametrize(
    ("wrong", "n", "reason", "missing"),
    [
        (0, 20, "0 of the 20 answers with a score of at most 0 are wrong (0.0%), and it takes 22 such answers", 5),
        (0, 11, "and it takes 22 such answers to certify with this share of wrong ones", 11),
        (4, 50, "4 of the 50 answers with a score of at most 0 are wrong (8.0%), and it takes about 457 such", 407),
        (
            16,
            100,
            "even of the 100 answers with a score of at most 0, 16 are wrong (16.0%), so that more of",
            None,
        ),
        (2, 15, "2 are wrong (13.3%), and so few answers do not tell whether a risk of 0.1 can be reached", 15),
    ],
)
def test_a_failure_says_what_is_needed(wrong, n, reason, missing):
    found = learn_then_test([0.0] * n, [i < wrong for i in range(n)], [0.0], 0.1)
    assert found.threshold is None
    assert reason in found.reason
    assert found.missing == missing
    assert str(found).startswith("cannot certify a risk of at most 0.1 with confidence 0.9: ")


def test_more_labels_help_if_the_most_certain_answers_are_right():
    found = learn_then_test([0.0] * 12 + [1.0] * 12, [False] * 12 + [True] * 12, [1.0], 0.1)
    assert "0 of the 12 answers with a score of at most 0 are wrong" in found.reason
    assert found.missing == 20  # 22 of the first kind, and as many of the second


def test_a_certified_threshold_is_one_sentence():
    found = learn_then_test([0.0] * 50 + [1.0] * 50, [False] * 50 + [True] * 50, [0.0, 1.0], 0.1)
    assert str(found) == (
        "answer only where the score is at most 0: with confidence 0.9, at most 0.1 of those answers are wrong, on "
        "questions like these (0 of 50 were; 50.0% of the 100 groups are answered)"
    )
    assert found.reason == (
        "the next threshold is not certified: 50 of the 100 answers with a score of at most 1 are wrong"
    )


@pytest.mark.parametrize("bad", [0, 1, -0.1, 1.5, math.nan])
def test_levels_outside_of_0_to_1_are_errors(bad):
    with pytest.raises(InputError, match=r"alpha=.* must be between 0 and 1"):
        learn_then_test([0.0], [True], [0.0], bad)
    with pytest.raises(InputError, match=r"delta=.* must be between 0 and 1"):
        labels_needed(0.1, bad)


def test_thresholds_that_do_not_increase_and_other_lengths_are_errors():
    with pytest.raises(InputError, match="must increase"):
        learn_then_test([0.0], [True], [1.0, 0.5], 0.1)
    with pytest.raises(InputError, match="2 scores for 1 labels"):
        learn_then_test([0.0, 1.0], [True], [1.0], 0.1)


def test_without_thresholds_nothing_is_certified():
    found = learn_then_test([math.nan] * 3, [False] * 3, [], 0.1)
    assert isinstance(found, Guarantee)
    assert found.threshold is None
    assert found.reason == "no group has a known score"

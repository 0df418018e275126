"""Thresholds from scores and labels: cases worked out by hand, and properties of the best threshold."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import InputError
from semantic_entropy.decisions import Quality, best_threshold, cross_validate, quality

SAME, DIFFERENT = True, False

PICKED = [  # scores, truth, metric, threshold
    ([0.2, 0.8], [DIFFERENT, SAME], "accuracy", 0.5),  # the middle of the gap
    ([0.2, 0.8], [DIFFERENT, SAME], "f1", 0.5),
    ([0.9, 0.1, 0.3, 0.7], [SAME, DIFFERENT, DIFFERENT, SAME], "accuracy", 0.5),  # the order does not matter
    (
        [0.1, 0.2, 0.3, 0.9],
        [DIFFERENT, SAME, DIFFERENT, SAME],
        "accuracy",
        0.6,
    ),  # one error in either gap: the wider gap wins
    (
        [0.4, 0.4, 0.4],
        [SAME, SAME, DIFFERENT],
        "accuracy",
        0.2,
    ),  # equal scores: the threshold below them calls all pairs the same
    (
        [0.4, 0.4, 0.4],
        [SAME, DIFFERENT, DIFFERENT],
        "accuracy",
        0.7,
    ),  # or the threshold above them calls no pair the same
    ([0.0, 0.0, 1.0], [SAME, SAME, DIFFERENT], "accuracy", 0.0),  # there is no threshold below 0
    (
        [0.3, 1.0, 1.0],
        [SAME, DIFFERENT, DIFFERENT],
        "accuracy",
        0.1,
    ),  # nor above 1: at least one pair is called the same
    (
        [0.1, 0.5, 0.6, 0.9],
        [SAME, DIFFERENT, DIFFERENT, SAME],
        "f1",
        0.8,
    ),  # f1 is 2/3 for the last pair only, and for all pairs
    ([0.2, 0.5, 0.6, 0.8, 0.9], [DIFFERENT, SAME, DIFFERENT, SAME, SAME], "precision@0.75", 0.3),
    ([0.2, 0.5, 0.6, 0.8, 0.9], [DIFFERENT, SAME, DIFFERENT, SAME, SAME], "precision@0.8", 0.7),
    ([0.123456, 0.123457], [DIFFERENT, SAME], "accuracy", 0.1234565),  # as few digits as the gap allows
]


@pytest.mark.parametrize(("scores", "truth", "metric", "threshold"), PICKED)
def test_the_threshold_worked_out_by_hand(scores, truth, metric, threshold):
    assert best_threshold(scores, truth, metric) == threshold


def test_neighbouring_floats_are_separated():
    low = 0.5
    high = math.nextafter(low, 1)
    assert best_threshold([low, high], [DIFFERENT, SAME]) == high


def test_ratios_follow_from_the_counts():
    found = quality([True, True, True, False, False], [True, True, False, True, False])
    assert found == Quality(2, 1, 1, 1)
    assert (found.pairs, found.accuracy, found.precision, found.recall) == (5, 0.6, 2 / 3, 2 / 3)
    assert found.f1 == pytest.approx(2 / 3)


def test_a_ratio_with_denominator_zero_is_nan():
    found = quality([False, False], [False, False])
    assert found.accuracy == 1
    assert all(map(math.isnan, (found.precision, found.recall, found.f1)))
    assert math.isnan(quality([], []).accuracy)


SCORED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.77, 0.9, 1.0]) | st.floats(0, 1), st.booleans()),
    min_size=2,
    max_size=30,
).filter(lambda pairs: len({same for _, same in pairs}) == 2)


def worth(scores, truth, threshold, metric):
    return getattr(quality([score >= threshold for score in scores], truth), metric)


@given(SCORED, st.sampled_from(["accuracy", "f1"]), st.floats(0, 1))
def test_no_other_threshold_is_better(pairs, metric, other):
    scores, truth = zip(*pairs, strict=True)
    best = best_threshold(scores, truth, metric)
    assert 0 <= best <= 1
    for threshold in (other, *scores, 0.0, 1.0):
        found = worth(scores, truth, threshold, metric)
        assert math.isnan(found) or found <= worth(scores, truth, best, metric)


@given(SCORED, st.floats(0.01, 1))
def test_precision_at_reaches_the_precision_with_the_highest_recall(pairs, least):
    scores, truth = zip(*pairs, strict=True)
    able = [t for t in scores if worth(scores, truth, t, "precision") >= least]
    if not able:
        with pytest.raises(InputError, match="no threshold reaches precision@"):
            best_threshold(scores, truth, f"precision@{least}")
        return
    best = best_threshold(scores, truth, f"precision@{least}")
    assert worth(scores, truth, best, "precision") >= least
    assert worth(scores, truth, best, "recall") == max(worth(scores, truth, t, "recall") for t in able)


@given(SCORED)
def test_the_order_of_the_pairs_does_not_matter(pairs):
    assert best_threshold(*zip(*pairs, strict=True)) == best_threshold(*zip(*reversed(pairs), strict=True))


def test_a_fold_is_judged_by_a_threshold_from_the_other_folds():
    scores = [value for _ in range(10) for value in (0.2, 0.8)]
    truth = [DIFFERENT, SAME] * 10
    groups = [question for question in range(10) for _ in range(2)]
    found = cross_validate(scores, truth, groups=groups)
    assert found.quality == Quality(10, 0, 10, 0)
    assert found.thresholds == (0.5,) * 5
    odd = [0.2, 0.8] * 9 + [0.8, 0.2]  # the last question is reversed: wrong when it is held out
    assert cross_validate(odd, truth, groups=groups).quality == Quality(9, 1, 9, 1)


def test_the_threshold_of_one_question_is_not_used_on_that_question():
    scores, truth, groups = [0.2, 0.3, 0.8, 0.9], [DIFFERENT, SAME, DIFFERENT, SAME], ["low", "low", "high", "high"]
    found = cross_validate(scores, truth, groups=groups)
    assert sorted(found.thresholds) == [0.25, 0.85]
    assert found.quality == Quality(1, 1, 1, 1)  # each question is judged with the threshold of the other


WRONG = [
    (([], []), "no pairs"),
    (([0.5, 0.6], [SAME, SAME]), "all 2 pairs are labelled 'same'"),
    (([0.5, 0.6], [DIFFERENT, DIFFERENT]), "all 2 pairs are labelled 'different'"),
    (([0.5], [SAME, DIFFERENT]), "1 scores for 2 pairs"),
    (([0.5, 1.5], [SAME, DIFFERENT]), "the score 1.5 is not in [0, 1]"),
    (([0.5, math.nan], [SAME, DIFFERENT]), "the score nan is not in [0, 1]"),
    (([0.5, 0.4], [SAME, DIFFERENT], "recall"), "use accuracy, f1, or precision@P"),
    (([0.5, 0.4], [SAME, DIFFERENT], "precision@2"), "use accuracy, f1, or precision@P"),
    (([0.5, 0.4], [SAME, DIFFERENT], "precision"), "use accuracy, f1, or precision@P"),
    (([0.5, 0.6], [SAME, DIFFERENT], "precision@0.9"), "the highest precision here is 0.500"),
]


@pytest.mark.parametrize(("arguments", "part"), WRONG)
def test_unusable_arguments_are_errors_that_name_the_problem(arguments, part):
    with pytest.raises(InputError) as caught:
        best_threshold(*arguments)
    assert part in str(caught.value)


def test_cross_validation_of_one_question_is_an_error():
    with pytest.raises(InputError, match="needs at least two"):
        cross_validate([0.1, 0.9], [DIFFERENT, SAME], groups=["q", "q"])

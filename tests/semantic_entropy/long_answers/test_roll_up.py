"""The uncertainty of sentences and of their answer, beside numpy's nan-aware mean, and the rule for long answers."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy.long_answers import LEAST_CHARACTERS, Statement, assess, decide_long

SHARES = st.floats(0, 1, allow_subnormal=False)


@st.composite
def matrices(draw, values=SHARES):
    samples = draw(st.integers(1, 8))
    row = st.lists(values, min_size=samples, max_size=samples)
    return draw(st.lists(row, min_size=1, max_size=6))


def measured(matrix, **options):
    return assess("a", [Statement(str(i)) for i in range(len(matrix))], matrix, **options)


@given(matrices(SHARES | st.just(math.nan)))
def test_the_scores_are_those_of_numpy(matrix):
    support = np.array(matrix)
    decided = (~np.isnan(support)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        expected = np.where(
            2 * decided >= support.shape[1], 1 - np.nansum(support, axis=1) / np.maximum(decided, 1), math.nan
        )
    expected[decided == 0] = math.nan
    found = measured(matrix)
    np.testing.assert_allclose([each.uncertainty for each in found.sentences], expected, atol=1e-12)
    known = expected[~np.isnan(expected)]
    whole = known.mean() if 2 * len(known) >= len(expected) and len(known) else math.nan
    np.testing.assert_allclose(found.uncertainty, whole, atol=1e-12)
    is_whole = len(known) == len(found.sentences)
    np.testing.assert_allclose(found.highest, known.max() if is_whole else math.nan, atol=1e-12)
    assert [each.supported_by for each in found.sentences] == [int((row >= 0.5).sum()) for row in support]
    assert found.undecided == int(np.isnan(support).sum())


@given(matrices(SHARES | st.just(math.nan)), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_nothing(matrix, draw: random.Random):
    order = list(range(len(matrix[0])))
    draw.shuffle(order)
    assert repr(measured([[row[j] for j in order] for row in matrix])) == repr(measured(matrix))


@given(matrices())
def test_every_score_is_a_share_and_the_highest_is_that_of_the_least_supported_sentence(matrix):
    found = measured(matrix)
    assert all(0 <= each.uncertainty <= 1 for each in found.sentences)
    assert 0 <= found.uncertainty <= found.highest + 1e-12
    assert found.least_supported[0].uncertainty == found.highest


@given(matrices(SHARES | st.just(math.nan)), st.integers(0, 3))
def test_a_sentence_is_doubtful_if_fewer_than_half_of_the_decided_samples_support_it(matrix, invalid):
    for each, row in zip(measured(matrix, invalid=invalid).sentences, matrix, strict=True):
        decided = [value for value in row if not math.isnan(value)]
        supporting = sum(value >= 0.5 for value in decided)
        assert each.doubtful is (each.unknown or supporting < (len(decided) + invalid) / 2)


def test_a_scorer_can_say_itself_which_samples_support():
    (found,) = measured([[0.7, 0.7]], supports=[[True, False]]).sentences
    assert (found.supported_by, found.uncertainty, found.doubtful) == (1, pytest.approx(0.3), False)


def test_samples_that_agree_leave_no_uncertainty_and_samples_that_contradict_leave_the_whole():
    assert measured([[1.0] * 3] * 2).uncertainty == 0.0
    assert measured([[0.0] * 3] * 2).uncertainty == 1.0


def test_an_invalid_sample_supports_nothing_and_is_counted():
    found = measured([[1.0]], invalid=9)
    assert found.sentences[0].uncertainty == pytest.approx(0.9)
    assert (found.samples, found.invalid, found.sentences[0].supported_by) == (10, 9, 1)
    assert "9 of 10 samples are empty or refuse" in found.warnings()[0]


@pytest.mark.parametrize("invalid", [0, 3])
def test_without_a_valid_sample_nothing_is_known_and_a_warning_says_so(invalid):
    found = assess("One. Two.", [Statement("One."), Statement("Two.")], [[], []], samples=invalid, invalid=invalid)
    assert math.isnan(found.uncertainty)
    assert math.isnan(found.highest)
    assert all(each.unknown and each.doubtful for each in found.sentences)
    assert "uncertainty is unknown" in found.warnings()[0]


def test_a_sentence_that_few_samples_decide_is_unknown_and_comes_first():
    found = measured([[1.0, math.nan, math.nan], [0.0, 0.0, math.nan]])
    assert math.isnan(found.sentences[0].uncertainty)
    assert [each.text for each in found.least_supported] == ["0", "1"]
    assert found.uncertainty == 1.0
    assert "3 of 6 pairs of a sentence and a sample are undecided" in found.warnings()[0]


def test_an_answer_without_a_valid_text_has_no_sentence():
    found = assess(None, [], [], samples=2, invalid=2)
    assert found.sentences == ()
    assert math.isnan(found.uncertainty)
    assert found.warnings() == ["there is no valid answer whose sentences can be doubted"]


def test_ten_thousand_sentences_are_rolled_up():
    found = measured([[i / 10_000] * 10 for i in range(10_000)])
    assert found.uncertainty == pytest.approx(0.50005)
    assert found.least_supported[-1].text == "9999"


@pytest.mark.parametrize(
    ("lengths", "is_long"),
    [
        ([LEAST_CHARACTERS] * 3, True),
        ([LEAST_CHARACTERS - 1] * 3, False),
        ([LEAST_CHARACTERS - 1, LEAST_CHARACTERS, LEAST_CHARACTERS + 1], True),
        ([1, 1, 10_000], False),
        ([1, 10_000, 10_000], True),
        ([], False),
    ],
)
def test_answers_are_long_if_the_median_valid_answer_has_enough_characters(lengths, is_long):
    answers = ["x" * length for length in lengths]
    assert decide_long([*answers, None], None).is_long is is_long
    assert decide_long(answers, True) == (True, "as asked")
    assert decide_long(answers, False).is_long is False


def test_the_rule_says_why():
    assert decide_long(["x" * 300], None).reason == "auto: the median answer has 300 characters, at least 250"
    assert decide_long(["x"], None).reason == "auto: the answers are short"

"""`assert_consistent` and `check_consistency` without pytest's plugin."""

from __future__ import annotations

import pytest

from semantic_entropy import InputError, estimate
from semantic_entropy.integrations import assert_consistent, check_consistency

SURE = ["Paris", "It is Paris.", "Paris"]


def test_the_result_is_returned_and_the_default_threshold_lets_eight_of_ten_pass():
    assert assert_consistent(SURE, question="Capital of France?").answer == "Paris"
    assert check_consistency(["a"] * 9 + ["b"]).passed
    assert not check_consistency(["a"] * 8 + ["b", "c"]).passed


def test_the_message_has_the_reason_the_question_and_the_meanings():
    with pytest.raises(AssertionError) as raised:
        assert_consistent(["Lima", "Lima", "Cuzco"], "Capital of Peru?", threshold=0.3)
    message = str(raised.value)
    assert message.startswith("not consistent: the entropy is 0.637 nats, above 0.3\nquestion: Capital of Peru?\n")
    assert "66.7%    2 x  Lima" in message
    assert "33.3%    1 x  Cuzco" in message


@pytest.mark.parametrize(
    ("responses", "reason"),
    [
        (["I don't know."] * 10, "0 of 10 answers are valid"),
        ([""] * 10, "0 of 10 answers are valid"),
        (["Paris"], "1 of 1 answer is valid"),
        (["Paris"] * 2 + [""] * 8, "only 2 of 10 answers are valid"),
    ],
)
@pytest.mark.parametrize("invalid", ["separate", "together", "drop"])
def test_answers_that_say_too_little_are_not_consistent(responses, reason, invalid):
    assert reason in check_consistency(responses, threshold=9, invalid=invalid).reasons[0]


def test_undecided_pairs_are_not_consistent():
    check = check_consistency(["a", "b", "c"], threshold=9, equivalence=lambda left, right: None)
    assert "3 of 3 pairs undecided (100%)" in check.reasons[0]
    assert check_consistency(["a", "b", "c"], threshold=9, max_undecided=1, equivalence=lambda left, right: None).passed


def test_two_answers_are_too_few():
    assert "a decision needs 3" in check_consistency(["a", "a"]).reasons[0]
    assert check_consistency(["a", "a"], min_samples=2).passed


def test_a_measured_result_is_checked_as_it_is():
    assert assert_consistent(estimate(SURE)) == estimate(SURE)
    with pytest.raises(InputError, match="equivalence: the result is measured already"):
        assert_consistent(estimate(SURE), equivalence="exact")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"responses": [SURE, SURE]}, "several questions"),
        ({"responses": SURE, "question": ["a", "b"]}, "not one question"),
        ({"responses": SURE, "threshold": float("nan")}, "nan is no limit"),
        ({"responses": SURE, "threshold": float("inf")}, "inf is no limit"),
        ({"responses": SURE, "threshold": -1}, "-1 is no limit"),
        ({"question": "Where?"}, "needs responses"),
        ({"responses": []}, "at least one|empty|no response"),
    ],
)
def test_what_cannot_be_checked_is_an_error(arguments, message):
    with pytest.raises(InputError, match=message):
        assert_consistent(**arguments)

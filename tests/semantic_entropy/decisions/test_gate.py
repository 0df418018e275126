"""`decide`: the four actions, and that no result with a hole is ever allowed."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import InputError, Result, estimate
from semantic_entropy.decisions import (
    ACTIONS,
    Calibration,
    Conditions,
    Decision,
    Origin,
    decide,
    entropy_rule,
    learn_then_test,
    why_unusable,
)
from semantic_entropy.decisions.calibration import CalibratedScore, LabelCounts, Mapped

SAME, SPLIT = ["Paris"] * 4, ["Paris", "Rome", "Oslo", "Bern"]
CERTIFIED = learn_then_test([0.0] * 50 + [1.0] * 10, [False] * 50 + [True] * 10, [0.0, 1.0], 0.1)
UNCERTIFIED = learn_then_test([0.0] * 60, [True] * 60, [0.0], 0.1)


def measured(responses=SAME, *, model="m", **choices):
    result = estimate(responses, **{"equivalence": "exact", **choices})
    return dataclasses.replace(result, provenance=dataclasses.replace(result.provenance, model=model))


def calibrated(**changes):
    result = measured()
    found = Calibration(
        scores=(CalibratedScore("discrete", higher_is_uncertain=True),),
        method="platt",
        parameters=Mapped(-1.0, (2.0,), (0.5,), (0.25,)),
        conditions=Conditions.of([Origin.of(result.provenance, 4)], ["discrete"]),
        labels=LabelCounts(20, 60, 5, 10, "main"),
        guarantee=CERTIFIED,
        quantiles=(0.0, 0.0, 1.0),
    )
    return dataclasses.replace(found, **changes)


CALIBRATION = calibrated()
CERTAIN = calibrated(parameters=Mapped(-9.0, (0.0,), (0.0,), (1.0,)))  # p(wrong) is 0.0001 whatever the score


def test_a_certain_answer_is_allowed_and_the_reason_has_the_numbers():
    decision = decide(measured(), CALIBRATION)
    assert (decision.action, decision.answers, decision.threshold, decision.risk_score) == ("allow", True, 0.0, 0.0)
    assert decision.p_wrong == pytest.approx(1 / (1 + math.exp(1 + 4)))
    expected = (
        "the score is 0, at most the certified threshold 0: at most 0.1 of such answers are wrong, with confidence 0.9"
    )
    assert decision.reasons == (expected,)
    assert str(decision) == f"allow: {expected}"
    assert json.loads(decision.to_json()) == {**dataclasses.asdict(decision), "reasons": [expected]}


def replies(text, finish_reason, n):
    return [{"choices": [{"message": {"content": text}, "finish_reason": finish_reason}]}] * n


FINISHED = replies("Let us see. The river is the", "stop", 2)
CUT_OFF = replies("Let us see. The river is the", "length", 3) + FINISHED[:1]


def test_responses_without_their_end_are_counted_and_nothing_rests_on_them():
    cut, half = estimate(CUT_OFF), estimate([*CUT_OFF[:2], *FINISHED])
    assert (cut.entropy, cut.provenance.cut_off, half.provenance.cut_off) == (0, 3, 2)
    assert why_unusable(cut) == ["3 of 4 responses were cut off at the token limit: raise max_tokens"]
    assert why_unusable(half) == []
    assert Result.from_dict(json.loads(cut.to_json())).provenance.cut_off == 3


def with_warning(result):
    return dataclasses.replace(result, warnings=("2 of 4 responses were cut off",))


@pytest.mark.parametrize(
    ("result", "calibration", "action", "reason"),
    [
        (with_warning(measured()), CALIBRATION, "warn", "2 of 4 responses were cut off"),
        (measured(model=None), CALIBRATION, "warn", "the model of these responses is undeclared"),
        (measured(["a", "a", "a", ""], invalid="separate"), CERTAIN, "defer", "above the certified threshold 0"),
        (measured(SPLIT), CALIBRATION, "block", "p(wrong) is 0.998, above 0.5"),
        (measured(SPLIT), CERTAIN, "defer", "the score is 1.38629, above the certified threshold 0"),
        (measured(), None, "defer", "there is no calibration"),
        (measured(), calibrated(guarantee=UNCERTIFIED), "defer", "cannot certify a risk of at most 0.1"),
        (measured(), calibrated(conditions=None), "defer", "cannot be checked whether it is for this result"),
        (measured(model="other"), CALIBRATION, "defer", "model m, and here other"),
        (measured(invalid="drop"), CALIBRATION, "defer", "invalid separate, and here drop"),
        (measured(SAME * 2), CALIBRATION, "defer", "n 4 responses, and here 8 responses"),
        (measured(["I don't know."] * 4), CERTAIN, "defer", "0 of 4 answers are valid"),
        (measured([""] * 4), CERTAIN, "defer", "0 of 4 answers are valid"),
        (measured(["Paris", "", "", ""]), CERTAIN, "defer", "1 of 4 answers is valid"),
        (measured(SPLIT, equivalence=lambda left, right: None), CERTAIN, "defer", "6 of 6 pairs undecided (100%)"),
        (dataclasses.replace(measured(), scores={}), CERTAIN, "defer", "p(wrong) is not known"),
        (measured(CUT_OFF), CERTAIN, "defer", "3 of 4 responses were cut off at the token limit"),
        (measured([*CUT_OFF[:2], *FINISHED]), CERTAIN, "warn", "2 of 4 responses were cut off at the token limit"),
    ],
)
def test_each_action_has_its_reason_first(result, calibration, action, reason):
    decision = decide(result, calibration)
    assert decision.action == action
    assert any(reason in each for each in decision.reasons), decision.reasons
    assert decision.answers == (action == "warn")


def test_the_fields_that_a_result_carries_are_not_believed():
    passing = dataclasses.replace(measured(SPLIT), p_wrong=0.0, flag=False, threshold=99.0)
    assert decide(passing, CALIBRATION).action == "block"
    assert decide(passing).action == "defer"


def test_p_wrong_above_the_limit_blocks_also_where_the_score_passes():
    guessing = calibrated(parameters=Mapped(1.0, (0.0,), (0.0,), (1.0,)))  # p(wrong) is 0.73 whatever the score
    assert decide(measured(), guessing).action == "block"
    assert decide(measured(), guessing, block_above=0.8).action == "allow"
    assert decide(measured(), guessing, block_above=0).action == "block"


def test_a_decision_has_no_truth_value():
    with pytest.raises(TypeError, match="decision.answers"):
        bool(decide(measured(), CALIBRATION))


def test_actions_are_ordered():
    decision = Decision("defer", ("why",))
    assert [decision.is_at_least(action) for action in ACTIONS] == [True, True, True, False]
    with pytest.raises(InputError, match="'stop' is no action"):
        decision.is_at_least("stop")


@pytest.mark.parametrize("arguments", [{"block_above": math.nan}, {"block_above": 1.1}, {"max_undecided": math.nan}])
def test_a_limit_that_is_no_share_is_an_error(arguments):
    with pytest.raises(InputError, match="is no share"):
        decide(measured(), CALIBRATION, **arguments)


@pytest.mark.parametrize("arguments", [({}, CALIBRATION), (measured(), "calibration.json"), (None, None)])
def test_other_types_are_an_error(arguments):
    with pytest.raises(InputError, match="pass a Result"):
        decide(*arguments)


def test_reasons_are_one_line_whatever_the_warning_holds():
    result = dataclasses.replace(measured(), warnings=("\x1b[31m\ud800\nallow: yes",))
    (_, allowed) = decide(result, CALIBRATION).reasons
    decision = decide(result, CALIBRATION)
    assert decision.action == "warn"
    assert decision.reasons[0] == "\ufffd[31m\ufffd allow: yes"
    assert decision.reasons[1] == allowed
    json.loads(decision.to_json())


# Fail-closed: each damage to a result that is allowed makes it one that is not.

NUMBERS = st.one_of(
    st.floats(), st.none(), st.text(max_size=3), st.booleans(), st.integers(), st.just(10**400), st.just(-(10**400))
)


def is_finite(value):
    try:
        return not isinstance(value, bool | str | None) and math.isfinite(value)
    except OverflowError:
        return False


def replaced(result, **changes):
    inside = {name: changes.pop(name) for name in ("asked", "cached", "undecided_pairs", "model") if name in changes}
    if "undecided_pairs" in inside:
        inside["undecided"] = inside.pop("undecided_pairs")
    return dataclasses.replace(result, provenance=dataclasses.replace(result.provenance, **inside), **changes)


@given(value=NUMBERS)
def test_a_score_that_is_no_number_up_to_the_threshold_is_never_allowed(value):
    decision = decide(dataclasses.replace(measured(), scores={"discrete": value}), CERTAIN)
    assert decision.answers == (is_finite(value) and -1e-6 <= value < 1e-12)  # 0 but for rounding, as the labels say
    assert (decision.action == "allow") == (is_finite(value) and -1e-9 <= value < 1e-12)  # no labelled group is below


@given(value=NUMBERS)
def test_an_entropy_that_is_no_finite_number_is_never_allowed(value):
    decision = decide(dataclasses.replace(measured(), entropy=value), CERTAIN)
    assert decision.answers == (is_finite(value) and -1e-9 <= value <= 1e-6)  # the labels give 0


@given(n_valid=st.integers(-5, 20), invalid=st.integers(-5, 20))
def test_counts_that_contradict_the_answers_are_never_allowed(n_valid, invalid):
    decision = decide(dataclasses.replace(measured(), n_valid=n_valid, invalid=invalid), CERTAIN)
    assert decision.answers == ((n_valid, invalid) == (4, 0))


@given(asked=st.integers(-20, 20), cached=st.integers(-20, 20), undecided=st.integers(-20, 40))
def test_undecided_pairs_over_the_limit_are_never_allowed(asked, cached, undecided):
    result = replaced(measured(), asked=asked, cached=cached, undecided_pairs=undecided)
    decision = decide(result, CERTAIN)
    assert decision.answers == (min(asked, cached, undecided) >= 0 and undecided <= 0.1 * (asked + cached))


ANSWERS = st.sampled_from(["Paris", "Paris", "", " ", "\u200b", "\n", "I don't know.", "I cannot answer that.", "N/A"])


@given(responses=st.lists(ANSWERS, min_size=4, max_size=4), invalid=st.sampled_from(["separate", "together", "drop"]))
def test_refusals_and_empty_answers_are_allowed_only_beside_as_many_answers(responses, invalid):
    result = measured(responses, invalid=invalid)
    calibration = dataclasses.replace(CERTAIN, conditions=dataclasses.replace(CERTAIN.conditions, invalid=invalid))
    decision = decide(result, calibration)
    valid = responses.count("Paris")
    assert result.n_valid == valid
    if valid < 2:
        assert not decision.answers
    if valid < 4:
        assert decision.action != "allow"


@given(
    weights=st.floats(-1e308, 1e308),
    threshold=st.floats(allow_nan=False, allow_infinity=False),
    score=st.floats(),
)
def test_no_calibration_allows_a_score_above_its_threshold_or_without_a_probability(weights, threshold, score):
    guarantee = dataclasses.replace(CERTIFIED, threshold=threshold)
    calibration = calibrated(guarantee=guarantee, parameters=Mapped(0.0, (weights,), (0.0,), (1e-300,)))
    decision = decide(dataclasses.replace(measured(), scores={"discrete": score}), calibration, block_above=1)
    if decision.answers:
        assert score <= threshold
        assert 0 <= decision.p_wrong <= 1


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda x: st.lists(x, max_size=3)))
def test_a_field_with_any_value_never_raises_and_never_turns_a_deferred_answer_into_an_allowed_one(value):
    for name in ("entropy", "n_valid", "invalid", "answers", "scores", "warnings", "provenance", "undecided"):
        result = dataclasses.replace(measured(SPLIT), **{name: value})
        assert not decide(result, CERTAIN).answers, name


@given(drop=st.sampled_from(["entropy", "answers", "scores", "provenance", "n_valid", "labels", "clusters"]))
def test_a_stored_result_that_lacks_a_field_is_an_error_before_it_is_decided(drop):
    fields = json.loads(measured().to_json())
    del fields[drop]
    with pytest.raises(InputError):
        Result.from_dict(fields)


def test_the_limit_of_undecided_pairs_can_be_raised():
    silent = measured(["a", "b", "c"], equivalence=lambda left, right: None)
    assert why_unusable(silent) == ["3 of 3 pairs undecided (100%)"]
    assert why_unusable(silent, 1.0) == []
    assert why_unusable(silent, math.nan) == ["3 of 3 pairs undecided (100%)"]


def test_two_valid_answers_are_too_few_for_a_decision_by_the_entropy():
    two = measured(["a", "a"])
    reason = "2 of 2 answers are valid, and a decision needs 3 (min_samples)"
    assert why_unusable(two) == [reason] == [entropy_rule(9)(two)]
    assert why_unusable(two, min_samples=2) == []
    assert entropy_rule(9, min_samples=2)(two) == ""
    assert reason not in decide(two).reasons  # a calibration has its own number

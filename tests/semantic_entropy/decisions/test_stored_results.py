"""A stored result that was edited or damaged is believed nowhere: each place names the row and both values."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import InputError, Result, estimate
from semantic_entropy.decisions import decide, entropy_rule
from semantic_entropy.decisions.row_gate import RowGate
from semantic_entropy.decisions.stored_results import check_stored, contradictions
from semantic_entropy.evaluation import evaluate
from semantic_entropy.report import write_report
from tests.semantic_entropy.decisions.test_gate import CALIBRATION, CERTAIN, measured

SPLIT = ["Paris", "Rome", "Oslo", "Bern"]
ESTIMATORS = ["discrete", "num_sets", "majority", "margin"]


def stored(responses=SPLIT, **choices):
    return json.loads(estimate(responses, equivalence="exact", estimator=ESTIMATORS, **choices).to_json())


def with_score(fields, name, value):
    return fields["scores"].update({name: value})


DAMAGES = {
    "entropy": (lambda row: row.update(entropy=0.0), "entropy is 0, and the labels give 1.38629"),
    "discrete": (lambda row: with_score(row, "discrete", 0.0), "discrete is 0, and the labels give 1.38629"),
    "null": (lambda row: with_score(row, "discrete", None), "discrete is unknown, and the labels give 1.38629"),
    "num_sets": (lambda row: with_score(row, "num_sets", 1.0), "num_sets is 1, and the labels give 4"),
    "majority": (lambda row: with_score(row, "majority", 1.0), "majority is 1, and the labels give 0.25"),
    "margin": (lambda row: with_score(row, "margin", 0.9), "margin is 0.9, and the labels give 0"),
    "n_valid": (lambda row: row.update(n_valid=9), "4 of 4 answers are valid, and n_valid is 9, invalid is 0"),
    "normalized": (lambda row: row.update(normalized=0.0), "normalized is 0, and entropy gives 1"),
    "labels": (lambda row: row.update(labels=[0, 0, 0, 0]), "entropy is 1.38629, and the labels give 0"),
    "shares": (lambda row: row.update(probabilities=[1.0, 0.0, 0.0, 0.0]), "probabilities are [1.0, 0.0"),
    "answers": (lambda row: row.update(answers=["Paris", None, None, None]), "1 of 4 answers are valid"),
}
CHANGED = pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)


def damaged(damage):
    row = stored()
    damage(row)
    return row


@CHANGED
def test_the_error_has_both_values(damage, message):
    with pytest.raises(InputError) as raised:
        check_stored(damaged(damage))
    assert message in str(raised.value)


@CHANGED
def test_the_gate_counts_the_row_as_failed_and_says_why(damage, message):
    gate = RowGate(entropy_rule(9))
    gate.add(7, damaged(damage))
    ((number, reason),) = gate.summary("line").first
    assert number == 7
    assert message in reason or "clusters" in reason  # labels that contradict the clusters are no result


@CHANGED
def test_evaluate_counts_the_row_as_bad_and_names_it(damage, message):
    rows = [{**stored(answers), "answer_correct": i % 2 == 0} for i, answers in enumerate([SPLIT, ["a"] * 4] * 3)]
    damage(rows[2])
    report = evaluate(rows)
    assert report.bad == 1
    assert "row 2: the result contradicts itself" in report.bad_rows[0]
    assert message in report.bad_rows[0]


def test_the_report_leaves_the_row_out_and_names_it(tmp_path):
    rows = [stored(), damaged(DAMAGES["entropy"][0])]
    written = write_report(rows, tmp_path / "report.html")
    assert "row 1: the result contradicts itself: entropy is 0, and the labels give 1.38629" in str(written)


def test_drift_stops_and_names_the_line(tmp_path):
    CALIBRATION.save(tmp_path / "calibration.json")
    (tmp_path / "scored.jsonl").write_text(json.dumps(stored()) + "\n" + json.dumps(damaged(DAMAGES["discrete"][0])))
    command = [sys.executable, "-m", "semantic_entropy", "drift", "calibration.json", "scored.jsonl"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "scored.jsonl, line 2: the result contradicts itself: the score discrete is 0, and the labels" in ran.stderr


def test_a_changed_main_answer_defers():
    result = dataclasses.replace(measured(), answer="Rome")
    decision = decide(result, CERTAIN)
    assert decision.action == "defer"
    assert decision.reasons[0] == "answer is 'Rome', and the largest cluster has 'Paris'"


def test_a_p_wrong_that_the_scores_do_not_give_defers():
    applied = CALIBRATION.apply(measured())
    assert decide(applied, CALIBRATION).action == "allow"
    decision = decide(dataclasses.replace(applied, p_wrong=0.9), CALIBRATION)
    assert decision.action == "defer"
    assert decision.reasons[0].startswith("p_wrong is 0.9, and the scores give 0.0066")


RESPONSES = st.lists(st.sampled_from(["a", "b", "A.", "", "None", "I don't know."]), min_size=1, max_size=8)


@given(
    responses=RESPONSES,
    invalid=st.sampled_from(["separate", "together", "drop"]),
    convention=st.sampled_from(["default", "nature-2024", "uqlm", "lm-polygraph"]),
    estimator=st.sampled_from(
        [ESTIMATORS, ["majority"], ["bayes"], ["chao_shen", "discrete"], ["likelihood", "margin"]]
    ),
)
def test_no_measured_result_contradicts_itself(responses, invalid, convention, estimator):
    given = {"logprobs": [[-0.1 * i] for i in range(len(responses))]} if "likelihood" in estimator else {}
    result = estimate(responses, invalid=invalid, convention=convention, estimator=estimator, **given)
    fields = json.loads(result.to_json())
    check_stored(fields)
    assert contradictions(Result.from_dict(fields)) == []


@given(
    value=st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3), lambda x: st.lists(x, max_size=3))
)
def test_a_field_with_any_value_is_an_input_error_or_equal(value):
    for name in ("labels", "answers", "n_valid", "invalid", "scores", "entropy", "probabilities", "normalized"):
        row = {**stored(), name: value}
        try:
            check_stored(row)
        except InputError:
            continue
        assert value is None or name == "scores" or value == stored()[name]  # a field that is not there, or its value


LONG = ["Ada sang. She ran in 1840. Yes.", "Ada sang. She ran in 1840.", "Ada sang in Rome.", "", "Ada ran."]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uncertainty": 0.0}, "long_answer.uncertainty is 0, and its sentences give 0.708333"),
        ({"highest": 0.5}, "long_answer.highest is 0.5, and its sentences give 1"),
        ({"uncertainty": None}, "long_answer.uncertainty is unknown"),
        ({"answer": "Another text."}, "and the answer has another text there"),
        ({"samples": 1}, "and 2 of 1 samples support it"),
    ],
)
def test_a_long_answer_that_contradicts_its_sentences_is_not_believed(change, message):
    pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")
    row = estimate(LONG, long=True, equivalence="exact").to_dict()
    check_stored(row)
    assert contradictions(Result.from_dict(row)) == []
    row["long_answer"] |= change
    with pytest.raises(InputError, match=re.escape(message)):
        check_stored(row)
    assert any(message in each for each in contradictions(Result.from_dict(row)))


def test_a_sentence_that_lost_its_mark_or_another_score_is_not_believed():
    pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")
    row = estimate(LONG, long=True, equivalence="exact").to_dict()
    row["long_answer"]["sentences"][2]["doubtful"] = False
    row["scores"]["unsupported"] = 0.1
    with pytest.raises(
        InputError, match=r"unsupported is 0.1, and the sentences give .*sentences\[2\] is not doubtful"
    ):
        check_stored(row)


@given(
    st.lists(
        st.sampled_from(["Ada sang. Bob ran.", "Ada sang.", "", "Eve ate. # x", "- a b\n- c d"]), min_size=1, max_size=6
    ),
    st.sampled_from(["text", lambda _sample, sentence: None if "a" in sentence else 0.3]),
    st.sampled_from(["separate", "together", "drop"]),
)
def test_no_measured_long_answer_contradicts_itself(responses, support, invalid):
    pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")
    result = estimate(responses, long=True, support=support, invalid=invalid, equivalence="exact")
    assert contradictions(result) == []
    check_stored(result.to_dict())

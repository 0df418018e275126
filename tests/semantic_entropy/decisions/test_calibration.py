"""Calibrations: their files, what they add to a result, and the results that they are not for."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import InputError, Result, estimate
from semantic_entropy.decisions import Calibration, Conditions, Origin, learn_then_test
from semantic_entropy.decisions.calibration import CalibratedScore, LabelCounts, Mapped

SAME, SPLIT = ["Paris"] * 4, ["Paris", "Rome", "Oslo", "Bern"]
CERTIFIED = learn_then_test([0.0] * 50 + [1.0] * 10, [False] * 50 + [True] * 10, [0.0, 1.0], 0.1)
UNCERTIFIED = learn_then_test([0.0] * 60, [True] * 60, [0.0], 0.1)


def measured(responses=SAME, **choices):
    return estimate(responses, **{"equivalence": "exact", **choices})


def drawn(result, sampler, n=4, **changes):
    """The result, as if a sampler had drawn its responses."""
    return dataclasses.replace(
        result, provenance=dataclasses.replace(result.provenance, sampler=sampler, n=n, **changes)
    )


def conditions_of(result, scores=("discrete",), **declared):
    return Conditions.of([Origin.of(result.provenance, len(result.answers))], scores, **declared)


def make(result=None, model="m", **changes):
    """A calibration of the score `discrete`, learned under the conditions of this result."""
    found = Calibration(
        scores=(CalibratedScore("discrete", higher_is_uncertain=True),),
        method="platt",
        parameters=Mapped(-1.0, (2.0,), (0.5,), (0.25,)),
        conditions=conditions_of(result or measured(), model=model),
        labels=LabelCounts(20, 60, 5, 10, "main"),
        guarantee=CERTIFIED,
        quantiles=(0.0, 0.0, 1.0),
    )
    return dataclasses.replace(found, **changes)


def with_model(result, model="m"):
    return dataclasses.replace(result, provenance=dataclasses.replace(result.provenance, model=model))


def test_apply_fills_the_three_fields():
    calibration = make()
    same, split = calibration.apply(with_model(measured())), calibration.apply(with_model(measured(SPLIT)))
    assert (same.flag, split.flag) == (False, True)
    assert same.threshold == split.threshold == 0.0
    assert same.p_wrong == pytest.approx(1 / (1 + math.exp(1 + 2 * 0.5 / 0.25)))
    assert split.p_wrong == pytest.approx(1 / (1 + math.exp(1 - 2 * (math.log(4) - 0.5) / 0.25)))
    assert same.warnings == split.warnings == ()
    assert "  not flagged (p(wrong) 0.7%, threshold 0)" in repr(same).splitlines()
    assert "  flagged: do not answer with this (p(wrong) 99.8%, threshold 0)" in repr(split).splitlines()


def test_the_three_fields_are_in_the_json_and_come_back():
    result = make().apply(with_model(measured()))
    fields = json.loads(result.to_json())
    assert {"p_wrong", "flag", "threshold"} <= fields.keys()
    assert Result.from_dict(fields) == result
    assert not {"p_wrong", "flag", "threshold"} & measured().to_dict().keys()


def cut_off(result):
    return dataclasses.replace(result, provenance=dataclasses.replace(result.provenance, cut_off=3))


@pytest.mark.parametrize("count", [-1, "3", True, 1.5])
def test_a_count_of_cut_off_responses_that_is_no_count_is_an_error(count):
    with pytest.raises(InputError, match="cut_off"):
        Origin.of({**dataclasses.asdict(measured().provenance), "cut_off": count})


@pytest.mark.parametrize(
    ("result", "warning"),
    [
        (measured(["Paris", "", "", ""]), "1 valid answer: nothing to compare"),
        (measured(["", "", "", ""]), "0 valid answers: nothing to compare"),
        (measured(["Paris", "Paris", "", "", ""]), "only 2 of 5 answers are valid"),
        (measured(["None"] * 4), "the answer 'None' may stand for a missing one"),
        (cut_off(measured()), "3 of 4 responses were cut off at the token limit"),
        (dataclasses.replace(measured(), scores={"discrete": math.nan}), "the score 'discrete' is not known"),
        (dataclasses.replace(measured(), scores={}), "the score 'discrete' is not known"),
        (dataclasses.replace(measured(), scores={"discrete": -math.inf}), "the score 'discrete' is not known"),
    ],
)
def test_what_is_not_known_is_flagged_and_has_no_probability(result, warning):
    learned = make(with_model(measured(["Paris"] * len(result.answers))))
    found = learned.apply(with_model(result))
    assert (found.flag, found.p_wrong) == (True, None)
    assert f"no calibrated probability: {warning}" in found.warnings


def test_without_a_certified_threshold_every_result_is_flagged():
    found = make(guarantee=UNCERTIFIED).apply(with_model(measured()))
    assert (found.flag, found.threshold) == (True, None)
    assert found.p_wrong < 0.01
    assert "no threshold is certified" in repr(found)


@pytest.mark.parametrize(
    ("result", "difference"),
    [
        (measured(convention="lm-polygraph"), "convention default, and here lm-polygraph"),
        (measured(equivalence="text"), "judge exact, and here text"),
        (measured(equivalence=None), "judge exact, and here text"),
        (measured(extract="last-line"), "extract default of exact, and here last-line"),
        (measured(invalid="drop"), "invalid separate, and here drop"),
        (measured(["Paris"] * 5), "n 4 responses, and here 5 responses"),
        (drawn(measured(), "dice(faces=6)", n=8), "n 4 responses, and here 8 responses"),
        (drawn(measured(), "dice(faces=6)"), "model m, and here dice(faces=6)"),
        (
            drawn(measured(), "openai(model='m')", stopping_rule="auto(threshold=1)"),
            "stopping rule none, and here auto",
        ),
    ],
)
def test_a_result_of_other_choices_is_an_error_that_names_both(result, difference):
    with pytest.raises(InputError) as error:
        make().apply(result)
    assert difference in str(error.value)


def test_options_of_an_estimator_are_compared():
    result = measured(estimator="eigv")
    conditions = conditions_of(result, ["eigv"], reads=["similarity"])
    assert conditions.differences(result.provenance, 4) == []
    other = dataclasses.replace(conditions, estimators={"eigv": "eigv(temperature=3)"}, similarity="nli")
    assert other.differences(result.provenance, 4) == [
        "similarity nli, and here jaccard",
        "score eigv: eigv(temperature=3), and here eigv",
    ]


def test_an_undeclared_model_is_a_warning():
    of_calibration, of_result = make(model=None).apply(measured()), make().apply(measured())
    assert "that the calibration was learned with is undeclared" in of_calibration.warnings[0]
    assert "the model of these responses is undeclared" in of_result.warnings[0]
    assert (of_calibration.flag, of_result.flag) == (False, False)


@pytest.mark.parametrize(
    ("learned", "used", "same"),
    [
        ("openai(model='a', seed=1)", "openai(model='a', seed=2, logprobs='drawn')", True),
        ("openai(model='a', temperature=0.7)", "openai(model='a', temperature=1.0)", False),
        ("openai(model='a', system='Be brief.')", "openai(model='a', system='Be brief.')", True),
        ("openai(model='a', system='Be brief.')", "openai(model='a', system='Be long.')", False),
        ("openai(model='a', system='Be brief.')", "openai(model='a')", False),
        ("a", "openai(model='a', system='Be brief.')", True),
        ("a", "openai(model='b')", False),
        ("not python (", "not python (", True),
    ],
)
def test_models_are_compared_without_what_does_not_change_the_responses(learned, used, same):
    calibration = make(drawn(measured(), learned), model=None) if "(model" in learned else make(model=learned)
    result = drawn(measured(), used)
    if same:
        assert calibration.apply(result).flag is False
    else:
        with pytest.raises(InputError, match=r"model|prompts"):
            calibration.apply(result)


def test_prompts_are_kept_as_a_digest():
    text = make(drawn(measured(), "openai(model='a', system='Our secret.')"), model=None).to_json()
    assert "secret" not in text
    assert len(json.loads(text)["conditions"]["prompts"]) == 64


def test_a_question_with_fewer_responses_than_the_sampler_was_asked_for_is_flagged():
    calibration = make(drawn(measured(), "dice(faces=6)"), model=None)
    found = calibration.apply(drawn(measured(["Paris"] * 3), "dice(faces=6)"))
    assert (found.flag, found.p_wrong) == (True, None)
    assert "no calibrated probability: 3 responses, and the calibration needs at least 4" in found.warnings


def test_a_judge_that_auto_chose_for_no_labelled_group_is_flagged():
    calibration = make(measured(equivalence=None))
    found = calibration.apply(with_model(measured(["$x+1$", "$1+x$", "$x$", "$x$"], equivalence=None)))
    assert (found.flag, found.p_wrong) == (True, None)
    assert any("auto chose the judge math" in warning for warning in found.warnings)


def test_rows_of_different_choices_cannot_be_calibrated_together():
    rows = [measured(), measured(invalid="drop")]
    with pytest.raises(InputError, match="invalid separate and drop"):
        Conditions.of([result.provenance for result in rows], ["discrete"])
    with pytest.raises(InputError, match="judge exact and text"):
        Conditions.of([measured().provenance, measured(equivalence="text").provenance], ["discrete"])


def test_auto_keeps_the_set_of_judges_and_n_its_range():
    rows = [measured(equivalence=None), measured(["$x+1$", "$1+x$", "$x$"], equivalence=None)]
    found = Conditions.of([Origin.of(each.provenance, len(each.answers)) for each in rows], ["discrete"])
    assert [judge.equivalence for judge in found.judges] == ["text", "math"]
    assert (found.auto, found.fewest, found.most) == (True, 3, 4)
    assert all(not found.differences(each.provenance, len(each.answers)) for each in rows)


numbers = st.floats(-1e6, 1e6)


@given(numbers, st.floats(-20, 20), st.floats(-20, 20), numbers, st.floats(0.01, 1e3))
def test_a_probability_is_between_0_and_1_and_rises_with_a_positive_weight(x, b, w, mean, scale):
    calibration = make(parameters=Mapped(b, (w,), (mean,), (scale,)))
    low, high = calibration.p_wrong({"discrete": x}), calibration.p_wrong({"discrete": x + 1})
    assert 0 <= low <= 1
    assert (high >= low) if w >= 0 else (high <= low)


@given(st.dictionaries(st.sampled_from(["discrete", "other"]), st.none() | st.floats() | st.booleans()))
def test_no_score_that_is_not_a_known_number_passes(scores):
    calibration, value = make(), scores.get("discrete")
    known = value is not None and not isinstance(value, bool) and math.isfinite(value)
    assert math.isnan(calibration.p_wrong(scores)) is not known
    assert math.isnan(calibration.risk_score(scores)) is not known


def test_a_confidence_is_turned_round():
    calibration = make(scores=(CalibratedScore("majority", higher_is_uncertain=False),), conditions=None)
    assert calibration.risk_score({"majority": 0.8}) == -0.8
    assert calibration.p_wrong({"majority": 0.8}) < calibration.p_wrong({"majority": 0.4})


def test_the_risk_score_of_several_scores_is_the_probability():
    two = (CalibratedScore("a", higher_is_uncertain=True), CalibratedScore("b", higher_is_uncertain=False))
    calibration = make(scores=two, parameters=Mapped(0.0, (1.0, 2.0), (0.0, 0.0), (1.0, 1.0)), conditions=None)
    assert calibration.risk_score({"a": 1, "b": 0.5}) == calibration.p_wrong({"a": 1, "b": 0.5}) == 0.5
    assert math.isnan(calibration.p_wrong({"a": 1}))


def test_a_calibration_without_conditions_gives_numbers_and_is_not_applied():
    calibration = make(conditions=None)
    assert calibration.p_wrong({"discrete": 0.0}) < 0.1
    with pytest.raises(InputError, match="without their provenance"):
        calibration.apply(measured())


def test_a_file_comes_back_as_it_was(tmp_path):
    for calibration in (make(), make(conditions=None, guarantee=UNCERTIFIED, quantiles=(), unknown=3)):
        calibration.save(tmp_path / "calibration.json")
        assert Calibration.load(tmp_path / "calibration.json") == calibration


def changed(path, value):
    fields = json.loads(make().to_json())
    inner = fields
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(fields)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["scores"], []),
        (["scores"], "discrete"),
        (["scores", 0, "higher_is_uncertain"], 1),
        (["scores", 0, "name"], None),
        (["method"], "beta"),
        (["parameters", "weights"], []),
        (["parameters", "weights"], [None]),
        (["parameters", "intercept"], "1"),
        (["parameters", "scale"], [0.0]),
        (["parameters", "intercept"], None),
        (["parameters", "intercept"], 10**400),
        (["conditions", "judges"], []),
        (["conditions", "fewest"], 0),
        (["conditions", "fewest"], True),
        (["conditions", "estimators"], {}),
        (["labels", "wrong_fit"], 21),
        (["labels", "rule"], "guess"),
        (["guarantee", "alpha"], 0),
        (["guarantee", "delta"], None),
        (["guarantee", "threshold"], "0"),
        (["guarantee", "answered"], 61),
        (["guarantee", "wrong"], 10),
        (["guarantee", "groups"], 61),
        (["guarantee", "upper_bound"], None),
        (["guarantee", "upper_bound"], 0.01),
        (["unknown"], 81),
        (["labels", "n_certify"], 10**12),
        (["labels", "n_fit"], 10**4000),
        (["quantiles"], [1.0, 0.0]),
        (["quantiles"], [None]),
        (["quantiles"], [0.0] * 5001),
        (["parameters", "x"], list(range(5001))),
        (["guarantee"], ...),
        (["labels"], []),
    ],
)
def test_a_wrong_value_in_a_file_is_an_error_that_names_its_field(path, value, tmp_path):
    file = tmp_path / "calibration.json"
    file.write_text(changed(path, value))
    with pytest.raises(InputError) as error:
        Calibration.load(file)
    assert str(path[0]) in str(error.value)
    assert str(file) in str(error.value)


def edited(tmp_path, *replacements):
    """The file of a calibration after an edit of its text."""
    text = make().to_json()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "calibration.json").write_text(text, encoding="utf-8")
    return tmp_path / "calibration.json"


@pytest.mark.parametrize(
    "replacements",
    [
        [('"higher_is_uncertain": true', '"higher_is_uncertain": false')],
        [('"threshold": 0.0', '"threshold": 0.9')],
        [('"quantiles": [\n  0.0,\n  0.0,\n  1.0\n ]', '"quantiles": []')],
        [('"intercept": -1.0', '"intercept": -9.0')],
        [('"model": "m"', '"model": "another"')],
        [('"wrong_fit": 5', '"wrong_fit": 4')],
        [('"sha256": "', '"sha256": "0')],
        [('"sha256": "', '"sha256": 1, "is": "')],
    ],
)
def test_a_file_that_was_edited_is_not_believed(replacements, tmp_path):
    with pytest.raises(InputError, match=r"was changed after `calibrate` wrote it: .*Run `calibrate` again"):
        Calibration.load(edited(tmp_path, *replacements))


def test_a_key_that_is_there_twice_is_an_error(tmp_path):
    with pytest.raises(InputError, match="the key 'threshold' 2 times"):
        Calibration.load(edited(tmp_path, ('"threshold": 0.0', '"threshold": 0.0, "threshold": 0.0')))


def test_a_file_without_a_digest_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"no field 'sha256'.*run `calibrate` again"):
        Calibration.load(edited(tmp_path, ('"sha256"', '"digest"')))


def test_another_layout_of_the_same_values_is_the_same_calibration(tmp_path):
    file = tmp_path / "calibration.json"
    fields = json.loads(make().to_json())
    file.write_text(json.dumps(dict(reversed(fields.items()))).replace("-1.0", "-1"), encoding="utf-8-sig")
    assert Calibration.load(file) == make()
    assert fields["sha256"].startswith(make().digest)


@pytest.mark.parametrize("count", [10**7, 10**12, 10**18])
def test_a_hostile_count_of_groups_is_not_summed_one_by_one(count, tmp_path, monkeypatch):
    from semantic_entropy.decisions import guarantee

    steps, tail = [], guarantee.binomial_tail
    monkeypatch.setattr(guarantee, "binomial_tail", lambda k, n, p: steps.append(n) or tail(k, n, p))
    fields = json.loads(make().to_json())
    fields["labels"] |= {"n_certify": count, "wrong_certify": count // 2}
    fields["guarantee"] |= {"alpha": 0.5, "groups": count, "answered": count, "wrong": count // 2 - count // 1000}
    (tmp_path / "calibration.json").write_text(json.dumps(fields))
    with pytest.raises(InputError):
        Calibration.load(tmp_path / "calibration.json")
    assert len(steps) < 300
    assert max(steps) <= 10**7


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "[" * 100_000, '{"format": 1}', "\x00\xff", '{"format": "other"}', "NaN"]
)
def test_another_file_is_no_calibration(text, tmp_path):
    file = tmp_path / "calibration.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"calibration"):
        Calibration.load(file)


def test_a_missing_and_a_huge_file_are_errors(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Calibration.load(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read"):
        Calibration.load(tmp_path)
    (tmp_path / "huge.json").write_bytes(b" " * 300_001)
    with pytest.raises(InputError, match="too large"):
        Calibration.load(tmp_path / "huge.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(json.loads(make().to_json()))), json_values)
def test_any_json_in_a_field_is_read_or_refused(field, value):
    from semantic_entropy.plain_fields import from_plain

    fields = json.loads(make().to_json()) | {field: value}
    try:
        found = from_plain(Calibration, fields, of="a calibration", missing="calibrate again")
    except InputError:
        return
    p = found.p_wrong(dict.fromkeys(found.names, 0.5))
    assert 0 <= p <= 1

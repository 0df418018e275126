"""`calibrate`: the fits are those of scikit-learn, the parts are disjoint, and the report says what was found."""

import dataclasses
import json
import math
import random

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

from semantic_entropy import InputError, MissingDependencyError, Scorer, estimate, estimate_file
from semantic_entropy.decisions import Calibration, decide
from semantic_entropy.decisions.conditions import JudgedBy
from semantic_entropy.evaluation import calibrate, calibration_fit
from semantic_entropy.evaluation.calibration_fit import fit_probability
from tests.semantic_entropy.sampling.dice import Dice

GROUPS = {0.0: ["Paris"] * 4, 0.56: ["Paris", "Paris", "Paris", "Rome"], 1.39: ["Rome", "Oslo", "Bern", "Wien"]}
EXACT = {"equivalence": "exact"}


def rows(n=300, seed=0, risks=(0.02, 0.2, 0.7)):
    """Labelled rows of four responses with three entropies, each with its own risk."""
    draw = random.Random(seed)
    found = []
    for i in range(n):
        kind = draw.randrange(3)
        responses = list(GROUPS.values())[kind]
        row = {"question": f"Q{i}?", "responses": responses, "answer_correct": draw.random() >= risks[kind]}
        found.append(row)
    return found


def write(path, table):
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    return path


def scored(n=300, seed=0):
    """Rows with two scores of another program, of which the first one is good."""
    draw = random.Random(seed)
    found = []
    for i in range(n):
        good, noise = draw.random(), draw.random()
        found.append(
            {"question": f"Q{i}?", "scores": {"a": good, "b": noise}, "answer_correct": draw.random() > good * good}
        )
    return found


@pytest.fixture(scope="module")
def report():
    return calibrate(rows(), model="m", **EXACT)


def test_a_report_has_a_certified_threshold_and_the_calibration(report):
    calibration = report.calibration
    assert calibration.threshold == 0.0
    assert calibration.labels.n_fit + calibration.labels.n_certify == 300
    assert calibration.labels.n_fit == 60
    assert [score.name for score in calibration.scores] == ["discrete"]
    assert calibration.conditions.model == "m"
    assert calibration.guarantee.answered == sum(risk == 0 for risk in report.risks)
    assert report.at_threshold["risk"].k == calibration.guarantee.wrong


def test_the_report_names_what_a_reader_must_know(report):
    text = str(report)
    for part in (
        "300 groups, ",
        "label: main (decided by main 300)",
        "p(wrong): platt of discrete, fitted on 60 groups; all numbers below are of the other 240",
        "guarantee: answer only where discrete is at most 0: with confidence 0.9, at most 0.1 of these answers are",
        "why not more: the next threshold is not certified: ",
        "base rate: ",
        "AUROC: ",
        "| answered (coverage)",
        "| wrong among the flagged (precision)",
        "| flagged among the wrong (recall)",
        "| p(wrong)",
    ):
        assert part in text
    fields = json.loads(report.to_json())
    assert fields["guarantee"]["threshold"] == 0
    assert fields["at_threshold"]["coverage"]["n"] == 240
    assert sum(each["wrong"]["n"] for each in fields["reliability"]) == 240


def test_the_numbers_at_the_threshold_are_counted(report):
    flagged = [risk > 0 for risk in report.risks]
    both = sum(f and w for f, w in zip(flagged, report.wrong, strict=True))
    assert report.at_threshold["precision"] == (both, sum(flagged))
    assert report.at_threshold["recall"] == (both, sum(report.wrong))
    assert report.at_threshold["coverage"] == (240 - sum(flagged), 240)


def test_the_file_fills_the_fields_of_new_results(report, tmp_path):
    path = tmp_path / "calibration.json"
    report.calibration.save(path)
    same, split = (estimate(GROUPS[h], calibration=path, model="m", **EXACT) for h in (0.0, 1.39))
    assert (same.flag, split.flag) == (False, True)
    assert same.p_wrong < 0.1 < split.p_wrong
    with Scorer(calibration=report.calibration, model="m", **EXACT) as scorer:
        assert scorer.estimate([GROUPS[0.0], GROUPS[1.39]])[1] == split
        assert scorer.estimate(GROUPS[0.0]).provenance.calibration == report.calibration.digest


def test_files_and_tables_have_the_three_columns(report, tmp_path):
    source, output = write(tmp_path / "rows.jsonl", rows(20)), tmp_path / "out.jsonl"
    choices = {"calibration": report.calibration, "model": "m", "progress": False, **EXACT}
    estimate_file(source, output, **choices)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert all(line["flag"] is (line["entropy"] > 0) for line in lines)
    estimate_file(source, tmp_path / "out.parquet", **choices)
    import pandas as pd

    table = pd.read_parquet(tmp_path / "out.parquet")
    assert table["flag"].tolist() == [line["flag"] for line in lines]
    assert table["p_wrong"].tolist() == [line["p_wrong"] for line in lines]
    frame = estimate(pd.DataFrame(rows(20)), calibration=report.calibration, model="m", **EXACT)
    assert frame["flag"].tolist() == table["flag"].tolist()
    assert frame["flag"].dtype == bool
    assert not {"flag", "p_wrong", "threshold"} & set(estimate(pd.DataFrame(rows(2)), **EXACT).columns)


def test_a_file_with_another_calibration_is_not_continued(report, tmp_path):
    source, output = write(tmp_path / "rows.jsonl", rows(5)), tmp_path / "out.jsonl"
    estimate_file(source, output, progress=False, **EXACT)
    with pytest.raises(InputError, match="the default calibration, and this run has calibration"):
        estimate_file(source, output, calibration=report.calibration, progress=False, **EXACT)


@pytest.mark.parametrize(
    ("choices", "difference"),
    [
        ({"equivalence": "text"}, "judge exact, and here text"),
        ({"equivalence": None}, "judge exact, and here"),
        ({"convention": "lm-polygraph"}, "convention default, and here lm-polygraph"),
        ({"invalid": "drop"}, "invalid separate, and here drop"),
        ({"extract": "number"}, "extract default of exact, and here number"),
        ({"model": "other"}, "model m, and here other"),
        ({"estimator": "majority"}, "reads the score 'discrete', and this run has majority"),
    ],
)
def test_a_scorer_of_other_choices_is_refused_before_it_measures(report, choices, difference):
    with pytest.raises(InputError) as error:
        Scorer(calibration=report.calibration, **{**EXACT, **choices})
    assert difference in str(error.value)


def test_a_group_of_another_size_is_refused_before_a_judge_is_asked(report):
    def judge(one, other):
        raise AssertionError("the judge was asked")

    conditions = report.calibration.conditions
    judges = (JudgedBy("judge", "representative(order=canonical)", "default of judge"),)
    learned = dataclasses.replace(report.calibration, conditions=dataclasses.replace(conditions, judges=judges))
    refused = pytest.raises(InputError, match=r"^group 1: .* n 4 responses, and here 5 responses")
    with Scorer(judge, calibration=learned, model="m") as scorer, refused:
        scorer.estimate([["a"] * 4, ["a", "b", "c", "d", "e"]])


def test_a_row_of_another_size_is_a_bad_row_of_a_file(report, tmp_path):
    table = [*rows(3), {"question": "Q?", "responses": ["a", "b"]}]
    summary = estimate_file(
        write(tmp_path / "rows.jsonl", table), tmp_path / "out.jsonl", calibration=report.calibration, progress=False,
        **EXACT,
    )  # fmt: skip
    assert (summary.rows, summary.rejected) == (3, 1)
    assert "n 4 responses, and here 2 responses" in (tmp_path / "out.jsonl.bad.jsonl").read_text()
    with pytest.raises(InputError, match="what --estimator or --calibration needs: .* n 4 responses"):
        estimate_file(
            write(tmp_path / "other.jsonl", table[3:]), tmp_path / "other-out.jsonl", calibration=report.calibration,
            progress=False, **EXACT,
        )  # fmt: skip


# The fits


def values_and_labels(n=200, scores=1, seed=1):
    draw = np.random.default_rng(seed)
    values = draw.random((n, scores)).round(2)
    return values, draw.random(n) < values[:, 0]


def saved(parameters, method, names, tmp_path):
    """The calibration with these parameters, written and read again."""
    base = calibrate(scored(60), score=names, method=method).calibration
    dataclasses.replace(base, parameters=parameters).save(tmp_path / "c.json")
    return Calibration.load(tmp_path / "c.json")


@pytest.mark.parametrize("method", ["platt", "isotonic", "histogram"])
def test_the_saved_probabilities_are_those_of_scikit_learn(method, tmp_path):
    values, wrong = values_and_labels()
    grid = np.r_[np.linspace(-1, 2, 500), values[:, 0]][:, None]
    if method == "platt":
        expected = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(values, wrong)
        expected = expected.predict_proba(grid)[:, 1]
    elif method == "isotonic":
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(values[:, 0], wrong)
        expected = fitted.predict(grid[:, 0])
    else:
        bins = KBinsDiscretizer(10, encode="onehot-dense", strategy="quantile", subsample=None)
        expected = make_pipeline(bins, LinearRegression(fit_intercept=False)).fit(values, wrong).predict(grid)
    calibration = saved(fit_probability(values, wrong, method), method, ["a"], tmp_path)
    found = [calibration.p_wrong({"a": value}) for value in grid[:, 0]]
    assert found == pytest.approx(list(expected), abs=1e-9)


def test_a_combination_is_the_logistic_regression_of_scikit_learn(tmp_path):
    values, wrong = values_and_labels(scores=2)
    expected = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(values, wrong)
    calibration = saved(fit_probability(values, wrong, "platt"), "platt", ["a", "b"], tmp_path)
    found = [calibration.p_wrong({"a": a, "b": b}) for a, b in values]
    assert found == pytest.approx(list(expected.predict_proba(values)[:, 1]), abs=1e-9)


def test_bins_of_equal_scores_are_joined():
    values = np.array([0.0] * 60 + [0.5] * 30 + [1.0] * 10)[:, None]
    wrong = np.array([False] * 60 + [True] * 15 + [False] * 15 + [True] * 10)
    parameters = fit_probability(values, wrong, "histogram")
    assert len(parameters.y) == len(parameters.x) + 1
    assert all(low < high for low, high in zip(parameters.x, parameters.x[1:], strict=False))


@pytest.mark.parametrize("method", ["platt", "isotonic", "histogram"])
def test_labels_of_one_kind_give_the_constant_of_laplace(method):
    found = calibrate([row | {"answer_correct": True} for row in scored(100)], score="a", method=method)
    assert found.calibration.p_wrong({"a": 0.3}) == pytest.approx(1 / 22)
    assert found.calibration.p_wrong({"a": 0.9}) == pytest.approx(1 / 22)
    assert any("all 20 answers of the fit part are right" in note for note in found.notes)
    assert found.calibration.guarantee.risk == 0


# The parts


def test_other_labels_of_the_certifying_part_leave_the_fit_as_it_is():
    table = scored(200)
    one = calibrate(table, score=["a", "b"]).calibration
    fit = fit_questions(table)
    assert len(fit) == one.labels.n_fit == 40
    other = [row | {"answer_correct": row["answer_correct"] if row["question"] in fit else True} for row in table]
    two = calibrate(other, score=["a", "b"]).calibration
    assert two.parameters == one.parameters
    assert two.labels.wrong_certify == 0 < one.labels.wrong_certify
    assert two.labels.wrong_fit == one.labels.wrong_fit


def fit_questions(table):
    """The questions of the fit part, found by the number of its wrong answers when one label changes."""
    base = [row | {"answer_correct": True} for row in table]
    found = set()
    for i, row in enumerate(base):
        one = [*base[:i], row | {"answer_correct": False}, *base[i + 1 :]]
        if calibrate(one, score="a").calibration.labels.wrong_fit:
            found.add(row["question"])
    return found


def test_the_order_of_the_rows_changes_nothing():
    table = scored(200)
    shuffled = random.Random(3).sample(table, len(table))
    assert calibrate(shuffled, score="a").calibration == calibrate(table, score="a").calibration


def test_rows_with_one_question_are_in_one_part_and_one_of_them_certifies():
    table = [row | {"question": f"Q{i // 4}?"} for i, row in enumerate(scored(200))]
    found = calibrate(table, score="a")
    labels = found.calibration.labels
    assert labels.n_fit == 4 * 10
    assert labels.n_certify == 40
    assert any("120 rows of the certifying part with the question of another row left out" in n for n in found.notes)
    with pytest.raises(InputError, match="1 question: a calibration needs"):
        calibrate([row | {"question": "Q?"} for row in scored(50)], score="a")


def test_another_writing_is_not_another_question():
    written = ("Q{}?", "q{}?", " Q{}?\n", "\uff31{}\uff1f", "Q\u200b{}?\ufeff")
    table = [row | {"question": written[i % 5].format(i // 5)} for i, row in enumerate(scored(200))]
    found = calibrate(table, score="a")
    assert found.calibration.labels.n_certify == 32
    shuffled = random.Random(3).sample(table, len(table))
    assert calibrate(shuffled, score="a").calibration.labels.n_certify == 32
    assert len(found.calibration.labels.questions) == 40


def test_quotes_dashes_and_signs_at_the_ends_make_no_other_question():
    written = (
        "Who wrote 'A-{}'?",
        "Who wrote \u2018A\u2013{}\u2019",
        "**Who wrote 'A-{}'?**",
        "Who wrote 'A-{}' ?",
        "who wrote 'a-{}'.",
    )
    table = [row | {"question": written[i % 5].format(i // 5)} for i, row in enumerate(scored(200))]
    assert calibrate(table, score="a").calibration.labels.n_certify == 32
    signs = [row | {"question": sign} for row, sign in zip(scored(4), ("?", "!", "2-1", "2+1"), strict=True)]
    assert len(calibrate(signs, score="a").calibration.labels.questions) == 4


def test_labels_that_are_repeated_in_another_writing_certify_nothing():
    table = [{"question": f"{'  ' * i}Which one?", "scores": {"a": 0.1}, "answer_correct": True} for i in range(100)]
    table += [{"question": f"Other {i}?", "scores": {"a": 0.9}, "answer_correct": bool(i % 2)} for i in range(20)]
    assert not calibrate(table, score="a").is_certified


def test_rows_with_one_id_are_one_question_whatever_their_texts():
    table = [row | {"id": i // 4, "question": f"{i}. Which?"} for i, row in enumerate(scored(200))]
    assert calibrate(table, score="a").calibration.labels.n_certify == 160
    assert calibrate(table, score="a", question_id="id").calibration.labels.n_certify == 40
    unique = [row | {"id": i, "question": f"Q{i // 4}?"} for i, row in enumerate(scored(200))]
    assert calibrate(unique, score="a", question_id="id").calibration.labels.n_certify == 40  # equal texts are one, too
    found = calibrate([*table, scored(1)[0]], score="a", question_id="id")
    assert "the field 'id', which names the question, is missing or empty" in found.bad_rows[0]


def test_labels_of_a_judge_are_named_and_may_be_the_cause():
    judged = [
        row | {"label": {"by": "judge text", "key": "k"}, "answer_correct": i % 3 > 0}
        for i, row in enumerate(scored(300))
    ]
    found = calibrate(judged, score="b")
    assert found.judged == {"text": 300}
    assert found.calibration.labels.judged == 300
    assert "The labels may be the cause: 300 of the 300 labels are by the judge text" in found.sentence
    assert "note: 300 of the 300 labels are by the judge text" in str(found)
    people = calibrate([row | {"label": {"by": "person"}} for row in judged], score="b")
    assert (people.judged, "may be the cause" in people.sentence) == ({}, False)


def test_scores_that_are_all_unknown_are_not_called_missing():
    table = [row | {"scores": {"s": None if i % 2 else math.nan}} for i, row in enumerate(scored(50))]
    with pytest.raises(InputError, match=r"no row has a value of the score 's': all 50 are null, nan or infinite"):
        calibrate(table, score="s")


def test_rows_without_a_question_are_counted_in_a_note():
    table = [{name: value for name, value in row.items() if name != "question"} for row in scored(200)]
    assert any("200 rows without a question" in note for note in calibrate(table, score="a").notes)
    assert not any("without a question" in note for note in calibrate(scored(200), score="a").notes)


def test_a_group_with_fewer_than_two_valid_answers_is_never_answered():
    table = rows(200, risks=(0, 0, 0))
    for row in table[::2]:
        row["responses"] = ["Paris", "", "", ""]
    found = calibrate(table, invalid="drop", model="m", **EXACT)
    assert found.calibration.unknown == 100
    assert sum(map(math.isnan, found.risks)) == found.at_threshold["coverage"].n - found.at_threshold["coverage"].k


# What cannot be certified, and what cannot be used


@pytest.mark.parametrize(
    ("table", "alpha", "reason"),
    [
        (rows(45, risks=(0, 0, 0)), 0.05, "it takes 45 such answers to certify"),
        (rows(400, risks=(0.3, 0.3, 0.3)), 0.1, "so that more of these labels do not help"),
        (rows(60, risks=(0.0, 0.5, 0.9)), 0.1, "it takes 22 such answers to certify"),
    ],
)
def test_what_cannot_be_certified_is_said_with_what_is_needed(table, alpha, reason):
    found = calibrate(table, alpha=alpha, model="m", **EXACT)
    assert not found.is_certified
    assert found.at_threshold == {}
    assert f"guarantee: cannot certify a risk of at most {alpha} with confidence 0.9: " in str(found)
    assert reason in found.sentence
    assert estimate(GROUPS[0.0], calibration=found.calibration, model="m", **EXACT).flag is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0}, "alpha=0 must be between 0 and 1"),
        ({"delta": 1}, "delta=1 must be between 0 and 1"),
        ({"method": "beta"}, "method='beta' is unknown: use one of platt, isotonic, histogram"),
        ({"score": ["a", "b"], "method": "isotonic"}, "is for one score"),
        ({"score": ["a", "a"]}, "name one score twice"),
        ({"fit_share": 1}, "fit_share=1 is the share"),
        ({"score": "wepr"}, "were fitted on labels, and nothing says on which"),
        ({"score": "c"}, "no row has the score 'c'"),
        ({"label": "guess"}, "label='guess' is unknown"),
    ],
)
def test_arguments_that_cannot_be_used_are_errors(arguments, message):
    with pytest.raises(InputError) as error:
        calibrate(scored(20), **{"score": "a", **arguments})
    assert message in str(error.value)


def test_weights_that_the_user_says_were_fitted_elsewhere_are_recorded():
    table = [row | {"scores": {"wepr": row["scores"]["a"]}} for row in scored(50)]
    found = calibrate(table, score="wepr", fitted_elsewhere=["wepr"])
    assert found.calibration.labels.fitted_elsewhere == ("wepr",)


def test_rows_that_were_measured_with_different_choices_are_refused(tmp_path):
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    estimate_file(write(tmp_path / "rows.jsonl", rows(10)), one, equivalence="exact", progress=False)
    estimate_file(tmp_path / "rows.jsonl", two, equivalence="text", progress=False)
    table = [json.loads(line) for path in (one, two) for line in path.read_text().splitlines()]
    with pytest.raises(InputError, match="different choices: judge exact and text"):
        calibrate(table)
    with pytest.raises(InputError, match="10 of 20 rows do not say how they were measured"):
        calibrate([*table[:10], *[row | {"provenance": None} for row in table[10:]]])


def test_scores_of_another_program_are_calibrated_and_not_applied():
    found = calibrate(scored(), score="a")
    assert found.calibration.conditions is None
    assert any("do not say how their scores were measured" in note for note in found.notes)
    assert found.calibration.p_wrong({"a": 0.9}) > 0.5
    with pytest.raises(InputError, match="without their provenance"):
        Scorer(calibration=found.calibration)


def test_rows_without_labels_and_bad_rows_are_counted(tmp_path):
    table = rows(40)
    del table[3]["answer_correct"]
    table[4]["answer_correct"] = "maybe"
    found = calibrate(write(tmp_path / "rows.jsonl", table), progress=False, **EXACT)
    assert (found.unlabelled, found.bad) == (1, 1)
    assert "left out: 1 bad row" in str(found)
    with pytest.raises(InputError, match="no row can be calibrated: 2 rows without a label"):
        calibrate([{"responses": ["a", "b"]}] * 2)


def test_a_constant_score_is_calibrated():
    table = [row | {"scores": {"a": 0.5}} for row in scored(100)]
    found = calibrate(table, score="a", alpha=0.4)
    assert found.calibration.p_wrong({"a": 0.5}) == pytest.approx(
        found.calibration.labels.wrong_fit / found.calibration.labels.n_fit, abs=0.02
    )
    assert found.at_threshold == {} or found.at_threshold["coverage"].value == 1


def test_a_picture_has_three_panels(report, tmp_path):
    report.save_picture(tmp_path / "picture.svg")
    text = (tmp_path / "picture.svg").read_text()
    assert text.count('id="axes_') == 3
    with pytest.raises(InputError, match="there is no curve to draw"):
        calibrate([r | {"answer_correct": True} for r in scored(50)], score="a").save_picture(tmp_path / "a.png")


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(calibration_fit, "has_scikit_learn", lambda: False)
    with pytest.raises(MissingDependencyError, match="calibrating needs scikit-learn: "):
        calibrate(scored(20), score="a")


def test_a_sampler_is_calibrated_with_the_rule_that_it_is_used_with(tmp_path):
    """`n="auto"`: drawn, labelled, calibrated; used with the same rule, and refused with another."""
    auto = {"n": "auto", "threshold": 0.5, "max_n": 7}
    source, drawn = write(tmp_path / "q.jsonl", [{"question": f"Q{i}?"} for i in range(120)]), tmp_path / "drawn.jsonl"
    estimate_file(source, drawn, sampler=Dice(), progress=False, **EXACT, **auto)
    table = [json.loads(line) for line in drawn.read_text().splitlines()]
    found = calibrate([row | {"answer_correct": True} for row in table]).calibration
    assert found.conditions.stopping_rule == "auto(threshold=0.5, min_n=3, max_n=7)"
    assert (found.conditions.model, found.conditions.fewest) == ("dice", 3)
    with Scorer(sampler=Dice(), calibration=found, **EXACT, **auto) as scorer:
        results = scorer.estimate(question=[f"New {i}?" for i in range(20)], progress=False)
    assert [result.flag for result in results] == [found.risk_score(r.scores) > found.threshold for r in results]
    assert all(0 < result.p_wrong < 1 and not result.warnings for result in results)
    for other in ({**auto, "max_n": 9}, {"n": 7}):
        with pytest.raises(InputError, match=r"stopping rule auto\(threshold=0.5, min_n=3, max_n=7\), and here"):
            Scorer(sampler=Dice(), calibration=found, **EXACT, **other)


@pytest.mark.parametrize(
    "never_answered",
    [["None"] * 5, ["", "", "", "Ica", "Ica"]],
    ids=["the answer may be a missing one", "more invalid answers than valid ones"],
)
def test_answers_that_no_gate_lets_pass_hide_no_wrong_ones_among_the_others(never_answered):
    draw = random.Random(1)
    others = {"responses": ["Lima"] * 5}
    rows = [
        {"question": f"{i}?", "responses": never_answered, "answer_correct": True}
        if draw.random() < 0.6
        else {"question": f"{i}?", **others, "answer_correct": draw.random() >= 0.2}
        for i in range(600)
    ]
    report = calibrate(rows, alpha=0.1, model="m", invalid="drop")
    assert not report.is_certified
    mild = calibrate(rows, alpha=0.3, model="m", invalid="drop").calibration
    assert mild.guarantee.answered < 0.5 * mild.guarantee.groups
    refused, answered = (
        estimate(each, invalid="drop", calibration=mild, model="m") for each in (never_answered, ["Lima"] * 5)
    )
    assert (refused.flag, answered.flag) == (True, False)
    assert (decide(refused, mild).answers, decide(answered, mild).answers) == (False, True)


def test_groups_of_several_sizes_are_named_because_the_guarantee_is_about_their_mixture():
    mixed = [{**row, "responses": row["responses"][: 2 + i % 3]} for i, row in enumerate(rows())]
    (note,) = [note for note in calibrate(mixed, model="m", **EXACT).notes if "2 to 4 responses" in note]
    assert "Calibrate the rows of one number by themselves" in note
    assert not any("responses: a score" in note for note in calibrate(rows(), model="m", **EXACT).notes)


def contains(sample, claim):
    """A support of the tests."""
    return float(claim in sample)


def parts(answer, question):
    """The claims of the tests: the words."""
    return answer.split()


def letters(answer, question):
    """Other claims."""
    return list(answer)


def test_a_calibration_of_long_answers_is_for_one_support_and_one_way_to_find_claims():
    choices = {"long": True, "support": contains, "claims": parts, "estimator": ["discrete", "unsupported"], **EXACT}
    calibration = calibrate(rows(100), score="unsupported", model="m", **choices).calibration
    assert calibration.conditions.similarity == "support by contains, of claims by parts"
    assert estimate(GROUPS[0.0], calibration=calibration, model="m", **choices).flag is not None
    for other in ({"support": "text"}, {"claims": letters}):
        with pytest.raises(InputError, match="similarity support by contains, of claims by parts, and here support by"):
            Scorer(calibration=calibration, model="m", **{**choices, **other})
        with pytest.raises(InputError, match="similarity support by contains, of claims by parts, and here support by"):
            calibration.apply(estimate(GROUPS[0.0], model="m", **{**choices, **other}))

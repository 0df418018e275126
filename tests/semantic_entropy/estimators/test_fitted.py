"""Estimators that are fitted on labels: the fitted file, the probability, and files and evidence that do not fit."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest

from semantic_entropy import estimate, load_estimator
from semantic_entropy.errors import EvidenceError, InputError, MissingDependencyError, OptionError
from semantic_entropy.estimators.fitted import FittedRegression, best_split, fit_probe, fit_wepr, wepr_features
from semantic_entropy.testing import check_estimator
from semantic_entropy.types import Evidence
from tests.shared_data import rows as shared_rows

RANDOM = np.random.default_rng(0)
STATES = RANDOM.normal(size=(80, 8))
WRONG = (STATES[:, 0] + 0.5 * RANDOM.normal(size=80) > 0).tolist()
ROWS = [{"greedy": {"text": "a", "hidden_state": state.tolist()}} for state in STATES]
TOP = [RANDOM.dirichlet([5.0, 1.0] if wrong else [50.0, 0.5], size=3) for wrong in WRONG]
TOP_ROWS = [{"greedy": {"text": "a", "top_logprobs": np.log(np.maximum(p, 1e-9)).tolist()}} for p in TOP]


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    pytest.importorskip("sklearn")
    file = tmp_path_factory.mktemp("probe") / "probe.json"
    return file, fit_probe(ROWS, WRONG, file)


@pytest.fixture(scope="module")
def wepr(tmp_path_factory):
    pytest.importorskip("sklearn")
    file = tmp_path_factory.mktemp("wepr") / "wepr.json"
    return file, fit_wepr(TOP_ROWS, WRONG, file, convention="labels of a person")


def written(tmp_path, **changes):
    fields = {
        "format": "semantic-entropy fitted estimator, version 1",
        "estimator": "probe",
        "target": "wrong",
        "convention": "default",
        "n": 20,
        "positives": 10,
        "auroc": None,
        "penalty": None,
        "threshold": None,
        "intercept": 0.5,
        "weights": [1.0, -2.0],
        "mean": [0.0, 1.0],
        "scale": [1.0, 2.0],
        **changes,
    }
    path = tmp_path / "file.json"
    path.write_text(json.dumps({name: value for name, value in fields.items() if value != "absent"}))
    return str(path)


@pytest.mark.parametrize("name", ["probe", "wepr"])
def test_a_fitted_estimator_keeps_the_contract(name, request):
    file, model = request.getfixturevalue(name)
    check_estimator(load_estimator(name, file=file))
    assert FittedRegression.read(file.read_text(), str(file), name) == model
    assert (model.n, model.positives) == (80, sum(WRONG))
    assert model.auroc > 0.8


def test_the_probability_of_a_probe_is_that_of_scikit_learn(probe):
    file, model = probe
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(STATES)
    expected = LogisticRegression(C=model.penalty, max_iter=5000).fit(scaled, WRONG).predict_proba(scaled)[:, 1]
    estimator = load_estimator("probe", file=file)
    found = [estimate(["a"], estimator=estimator, **row).scores["probe"] for row in ROWS]
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_area_under_the_curve_is_that_of_answers_that_were_left_out(tmp_path):
    pytest.importorskip("sklearn")
    noise = np.random.default_rng(1)
    rows = [{"greedy": {"text": "a", "hidden_state": state.tolist()}} for state in noise.normal(size=(60, 40))]
    model = fit_probe(rows, [i % 2 == 0 for i in range(60)], tmp_path / "probe.json")
    assert model.auroc < 0.7  # on its own rows, a fit of 40 numbers separates 60 random labels


def test_the_probability_is_the_formula_also_far_from_the_mean(tmp_path):
    estimator = load_estimator("probe", file=written(tmp_path))
    z = 0.5 + 1.0 * 3.0 - 2.0 * (5.0 - 1.0) / 2.0
    assert estimator.score_answer([3.0, 5.0]) == pytest.approx(1 / (1 + math.exp(-z)))
    assert estimator.score_answer([-1e6, 0.0]) == 0.0
    assert estimator.score_answer([1e6, 0.0]) == 1.0


def test_without_a_greedy_answer_the_features_are_the_means_over_the_responses(tmp_path):
    estimator = load_estimator("probe", file=written(tmp_path))
    states = ((1.0, 2.0), (3.0, 8.0))
    found = estimator.estimate(Evidence((0, 1), hidden_state=states)).value
    assert found == estimator.score_answer([2.0, 5.0])


def test_features_of_wepr_are_means_and_maxima_of_each_rank():
    top = [[math.log(p) for p in token] for token in ((0.2, 0.7), (0.5, 0.4))]
    h = lambda p: -p * math.log(p)  # noqa: E731
    expected = [(h(0.7) + h(0.5)) / 2, (h(0.2) + h(0.4)) / 2, max(h(0.7), h(0.5)), max(h(0.2), h(0.4))]
    assert wepr_features(top, 2) == pytest.approx(expected)


def test_weights_of_the_papers_code_give_its_equation(tmp_path):
    weights = {"mean_rank_1": 0.3, "mean_rank_2": -1.5, "max_rank_1": 2.0, "max_rank_2": 0.7}
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({"intercept": -1.2, "coefficients": weights}))
    p = np.array([[0.6, 0.3], [0.9, 0.05], [0.5, 0.25]])
    shares = -p * np.log(p)
    of_tokens = shares @ [0.3, -1.5] - 1.2
    expected = 1 / (1 + np.exp(-(of_tokens.mean() + shares.max(axis=0) @ [2.0, 0.7])))
    assert load_estimator("wepr", file=path).score_answer(np.log(p).tolist()) == pytest.approx(expected, abs=1e-12)


def test_a_probe_of_the_entropy_splits_the_entropies_in_two(tmp_path):
    pytest.importorskip("sklearn")
    entropies = [1.5 + 0.1 * abs(state[1]) if wrong else 0.2 for state, wrong in zip(STATES, WRONG, strict=True)]
    model = fit_probe(ROWS, entropies, tmp_path / "e.json", target="entropy", convention="nature-2024")
    assert 0.2 < model.threshold < 1.5
    assert (model.positives, model.target, model.convention) == (sum(WRONG), "entropy", "nature-2024")


def test_the_best_split_has_the_smallest_squared_distances():
    values = np.array([0.0, 0.0, 0.3, 1.1, 1.2, 1.3])
    assert best_split(values) == pytest.approx(0.7)
    with pytest.raises(InputError, match="all entropies are equal"):
        best_split(np.zeros(5))


def test_wepr_ranks_wrong_answers_of_a_real_model_that_were_left_out(tmp_path):
    pytest.importorskip("sklearn")
    rows = [row for row in shared_rows("whitebox_qwen05.jsonl") if row["source"] == "arithmetic"]
    wrong = [not row["greedy"]["correct"] for row in rows]
    model = fit_wepr(rows[:100], wrong[:100], tmp_path / "wepr.json")
    estimator = load_estimator("wepr", file=tmp_path / "wepr.json")
    scores = [estimate(["a"], greedy=row["greedy"], estimator=estimator).scores["wepr"] for row in rows[100:]]
    from sklearn.metrics import roc_auc_score

    assert roc_auc_score(wrong[100:], scores) > 0.7
    assert len(model.weights) == 30


def test_the_description_names_the_content_of_the_file(tmp_path):
    first = load_estimator("probe", file=written(tmp_path)).describe()
    second = load_estimator("probe", file=written(tmp_path, intercept=0.6)).describe()
    assert first.startswith("probe(file='file.json', sha256=")
    assert first != second


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "is not the file of a fitted estimator"),
        ({"estimator": "wepr"}, "was fitted for the estimator 'wepr'"),
        ({"weights": [1.0, None]}, "weights is"),
        ({"weights": []}, "weights is"),
        ({"mean": [0.0]}, "mean is"),
        ({"scale": [0.0, 1.0]}, "each number is above 0"),
        ({"intercept": math.nan}, "intercept is nan"),
        ({"intercept": 10**400}, "not a number"),
        ({"weights": [1e80, 1.0]}, "weights is"),
        ({"target": "right"}, "target is 'right', not wrong or entropy"),
        ({"n": "absent"}, "has other fields"),
    ],
)
def test_a_file_with_wrong_content_is_an_error_that_names_the_field(tmp_path, changes, message):
    with pytest.raises(OptionError, match=message):
        load_estimator("probe", file=written(tmp_path, **changes))


@pytest.mark.parametrize("name", ["mean_rank_999999999", "max_rank_0", "median_rank_1", "mean_rank_²"])
def test_a_coefficient_with_another_name_is_an_error(tmp_path, name):
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({"intercept": 0, "coefficients": {"mean_rank_1": 1.0, name: 1.0}}))
    with pytest.raises(OptionError, match=f"has a coefficient '{name}'; they are mean_rank_1, max_rank_1"):
        load_estimator("wepr", file=path)


def test_nested_brackets_are_an_error_of_the_file(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(OptionError, match=r"deep.json is not JSON"):
        load_estimator("wepr", file=tmp_path / "deep.json")


def test_weights_of_wepr_come_in_pairs(tmp_path):
    file = written(tmp_path, estimator="wepr", **dict.fromkeys(("weights", "mean", "scale"), [1.0] * 3))
    with pytest.raises(OptionError, match="has 3 weights; there are two for each rank"):
        load_estimator("wepr", file=file)


def test_a_missing_file_is_an_error_that_says_how_to_get_one(tmp_path):
    with pytest.raises(OptionError, match=r"fit_probe writes"):
        load_estimator("probe")
    with pytest.raises(OptionError, match="cannot be read"):
        load_estimator("probe", file=tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(OptionError, match="is not JSON"):
        load_estimator("wepr", file=tmp_path / "bad.json")


def test_evidence_of_another_model_is_an_error(tmp_path, wepr):
    with pytest.raises(EvidenceError, match="has 3 numbers, and the probe was fitted on 2"):
        estimate(
            ["a"],
            greedy={"text": "a", "hidden_state": [1.0, 2.0, 3.0]},
            estimator=load_estimator("probe", file=written(tmp_path)),
        )
    with pytest.raises(EvidenceError, match="has 1 alternatives .* fitted on 2"):
        estimate(["a"], top_logprobs=[[[-1.0]]], estimator=load_estimator("wepr", file=wepr[0]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (WRONG[:-1], "79 labels for 80 rows"),
        ([*WRONG[:-1], None], "label 79 is nan"),
        ([*WRONG[:-1], 2], "label 79 is 2"),
        ([True] * 75 + [False] * 5, "75 and 5 wrong and right answers are too few"),
        (["no"] * 80, "are not numbers"),
    ],
)
def test_labels_that_cannot_be_fitted_are_an_error(tmp_path, labels, message):
    with pytest.raises(InputError, match=message):
        fit_probe(ROWS, labels, tmp_path / "probe.json")
    assert not (tmp_path / "probe.json").exists()


def test_rows_without_the_evidence_are_an_error_that_names_the_row(tmp_path):
    with pytest.raises(EvidenceError, match="row 1 has no hidden_state"):
        fit_probe([ROWS[0], {"greedy": {"text": "a"}}], [True, False], tmp_path / "probe.json")
    with pytest.raises(EvidenceError, match="hidden state of row 1 has 2 numbers, and that of row 0 has 8"):
        fit_probe([ROWS[0], {"hidden_state": [[1.0, 2.0]]}], [True, False], tmp_path / "probe.json")
    with pytest.raises(EvidenceError, match="hidden_state of row 0 is .* finite numbers"):
        fit_probe([{"hidden_state": [[1.0, math.nan]]}], [True], tmp_path / "probe.json")
    with pytest.raises(EvidenceError, match="top_logprobs of row 0 is .* log-probabilities"):
        fit_wepr([{"top_logprobs": [[[0.9, 0.1]]]}], [True], tmp_path / "wepr.json")
    with pytest.raises(EvidenceError, match="at least 2 alternatives"):
        fit_wepr([{"top_logprobs": [[[-1.0]]]}], [True], tmp_path / "wepr.json")


def test_without_scikit_learn_fitting_is_an_error_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(MissingDependencyError, match=r"\[stats\]"):
        fit_probe(ROWS, WRONG, tmp_path / "probe.json")


@pytest.mark.parametrize(("target", "is_probability"), [("wrong", True), ("entropy", False)])
def test_only_a_probe_for_wrong_answers_gives_the_probability_of_a_wrong_answer(tmp_path, target, is_probability):
    probe = load_estimator(
        "probe", file=written(tmp_path, target=target, threshold=0.5 if target == "entropy" else None)
    )
    assert probe.is_probability is is_probability

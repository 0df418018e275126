"""Estimators that are fitted on labelled rows: no row is scored by weights that have seen its label."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from semantic_entropy import EvidenceError, InputError, estimate, load_estimator
from semantic_entropy.cli import main
from semantic_entropy.evaluation import evaluate, evaluation, fitting
from semantic_entropy.types import Estimate
from tests.semantic_entropy.cli.command import write


def labelled(states, wrong, **fields):
    """Rows with a greedy answer that has a hidden state; `mine` is a score without information."""
    return [
        {"scores": {"mine": 0.0}, "greedy": {"text": "x", "correct": not w, "hidden_state": list(map(float, state))}}
        | {name: values[i] for name, values in fields.items()}
        for i, (state, w) in enumerate(zip(states, wrong, strict=True))
    ]


def drawn(groups):
    wrong = np.arange(groups) % 2 == 0
    return np.column_stack([np.arange(groups), wrong]), wrong


class Memory:
    """An estimator that knows the labels of the rows that it was fitted on, and returns 0.5 for all others."""

    reads = "hidden_state"
    is_probability = True

    def __init__(self, file):
        self.labels = json.loads(Path(file).read_text())

    def check(self, evidence):
        pass

    def estimate(self, evidence):
        return Estimate(self.labels.get(str(evidence.greedy.hidden_state[0]), 0.5))

    @staticmethod
    def fit(rows, labels, file, convention):
        states = [str(row["greedy"]["hidden_state"][0]) for row in rows]
        Path(file).write_text(json.dumps(dict(zip(states, map(float, labels), strict=True))))


@pytest.fixture
def memory(monkeypatch):
    monkeypatch.setattr(fitting, "FITTED", {"probe": (Memory, Memory.fit)})
    monkeypatch.setattr(evaluation, "FITTED", fitting.FITTED)


def test_no_row_is_scored_by_an_estimator_that_was_fitted_on_it(tmp_path, memory):
    found = evaluate(labelled(*drawn(60)), fit={"probe": tmp_path / "p.json"}, resamples=0)
    assert found.columns.scores["probe (cross-validated)"] == [0.5] * 60
    assert found.overall["probe (cross-validated)"].metrics["brier_as_given"].value == 0.25
    assert len(json.loads((tmp_path / "p.json").read_text())) == 60  # the file is fitted on all rows
    assert any("weights that were fitted on other rows score each row" in note for note in found.notes)
    assert not any("probe" in note for note in found.notes if "no estimator is named" in note)


def test_rows_with_the_same_question_are_in_the_same_fold(tmp_path, memory):
    states, wrong = drawn(60)
    twice = labelled(np.tile(states, (2, 1)), np.tile(wrong, 2), question=[f"Q{i % 60}?" for i in range(120)])
    found = evaluate(twice, fit={"probe": tmp_path / "p.json"}, resamples=0)
    assert found.columns.scores["probe (cross-validated)"] == [0.5] * 120


def test_a_row_without_the_evidence_has_an_unknown_score(tmp_path, memory):
    rows = labelled(*drawn(80))
    del rows[7]["greedy"]["hidden_state"]
    found = evaluate(rows, fit={"probe": tmp_path / "p.json"}, resamples=0)
    assert found.overall["probe (cross-validated)"].unknown == 1
    assert math.isnan(found.columns.scores["probe (cross-validated)"][7])


@pytest.mark.parametrize(
    ("name", "groups", "error", "message"),
    [
        ("probe", 20, InputError, "probe: 10 wrong and 10 right answers with hidden_state are too few"),
        ("wepr", 80, EvidenceError, "wepr cannot be fitted: no labelled row has top_logprobs"),
        ("sar", 80, InputError, "'sar' cannot be fitted: use one of probe, wepr"),
    ],
)
def test_what_cannot_be_fitted_is_an_error_and_no_file_is_written(tmp_path, name, groups, error, message):
    file = tmp_path / "weights.json"
    with pytest.raises(error, match=message):
        evaluate(labelled(*drawn(groups)), fit={name: file}, resamples=0)
    assert not file.exists()


def test_the_command_fits_and_writes_a_file_that_the_estimator_reads(tmp_path):
    draw = np.random.default_rng(0)
    rows = []
    for i in range(60):  # right answers have one probable alternative, wrong ones have three
        top = np.sort(np.log(draw.dirichlet([30.0, 1, 1] if i % 2 else [10.0, 10, 10], size=3)))[:, ::-1]
        greedy = {"text": "x", "correct": i % 2 == 1, "top_logprobs": top.tolist()}
        rows.append({"responses": ["x", "y"], "greedy": greedy})
    file, weights = write(tmp_path / "rows.jsonl", rows), tmp_path / "wepr.json"
    arguments = ["evaluate", str(file), "--estimator", "discrete", "--fit", "wepr", str(weights), "--resamples", "0"]
    ran = CliRunner().invoke(main, [*arguments, "--json"])
    assert ran.exit_code == 0, ran.output
    metrics = json.loads(ran.stdout)["overall"]["scores"]["wepr (cross-validated)"]["metrics"]
    assert metrics["auroc"]["value"] > 0.95
    assert metrics["brier_as_given"]["value"] < 0.1
    wepr = load_estimator("wepr", file=str(weights))
    assert (wepr.model.convention, wepr.model.n) == ("label main", 60)
    found = [estimate(row["responses"], greedy=row["greedy"], estimator=wepr).scores["wepr"] for row in rows[:2]]
    assert found[0] > 0.8
    assert found[1] < 0.2


def test_no_other_file_of_the_run_is_replaced_by_weights(tmp_path):
    file, output = write(tmp_path / "rows.jsonl", [{"responses": ["x", "y"], "correct": True}]), tmp_path / "out.jsonl"
    before = file.read_text()
    for fits, message in (
        (["--fit", "wepr", file], "rows.jsonl is both input and file of --fit wepr"),
        (["--fit", "probe", output], "out.jsonl is both file of --fit probe and output"),
        (["--fit", "wepr", "w.json", "--fit", "probe", "w.json"], "both file of --fit wepr and file of --fit probe"),
        (["--fit", "wepr", "a.json", "--fit", "wepr", "b.json"], "--fit names an estimator twice"),
    ):
        ran = CliRunner().invoke(main, ["evaluate", str(file), "-o", str(output), *map(str, fits)])
        assert ran.exit_code == 1
        assert message in ran.output
    with pytest.raises(InputError, match=r"rows.jsonl is both input and file of fit 'wepr'"):
        evaluate(file, fit={"wepr": file})
    with pytest.raises(InputError, match=r"both file of fit 'wepr' and file of fit 'probe'"):
        evaluate([{"responses": ["x"]}], fit={"wepr": output, "probe": output})
    assert file.read_text() == before
    assert not output.exists()

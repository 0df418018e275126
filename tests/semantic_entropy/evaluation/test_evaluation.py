"""`evaluate`: rows and files, scored or not; what is left out and counted; the report, the JSON and the picture."""

import json
import math
import sys

import pytest

from semantic_entropy import EntropyEstimator, EvidenceError, InputError, MissingDependencyError, estimate_file
from semantic_entropy.evaluation import compare, comparison, evaluate, evaluation
from semantic_entropy.types import Estimate

CERTAIN, SPLIT, GUESS = ["Paris"] * 4, ["Paris", "Paris", "Rome", "Rome"], ["Rome", "Oslo", "Bern", "Wien"]
ROWS = [
    {"question": "Q1?", "responses": CERTAIN, "answer_correct": True, "source": "a"},
    {"question": "Q2?", "responses": GUESS, "answer_correct": False, "source": "a"},
    {"question": "Q3?", "responses": SPLIT, "correct": [True, True, False, False], "source": "a"},
    {"question": "Q4?", "responses": CERTAIN, "correct": [False] * 4, "source": "b"},
    {"question": "Q5?", "responses": GUESS, "correct": [True] + [False] * 3, "source": "b"},
    {"question": "Q6?", "responses": SPLIT, "greedy": {"text": "Rome", "correct": False}, "source": "b"},
    {"question": "Q7?", "responses": CERTAIN, "greedy": {"text": "Paris", "correct": True}, "source": "b"},
    {"question": "Q8?", "responses": CERTAIN},
]
WRONG = [False, True, False, True, False, True, False]  # Q5: the first of the equal clusters is right
ENTROPIES = [0, math.log(4), math.log(2), 0, math.log(4), math.log(2), 0]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def scored(**scores):
    """Rows with scores of another program: the first half is wrong."""
    values = zip(*scores.values(), strict=True)
    rows = [{"scores": dict(zip(scores, each, strict=True))} for each in values]
    return [row | {"correct": i >= len(rows) // 2} for i, row in enumerate(rows)]


class Sameness(EntropyEstimator):
    """A score that no plugin registers, and that is higher for more certain answers."""

    name = "sameness"
    requires = frozenset({"texts"})
    higher_is_uncertain = False

    def estimate(self, evidence):
        return Estimate(float(max(map(evidence.texts.count, evidence.texts))))


def test_rows_are_measured_labelled_and_compared():
    found = evaluate(ROWS, estimator=["discrete", "majority"], equivalence="exact", resamples=100)
    assert list(found.overall) == ["discrete", "majority", "length"]
    assert found.overall["discrete"].auroc.value == compare({"H": ENTROPIES}, WRONG, resampled=0)["H"].auroc.value
    assert found.overall["majority"].auroc.value == found.overall["discrete"].auroc.value
    assert (found.overall.groups, found.overall.wrong, found.unlabelled, found.bad) == (7, 3, 1, 0)
    assert found.labelled_by == {"main": 4, "majority": 3}
    assert {name: (table.groups, table.wrong) for name, table in found.sources.items()} == {"a": (3, 1), "b": (4, 2)}
    assert found.mean.groups == 7


def test_a_file_a_scored_file_and_rows_give_the_same_numbers(tmp_path):
    unscored, output = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "scored.jsonl"
    estimate_file(unscored, output, equivalence="exact", progress=False)
    parquet = tmp_path / "scored.parquet"
    estimate_file(unscored, parquet, equivalence="exact", progress=False)
    options = {"resamples": 50}
    expected = evaluate(ROWS, equivalence="exact", **options).to_dict()
    assert evaluate(unscored, equivalence="exact", progress=False, **options).to_dict() == expected
    assert evaluate(output, **options).to_dict() == expected
    assert evaluate(parquet, **options).overall["discrete"] == evaluate(output, **options).overall["discrete"]


def test_measured_rows_are_kept_in_the_output_and_not_measured_again(tmp_path):
    unscored, output = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "kept.jsonl"
    options = {"equivalence": "exact", "output": output, "progress": False, "resamples": 10}
    first = evaluate(unscored, **options)
    assert len(output.read_text().splitlines()) == len(ROWS)
    assert evaluate(unscored, **options) == first
    output.write_text(output.read_text().replace('"scores": {"discrete": 0.0', '"scores": {"discrete": 9.0', 1))
    again = evaluate(unscored, **options)  # the changed row is read, and its labels contradict it
    assert "the score discrete is 9, and the labels give" in again.bad_rows[0]


def test_the_labels_of_a_row_with_a_field_named_like_a_result_field_are_those_of_the_judge(tmp_path):
    own = {
        "responses": ["x", "x", "y"],
        "correct": [True, True, False],
        "labels": "mine",
        "scores": "mine",
        "answer": "z",
    }
    found = evaluate(write(tmp_path / "rows.jsonl", [own, {**own, "correct": [False] * 3}]), progress=False)
    assert found.labelled_by == {"majority": 2}
    assert "discrete" in found.overall


def test_the_baseline_length_stands_beside_every_score_of_rows_with_responses():
    greedy = {"text": "a long answer", "correct": False}
    rows = [{"responses": ["a", "abc"], "correct": True, "scores": {"mine": 1}}, {"responses": ["a"], "greedy": greedy}]
    found = evaluate([rows[0], rows[1] | {"scores": {"mine": 2}}], score="mine", resamples=0)
    assert found.columns.scores["length"] == [2, 13]
    assert "length" not in evaluate(scored(mine=[2, 1]), resamples=0).overall


def test_a_missing_score_ranks_as_the_most_uncertain_and_is_counted():
    rows = scored(mine=[None, 2.0, math.nan, 1.0])
    rows[0]["scores"] = {"other": 1.0}
    found = evaluate(rows, resamples=0)
    assert found.overall["mine"].unknown == 2
    assert found.overall["mine"].auroc.value == (0.5 + 1 + 0 + 1) / 4
    assert found.overall["other"].unknown == 3


def test_an_infinite_score_is_unknown_and_never_certain():
    found = evaluate(scored(mine=[-math.inf, 0.5, 0.4, math.inf]), resamples=0)
    assert found.overall["mine"].unknown == 2


def test_a_confidence_of_a_known_estimator_is_turned_round_and_an_unknown_score_is_named():
    rows = scored(majority=[0.2, 0.3, 0.8, 0.9], mine=[0.2, 0.3, 0.8, 0.9])
    found = evaluate(rows, resamples=0)
    assert (found.overall["majority"].auroc.value, found.overall["mine"].auroc.value) == (1, 0)
    assert "brier_as_given" in found.overall["majority"].metrics
    assert any("no estimator is named mine" in note for note in found.notes)
    turned = evaluate(rows, confidence=["mine"], resamples=0)
    assert turned.overall["mine"].auroc.value == 1
    assert not any("no estimator" in note for note in turned.notes)
    assert turned.to_dict()["turned_round"] == ["majority", "mine"]


def test_the_direction_of_an_estimator_that_only_the_caller_has_is_read_from_it():
    found = evaluate(ROWS, estimator=["discrete", Sameness()], equivalence="exact", resamples=0)
    assert found.overall["sameness"].auroc.value == found.overall["discrete"].auroc.value


def test_a_field_of_a_row_can_be_a_score():
    rows = [{"p_wrong": value, "correct": value < 0.5} for value in (0.9, 0.1, 0.7, 0.2)]
    assert evaluate(rows, score=["p_wrong"], resamples=0).overall["p_wrong"].auroc.value == 1


def test_bad_rows_are_counted_and_named(tmp_path):
    rows = [*scored(mine=[3, 1, 2, 0]), {"correct": True, "scores": {"mine": "high"}}, {"correct": True}]
    rows += [{"correct": "perhaps", "scores": {"mine": 1}}, [1]]
    found = evaluate(write(tmp_path / "rows.jsonl", rows), resamples=0)
    assert (found.overall.groups, found.bad) == (4, 4)
    assert "line 5: the score 'mine' is no number" in found.bad_rows[0]
    assert "line 6: no scores, and other rows have them" in found.bad_rows[1]
    assert "line 7: 'correct' is 'perhaps'; a label is true or false" in found.bad_rows[2]
    assert "line 8: a row is a JSON object" in found.bad_rows[3]
    assert "left out: 4 bad rows" in str(found)


def test_rows_that_cannot_be_measured_are_bad_rows_of_a_file(tmp_path, capsys):
    file = write(tmp_path / "rows.jsonl", [*ROWS, {"responses": [], "correct": []}])
    assert evaluate(file, progress=False, resamples=0).bad == 1
    assert "line 9" in capsys.readouterr().err


def test_many_values_of_the_source_field_give_no_table_by_source():
    rows = [row | {"source": str(i)} for i, row in enumerate(scored(mine=list(range(40))))]
    found = evaluate(rows, resamples=0)
    assert (found.sources, found.mean) == ({}, None)
    assert any("the field 'source' has 40 values" in note for note in found.notes)


def test_rows_of_one_class_say_that_nothing_can_be_evaluated(tmp_path):
    found = evaluate([{"correct": True, "scores": {"mine": 1, "yours": 2}}] * 2)
    assert "nan" not in str(found)
    assert "all answers are right, so no score can be evaluated" in str(found)
    assert json.loads(found.to_json())["overall"]["scores"]["mine"]["metrics"]["auroc"]["value"] is None
    with pytest.raises(InputError, match="all 2 answers are right"):
        found.save_picture(tmp_path / "curves.png")


def test_rows_with_the_question_of_an_earlier_row_are_counted():
    rows = [row | {"question": f"Q{i // 2}"} for i, row in enumerate(scored(mine=[1, 2, 3, 4]))]
    notes = evaluate(rows, resamples=0).notes
    assert any(note.startswith("2 rows have the question of an earlier row; the intervals") for note in notes)
    rows = [row | {"question": f"Q{i}"} for i, row in enumerate(rows)]
    assert not any("earlier row" in note for note in evaluate(rows, resamples=0).notes)


def test_scores_of_a_fitted_estimator_may_have_seen_the_labels():
    assert any(
        note.startswith("probe: fitted on labelled answers; if these rows are among them, the numbers are too good")
        for note in evaluate(scored(probe=[0.1, 0.2], mine=[1, 2]), resamples=0).notes
    )


def test_the_report_has_the_base_rate_the_difference_and_the_sources():
    printed = str(evaluate(ROWS, estimator=["discrete", "num_sets"], equivalence="exact", resamples=200))
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[0] == "7 groups, 3 wrong (42.9%); label: main (decided by main 4, majority 3)"
    assert lines[1] == "left out: 1 row without a label"
    assert lines[2].startswith("note: only 3 of the 7 answers are wrong")
    assert lines[4].startswith("| score | AUROC (95%) | AUROC - discrete (95%) | p | AUPRC | AURAC | PRR |")
    assert lines[4].endswith("| accuracy@80% | accuracy@90% | Brier | ECE | unknown |")
    assert lines[6] == "| (base rate) | 0.500 | | | 0.429 | 0.571 | 0.000 | 0.571 | 0.571 | 0.245 | 0.000 | |"
    table = {line.split("|")[1].strip(): line for line in lines[7:] if line.startswith("|")}
    assert table["AUROC"] == "| AUROC | a | b | mean (95%) | mean - discrete (95%) | p |"
    assert table["(wrong / groups)"] == "| (wrong / groups) | 1 / 3 | 2 / 4 | | | |"
    assert len({len(line) for line in printed.splitlines() if line.startswith("|")}) == 2  # two tables


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture_is_written(tmp_path, suffix):
    path = tmp_path / f"curves.{suffix}"
    evaluate(ROWS, equivalence="exact", resamples=0).save_picture(path)
    beginning = path.read_bytes()[:100]
    assert beginning.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")


def test_without_scikit_learn_the_report_says_how_to_get_the_brier_score(monkeypatch):
    monkeypatch.setattr(comparison, "has_scikit_learn", lambda: False)
    monkeypatch.setattr(evaluation, "has_scikit_learn", lambda: False)
    found = evaluate(ROWS, equivalence="exact", resamples=0)
    assert "brier" not in found.overall["discrete"].metrics
    assert any("Brier score and ECE need scikit-learn: pip install" in note for note in found.notes)


def test_without_matplotlib_the_error_has_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"a picture needs matplotlib: pip install .*\[report\]"):
        evaluate(ROWS, equivalence="exact", resamples=0).save_picture(tmp_path / "curves.png")


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            [{"scores": {"a": 1}}],
            {},
            "no row can be evaluated: 1 row without a label.*answer_correct, greedy.correct, or one label",
        ),
        ([{"scores": {"a": 1}, "answer_correct": True}], {"label": "mean"}, "The rule 'mean' reads one label for each"),
        ([], {}, "no row can be evaluated"),
        ([1], {}, "row 0 is 1; pass dicts"),
        ([{"correct": True}], {}, "row 0: no field 'responses'"),
        (ROWS, {"group_by": "question"}, "group_by='question' is for a file, and source has rows"),
        (scored(mine=[1, 2]), {"estimator": "discrete"}, "row 0 has scores already, so estimator= cannot change them"),
        (ROWS, {"label": "median"}, "label='median' is unknown: use one of main, majority, mean"),
        (ROWS, {"reference": "sar"}, "there is no score 'sar': there are discrete"),
        (scored(mine=[1, 2]), {"score": ["mien"]}, "no row has the score 'mien'; there are mine. Did you mean 'mine'?"),
        (scored(mine=[1, 2]), {"confidence": ["yours"]}, "there is no score 'yours'"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error(rows, options, message):
    with pytest.raises(InputError, match=message):
        evaluate(rows, **options)


def test_missing_evidence_is_an_error_that_names_it(tmp_path):
    with pytest.raises(EvidenceError, match="needs logprobs"):
        evaluate(ROWS, estimator="likelihood")
    with pytest.raises(InputError, match="none of the 8 rows .* has what --estimator needs: .*logprobs"):
        evaluate(write(tmp_path / "rows.jsonl", ROWS), estimator="likelihood", progress=False)


def test_a_scored_file_is_not_measured_again_with_other_choices(tmp_path):
    file = write(tmp_path / "scored.jsonl", scored(mine=[1, 2]))
    with pytest.raises(InputError, match="has scores already, so estimator= cannot change them"):
        evaluate(file, estimator="discrete")


def test_a_question_in_another_writing_is_a_repeated_question():
    rows = [{"question": q, "scores": {"s": 0.1}, "answer_correct": i > 0} for i, q in enumerate(["Q?", " q? ", "R?"])]
    assert evaluate(rows).columns.repeated == 1

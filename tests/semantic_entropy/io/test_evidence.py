"""Files whose rows have evidence beyond log-probabilities: only named estimators read it, and it is part of the key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semantic_entropy import Equivalence, InputError, Verdict, register
from semantic_entropy.io import InputOptions
from semantic_entropy.plugin import EntropyEstimator, Estimate
from tests.semantic_entropy.io.measured_files import measure, read, write
from tests.semantic_entropy.sampling.dice import Dice


class MeanSimilarity(EntropyEstimator):
    """The mean of the similarity matrix."""

    name = "mean_similarity"
    requires = frozenset({"similarity"})

    def estimate(self, evidence):
        return Estimate(sum(map(sum, evidence.similarity)) / len(evidence.labels) ** 2)


ROWS = [
    {"id": 1, "responses": ["a b", "a c"], "similarity": [[1.0, 0.5], [0.5, 1.0]], "greedy": "the row's own field"},
    {"id": 2, "responses": ["x", "y"], "similarity": [[1.0, 0.0], [0.0, 1.0]], "greedy": "other"},
]


@pytest.mark.parametrize("source", ["in.jsonl", "in.parquet"])
@pytest.mark.parametrize("output", ["out.jsonl", "out.parquet"])
def test_a_row_brings_its_evidence_and_a_changed_value_is_measured_again(tmp_path, source, output):
    path, out = write(tmp_path / source, ROWS), tmp_path / output
    assert measure(path, out, estimator=MeanSimilarity()).rows == 2
    assert [row["scores"]["mean_similarity"] for row in read(out)] == [0.75, 0.5]
    assert [row["provenance"]["similarity"] for row in read(out)] == ["given", "given"]
    assert measure(path, out, estimator=MeanSimilarity()).skipped == 2
    write(path, [ROWS[0], {**ROWS[1], "similarity": [[1.0, 1.0], [1.0, 1.0]]}])
    done = measure(path, out, estimator=MeanSimilarity())
    assert (done.skipped, done.rows) == (1, 1)
    assert [row["scores"]["mean_similarity"] for row in read(out)] == [0.75, 1.0]


def test_fields_of_these_names_are_the_rows_own_if_no_estimator_reads_them(tmp_path):
    rows = [{"responses": ["a", "b"], "similarity": "high", "greedy": "a", "embeddings": None}]
    path, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    assert measure(path, out).rows == 1
    assert read(out)[0]["similarity"] == "high"


def test_impossible_evidence_is_a_bad_row_that_names_it(tmp_path):
    path = write(tmp_path / "in.jsonl", [ROWS[0], {**ROWS[1], "similarity": [[1, 2], [2, 1]]}])
    assert measure(path, tmp_path / "out.jsonl", estimator=MeanSimilarity()).rejected == 1
    assert "similarity of response 0 hold 2.0" in (tmp_path / "out.jsonl.bad.jsonl").read_text()


def test_another_similarity_is_another_run(tmp_path):
    rows = [{"responses": ["a b", "a c"]}]
    path, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    measure(path, out, estimator=MeanSimilarity())
    assert read(out)[0]["provenance"]["similarity"] == "jaccard"
    with pytest.raises(InputError, match=r"similarity.*half"):
        measure(path, out, estimator=MeanSimilarity(), similarity=half)
    measure(path, out, estimator=MeanSimilarity(), similarity=half, overwrite=True)
    assert read(out)[0]["scores"]["mean_similarity"] == 0.75


def half(_left: str, _right: str) -> float:
    return 0.5


def test_a_similarity_that_no_estimator_reads_is_an_error_and_a_field_of_this_name_is_not_read(tmp_path):
    path, out = write(tmp_path / "in.jsonl", [{"responses": ["a b", "a c"], "similarity": "?"}]), tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="similarity= is given, and no estimator"):
        measure(path, out, similarity=half)
    assert measure(path, out).rejected == 0


class Lengths(EntropyEstimator):
    """The sum of all entropies; the length of the greedy answer is added if it is known."""

    name = "lengths"
    requires = frozenset({"token_entropies"})
    uses = frozenset({"greedy"})

    def estimate(self, evidence):
        greedy = len(evidence.greedy.text) if evidence.greedy else 0
        return Estimate(sum(map(sum, evidence.token_entropies)) + greedy)


SINGLE = [{"q": 1, "response": answer, "token_entropies": [0.5], "greedy": {"text": "abc"}} for answer in "xy"]


def test_rows_of_one_response_bring_their_evidence_to_the_group(tmp_path):
    path, out = write(tmp_path / "in.jsonl", SINGLE), tmp_path / "out.jsonl"
    options = InputOptions(group_by="q")
    measure(path, out, estimator=Lengths(), options=options)
    assert read(out)[0]["scores"]["lengths"] == 4.0
    write(path, [SINGLE[0], {**SINGLE[1], "token_entropies": [1.5]}])
    assert measure(path, out, estimator=Lengths(), options=options, overwrite=True).rows == 1
    assert read(out)[0]["scores"]["lengths"] == 5.0
    write(path, [SINGLE[0], {**SINGLE[1], "greedy": {"text": "other"}}])
    with pytest.raises(InputError, match="greedy=.*must be a text, or a mapping"):
        measure(path, out, estimator=Lengths(), options=options, overwrite=True, strict=True)


def test_a_row_whose_responses_are_drawn_is_scored_with_its_greedy_answer(tmp_path):
    class Entropic(Dice):
        def stream(self, requests):
            for request, sample in super().stream(requests):
                yield request, replace(sample, token_entropies=(0.5,), logprobs=None)

    def run(row):
        path = write(tmp_path / "in.jsonl", [row])
        return measure(path, out, estimator=Lengths(), sampler=Entropic(), n=2, samples=tmp_path / "samples.jsonl")

    out = tmp_path / "out.jsonl"
    run({"id": 1, "question": "one?", "greedy": {"text": "abc"}})
    assert read(out)[0]["scores"]["lengths"] == 4.0
    assert run({"id": 1, "question": "one?", "greedy": {"text": "abc"}}).skipped == 1
    with pytest.raises(InputError, match="another input"):
        run({"id": 1, "question": "one?", "greedy": {"text": "abcdef"}})
    out.unlink()
    asked = run({"id": 1, "question": "never asked?", "greedy": {"text": 5}})
    assert (asked.rejected, asked.responses) == (1, 0)


def test_no_judge_is_paid_for_a_row_without_evidence(tmp_path):
    asked = []
    rows = [{"responses": ["a", "b"], "token_entropies": [[0.5], [0.5]]}, {"responses": ["c", "d"]}]
    path, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    done = measure(path, out, estimator=Lengths(), equivalence=lambda left, right: asked.append((left, right)))
    assert (done.rows, done.rejected, {*asked}) == (1, 1, {("a", "b"), ("b", "a")})
    assert read(out)[0]["provenance"]["asked"] == 1


class Scores(Equivalence):
    """A judge with one score for all pairs."""

    name = "scores"

    def judge(self, pairs):
        return [Verdict(False, 0.5) for _ in pairs]


def test_new_rules_of_the_judge_that_compares_texts_are_another_run(tmp_path, monkeypatch):
    register("equivalence", "scores", Scores)
    path, out = write(tmp_path / "in.jsonl", [{"responses": ["a b", "a c"]}]), tmp_path / "out.jsonl"
    measure(path, out, equivalence="exact", estimator=MeanSimilarity(), similarity="scores")
    monkeypatch.setattr(Scores, "rules", 2)
    with pytest.raises(InputError, match="rules of scores 2"):
        measure(path, out, equivalence="exact", estimator=MeanSimilarity(), similarity="scores")


@pytest.mark.parametrize("grouped", [False, True])
def test_cells_of_a_csv_file_hold_evidence_as_json(tmp_path, grouped):
    lines = ["id,responses,token_entropies,greedy"]
    if grouped:
        lines += ['1,a,[0.5],"{""text"": ""abc""}"', '1,b,"[1, 2]","{""text"": ""abc""}"', "2,a,[0.25],"]
    else:
        lines += ['1,"[""a"", ""b""]","[[0.5], [1, 2]]","{""text"": ""abc""}"', '2,"[""a""]",[[0.25]],']
    path, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    path.write_text("\n".join([*lines, '3,"[""a""]",nothing,'][: None if not grouped else -1]) + "\n")
    summary = measure(path, out, estimator=Lengths(), options=InputOptions(group_by="id" if grouped else None))
    assert [row["scores"]["lengths"] for row in read(out)] == [6.5, 0.25]
    assert summary.rejected == (0 if grouped else 1)

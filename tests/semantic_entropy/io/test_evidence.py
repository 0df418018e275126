"""Files whose rows have evidence beyond log-probabilities: only named estimators read it, and it is part of the key."""

from __future__ import annotations

import pytest

from semantic_entropy import InputError
from semantic_entropy.plugin import EntropyEstimator, Estimate
from tests.semantic_entropy.io.measured_files import measure, read, write


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


def test_a_similarity_that_no_estimator_reads_changes_nothing(tmp_path):
    path, out = write(tmp_path / "in.jsonl", [{"responses": ["a b", "a c"]}]), tmp_path / "out.jsonl"
    measure(path, out)
    assert measure(path, out, similarity=half).skipped == 1

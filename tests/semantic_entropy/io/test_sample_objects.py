"""Rows whose responses are objects with a text and what is known about it: in the field `samples`, or `responses`."""

from __future__ import annotations

import math

import pytest

from semantic_entropy import InputError
from semantic_entropy.evaluation import evaluate
from tests.semantic_entropy.io.measured_files import measure, read, write
from tests.semantic_entropy.sampling.dice import Dice
from tests.shared_data import rows as shared_rows

TEXTS = ["Paris", "paris", "Rome"]
LOGPROBS = [[-0.5, -1.0], [-0.1, -0.2], [-2.0, -0.1]]
TOP = [[[-0.5, -2.0], [-1.0, -1.1]], [[-0.1, -3.0], [-0.2, -4.0]], [[-1.0, -2.0], [-0.1, -5.0]]]
SAMPLES = [
    {"text": text, "logprobs": logprobs, "top_logprobs": top, "finish_reason": "stop", "correct": text != "Rome"}
    for text, logprobs, top in zip(TEXTS, LOGPROBS, TOP, strict=True)
]
GREEDY = {"text": "Paris", "logprobs": [-0.3], "top_logprobs": [[-0.3, -1.5]], "correct": True}
ESTIMATORS = {"estimator": ["discrete", "predictive", "epr"], "equivalence": "text"}


def scores(path, row, **choices):
    measure(write(path, [row]), path.with_name(f"{path.stem}-out.jsonl"), **{**ESTIMATORS, **choices})
    (found,) = read(path.with_name(f"{path.stem}-out.jsonl"))
    return found["scores"]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("greedy", [{}, {"greedy": GREEDY}])
def test_objects_with_a_text_are_responses_with_their_evidence(tmp_path, suffix, greedy, capsys):
    plain = {"question": "Capital?", "responses": TEXTS, "logprobs": LOGPROBS, "top_logprobs": TOP, **greedy}
    expected = scores(tmp_path / "plain.jsonl", plain)
    assert capsys.readouterr().err == ""
    assert scores(tmp_path / f"a.{suffix}", {"question": "Capital?", "samples": SAMPLES, **greedy}) == expected
    assert capsys.readouterr().err == "responses: the field 'samples' (--responses FIELD names another one)\n"
    assert scores(tmp_path / f"b.{suffix}", {"question": "Capital?", "responses": SAMPLES, **greedy}) == expected
    assert scores(tmp_path / f"c.{suffix}", {"drawn": SAMPLES, **greedy}, field="drawn") == expected
    assert capsys.readouterr().err == ""


def test_the_field_responses_comes_first_and_a_list_of_other_things_is_no_list_of_samples(tmp_path):
    row = {"responses": ["a", "a"], "samples": SAMPLES}
    assert scores(tmp_path / "both.jsonl", row, estimator="discrete") == {"discrete": 0.0}
    for other in ([1, 2], [], "text", [SAMPLES[0], 5], {"text": "a"}):
        summary = measure(write(tmp_path / "in.jsonl", [{"samples": other}]), tmp_path / "out.jsonl", overwrite=True)
        assert summary.rejected == 1
        (bad,) = read(tmp_path / "out.jsonl.bad.jsonl")
        assert bad["problem"] == "no field 'responses'; it has samples"


def test_no_response_is_drawn_for_a_row_with_samples(tmp_path):
    sampler, source = Dice(), write(tmp_path / "in.jsonl", [{"question": "q", "samples": SAMPLES}, {"question": "r"}])
    measure(source, tmp_path / "out.jsonl", sampler=sampler, n=2)
    assert [asked[0] for asked in sampler.asked] == ["r"]


def test_a_sample_without_numbers_is_missing_evidence(tmp_path):
    row = {"samples": [*SAMPLES[:2], {"text": "Rome", "finish_reason": "stop"}]}
    with pytest.raises(InputError, match=r"has what --estimator needs: estimator 'predictive' needs logprobs"):
        scores(tmp_path / "in.jsonl", row)


def test_impossible_numbers_of_a_sample_are_a_bad_row(tmp_path):
    rows = [{"samples": SAMPLES}, {"samples": [{**SAMPLES[0], "top_logprobs": [[-0.5]]}, *SAMPLES[1:]]}]
    summary = measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", **ESTIMATORS)
    assert (summary.rows, summary.rejected) == (1, 1)
    (bad,) = read(tmp_path / "out.jsonl.bad.jsonl")
    assert bad["problem"] == "response 0 has 2 logprobs and 1 top_logprobs"


def test_the_labels_and_the_length_of_samples_are_evaluated():
    def row(i):
        right = i % 3 > 0
        return {"question": f"q{i}", "samples": [{"text": "a" * (3 + i), "correct": right}] * 2}

    rows = [row(i) for i in range(12)]
    found = evaluate(rows, estimator="discrete", label="mean", resamples=0)
    plain = [
        {"question": r["question"], "responses": [s["text"] for s in r["samples"]], "correct": [i % 3 > 0] * 2}
        for i, r in enumerate(rows)
    ]
    assert found.to_json() == evaluate(plain, estimator="discrete", label="mean", resamples=0).to_json()
    assert "length" in found.to_json()


def test_the_numbers_of_real_samples_are_those_of_the_definitions(tmp_path):
    rows = shared_rows("whitebox_qwen05.jsonl")[::40]
    names = ["discrete", "predictive", "perplexity", "epr"]
    measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", estimator=names, equivalence="text")
    for row, result in zip(rows, read(tmp_path / "out.jsonl"), strict=True):
        means = [sum(sample["logprobs"]) / len(sample["logprobs"]) for sample in row["samples"]]
        assert result["scores"]["predictive"] == pytest.approx(-sum(means) / len(means))
        greedy = row["greedy"]
        assert result["scores"]["perplexity"] == pytest.approx(
            math.exp(-sum(greedy["logprobs"]) / len(greedy["logprobs"]))
        )
        entropies = [-sum(math.exp(value) * value for value in token) for token in greedy["top_logprobs"]]
        assert result["scores"]["epr"] == pytest.approx(sum(entropies) / len(entropies))
        assert len(result["labels"]) == len(row["samples"])

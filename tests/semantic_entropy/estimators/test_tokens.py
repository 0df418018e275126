"""Estimators that score one answer by its tokens: numbers of other code, formulas in another form, properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import estimate, load_estimator
from semantic_entropy.errors import EvidenceError, OptionError
from semantic_entropy.testing import check_estimator
from semantic_entropy.types import Evidence, Sample
from tests.shared_data import golden, rows

NAMES = ("perplexity", "min_probability", "epr", "self_certainty", "length", "margin")
CONFIDENCES = {"min_probability", "self_certainty", "margin"}
LOGPROBS = st.lists(st.floats(-900, 0), min_size=1, max_size=6)
ALTERNATIVES = st.lists(st.lists(st.floats(0.001, 1), min_size=2, max_size=20), min_size=1, max_size=6).map(
    lambda answer: [[math.log(p / sum(token)) for p in token] for token in answer]
)


def score(name, *, greedy=None, **options):
    evidence = Evidence((0,) * 2, responses=("a", "b"), greedy=greedy, **options)
    estimator = load_estimator(name)
    estimator.check(evidence)
    return estimator.estimate(evidence).value


def of_greedy(name, logprobs=None, top=None, text="a"):
    return score(name, greedy=Sample(text, logprobs and tuple(logprobs), top_logprobs=top and tuple(map(tuple, top))))


@pytest.mark.parametrize("name", NAMES)
def test_an_estimator_keeps_the_contract(name):
    check_estimator(load_estimator(name))
    assert load_estimator(name).higher_is_uncertain == (name not in CONFIDENCES)


def test_uqlm_white_box_probabilities_are_matched():
    data = golden("uqlm/whitebox_results_file.json")["data"]
    for i, response in enumerate(data["responses"]):
        answer = {"text": response, "logprobs": [token["logprob"] for token in data["logprobs"][i]]}
        scores = estimate([response], greedy=answer, estimator=["perplexity", "min_probability"]).scores
        assert 1 / scores["perplexity"] == pytest.approx(data["normalized_probability"][i], abs=1e-12, rel=0)
        assert scores["min_probability"] == pytest.approx(data["min_probability"][i], abs=1e-12, rel=0)


def test_the_log_of_perplexity_of_each_response_is_lm_polygraphs_sequence_entropy():
    expected = {str(each["id"]): each for each in golden("expected_lm_polygraph.json")["results"]}
    for case in golden("cases.json"):
        logs = []
        for response, tokens in zip(case["responses"], case["token_logprobs"], strict=True):
            found = estimate([response], logprobs=[tokens], estimator="perplexity", equivalence="exact")
            logs.append(math.log(found.scores["perplexity"]))
        reference = expected[str(case["id"])]["MonteCarloNormalizedSequenceEntropy"]
        assert sum(logs) / len(logs) == pytest.approx(reference, abs=1e-9, rel=0)


def test_scores_of_a_real_model_equal_array_computations():
    for row in rows("whitebox_qwen05.jsonl")[:60]:
        texts = [sample["text"] for sample in row["samples"]]
        found = estimate(texts, greedy=row["greedy"], equivalence="exact", estimator=list(NAMES)).scores
        top = np.array(row["greedy"]["top_logprobs"])
        p = np.exp(top)
        q = p / p.sum(axis=1, keepdims=True)
        assert found["epr"] == pytest.approx((-p * top).sum(axis=1).mean(), abs=1e-9)
        uniform = 1 / top.shape[1]
        assert found["self_certainty"] == pytest.approx((uniform * np.log(uniform / q)).sum(axis=1).mean(), abs=1e-9)
        assert found["min_probability"] == pytest.approx(np.exp(row["greedy"]["logprobs"]).min(), abs=1e-12)
        assert found["length"] == len(row["greedy"]["text"])


def test_epr_reads_the_most_probable_alternatives_in_any_order():
    token = [math.log(p) for p in (0.1, 0.6, 0.2, 0.05)]
    expected = -(0.6 * math.log(0.6) + 0.2 * math.log(0.2))
    assert load_estimator("epr", k=2).score_answer([token]) == pytest.approx(expected)
    assert of_greedy("epr", top=[token, [*token, -math.inf]]) == pytest.approx(-sum(math.exp(x) * x for x in token))


def test_self_certainty_over_a_whole_vocabulary_is_the_definition():
    p = np.array([0.5, 0.25, 0.125, 0.125])
    assert of_greedy("self_certainty", top=[np.log(p)]) == pytest.approx(-np.log(4 * p).mean())
    assert of_greedy("self_certainty", top=[[math.log(0.25)] * 4]) == pytest.approx(0, abs=1e-12)


def test_a_distribution_that_is_flat_beyond_the_alternatives_is_not_certain():
    flat, peaked = [[math.log(0.001)] * 15], [[math.log(0.9), *[math.log(0.001)] * 14]]
    assert of_greedy("self_certainty", top=flat) < of_greedy("self_certainty", top=peaked)


@pytest.mark.parametrize(("labels", "margin"), [((0,), 1), ((0, 1), 0), ((0, 0, 0, 1), 0.5), ((0, 1, 0, 2, 0), 0.4)])
def test_margin_is_the_difference_of_the_two_largest_shares(labels, margin):
    assert load_estimator("margin").estimate(Evidence(labels)).value == pytest.approx(margin)


@given(st.lists(LOGPROBS, min_size=1, max_size=4))
def test_without_a_greedy_answer_the_score_is_the_mean_over_the_responses(answers):
    logprobs = tuple(map(tuple, answers))
    for name in ("perplexity", "min_probability"):
        alone = [of_greedy(name, tokens) for tokens in answers]
        assert score(name, logprobs=logprobs) == pytest.approx(sum(one / len(alone) for one in alone))
        assert score(name, logprobs=logprobs[::-1]) == pytest.approx(score(name, logprobs=logprobs))


@given(LOGPROBS)
def test_scores_of_log_probabilities_have_bounds_also_at_minus_800(tokens):
    assert 1 <= of_greedy("perplexity", tokens) <= 1e300
    assert 0 <= of_greedy("min_probability", tokens) <= 1
    lower = [*tokens[:-1], tokens[-1] - 1]
    assert of_greedy("perplexity", lower) >= of_greedy("perplexity", tokens)
    assert of_greedy("min_probability", lower) <= of_greedy("min_probability", tokens)


@given(ALTERNATIVES)
def test_scores_of_alternatives_have_bounds(top):
    widest = max(map(len, top))
    assert 0 <= of_greedy("epr", top=top) <= math.log(widest) + 1e-9
    assert of_greedy("self_certainty", top=top) >= 0


def test_length_counts_characters_of_the_greedy_answer_or_of_the_responses():
    found = estimate(["ab", "abcd", ""], estimator="length", equivalence="exact")
    assert found.scores["length"] == 2.0
    assert estimate(["ab"], greedy={"text": "\u6771\u4eac"}, estimator="length").scores["length"] == 2.0


@pytest.mark.parametrize(("name", "field"), [("perplexity", "logprobs"), ("epr", "top_logprobs")])
def test_missing_evidence_is_an_error_that_says_what_to_pass(name, field):
    with pytest.raises(EvidenceError, match=f"needs {field}: pass {field}= .* or greedy="):
        estimate(["a", "b"], estimator=name)
    with pytest.raises(EvidenceError, match=f"this answer has no {field}: add {field} to greedy="):
        estimate(["a", "b"], logprobs=[[-1.0], [-1.0]], greedy={"text": "a"}, estimator=name)


@pytest.mark.parametrize("name", ["epr", "self_certainty"])
def test_one_alternative_for_each_token_is_not_certainty(name):
    with pytest.raises(EvidenceError, match="at least 2"):
        estimate(["a"], greedy={"text": "a", "top_logprobs": [[-3.0], [-2.0]]}, estimator=name)


def test_self_certainty_of_a_token_without_a_second_probability_is_an_error():
    with pytest.raises(EvidenceError, match="token 1 of response 0"):
        estimate(["a"], top_logprobs=[[[-0.1, -2.0], [0.0, -math.inf]]], estimator="self_certainty")


def test_a_greedy_sample_with_an_impossible_number_is_an_error_that_names_it():
    with pytest.raises(EvidenceError, match="greedy: logprobs hold nan"):
        estimate(["a"], greedy=Sample("a", (math.nan,)), estimator="perplexity")


@pytest.mark.parametrize("k", [1, 0, 2.5])
def test_an_impossible_number_of_alternatives_is_an_error(k):
    with pytest.raises(OptionError, match="must be"):
        load_estimator("epr", k=k)
    assert load_estimator("epr", k=10).describe() == "epr(k=10)"


def test_log_probabilities_that_are_rounded_above_0_give_no_probability_above_1():
    found = estimate(["a"], logprobs=[[0.0005]], estimator=["perplexity", "min_probability"]).scores
    assert found == {"perplexity": 1.0, "min_probability": 1.0}

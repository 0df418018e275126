"""Shifting attention to relevance: the numbers of lm-polygraph 0.7.0, very small probabilities, limits."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import estimate
from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.estimators.relevance import SAR, SentenceSAR, TokenSAR
from semantic_entropy.testing import check_estimator
from semantic_entropy.types import Evidence
from tests.shared_data import golden


def evidence_of(case):
    def rows(name):
        return tuple(map(tuple, case[name]))

    return Evidence(
        tuple(range(len(case["responses"]))),
        rows("token_logprobs"),
        similarity=rows("sentence_similarity"),
        token_similarity=rows("token_similarity"),
    )


@pytest.mark.parametrize(("estimator", "name"), [(SAR(), "SAR"), (SentenceSAR(), "SentenceSAR")])
def test_lm_polygraph_is_matched(estimator, name):
    every = {case["id"]: case for case in golden("cases.json")}
    for expected in golden("expected_lm_polygraph.json")["results"]:
        found = estimator.estimate(evidence_of(every[expected["id"]])).value
        assert found == pytest.approx(expected[name], abs=1e-9, rel=0)


# TokenSAR of lm-polygraph 0.7.0 on the first response of golden cases, by their id
TOKEN_SAR = {0: 0.2907433220524241, 1: 0.18011609697497655, 7: 0.7531078298524613, 36: 0.2606407562481363}


def test_token_sar_of_one_response_is_that_of_lm_polygraph():
    every = {case["id"]: case for case in golden("cases.json")}
    for number, expected in TOKEN_SAR.items():
        case = every[number]
        one = Evidence(
            (0,), (tuple(case["token_logprobs"][0]),), token_similarity=(tuple(case["token_similarity"][0]),)
        )
        assert TokenSAR().estimate(one).value == pytest.approx(expected, abs=1e-9, rel=0)


def test_irrelevant_tokens_count_the_same():
    one = Evidence((0,), ((-1.0, -3.0),), token_similarity=((1.0, 1.0),))
    assert TokenSAR().estimate(one).value == 2.0


def test_log_likelihoods_of_minus_800_are_ordinary_numbers():
    """Shifting all log-likelihoods by 800 shifts the value by 800."""
    matrix = ((1.0, 0.5), (0.5, 1.0))
    near = SentenceSAR().estimate(Evidence((0, 1), ((-1.0,), (-2.0,)), similarity=matrix)).value
    far = SentenceSAR().estimate(Evidence((0, 1), ((-801.0,), (-802.0,)), similarity=matrix)).value
    assert far == pytest.approx(near + 800)


@given(st.lists(st.floats(-900, 0), min_size=1, max_size=6))
def test_without_similar_responses_sentence_sar_is_the_mean_of_minus_the_log_probability(logprobs):
    n = len(logprobs)
    matrix = tuple(tuple(float(i == j) for j in range(n)) for i in range(n))
    found = SentenceSAR().estimate(Evidence(tuple(range(n)), tuple((each,) for each in logprobs), similarity=matrix))
    assert found.value == pytest.approx(-sum(logprobs) / n, abs=1e-9)


def test_one_response_has_its_own_value():
    result = estimate(
        ["a b"],
        logprobs=[[-1.0, -3.0]],
        token_similarity=[[0.5, 1.0]],
        equivalence="exact",
        estimator=["sar", "sentence_sar", "token_sar"],
    )
    assert result.scores == {"sar": 1.0, "sentence_sar": 4.0, "token_sar": 1.0}


def test_missing_evidence_is_an_error_that_names_it():
    with pytest.raises(EvidenceError, match="'sar' needs token_similarity"):
        estimate(["a", "b"], logprobs=[[-1.0], [-1.0]], equivalence="exact", estimator="sar")
    with pytest.raises(EvidenceError, match="'sentence_sar' needs logprobs"):
        estimate(["a", "b"], equivalence="exact", estimator="sentence_sar")


@pytest.mark.parametrize("estimator", [SAR(), TokenSAR()])
def test_a_similarity_for_each_token_is_needed(estimator):
    evidence = Evidence((0,), ((-1.0, -2.0),), similarity=((1.0,),), token_similarity=((0.5,),))
    with pytest.raises(EvidenceError, match="response 0 has 2 logprobs and 1 token_similarity"):
        estimator.check(evidence)


def test_a_temperature_is_positive_and_described():
    with pytest.raises(InputError, match="temperature=0.0"):
        SentenceSAR(temperature=0.0)
    assert SAR(temperature=0.1).describe() == "sar(temperature=0.1)"


def test_a_high_temperature_ignores_the_other_responses():
    evidence = Evidence((0, 1), ((-1.0,), (-2.0,)), similarity=((1.0, 1.0), (1.0, 1.0)))
    assert SentenceSAR(temperature=1e12).estimate(evidence).value == pytest.approx(1.5)
    assert SentenceSAR(temperature=1.0).estimate(evidence).value == pytest.approx(
        -math.log(math.exp(-1) + math.exp(-2))
    )


@pytest.mark.parametrize("estimator", [SAR(), SentenceSAR(), TokenSAR()], ids=lambda each: each.name)
def test_the_estimators_keep_their_contract(estimator):
    check_estimator(estimator)

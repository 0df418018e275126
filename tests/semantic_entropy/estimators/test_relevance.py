"""Shifting attention to relevance: the numbers of lm-polygraph 0.7.0, very small probabilities, limits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import estimate
from semantic_entropy.clusters import evidence_of_samples
from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.estimators.relevance import SAR, SentenceSAR, TokenSAR
from semantic_entropy.testing import check_estimator
from semantic_entropy.types import Evidence, Sample
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


def test_the_similarities_of_tokens_are_computed_as_lm_polygraph_computes_them():
    """lm-polygraph drops each token by `itertools.combinations`, in reverse, and compares with the whole response."""

    def letters(left, right):
        return len(set(left) & set(right)) / len(set(left) | set(right))

    tokens = [["The", " cap", "ital", " is", " Paris", "."], [" Ro", "me", ""], ["Paris"]]
    logprobs = [[-0.5, -1.0, -0.1, -0.2, -3.0, 0.0], [-2.0, -0.5, -0.25], [-1.0]]
    values = []
    for own, ps in zip(tokens, logprobs, strict=True):
        rests = list(itertools.combinations(own, len(own) - 1))[::-1]
        relevance = np.array([1 - letters("".join(own), "".join(rest)) for rest in rests])
        values.append((-np.array(ps) * relevance / relevance.sum()).sum())
    responses = ["The capital is Paris.", "Rome", "Paris"]
    found = estimate(
        responses, logprobs=logprobs, tokens=tokens, similarity=letters, equivalence="exact", estimator="token_sar"
    )
    assert found.scores["token_sar"] == pytest.approx(np.mean(values))
    assert found.provenance.similarity == "letters"


def test_sar_compares_tokens_and_responses_with_one_similarity():
    tokens, logprobs = [["It is", " Rome"], ["Rome"]], [[-1.0, -2.0], [-0.5]]
    given = {"logprobs": logprobs, "equivalence": "exact", "estimator": ["sar", "token_sar"]}
    computed = estimate(["It is Rome", "Rome"], tokens=tokens, **given)
    by_hand = estimate(["It is Rome", "Rome"], token_similarity=[[1 / 3, 2 / 3], [0.0]], **given)
    assert computed.scores == pytest.approx(by_hand.scores)


def test_given_similarities_of_tokens_are_not_computed():
    def never(left, right):
        raise AssertionError

    given = {"tokens": [["a", " b"], ["c"]], "token_similarity": [[0.5, 1.0], [0.0]], "similarity": never}
    found = estimate(["a b", "c"], logprobs=[[-1, -3], [-1]], equivalence="exact", estimator="token_sar", **given)
    assert found.scores["token_sar"] == 1.0
    assert found.provenance.similarity == "given"


def test_a_token_without_text_is_not_relevant():
    given = {"logprobs": [[-1.0, -9.0]], "tokens": [["Rome", ""]]}
    assert estimate(["Rome"], equivalence="exact", estimator="token_sar", **given).scores["token_sar"] == 1.0


def test_rows_and_samples_can_have_tokens():
    groups = [["a b", "c"], ["d", "e"]]
    found = estimate(
        groups,
        logprobs=[[[-1, -3], [-1]], [[-1], [-2]]],
        tokens=[[["a", " b"], ["c"]], [["d"], ["e"]]],
        equivalence="exact",
        estimator="token_sar",
    )
    assert [result.scores["token_sar"] for result in found] == [1.5, 1.5]
    samples = [Sample("a b", (-1.0, -3.0), tokens=("a", " b")), Sample("c", (-1.0,), tokens=("c",))]
    assert evidence_of_samples(samples).tokens == (("a", " b"), ("c",))
    assert evidence_of_samples([*samples, Sample("d", (-1.0,))]) is None


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
    given = {"logprobs": [[-1.0], [-1.0]], "equivalence": "exact"}
    with pytest.raises(EvidenceError, match="'sar' needs token_similarity.*pass tokens=, the text of each token"):
        estimate(["a", "b"], estimator="sar", **given)
    with pytest.raises(EvidenceError, match="similarity= is a matrix, which compares whole responses: pass a name"):
        estimate(["a", "b"], tokens=[["a"], ["b"]], similarity=[[1, 0], [0, 1]], estimator="token_sar", **given)
    with pytest.raises(EvidenceError, match="'token_sar' needs logprobs"):
        estimate(["a", "b"], tokens=[["a"], ["b"]], equivalence="exact", estimator="token_sar")
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


def test_responses_that_are_objects_can_have_tokens():
    objects = [
        {"text": "a b", "logprobs": [-1.0, -3.0], "tokens": ["a", " b"]},
        {"text": "c", "logprobs": [-1.0], "tokens": ["c"]},
    ]
    assert estimate(objects, equivalence="exact", estimator="token_sar").scores["token_sar"] == 1.5

"""Estimators from pairs: the numbers of lm-polygraph 0.7.0, limits, and a second computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import estimate, load_estimator
from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.estimators.counts import Discrete
from semantic_entropy.estimators.pairwise import LUQ, SNNE, CoCoA, Lexical, LUQSentences, SemanticDensity, bleu
from semantic_entropy.testing import check_estimator
from semantic_entropy.types import Evidence, Sample
from tests.shared_data import golden

# lm-polygraph 0.7.0 on golden cases, by their id; the first response is the greedy answer:
# CocoaMSP, CocoaPPL, SemanticDensity (without the question). These cases have no repeated response: of a repeated one
# lm-polygraph takes the log-probabilities of the first, so that its value depends on the order
OF_ONE_ANSWER = {
    0: (0.1793905570413333, 0.03587811140826666, -0.9496709696198897),
    7: (0.451441044147, 0.07524017402449999, -0.7461343644659211),
    10: (0.011131853499000002, 0.011131853499000002, -0.6754133508332657),
    31: (3.0842062923943994, 0.6168412584788799, -0.6509818289283938),
    37: (0.035267493771999996, 0.017633746885999998, -0.7694151187095314),
}


def matrix(values):
    return tuple(map(tuple, np.asarray(values).tolist()))


def similar(values):
    return Evidence(tuple(range(len(values))), similarity=matrix(values))


def rows_of(case, name):
    return tuple(map(tuple, case[name]))


def cases_of_lm_polygraph():
    every = {case["id"]: case for case in golden("cases.json")}
    return [(every[row["id"]], row) for row in golden("expected_lm_polygraph.json")["results"]]


def test_luq_of_lm_polygraph_is_matched():
    """Its similarity is the softmax of the logits of entailment and contradiction."""
    for case, expected in cases_of_lm_polygraph():
        logits = np.array(case["nli_logits"])
        found = LUQ().estimate(similar(1 / (1 + np.exp(logits[..., 0] - logits[..., 2])))).value
        assert found == pytest.approx(expected["LUQ"], abs=1e-9, rel=0)


def test_luq_with_sentences_is_that_of_the_paper():
    """C(r_i) = mean over the other responses of S(r_i, r'), S the mean over the sentences of r_i; U = mean (1 - C)."""
    pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")
    sentences = [["Paris is the capital.", "It has 2.1 million people."], ["Paris is old."], ["It is Lyon.", "Yes."]]

    def entails(premise, hypothesis):
        return (len(premise) * 7 + len(hypothesis) * 3) % 11 / 10

    responses = [" ".join(own) for own in sentences]
    consistencies = []
    for i, own in enumerate(sentences):
        others = [response for j, response in enumerate(responses) if j != i]
        support = [np.mean([entails(other, sentence) for sentence in own]) for other in others]
        consistencies.append(np.mean(support))
    result = estimate(responses, similarity=entails, equivalence="exact", estimator=["luq_sentences"])
    assert result.scores["luq_sentences"] == pytest.approx(1 - np.mean(consistencies))
    assert result.provenance.similarity == "entails"


def test_luq_of_single_sentences_needs_no_sentences_but_the_other_direction():
    """`luq` reads the similarity of response i to response j; LUQ takes the other response as the premise."""
    pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")

    def longer(left, right):
        return float(len(left) > len(right))

    found = estimate(["a", "bb", "ccc"], similarity=longer, equivalence="exact", estimator=["luq", "luq_sentences"])
    assert found.scores["luq"] == found.scores["luq_sentences"] == pytest.approx(0.5)  # the mean of both directions


def test_sentence_support_can_be_given_and_a_matrix_of_responses_is_not_enough():
    given = {"equivalence": "exact", "estimator": LUQSentences()}
    assert estimate(["a", "b"], sentence_support=[[1, 0.5], [0, 1]], **given).scores["luq_sentences"] == 0.75
    with pytest.raises(EvidenceError, match="needs sentence_support, and similarity= is a matrix"):
        estimate(["a", "b"], similarity=[[1, 0], [0, 1]], **given)
    with pytest.raises(EvidenceError, match="sentence_support has 3 entries for 2 responses"):
        estimate(["a", "b"], sentence_support=[[1, 0, 0]] * 3, **given)


@pytest.mark.parametrize(("metric", "name"), [("rougeL", "rougeL"), ("rouge1", "rouge1")])
def test_lexical_similarity_of_lm_polygraph_is_matched(metric, name):
    pytest.importorskip("rouge_score", reason="the extra `lexical` is not installed")
    for case, expected in cases_of_lm_polygraph():
        evidence = Evidence(tuple(range(len(case["responses"]))), texts=tuple(case["responses"]))
        found = Lexical(metric).estimate(evidence).value
        assert found == pytest.approx(-expected[f"LexicalSimilarity_{name}"], abs=1e-9, rel=0)


def test_bleu_is_the_mean_of_the_number_of_lm_polygraph_in_both_directions():
    """lm-polygraph takes the earlier response as reference, so that its value depends on their order."""
    pytest.importorskip("nltk", reason="the extra `lexical` is not installed")
    for case, expected in cases_of_lm_polygraph():
        texts = tuple(case["responses"])
        pairs = [(a, b) for i, a in enumerate(texts) for b in texts[i + 1 :]]
        there = np.mean([bleu(a, b) for a, b in pairs])
        assert there == pytest.approx(-expected["LexicalSimilarity_BLEU"], abs=1e-9, rel=0)
        back = np.mean([bleu(b, a) for a, b in pairs])
        found = Lexical("bleu").estimate(Evidence(tuple(range(len(texts))), texts=texts)).value
        assert found == pytest.approx((there + back) / 2, abs=1e-12)


@pytest.mark.parametrize("metric", ["rougeL", "rouge2", "bleu"])
def test_lexical_similarity_of_repeated_empty_and_single_responses(metric):
    pytest.importorskip("rouge_score", reason="the extra `lexical` is not installed")
    lexical = Lexical(metric)
    text = "the capital of France is Paris"
    assert lexical.estimate(Evidence((0, 0), texts=(text, text))).value == pytest.approx(1.0)
    assert lexical.estimate(Evidence((0, 1), texts=("", ""))).value == 0.0
    assert math.isnan(lexical.estimate(Evidence((0,), texts=(text,))).value)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_snne_at_a_low_temperature_is_the_discrete_entropy(labels):
    """The theorem of the paper: with similarities of 0 and 1, up to ln n and 1 / temperature."""
    same = [[float(a == b) for b in labels] for a in labels]
    names = tuple(sorted(set(labels)).index(label) for label in labels)
    expected = Discrete().estimate(Evidence(names)).value
    found = SNNE(temperature=0.01).estimate(similar(same)).value
    assert found + math.log(len(labels)) + 100 == pytest.approx(expected, abs=1e-9)


def test_snne_is_minus_the_mean_log_of_the_soft_neighbours():
    values = np.array([[1.0, 0.3, 0.8], [0.2, 1.0, 0.4], [0.8, 0.4, 1.0]])
    for temperature in (1.0, 0.2):
        expected = -np.log(np.exp(values / temperature).sum(axis=1)).mean()
        assert SNNE(temperature).estimate(similar(values)).value == pytest.approx(expected)
    assert math.isfinite(SNNE(temperature=1e-4).estimate(similar(values)).value)


def test_cocoa_and_semantic_density_of_lm_polygraph_are_matched():
    every = {case["id"]: case for case in golden("cases.json")}
    for number, (msp, ppl, density) in OF_ONE_ANSWER.items():
        case = every[number]
        logprobs, similarity = rows_of(case, "token_logprobs"), rows_of(case, "sentence_similarity")
        greedy = Sample(case["responses"][0], logprobs=logprobs[0])
        evidence = Evidence(
            tuple(range(len(logprobs))), logprobs, similarity=similarity, greedy=greedy, greedy_similarity=similarity[0]
        )
        assert CoCoA("msp").estimate(evidence).value == pytest.approx(msp, abs=1e-9, rel=0)
        assert CoCoA().estimate(evidence).value == pytest.approx(ppl, abs=1e-9, rel=0)
        assert semantic_density_of(case, greedy) == pytest.approx(-density, abs=1e-9, rel=0)


def semantic_density_of(case, greedy):
    """lm-polygraph counts the greedy answer as a sample with the similarity 1."""
    logits = np.array(case["nli_logits"])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    kernel = probabilities[..., 2] + probabilities[..., 1] / 2
    texts = case["responses"]
    for i, text in enumerate(texts):
        kernel[i, [j for j, other in enumerate(texts) if other == text]] = 1.0
    evidence = Evidence(
        tuple(range(len(texts))),
        rows_of(case, "token_logprobs"),
        responses=tuple(texts),
        similarity=matrix(kernel),
        greedy=greedy,
        greedy_similarity=tuple(kernel[0].tolist()),
    )
    return SemanticDensity().estimate(evidence).value


def test_cocoa_without_a_greedy_answer_is_the_mean_over_the_responses():
    values = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 1.0]])
    logprobs = ((-1.0,), (-2.0, -4.0), (-0.5,))
    evidence = Evidence((0, 1, 2), logprobs, similarity=matrix(values), token_entropies=((2.0,), (1.0, 3.0), (0.0,)))
    dissimilar = [1 - (row.sum() - 1) / 2 for row in values]
    assert CoCoA().estimate(evidence).value == pytest.approx(np.mean(np.array([1, 3, 0.5]) * dissimilar))
    assert CoCoA("msp").estimate(evidence).value == pytest.approx(np.mean(np.array([1, 6, 0.5]) * dissimilar))
    assert CoCoA("mte").estimate(evidence).value == pytest.approx(np.mean(np.array([2, 2, 0]) * dissimilar))


def test_cocoa_compares_the_greedy_answer_with_the_responses():
    result = estimate(
        ["a b", "a c", "a b"],
        equivalence="exact",
        estimator="cocoa",
        greedy={"text": "a b", "logprobs": [-1.0, -2.0]},
    )
    assert result.scores["cocoa"] == pytest.approx(1.5 * (0 + 2 / 3 + 0) / 3)


def test_missing_evidence_of_the_answer_is_an_error_that_says_what_to_pass():
    with pytest.raises(EvidenceError, match=r"needs logprobs of the greedy answer 'a'.*pass greedy="):
        estimate(["a", "b"], equivalence="exact", estimator="cocoa", greedy={"text": "a"})
    with pytest.raises(EvidenceError, match=r"there are none: pass greedy=.* or logprobs="):
        estimate(["a", "b"], equivalence="exact", estimator="cocoa")
    for name in ("cocoa", "semantic_density"):
        with pytest.raises(EvidenceError, match=r"similarity of the greedy answer 'c'.*\(G \+ 1, G \+ 1\)"):
            estimate(
                ["a", "b"],
                logprobs=[[-1.0], [-1.0]],
                equivalence="exact",
                estimator=name,
                similarity=[[1.0, 0.0], [0.0, 1.0]],
                greedy={"text": "c", "logprobs": [-1.0]},
            )


def test_semantic_density_counts_a_repeated_response_once():
    def density(responses, logprobs, row):
        n = len(responses)
        evidence = Evidence(
            (0,) * n,
            tuple(logprobs),
            responses=tuple(responses),
            similarity=matrix(np.ones((n, n))),
            greedy=Sample("c"),
            greedy_similarity=tuple(row),
        )
        return SemanticDensity().estimate(evidence).value

    once = density(["a", "b"], [(-1.0,), (-2.0,)], [0.9, 0.1])
    assert density(["a", "b", "a", "a"], [(-1.0,), (-2.0,), (-1.0,), (-1.0,)], [0.9, 0.1, 0.9, 0.9]) == pytest.approx(
        once
    )
    assert once == pytest.approx((0.9 * math.e + 0.1) / (math.e + 1))
    assert density(["a", "b"], [(-801.0,), (-802.0,)], [0.9, 0.1]) == pytest.approx(once)


def test_semantic_density_without_a_greedy_answer_is_the_mean_over_the_responses():
    evidence = Evidence((0, 1), ((-1.0,), (-1.0,)), responses=("a", "b"), similarity=((1.0, 0.5), (0.5, 1.0)))
    assert SemanticDensity().estimate(evidence).value == pytest.approx(0.75)


@st.composite
def evidences(draw):
    n = draw(st.integers(2, 6))
    values = st.floats(0, 1)
    logprobs = tuple((draw(st.floats(-900, 0)),) for _ in range(n))
    texts = tuple(draw(st.sampled_from(["a", "b", "c d"])) for _ in range(n))
    rows = tuple(tuple(1.0 if i == j else draw(values) for j in range(n)) for i in range(n))
    return Evidence(tuple(range(n)), logprobs, responses=texts, texts=texts, similarity=rows)


@given(evidences())
def test_scores_of_any_evidence_are_in_their_bounds(evidence):
    n = len(evidence.labels)
    assert 0 <= LUQ().estimate(evidence).value <= 1
    assert 0 <= SemanticDensity().estimate(evidence).value <= 1 + 1e-9
    assert -1 - math.log(n) - 1e-9 <= SNNE().estimate(evidence).value <= -math.log(math.e + n - 1) + 1e-9
    assert CoCoA().estimate(evidence).value >= 0


def test_one_response_has_no_mean_over_others():
    result = estimate(
        ["yes"],
        logprobs=[[-1.0]],
        equivalence="exact",
        estimator=["luq", "cocoa", "snne", "semantic_density"],
    )
    assert math.isnan(result.scores["luq"])
    assert math.isnan(result.scores["cocoa"])
    assert (result.scores["snne"], result.scores["semantic_density"]) == (-1.0, 1.0)
    assert result.to_dict()["scores"]["luq"] is None


def test_empty_responses_agree_with_none():
    result = estimate(["", "", " "], equivalence="exact", estimator="luq")
    assert result.scores["luq"] == 1.0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("snne", {"temperature": 0.0}, "temperature=0.0"),
        ("lexical", {"metric": "meteor"}, "metric='meteor'.*rougeL"),
        ("cocoa", {"uncertainty": "entropy"}, "uncertainty='entropy'.*ppl, msp, mte"),
    ],
)
def test_an_option_out_of_range_is_an_error_with_its_value(name, options, message):
    if name == "lexical":
        pytest.importorskip("rouge_score", reason="the extra `lexical` is not installed")
    with pytest.raises(InputError, match=message):
        load_estimator(name, **options)


def test_descriptions_have_the_options_that_are_not_the_default():
    assert [SNNE().describe(), SNNE(0.1).describe()] == ["snne", "snne(temperature=0.1)"]
    assert CoCoA("mte").describe() == "cocoa(uncertainty=mte)"


@pytest.mark.parametrize(
    "estimator",
    [LUQ(), SNNE(), SemanticDensity(), CoCoA(), CoCoA("msp"), CoCoA("mte")],
    ids=lambda each: each.describe(),
)
def test_the_estimators_keep_their_contract(estimator):
    check_estimator(estimator)


@pytest.mark.parametrize("metric", ["rougeL", "bleu"])
def test_lexical_keeps_its_contract(metric):
    pytest.importorskip("rouge_score", reason="the extra `lexical` is not installed")
    check_estimator(Lexical(metric))

"""Estimators from eigenvalues: the numbers of lm-polygraph 0.7.0 and UQ-NLG, closed forms, and bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import estimate, load_estimator
from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.estimators.spectral import DUE, KLE, Deg, Ecc, EigenScore, EigV
from semantic_entropy.testing import check_estimator
from semantic_entropy.types import Evidence
from tests.shared_data import golden

SINGLE_PRECISION = 5e-6  # UQ-NLG computes in float32; its values are up to 10


def softmax(logits, temperature=1.0):
    scaled = np.exp((np.asarray(logits) - np.max(logits, axis=-1, keepdims=True)) / temperature)
    return scaled / scaled.sum(axis=-1, keepdims=True)


def jaccard_matrix(texts):
    words = [set(text.lower().split()) for text in texts]
    return np.array([[len(a & b) / len(a | b) for b in words] for a in words])


def value(estimator, similarity):
    matrix = tuple(map(tuple, np.asarray(similarity).tolist()))
    return estimator.estimate(Evidence(tuple(range(len(matrix))), similarity=matrix)).value


def cases(expected):
    every = {case["id"]: case for case in golden("cases.json")}
    return [(every[row["id"]], row) for row in expected]


@pytest.mark.parametrize("affinity", ["NLI_score_entail", "NLI_score_contra", "Jaccard_score"])
@pytest.mark.parametrize(
    ("estimator", "name"), [(EigV(), "EigValLaplacian"), (Deg(), "DegMat"), (Ecc(), "Eccentricity")]
)
def test_the_graph_scores_of_lm_polygraph_are_matched(estimator, name, affinity):
    """Its NLI matrices have P(entailment) of a text and itself on the diagonal."""
    for case, expected in cases(golden("expected_lm_polygraph.json")["results"]):
        probabilities = softmax(case["nli_logits"])
        matrix = {
            "NLI_score_entail": probabilities[..., 2],
            "NLI_score_contra": 1 - probabilities[..., 0],
            "Jaccard_score": jaccard_matrix(case["responses"]),
        }[affinity]
        assert value(estimator, matrix) == pytest.approx(expected[f"{name}_{affinity}"], abs=1e-9, rel=0)


def test_the_kernel_language_entropy_of_lm_polygraph_is_matched():
    for case, expected in cases(golden("expected_lm_polygraph.json")["results"]):
        probabilities = softmax(case["nli_logits"])
        similarity = probabilities[..., 2] + probabilities[..., 1] / 2
        assert value(KLE(), similarity) == pytest.approx(expected["KernelLanguageEntropy"], abs=1e-9, rel=0)


@pytest.mark.parametrize("affinity", ["agreement_w", "disagreement_w", "jaccard"])
@pytest.mark.parametrize(
    ("estimator", "name"), [(EigV(), "eigv_clip"), (Deg(divisor="n"), "degree"), (Ecc(), "eccentricity")]
)
def test_the_graph_scores_of_uq_nlg_are_matched(estimator, name, affinity):
    """Its NLI has the temperature 3, and the similarity of a text and itself is 1."""
    tolerance = 1e-9 if affinity == "jaccard" else SINGLE_PRECISION
    for case, expected in cases(golden("expected_uqnlg_lin.json")):
        probabilities = softmax(case["nli_logits"], temperature=3)
        matrix = {
            "agreement_w": probabilities[..., 2],
            "disagreement_w": 1 - probabilities[..., 0],
            "jaccard": jaccard_matrix(case["responses"]),
        }[affinity]
        np.fill_diagonal(matrix, 1.0)
        assert value(estimator, matrix) == pytest.approx(expected[f"{name}|{affinity}"], abs=tolerance, rel=0)


def test_the_eigenscore_of_lm_polygraph_is_matched():
    for case, expected in cases(golden("expected_lm_polygraph.json")["results"]):
        vectors = tuple(map(tuple, case["embeddings"]))
        found = EigenScore().estimate(Evidence(tuple(range(len(vectors))), embeddings=vectors)).value
        assert found == pytest.approx(expected["EigenScore"], abs=1e-9, rel=0)


def test_jaccard_through_estimate_gives_the_same_number():
    for case, expected in cases(golden("expected_lm_polygraph.json")["results"][:3]):
        result = estimate(case["responses"], equivalence="exact", estimator=["eigv", "deg", "ecc", "kle"])
        assert result.scores["eigv"] == pytest.approx(expected["EigValLaplacian_Jaccard_score"], abs=1e-9)
        assert result.scores["deg"] == pytest.approx(expected["DegMat_Jaccard_score"], abs=1e-9)


def blocks(labels):
    return [[float(a == b) for b in labels] for a in labels]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_clusters_without_doubt_have_closed_forms(labels):
    """Cliques of sizes n_c: M eigenvalues of 1, and no heat between cliques."""
    n, sizes = len(labels), [labels.count(label) for label in set(labels)]
    assert value(EigV(), blocks(labels)) == pytest.approx(len(sizes))
    assert value(Deg(), blocks(labels)) == pytest.approx(1 - sum(size**2 for size in sizes) / n**2)
    assert value(Ecc(), blocks(labels)) == pytest.approx(math.sqrt(len(sizes) - 1), abs=1e-7)
    if len(sizes) == n > 1:
        assert value(KLE(), blocks(labels)) == pytest.approx(1.0)


def test_the_heat_of_two_responses_has_its_closed_form():
    """W = 2 s off the diagonal: the kernel is [[1 + e, 1 - e], [1 - e, 1 + e]] / 2 with e = exp(-4 s t)."""
    for similarity, t in [(0.5, 0.3), (0.9, 0.3), (0.2, 1.0)]:
        decay = math.exp(-4 * similarity * t)
        share = 1 / (1 + decay)  # of the larger eigenvalue, after the diagonal is scaled to 1 / 2
        entropy = -(share * math.log(share) + (1 - share) * math.log(1 - share))
        matrix = [[1.0, similarity], [similarity, 1.0]]
        assert value(KLE(t=t, normalized=False), matrix) == pytest.approx(entropy)
        assert value(KLE(t=t), matrix) == pytest.approx(entropy / math.log(2))


@pytest.mark.parametrize(("nu", "kappa"), [(1.0, 1.0), (2.0, 1.0), (0.5, 3.0), (3.0, 2.0)])
def test_the_matern_kernel_is_that_of_scipy_matrix_functions(nu, kappa):
    """As the code of the paper: a fractional matrix power of 2 nu / kappa^2 I + L, then -tr(K log K) / ln G."""
    for case, _ in cases(golden("expected_lm_polygraph.json")["results"]):
        probabilities = softmax(case["nli_logits"])
        similarity = probabilities[..., 2] + probabilities[..., 1] / 2
        weights = similarity + similarity.T
        n = len(weights)
        shifted = 2 * nu / kappa**2 * np.eye(n) + np.diag(weights.sum(axis=0)) - weights
        kernel = scipy.linalg.fractional_matrix_power(shifted, -nu)
        density = kernel / np.sqrt(np.outer(np.diag(kernel), np.diag(kernel))) / n
        entropy = -np.trace(density @ scipy.linalg.logm(density)) / math.log(n)
        found = value(KLE(kernel="matern", nu=nu, kappa=kappa), similarity)
        assert found == pytest.approx(entropy, abs=1e-9, rel=0)


def test_a_smooth_matern_kernel_is_the_heat_kernel():
    matrix = [[1.0, 0.5, 0.1], [0.4, 1.0, 0.2], [0.0, 0.3, 1.0]]
    smooth = KLE(kernel="matern", nu=1e7, kappa=math.sqrt(2 * 0.3))
    assert value(smooth, matrix) == pytest.approx(value(KLE(t=0.3), matrix), abs=1e-6)


@pytest.mark.parametrize("options", [{"nu": 1e9, "kappa": 1e9}, {"nu": 1e-9}, {"kappa": 1e-9}, {"kappa": 1e9}])
def test_a_matern_kernel_with_any_options_has_an_entropy(options):
    found = value(KLE(kernel="matern", **options), [[1.0, 0.5], [0.5, 1.0]])
    assert 0 <= found <= 1


def test_directed_uncertainty_is_that_of_the_random_walk_laplacian():
    """As TruthTorchLM: sum max(0, 1 - l_k) over the real parts of the eigenvalues of I - D^-1 S."""
    for case, _ in cases(golden("expected_lm_polygraph.json")["results"]):
        entailment = softmax(case["nli_logits"])[..., 2]
        np.fill_diagonal(entailment, 1.0)
        laplacian = np.eye(len(entailment)) - np.diag(1 / entailment.sum(axis=1)) @ entailment
        expected = sum(max(0.0, 1 - each.real) for each in scipy.linalg.eigvals(laplacian))
        assert value(DUE(), entailment) == pytest.approx(expected, abs=1e-9, rel=0)


@given(st.floats(0, 1), st.floats(0, 1))
def test_directed_uncertainty_of_two_responses_has_its_closed_form(there, back):
    """The eigenvalues of the walk are 1 and its trace - 1."""
    second = 1 / (1 + there) + 1 / (1 + back) - 1
    assert value(DUE(), [[1.0, there], [back, 1.0]]) == pytest.approx(1 + max(0.0, second), abs=1e-7)


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_directed_uncertainty_of_a_symmetric_similarity_is_eigv(values):
    matrix = np.eye(4)
    matrix[np.triu_indices(4, 1)] = values
    matrix = np.maximum(matrix, matrix.T)
    assert value(DUE(), matrix) == pytest.approx(value(EigV(), matrix), abs=1e-6)


@st.composite
def similarities(draw):
    n = draw(st.integers(1, 6))
    values = st.floats(0, 1)
    return [[1.0 if i == j else draw(values) for j in range(n)] for i in range(n)]


@given(similarities())
def test_scores_of_any_similarities_are_in_their_bounds(matrix):
    n = len(matrix)
    assert 1 - 1e-9 <= value(EigV(), matrix) <= n + 1e-9
    assert 1 - 1e-6 <= value(DUE(), matrix) <= n + 1e-6
    assert 0 <= value(Deg(), matrix) <= 1 - 1 / n + 1e-9
    assert 0 <= value(Ecc(), matrix) <= math.sqrt(n)
    if n > 1:
        assert 0 <= value(KLE(), matrix) <= 1
        assert 0 <= value(KLE(kernel="matern"), matrix) <= 1


def test_one_response_has_one_cluster_and_no_normalised_kernel_entropy():
    assert [value(each, [[1.0]]) for each in (EigV(), Deg(), Ecc(), DUE())] == [1.0, 0.0, 0.0, 1.0]
    assert value(KLE(normalized=False), [[1.0]]) == value(KLE(kernel="matern", normalized=False), [[1.0]]) == 0.0
    assert math.isnan(value(KLE(), [[1.0]]))
    result = estimate(["yes"], equivalence="exact", estimator=["kle", "eigv"])
    assert math.isnan(result.scores["kle"])
    assert result.scores["eigv"] == 1.0


def test_empty_responses_agree_with_none_and_have_the_largest_uncertainty():
    result = estimate(["", " ", ""], equivalence="exact", estimator=["eigv", "deg", "kle"])
    assert result.scores == pytest.approx({"eigv": 3.0, "deg": 2 / 3, "kle": 1.0})


def test_repeated_responses_count_as_often_as_they_occur():
    twice = estimate(["a", "a", "b"], equivalence="exact", estimator="deg").scores["deg"]
    assert twice == pytest.approx(4 / 9)


def test_equal_vectors_have_the_smallest_eigenscore():
    vectors = ((1.0, 2.0, 3.0),) * 4
    expected = (math.log(4 * 2 + 1e-3) + 3 * math.log(1e-3)) / 4
    assert EigenScore().estimate(Evidence((0,) * 4, embeddings=vectors)).value == pytest.approx(expected)


def test_eigenscore_reads_the_hidden_states_first_and_the_chosen_vectors():
    evidence = Evidence((0, 1), embeddings=((1.0, 0.0), (0.0, 1.0)), hidden_state=((3.0, 0.0), (0.0, 1.0)))
    assert EigenScore().estimate(evidence) == EigenScore(vectors="hidden_state").estimate(evidence)
    assert EigenScore().estimate(evidence) != EigenScore(vectors="embeddings").estimate(evidence)
    with pytest.raises(EvidenceError, match=r"hidden_state or embeddings.*pass hidden_state="):
        estimate(["a", "b"], equivalence="exact", estimator="eigenscore")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("deg", {"divisor": "m"}, "divisor='m'"),
        ("ecc", {"threshold": 0.0}, r"threshold=0.0.*\(0, 2\]"),
        ("kle", {"t": -1.0}, "t=-1.0"),
        ("kle", {"kernel": "rbf"}, "kernel='rbf'"),
        ("kle", {"kernel": "matern", "nu": 0.0}, "nu=0.0"),
        ("kle", {"kernel": "matern", "kappa": math.inf}, "kappa=inf"),
        ("kle", {"kernel": "matern", "t": 0.5}, "t=0.5 of the estimator 'kle' is for kernel='heat'"),
        ("kle", {"kappa": 2.0}, "kappa=2.0 of the estimator 'kle' is for kernel='matern'"),
        ("eigenscore", {"alpha": 0.0}, "alpha=0.0"),
        ("eigenscore", {"vectors": "logprobs"}, "vectors='logprobs'"),
    ],
)
def test_an_option_out_of_range_is_an_error_with_its_value(name, options, message):
    with pytest.raises(InputError, match=message):
        load_estimator(name, **options)


def test_descriptions_have_the_options_that_are_not_the_default():
    assert [KLE().describe(), KLE(t=0.5).describe()] == ["kle", "kle(t=0.5)"]
    assert KLE(kernel="matern", nu=2.0).describe() == "kle(kernel=matern, nu=2.0)"
    assert Deg(divisor="n").describe() == "deg(divisor=n)"


@pytest.mark.parametrize(
    "estimator",
    [EigV(), Deg(), Ecc(), DUE(), KLE(), KLE(kernel="matern"), EigenScore()],
    ids=lambda each: each.describe(),
)
def test_the_estimators_keep_their_contract(estimator):
    check_estimator(estimator)


@pytest.mark.parametrize(("size", "expected"), [(3, 0.67), (5, 0.42), (10, 0.07)])
def test_kernel_language_entropy_of_equal_responses_falls_with_their_number(size, expected):
    similarity = ((1.0,) * size,) * size
    assert KLE().estimate(Evidence((0,) * size, similarity=similarity)).value == pytest.approx(expected, abs=0.005)

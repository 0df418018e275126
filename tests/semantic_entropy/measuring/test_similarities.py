"""Similarities by name, by function and by judge: the values, the number of comparisons, and wrong values."""

from __future__ import annotations

import pytest

from semantic_entropy import Equivalence, EquivalenceError, InputError, Scorer, UnknownComponentError, Verdict, estimate
from semantic_entropy.measuring import similarities
from semantic_entropy.measuring.similarities import Similarity, jaccard, with_similarities
from semantic_entropy.plugin import EntropyEstimator, Estimate
from semantic_entropy.types import Group, Pair


class Matrix(EntropyEstimator):
    """Keeps the similarities that it gets."""

    name = "matrix"
    requires = frozenset({"similarity"})
    uses = frozenset({"greedy_similarity"})

    def __init__(self) -> None:
        self.seen = []

    def estimate(self, evidence):
        self.seen.append((evidence.similarity, evidence.greedy_similarity))
        return Estimate(0.0)


def matrices(responses, similarity="jaccard", invalid="separate", **given):
    estimator = Matrix()
    with Scorer("exact", estimator=estimator, similarity=similarity, invalid=invalid) as scorer:
        scorer.estimate(responses, **given)
    return estimator.seen


def test_jaccard_is_the_share_of_common_words():
    assert jaccard("It is Paris", "paris it was") == 0.5
    assert jaccard("a", "b") == 0
    assert jaccard("", "") == 0


def test_the_default_compares_words_and_equal_texts_are_1():
    [(matrix, greedy)] = matrices(["It is Paris", "it was Paris", "It is Paris"], greedy={"text": "Paris"})
    assert matrix == ((1.0, 0.5, 1.0), (0.5, 1.0, 0.5), (1.0, 0.5, 1.0))
    assert greedy == (1 / 3, 1 / 3, 1 / 3)


def test_two_empty_responses_do_not_agree():
    [(matrix, _)] = matrices(["", "", "Paris"])
    assert matrix == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


REFUSAL = "I'm sorry, I can't help with that."


@pytest.mark.parametrize(("invalid", "of_two"), [("separate", 0.0), ("together", 1.0)])
def test_two_refusals_do_not_agree_unless_the_policy_is_together_and_are_not_compared(invalid, of_two):
    def same(left: str, right: str) -> float:
        assert {left, right} == {"Paris", "Rome"}
        return 0.5

    found = matrices([REFUSAL, "Paris", REFUSAL, "Rome"], same, invalid, greedy={"text": "I don't know."})
    assert found[0] == (
        ((1, 0, of_two, 0), (0, 1, 0, 0.5), (of_two, 0, 1, 0), (0, 0.5, 0, 1)),
        (of_two, 0, of_two, 0),
    )


def test_no_score_of_similarities_is_certain_if_all_responses_are_refusals():
    known = {"logprobs": [[-0.5]] * 4, "greedy": {"text": REFUSAL, "logprobs": [-0.5]}}
    names = ["eigv", "deg", "luq", "kle", "cocoa", "semantic_density", "lexical"]
    found = estimate([REFUSAL] * 4, estimator=names, **known).scores
    expected = {"eigv": 4, "deg": 0.75, "luq": 1, "kle": 1, "cocoa": 0.5, "semantic_density": 0, "lexical": 0}
    assert found == pytest.approx(expected)
    assert estimate([REFUSAL] * 2, estimator="lexical", invalid="together").scores["lexical"] == 1


def test_a_function_compares_each_pair_of_distinct_texts_once_for_each_direction():
    asked = []

    def longer(left: str, right: str) -> float:
        asked.append((left, right))
        return float(len(left) > len(right))

    first, second = matrices([["a", "bb", "a"], ["bb", "a"]], longer)
    assert first[0] == ((1.0, 0.0, 1.0), (1.0, 1.0, 1.0), (1.0, 0.0, 1.0))
    assert second[0] == ((1.0, 1.0), (0.0, 1.0))
    assert sorted(asked) == [("a", "bb"), ("bb", "a")]


def test_a_judge_with_scores_is_a_similarity_and_its_own_similarities_have_a_direction():
    class Directed(Equivalence):
        name = "directed"

        def judge(self, pairs):
            return [Verdict(None if "?" in pair.left + pair.right else True, 0.25) for pair in pairs]

    class WithDirection(Directed):
        def similarities(self, pairs):
            return [float(pair.left < pair.right) for pair in pairs]

    from semantic_entropy.measuring.similarities import load_similarity

    pairs = [Pair(None, "a", "b"), Pair(None, "b", "a"), Pair(None, "?", "a")]
    assert list(load_similarity("x", lambda _: Directed()).compare(pairs)) == [0.25, 0.25, 0.0]
    assert list(load_similarity("x", lambda _: WithDirection()).compare(pairs)) == [1.0, 0.0, 1.0]


def test_a_judge_without_scores_gives_1_for_the_same_meaning_and_0_for_another():
    [(matrix, _)] = matrices(["0.5", r"\frac{1}{2}", "2"], "math")
    assert matrix == ((1.0, 1.0, 0.0), (1.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def test_a_judge_that_returns_no_similarity_is_named():
    class NotKnown(Equivalence):
        name = "not_known"

        def judge(self, pairs):
            return [Verdict(True) for _ in pairs]

        def similarities(self, pairs):
            return [None for _ in pairs]

    with pytest.raises(EquivalenceError, match=r"'not_known' has the similarity None for 'a' and 'b': return a number"):
        list(similarities.load_similarity("x", lambda _: NotKnown()).compare([Pair(None, "a", "b")]))


@pytest.mark.parametrize(
    ("similarity", "error", "message"),
    [
        ("jacard", UnknownComponentError, "jacard"),
        (0.5, InputError, "similarity=0.5 is unusable"),
        (lambda _a, _b: 2, InputError, "returned 2 for 'a' and 'b'; return a number in"),
        (lambda _a, _b: None, InputError, "returned None"),
        (lambda _a, _b: float("nan"), InputError, "returned nan"),
        (lambda _a, _b: 1 / 0, InputError, "raised ZeroDivisionError"),
    ],
)
def test_an_unusable_similarity_is_an_error_that_says_why(similarity, error, message):
    with pytest.raises(error) as raised:
        matrices(["a", "b"], similarity)
    assert message in str(raised.value)


def test_options_of_a_similarity_need_the_name_of_a_judge():
    for similarity in ("jaccard", max):
        with pytest.raises(InputError, match=r"similarity_options \(model\) needs the name of a component"):
            Scorer(estimator="deg", similarity=similarity, similarity_options={"model": "x"})


def test_a_matrix_of_the_caller_is_used_and_the_result_says_so():
    estimator = Matrix()
    with Scorer("exact", estimator=estimator) as scorer:
        results = scorer.estimate([["a", "b"], ["a", "b"]], similarity=[[[1, 0.5], [0.5, 1]], None])
    assert [matrix for matrix, _ in estimator.seen] == [((1.0, 0.5), (0.5, 1.0)), ((1.0, 0.0), (0.0, 1.0))]
    assert [result.provenance.similarity for result in results] == ["given", "jaccard"]
    with Scorer("exact") as plain:
        assert plain.estimate(["a", "b"]).provenance.similarity is None


def test_the_pairs_of_many_groups_are_compared_in_parts(monkeypatch):
    sizes = []

    def count(pairs):
        sizes.append(len(pairs))
        return [0.5] * len(pairs)

    monkeypatch.setattr(similarities, "_MOST_PAIRS", 5)
    groups = [Group(("a", "b")), Group(("c", "d", "e")), Group(("f", "f")), Group(("g", "h"))]
    found = with_similarities(groups, [group.responses for group in groups], ["x", *[None] * 3], Similarity("s", count))
    assert sizes == [10, 2]
    assert [len(group.evidence.similarity) for group in found] == [2, 3, 2, 2]
    assert found[0].evidence.greedy_similarity == (0.5, 0.5)
    assert found[2].evidence.similarity == ((1.0, 1.0), (1.0, 1.0))


class Strange(float):
    def __float__(self):
        return "x"


class Unshown:
    def __repr__(self):
        raise ValueError


@pytest.mark.parametrize("value", [10**400, Strange(0.5), Unshown(), "1", None, float("nan"), -0.1])
def test_a_wrong_similarity_is_an_error_of_this_package(value):
    with pytest.raises(InputError, match="return a number in"):
        matrices(["a", "b"], lambda left, right: value)

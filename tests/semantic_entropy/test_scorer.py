"""`estimate` and `Scorer`: results, invalid answers, evidence, batches, and what bad input says."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import (
    BatchResult,
    Equivalence,
    EquivalenceError,
    EvidenceError,
    InputError,
    OptionError,
    Result,
    Scorer,
    SemanticEntropyError,
    UnknownComponentError,
    Verdict,
    aestimate,
    estimate,
    load_equivalence,
    one_call,
    register,
)

FIVE = ["a", "b", "a", "", "a"]  # four valid answers in two meanings, and an invalid one


def h(*shares):
    return -sum(p * math.log(p) for p in shares)


def test_a_result_says_what_was_found():
    result = estimate(["Paris", "It is Paris.", "Rome"], question="Capital of France?", equivalence="text")
    assert result.entropy == pytest.approx(h(2 / 3, 1 / 3))
    assert result.normalized == pytest.approx(h(2 / 3, 1 / 3) / math.log(3))
    assert result.labels == (0, 0, 1)
    assert result.probabilities == pytest.approx((2 / 3, 1 / 3))
    assert [cluster.indices for cluster in result.clusters] == [(0, 1), (2,)]
    assert result.answer == "Paris"
    assert (result.n_valid, result.invalid) == (3, 0)
    assert result.scores == pytest.approx({"discrete": h(2 / 3, 1 / 3), "num_sets": 2, "majority": 2 / 3})
    assert result.warnings == ()
    assert result.provenance.convention == "default"
    assert result.provenance.equivalence == "text"


# n, p, labels and normalized under each policy, for FIVE: the table of docs/explanation/invalid-answers.md
POLICIES = {
    "separate": ((0, 1, 0, 2, 0), (0.6, 0.2, 0.2)),
    "together": ((0, 1, 0, 2, 0), (0.6, 0.2, 0.2)),
    "drop": ((0, 1, 0, -1, 0), (0.75, 0.25)),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_invalid_answers_count_as_the_policy_says(policy):
    labels, shares = POLICIES[policy]
    result = estimate(FIVE, equivalence="exact", invalid=policy)
    assert result.labels == labels
    assert result.probabilities == pytest.approx(shares)
    assert result.entropy == pytest.approx(h(*shares))
    assert result.normalized == pytest.approx(h(*shares) / math.log(4))
    assert (result.n_valid, result.invalid) == (4, 1)
    assert "1 of 5 answers are invalid" in result.warnings[0]


def test_two_empty_answers_do_not_agree_unless_asked_to():
    assert estimate(["", "", "a"], equivalence="exact").labels == (0, 1, 2)
    assert estimate(["", "", "a"], equivalence="exact", invalid="together").labels == (0, 0, 1)
    assert estimate(["", "", "a"], equivalence="exact", invalid="drop").labels == (-1, -1, 0)


def test_the_answer_is_never_an_invalid_cluster():
    result = estimate(["", "", "a"], equivalence="exact", invalid="together")
    assert result.answer == "a"
    assert result.clusters[0].representative is None


def test_with_nothing_left_the_entropy_is_unknown_not_certain():
    result = estimate(["", " "], equivalence="exact", invalid="drop")
    assert math.isnan(result.entropy)
    assert math.isnan(result.normalized)
    assert result.answer is None
    assert result.clusters == ()
    assert json.loads(result.to_json())["entropy"] is None
    assert "0 valid answers" in result.warnings[1]


def test_a_single_response_is_measured_with_a_warning():
    result = estimate(["42"])
    assert result.entropy == 0
    assert math.isnan(result.normalized)
    assert "nothing to compare" in result.warnings[0]


@pytest.mark.parametrize("policy", POLICIES)
def test_refusals_pass_no_threshold(policy):
    for responses in (["I don't know."] * 10, ["I don't know."] * 9 + ["Paris"]):
        result = estimate(responses, invalid=policy)
        assert result.invalid >= 9
        assert math.isnan(result.normalized)
        assert not result.normalized < 0.5  # a threshold decides nothing
        assert json.loads(result.to_json())["normalized"] is None


def test_responses_that_end_in_the_same_place_warn():
    cut = "The capital of France is a city in the north of the country, and its name is"
    assert "may be cut off" in estimate([cut] * 3).warnings[0]
    assert "may be cut off" in estimate([cut, cut + " the", cut]).warnings[0]
    assert estimate([cut + " Paris."] * 3).warnings == ()
    assert estimate(["The capital of France is Paris"] * 3).warnings == ()


@given(st.lists(st.sampled_from(["a", "b", "c", "", " "]), min_size=1, max_size=12), st.sampled_from(list(POLICIES)))
def test_invariants_of_any_group(responses, policy):
    result = estimate(responses, equivalence="exact", invalid=policy)
    assert len(result.labels) == len(responses) == result.n_valid + result.invalid
    kept = [label for label in result.labels if label != -1]
    assert list(dict.fromkeys(kept)) == list(range(len(result.clusters)))  # numbered by first appearance
    if kept:
        assert sum(result.probabilities) == pytest.approx(1)
        assert 0 <= result.entropy <= math.log(len(kept)) + 1e-12
        assert 0 <= result.normalized <= 1 if result.n_valid > 1 else math.isnan(result.normalized)
        assert result.entropy == 0 or len(result.clusters) > 1
    assert json.loads(result.to_json())["labels"] == list(result.labels)


def test_many_groups_go_through_one_run_of_the_judge():
    calls = []

    class Counting(Equivalence):
        def judge(self, pairs):
            calls.append(len(pairs))
            return [Verdict(pair.left == pair.right) for pair in pairs]

    batch = estimate([["a", "b"], ["c", "d", "c"], ["e"]], question=["q1", None, "q3"], equivalence=Counting())
    assert isinstance(batch, BatchResult)
    assert calls == [2]
    assert [result.labels for result in batch] == [(0, 1), (0, 1, 0), (0,)]
    assert batch[1].provenance.asked == 1
    assert batch[:2] == [batch[0], batch[1]]
    assert len(batch.to_dicts()) == 3
    assert "3 groups" in repr(batch)


def test_an_empty_batch_is_an_empty_batch():
    assert len(estimate([["a"]], question=[None])[1:]) == 0


def test_a_scorer_remembers_verdicts_and_a_second_call_asks_nothing():
    with Scorer(lambda a, b: a.lower() == b.lower()) as scorer:
        first = scorer.estimate(["a", "A", "b"]).provenance
        again = scorer.estimate(["A", "b", "a"]).provenance
    assert (first.asked, first.cached) == (2, 0)
    assert (again.asked, again.cached) == (0, 2)


def test_a_closed_scorer_refuses():
    scorer = Scorer("exact")
    scorer.close()
    scorer.close()
    with pytest.raises(SemanticEntropyError, match="closed"):
        scorer.estimate(["a"])


def test_a_scorer_serves_many_threads_at_once():
    results: list[Result] = []
    with Scorer() as scorer:
        groups = [[rf"\boxed{{x+{i}}}", rf"\boxed{{{i}+x}}", rf"\boxed{{x-{i + 1}}}"] for i in range(12)]
        threads = [threading.Thread(target=lambda g=g: results.append(scorer.estimate(g))) for g in groups]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [result.labels for result in results] == [(0, 0, 1)] * 12


def test_aestimate_gives_what_estimate_gives():
    assert asyncio.run(aestimate(["a", "b"], equivalence="exact")) == estimate(["a", "b"], equivalence="exact")


def test_auto_chooses_math_where_the_answers_are_mathematics_and_says_so():
    mathematics = estimate([r"so it is \boxed{\frac{1}{2}}", r"thus \boxed{0.5}"]).provenance
    assert (mathematics.equivalence, mathematics.extract) == ("math", "default of math")
    words = estimate(["Paris in 1900", "paris, 1900"]).provenance
    assert words.equivalence == "text"
    assert "auto" in words.equivalence_reason
    batch = estimate([["1/2", "0.5"], ["one", "two"]])
    assert [result.provenance.equivalence for result in batch] == ["math", "text"]


LOGPROBS = [[-0.1, -0.3], [-0.2], [-2.0, -1.0, -0.6]]


def test_an_estimator_without_probabilities_leaves_the_discrete_entropy():
    result = estimate(["a", "b"], equivalence="exact", estimator="num_sets")
    assert result.scores == {"num_sets": 2.0}
    assert result.entropy == pytest.approx(math.log(2))
    assert result.provenance.estimator == "discrete"


def test_dropped_answers_take_their_logprobs_with_them():
    result = estimate(["a", "", "b"], logprobs=LOGPROBS, equivalence="exact", invalid="drop", estimator="predictive")
    assert result.scores["predictive"] == pytest.approx((0.2 + 1.2) / 2)


def test_undecided_pairs_are_different_counted_and_shown():
    result = estimate(["a", "b", "c"], equivalence=lambda a, b: None)
    assert result.labels == (0, 1, 2)
    assert result.provenance.undecided == 3
    assert "3 pairs undecided, counted as different; the first: 'a' and 'b'" in result.warnings[0]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"responses": "one text"}, InputError, "is a str; pass a list of str"),
        ({"responses": []}, InputError, "responses is empty"),
        ({"responses": ["a", 3]}, InputError, "response 1 is 3, a int; it must be a str"),
        ({"responses": [["a"], []]}, InputError, "group 1: responses is empty"),
        ({"responses": [["a"], "b"]}, InputError, "element 1 is 'b'"),
        ({"responses": None}, InputError, "needs responses"),
        ({"responses": ["a"], "question": 3}, InputError, "question is 3"),
        ({"responses": [["a"], ["b"]], "question": "q"}, InputError, "pass a list with one entry each"),
        ({"responses": [["a"], ["b"]], "question": ["q"]}, InputError, "1 entries for 2 groups"),
        ({"responses": ["a", "b"], "logprobs": [[-1.0]]}, EvidenceError, "response 1 has no log-probabilities"),
        ({"responses": ["a", "b"], "logprobs": [[-1.0], None]}, EvidenceError, "response 1 are missing"),
        ({"responses": ["a", "b"], "logprobs": [[-1.0], []]}, EvidenceError, "response 1 are empty"),
        ({"responses": ["a"], "logprobs": [[0.5]]}, EvidenceError, "hold 0.5"),
        ({"responses": ["a"], "logprobs": [[math.nan]]}, EvidenceError, "hold nan"),
        ({"responses": ["a"], "logprobs": [[-1.7e308, -1.7e308]]}, EvidenceError, "hold -1.7e"),
        ({"responses": ["a"], "logprobs": [[-(10**400)]]}, EvidenceError, "pass a list of floats"),
        ({"responses": ["a"], "logprobs": [["x"]]}, EvidenceError, "pass a list of floats"),
        ({"responses": ["a", "b"], "estimator": "likelihood"}, EvidenceError, "needs logprobs"),
        ({"responses": ["a"], "invalid": "skip"}, InputError, "use one of separate, drop, together"),
        ({"responses": ["a"], "convention": "nature"}, InputError, "Did you mean 'nature-2024'"),
        ({"responses": ["a"], "extract": "box"}, InputError, "Did you mean 'boxed'"),
        ({"responses": ["a"], "equivalence": "exat"}, UnknownComponentError, "Did you mean 'exact'"),
        ({"responses": ["a"], "equivalence": 7}, InputError, "equivalence=7 is not usable"),
        ({"responses": ["a"], "equivalence": Equivalence}, InputError, "is a class: pass an instance"),
        ({"responses": ["a"], "clusterer": "kmeans"}, UnknownComponentError, "Available: components"),
        ({"responses": ["a"], "clusterer": 7}, InputError, "instance of Clusterer"),
        ({"responses": ["a"], "estimator": []}, InputError, "name at least one"),
        ({"responses": ["a"], "estimator": "entropy"}, UnknownComponentError, "no estimator named"),
    ],
)
def test_bad_input_is_an_error_that_names_the_value_and_the_fix(arguments, error, says):
    with pytest.raises(error, match=says):
        estimate(**arguments)


def test_an_option_that_does_not_exist_lists_those_that_do():
    with pytest.raises(OptionError, match=r"no option 'threshhold'. Did you mean 'threshold'\? Its options: n=3"):
        load_equivalence("ngram", threshhold=0.5)
    with pytest.raises(OptionError, match="needs the option 'pattern'"):
        load_equivalence("regex")


def test_a_function_that_raises_is_named_with_its_pair():
    def broken(left, right):
        raise KeyError(left)

    with pytest.raises(EquivalenceError, match="'broken' raised KeyError.*'a' and 'b'"):
        estimate(["a", "b"], equivalence=broken)


def test_a_function_that_returns_no_verdict_is_named():
    with pytest.raises(EquivalenceError, match=r"returned 0.7 .* return True, False, or None"):
        estimate(["a", "b"], equivalence=lambda a, b: 0.7)


def test_the_direction_of_a_function_follows_its_policy():
    from semantic_entropy.clusters.equivalence import FunctionEquivalence

    def starts(left, right):
        return left.startswith(right)

    labels = {p: estimate(["ab", "a"], equivalence=FunctionEquivalence(starts, p)).labels for p in ("both", "either")}
    assert labels == {"both": (0, 1), "either": (0, 0)}


@pytest.mark.parametrize("choices", [{}, {"equivalence": "text", "estimator": ["discrete"], "invalid": "drop"}])
def test_a_warm_estimate_costs_what_a_kept_scorer_costs(choices):
    def python_calls(function):
        function()
        calls = 0

        def count(frame, event, argument):
            nonlocal calls
            calls += event == "call"

        sys.setprofile(count)
        try:
            function()
        finally:
            sys.setprofile(None)
        return calls

    responses = ["Paris", "It is Paris.", "Rome", "paris", "Lyon"] * 2
    with Scorer(**choices) as scorer:
        kept = python_calls(lambda: scorer.estimate(responses))
    assert python_calls(lambda: estimate(responses, **choices)) <= 1.1 * kept + 20


def test_an_unknown_choice_is_refused_by_name():
    for unknown in ({"equivalance": "text"}, {"cache": "verdicts.sqlite"}):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{next(iter(unknown))}'"):
            estimate(["a"], **unknown)


def test_a_name_registered_again_is_used_by_the_next_estimate():
    for same in (True, False):
        register("equivalence", "all-or-none", lambda same=same: as_judge(same))
        assert len(estimate(["a", "b"], equivalence="all-or-none").clusters) == (1 if same else 2)


def test_estimate_loads_its_judges_again_after_they_were_closed():
    answers = [r"\boxed{x+1}", r"\boxed{1+x}"]
    assert estimate(answers, equivalence="math").labels == (0, 0)
    one_call._close_shared()
    assert estimate(answers, equivalence="math").labels == (0, 0)
    assert (
        one_call._shared.judge("math")
        is one_call._scorers.get(one_call._choices_key({"equivalence": "math"})).equivalence
    )


def test_threads_share_the_kept_scorers():
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(estimate(["a", "b", "a"], equivalence="exact").labels))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(0, 1, 0)] * 8


def as_judge(same):
    class AllOrNone(Equivalence):
        def judge(self, pairs):
            return [Verdict(same) for _ in pairs]

    return AllOrNone()


def test_a_derived_scorer_shares_the_judges_and_the_cache_and_closes_neither():
    asked, closed = [], []

    class Counting(Equivalence):
        name = "counting"

        def judge(self, pairs):
            asked.extend(pairs)
            return [Verdict(pair.left.lower() == pair.right.lower()) for pair in pairs]

        def close(self):
            closed.append(self)

    register("equivalence", "counting", Counting)
    with Scorer(equivalence="counting", extract="last-line") as scorer:
        derived = scorer.derive(extract="whole", invalid="drop")
        assert derived.equivalence is scorer.equivalence
        assert scorer.estimate(["so\na", "A"]).labels == (0, 0)
        assert derived.estimate(["a", "A", ""]).labels == (0, 0, -1)
        assert len(asked) == 1  # the second verdict comes from the shared cache
        assert derived.estimate(["so\na", "A"]).labels == (0, 1)
        derived.close()
        assert not closed
    assert len(closed) == 1


def test_a_judge_that_parses_answers_says_which_it_can_read():
    assert load_equivalence("exact").readable(["anything", r"\frac{"]) == [True, True]
    with Scorer(equivalence="math") as scorer:
        answers = [
            "4",
            r"\frac{1}{2}",
            r"\{1, 2\}",
            "no solution",
            r"\frac{1",
            "}{",
            "First " * 50,
            r"so \boxed{5}" * 50,
        ]
        assert scorer.equivalence.readable(answers) == [True, True, True, True, False, False, False, True]

"""Components that break their contract are named, whatever they do; and nothing remembers what it should not."""

from __future__ import annotations

import copy
import threading

import pytest

from semantic_entropy import (
    Clusterer,
    EntropyEstimator,
    Equivalence,
    EquivalenceError,
    InputError,
    OptionError,
    PluginError,
    Scorer,
    Verdict,
    estimate,
    load_equivalence,
    register,
)
from semantic_entropy.types import Estimate


class Judge(Equivalence):
    """Says `same` to everything, and breaks one rule."""

    name = "judge"

    def __init__(self, same=True, **broken):
        self.same, self.broken = same, broken

    def judge(self, pairs):
        return self.broken["judge"] if "judge" in self.broken else [Verdict(self.same)] * len(pairs)

    def keys(self, question, answers):
        return self.broken.get("keys", answers)

    def extract(self, responses):
        return self.broken.get("extract", responses)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"judge": None}, "raised TypeError"),
        ({"judge": [Verdict(True)] * 3}, "returned 3 verdicts for 1 pairs"),
        ({"keys": None}, r"raised TypeError.* in keys\(\)"),
        ({"keys": ["a"]}, r"returned the keys \['a'\] for 2 answers"),
        ({"keys": [[], []]}, "one hashable key"),
        ({"extract": None}, r"raised TypeError.* in extract\(\)"),
        ({"extract": ["a"]}, r"extracted \['a'\] from 2 responses"),
        ({"extract": ["a", 3]}, "one str or None"),
    ],
)
def test_a_judge_that_returns_the_wrong_thing_is_named(broken, says):
    with pytest.raises(EquivalenceError, match=f"(?s)'judge'.*{says}"):
        estimate(["a", "b"], equivalence=Judge(**broken))


def test_a_blank_answer_that_a_judge_extracts_is_invalid():
    result = estimate(["a", "b"], equivalence=Judge(extract=["", " "]))
    assert (result.n_valid, result.labels) == (0, (0, 1))


class Odd(Clusterer):
    """A clusterer with one planted defect."""

    name = "odd"

    def __init__(self, defect):
        self.defect = defect

    def flow(self, size):
        if self.defect == "out of range":
            yield [(0, size)]
        if self.defect == "raises":
            raise KeyError(size)


@pytest.mark.parametrize(
    ("defect", "says"),
    [("out of range", "asked for the pairs"), ("raises", "raised KeyError"), ("none", "returned None")],
)
def test_a_clusterer_that_breaks_its_contract_is_named(defect, says):
    with pytest.raises(PluginError, match=f"clusterer 'odd', on 2 answers, {says}"):
        estimate(["a", "b"], equivalence="exact", clusterer=Odd(defect))


@pytest.mark.parametrize("wrong", [Estimate(float("nan")), Estimate(0.0, (0.5, 0.25, 0.25))])
def test_an_estimator_that_returns_no_number_or_too_many_probabilities_is_named(wrong):
    class Wrong(EntropyEstimator):
        name = "wrong"

        def estimate(self, evidence):
            return wrong

    with pytest.raises(PluginError, match="'wrong' returned"):
        estimate(["a", "b"], equivalence="exact", estimator=Wrong())


def test_a_name_registered_anew_is_loaded_anew():
    for same in (True, False):
        register("equivalence", "changing", lambda same=same: Judge(same))
        assert (estimate(["a", "b"], equivalence="changing").labels == (0, 0)) is same


def test_two_classes_with_equal_settings_do_not_share_verdicts():
    def judge(same):
        class Soundex(Judge):
            settings = ("v1",)

        return Soundex(same)

    assert estimate(["a", "b"], equivalence=judge(True)).labels == (0, 0)
    assert estimate(["a", "b"], equivalence=judge(False)).labels == (0, 1)


def test_a_changed_copy_of_a_judge_does_not_get_the_verdicts_of_the_original():
    original = Judge(True)
    assert estimate(["a", "b"], equivalence=original).labels == (0, 0)
    changed = copy.copy(original)
    changed.same = False
    assert estimate(["a", "b"], equivalence=changed).labels == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"estimator": 7}, "estimator=7 is not usable"),
        ({"convention": None}, "convention=None is unknown"),
        ({"extract": 7}, "extract=7 is not usable"),
        ({"clusterer": None, "invalid": None}, "invalid=None is unknown"),
    ],
)
def test_arguments_of_the_wrong_type_are_errors_that_show_them(arguments, says):
    with pytest.raises(InputError, match=says):
        estimate(["a"], **arguments)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ngram", {"n": "two"}),
        ("regex", {"pattern": 5}),
        ("math", {"timeout": "x"}),
        ("math", {"timeout": float("nan")}),
        ("math", {"timeout": float("inf")}),
        ("math", {"memory_mb": 1.5}),
        ("math", {"workers": True}),
    ],
)
def test_options_of_the_wrong_type_are_errors_that_name_the_component(name, options):
    with pytest.raises(OptionError, match=name):
        load_equivalence(name, **options)
    with pytest.raises(InputError, match="7 is not a name"):
        load_equivalence(7)


@pytest.mark.parametrize(
    ("responses", "options", "judge", "labels"),
    [
        (["<think>hmm</think>1/2", "<think>..</think>0.5"], {}, "math", (0, 0)),
        ([r"<think>\boxed{3}?</think>Paris it is", r"<think>\boxed{4}</think>Paris"], {}, "text", (0, 0)),
        (["We add\n1/2", "The sum is\n0.5"], {"extract": "last-line"}, "math", (0, 0)),
        (["1914-1918", "1915-1919", "1939\u20131943"], {}, "text", (0, 1, 2)),
        (["3-2", "2-1", "1-0"], {}, "text", (0, 1, 2)),
        (["2020-01-05", "2020-02-04"], {}, "text", (0, 1)),
        (["555-1234", "556-1235"], {}, "text", (0, 1)),
    ],
)
def test_auto_looks_at_the_answers_and_knows_a_range_from_a_difference(responses, options, judge, labels):
    result = estimate(responses, **options)
    assert (result.provenance.equivalence, result.labels) == (judge, labels)


def test_closing_while_others_wait_for_a_worker_leaves_nobody_waiting():
    judge = load_equivalence("math", workers=1)
    with Scorer(judge) as scorer:
        groups = [[rf"\boxed{{x+{i}}}", rf"\boxed{{{i}+x}}"] for i in range(20)]
        threads = [threading.Thread(target=scorer.estimate, args=(group,)) for group in groups]
        for thread in threads:
            thread.start()
        judge.close()
        for thread in threads:
            thread.join(timeout=120)
        assert not any(thread.is_alive() for thread in threads)
    judge.close()


class Raises(EntropyEstimator):
    name = "raises"

    def estimate(self, evidence):
        raise ValueError("boom")


class ReturnsAFloat(EntropyEstimator):
    name = "returns-a-float"

    def estimate(self, evidence):
        return 0.5


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (Raises(), "estimator 'raises' raised ValueError: boom"),
        (ReturnsAFloat(), "estimator 'returns-a-float' returned 0.5 for 2 clusters"),
    ],
)
def test_an_estimator_that_breaks_its_contract_is_named(estimator, message):
    with pytest.raises(PluginError, match=message):
        estimate(["a", "b"], estimator=estimator, equivalence="exact")


class WantsNothing(Clusterer):
    name = "wants-nothing"

    def flow(self, size):
        yield None
        return [0] * size


def test_a_clusterer_may_yield_none_for_no_pairs():
    assert estimate(["a", "b"], clusterer=WantsNothing(), equivalence="exact").labels == (0, 0)

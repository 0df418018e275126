"""`estimate` and `aestimate`: options of components by name, arrays and Series, and one judge for all calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pandas as pd
import polars as pl
import pytest

from semantic_entropy import (
    Equivalence,
    InputError,
    OptionError,
    Sample,
    Sampler,
    Scorer,
    SemanticEntropyError,
    Verdict,
    aestimate,
    estimate,
    estimate_file,
    one_call,
    register,
)
from semantic_entropy.measuring import judges

ANSWERS = ["Paris", "Paris!", "Rome"]
TWO = [ANSWERS, ["a", "b"]]


class Prefix(Equivalence):
    """Equal beginnings mean the same. It counts how many of it are built and closed."""

    name = "prefix"
    built = closed = 0

    def __init__(self, length: int = 1, words: list[str] | None = None) -> None:
        self.length, self.words = length, words
        Prefix.built += 1

    @property
    def settings(self):
        return self.name, self.length

    def judge(self, pairs):
        return [Verdict(pair.left[: self.length] == pair.right[: self.length]) for pair in pairs]

    def close(self):
        Prefix.closed += 1


class Echo(Sampler):
    """It says the same word, as often as it is asked."""

    name = "echo"

    def __init__(self, word: str = "yes") -> None:
        self.word = word

    @property
    def settings(self):
        return self.name, self.word

    def stream(self, requests) -> Iterator:
        for request in requests:
            for _ in range(request.n):
                yield request, Sample(self.word)


@pytest.fixture
def components():
    register("equivalence", "prefix-of-tests", Prefix)
    register("sampler", "echo-of-tests", Echo)
    Prefix.built = Prefix.closed = 0
    yield
    one_call._close_shared()


def test_options_of_a_judge_are_given_by_name(components):
    one = estimate(ANSWERS, equivalence="prefix-of-tests", equivalence_options={"length": 6, "words": ["x"]})
    two = estimate(ANSWERS, equivalence="prefix-of-tests")
    assert (one.labels, two.labels) == ((0, 1, 2), (0, 0, 1))


def test_calls_with_equal_options_share_one_judge(components):
    for _ in range(3):
        estimate(ANSWERS, equivalence="prefix-of-tests", equivalence_options={"length": 6, "words": ["x"]})
        estimate(ANSWERS, equivalence="prefix-of-tests", equivalence_options={"words": ["x"], "length": 6})
    assert (Prefix.built, Prefix.closed) == (1, 0)
    with Scorer("prefix-of-tests", equivalence_options={"length": 2}) as scorer:
        assert scorer.derive(invalid="drop").estimate(ANSWERS).labels == (0, 0, 1)
    assert (Prefix.built, Prefix.closed) == (2, 1)


def test_options_of_a_sampler_are_given_by_name(components):
    result = estimate(question="What?", sampler="echo-of-tests", sampler_options={"word": "no"}, n=3)
    assert [sample.text for sample in result.samples] == ["no"] * 3
    assert asyncio.run(aestimate(question=["a", "b"], sampler="echo-of-tests", n=2)).entropies == (0, 0)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"equivalence_options": {"n": 3}}, "needs the name of a component as equivalence=, and equivalence is auto"),
        ({"equivalence": "auto", "equivalence_options": {}}, "equivalence is auto"),
        ({"equivalence": Prefix(), "equivalence_options": {"length": 3}}, "built already has its options"),
        ({"equivalence": "ngram", "equivalence_options": ["n"]}, "is a list; it must be a dict"),
        ({"equivalence": "ngram", "equivalence_options": {"size": 3}}, "size"),
        ({"sampler_options": {"model": "m"}}, "needs the name of a component as sampler="),
        ({"sampler": Echo(), "sampler_options": {"word": "no"}}, "built already has its options"),
    ],
)
def test_options_without_a_name_are_refused(choices, message):
    with pytest.raises((InputError, OptionError), match=message):
        estimate(ANSWERS, **choices)


@pytest.mark.parametrize(
    ("choices", "rule"),
    [
        ({}, "default"),
        ({"convention": "lm-polygraph"}, "strict"),
        ({"convention": "uqlm"}, "either"),
        ({"convention": "uqlm", "equivalence_options": {"rule": "nonstrict"}}, "nonstrict"),
    ],
)
def test_a_convention_sets_the_rule_of_the_judge_that_the_user_names(choices, rule, monkeypatch):
    built = []
    monkeypatch.setattr(judges, "load_equivalence", lambda name, **options: built.append(options) or Prefix())
    with Scorer("nli", **choices) as one:
        assert built == [{} if rule == "default" else {"rule": rule}]
        one.derive(convention="uqlm", equivalence_options=None)
    assert built[-1] == {"rule": "either"}


@pytest.mark.parametrize("choices", [{"sampler": Echo()}, {}, {"sampler": "echo-of-tests"}])
def test_an_error_about_options_does_not_show_their_values(choices, components):
    options = {"api_key": "sk-secret", "modell": "m"}
    with pytest.raises((InputError, OptionError)) as raised:
        estimate(question="What?", sampler_options=options, **choices)
    assert "api_key" in str(raised.value)
    assert "sk-secret" not in str(raised.value)


LISTS = {
    "an array": np.array,
    "an array of objects": lambda values: np.array(values, dtype=object),
    "a pandas Series": pd.Series,
    "a pandas Index": pd.Index,
    "a polars Series": pl.Series,
    "a list": list,
    "a tuple": tuple,
}


@pytest.mark.parametrize("kind", LISTS)
def test_one_group_can_be_an_array_or_a_series(kind):
    assert estimate(LISTS[kind](ANSWERS)) == estimate(ANSWERS)


BATCHES = {
    "a pandas Series of lists": lambda: pd.Series(TWO),
    "a pandas Series of arrays": lambda: pd.Series([np.array(group) for group in TWO]),
    "a polars Series of lists": lambda: pl.Series(TWO),
    "a list of arrays": lambda: [np.array(group) for group in TWO],
    "a list of Series": lambda: [pd.Series(group) for group in TWO],
}


@pytest.mark.parametrize("kind", BATCHES)
def test_many_groups_can_be_arrays_or_series(kind):
    questions = pd.Series(["Capital of France?", None])
    assert estimate(BATCHES[kind](), question=questions) == estimate(TWO, question=["Capital of France?", None])


def test_an_array_with_two_dimensions_holds_a_group_in_each_row():
    assert estimate(np.array([["a", "a"], ["a", "b"]])).entropies == estimate([["a", "a"], ["a", "b"]]).entropies


def test_log_probabilities_can_be_arrays():
    logprobs = [[-0.1, -0.2], [-0.3, -0.4], [-0.5, -0.6]]
    expected = estimate(ANSWERS, logprobs=logprobs)
    assert estimate(ANSWERS, logprobs=np.array(logprobs)) == expected
    assert estimate(ANSWERS, logprobs=[np.array(tokens, dtype=np.float64) for tokens in logprobs]) == expected
    assert estimate(np.array(ANSWERS), logprobs=pd.Series(logprobs)) == expected


def test_questions_for_a_sampler_can_be_a_series(components):
    result = estimate(question=pd.Series(["a", "b"]), sampler="echo-of-tests", n=2)
    assert len(result) == 2


def test_a_missing_response_in_a_series_is_named():
    with pytest.raises(InputError, match="response 1 is None"):
        estimate(pd.Series(["a", float("nan")]))


def test_a_misspelt_argument_is_named_with_the_nearest_one(tmp_path):
    with pytest.raises(TypeError, match="unexpected keyword argument 'groupby'. Did you mean 'group_by'?"):
        estimate_file("in.jsonl", tmp_path / "out.jsonl", groupby="id")
    with pytest.raises(TypeError, match="unexpected keyword argument 'groupby'. Did you mean 'group_by'?"):
        estimate(["a"], groupby="id")


async def _is_same(left, right):
    return left == right


class _AsyncJudge(Equivalence):
    name = "async"

    async def judge(self, pairs):
        return [Verdict(True) for _ in pairs]


class _ForgetfulJudge(Equivalence):
    name = "forgetful"

    def judge(self, pairs):
        [Verdict(True) for _ in pairs]


@pytest.mark.parametrize(
    ("judge", "says"),
    [
        (_is_same, "equivalence=_is_same is an async function: make it a plain function"),
        (_AsyncJudge(), "'async'.* returned a coroutine: make it a plain function"),
        (_ForgetfulJudge(), "'forgetful'.* returned a NoneType: return a list with one Verdict for each pair"),
    ],
)
def test_a_judge_that_returns_no_list_is_an_error_with_the_fix(judge, says):
    with pytest.raises(SemanticEntropyError, match=says):
        estimate(["a", "b"], equivalence=judge)

"""Long answers of many groups: which answer is doubted, which samples count, who says what, and what it costs."""

from __future__ import annotations

import builtins
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import Equivalence, EvidenceError, InputError, MissingDependencyError, Scorer, Verdict, estimate
from semantic_entropy.plugin import Usage
from semantic_entropy.testing import ConformanceError, check_equivalence

pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")

ANSWER = "Ada was born in 1815. She lived in London. She wrote a program."
SAMPLES = [
    "Ada was born in 1815. She lived in London. She wrote letters.",
    "Ada was born in 1816. She lived in London. She wrote letters.",
]


def contains(sample, sentence):
    """A support of the tests: 1 if the sample contains the sentence."""
    return float(sentence in sample)


def measured(responses, **options):
    return estimate(responses, **{"long": True, "support": contains, "equivalence": "exact", **options})


def uncertainties(responses, **options):
    return [each.uncertainty for each in measured(responses, **options).long_answer.sentences]


def test_each_sentence_has_its_text_its_place_and_its_support():
    result = measured([ANSWER, *SAMPLES])
    found = result.long_answer
    assert [each.text for each in found.sentences] == [ANSWER[each.start : each.end] for each in found.sentences]
    assert [each.uncertainty for each in found.sentences] == [0.5, 0.0, 1.0]
    assert [each.supported_by for each in found.sentences] == [1, 2, 0]
    assert (found.uncertainty, found.highest, found.samples, found.doubted) == (0.5, 1.0, 2, 0)
    assert found.least_supported[0].text == "She wrote a program."
    assert result.scores["unsupported"] == 0.5
    assert "3 sentences of response 0: uncertainty 0.500, 1 doubtful (support: contains; as asked)" in repr(result)


@given(st.permutations([ANSWER, *SAMPLES, "", "I don't know.", SAMPLES[0]]))
def test_the_order_of_the_samples_changes_nothing(samples):
    found = measured(samples, greedy=ANSWER).long_answer
    assert [each.uncertainty for each in found.sentences] == pytest.approx([1 - 3 / 6, 1 - 4 / 6, 1 - 1 / 6])
    assert (found.doubted, found.samples, found.invalid) == (None, 6, 2)


def test_the_greedy_answer_is_doubted_if_it_is_known_and_all_responses_are_its_samples():
    assert uncertainties([ANSWER, *SAMPLES], greedy="Ada was born in 1816. She lived in Rome.") == pytest.approx(
        [2 / 3, 1.0]
    )


def test_the_first_valid_response_is_doubted_and_the_others_are_its_samples():
    found = measured(["", ANSWER, SAMPLES[0]]).long_answer
    assert (found.doubted, found.samples, found.invalid) == (1, 2, 1)
    assert [each.uncertainty for each in found.sentences] == [0.5, 0.5, 1.0]


def test_invalid_samples_support_nothing_unless_they_are_dropped():
    responses = [ANSWER, ANSWER, "", "I don't know."]
    result = measured(responses)
    assert result.long_answer.uncertainty == pytest.approx(2 / 3)
    assert any("2 of 3 samples are empty or refuse" in warning for warning in result.warnings)
    dropped = measured(responses, invalid="drop").long_answer
    assert (dropped.uncertainty, dropped.samples, dropped.invalid) == (0.0, 1, 0)


@pytest.mark.parametrize("responses", [[ANSWER], [ANSWER, "", "I don't know."]])
def test_without_a_valid_sample_the_score_is_unknown_with_a_warning(responses):
    result = measured(responses)
    assert math.isnan(result.scores["unsupported"])
    assert math.isnan(result.long_answer.uncertainty)
    assert any("their uncertainty is unknown" in warning for warning in result.warnings)


def test_without_a_valid_answer_there_is_no_sentence():
    result = measured(["", "I don't know."])
    assert result.long_answer.sentences == ()
    assert math.isnan(result.scores["unsupported"])
    assert any("no valid answer whose sentences" in warning for warning in result.warnings)


def test_a_copy_of_the_answer_supports_it_and_is_not_asked_about():
    def never(sample, sentence):
        raise AssertionError((sample, sentence))

    assert measured([ANSWER] * 3, support=never).long_answer.uncertainty == 0.0


@pytest.mark.parametrize(
    ("value", "uncertainty"), [(True, 0.0), (False, 1.0), (0.25, 0.75), (1, 0.0), (None, math.nan)]
)
def test_a_function_returns_a_share_a_boolean_or_none(value, uncertainty):
    result = measured([ANSWER, *SAMPLES], support=lambda _sample, _sentence: value)
    assert result.long_answer.uncertainty == pytest.approx(uncertainty, nan_ok=True)
    if value is None:
        assert any(warning.endswith("(the function returned None)") for warning in result.warnings)


@pytest.mark.parametrize("value", [1.5, -1, "yes", math.nan])
def test_another_value_of_a_function_is_an_error_that_names_it(value):
    with pytest.raises(InputError, match=f"returned {value!r}.*return a number in"):
        measured([ANSWER, *SAMPLES], support=lambda _sample, _sentence: value)


@pytest.mark.parametrize("support", ["math", 5, float])
def test_what_cannot_say_whether_a_sentence_is_supported_is_an_error_that_names_who_can(support):
    with pytest.raises(InputError, match=r"text.*nli.*embedding.*judge"):
        measured([ANSWER, *SAMPLES], support=support)


def test_another_value_of_long_is_an_error_that_names_it():
    with pytest.raises(InputError, match="long='yes' is unknown"):
        estimate(["a"], long="yes")


def test_answers_of_medium_length_are_long_only_if_they_are_asked_for():
    assert estimate([ANSWER, *SAMPLES]).long_answer is None
    assert estimate([ANSWER * 5, *SAMPLES]).long_answer is None
    found = estimate([ANSWER * 5, SAMPLES[0] * 5]).long_answer
    assert found.reason == "auto: the median answer has 310 characters, at least 250"
    assert estimate([ANSWER * 5, SAMPLES[0] * 5], long=False).long_answer is None


def test_the_score_needs_long_answers():
    with pytest.raises(EvidenceError, match="pass long=True"):
        estimate(["a", "b"], estimator="unsupported")
    assert estimate([ANSWER, ANSWER], estimator=["discrete", "unsupported"], long=True).scores["unsupported"] == 0.0


def test_passages_that_differ_as_wholes_have_a_warning_about_the_entropy():
    result = measured([ANSWER, *SAMPLES])
    assert "3 meanings in 3 long answers" in result.warnings[-1]
    assert not measured([ANSWER] * 3).warnings


def test_without_sentencex_long_answers_have_a_warning_and_are_an_error_if_they_are_asked_for(monkeypatch):
    found = builtins.__import__

    def missing(name, *arguments, **options):
        if name == "sentencex":
            raise ImportError(name)
        return found(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    result = estimate([ANSWER * 5, SAMPLES[0] * 5])
    assert result.long_answer is None
    assert "their sentences are not measured: splitting a text into sentences needs sentencex" in result.warnings[-1]
    with pytest.raises(MissingDependencyError, match="sentencex"):
        measured([ANSWER, *SAMPLES])


class Paid(Equivalence):
    """Supports sentences that the sample contains, for a price."""

    name = "paid"
    calls = 0

    @property
    def settings(self):
        return ("paid",)

    def judge(self, pairs):
        return [Verdict(pair.left == pair.right) for pair in pairs]

    def support(self, pairs):
        for index in reversed(range(len(pairs))):
            Paid.calls += 1
            yield index, Verdict(pairs[index].right in pairs[index].left, usage=Usage(1, 10, 1))


def test_verdicts_of_an_expensive_scorer_are_kept_and_paid_once():
    Paid.calls = 0
    with Scorer("exact", long=True, support=Paid()) as scorer:
        one, other = scorer.estimate([[ANSWER, *SAMPLES], [ANSWER, *SAMPLES]])
        assert Paid.calls == 6
        assert (one.long_answer.usage.requests, other.long_answer.usage) == (6, None)
        again = scorer.estimate([ANSWER, *SAMPLES])
    assert Paid.calls == 6
    assert again.long_answer.usage is None
    assert [each.uncertainty for each in again.long_answer.sentences] == [0.5, 0.0, 1.0]
    assert one.long_answer.to_dict()["usage"]["requests"] == 6


class DependsOnTheBatch(Paid):
    """A broken scorer."""

    name = "broken"

    def support(self, pairs):
        yield from ((index, Verdict(len(pairs) > 1)) for index in range(len(pairs)))


def test_the_conformance_kit_checks_the_support():
    check_equivalence(Paid())
    with pytest.raises(ConformanceError, match="support depends on the rest of the batch"):
        check_equivalence(DependsOnTheBatch())


@pytest.mark.parametrize(
    "answer",
    [
        "\u5317\u4eac\u662f\u9996\u90fd\u3002\u4eba\u53e3\u7ea62189\u4e07\uff01",
        "\u0627\u0644\u0642\u0627\u0647\u0631\u0629. \u0646\u0639\u0645.",
        "Good \U0001f600. Bad \U0001f44d!",
        "a\ud800b. c.\u2028d e.",
        "\U0001f600",
    ],
)
def test_any_script_has_sentences_at_their_places(answer):
    found = measured([answer, "nothing of this"]).long_answer
    assert found.sentences
    assert [each.text for each in found.sentences] == [answer[each.start : each.end] for each in found.sentences]
    assert found.uncertainty == 1.0


def test_ten_thousand_sentences_are_measured():
    answer = " ".join(f"Item {i} is ready." for i in range(10_000))
    found = measured([answer, answer + " More."]).long_answer
    assert len(found.sentences) == 10_000
    assert found.uncertainty == 0.0

"""How far a sample supports a sentence by the judge `text`: cases of ours, one for each part of the rule."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import estimate
from semantic_entropy.plugin import Pair, split_sentences
from semantic_entropy.testing import check_equivalence
from semantic_entropy_plugins.text import Text

pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")

CASES = {  # sample, sentence, support
    "all words": ("Ada Lovelace was born in London in 1815.", "Ada was born in London.", 1.0),
    "in several sentences": ("Ada was born in 1815. Her home was London.", "Ada was born in London.", 1.0),
    "half of the words": ("Ada was born.", "Ada was born in London, England.", 0.5),
    "another number": ("Ada was born in London in 1816.", "Ada was born in London in 1815.", 0.0),
    "one of two numbers": ("Ada lived from 1815 to 1850.", "Ada lived from 1815 to 1852.", 0.5),
    "no number": ("Ada was born in London.", "Ada was born in London in 1815.", 0.0),
    "the same length": ("The road is 1000 m long.", "The road is 1 km long.", 1.0),
    "another unit": ("The road is 1 m long.", "The road is 1 km long.", 0.0),
    "a unit on one side": ("The road is long: 5.", "The long road is 5 km.", 1.0),
    "a number in words": ("Ada had three children.", "Ada had 3 children.", 1.0),
    "denied by the sample": ("Ada was never married.", "Ada was married.", 0.5),
    "denied by both": ("Ada was never married.", "Ada was not married.", 1.0),
    "denied by the sentence": ("Ada was married.", "Ada was not married.", 0.5),
    "nothing in common": ("Oslo is cold.", "Ada was born in London.", 0.0),
    "another spelling": ("Herr Mueller wohnt hier.", "Herr M\u00fcller wohnt hier.", 1.0),
    "Chinese": (
        "\u5317\u4eac\u662f\u4e2d\u56fd\u7684\u9996\u90fd\u3002",
        "\u5317\u4eac\u662f\u4e2d\u56fd\u7684\u9996\u90fd\u3002",
        1.0,
    ),
    "Arabic": (
        "\u0627\u0644\u0642\u0627\u0647\u0631\u0629 \u0647\u064a \u0639\u0627\u0635\u0645\u0629 \u0645\u0635\u0631.",
        "\u0627\u0644\u0642\u0627\u0647\u0631\u0629 \u0639\u0627\u0635\u0645\u0629 \u0645\u0635\u0631.",
        1.0,
    ),
    "a number of a source": ("Ada sang in 1840.[3][12]", "Ada sang in 1840.[2]", 1.0),
    "a number in brackets": ("Ada has the list [3].", "Ada has the list [2].", 0.0),
    "characters that nobody sees": ("A\u200bda was\u2060 born in 18\u200b15.", "Ada was b\u00adorn in 1815.", 1.0),
    "Persian words with a joiner": (
        "\u0645\u06cc \u062e\u0648\u0627\u0647\u0645",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        1.0,
    ),
    "the number of a list item": ("1. Ada sang.\n2. Ada ran.\n3. Ada rests.", "Ada had 3 songs and sang.", 0.0),
    "function words": ("It is so.", "It is so.", 1.0),
    "symbols": ("Well done \U0001f44d\U0001f44d!", "\U0001f44d\U0001f44d", 1.0),
    "other symbols": ("Well done \U0001f44d!", "\U0001f44e", 0.0),
}


SUPPORTING = {  # sample, sentence, whether the sample counts as a supporting one
    "all": ("Ada was born in London in 1815.", "Ada was born in 1815.", True),
    "one of two words": ("She lived in London.", "She lived in Oslo.", False),
    "two of three words": ("Ada was a poet in London.", "Ada was a poet in Oslo.", True),
    "one of three words": ("Ada was a poet in London.", "Grace was a poet in Oslo.", False),
    "all words and another number": (
        "Ada, the poet, lived in London in 1840.",
        "Ada, the poet, lived in London in 1841.",
        False,
    ),
    "all words and one of two numbers": ("From 1840 to 1850 Ada lived.", "Ada lived from 1840 to 1851.", False),
    "function words": ("It is so.", "It was so.", False),
}


@pytest.mark.parametrize("case", SUPPORTING)
def test_a_sample_counts_as_supporting_by_the_rule_for_equal_meanings(case):
    sample, sentence, expected = SUPPORTING[case]
    ((_, verdict),) = Text().support([Pair(None, sample, sentence)])
    assert verdict.same is expected


def support(sample, sentence, question=None):
    ((_, verdict),) = Text().support([Pair(question, sample, sentence)])
    return verdict.score


@pytest.mark.parametrize("case", CASES)
def test_a_sample_supports_what_it_says(case):
    sample, sentence, expected = CASES[case]
    assert support(sample, sentence) == pytest.approx(expected)


def test_words_of_the_question_do_not_count_unless_nothing_else_is_left():
    question = "Who was Ada Lovelace?"
    assert support("Ada Lovelace was a poet.", "Ada Lovelace was a writer.", question) == 0.0
    assert support("She was a writer.", "Ada Lovelace was a writer.", question) == 1.0
    assert support("Ada Lovelace!", "Ada Lovelace.", question) == 1.0


WORDS = "Ada London 1815 not 5 km was born in 3.5% never no Paris \U0001f600 \u5317\u4eac . ! \u3002 yes".split()


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_a_sample_supports_each_of_its_own_sentences_and_the_order_of_its_sentences_changes_nothing(
    words, draw: random.Random
):
    sentences = split_sentences(" ".join(words))
    sample, shuffled = "\n\n".join(sentences), draw.sample(sentences, len(sentences))
    for sentence in split_sentences(sample):
        assert support(sample, sentence) == 1.0
        assert 0.0 <= support("Ada was not born in Paris.", sentence) <= 1.0
        assert support("\n\n".join(shuffled), sentence) == 1.0


def test_a_number_that_every_sample_contradicts_is_the_whole_uncertainty():
    answer = "The tower was finished in 1889. It stands in Paris."
    samples = [f"The tower was finished in {year}. It stands in Paris." for year in (1887, 1891, 1895)]
    found = estimate([answer, *samples], long=True).long_answer
    assert [each.uncertainty for each in found.sentences] == [1.0, 0.0]
    assert [each.supported_by for each in found.sentences] == [0, 3]


def test_a_sentence_that_is_too_long_to_be_read_is_undecided():
    ((_, verdict),) = Text().support([Pair(None, "Short.", "word " * 20_000)])
    assert verdict.same is None
    assert "100000 characters, more than 50000" in verdict.reason


def test_the_support_keeps_the_contract_of_a_judge():
    check_equivalence(Text())


def test_a_list_is_supported_by_prose_with_the_same_words_and_its_headings_count_as_nothing():
    answer = "# Life\n\n1. Ada was born in London.\n2. She died in Paris.\n\n## Work\n- She wrote programs."
    sample = "Ada was born in London. She died in Paris. She wrote programs."
    found = estimate([answer, sample], long=True).long_answer
    assert [each.text for each in found.sentences] == [
        "Ada was born in London.",
        "She died in Paris.",
        "She wrote programs.",
    ]
    assert found.uncertainty == 0.0
    assert [each.text for each in estimate(["# Life", "None at all."], long=True).long_answer.sentences] == ["Life"]


def test_a_sample_with_a_sentence_that_is_too_long_to_read_is_undecided_unless_the_rest_supports():
    long = "word " * 20_000
    pairs = [Pair(None, long, "Ada sang."), Pair(None, f"Ada sang.\n- {long}", "Ada sang.")]
    verdicts = dict(Text().support(pairs))
    assert (verdicts[0].same, verdicts[1].same) == (None, True)
    assert "more than 50000 characters" in verdicts[0].reason

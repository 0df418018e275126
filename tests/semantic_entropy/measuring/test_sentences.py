"""Sentences of responses: numbers, abbreviations, lists, mathematics, other scripts, and parts without words."""

from __future__ import annotations

import builtins

import pytest

from semantic_entropy import MissingDependencyError, estimate
from semantic_entropy.measuring.sentences import split_sentences

CASES = {
    "decimals": ["The value is 3.5 on average.", "It rose from 2.1 to 4.7 in v. 1.2.3.", "Is that so?", "Yes!"],
    "abbreviations": ["Dr. Smith met Mr. J. R. Brown at 5 p.m. in the U.S. capital.", "He left."],
    "citation": ["Miller et al. (2020) show this in Fig. 3.", "The result holds."],
    "quote": ['She said "It is late. Go home."', "Then she left."],
    "address": ["See https://example.com/a.b?c=d.", "It is good."],
    "mathematics": ["We have $x = 3.5$.", "So $f(x) = 2$.", r"Hence the answer is $\boxed{7}$."],
    "Chinese": ["北京是中国的首都。", "人口约2189万！", "真的吗？", "是的。"],
    "Japanese": ["東京は日本の首都です。", "人口は約1400万人です。"],
    "Arabic": ["القاهرة هي عاصمة مصر.", "هل هذا صحيح؟", "نعم."],
    "Hindi": ["दिल्ली भारत की राजधानी है।", "यह बहुत बड़ी है।"],
    "Korean": ["서울은 한국의 수도입니다.", "인구는 약 940만 명입니다."],
}


@pytest.fixture(autouse=True)
def _needs_sentencex():
    pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")


@pytest.mark.parametrize("kind", CASES)
def test_a_text_is_split_into_its_sentences(kind):
    sentences = CASES[kind]
    between = "" if kind in ("Chinese", "Japanese") else " "
    assert split_sentences(between.join(sentences)) == sentences


def test_items_of_a_list_and_paragraphs_are_sentences_and_rules_are_none():
    text = "Steps:\n1. Mix the flour.\n2. Bake it.\n\n---\n\nThen eat"
    assert split_sentences(text) == ["Steps:", "1. Mix the flour.", "2. Bake it.", "Then eat"]


@pytest.mark.parametrize("text", ["", " ", "\n\n", "---", "..."])
def test_a_text_without_a_word_has_no_sentence(text):
    assert split_sentences(text) == []


def test_an_empty_response_supports_and_is_supported_by_none():
    scores = estimate(["", "", "It is Paris."], equivalence="exact", estimator="luq_sentences").scores
    assert scores["luq_sentences"] == 1.0


def test_without_sentencex_the_error_has_the_command(monkeypatch):
    found = builtins.__import__

    def missing(name, *arguments, **options):
        if name == "sentencex":
            raise ImportError(name)
        return found(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingDependencyError, match=r"needs sentencex: .*semantic-entropy\[sentences\]|sentences"):
        split_sentences("It is Paris.")

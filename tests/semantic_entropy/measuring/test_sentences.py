"""Sentences of responses: numbers, abbreviations, lists, mathematics, other scripts, and parts without words."""

from __future__ import annotations

import builtins
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import MissingDependencyError, estimate
from semantic_entropy.measuring.sentences import sentence_spans, split_sentences

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
    assert split_sentences(text) == ["Steps:", "Mix the flour.", "Bake it.", "Then eat"]


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


@pytest.mark.parametrize("space", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\r", "\u3000", "\xa0", "\ud800"])
def test_any_white_space_and_half_of_a_character_can_be_in_a_text(space):
    text = f"It is late.{space}Go home A.{space}B. Now"
    for start, end in sentence_spans(text):
        assert text[start:end].strip()
    assert "".join(split_sentences(text)).replace(space, "").replace(" ", "") == "Itislate.GohomeA.B.Now"


@given(st.text(alphabet="aA1.!? \n\u2028\u3000\ud800\U0001f600\u3002\"'(Mr", max_size=30))
def test_the_places_of_the_sentences_are_in_order_and_hold_every_word(text):
    spans = sentence_spans(text)
    assert all(start < end for start, end in spans)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert "".join(filter(str.isalnum, "".join(split_sentences(text)))) == "".join(filter(str.isalnum, text))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Do:\n- one\n- two. Three.\n", ["Do:", "one", "two.", "Three."]),
        ("(a) Ada sang.\n(b) Bob ran.", ["Ada sang.", "Bob ran."]),
        ("1. Ada sang.\n1. Bob ran.", ["Ada sang.", "Bob ran."]),
        ("1. Ada:\n   * was born\n   * sang\n2. Bob ran.", ["Ada:", "was born", "sang", "Bob ran."]),
        ("# Ada\n\nAda sang.\n## Life ##\nShe ran.", ["Ada", "Ada sang.", "Life ##", "She ran."]),
        (
            "See:\n| name | born |\n|---|---|\n| Ada | 1815. In May. |\nYes.",
            ["See:", "| name | born |", "| Ada | 1815. In May. |", "Yes."],
        ),
        ("Run:\n```python\nx = 1.5\n- y\n```\nDone. Good.", ["Run:", "```python\nx = 1.5\n- y\n```", "Done.", "Good."]),
        ("Run:\n```\nx\n1. y", ["Run:", "```\nx\n1. y"]),
        ("I - that is me - sang.", ["I - that is me - sang."]),
    ],
)
def test_parts_of_markdown_are_no_parts_of_the_sentences_around_them(text, sentences):
    assert split_sentences(text) == sentences


@given(st.text(alphabet="ab1.2 -*#|`\n\t(\u2028", max_size=60))
def test_sentences_of_any_markdown_are_at_their_places_and_lose_no_word(text):
    spans = sentence_spans(text)
    assert all(start < end for start, end in spans)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert list(filter(str.isalpha, "".join(text[start:end] for start, end in spans))) == list(
        filter(str.isalpha, text)
    )
    assert set(sentence_spans(text, headings=False)) <= set(spans)


@pytest.mark.parametrize(
    "text", ["- a\n" * 50_000, "```\n" * 50_001 + "a", "#" * 200_000 + " a", "| a\n" * 50_000, " " * 200_000 + "a"]
)
def test_long_markdown_takes_no_long_time(text):
    assert sentence_spans(text)

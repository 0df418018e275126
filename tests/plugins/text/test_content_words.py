"""Content words in any script: folding, segmentation, numbers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy_plugins.text.content_words import fold, tokens, visible

CASES = [
    ("Wilhelm R\u00f6ntgen's", ("wilhelm", "rontgen")),
    ("caf\u00e9 \u00c5ngstr\u00f6m don\u2019t", ("cafe", "angstrom", "dont")),
    ("STRASSE stra\u00dfe", ("strasse", "strasse")),  # case folding, not lowering
    (
        "\u6771\u4eac\u30bf\u30ef\u30fc",
        ("\u6771", "\u4eac", "\u30bf", "\u30ef", "\u30fc"),
    ),  # no spaces: one token per character
    (
        "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
        ("\u0928\u092e\u0938\u094d\u0924\u0947", "\u0926\u0941\u0928\u093f\u092f\u093e"),
    ),  # vowel signs stay in their words
    ("\u0141\u00f3d\u017a, S\u00f8ren, \u0110\u00e0 N\u1eb5ng", ("lodz", "soren", "da", "nang")),
    ("\u0661\u0662\u0663", ("123",)),
    ("1,000.50 km.", ("1000.5", "km")),
    ("007 3.0 0.5 .5", ("7", "3", "0.5", "0.5")),
    ("two hundred and five people", ("205", "people")),
    ("Forty-two", ("42",)),
    ("one million two hundred thousand", ("1200000",)),
    ("one two three", ("1", "2", "3")),
    ("the 21st of May", ("the", "21", "of", "may")),
    ("second and third", ("2", "and", "3")),
    ("J. K. Rowling, J.K. Rowling, U.S.A.", ("jk", "rowling", "jk", "rowling", "usa")),
    ("\u00bd \ufb01ve \uff21\uff22", ("1/2", "5", "ab")),  # NFKC
    ("-5 and 5-3, 1914-1918, \u22127", ("-5", "and", "5", "3", "1914", "1918", "-7")),
    ("1/2 of it, 1/2/2020", ("1/2", "of", "it", "1", "2", "2020")),
    ("C++, C# and C", ("cplusplus", "csharp", "and", "c")),
    ("5km/h", ("5", "km", "h")),
    ("", ()),
    ("...!?", ()),
]


@pytest.mark.parametrize(("text", "words"), CASES)
def test_a_text_becomes_its_words_and_numbers(text, words):
    assert tokens(text) == words


@given(st.text(max_size=60))
def test_words_are_folded_and_contain_no_separators(text):
    for word in tokens(text):
        assert word
        assert not any(char.isspace() for char in word)
    if text.isascii():
        assert tokens(text) == tokens(text.upper())


@given(st.text("a\u00e9\u200b\u200d", max_size=30))
def test_characters_of_no_width_go_only_beside_letters_of_ascii(text):
    found = visible(text)
    assert found == visible(found)
    assert [char for char in found if char in "a\u00e9"] == [char for char in text if char in "a\u00e9"]
    for run in re.finditer("[\u200b\u200d]+", text):
        beside = {text[run.start() - 1 : run.start()], text[run.end() : run.end() + 1]}
        assert (run[0] in found) or "a" in beside
    assert not re.search("a[\u200b\u200d]|[\u200b\u200d]a", found)


def test_a_long_run_of_characters_of_no_width_is_read_once():
    text = "\u00e9" + "\u200b" * 1_000_000 + "\u00e9"  # with quadratic time, hours
    assert visible(text) == text


@given(st.integers(0, 999_999))
def test_spelled_numbers_are_numbers(n):
    assert tokens(spell(n)) == (str(n),)


def spell(n: int) -> str:
    """English words for a number, with `and` as in speech."""
    units = (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen"
    ).split()
    tens = "twenty thirty forty fifty sixty seventy eighty ninety".split()
    if n < 20:
        return units[n]
    if n < 100:
        return tens[n // 10 - 2] + (f"-{units[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{units[n // 100]} hundred" + (f" and {spell(n % 100)}" if n % 100 else "")
    return f"{spell(n // 1000)} thousand" + (f" {spell(n % 1000)}" if n % 1000 else "")


def test_fold_only_case_folds_ascii():
    assert fold("ABC def") == "abc def"


@pytest.mark.timeout(60)  # one second each; a quadratic algorithm would take hours
@pytest.mark.parametrize(
    "piece",
    ["one ", "first ", "hundred and ", "a. ", "1,000,", "don't ", "\u6771", "\u0301", "\u0301\u0323", "J.K.", "-1"],
)
def test_a_megabyte_of_anything_is_read_in_one_pass(piece):
    assert all(tokens(piece * (1_000_000 // len(piece))))

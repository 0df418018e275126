"""A remark after an answer, such as the confidence that a prompt asks for, is no part of the answer."""

from __future__ import annotations

import pytest

from semantic_entropy import estimate
from semantic_entropy_plugins.quantities.remarks import without_remarks

REMARKS = {
    "9\nconfidence: 95%": "9",
    "9\n\n**Confidence:** 95%": "9",
    "9\nConfidence: high": "9",
    "9, confidence 0.95": "9",
    "9 - Confidence: 0.8": "9",
    "9 [confidence: 0.9]": "9",
    "Answer: 9\nConfidence: 0.95": "Answer: 9",
    "Guess: 42\nProbability: 0.9": "Guess: 42",  # the prompt of Tian et al. 2023, "Just Ask for Calibration"
    "42. I'm 90% confident.": "42.",
    "42\nI am about 90% sure.": "42",
    "42 (90% sure)": "42",
    "12 with 95% confidence": "12",
    "42 (source: page 3)": "42",
    "So there are 42 birds. (Step 3 of 3)": "So there are 42 birds.",
    "42\n\nNote: rounded to 2 decimals": "42",
    "The total is 42, rounded to the nearest 10.": "The total is 42",
}
KEPT = [
    "Confidence: 90%",
    "The probability is 0.9",
    "There are 36 outcomes.\nSix are doubles.\nProbability: 1/6",
    "The answer rounded to the nearest tenth is 5.3.",
    "The 95% confidence interval is (1, 2)",
    "95% confidence interval: [1.2, 3.4]",
    "I am 90% confident that it is 7",
    "I'm 100% sure it is 12.",
    "With 95% confidence, 12",
    "Note: the answer is 5",
    "We solve it.\nNote: x = 5, so the answer is 5",
    "speed: 3 km/h\nTime: 5 hours",
    "a certain 5",
    "5 (mod 7)",
]


@pytest.mark.parametrize(("text", "answer"), REMARKS.items(), ids=ascii)
def test_a_remark_is_removed(text, answer):
    assert without_remarks(text) == answer


@pytest.mark.parametrize("text", KEPT, ids=ascii)
def test_what_is_or_may_be_the_answer_is_kept(text):
    assert without_remarks(text) == text


@pytest.mark.parametrize("judge", ["text", "math", "auto"])
@pytest.mark.parametrize("text", [text for text in REMARKS if "42" in text], ids=ascii)
def test_two_answers_with_the_same_remark_differ_and_two_remarks_agree(text, judge):
    other = text.replace("42", "43")
    assert estimate([text, other], equivalence=judge).labels == (0, 1)
    assert estimate([text, text.replace("90", "80").replace("0.9", "0.8")], equivalence=judge).labels == (0, 0)


@pytest.mark.timeout(30)  # milliseconds each
@pytest.mark.parametrize("piece", ["confident ", "sure\n", "\n", "(", "(source ", "rounded to ", "90% ", "\nnote: "])
def test_a_degenerate_answer_is_read_in_one_pass(piece):
    for end in ("", "sure", "90%", "note"):
        without_remarks(piece * 20_000 + end)

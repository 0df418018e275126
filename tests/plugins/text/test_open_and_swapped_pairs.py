"""Pairs of kinds that a fourth reader, who did not know the rules, found merged by `text` or `auto` (2026-11-27)."""

from __future__ import annotations

import pytest

from semantic_entropy import Pair, estimate, load_equivalence

SAME, DIFFERENT = True, False

FOUND = {
    "the same numbers for other words": [
        (DIFFERENT, "Brazil 2, Italy 1", "Brazil 1, Italy 2"),
        (DIFFERENT, "Chapter 4, verse 12", "Chapter 12, verse 4"),
        (DIFFERENT, "He scored 30 points and 10 rebounds", "He scored 10 points and 30 rebounds"),
        (DIFFERENT, "60% men, 40% women", "40% men, 60% women"),
        (DIFFERENT, "Gate 12 at 5 PM", "Gate 5 at 12 PM"),
        (DIFFERENT, "Alice is 30 and Bob is 25", "Alice is 25 and Bob is 30"),
        (DIFFERENT, "2 cups flour, 1 cup sugar", "1 cup flour, 2 cups sugar"),
        (SAME, "Brazil 2, Italy 1", "Italy 1, Brazil 2"),
        (SAME, "Alice is 30 and Bob is 25", "Bob is 25, and Alice is 30"),
        (SAME, "30 points and 10 rebounds", "10 rebounds and 30 points"),
        (SAME, "founded by 2 students in 1998", "In 1998 it was founded by 2 students"),
        (SAME, "the roots are 2 and 3", "the roots are 3 and 2"),
        (SAME, "5 km and 3 km", "3 km and 5 km"),
    ],
    "an answer that leaves open what the other decides": [
        (DIFFERENT, "5 or 6 days", "5 days"),
        (DIFFERENT, "either 1912 or 1913", "1912"),
        (DIFFERENT, "between 1912 and 1915", "1912"),
        (DIFFERENT, "5-10 mg", "5 mg"),
        (DIFFERENT, "5 to 7 days", "7 days"),
        (DIFFERENT, "Paris or London", "Paris"),
        (DIFFERENT, "It could be Paris or Lyon.", "It is Paris."),
        (DIFFERENT, "3 and -3", "3"),
        (DIFFERENT, "1, 2, 4, 8", "1, 2, 4"),
        (SAME, "5 or 6 days", "6 or 5 days"),
        (SAME, "6 km or 3.7 miles", "6 km"),
        (SAME, "Paris or London", "London or Paris"),
        (SAME, "70 km (43 miles)", "70 km"),
        (SAME, "the Third Crusade, from 1189 to 1192", "Third Crusade"),
    ],
    "how sure the speaker is": [
        (SAME, "Paris\nConfidence: 90%", "Paris\nConfidence: 80%"),
        (SAME, "Guess: Paris\nProbability: 0.9", "Guess: Paris\nProbability: 0.85"),
        (SAME, "Paris. I'm 90% sure.", "Paris"),
        (DIFFERENT, "Paris\nConfidence: 90%", "London\nConfidence: 90%"),
        (DIFFERENT, "It is unlikely to rain", "It is likely to rain"),
    ],
    "a noun that is several units": [
        (DIFFERENT, "50 pounds", "50 kg"),
        (DIFFERENT, "50 pounds", "50 pence"),
        (DIFFERENT, "5 tons", "5 kg"),
        (DIFFERENT, "1 bitcoin", "1 ether"),
        (SAME, "50 pounds", "50 lb"),
        (SAME, "50 pounds", "\u00a350"),
        (SAME, "5 tons", "5 tonnes"),
    ],
    "code": [
        (DIFFERENT, "True && False", "True || False"),
        (DIFFERENT, "rgb(255,0,0)", "rgb(0,255,0)"),
        (SAME, "rgb(255, 0, 0)", "rgb(255,0,0)"),
    ],
}


@pytest.mark.parametrize(
    ("same", "left", "right"),
    [pytest.param(*pair, id=f"{kind}: {pair[1]!r} / {pair[2]!r}") for kind, pairs in FOUND.items() for pair in pairs],
)
def test_a_kind_that_a_fourth_reader_found_is_judged_right(same, left, right):
    judge = load_equivalence("text")
    assert [v.same for v in judge.judge([Pair(None, left, right), Pair(None, right, left)])] == [same, same]


QUESTIONS = [
    ("Can dogs eat chocolate?", "No, chocolate is toxic to dogs.", "Dogs can eat chocolate.", DIFFERENT),
    ("Is Paris the capital of Italy?", "No.", "Paris is the capital of Italy.", DIFFERENT),
    ("Solve x^2=9", "x = 3", "x = 3 or x = -3", DIFFERENT),
    ("Solve x^2=9", "The solutions are x = 3 and x = -3.", "The solution is x = 3.", DIFFERENT),
    ("Solve x^2=9", "x = 3 or x = -3", "$x = \\pm 3$", SAME),
    ("What is 2/3 of 90?", "2/3 of 90 is 60", "60", SAME),
    ("What was the score?", "France 4, Croatia 2", "France 2, Croatia 4", DIFFERENT),
]


@pytest.mark.parametrize(("question", "left", "right", "same"), QUESTIONS, ids=ascii)
def test_the_default_judge_keeps_such_answers_to_a_question_apart(question, left, right, same):
    assert estimate([left, right], question=question).labels == ((0, 0) if same else (0, 1))


@pytest.mark.timeout(60)  # milliseconds each
@pytest.mark.parametrize("piece", ["{} or ", "a{} 5 b{} 6 ", "5 to {} ", "either {} "])
def test_thousands_of_alternatives_are_compared_once(piece):
    parts = [piece.format(*([number] * piece.count("{}"))) for number in range(4000)]
    assert load_equivalence("text").judge([Pair(None, "".join(parts), "".join(reversed(parts)))])

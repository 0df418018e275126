"""Pairs of short answers that a review of the judge `text` found: same or different?"""

from __future__ import annotations

import pytest

from semantic_entropy import Pair, load_equivalence

SAME, DIFFERENT = True, False

# kind and pairs that a review found
REVIEWED = [
    (
        "a comparison without a left operand",
        [
            (DIFFERENT, "<10", ">10"),
            (SAME, "<10", "< 10"),
            (DIFFERENT, "≥10", "≤10"),
            (DIFFERENT, "< 5 years", "> 5 years"),
            (SAME, "> 5 years", ">5 years"),
            (SAME, "x > 5", "5 < x"),
            (DIFFERENT, "!= 5", "== 5"),
            (SAME, "= 5", "5"),
        ],
    ),
    (
        "a negated comparative",
        [
            (DIFFERENT, "no more than 10", "more than 10"),
            (DIFFERENT, "no less than 10", "less than 10"),
            (DIFFERENT, "no later than 1990", "later than 1990"),
            (DIFFERENT, "not until 1990", "until 1990"),
            (DIFFERENT, "not necessarily true", "necessarily true"),
            (DIFFERENT, "no other country", "other country"),
            (DIFFERENT, "no fewer than 5", "fewer than 5"),
            (SAME, "no doubt Paris", "Paris"),
            (SAME, "not only Paris", "Paris"),
            (SAME, "no wonder it is Paris", "Paris"),
            (SAME, "not just France", "France"),
        ],
    ),
    (
        "a denial of a whole clause",
        [
            (DIFFERENT, "It is not true that Paris is the capital", "Paris is the capital"),
            (DIFFERENT, "It is false that Paris is the capital", "Paris is the capital"),
            (DIFFERENT, "It isn't true that the Earth is flat", "The Earth is flat"),
            (SAME, "It is true that Paris is the capital", "Paris is the capital"),
            (SAME, "he never married was born in Rome", "born in Rome"),
            (SAME, "It is not true that Paris is the capital", "It is false that Paris is the capital"),
        ],
    ),
    (
        "dotted codes",
        [
            (DIFFERENT, "192.168.1.1", "192.168.1.10"),
            (DIFFERENT, "v2.10.1", "v2.1.1"),
            (DIFFERENT, "Python 3.10", "Python 3.1"),
            (DIFFERENT, "section 2.1", "section 2.10"),
            (SAME, "Python 3.10", "3.10"),
            (SAME, "v2.1", "2.1"),
            (SAME, "v2.10.1", "2.10.1"),
            (SAME, "2.10", "2.1"),
            (SAME, "1.000.000", "1000000"),
            (SAME, "$2.10", "2.1 dollars"),
            (SAME, "Python 3.10", "python 3.10"),
            (SAME, "It was released with Python 3.10", "Python 3.10"),
        ],
    ),
    (
        "`second` and `one` after an ordinal",
        [
            (DIFFERENT, "the first one", "the second one"),
            (DIFFERENT, "wait a second", "wait two"),
            (SAME, "first", "1st"),
            (SAME, "second place", "2nd place"),
            (SAME, "one second", "1 second"),
            (SAME, "the second one", "the second"),
            (SAME, "twenty one", "21"),
            (SAME, "a second", "1 second"),
            (DIFFERENT, "the first two", "the last two"),
        ],
    ),
    (
        "type I and phase I",
        [
            (DIFFERENT, "type I error", "type II error"),
            (DIFFERENT, "phase I trial", "phase II trial"),
            (SAME, "phase I", "phase 1"),
            (SAME, "type I error", "type 1 error"),
            (SAME, "I won", "won"),
            (SAME, "Phase II trial", "phase 2 trial"),
        ],
    ),
    (
        "particles and small negators",
        [
            (DIFFERENT, "log in", "log out"),
            (DIFFERENT, "put in", "put out"),
            (DIFFERENT, "put it in", "put it out"),
            (DIFFERENT, "went out", "went in"),
            (DIFFERENT, "voted for it", "voted against it"),
            (DIFFERENT, "hardly moved", "moved"),
            (DIFFERENT, "rarely happens", "happens"),
            (DIFFERENT, "few people survived", "many people survived"),
            (DIFFERENT, "lack of vitamin C", "vitamin C"),
            (DIFFERENT, "absence of oxygen", "oxygen"),
            (DIFFERENT, "all but one", "one"),
            (DIFFERENT, "anyone but John", "John"),
            (DIFFERENT, "the 1960s", "1960"),
            (DIFFERENT, "the 1960s", "1965"),
            (SAME, "died in the 1960s", "the 1960s"),
            (DIFFERENT, "seldom happens", "happens"),
            (SAME, "the capital of France, Paris", "Paris"),
        ],
    ),
    (
        "directions of coordinates",
        [
            (DIFFERENT, "40.4 N", "40.4 S"),
            (DIFFERENT, "40.4°N", "40.4°S"),
            (DIFFERENT, "3.7 W", "3.7 E"),
            (DIFFERENT, "5 N", "5 W"),
            (SAME, "5 N", "5 newtons"),
        ],
    ),
    (
        "accidentals",
        [
            (DIFFERENT, "B♭", "B"),
            (DIFFERENT, "F♯", "F"),
            (SAME, "B♭", "B flat"),
            (SAME, "F♯", "F sharp"),
            (SAME, "F#", "F♯"),
            (DIFFERENT, "B♭ major", "B major"),
            (DIFFERENT, "F#", "F"),
        ],
    ),
    (
        "a bare no, spellings and half",
        [
            (SAME, "No", "It does not."),
            (SAME, "No", "It is not."),
            (SAME, "grey", "gray"),
            (SAME, "half", "1/2"),
            (SAME, "half", "a half"),
            (DIFFERENT, "5 ft 10", "5 ft 11"),
            (DIFFERENT, "Yes", "It does not."),
            (DIFFERENT, "No", "It does."),
            (SAME, "second half", "the second half"),
            (SAME, "better half", "better half"),
            (SAME, "colour", "color"),
            (SAME, "two and a half", "2.5"),
            (SAME, "Half-Life 2", "half life 2"),
        ],
    ),
]


@pytest.mark.parametrize(("same", "left", "right"), [pair for _, pairs in REVIEWED for pair in pairs])
def test_pairs_of_a_review_are_judged_in_both_directions(same, left, right):
    judge = load_equivalence("text")
    assert [v.same for v in judge.judge([Pair(None, left, right), Pair(None, right, left)])] == [same, same]


WITH_QUESTION = [
    (
        DIFFERENT,
        "Is a tomato a fruit or a vegetable?",
        "It is classified as a fruit",
        "It is classified as a vegetable",
    ),
    (DIFFERENT, "Did Alice or Bob win?", "Alice won.", "Bob won."),
    (DIFFERENT, "Which is larger, 7 or 5?", "7 is greater", "5 is greater"),
    (SAME, "Did Alice or Bob win?", "Alice won.", "It was Alice who won"),
    (SAME, "Did Alice or Bob win?", "Alice", "Alice won."),
    (DIFFERENT, "Did Alice or Bob win?", "Alice", "Bob won."),
    (SAME, "Who won the 1997 Booker prize?", "Arundhati Roy won the prize", "The Booker was won by Arundhati Roy"),
    (SAME, "Does it rain?", "No", "It does not."),
    (SAME, "Is the earth flat?", "No", "It is not."),
    (DIFFERENT, "Is the earth flat?", "Yes", "It is not."),
    (SAME, "Is the earth flat?", "No", "No, it is round."),
]


@pytest.mark.parametrize(("same", "question", "left", "right"), WITH_QUESTION)
def test_answers_to_an_either_or_question_are_compared_by_their_option(same, question, left, right):
    judge = load_equivalence("text")
    assert [v.same for v in judge.judge([Pair(question, left, right), Pair(question, right, left)])] == [same, same]

"""Rates, remainders, properties of intervals, and answers in words: pairs that differ, and pairs that mean the same."""

from __future__ import annotations

import pytest

from semantic_entropy import estimate, load_equivalence


@pytest.fixture(scope="module")
def judges():
    math = load_equivalence("math")
    yield {"math": math, "auto": "auto"}
    math.close()


DIFFERENT = [
    ("math", "The car goes 60 miles per hour", "The car goes 60 miles per minute"),
    ("auto", "The speed is $5$ miles per hour", "The speed is $5$ miles per minute"),
    ("math", "He earns $5 per hour.", "He earns $5 per day."),
    ("math", "12 dollars a week", "12 dollars a month"),
    ("math", "$50 monthly", "$50 yearly"),
    ("math", "He earns 12 dollars a week.", "He earns 12 dollars a month."),
    ("math", "He pays $50 monthly.", "He pays $50 yearly."),
    ("math", "So she types 60 words per minute.", "So she types 60 words per hour."),
    ("math", "So she saves $20 each week.", "So she saves $20 each month."),
    ("math", "He eats 5 apples per day", "He eats 5 apples per week"),
    ("math", "concave up on $(0,2)$", "concave down on $(0,2)$"),
    ("math", "f is positive on $(1,3)$", "f is negative on $(1,3)$"),
    ("math", "f is convex on $[0,1]$", "f is concave on $[0,1]$"),
    ("auto", "f is convex on $[0,1]$", "f is concave on $[0,1]$"),
    ("math", "The mode is $5$", "The range is $5$"),
    ("math", "The answer is 7 and 3 left over", "The answer is 3 and 7 left over"),
    ("math", "Each child gets 7 candies, and 3 are left over.", "Each child gets 3 candies, and 7 are left over."),
    ("auto", "Each gets $7$ and $3$ are left over", "Each gets $3$ and $7$ are left over"),
    ("math", "no solution", "no real solutions"),
    ("math", "The answer is yes", "The answer is no"),
    ("math", "True", "False"),
    ("math", "The series converges.", "The series diverges."),
    ("math", "It does not converge.", "It converges."),
    ("math", "1 in 4", "4 in 1"),
    ("math", "\\boxed{\\begin{cases}x=1\\\\y=2\\end{cases}}", "\\boxed{x=2,y=1}"),
    ("math", "The cost is $3 per person.", "The cost is $3 per group."),
    ("math", "$3 per pound", "$3 per ounce"),
    ("math", "The sum is one half", "The product is one half"),
    ("math", "He runs 5 km a day.", "He runs 5 km a week."),
    ("math", "Does not converge.", "The series converges."),
    ("math", "The standard deviation is 5", "The variance is 5"),
]


SAME = [
    ("math", "He earns $5 per hour.", "He earns $5."),
    ("math", "He earns $5 per hour.", "He earns $5 an hour"),
    ("math", "He earns $5 per hour.", "$5/hour"),
    ("math", "He earns $5 per hour.", "$5 hourly"),
    ("math", "The speed is 60 miles an hour", "60 mph"),
    ("math", "The speed is 60 miles per hour", "60 miles per hour"),
    ("math", "60 km/h", "60 kilometers an hour"),
    ("math", "60 words per minute", "60 words/minute"),
    ("math", "60 words per minute", "60"),
    ("math", "f is concave up on $(0,2)$.", "$(0,2)$"),
    ("math", "The mode is $5$", "$5$"),
    ("math", "The answer is negative 5", "-5"),
    ("math", "7 R 3", "7 remainder 3"),
    ("math", "The answer is 7 and 3 left over", "7 remainder 3"),
    ("math", "The answer is 7 with a remainder of 3", "7 remainder 3"),
    ("math", "The answer is 7 and 3", "The answer is 3 and 7"),
    ("math", "one third", "1/3"),
    ("math", "half", "1/2"),
    ("math", "The answer is one third.", "1/3"),
    ("math", "The probability is one third", "1/3"),
    ("math", "a quarter", "0.25"),
    ("math", "\\boxed{\\text{one third}}", "\\boxed{1/3}"),
    ("auto", "$\\frac13$", "one third"),
    ("auto", "\\boxed{\\frac12}", "The probability is one half."),
    ("math", "The limit does not exist.", "DNE"),
    ("math", "The limit does not exist.", "\\boxed{\\text{does not exist}}"),
    ("math", "The answer is: no solution", "\\boxed{\\emptyset}"),
    ("math", "The answer is: no solution", "There is no solution."),
    ("math", "The answer is yes", "Yes"),
    ("math", "Answer: infinitely many", "infinitely many"),
    ("math", "infinitely many solutions", "infinitely many"),
    ("math", "infinity", "\\boxed{\\infty}"),
    ("math", "0,25", "0.25"),
    ("math", "La réponse est 3,5", "The answer is 3.5"),
    ("math", "Die Antwort ist 0,375.", "The answer is 0.375"),
    ("math", "La respuesta es 1,500", "1500"),
    ("math", "1 in 4", "25%"),
    ("math", "\\boxed{\\begin{cases}x=1\\\\y=2\\end{cases}}", "\\boxed{x=1,y=2}"),
    ("math", "0x1F", "31"),
    ("math", "1F_{16}", "31"),
    ("math", "52_8", "52"),
    ("math", "two-thirds", "2/3"),
    ("math", "\\boxed{0,1}", "\\boxed{1,0}"),
    ("math", "$15/hr", "$15 per hour"),
    ("math", "The sum is one half", "1/2"),
    ("math", "5 parts per million", "5 ppm"),
    ("math", "The cost is $3 per person.", "$3"),
    ("math", "3 m/s", "3 meters per second"),
]


@pytest.mark.parametrize(("judge", "left", "right"), DIFFERENT, ids=ascii)
def test_answers_that_differ_are_kept_apart(judges, judge, left, right):
    result = estimate([left, right], equivalence=judges[judge])
    assert (result.labels, result.invalid) == ((0, 1), 0)


@pytest.mark.parametrize(("judge", "left", "right"), SAME, ids=ascii)
def test_answers_that_mean_the_same_agree(judges, judge, left, right):
    assert estimate([left, right], equivalence=judges[judge]).labels == (0, 0)


@pytest.mark.parametrize("response", ["Infinity Theory", "It is on a convergent boundary.", "She is the one.", "Paris"])
def test_words_that_are_no_mathematical_answer_are_invalid(judges, response):
    assert estimate([response, response], equivalence=judges["math"]).invalid == 2

"""Pairs of responses that look alike and differ: a merge hides a guess, so each pair stays apart."""

from __future__ import annotations

import pytest

from semantic_entropy import estimate, load_equivalence


@pytest.fixture(scope="module")
def math():
    judge = load_equivalence("math")
    yield judge
    judge.close()


BOXES = [
    ("2-1/3", "7/3"),  # a difference, no mixed number
    ("3-1/2", "7/2"),
    ("n+3-1/2", "n+7/2"),
    ("2,2,3", "2,3,3"),  # a list keeps its multiplicities
    (r"5\text{ men}", r"5\text{ women}"),
    ("5%", "5\u2030"),
    ("45^\\circ", "45'"),
    ("12:16", "3:5"),
    ("\\angle ABC", "\\angle BAC"),
    ("H2O", "OH2"),
]


@pytest.mark.parametrize(("left", "right"), BOXES)
def test_boxes_that_differ_are_kept_apart(math, left, right):
    assert estimate([rf"\boxed{{{left}}}", rf"\boxed{{{right}}}"], equivalence=math).labels == (0, 1)


SAME_BOXES = [
    ("1-1/2", "1/2"),
    ("2 1/3", "7/3"),
    ("2 and 1/3", "7/3"),
    ("2,3,2", "3,2,2"),
    ("twelve", "12"),
    ("\u4e94\u5341", "50"),
    ("\\varnothing", "\\emptyset"),
    ("12:16", "3:4"),
]


@pytest.mark.parametrize(("left", "right"), SAME_BOXES)
def test_boxes_that_mean_the_same_agree(math, left, right):
    assert estimate([rf"\boxed{{{left}}}", rf"\boxed{{{right}}}"], equivalence=math).labels == (0, 0)


PROSE = [
    ("Answer: 15 (confidence 90%)", "Answer: 16 (confidence 90%)"),
    ("The answer is 5, not 6.", "The answer is 7, not 6."),
    ("The answer is 5 (see equation 3)", "The answer is 7 (see equation 3)"),
    ("The answer is 20 percent of 50.", "The answer is 30 percent of 50."),
    ("The answer is $5$ instead of $6$.", "The answer is $7$ instead of $6$."),
    ("It costs $5, not $6.", "It costs $7, not $6."),
    ("The ratio is 2:3.", "The ratio is 5:3."),
    ("It takes 2 hours and 30 minutes.", "It takes 3 hours and 30 minutes."),
    ("He is 5 ft 10 in tall.", "He is 6 ft 10 in tall."),
    ("It is between 3 and 5.", "It is between 4 and 5."),
    ("It goes from 3 to 5.", "It goes from 4 to 5."),
    ("The chance is 1 out of 6.", "The chance is 5 out of 6."),
    ("It starts at 8:30.", "It starts at 9:30."),
    ("The solutions are 2 and 3.", "The solutions are 1 and 3."),
    ("The solutions are 1, 2 and 3.", "The solutions are 0, 2 and 3."),
    ("x = 2 or x = 3", "x = 1 or x = 3"),
    ("Hence we have x = 2, y = 3.", "Hence we have x = 1, y = 3."),
    ("It is between $3$ and $5$.", "It is between $4$ and $5$."),
    ("It is $2$ to $3$.", "It is $1$ to $3$."),
    ("They won 3-2.", "They won 4-3."),
    ("It is less than 5.", "It is more than 5."),
    ("It is less than $5$.", "It is more than $5$."),
    ("The price is up 5%.", "The price is down 5%."),
    ("They gain 5.", "They lose 5."),
    ("It lost $5$ percent.", "It gained $5$ percent."),
    ("\u4f1a\u8bae\u5728\u4e0a\u53488\u70b9\u3002", "\u4f1a\u8bae\u5728\u4e0b\u53488\u70b9\u3002"),
    ("It made a profit of 5.", "It made a loss of 5."),
    ("There are at least 5.", "There are at most 5."),
    ("It is an increase of 5.", "It is a decrease of 5."),
    ("It is not 5.", "It is 5."),
    ("\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}5&2\\end{pmatrix}"),
    ("The matrix is \\begin{pmatrix}1&2\\end{pmatrix}.", "The matrix is \\begin{pmatrix}5&2\\end{pmatrix}."),
    ("We find x \\ne 2.", "We find x = 2."),
    ("The interval is (-\\infty, 2).", "The interval is (2, \\infty)."),
    ("So x<5 here.", "So x>5 here."),
    ("So x < 5 here.", "So x > 5 here."),
    ("We obtain x+1.", "We obtain x-1."),
    ("The set is [1,2).", "The set is (1,2]."),
    ("It equals \\log_2 8.", "It equals \\log_3 8."),
    ("In binary it is 101_2.", "Here it is 101_3."),
    ("This gives 2^{10}.", "This gives 3^{10}."),
    ("This gives \\sqrt[3]{8}.", "This gives \\sqrt{8}."),
    ("This is 5 \\pmod 7.", "This is 6 \\pmod 7."),
    ("So x is 5 \\pmod 7.", "So x is 6 \\pmod 7."),
    ("It is 50% off.", "It is 50% more."),
    ("\u4e00\u5171\u67093\u4e07\u3002", "\u4e00\u5171\u67093\u4ebf\u3002"),
    ("There are 3 boys.", "There are 3 girls."),
]


@pytest.mark.parametrize(("left", "right"), PROSE)
def test_answers_in_prose_that_differ_are_kept_apart(math, left, right):
    result = estimate([left, right], equivalence=math)
    assert result.labels == (0, 1)
    assert result.n_valid == 2


@pytest.mark.parametrize(("left", "right"), [pair for pair in PROSE if "$" in pair[0]])
def test_auto_keeps_them_apart_too(left, right):
    assert estimate([left, right]).labels == (0, 1)


SAME_PROSE = [
    ("So there are 12 boys in the class.", "12"),
    ("So x = 5.", "5"),
    ("3 + 4 = 7", "7"),
    ("In 2020, 5 people came.", "5"),
    ("So the total is 5.", "Therefore, he has 5 apples."),
    ("It is 3 1/2 in all.", "3.5"),
    ("The interval is $(1, 2)$.", "The interval is (1, 2)."),
    ("He has 5 left.", "5"),
    ("It takes 150 minutes.", "It takes 2 hours and 30 minutes."),
    ("The solutions are 2 and 3.", "\\boxed{2, 3}"),
    ("The ratio is 2:3.", "\\boxed{2:3}"),
    ("Thus a total of 5 dollars.", "5"),
    ("The answer is 5, since 2 + 3 = 5.", "5"),
    ("It is 5 (because 2 + 3 = 5).", "5"),
    ("The answer is 5 dollars.", "$5"),
    ("After 3 days, 7 remain.", "7"),
    ("Adding 3 and 4 gives 7.", "7"),
    ("Step 1. Add 2 and 3.\nStep 2. The result is 5.", "5"),
    ("So 2 * 3 = 6 apples.", "6"),
    ("**5**", "5"),
    ("So it's 5!", "5"),
    ("It is (5).", "5"),
    ("x \u2264 5", "So x \u2264 5."),
]


@pytest.mark.parametrize(("left", "right"), SAME_PROSE)
def test_answers_in_prose_that_mean_the_same_agree(math, left, right):
    assert estimate([left, right], equivalence=math).labels == (0, 0)

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
    ("0,375", "375"),  # no number has thousands after a zero
    ("-0,001", "-1"),
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
    ("0,375", "3/8"),
    ("0,5", "5, 0"),  # a list of two numbers
]


@pytest.mark.parametrize(("left", "right"), SAME_BOXES)
def test_boxes_that_mean_the_same_agree(math, left, right):
    assert estimate([rf"\boxed{{{left}}}", rf"\boxed{{{right}}}"], equivalence=math).labels == (0, 0)


PROSE = [
    ("Die Antwort ist 0,375.", "Die Antwort ist 375."),
    ("La probabilidad es 0,250", "La probabilidad es 250"),
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


# Each kind was found by an attack on the judges on 2026-11-26.
ATTACKED = {
    "letter products": [
        ("a^2+2ab+b^2", "a^2-2ab+b^2"),
        ("a^2+2ab+b^2", "b^2"),
        ("y = ax^2 + bx + c", "y = ax^2 - bx + c"),
        ("3ab + 2c", "5ab + 2c"),
        ("ab + 1", "cd + 1"),
        ("**2xy + 1**", "**3xy + 1**"),
        ("Answer: mx + 3", "Answer: nx + 3"),
        ("The area is lw+2", "The area is lh+2"),
    ],
    "case of letters": [
        (r"\boxed{R-r}", r"\boxed{r-R}"),
        (r"\boxed{\pi(R^2-r^2)}", r"\boxed{0}"),
        (r"\boxed{\frac{M}{m+M}}", r"\boxed{\frac12}"),
        (r"\boxed{F=GMm}", r"\boxed{F=Gmm}"),
        (r"\boxed{\frac43\pi R^3}", r"\boxed{\frac43\pi r^3}"),
        ("$R-r$", "$r-R$"),
        (r"\boxed{\Sigma}", r"\boxed{\sigma}"),
        (r"\boxed{\Gamma(x)}", r"\boxed{\gamma(x)}"),
        (r"\boxed{\frac{\Delta x}{\delta x}}", r"\boxed{1}"),
        (r"\boxed{X_A+1}", r"\boxed{X_a+1}"),
        (r"\boxed{Aa}", r"\boxed{AA}"),
    ],
    "negation and predicates": [
        ("n is divisible by 3", "n is not divisible by 3"),
        ("x equals 3", "x does not equal 3"),
        ("It is 5", "It can't be 5"),
        ("It is true that x is 5", "It is not true that x is 5"),
        ("x = 3", "x cannot be 3"),
        ("x = 3", "no solution for x = 3"),
        ("Yes, 5", "No, 5"),
        ("It is a factor of 12", "It is a multiple of 12"),
        ("The slope is 2", "The intercept is 2"),
        ("The slope of the line is 2", "The intercept of the line is 2"),
        ("a minimum of 5 at x = 2", "a maximum of 5 at x = 2"),
        ("minimum 5 at x = 6", "minimum 4 at x = 6"),
        ("sum is 3", "product is 3"),
        ("the first 3", "the last 3"),
        ("row 3", "column 3"),
        ("Tom wins by 5", "Ann wins by 5"),
    ],
    "changes": [
        ("The price increases by 20%", "The price decreases by 20%"),
        ("grew by 5", "shrank by 5"),
        ("increases by a factor of 4", "decreases by a factor of 4"),
        ("5% discount", "5% markup"),
        ("a discount of 5%", "a surcharge of 5%"),
        ("20% bigger", "20% smaller"),
        ("$5 too much", "$5 too little"),
        ("5 years ago", "in 5 years"),
        ("5 minutes fast", "5 minutes slow"),
        ("translated 3 units up", "translated 3 units down"),
        ("doubled to 10", "halved to 10"),
    ],
    "operators in words": [
        ("5 squared", "5"),
        ("the square root of 5", "5"),
        ("the square root of 5", "the cube root of 5"),
        ("the reciprocal of 3", "3"),
        ("half of 10", "10"),
        ("floor(3.5)", "ceil(3.5)"),
        ("print(5)", "5"),
    ],
    "several answers": [
        (r"\boxed{5} and \boxed{7}", r"\boxed{6} and \boxed{7}"),
        (r"\boxed{5} and \boxed{7}", r"\boxed{7}"),
        (r"$x=\boxed{5}$ and $y=\boxed{7}$", r"$x=\boxed{6}$ and $y=\boxed{7}$"),
        ("x = 5\ny = 6", "x = 4\ny = 6"),
        ("1) 5\n2) 6", "1) 4\n2) 6"),
        ("(i) 5 (ii) 6", "(i) 4 (ii) 6"),
        ("part (a) 5, part (b) 6", "part (a) 4, part (b) 6"),
        ("Tom has 3 apples, Ann has 5 apples", "Tom has 4 apples, Ann has 5 apples"),
        ("7 adults and 12 children", "12 adults and 7 children"),
        ("There are 3 cats and 5 dogs.", "There are 5 cats and 3 dogs."),
    ],
    "units": [
        ("500 mcg", "500 mg"),
        ("3 ppm", "3 ppb"),
        (r"\boxed{20\%}", r"\boxed{20 \text{ people}}"),
        (r"\boxed{20\%}", r"\boxed{20\text{ km}}"),
        (r"\boxed{20\%}", r"\boxed{\$20}"),
        (r"\boxed{6'}", r"\boxed{6''}"),
        (r"\boxed{5^\circ 30'}", r"\boxed{5^\circ 30''}"),
    ],
    "notation": [
        (r"\boxed{\frac{dy}{dx}}", r"\boxed{\frac{dx}{dy}}"),
        (r"\boxed{\frac{dP}{dt}=kP}", r"\boxed{\frac{dP}{dx}=kP}"),
        (r"\boxed{\frac{\partial u}{\partial t}=k}", r"\boxed{\frac{\partial u}{\partial x}=k}"),
        (r"\boxed{y''-y=0}", r"\boxed{y'-y=0}"),
        (r"\boxed{f'(x)}", r"\boxed{f''(x)}"),
        (r"\boxed{A^T}", r"\boxed{A}"),
        (r"\boxed{I_1 + I_2}", r"\boxed{I_1 + I_3}"),
        (r"\boxed{E[X^2]}", r"\boxed{E[X]^2}"),
        (r"\boxed{E[X^2]-E[X]^2}", r"\boxed{0}"),
        (r"\boxed{\vec{a}\cdot\vec{b}}", r"\boxed{\vec{a}\times\vec{b}}"),
        (r"\boxed{A \times B}", r"\boxed{B \times A}"),
        (r"\boxed{\nabla \cdot F}", r"\boxed{\nabla \times F}"),
        (r"\boxed{2 \mod 5}", r"\boxed{2 \mod 7}"),
        (r"\boxed{\sim n}", r"\boxed{n}"),
        (r"\boxed{\begin{pmatrix}3\\4\end{pmatrix}}", r"\boxed{3 < x < 4}"),
        (r"\boxed{\begin{pmatrix}3\\4\end{pmatrix}}", r"\boxed{(4,3)}"),
        (r"\boxed{1990s}", r"\boxed{1990}"),
        ("+-3", "-3"),
        (r"f(x)=\begin{cases}1 & x=0\\2 & x=1\end{cases}", r"f(x)=\begin{cases}2 & x=0\\1 & x=1\end{cases}"),
    ],
    # fresh inputs 2026-11-26
    "changed names": [
        ("|x| = 5", "x = 5"),
        (r"\boxed{\left|x\right| = 5}", r"\boxed{x = 5}"),
        (r"\boxed{|x| = 5}", r"\boxed{5}"),
        (r"\boxed{|AB| = 5}", r"\boxed{|CD| = 5}"),
        (r"\boxed{f'(x) = 5}", r"\boxed{f(x) = 5}"),
        (r"\boxed{f''(x) = 5}", r"\boxed{f'(x) = 5}"),
        (r"\boxed{f'(x) = 2x}", r"\boxed{f(x) = 2x}"),
        (r"\boxed{\frac{dy}{dx} = 5}", r"\boxed{y = 5}"),
        (r"\boxed{\frac{dy}{dx} = 2x}", r"\boxed{y = 2x}"),
        (r"\boxed{\dot{x} = 5}", r"\boxed{x = 5}"),
        (r"\boxed{\bar{x} = 5}", r"\boxed{x = 5}"),
        (r"\boxed{\hat{p} = 0.5}", r"\boxed{p = 0.5}"),
        (r"\boxed{\Delta x = 5}", r"\boxed{x = 5}"),
        (r"\boxed{\vec{v} = (1,2)}", r"\boxed{v = (1,2)}"),
        (r"\boxed{\overline{z} = 3+4i}", r"\boxed{z = 3+4i}"),
        (r"\boxed{\tan x = 1}", r"\boxed{x = 1}"),
        (r"\boxed{\lfloor x \rfloor = 5}", r"\boxed{x = 5}"),
        (r"\boxed{n! = 6}", r"\boxed{n = 6}"),
        (r"\boxed{A^{-1} = 2}", r"\boxed{A = 2}"),
        (r"\boxed{A^T = 5}", r"\boxed{A = 5}"),
        (r"\boxed{E[X] = 5}", r"\boxed{X = 5}"),
        (r"\boxed{\mathbb{E}[X] = 5}", r"\boxed{X = 5}"),
        (r"\boxed{\operatorname{Var}(X) = 5}", r"\boxed{X = 5}"),
        (r"\boxed{P(A|B) = 0.5}", r"\boxed{P(A) = 0.5}"),
        ("So $|x| = 5$.", "So $x = 5$."),
        (r"\overline{AB} = 5", r"\overline{BC} = 5"),
    ],
    "names in prose": [
        ("So x = 3.", "So y = 3."),
        ("We get x = 3.", "We get y = 3."),
        ("The solution is x = 3", "The solution is y = 3"),
        ("the line x = 3", "the line y = 3"),
        ("Therefore, n = 3 terms", "Therefore, m = 3 terms"),
        ("x goes to 5", "y goes to 5"),
        ("So |x| = 5.", "So x = 5."),
        ("So f'(2) = 5.", "So f(2) = 5."),
        (r"So \frac{dy}{dx} = 5.", "So y = 5."),
        (r"So \bar{x} = 5.", "So x = 5."),
        ("So E[X] = 5.", "So X = 5."),
        ("|AB| = 5", "|CD| = 5"),
    ],
    "subjects": [
        ("The x-intercept is 3.", "The y-intercept is 3."),
        ("The $x$-intercept is 3.", "The $y$-intercept is 3."),
        ("It crosses the x-axis at 3.", "It crosses the y-axis at 3."),
        ("Angle A is 60 degrees.", "Angle B is 60 degrees."),
        ("Side a is 5", "Side b is 5"),
        ("The length of AB is 5.", "The length of BC is 5."),
        ("The 5th term is 12", "The 6th term is 12"),
        ("On day 5 he has 12", "On day 6 he has 12"),
    ],
    "adjectives": [
        ("Amy has 12 red marbles and 8 blue marbles.", "Amy has 8 red marbles and 12 blue marbles."),
        ("3 red pens and 4 blue pens", "4 red pens and 3 blue pens"),
        ("3 black cats and 5 white dogs", "5 black cats and 3 white dogs"),
    ],
    "sets": [(r"\boxed{{1, 2}}", r"\boxed{(1, 2)}"), ("{1, 2}", "(1, 2)")],
    "closed lists": [
        ("The bigger number is 12", "The smaller number is 12"),
        ("The larger number is 12", "The smaller number is 12"),
        ("The greater number is 12", "The lesser number is 12"),
        ("It leaves at 3:45 PM", "It arrives at 3:45 PM"),
        ("increasing on (0,1)", "decreasing on (0,1)"),
        ("The domain is (0,1)", "The range is (0,1)"),
        ("The length is 5", "The width is 5"),
        ("The width is 5 and the length is 6.", "The width is 6 and the length is 5."),
        ("The variance is 4", "The standard deviation is 4"),
        ("The vertex is (2, -3).", "The focus is (2, -3)."),
    ],
}


@pytest.mark.parametrize(("left", "right"), [pair for pairs in ATTACKED.values() for pair in pairs])
def test_responses_that_were_called_the_same_are_kept_apart(math, left, right):
    labels = estimate([left, right], equivalence=math).labels
    assert labels == (0, 1)


SAME_AFTER_THE_ATTACK = [
    ("(a+b)^2", "a^2+2ab+b^2"),
    (r"\boxed{R-r}", r"\boxed{-r+R}"),
    (r"\boxed{y'=2x}", r"\boxed{2x=y'}"),
    (r"\boxed{\frac{dy}{dx}=2x}", r"\boxed{\dfrac{dy}{dx} = x+x}"),
    (r"\boxed{y''}", r"\boxed{y^{\prime\prime}}"),
    (r"\boxed{x \equiv 3 \pmod 7}", r"\boxed{x \equiv 10 \pmod 7}"),
    (r"\boxed{17 \bmod 5}", r"\boxed{2}"),
    ("The slope of the line is 2", "2"),
    ("Yes, 5", "5"),
    (r"\boxed{\begin{pmatrix}3\\4\end{pmatrix}}", r"\boxed{(3,4)}"),
    (r"\boxed{\langle 1,2,3\rangle}", r"\boxed{(1,2,3)}"),
    ("x\u00b2", "x^2"),
    (r"\boxed{x^2+C}", r"\boxed{x^2+c}"),
    (r"\boxed{\{\}}", r"\boxed{\emptyset}"),
    (r"\boxed{20s}", r"\boxed{20}"),
    ("20% bigger", "20%"),
    ("5 squared", "25"),
    ("the cube root of 8", "2"),
    ("the reciprocal of 3", "1/3"),
    ("5 choose 2", "10"),
    ("4 factorial", "24"),
    (r"\boxed{5} and \boxed{7}", r"\boxed{5, 7}"),
    ("x = 5\ny = 6", r"\boxed{x = 5, y = 6}"),
    (r"First \boxed{3}, which gives us the next step. So it is \boxed{7}.", r"\boxed{7}"),
    ("He cannot buy more than 5 apples.", "at most 5 apples"),
    ("The length that is not used is 5.", "The length that is left is 5."),
    ("He first has 5.", "He has 5 last year."),
    ("Since he does not need 3 of them, 7 are left.", "7"),
    ("A loss of 5 dollars last year.", "a loss of 5 dollars"),
    ("x = 5", "5"),
    (r"\boxed{f'(x) = 5}", r"\boxed{5}"),
    (r"\boxed{f'(x) = 2x}", r"\boxed{2x}"),
    (r"\boxed{f'(x) = 2x+x}", r"\boxed{f'(x) = 3x}"),
    (r"\boxed{\frac{dy}{dx} = 5}", r"\boxed{\dfrac{dy}{dx}=5.0}"),
    (r"\boxed{E[X] = 5}", r"\boxed{E[X]=\frac{10}{2}}"),
    (r"\boxed{|x| = 5}", r"\boxed{\left|x\right| = 5}"),
    (r"\boxed{\overline{AB} = 5}", r"\boxed{|AB| = 5}"),
    (r"\boxed{\overline{AB} = 5}", r"\boxed{AB = 5}"),
    ("So x = 3.", "3"),
    ("So n = 3 terms", "3 terms"),
    ("Then t = 3 hours.", "It takes 3 hours."),
    ("The x-intercept is 3.", "3"),
    ("The x-intercept is (3, 0).", "(3, 0)"),
    ("Angle A is 60 degrees", "The angle is 60 degrees"),
    ("The length of AB is 5.", "AB = 5"),
    ("The 5th term is 12", "$a_5 = 12$"),
    ("On day 5 he has 12.", "12"),
    ("There are 12 boys and 8 girls in class.", "12 boys and 8 girls"),
    ("{1, 2}", r"\{1, 2\}"),
    (r"\boxed{1{,}000}", r"\boxed{1000}"),
    ("The larger number is 12", "The bigger number is 12"),
    ("The vertex is (2, -3).", "(2, -3)"),
    ("The maximum is (1,5)", "(1,5)"),
    ("The sum is x + 1", "x+1"),
    (r"The slope is $\frac{a}{b}$", r"$\frac{a}{b}$"),
    ("The domain is (0,1)", "0 < x < 1"),
]


@pytest.mark.parametrize(("left", "right"), SAME_AFTER_THE_ATTACK)
def test_responses_that_mean_the_same_still_agree(math, left, right):
    assert estimate([left, right], equivalence=math).labels == (0, 0)


@pytest.mark.parametrize(("left", "right"), [("Na+", "Na"), ("v3.10", "v3.1"), ("v2.0", "v2"), ("the 1990s", "1990")])
def test_auto_gives_ions_versions_and_decades_to_text(left, right):
    assert estimate([left, right]).labels == (0, 1)

r"""The answer that a response states, found without a box.

The source of a kind of input is a public report on a grading tool. The texts are ours.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy_plugins.math.stated_answer import extract_answer, states_mathematics

FOUND = [
    # open-compass/opencompass#2647, huggingface/open-r1#503
    ("The answer is $9{,}500$.", "$9{,}500$"),
    ("The answer is 1 234 567.", "1 234 567"),
    ("The answer is 3\u03c0.", "3\u03c0"),
    ("ANSWER: 15\nconfidence: 90%", "15"),
    (r"The probability is \(\frac{1}{6}\).", r"\(\frac{1}{6}\)"),
    ("The derivative is $3x^2$.", "$3x^2$"),
    ("The derivative is 3x^2.", "3x^2"),
    ("The point is $(3,4)$.", "$(3,4)$"),
    ("The point is (2, 3).", "(2, 3)"),
    ("**Answer:** 10 - 2\u221a5", "10 - 2\u221a5"),
    ("So we get 10 - 2\u221a5.", "10 - 2\u221a5"),
    ("The final answer is 3/4.", "3/4"),
    ("It is 3 1/2 in all.", "3 1/2"),
    ("In total that is 10^6.", "10^6"),
    ("Hence there are 3 x 10^8 of them.", "3 x 10^8"),
    ("We get \\[ x = \\frac{3}{4} \\]", "\\[ x = \\frac{3}{4} \\]"),
    ("So $x$ is 5.", "5"),
    # open-compass/opencompass#2343, EleutherAI/lm-evaluation-harness#3214
    ("profit is $70,000.", "profit is $70,000."),
    ("$200,000 - $130,000 = $70,000.", "$200,000 - $130,000 = $70,000."),
    ("It is **$29.00**.", "$29.00"),
    ("It costs between $5 and $7.", "between $5 and $7"),
    ("The company earned 5 million dollars last year.", "5 million dollars"),
    ("The car drives at 60 km/h.", "60 km/h"),
    ("The meeting is at 8 PM.", "8 PM"),
    ("There are 12 boys in the class.", "12"),
    ("The angle measures 45\u00b0.", "45\u00b0"),
    # huggingface/Math-Verify#76
    ("So the total is 234.\n\nFinal Answer: **73**", "73"),
    ("12 + 17 = 29\n#### 29", "29"),
    ("Answer: 5 because 2 + 3 = 5.", "5"),
    ("The answer is 7. Note that 8 is wrong.", "7"),
    ("The answer is 6. No, the answer is 8.", "8"),
    ("\u7b54\u6848\u662f 42\u3002\u68c0\u67e5: 6 * 7", "42"),
    ("La respuesta es 42, porque 6 por 7 son 42.", "42"),
    ("The answer is 3 apples and 4 pears.", "3 apples and 4 pears"),
    # attack of 2026-11-26
    ("It took 10 years, 254 days", "10 years, 254 days"),
    ("Na+ is an ion of 2 kinds.", "2 kinds"),
    ("The slope of the line is 2.", "slope 2"),
    ("He has 32 feet * 2 left.", "2 left"),
    # as before
    ("nothing", None),
    ("I don't know.", None),
]


@pytest.mark.parametrize(("response", "answer"), FOUND, ids=lambda value: str(value)[:40])
def test_the_stated_answer_is_found(response, answer):
    assert extract_answer(response) == answer


@pytest.mark.parametrize(
    ("response", "states"),
    [
        ("The answer is $\\frac{1}{2}$.", True),
        ("**Answer:** 10 - 2\u221a5", True),
        ("The final answer is 3/4.", True),
        ("The answer is 1912.", False),
        ("It was 1914-1918.", False),
        ("The answer is Paris.", False),
        ("It costs $5, not $6.", False),
        ("2020-01-05", False),
    ],
)
def test_dates_scores_and_plain_numbers_are_not_stated_mathematics(response, states):
    assert states_mathematics(response) is states


@given(st.text(alphabet="answer is: $\\()[]0123456789.,+-*/^\u221a\u03c0\n#", max_size=200))
def test_any_text_gives_an_answer_with_content_or_none(response):
    answer = extract_answer(response)
    assert answer is None or answer.strip()


HOSTILE = [
    "$",
    "\\(",
    "\\[",
    "1 ",
    "1,",
    "(1,",
    "answer is ",
    "answer ",
    "####",
    "\u221a",
    "1/",
    "1-",
    "x^",
    "$1 ",
    " ",
    "\n",
]


@pytest.mark.timeout(60)  # each takes milliseconds; a pattern that backtracks takes hours
@pytest.mark.parametrize("piece", HOSTILE)
def test_a_long_text_of_anything_is_read_in_one_pass(piece):
    start = time.process_time()
    extract_answer(piece * (200_000 // len(piece)))
    assert time.process_time() - start < 20  # detects a hang, measures no speed

"""Extraction: tables of responses and the answer each gives. None is an invalid answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import InputError, estimate
from semantic_entropy.clusters.answers import EXTRACTORS, is_refusal, load_extractor, strip_reasoning

BOXED = [
    (r"so \boxed{42}.", "42"),
    (r"first \boxed{1}, no, \boxed{2}", "2"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\boxed{\boxed{5}}", "5"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),  # an escaped brace opens nothing
    (r"\boxed{7} and then \boxed{8", "7"),  # cut off: the last complete one
    (r"\boxed{} stays empty", None),
    (r"put it in \boxed{}: \boxed{3}", "3"),
    (r"\fbox{6}", "6"),
    (r"\boxed 9.", "9"),
    ("no box", None),
    ("", None),
]
CHOICE = [
    ("B", "B"),
    ("(c)", "C"),
    (r"\boxed{D}", "D"),
    (r"\boxed{\text{(E)}}", "E"),
    ("The answer is (A).", "A"),
    ("The correct option is **C** because A is wrong.", "C"),
    ("Answer: B", "B"),
    ("A dog and I think", None),  # an article and a pronoun
    ("B) the second one", "B"),
    *[
        (rf"It may be \boxed{{{box}}}.", None)
        for box in ("A, B, C, D", "A or D", r"\text{A} / \text{D}", "(A) and (D)")
    ],
    (r"\boxed{(A) 3 or (D) 5}", None),
    (r"\boxed{B, B}", "B"),
    (r"\boxed{B. Vitamin C}", "B"),
    (r"\boxed{Vitamin C}", None),
    (r"\boxed{I}", "I"),
    ("The answer is I don't know", None),
    ("Answer: I cannot tell from this", None),
    ("The answer is I.", "I"),
    ("The answer is I because it is the largest", "I"),
    ("The answer is (I) and I am sure", "I"),
    ("nothing here", None),
]
NUMBER = [
    ("the total is 18.", "18"),
    ("$1,234.50", "1234.50"),
    ("from 3 to -4", "-4"),
    ("5-3", "3"),  # a difference, not a sign
    ("\u22127", "-7"),
    ("3/4 of it", "3/4"),
    ("about 50%", "50%"),
    ("1e-5", "1e-5"),
    (".5", ".5"),
    ("room x2", None),
    ("it has 1 000 parts", "1000"),
    ("2.5 million", "2500000"),
    ("2.5 billion people", "2500000000"),
    ("3,14", "3.14"),
    ("1, 2, 3", "3"),
    ("1,2,3", "3"),
    ("3 1/2", "7/2"),
    ("10^6", "1000000"),
    ("2^{10}", "1024"),
    ("10^-3", "10^-3"),
    ("9^999", "9^999"),
    ("3 x 10^8", "3e8"),
    (r"-3 \times 10^{-8}", "-3e-8"),
    ("1.234.567", "1234567"),
    ("1.234.567,8", "1234567.8"),
    (r"$\frac{1}{6}$", "1/6"),
    ("\uff15\uff12", "52"),
    ("\u0661\u0662\u0663", "123"),
    ("+5", "5"),
    (r"9\,500", "9500"),
    ("9{,}500", "9500"),
    ("in 2001 500 came", "500"),
    ("none", None),
    # attack 2026-11-26
    ("-$5", "-5"),
    ("Total: -$5", "-5"),
    ("\u2212$1,200", "-1200"),
    ("\u2212\u20ac3", "-3"),
    ("-EUR3", "-3"),
    ("a profit of -$5 million", "-5000000"),
    ("minus 5", "-5"),
    ("negative 5", "-5"),
    ("5 minus 3", "3"),
    ("- 5", "-5"),
    ("x = - 5", "-5"),
    ("two steps:\n- 5 apples\n- 6 pears", "6"),
    ("$1.5M", "1500000"),
    ("$2B", "2000000000"),
    ("3k", "3000"),
    ("5m", "5"),
    ("300 K", "300"),
    ("1.5 bn", "1500000000"),
    ("5 km", "5"),
    ("\u00bd", "1/2"),
    ("3\u00bd", "7/2"),
    ("10\u2076", "1000000"),
    ("5 cm\u00b2", "5"),
    ("1_000", "1000"),
    ("1.234,5", "1234.5"),
    ("0x1F", "31"),
    ("101_2", None),
    ("5 \u00b1 2", "5"),
    ("5 +/- 0.2", "5"),
    ("5 out of 10", "5"),
    ("5 (out of a total of 10)", "5"),
    ("5-10", "10"),
    ("2020-01-05", None),
    ("05/01/2020", None),
    ("12:30", None),
    ("10:30 am", None),
    ("5 at 12:30", "5"),
    ("1.5.2", None),
    ("v2.0", None),
    ("H2O", None),
    ("B-52", None),
    ("COVID-19", None),
    ("5 H2O", "5"),
    ("\u221a2", None),
    ("\u7b54\u6848\u662f5", "5"),
    ("The answer is...5", "5"),
    ("#### 1,234", "1234"),
    ("#### -5", "-5"),
    ("_5_", "5"),
    (r"\times10", "10"),
    ("#### $18.50", "18.50"),
]
LAST_LINE = [("a\nb\n\n", "b"), ("one", "one"), ("\n \n", None)]
WHOLE = [
    ("  Paris ", "Paris"),
    ("", None),
    ("   ", None),
    ("I don't know.", None),
    ("Sorry is a song", "Sorry is a song"),
]

CASES = [
    (name, response, answer)
    for name, table in [
        ("boxed", BOXED),
        ("choice", CHOICE),
        ("number", NUMBER),
        ("last-line", LAST_LINE),
        ("whole", WHOLE),
    ]
    for response, answer in table
]


@pytest.mark.parametrize(("name", "response", "answer"), CASES)
def test_each_extractor_finds_the_answer(name, response, answer):
    assert load_extractor(name)(response) == answer


@pytest.mark.parametrize(
    ("response", "left"),
    [
        ("<think>1 or 2</think>3", "3"),
        ("a<think>b</think>c<think>d", "ac"),
        ("the prompt opened it</think> 4", "4"),
        ("<THINK>x</THINK>y", "y"),
        ("<think>never closed \\boxed{5}", ""),
    ],
)
def test_reasoning_blocks_are_set_aside(response, left):
    assert strip_reasoning(response).replace(" ", "") == left.replace(" ", "")
    assert load_extractor(lambda text: text)(response) == (strip_reasoning(response) if left else None)


def test_regex_takes_the_last_match_and_its_first_group():
    assert load_extractor(r"regex:answer: (\d+)")("answer: 1, answer: 2") == "2"
    assert load_extractor(r"regex:\d+")("1 2 3") == "3"
    assert load_extractor(r"regex:(\d)?x")("x") is None


@pytest.mark.parametrize(
    ("extract", "says"),
    [("boxd", "Did you mean 'boxed'"), ("regex:(", "not a regular expression"), ("", "is unknown")],
)
def test_a_wrong_extractor_is_an_error_that_says_what_to_use(extract, says):
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        load_extractor(extract)


def test_a_callable_that_returns_no_text_is_an_error_that_names_it():
    def broken(_response):
        return 42

    with pytest.raises(InputError, match="broken.*42"):
        load_extractor(broken)("x")


REFUSALS = [
    ("I'm sorry, I don't know.", True),
    ("I cannot answer that question.", True),
    ("I\u2019m afraid I can\u2019t say", True),
    ("As an AI language model, I cannot predict the future.", True),
    ("As an AI language model, I can confirm that there has never been one.", False),
    ("I don't know, but probably Paris", False),  # hedged, but an answer
    ("Unknown", True),
    ("Unknown Pleasures", False),
    ("I'm sorry to say it was 1912", False),
]


@pytest.mark.parametrize(("text", "refuses"), REFUSALS)
def test_only_a_plain_refusal_is_one(text, refuses):
    assert is_refusal(text) is refuses


@given(st.sampled_from(sorted(EXTRACTORS)), st.text(max_size=200))
def test_any_text_gives_an_answer_with_content_or_none(name, response):
    answer = load_extractor(name)(response)
    assert answer is None or answer.strip()


@given(st.text(alphabet="{}\\boxed 1", max_size=80))
def test_a_box_always_has_balanced_braces(response):
    answer = load_extractor("boxed")(response)
    if answer is not None:
        plain = answer.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
        assert plain.count("{") == plain.count("}")


HOSTILE = [
    "\\boxed{",
    "{",
    "}",
    "<think>",
    "</think>",
    "1",
    "1,",
    "\n",
    "(A",
    "**",
    "\\",
    "A)",
    "-",
    ".",
    "answer is ",
    "\\text{",
]


@pytest.mark.timeout(60)  # each takes milliseconds; a pattern that backtracks takes hours
@pytest.mark.parametrize("name", [*EXTRACTORS, r"regex:(\d+)$"])
def test_a_megabyte_of_anything_is_read_in_one_pass(name):
    extract = load_extractor(name)
    for piece in HOSTILE:
        answer = extract(piece * (1_000_000 // len(piece)))
        assert answer is None or answer.strip()


EMPTY = [
    ("boxed", r"\boxed{\text{}}", None),
    ("boxed", r"\boxed{\,}", None),
    ("boxed", r"\boxed{\quad}", None),
    ("boxed", "\\boxed{$$}", None),
    ("boxed", "\\boxed{\u200b}", None),
    ("boxed", r"\boxed{5} \boxed{\text{ }}", "5"),
    ("boxed", r"\boxed{\text{I don't know}}", None),
    ("boxed", r"so 5 \boxed{\text{unknown}}", None),
    ("boxed", r"\boxed{\text{no solution}}", r"\text{no solution}"),
    ("boxed", r"\fbox{3}", "3"),
    ("boxed", r"\boxed 7", "7"),
    ("last-line", "x\n\u200b\n", "x"),
    ("last-line", "\u200b", None),
    ("whole", "\u3164\u2800\ufe0f", None),
    ("whole", "\x00\x1b\x85", None),
    ("whole", "\u202e\u2066", None),
    ("whole", "\U000e0041\U000e0100", None),
    ("boxed", "\\boxed{\u3164}", None),
]


@pytest.mark.parametrize(("extract", "response", "answer"), EMPTY, ids=ascii)
def test_invisible_content_and_refusals_are_no_answer(extract, response, answer):
    assert load_extractor(extract)(response) == answer


@pytest.mark.parametrize("equivalence", ["auto", "math"])
def test_a_refusal_in_a_box_is_invalid(equivalence):
    boxes = [r"It is 5. \boxed{\text{I don't know}}", r"\boxed{\text{unknown}}", r"I don't know. $\boxed{?}$"]
    assert estimate(boxes, equivalence=equivalence).invalid == 3


NUMBERS = [
    ("₹3,50,000", "350000"),
    ("₹2,50,000", "250000"),
    ("12,34,567", "1234567"),
    ("1'000'000", "1000000"),
    ("The total is 1'500", "1500"),
    ("CHF 1’500", "1500"),
    ("\\frac34", "3/4"),
    ("\\frac 1 2", "1/2"),
    ("7⁄8", "7/8"),
    ("0,500 kg", "0.500"),
    ("0,125", "0.125"),
    ("-0,001", "-0.001"),
    ("5 January 2020", "2020"),
    ("March 3, 2020", "2020"),
    ("June 5", None),
    ("3 pm", None),
    ("at 3pm", None),
    ("7 o'clock", None),
    ("2024年5月3日", None),
    ("room 3B", "3"),
    ("3D", "3"),
    ("(555) 123-4567", None),
    ("Boeing 737-800", "800"),
    ("x = ±3", None),
    ("12 %", "12%"),
    ("12 percent", "12%"),
    ("12%", "12%"),
    ("1.2 crore", "12000000"),
    ("2.5 lakh", "250000"),
    ("In 1969, 5 people", "5"),
    ("On June 5 he had 7", "7"),
    ("He had 7 on June 5", "7"),
    ("May 5 be the answer", None),
    ("1,2,3", "3"),
    ("1, 2", "2"),
    ("5 may be right", "5"),
    ("3k", "3000"),
    ("-5", "-5"),
    ("Room 12", "12"),
    ("5 in 2020", "2020"),
    ("The answer is 5.", "5"),
    ("It takes 3 hours at 3 pm", "3"),
    ("5 percent of 20", "20"),
    ("9 500", "9500"),
    ("5'10\"", "10"),
    ("12,345,678", "12345678"),
    ("1,00,000", "100000"),
    ("7-5", "5"),
    ("737-800", "800"),
    ("3-1", "1"),
    ("10-20", "20"),
    ("5x", "5"),
    ("3x + 2", "2"),
    ("3 AM radio", None),
    ("Answer: 42B", "42"),
    ("\\frac{3}{4}", "3/4"),
    ("-\\frac34", "-3/4"),
    ("\\frac12 + 3", "3"),
    ("2\\frac12", "5/2"),
    ("100 m", "100"),
    ("5G", "5"),
    ("5 kg", "5"),
    ("5kg", "5"),
    ("3M", "3000000"),
    ("$3B", "3000000000"),
    ("12th", "12"),
    ("the 1990s", "1990"),
    ("10am", None),
    ("20 °C", "20"),
    ("20C", "20"),
    ("5D chess", "5"),
    ("2024-05-03", None),
    ("in 2020", "2020"),
    ("13,5", "13.5"),
    ("25%", "25%"),
    ("The year is 2020", "2020"),
    ("5/6/2020", None),
    ("Q3 2020", "2020"),
    ("90s", "90"),
    ("July 1969", "1969"),
    ("21-23 February", None),
    ("released on September 12, 2004", "2004"),
]


@pytest.mark.parametrize(("response", "answer"), NUMBERS, ids=ascii)
def test_a_number_is_read_whole_and_a_day_or_a_time_is_no_number(response, answer):
    assert load_extractor("number")(response) == answer

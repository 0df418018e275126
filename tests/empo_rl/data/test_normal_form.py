import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl.config.templates import PLACEHOLDER, TEMPLATES
from empo_rl.data.normal_form import jaccard, normal_form, numbers, shingles, tokens

MATHS = st.text(st.sampled_from("aA1. \\${}^_,;!~(\n\u0130\u212b\ufb01\u0301"), max_size=30)


@given(st.one_of(st.text(max_size=60), MATHS))
def test_the_normal_form_of_a_normal_form_is_the_same_text(text):
    assert normal_form(normal_form(text)) == normal_form(text)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Find  $x$.", "find \\( X \\)."),
        ("$2x+1$", "$2 x + 1$"),
        ("$\\left( 0,\\, 3 \\right)$", "$(0,3)$"),
        ("$\\dfrac{1}{2}~\\text{cm}$", "$\\frac{1}{2} \\text{cm}$"),
        ("where $0 \\leq x$", "where $0\\le x$"),
        ("Is it?\r\n\\[x\\]", "Is it?\n$$x$$"),
        ("ﬁnd Å", "find \u00c5"),
        ("What is 1+1? Let's think step by step and output the final answer within \\boxed{}.", "What is 1+1?"),
        ("1+1? Please reason step by step, and put your final answer within \\boxed{}.", "1+1?"),
    ],
)
def test_questions_that_differ_only_in_form_have_the_same_normal_form(left, right):
    assert normal_form(left) == normal_form(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("$x^{2y}$", "$x^{2}y$"),
        ("radius 3", "radius 5"),
        ("is 1.5", "is 15"),
        ("a < b", "a > b"),
        ("12 3", "1 23"),
        ("$\\sin x$", "$\\cos x$"),
    ],
)
def test_different_questions_have_different_normal_forms(left, right):
    assert normal_form(left) != normal_form(right)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_closing_instruction_of_every_template_is_ignored(name):
    user = TEMPLATES[name]["user"]
    assert normal_form(user.replace(PLACEHOLDER, "How many?")) == "how many ?"


def test_a_question_that_is_only_an_instruction_keeps_its_tokens():
    assert tokens("Let's think step by step and output the final answer within \\boxed{}.")


def test_the_only_shingle_of_a_short_text_is_the_text():
    assert shingles(["a", "b"], 3) == {"a b"}
    assert shingles(["a", "b", "c", "d"], 3) == {"a b c", "b c d"}
    assert shingles([], 3) == frozenset()
    assert jaccard(shingles([], 3), shingles([], 3)) == 0.0


@given(st.sets(st.text(max_size=2)), st.sets(st.text(max_size=2)))
def test_jaccard_is_symmetric_and_one_only_for_equal_sets(left, right):
    left, right = frozenset(left), frozenset(right)
    assert jaccard(left, right) == jaccard(right, left)
    assert (jaccard(left, right) == 1.0) == (left == right and bool(left))


def test_numbers_are_found_in_order():
    assert numbers(tokens("From 3.5 to $x_{12}$, 7 times")) == ("3.5", "12", "7")

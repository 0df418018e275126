r"""Answers that are read and compared without math-verify, and answers that are kept apart.

The source of a kind of input is a public report on a grading tool. The texts are ours.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy_plugins.math.comparison import compare
from semantic_entropy_plugins.math.reading import read

TABLE = {
    # dressing: huggingface/Math-Verify#76, iDiagoValeta/localOllamaRAG#208
    "dressing": [
        ("**73**", "73", True),
        ("`42`", "42", True),
        ("#### 70,000", "70000", True),
        ("= 42", "42", True),
        (r"\approx 5.13", "5.13", True),
        ("\u2248 3.14", "3.14", True),
        ("about 12", "12", True),
        (r"\color{red}{5}", "5", True),
        (r"\textcolor{blue}{5}", "5", True),
        (r"\underline{5}", "5", True),
        (r"\large 5", "5", True),
        (r"\mathbf{5}", "5", True),
        (r"\text{The answer is } 5", "5", True),
        (r"N = \textbf{6}", "6", True),
        ("__17__", "17", True),
        ("**$\\frac{1}{2}$**", "0.5", True),
        ("Answer: 8", "8", True),
        (r"\therefore 9", "9", True),
        ("**73**", "74", False),
        (r"\color{red}{5}", "6", False),
    ],
    # open-compass/opencompass#2343
    "scale words": [
        ("70 thousand dollars", "70000", True),
        (r"5\text{ million}", r"5\text{ billion}", False),
        ("3 million", "3", False),
        ("8 billion", "8,000,000,000", True),
        ("1.5 million", "1,500,000", True),
        ("70k", "70000", True),
        ("$70K", "70,000", True),
        ("$6M", "6 million", True),
        ("6M", "6 million", True),
        ("2.3 bn", "2300000000", True),
        ("3 dozen", "36", True),
        ("5 hundred thousand", "500000", True),
        ("3\u4e07", "30000", True),
        ("5k", "5000", True),
        ("5 lakh", "500000", True),
        ("4 trillion", "4 billion", False),
    ],
    # QwenLM/Qwen2.5-Math#29, EleutherAI/lm-evaluation-harness#3652
    "units": [
        ("90\u00b0", "90", True),
        (r"90^\circ", "90\u00b0", True),
        (r"90^{\circ}", r"90\text{ degrees}", True),
        ("25 \u00b0C", r"25^\circ\text{C}", True),
        ("\u00a320", "\\text{\u00a3}20", True),
        ("25 cm\u00b2", r"25\text{ cm}^2", True),
        ("5 m/s", r"5\text{ m/s}", True),
        ("5m/s", "5 m/s", True),
        (r"10\,\Omega", r"10\text{ ohms}", True),
        (r"3.5\text{ percent}", "3.5%", True),
        ("42 marbles", "42", True),
        ("42 marbles", "42 red marbles", True),
        ("42 marbles", "42 apples", False),
        ("\u20ac5", "5", True),
        ("\u20ac5", "$5", False),
        (r"\$29.00", "29", True),
        (r"\$29.00", "29 dollars", True),
        ("5 cm", "5 m", False),
        ("5 m", "500 cm", True),
        ("5 cm", "0.05 m", True),
        ("72 km/h", "20 m/s", True),
        ("5 kg", "5 m", False),
        (r"15\mbox{ cm}^2", "15", True),
        (r"1.6\times10^{-19}\text{ C}", r"9.1\times10^{-31}\text{ kg}", False),
        (r"12\text{ cm}", r"12\text{ cm}^2", False),
        ("5 ft 10 in", "5 ft 11 in", False),
        ("5 ft 10 in", "70 inches", True),
        ("1 hour 30 minutes", "90 min", True),
        (r"3\sqrt{2}\text{ cm}", r"\sqrt{18}", True),
        (r"3\pi\text{ m}^2", r"3\pi", True),
        ("12 square meters", r"12\text{ m}^2", True),
        (r"8\ \mathrm{N}", "8 newtons", True),
        ("5x", "5", False),
        (r"5\text{ hours}", r"5\text{ days}", False),
        ("100 USD", "$100", True),
        ("5 ms", "5 m", False),
        ("100 sq ft", "100 square feet", True),
        ("6.63e-34 J s", r"6.63\times10^{-34}\text{ J}\cdot\text{s}", True),
        ("9.11e-31 kg", "9.11e-28 g", True),
        ("10 k\u03a9", "10000 ohms", True),
        ("5 students", "5 boys", False),
        ("500 rupees", "500 dollars", False),
    ],
    # huggingface/Math-Verify#14
    "qualifiers": [
        (r"10\text{ AM}", r"10\text{ PM}", False),
        (r"10\text{ a.m.}", "10 AM", True),
        (r"44\text{ BC}", r"44\text{ AD}", False),
        (r"44\text{ BC}", "44", True),
        (r"60^\circ\text{ N}", r"60^\circ\text{ S}", False),
        ("60\u00b0 N", r"60^\circ\text{ N}", True),
        ("5% increase", "5% decrease", False),
        ("increase of 5%", "5% decrease", False),
        ("$200 profit", "$200 loss", False),
        ("a profit of $200", "$200", True),
        ("a loss of $200", "a profit of $200", False),
        ("3:30 PM", "3:30 AM", False),
        ("3:30 PM", "3:30", True),
        ("5 km north", "5 km south", False),
        ("at least 5", "at most 5", False),
        ("30 degrees clockwise", "30 degrees counterclockwise", False),
    ],
    # Khan/khan-exercises#150496, #160340 and #106883; rasbt/reasoning-from-scratch#133; Doenet/DoenetML#1528
    "writing of numbers": [
        ("3 1/2", "7/2", True),
        ("-2 1/4", "-2.25", True),
        (r"3\frac{1}{2}", "3.5", True),
        ("3\u00bd", "3.5", True),
        ("3 1/2", "31/2", False),
        (r"12\,345", "12345", True),
        (r"12\ 345", "12345", True),
        ("1 234 567", "1234567", True),
        (r"11,\! 111,\! 111", "11111111", True),
        ("9{,}500", "9500", True),
        ("3{,}14", "3.14", True),
        ("1.234.567", "1234567", True),
        ("1.234,56", "1234.56", True),
        ("12'345", "12345", True),
        ("12,34", "1234", False),
        (r"0.\overline{3}", r"\frac13", True),
        ("0.333...", "1/3", True),
        (r"0.1\overline{6}", "1/6", True),
        ("0.1666...", "1/6", True),
        ("0.(3)", "1/3", True),
        (r"0.\overline{3}", "0.3", False),
        ("0.142857142857...", "1/7", True),
        ("3 x 10^8", r"3\times10^{8}", True),
        ("3\u00d710\u2078", "300000000", True),
        ("3e8", "3E8", True),
        (r"12^{\text{th}}", "12", True),
        ("12th", "12", True),
        ("3!", "6", True),
        ("2 x 10^-3", "0.002", True),
        ("0.999...", "1", True),
        ("299792458", "2.99792458e8", True),
        ("016", "16", True),
        (r"\frac{1{,}000}{2}", "500", True),
        ("200,000 - 130,000 = 70,000", "70000", True),
    ],
    # huggingface/Math-Verify#14
    "small and large quantities": [
        ("0.0000001", "0.0000002", False),
        (r"6.63\times10^{-34}", r"1.38\times10^{-23}", False),
        (r"6.63\times10^{-34}", "6.63e-34", True),
        ("1e-9", "1.0000001e-9", True),
        ("6.626e-34", "6.62607e-34", False),
        (r"6.02\times10^{23}", r"6.022\times10^{23}", False),
        ("0.333333", "1/3", True),
        ("0.333", "1/3", False),
        ("0.166667", "1/6", True),
        ("0.0833333333", "1/12", True),
        ("1234567.1", "1234567.2", False),
        ("10^{20}", "10^{20}+1", False),
        (r"\frac{100}{3}", "33.3", False),
    ],
    # EleutherAI/lm-evaluation-harness#3652
    "bases": [
        ("52_8", "52_{8}", True),
        ("52_8", "52_9", False),
        (r"52_{\text{eight}}", "52_8", True),
        ("52_8", "52", True),
        ("52_8", "42_{10}", True),
        ("1A_{16}", "1B_{16}", False),
        ("110 base 2", "110_2", True),
        ("1010_2", "1010_3", False),
        ("A5_{16}", "A6_{16}", False),
    ],
    # huggingface/Math-Verify#16
    "words and letter strings": [
        ("ABCD", "BACD", False),
        ("CAT", "ACT", False),
        ("no", "on", False),
        ("Evelyn", r"\text{Evelyn}", True),
        (r"\text{even}", "even", True),
        (r"\text{even}", r"\text{odd}", False),
        ("Yes", "yes", True),
        (r"\text{no solution}", r"\text{No solution}", True),
        ("xy", "xy", True),
        ("Evelyn", "5", False),
        ("all real numbers", r"\mathbb{R}", True),
    ],
    # huggingface/Math-Verify#10, #25 and #71
    "intervals and inequalities": [
        ("(0,12.5)", "0<x<12.5", True),
        (r"m\geq\sqrt{2}", r"m\in[\sqrt{2},+\infty)", True),
        (r"x<1\text{ or }x>3", r"(-\infty,1)\cup(3,\infty)", True),
        (r"x\ne 2", r"\mathbb{R}\setminus\{2\}", True),
        ("(0,1)", "[0,1]", False),
        ("x<=3", r"x\le 3", True),
        ("]0,1[", "(0,1)", True),
        ("[0,1[", "[0,1)", True),
        ("[0;1]", "[0,1]", True),
        ("x>2", "x<2", False),
        ("x>2", r"x\ge 2", False),
        ("2<x", "x>2", True),
        ("x>2", "y>2", False),
        ("x>2", r"(2,\infty)", True),
        (r"\{x : x>3\}", "x>3", True),
        (r"\{x \in \mathbb{R} \mid x \le 1\}", r"(-\infty, 1]", True),
        (r"(-\infty,\infty)", r"\mathbb{R}", True),
        (r"x \in (-1, 2]", "-1 < x \u2264 2", True),
        (r"(-\infty,0)\cup(0,\infty)", r"x\neq 0", True),
        (r"[1,2]\cup[2,3]", "[1,3]", True),
        (r"x>1\text{ and }x<3", "(1,3)", True),
        ("x > 1, x < 3", "1<x<3", True),
        (r"(0,1)\cup(2,3)", r"(0,1)\cup(2,4)", False),
    ],
    # modelscope/ms-swift#4541, EleutherAI/lm-evaluation-harness#4039
    "lists": [
        (r"a=1 \text{ or } a=-2", "1,-2", True),
        ("a=1\\text{ \u6216 }a=-2", r"a=1 \text{ or } a=-2", True),
        ("\uff081\uff0c2\uff09", "(1,2)", True),
        ("1\u30012", "1,2", True),
        (r"1\text{ et }2", "1,2", True),
        ("42\uff05", "42%", True),
        ("1,2", "2,1", True),
        ("(1,2)", "(2,1)", False),
        (r"1\pm\sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}", True),
        (r"\pm 2021", "2021", False),
        ("x=1, y=2", "x=2, y=1", False),
        ("x=1, y=2", "y=2, x=1", True),
        ("x=1, y=2", "(1,2)", True),
        ("x=5", "5", True),
        ("x=5", "y=5", False),
        ("19, 46, and 82", "21, 36, and 82", False),
        ("3,5,7", "357", False),
        ("1331 and 1728", "1728", False),
        (r"\{1,2\}", "2, 1", True),
        ("2 or 3", "3, 2", True),
        ("n=2,3,4", "n=1,2,3", False),
    ],
    # EvolvingLMMs-Lab/lmms-eval#673
    "ratios": [
        ("3:2", "2:3", False),
        ("3:2", "6:4", True),
        ("3:2", r"3\colon 2", True),
        ("3:30", "1:10", False),
        ("3:30", "3:31", False),
        ("1:2:3", "2:4:6", True),
    ],
    "percent": [
        ("50", "50%", True),
        ("50%", "0.5", True),
        ("50", "0.5", False),
        (r"50\%", "50 percent", True),
        ("50%", "51%", False),
    ],
}
ROWS = [(kind, *row) for kind, rows in TABLE.items() for row in rows]


@pytest.mark.parametrize(("kind", "left", "right", "same"), ROWS, ids=lambda value: str(value)[:40])
def test_answers_are_compared_without_math_verify(kind, left, right, same):
    one, other = read(left), read(right)
    for a, b in ((one, other), (other, one)):
        assert (a.key == b.key or compare(a, b) is True) is same, (a, b)
        assert (a.key == b.key) <= same


EQUAL_KEYS = [
    ("5 cm", r"5\text{ cm}", "5 centimeters"),
    ("**1,000**", "1000", r"1\,000"),
    ("x<3", r"x \lt 3", "3>x"),
    ("ABCD", r"\text{ABCD}"),
]


@pytest.mark.parametrize("spellings", EQUAL_KEYS, ids=lambda row: row[0])
def test_spellings_of_one_answer_have_one_key(spellings):
    assert len({read(spelling).key for spelling in spellings}) == 1


@given(
    st.text(
        alphabet="0123456789+-*/^(){}[].,%\\ fracsqtpixytextcmd$<>=:_e\u00b0\u00bd\u221a\u2212\u20ac|", max_size=120
    ),
    st.sampled_from(["5", "x<3", "1,2", "3:2", "52_8", "5 cm", "AB"]),
)
def test_no_text_raises_an_error_and_the_comparison_is_symmetric(text, other):
    one, two = read(text), read(other)
    assert compare(one, two) is compare(two, one)
    assert compare(one, one) in (True, None)

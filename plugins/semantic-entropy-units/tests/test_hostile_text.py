"""No text can hang the judge, make it run code, or fill its memory. pint alone hangs on most of these for hours."""

import random
import time

import pytest

from semantic_entropy.plugin import Pair
from semantic_entropy_units.judge import Units

MEGABYTE = 1_000_000
HOSTILE = {
    "a tower of powers": "9**9**9**9 m",
    "a tower of powers of ten": "10^10^10^10 m",
    "a power of a unit": "5 m**99999999",
    "a huge exponent": "1e999999999 m",
    "the largest exponent read": "1e999 km^9",
    "a million digits": "1" * MEGABYTE + " m",
    "as many digits as are read": "1" * 1990 + " m",
    "many groups of digits": "1,000" + ",000" * 480 + " m",
    "digits with commas": "1," * 990 + "m",
    "digits with spaces": "1 " * 990 + "m",
    "many fractions": "1/" * 990 + "2 m",
    "one word of a million letters": "5 " + "m" * MEGABYTE,
    "one word of as many letters as are read": "5 " + "kilo" * 480 + "m",
    "many units": "5 " + "m " * 990,
    "many quantities": "5 m " * 490,
    "many per": "5 m" + " per m" * 320,
    "many parentheses": "(" * 900 + "5 m" + ")" * 900,
    "many parentheses of a unit": "5 " + "(" * 900 + "m" + ")" * 900,
    "many carets": "5 m" + "^" * 1900,
    "many braces": r"\frac{" * 300 + "5 m",
    "many commands": r"\text{" * 300 + "5 m",
    "many backslashes": "\\" * 1999,
    "signs": "-+" * 900 + "5 m",
    "null bytes and a lone surrogate": "5\x00 c\x00m \ud800",
    "marks that turn the direction": "\u202e5 cm\u202c",
    "python": "__import__('os').system('echo harm') m",
    "a registry's method": "5 m.__class__.__mro__",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_gets_its_verdict_within_a_second(text):
    judge = Units()
    judge.keys(None, ["5 cm"])  # creates the registry, which takes half a second once
    begin = time.perf_counter()
    key, _ = judge.keys(None, [text, "5 cm"])
    (there,) = judge.judge([Pair(None, text, "5 cm")])
    (back,) = judge.judge([Pair(None, "5 cm", text)])
    assert time.perf_counter() - begin < 1.0
    assert there.same is back.same
    hash(key)


def test_a_part_of_an_unreadable_quantity_is_not_read():
    hidden = ["9**9**9**9 m", "5 m**99999999", "1e999999999 m", "1" * 1990 + " m", "5 " + "m " * 990]
    for text in hidden:
        (verdict,) = Units().judge([Pair(None, text, "9 m")])
        assert verdict.same is None, text[:40]


def test_random_text_from_pieces_of_the_grammar_is_read_in_time_and_symmetrically():
    pieces = [*"5 9 0 . , / * ^ ( ) - + ± % ° ² ½ $ { } \\".split(), " ", "in", "per", "m", "kg", "10", "e", r"\frac{"]
    draw = random.Random(0)
    texts = ["".join(draw.choices(pieces, k=draw.randint(1, 400))) for _ in range(300)]
    judge = Units()
    judge.keys(None, ["5 cm"])
    begin = time.perf_counter()
    keys = judge.keys(None, texts)
    assert time.perf_counter() - begin < 10.0
    assert len(keys) == len(texts)
    pairs = [Pair(None, *draw.choices(texts, k=2)) for _ in range(300)]
    swapped = [Pair(None, pair.right, pair.left) for pair in pairs]
    assert [v.same for v in judge.judge(pairs)] == [v.same for v in judge.judge(swapped)]

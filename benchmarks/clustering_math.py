r"""Compare the cost of clustering mathematics: `math`, and the two methods of the official EMPO code, in one run.

    python benchmarks/clustering_math.py [--groups 12] [--seed 0]

(a) parses the answer of each response, then verifies it against the representatives so far; the first match wins.
(b) parses each answer and compares the strings of the results.

Both are written from their description, and run in this process, with math-verify alone. `math` runs the whole
pipeline. Between groups only its workers remember parsed answers; they start before the time is measured. The floor
finds the boxed text and looks it up in a dict. The groups have G responses each, and are made from ../shared/data:

    own         responses of one question, drawn with repetition
    rewritten   the answers of one question, each in many spellings; no two texts are equal, and no text was seen before
    distinct    integers, fractions, decimals and roots; no two texts are equal
    mixed       answers of several hard questions in surface variants; keys cannot decide all pairs

The partitions are compared with those of (a), and every difference is listed. Times are milliseconds for one group,
medians over the groups.
"""

from __future__ import annotations

import argparse
import logging
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify

from semantic_entropy import Pair, Scorer, load_equivalence
from semantic_entropy.plugin import boxed
from tests.shared_data import SHARED, rows

SECONDS = 5  # the limit of math-verify; without a limit it can hang
CONFIG = (LatexExtractionConfig(boxed_match_priority=0),)
Method = Callable[[Sequence[str]], tuple[int, ...]]
"""Responses of one group -> their cluster labels."""


def parse_and_verify(responses: Sequence[str]) -> tuple[int, ...]:
    """Method (a): Algorithms 1 and 2 of the paper, one response after the other."""
    parsed = [parse(response, extraction_config=CONFIG, parsing_timeout=SECONDS) for response in responses]
    labels: list[int] = []
    representatives: list[Any] = []
    for one in parsed:
        for label, other in enumerate(representatives):
            if verify(other, one, timeout_seconds=SECONDS):
                labels.append(label)
                break
        else:
            labels.append(len(representatives))
            representatives.append(one)
    return tuple(labels)


def parse_and_compare_strings(responses: Sequence[str]) -> tuple[int, ...]:
    """Method (b)."""
    parsed = [parse(response, extraction_config=CONFIG, parsing_timeout=SECONDS) for response in responses]
    return by_first_appearance([str(one[0]) if one else i for i, one in enumerate(parsed)])


def by_first_appearance(keys: Sequence[object]) -> tuple[int, ...]:
    """Equal keys get equal labels; labels count from 0 in the order of their first appearance."""
    labels: dict[object, int] = {}
    return tuple(labels.setdefault(key, len(labels)) for key in keys)


def floor(responses: Sequence[str]) -> tuple[int, ...]:
    """The floor: the boxed text, and one dict lookup."""
    return by_first_appearance([boxed(response) for response in responses])


def keys_alone(responses: Sequence[str]) -> tuple[int, ...]:
    """The boxed text and its exact key; no verdicts."""
    answers = [boxed(response) or "" for response in responses]
    keys = JUDGE.keys(None, answers)
    return by_first_appearance([a if k is None else k for a, k in zip(answers, keys, strict=True)])


JUDGE = load_equivalence("math")
SCORER = Scorer(JUDGE, extract="boxed", convention="lm-polygraph", estimator="discrete", cache_size=0)


def ours(responses: Sequence[str]) -> tuple[int, ...]:
    """`math` in the whole pipeline, without a verdict cache."""
    return SCORER.estimate(list(responses)).labels


def own(size: int, count: int, draw: random.Random) -> list[list[str]]:
    """Responses of one question, drawn with repetition."""
    questions = [row for row in rows("samples.jsonl") if row["source"] == "qwen_math_cot_100"]
    return [draw.choices(row["responses"], k=size) for row in draw.sample(questions, count)]


def rewritten(size: int, count: int, draw: random.Random) -> list[list[str]]:
    """The answers of one question, each in many spellings; no two texts are equal."""
    groups = []
    for row in draw.sample([row for row in rows("samples.jsonl") if row["source"] == "qwen_math_cot_100"], count):
        answers = [answer for response in row["responses"] if (answer := boxed(response))] or ["0"]
        found: dict[str, None] = {}
        while len(found) < size:
            spaces = "".join(draw.choices(SPACES, k=2)), "".join(draw.choices(SPACES, k=2))
            found[spaces[0] + variant(draw.choice(answers), draw) + spaces[1]] = None
        groups.append([wrapped(answer) for answer in found])
    return groups


SPACES = ("", r"\,", r"\;", r"\!", "~", r"\displaystyle ")


def distinct(size: int, count: int, draw: random.Random) -> list[list[str]]:
    """No two texts are equal, but many mean the same."""
    return [[wrapped(spelling) for spelling in spellings(size, draw)] for _ in range(count)]


def spellings(size: int, draw: random.Random) -> list[str]:
    """Different texts for a few rational numbers."""
    values = [Fraction(draw.randint(1, 60), draw.choice((1, 1, 2, 4, 5, 8))) for _ in range(max(2, size // 8))]
    found: dict[str, None] = {}
    while len(found) < size:
        value, k = draw.choice(values), draw.randint(1, 40)
        n, d = value.numerator * k, value.denominator * k
        forms = [rf"\frac{{{n}}}{{{d}}}", rf"{n}/{d}", rf"\dfrac{{{n}}}{{{d}}}", f"{float(value):.{3 + k % 6}f}"]
        forms += [rf"\sqrt{{\frac{{{n * n}}}{{{d * d}}}}}"] if n * n * d * d < 10**8 else []
        found[draw.choice(forms)] = None
    return list(found)


def mixed(size: int, count: int, draw: random.Random) -> list[list[str]]:
    """Hard final answers of several questions, unchanged and in variants."""
    hard = ("olympiadbench", "minerva_math", "math500", "aime24")
    answers = [row["answer"].strip("$ ") for row in rows("questions.jsonl") if row["source"] in hard]
    answers = [answer for answer in answers if len(answer) < 80 and "\n" not in answer]
    return [
        [wrapped(variant(answer, draw)) for answer in draw.choices(draw.sample(answers, max(2, size // 4)), k=size)]
        for _ in range(count)
    ]


def variant(answer: str, draw: random.Random) -> str:
    """The same mathematics as another text."""
    sized = answer if "left" in answer else answer.replace("(", r"\left(").replace(")", r"\right)")
    return draw.choice([answer, answer.replace(r"\frac", r"\dfrac"), f" {answer} ", sized])


def wrapped(answer: str) -> str:
    """The answer in a sentence, as a model writes it."""
    return rf"Let us work it out step by step. Therefore the final answer is \boxed{{{answer}}}."


def measure(method: Method, groups: Sequence[Sequence[str]]) -> tuple[float, list[tuple[int, ...]]]:
    """Median milliseconds for one group, and the partitions."""
    times, partitions = [], []
    for group in groups:
        start = time.perf_counter()
        partitions.append(method(group))
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times), partitions


def main() -> int:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--groups", type=int, default=12)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    if not (SHARED / "data").exists():
        print("the folder ../shared/data is missing (docs/explanation/data.md): nothing to measure")
        return 0
    logging.disable(logging.CRITICAL)
    JUDGE.judge([Pair(None, "x+1", "1+x"), Pair(None, "y+1", "1+y")])
    print("| regime | G | (a) ms | (b) ms | math ms | keys ms | floor ms | (a) / math | keys / floor | partitions |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    differences = []
    for regime, sizes in ((own, (8, 64, 256)), (rewritten, (64,)), (distinct, (16, 64)), (mixed, (16, 64))):
        for size in sizes:
            groups = regime(size, chosen.groups, random.Random(chosen.seed))
            differences += one_row(regime.__name__, size, groups)
    print("\n| own answers, G | " + " | ".join(str(g) for g in GROWTH) + " |\n|---|" + "---|" * len(GROWTH))
    cost = [measure(ours, own(g, chosen.groups, random.Random(chosen.seed)))[0] for g in GROWTH]
    print("| math ms | " + " | ".join(f"{ms:.2f}" for ms in cost) + " |")
    print("\n| groups of 16 in one run | " + " | ".join(str(n) for n in RUNS) + " |\n|---|" + "---|" * len(RUNS))
    print("| math ms a group | " + " | ".join(f"{in_one_run(n, chosen.seed):.3f}" for n in RUNS) + " |")
    for line in differences:
        print(line)
    JUDGE.close()
    return 0


RUNS = (1, 8, 64, 512)


def in_one_run(count: int, seed: int) -> float:
    """Milliseconds for one group if `estimate` gets `count` groups in one call."""
    draw = random.Random(seed)
    groups = [group for _ in range(-(-count // 8)) for group in own(16, 8, draw)][:count]
    start = time.perf_counter()
    SCORER.estimate(groups)
    return 1000 * (time.perf_counter() - start) / count


GROWTH = (8, 16, 32, 64, 128, 256, 512)


def one_row(regime: str, size: int, groups: Sequence[Sequence[str]]) -> list[str]:
    """Print a row of the table; return the differences from (a)."""
    slow, expected = measure(parse_and_verify, groups)
    strings, _ = measure(parse_and_compare_strings, groups)
    fast, found = measure(ours, groups)
    keys, _ = measure(keys_alone, groups)
    least, _ = measure(floor, groups)
    equal = sum(one == other for one, other in zip(expected, found, strict=True))
    print(
        f"| {regime} | {size} | {slow:.1f} | {strings:.1f} | {fast:.2f} | {keys:.2f} | {least:.2f} "
        f"| {slow / fast:.0f}x | {keys / least:.1f}x | {equal} of {len(groups)} |"
    )
    return [
        f"{regime} {size}: {boxed(group[i])!r} and {boxed(group[j])!r}: "
        f"(a) {'same' if before[i] == before[j] else 'different'}, math {'same' if now[i] == now[j] else 'different'}"
        for group, before, now in zip(groups, expected, found, strict=True)
        if before != now
        for i, j in first_difference(before, now)
    ]


def first_difference(before: tuple[int, ...], now: tuple[int, ...]) -> list[tuple[int, int]]:
    """The first pair of responses that the two partitions treat differently."""
    for j in range(len(now)):
        for i in range(j):
            if (before[i] == before[j]) != (now[i] == now[j]):
                return [(i, j)]
    return []


if __name__ == "__main__":
    sys.exit(main())

r"""Generated questions for the demo: `What is (a+b)*c+d?` with digits 1 to 9, 6,561 questions in total.

A pre-training text answers a question in one of two forms. Training with EMPO changes how often each form is used:

    chain   2+3=5, 5*4=20, 20+7=27, \boxed{27}: one step on each line; the answer is always correct
    direct  \boxed{27}: no steps; in 30% of the texts, the answer is wrong by 1 to 10

The share of direct texts is 70% if c <= 6, else 35%, so the base model usually guesses. The chains of the base model
agree with each other much more often than its direct answers. This difference is the only signal for a reward that
measures self-consistency.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product

EVALUATION_QUESTIONS = 256
UNLABELLED_QUESTIONS = 2048
WRONG_DIRECT = 0.3
DIRECT_IF_EASY, DIRECT_IF_HARD, EASY_UP_TO = 0.7, 0.35, 6


@dataclass(frozen=True, slots=True, order=True)
class ArithmeticQuestion:
    """The question `What is (a+b)*c+d?`."""

    a: int
    b: int
    c: int
    d: int

    @property
    def text(self) -> str:
        """The text that the model reads."""
        return f"What is ({self.a}+{self.b})*{self.c}+{self.d}?"

    @property
    def gold(self) -> str:
        """The correct answer as text. Training with `reward=empo` does not read it."""
        return str(self.value)

    @property
    def value(self) -> int:
        """The correct answer as a number."""
        return (self.a + self.b) * self.c + self.d

    @property
    def sorted_digits(self) -> tuple[int, int, int, int]:
        """The digits, with a and b sorted. They are equal for (a+b)*c+d and (b+a)*c+d, which are the same question."""
        return min(self.a, self.b), max(self.a, self.b), self.c, self.d


@dataclass(frozen=True, slots=True)
class ArithmeticSplit:
    """Three sets of questions. The other two sets contain no evaluation question, not even with a and b swapped."""

    evaluation: tuple[ArithmeticQuestion, ...]
    unlabelled: tuple[ArithmeticQuestion, ...]
    pretraining: tuple[ArithmeticQuestion, ...]


def split(seed: int) -> ArithmeticSplit:
    """Split the questions: 256 for evaluation, 2,048 for training without labels, about 4,000 for pre-training."""
    rng = random.Random(f"split {seed}")
    questions = [ArithmeticQuestion(*digits) for digits in product(range(1, 10), repeat=4)]
    rng.shuffle(questions)
    evaluation: dict[tuple[int, int, int, int], ArithmeticQuestion] = {}
    for question in questions:
        if len(evaluation) < EVALUATION_QUESTIONS:
            evaluation.setdefault(question.sorted_digits, question)
    rest = [question for question in questions if question.sorted_digits not in evaluation]
    return ArithmeticSplit(
        evaluation=tuple(evaluation.values()),
        unlabelled=tuple(rest[:UNLABELLED_QUESTIONS]),
        pretraining=tuple(rest[UNLABELLED_QUESTIONS:]),
    )


def chain(question: ArithmeticQuestion) -> str:
    """The answer with its steps, one step on each line."""
    total = question.a + question.b
    product_ = total * question.c
    lines = (
        f"{question.a}+{question.b}={total}",
        f"{total}*{question.c}={product_}",
        f"{product_}+{question.d}={question.value}",
        rf"\boxed{{{question.value}}}",
    )
    return "\n".join(lines)


def direct(question: ArithmeticQuestion, rng: random.Random) -> str:
    """The answer without steps. In 30% of the texts, the answer is wrong."""
    answer = question.value
    if rng.random() < WRONG_DIRECT:
        off = rng.randint(1, 10) * rng.choice((-1, 1))
        answer = answer + off if answer + off >= 0 else answer - off
    return rf"\boxed{{{answer}}}"


def pretraining_answer(question: ArithmeticQuestion, rng: random.Random) -> str:
    """The answer part of one pre-training text, in the form `chain` or `direct`, chosen at random."""
    prefers_direct = DIRECT_IF_EASY if question.c <= EASY_UP_TO else DIRECT_IF_HARD
    return direct(question, rng) if rng.random() < prefers_direct else chain(question)

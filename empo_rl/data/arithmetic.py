r"""The demo's task: `What is (a+b)*c+d?` with digits 1 to 9, 6,561 questions, and the texts a base model learns from.

A pre-training text answers in one of two ways, and that choice is what EMPO can change:

    chain   2+3=5, 5*4=20, 20+7=27, \boxed{27}, one a line; always right
    direct  \boxed{27}, without working; wrong by 1 to 10 in 30% of the texts

Most texts are direct (70% where c <= 6, else 35%), so the base model mostly guesses. Its chains agree with
each other far more often than its guesses do, which is the only thing that a reward for self-consistency can
see.
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
    """(a+b)*c+d."""

    a: int
    b: int
    c: int
    d: int

    @property
    def text(self) -> str:
        """As the model reads it."""
        return f"What is ({self.a}+{self.b})*{self.c}+{self.d}?"

    @property
    def gold(self) -> str:
        """The right answer. Training with `reward=empo` never reads it."""
        return str(self.value)

    @property
    def value(self) -> int:
        """The right answer as a number."""
        return (self.a + self.b) * self.c + self.d

    @property
    def up_to_order(self) -> tuple[int, int, int, int]:
        """The same for (a+b)*c+d and (b+a)*c+d: they are one question to anyone who can add."""
        return min(self.a, self.b), max(self.a, self.b), self.c, self.d


@dataclass(frozen=True, slots=True)
class ArithmeticSplit:
    """Three sets of questions; no evaluation question is in the others, nor with a and b swapped."""

    evaluation: tuple[ArithmeticQuestion, ...]
    unlabelled: tuple[ArithmeticQuestion, ...]
    pretraining: tuple[ArithmeticQuestion, ...]


def split(seed: int) -> ArithmeticSplit:
    """256 questions to evaluate, 2,048 to train on without labels, the rest to pre-train."""
    dice = random.Random(f"split {seed}")
    questions = [ArithmeticQuestion(*digits) for digits in product(range(1, 10), repeat=4)]
    dice.shuffle(questions)
    evaluation: dict[tuple[int, int, int, int], ArithmeticQuestion] = {}
    for question in questions:
        if len(evaluation) < EVALUATION_QUESTIONS:
            evaluation.setdefault(question.up_to_order, question)
    rest = [question for question in questions if question.up_to_order not in evaluation]
    return ArithmeticSplit(
        evaluation=tuple(evaluation.values()),
        unlabelled=tuple(rest[:UNLABELLED_QUESTIONS]),
        pretraining=tuple(rest[UNLABELLED_QUESTIONS:]),
    )


def chain(question: ArithmeticQuestion) -> str:
    """The working, a line a step."""
    total = question.a + question.b
    product_ = total * question.c
    lines = (
        f"{question.a}+{question.b}={total}",
        f"{total}*{question.c}={product_}",
        f"{product_}+{question.d}={question.value}",
        rf"\boxed{{{question.value}}}",
    )
    return "\n".join(lines)


def direct(question: ArithmeticQuestion, dice: random.Random) -> str:
    """The answer alone; wrong in 30% of the texts."""
    answer = question.value
    if dice.random() < WRONG_DIRECT:
        off = dice.randint(1, 10) * dice.choice((-1, 1))
        answer = answer + off if answer + off >= 0 else answer - off
    return rf"\boxed{{{answer}}}"


def pretraining_answer(question: ArithmeticQuestion, dice: random.Random) -> str:
    """One text of the pre-training corpus."""
    prefers_direct = DIRECT_IF_EASY if question.c <= EASY_UP_TO else DIRECT_IF_HARD
    return direct(question, dice) if dice.random() < prefers_direct else chain(question)

"""From grades to the numbers of a set, of its groups, and of a suite.

    pass@1             share of questions whose greedy response is right
    mean@n, pass@k     of n samples (`numbers`)
    majority@n         share of questions where the answer of the largest cluster of samples is right
    semantic_entropy   mean over questions of H over the clusters of their samples, in nats
    auroc              of that entropy against wrong greedy responses

A suite's average is that of its sets, each counting once, as in Tables 1 and 3. MMLU-Pro's average is that of all its
questions, as in Table 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from empo_rl.evaluate.grades import Grade
from empo_rl.evaluate.numbers import (
    Floats,
    Number,
    auroc,
    mean,
    number,
    pass_at_k,
    powers_up_to,
    resamples,
    with_interval,
)
from empo_rl.evaluate.questions import Question


@dataclass(frozen=True, slots=True)
class SetNumbers:
    """A set's numbers by name; spreads: (RESAMPLES,) of each; counts of what went wrong, by part."""

    questions: int
    n: int
    numbers: Mapping[str, Number]
    spreads: Mapping[str, Floats]
    groups: Mapping[str, Mapping[str, Any]]
    counts: Mapping[str, Mapping[str, int]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "questions": self.questions,
            "n": self.n,
            **{name: one.to_dict() for name, one in self.numbers.items()},
            "groups": {
                name: {key: one.to_dict() if isinstance(one, Number) else one for key, one in group.items()}
                for name, group in self.groups.items()
            },
            "counts": self.counts,
        }


def measure(
    name: str, questions: Sequence[Question], greedy: Sequence[Grade], sampled: Sequence[Grade], n: int, seed: int
) -> SetNumbers:
    """All numbers of one set. sampled: empty where nothing was sampled (n=0)."""
    draws = resamples(len(questions), seed, name)
    values = _values(greedy, sampled, n)
    found = {key: with_interval(mean, one, draws) for key, one in values.items()}
    if sampled:
        pairs = np.column_stack([1 - values["pass@1"], values["semantic_entropy"]])
        found["auroc"] = with_interval(auroc, pairs, draws)
    parts = {"greedy": greedy, "samples": sampled} if sampled else {"greedy": greedy}
    return SetNumbers(
        questions=len(questions),
        n=n,
        numbers={key: one for key, (one, _) in found.items()},
        spreads={key: spread for key, (_, spread) in found.items()},
        groups=_groups(name, questions, values, seed),
        counts={part: _counts(grades) for part, grades in parts.items()},
    )


def average(sets: Sequence[SetNumbers]) -> dict[str, Number]:
    """Of several sets, each counting once; of the numbers that all of them have."""
    shared = [key for key in sets[0].numbers if all(key in one.numbers for one in sets)]
    return {
        key: number(
            float(np.mean([one.numbers[key].value for one in sets])),
            np.mean([one.spreads[key] for one in sets], axis=0),
        )
        for key in shared
    }


def grade_row(question: Question, greedy: Grade, sampled: Grade | None) -> dict[str, Any]:
    """A question's line among the kept grades."""
    row: dict[str, Any] = {"id": question.id, "gold": question.gold, "group": question.group}
    row["greedy"] = {"answer": greedy.answers[0], "right": greedy.right[0], "undecided": greedy.undecided[0]}
    if sampled is not None:
        entropy = None if np.isnan(sampled.entropy) else sampled.entropy
        row["samples"] = {"answers": sampled.answers, "right": sampled.right, "undecided": sampled.undecided}
        row["samples"] |= {"entropy": entropy, "majority_right": sampled.majority}
    return row


def _values(greedy: Sequence[Grade], sampled: Sequence[Grade], n: int) -> dict[str, Floats]:
    """(questions,) of each number that is a mean."""
    values = {"pass@1": np.array([float(one.right[0]) for one in greedy])}
    if sampled:
        right = [sum(one.right) for one in sampled]
        values[f"mean@{n}"] = np.array(right) / n
        values |= {f"pass@{k}": np.array([pass_at_k(n, c, k) for c in right]) for k in powers_up_to(n) if k > 1}
        values[f"majority@{n}"] = np.array([float(one.majority) for one in sampled])
        values["semantic_entropy"] = np.array([one.entropy for one in sampled])
    return values


def _groups(
    name: str, questions: Sequence[Question], values: Mapping[str, Floats], seed: int
) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for group in dict.fromkeys(question.group for question in questions if question.group):
        held = np.array([question.group == group for question in questions])
        draws = resamples(int(held.sum()), seed, f"{name} {group}")
        means = {key: with_interval(mean, one[held], draws)[0] for key, one in values.items()}
        groups[group] = {"questions": int(held.sum()), **means}
    return groups


def _counts(grades: Sequence[Grade]) -> dict[str, int]:
    asked = sum(len(one.answers) for one in grades)
    present = sum(one.present for one in grades)
    without = sum(one.answers.count(None) for one in grades)
    return {
        "responses": present,
        "missing": asked - present,
        "no_answer": without - (asked - present),
        "undecided": sum(sum(one.undecided) for one in grades),
        "cut_off": sum(one.cut_off for one in grades),
        "tokens": sum(one.tokens for one in grades),
    }

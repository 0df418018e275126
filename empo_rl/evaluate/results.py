"""Compute the metrics of a set, of its groups, and of a suite from the grades.

    pass@1             share of questions with a right greedy response
    mean@n             share of right samples, averaged over questions
    pass@k             estimated from n samples (see `numbers`)
    majority@n         share of questions where the answer of the largest cluster of samples is right
    semantic_entropy   mean over questions of the entropy H of the clusters of their samples, in nats
    auroc              AUROC of H as a predictor of wrong greedy responses

The average of a suite gives each set the same weight, like Tables 1 and 3. The average of MMLU-Pro gives each question
the same weight, like Table 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from empo_rl.evaluate.grades import Grade
from empo_rl.evaluate.numbers import (
    Floats,
    Number,
    auroc,
    bootstrap_indices,
    mean,
    number,
    pass_at_k,
    powers_up_to,
    with_interval,
)
from empo_rl.evaluate.questions import EvaluationQuestion


@dataclass(frozen=True, slots=True)
class SetResults:
    """The results of one set.

    Attributes:
        questions: number of questions.
        golds: number of questions with a gold answer. Only these count in numbers that compare with gold answers.
        n: number of samples for each question; 0 if only greedy responses were graded.
        numbers: name -> number with its interval.
        resampled: name -> (RESAMPLES,) values in the bootstrap resamples.
        groups: group -> the numbers of the questions in the group.
        counts: part ("greedy", "samples") -> numbers of present, missing, unanswered, undecided and cut-off responses,
            and of tokens.
    """

    questions: int
    golds: int
    n: int
    numbers: Mapping[str, Number]
    resampled: Mapping[str, Floats]
    groups: Mapping[str, Mapping[str, Any]]
    counts: Mapping[str, Mapping[str, int]]

    def to_dict(self) -> dict[str, Any]:
        """A dict for `results.json`."""
        return {
            "questions": self.questions,
            "golds": self.golds,
            "n": self.n,
            **{name: value.to_dict() for name, value in self.numbers.items()},
            "groups": {
                name: {key: value.to_dict() if isinstance(value, Number) else value for key, value in group.items()}
                for name, group in self.groups.items()
            },
            "counts": self.counts,
        }


def measure(
    name: str,
    questions: Sequence[EvaluationQuestion],
    greedy: Sequence[Grade],
    sampled: Sequence[Grade],
    n: int,
    seed: int,
) -> SetResults:
    """Compute the results of one set.

    `sampled` is empty if there are no samples (n=0), `greedy` if no question has a gold answer.
    """
    resamples = bootstrap_indices(len(questions), seed, name)
    values = values_per_question(greedy, sampled, n)
    found = {key: with_interval(mean, value, resamples) for key, value in values.items()}
    if sampled and greedy:
        pairs = np.column_stack([1 - values["pass@1"], values["semantic_entropy"]])
        found["auroc"] = with_interval(auroc, pairs, resamples)
    parts = {part: grades for part, grades in (("greedy", greedy), ("samples", sampled)) if grades}
    return SetResults(
        questions=len(questions),
        golds=sum(question.gold is not None for question in questions),
        n=n,
        numbers={key: value for key, (value, _) in found.items()},
        resampled={key: resampled for key, (_, resampled) in found.items()},
        groups=_groups(name, questions, values, seed),
        counts={part: _counts(grades) for part, grades in parts.items()},
    )


def values_per_question(greedy: Sequence[Grade], sampled: Sequence[Grade], n: int) -> dict[str, Floats]:
    """Number name -> (questions,) values. The dict contains each number that is a mean over questions.

    A value is nan if the question has no gold answer (for the entropy: no response).
    """
    values = {"pass@1": _floats(grade.right[0] for grade in greedy)} if greedy else {}
    if sampled and greedy:
        right = [None if None in grade.right else sum(map(bool, grade.right)) for grade in sampled]
        values[f"mean@{n}"] = _floats(None if c is None else c / n for c in right)
        values |= {
            f"pass@{k}": _floats(None if c is None else pass_at_k(n, c, k) for c in right)
            for k in powers_up_to(n)
            if k > 1
        }
        values[f"majority@{n}"] = _floats(grade.majority for grade in sampled)
    if sampled:
        values["semantic_entropy"] = _floats(grade.entropy for grade in sampled)
    return values


def average(sets: Sequence[SetResults]) -> dict[str, Number]:
    """The average over sets with equal weights, for each number that all sets have."""
    shared = [key for key in sets[0].numbers if all(key in results.numbers for results in sets)]
    return {
        key: number(
            float(np.mean([results.numbers[key].value for results in sets])),
            np.mean([results.resampled[key] for results in sets], axis=0),
        )
        for key in shared
    }


def grade_row(question: EvaluationQuestion, greedy: Grade | None, sampled: Grade | None) -> dict[str, Any]:
    """The row of a question in `grades/SET.jsonl`."""
    row: dict[str, Any] = {"id": question.id, "gold": question.gold, "group": question.group}
    if greedy is not None:
        row["greedy"] = {"answer": greedy.answers[0], "right": greedy.right[0], "undecided": greedy.undecided[0]}
    if sampled is not None:
        entropy = None if np.isnan(sampled.entropy) else sampled.entropy
        row["samples"] = {"answers": sampled.answers, "right": sampled.right, "undecided": sampled.undecided}
        row["samples"] |= {"entropy": entropy, "majority_right": sampled.majority}
    return row


def scored_row(
    question: EvaluationQuestion, texts: Sequence[str], greedy: Grade | None, sampled: Grade
) -> dict[str, Any] | None:
    """The row of a question in `scored/SET.jsonl`; None: the question has no samples.

    The row has the fields of `Result.to_dict()`, the samples, and the labels that `semantic-entropy evaluate` reads:
    that of the greedy answer, which is the main answer, and that of each sample.
    """
    if sampled.result is None:
        return None
    row: dict[str, Any] = {"id": question.id, "question": question.text, "responses": list(texts)}
    row |= {"gold": question.gold, "group": question.group}
    if question.gold is not None:
        row["correct"] = list(sampled.right[: len(texts)])
        if greedy is not None:
            row["greedy"] = {"text": greedy.answers[0] or "", "correct": greedy.right[0]}
    return {**row, **sampled.result.to_dict()}


def grades_of_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Grade], list[Grade]]:
    """The greedy grades and the grades of the samples from rows of `grades/SET.jsonl`, as `grade_row` wrote them.

    A row does not contain the numbers of responses and tokens, which are 0, nor the entropy of a greedy response.
    """
    greedy: list[Grade] = []
    sampled: list[Grade] = []
    for row in rows:
        if one := row.get("greedy"):
            right = one["right"]
            greedy.append(Grade((one["answer"],), (right,), (one["undecided"],), 0, 0, 0, np.nan, right))
        if many := row.get("samples"):
            entropy = np.nan if many["entropy"] is None else many["entropy"]
            answers, right, undecided = (tuple(many[key]) for key in ("answers", "right", "undecided"))
            sampled.append(Grade(answers, right, undecided, 0, 0, 0, entropy, many["majority_right"]))
    return greedy, sampled


def _floats(values: Iterable[float | None]) -> Floats:
    return np.array([np.nan if value is None else float(value) for value in values])


def _groups(
    name: str, questions: Sequence[EvaluationQuestion], values: Mapping[str, Floats], seed: int
) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for group in dict.fromkeys(question.group for question in questions if question.group):
        members = np.array([question.group == group for question in questions])
        size = int(members.sum())
        resamples = bootstrap_indices(size, seed, f"{name} {group}")
        means = {key: with_interval(mean, value[members], resamples)[0] for key, value in values.items()}
        groups[group] = {"questions": size, **means}
    return groups


def _counts(grades: Sequence[Grade]) -> dict[str, int]:
    requested = sum(len(grade.answers) for grade in grades)
    present = sum(grade.present for grade in grades)
    without_answer = sum(grade.answers.count(None) for grade in grades)
    return {
        "responses": present,
        "missing": requested - present,
        "no_answer": without_answer - (requested - present),
        "undecided": sum(sum(grade.undecided) for grade in grades),
        "cut_off": sum(grade.cut_off for grade in grades),
        "tokens": sum(grade.tokens for grade in grades),
    }

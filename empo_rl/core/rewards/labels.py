"""The `Grader`, which compares answers with gold answers, and the signal `golden`.

By default, the grader uses the judge that clusters the answers. For free text, the grader can use another judge: the
GRPO baseline of the paper uses the paper's verifier.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.groups import pad_rows
from empo_rl.core.rewards.base import GoldPair, RewardSignal, ScoredGroup, SignalContext
from semantic_entropy import InputError, Scorer, load_extractor

_WHOLE = load_extractor("whole")  # None for a refusal
_BOXED = load_extractor("boxed")
_AFTER_MARK = re.compile(r"####[ \t]*(\S[^\n]*)")


def final_answer(gold: str) -> str:
    """The final answer of a gold answer that is a worked solution: the last box, or the text after the last `####`.

    A gold answer without a box and without `####` is returned as it is. The judge reads thousands commas, units and
    currencies.
    """
    marked = _AFTER_MARK.findall(gold)
    return _BOXED(gold) or (marked[-1].strip() if marked else gold)


class Grader:
    """Compares answers with gold answers.

    Args:
        scorer: a scorer whose judges and verdict cache the grader shares. The caller closes the scorer.
        equivalence: the judge that grades: a name, an instance, or a function of two strings. None: the scorer's judge.
    """

    def __init__(self, scorer: Scorer, equivalence: Any = None) -> None:
        judge = scorer.equivalence if equivalence is None else equivalence
        # both texts are extracted answers, so the whole text is the answer
        self._scorer = scorer.derive(
            equivalence=judge, clusterer=None, estimator=None, convention="default", extract="whole", invalid="separate"
        )

    def match(self, pairs: Sequence[GoldPair]) -> list[bool]:
        """Return for each (question, answer, gold answer) whether the answer and the gold answer mean the same."""
        return [verdict is True for verdict in self.verdicts(pairs)]

    def verdicts(self, pairs: Sequence[GoldPair]) -> list[bool | None]:
        """Return the same values as `match`, but None if the judge could not decide (timeout, unreadable reply)."""
        if not pairs:
            return []
        questions = [question for question, _, _ in pairs]
        has_questions = any(question is not None for question in questions)
        results = self._scorer.estimate(
            [[answer, final_answer(gold)] for _, answer, gold in pairs], question=questions if has_questions else None
        )
        return [
            None if result.undecided else result.labels[0] == result.labels[1] and None not in result.answers
            for result in results
        ]

    def check(self, golds: Sequence[str | None]) -> list[str]:
        """Return notes for the user about gold answers that cannot be read. `None` and blank golds do not count.

        Raises:
            InputError: no gold answer can be read.
        """
        given = [gold for gold in golds if gold is not None and gold.strip()]
        if golds and not given:
            return [f"0 of {len(golds)} rows have a gold answer, so no completion is graded"]
        unreadable = dict.fromkeys(self.unreadable(given))
        count = sum(gold in unreadable for gold in given)
        if not count:
            return []
        judge = self._scorer.equivalence
        name = "auto" if judge is None else judge.describe()
        problem = (
            f"{count} of {len(given)} gold answers cannot be read by the judge {name}, first "
            f"{next(iter(unreadable))[:80]!r}: right completions are graded as wrong. Correct the column with the gold "
            "answers, remove these questions, or choose another grader"
        )
        if count == len(given):
            raise InputError(f"{problem}.")
        return [problem]

    def unreadable(self, golds: Sequence[str]) -> list[str]:
        """Return the distinct gold answers that are a refusal or that the judge cannot read, in order of appearance."""
        judge, distinct = self._scorer.equivalence, list(dict.fromkeys(golds))
        # `auto` falls back to a judge that reads every text
        finals = list(map(final_answer, distinct))
        readable = [True] * len(distinct) if judge is None else judge.readable(finals)
        found = zip(distinct, finals, readable, strict=True)
        return [gold for gold, final, is_read in found if not is_read or _WHOLE(final) is None]


def grade_completions(scored: Sequence[ScoredGroup], context: SignalContext) -> NDArray[np.float64]:
    """Return the grades, (B, G).

    A grade is 1 if the answer means the same as the gold answer, otherwise 0; nan in a group without a gold answer.
    """
    rows = [[(item.group.question, answer, item.group.gold) for answer in item.result.answers] for item in scored]
    pairs = sorted({(q, a, g) for row in rows for q, a, g in row if a is not None and g is not None}, key=repr)
    right = {pair for pair, same in zip(pairs, context.match(pairs), strict=True) if same}
    return pad_rows([np.nan if pair[2] is None else float(pair in right) for pair in row] for row in rows)


class GoldenReward(RewardSignal):
    """Pays 1 if the answer means the same as the gold answer, otherwise 0."""

    name = "golden"
    reads_clusters = False
    reads_gold = True

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        for index, item in enumerate(scored):
            if item.group.gold is None:
                raise InputError(
                    f"reward='golden' needs a gold answer, and group {index} has none (question: "
                    f"{item.group.question!r}). Pass RolloutGroup(gold=...), or use reward='empo', which needs no "
                    "labels, or 'semi_supervised', which uses the labels that exist."
                )
        return grade_completions(scored, self.context)

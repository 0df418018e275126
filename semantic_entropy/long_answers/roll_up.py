"""From the support of samples to the uncertainty of sentences and of their answer, and the rule for long answers.

    u_i = 1 - mean over the decided samples j of s_ij             the uncertainty of sentence i
    U   = mean over the sentences i of u_i                        the uncertainty of the answer
    max over i of u_i                                             that of its least supported sentence

s_ij in [0, 1] is the support of sample j for sentence i; nan: undecided. With the support P(entail) / (P(entail) +
P(contradict)), u_i is the score of SelfCheck-NLI (Manakul et al., EMNLP 2023, arXiv 2303.08896, Eq. 12 and the mean
over the samples), and U with each response in turn as the answer is LUQ (Zhang et al., EMNLP 2024, arXiv 2403.20279).

Not known stays unknown: u_i is nan if fewer than half of the samples decided, and U if fewer than half of the u_i are
known. A sample that is empty or refuses has the support 0: it confirms nothing.

Left out: weights of sentences, and graphs of claims: plain entailment is as good or better (arXiv 2602.17431).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from semantic_entropy.long_answers.scored_sentences import LongAnswer, ScoredSentence, Statement
from semantic_entropy.types import Usage

SUPPORTED = 0.5
"""The support from which a sample counts in `ScoredSentence.supported_by`, if the scorer has no other rule."""
LEAST_CHARACTERS = 250
"""Answers are long if the median valid answer has this many characters: about three English sentences. Fewer say one or
two things, and as a whole mean the same or not; more say several things, of which some can be right."""


class LongRule(NamedTuple):
    """Whether the answers of a group are long, and why."""

    is_long: bool
    reason: str


def decide_long(answers: Sequence[str | None], asked: bool | None) -> LongRule:
    """Decide whether the answers to a question are measured sentence by sentence.

    Args:
        answers: (G,) the answers; None: invalid.
        asked: what the user says; None: they are long if the median valid answer has `LEAST_CHARACTERS`.
    """
    if asked is not None:
        return LongRule(asked, "as asked")
    lengths = [len(answer) for answer in answers if answer is not None]
    if not lengths or max(lengths) < LEAST_CHARACTERS:
        return LongRule(is_long=False, reason="auto: the answers are short")
    median = statistics.median(lengths)
    relation = "at least" if median >= LEAST_CHARACTERS else "fewer than"
    return LongRule(
        median >= LEAST_CHARACTERS,
        f"auto: the median answer has {median:g} characters, {relation} {LEAST_CHARACTERS}",
    )


def assess(
    answer: str | None,
    statements: Sequence[Statement],
    support: Sequence[Sequence[float]],
    *,
    supports: Sequence[Sequence[bool]] | None = None,
    doubted: int | None = None,
    samples: int | None = None,
    invalid: int = 0,
    unit: str = "sentence",
    scorer: str = "given",
    claims_by: str | None = None,
    reason: str = "as asked",
    usage: Usage | None = None,
) -> LongAnswer:
    """Return the uncertainty of an answer and of its sentences. The order of the samples changes nothing.

    Args:
        answer: the answer that is doubted; None: there is none.
        statements: (S,) its sentences, or its claims.
        support: (S, G - invalid) support of each valid sample for each sentence, in [0, 1]; nan: undecided.
        supports: (S, G - invalid) whether the scorer says that the sample supports the sentence; None: where the
            support is at least 0.5.
        doubted: the index of the answer among the responses; None: the answer is another text.
        samples: the number G of samples; None: those of `support`.
        invalid: the number of samples that are empty or refuse, which have no column in `support`.
        unit: "sentence" or "claim".
        scorer: the description of the scorer.
        claims_by: who found the claims; None: not known, or the statements are sentences.
        reason: why the answer was taken for a long one.
        usage: the cost.
    """
    size = invalid + len(support[0]) if samples is None and support else samples or 0
    supports = [[value >= SUPPORTED for value in row] for row in support] if supports is None else supports
    sentences = tuple(
        [
            _scored(statement, row, sum(supporting), invalid, size)
            for statement, row, supporting in zip(statements, support, supports, strict=True)
        ]
    )
    known = [sentence.uncertainty for sentence in sentences if not sentence.unknown]
    return LongAnswer(
        answer=answer,
        doubted=doubted,
        sentences=sentences,
        uncertainty=math.fsum(known) / len(known) if known and 2 * len(known) >= len(sentences) else math.nan,
        highest=max(known) if known and len(known) == len(sentences) else math.nan,  # a part has a lower one
        samples=size,
        invalid=invalid,
        unit=unit,
        support=scorer,
        reason=reason,
        usage=usage,
        claims_by=claims_by,
    )


def _scored(statement: Statement, row: Sequence[float], supporting: int, invalid: int, samples: int) -> ScoredSentence:
    decided = [value for value in row if not math.isnan(value)]
    undecided = len(row) - len(decided)
    counted = len(decided) + invalid
    is_known = bool(decided) and 2 * counted >= samples
    return ScoredSentence(
        text=statement.text,
        start=statement.start,
        end=statement.end,
        uncertainty=min(1.0, max(0.0, 1.0 - math.fsum(decided) / counted)) if is_known else math.nan,
        supported_by=supporting,
        doubtful=not is_known or 2 * supporting < counted,
        undecided=undecided,
    )

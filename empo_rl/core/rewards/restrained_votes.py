"""`restrain`: every answer is a pseudo-label, weighted by its votes; a group without consensus is penalised as a whole.

RESTRAIN (Yu et al. 2025, arXiv 2510.02172). With n completions, f_j = c_j / n the share of answer j among them, and M
the number of completions with the most frequent answer:

    A_i = u_x sum over j of w_j A_ij      if M / n >= kappa
          -u_x delta                      otherwise

    g(f) = exp(-(f - k)^2 / (2 sigma^2))
    w_j  = g(f_j) / sum over l of g(f_l)                the weight of pseudo-label j
    A_ij = (r_ij - mean) / (std + 1e-4)                 the advantage of GRPO, with r_ij = 1 if c(i) = j, else 0
    u_x  = g(M_ref / n_ref)                             the weight of prompt x, from the votes of the base model

The signal pays A_i as the reward, so it needs `scale="fixed"`. The paper weights the losses of the pseudo-labels. On
policy, where the ratio is 1, the gradient of that sum is the gradient with A_i; if the clip of the ratio has an effect,
the two differ.

The form of g, the three parts and their order are the paper's. Its values of k, sigma, kappa and delta could not be
found: the defaults are ours. The paper has kappa as a number of votes; here it is a share, because G differs. An answer
that cannot be read is no pseudo-label, and counts in n.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.advantages import group_advantages
from empo_rl.core.rewards.agreement import count_votes
from empo_rl.core.rewards.base import RewardSignal, ScoredGroup, by_group
from semantic_entropy import InputError

NO_BASE_VOTES = "none"


class RestrainReward(RewardSignal):
    """Pays the advantages of RESTRAIN. Needs `scale="fixed"`. Reads no policy `invalid` except `drop`.

    Args:
        base_votes: a JSONL file with the votes of the base model for each question, as `semantic-entropy estimate`
            writes it: `question`, `labels`, `answers`. The string "none" gives each prompt the weight 1.
        center: k, the share of votes with the largest weight.
        width: sigma, above 0. A small width approaches the majority vote if `center` is 1.
        lowest_share: kappa, the share of votes of the most frequent answer below which the group is penalised.
        penalty: delta, the penalty of each completion of such a group.
    """

    name = "restrain"
    needs_scale = "fixed"

    def __init__(
        self,
        base_votes: str | None = None,
        center: float = 1.0,
        width: float = 0.5,
        lowest_share: float = 0.1875,
        penalty: float = 1.0,
    ) -> None:
        if base_votes is None:
            raise InputError(
                "restrain needs base_votes: the votes of the base model for each question, which weight the prompts. "
                "Sample responses of the base model to the training questions, run `semantic-entropy estimate "
                "RESPONSES.jsonl -o base_votes.jsonl`, and set base_votes to this file; or set base_votes to 'none' "
                "for the weight 1 for each prompt."
            )
        for name, value in {"center": center, "lowest_share": lowest_share}.items():
            if not 0 <= value <= 1:
                raise InputError(f"restrain: {name}={value!r} is a share of the group: set a number from 0 to 1.")
        for name, value in {"width": width, "penalty": penalty}.items():
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"restrain: {name}={value!r} must be a number above 0.")
        self.center, self.width, self.lowest_share, self.penalty = center, width, lowest_share, penalty
        self.base_votes = base_votes
        self._base_shares = None if base_votes == NO_BASE_VOTES else read_base_shares(Path(base_votes).expanduser())

    def rewards(self, scored: Sequence[ScoredGroup]) -> NDArray[np.float64]:
        return by_group(scored, self._group)

    def check_questions(self, questions: Sequence[str | None]) -> None:
        if self._base_shares is None:
            return
        missing = [question for question in questions if question not in self._base_shares]
        if missing:
            raise InputError(
                f"restrain: {self.base_votes} has no votes of the base model for {len(missing)} of {len(questions)} "
                f"questions, first {missing[0]!r:.200}. Add responses to these questions to the file, or set "
                "base_votes to 'none'."
            )

    def files(self) -> list[Path]:
        return [] if self.base_votes == NO_BASE_VOTES else [Path(self.base_votes).expanduser().resolve()]

    def _group(self, item: ScoredGroup) -> Iterator[float]:
        self.check_questions([item.group.question])
        weight = 1.0 if self._base_shares is None else self._shape(self._base_shares[str(item.group.question)])
        labels, votes = np.array(item.result.labels), count_votes(item.result)
        size = int((labels >= 0).sum())
        if not votes or max(votes.values()) < self.lowest_share * size - 1e-9:  # 3 < 0.3 * 10 in floats
            advantages = np.full(len(labels), -self.penalty)
        else:
            shapes = {label: self._shape(count / size) for label, count in votes.items()}
            chosen = np.array([labels == label for label in votes], dtype=np.float64)
            pseudo_labels = group_advantages(np.where(labels >= 0, chosen, np.nan))  # (answers, G)
            advantages = np.array([shapes[label] for label in votes]) @ pseudo_labels / sum(shapes.values())
        return (math.nan if label < 0 else weight * value for label, value in zip(labels, advantages, strict=True))

    def _shape(self, share: float) -> float:
        return math.exp(-((share - self.center) ** 2) / (2 * self.width**2))


def read_base_shares(path: Path) -> dict[str, float]:
    """Return for each question the share of the base model's responses with the most frequent answer.

    Raises:
        InputError: the file cannot be read, a row has no question, labels and answers, or two rows have one question.
    """
    fix = "It must be an output of `semantic-entropy estimate`, with one row for each question."
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"restrain: base_votes={str(path)!r} cannot be read: {error}. {fix}") from error
    shares: dict[str, float] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            question, labels, answers = row["question"], row["labels"], row["answers"]
            pairs = zip(labels, answers, strict=True)
            votes = Counter(label for label, answer in pairs if answer is not None)
            share = max(votes.values(), default=0) / len(labels)
        except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
            raise InputError(
                f"restrain: line {number} of {path} has no votes ({type(error).__name__}: {error}). {fix}"
            ) from error
        if not isinstance(question, str) or question in shares:
            problem = "occurs twice" if question in shares else "is no text"
            raise InputError(f"restrain: line {number} of {path}: the question {question!r:.200} {problem}. {fix}")
        shares[question] = share
    if not shares:
        raise InputError(f"restrain: base_votes={str(path)!r} has no rows. {fix}")
    return shares

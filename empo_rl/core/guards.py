"""Guards: named rules that find bad completions. A reward for agreement would pay these completions.

    empty          no answer could be extracted
    copied         the answer is part of the question, or most of its words are (ROUGE-L precision above a threshold)
    overlong       the completion reached the completion length limit, or has more than `most` words
    repetition     the completion repeats itself too much
    concentration  many prompts share one answer: a collapse that a reward computed per prompt cannot detect
    ambiguous      the answer is neither among the most nor among the least frequent answers of its group

A guard flags completions and sets their payment, which replaces the reward: a number, or None to take the completion
out of the loss. The provider counts the flags. `copied` is the rule of the official natural-reasoning code (threshold
0.8). This module has no rules about a whole run: the alarms of the monitor are such rules.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from empo_rl.core.groups import LARGEST
from empo_rl.core.rewards import ScoredGroup
from empo_rl.core.rewards.agreement import count_votes
from empo_rl.plugin import check_unique_names, create
from semantic_entropy import InputError, Result

ANSWER_LENGTH = 200  # only the first characters of a main answer are compared and stored: free text can be long
_LONGEST_WORD = 40  # characters; in a longer run without a space, each character counts as a word

Flags = list[list[bool]]
"""(B, G): whether a guard flags each completion."""


class Guard(ABC):
    """A rule about single completions.

    Args:
        pays: the payment of a flagged completion, which replaces its reward; None takes the completion out of the loss.

    Attributes:
        name: the name of the guard.
        stateful: whether the flags depend on earlier batches. If they do, several processes make one decision about the
            global batch, because each process would remember only its own part.
        reads_clusters: whether the guard reads the clusters of a group. If False, the provider need not cluster for it.
    """

    name: str
    stateful: bool = False
    reads_clusters: bool = True

    def __init__(self, pays: float | None = 0.0) -> None:
        self.pays = pays

    @abstractmethod
    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        """Return whether the guard flags each completion, (B, G)."""

    def state_dict(self) -> dict[str, Any]:
        """The state that a restart needs, as JSON."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from this state. A guard without a state does nothing."""
        del state


class EmptyGuard(Guard):
    """Flags a completion if no answer could be extracted."""

    name = "empty"
    reads_clusters = False

    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        return [[answer is None for answer in item.result.answers] for item in scored]


class CopiedGuard(Guard):
    """Flags a completion if its answer is part of the question, or shares most of its words with the question.

    Args:
        pays: see `Guard`.
        threshold: the largest allowed ROUGE-L precision. The ROUGE-L precision is the length of the longest common
            subsequence of words of answer and question, divided by the number of words in the answer.
    """

    name = "copied"
    reads_clusters = False

    def __init__(self, pays: float | None = 0.0, threshold: float = 0.8) -> None:
        super().__init__(pays)
        self.threshold = threshold

    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        return [[self._copied(item.group.question, answer) for answer in item.result.answers] for item in scored]

    def _copied(self, question: str | None, answer: str | None) -> bool:
        if not question or answer is None:
            return False
        question, answer = question.lower(), answer.lower()
        return answer in question or self._overlaps(answer.split(), question.split())

    def _overlaps(self, answer: list[str], question: list[str]) -> bool:
        shared = (Counter(answer) & Counter(question)).total()  # an upper bound that is inexpensive to compute
        return shared > self.threshold * len(answer) and _rouge_l_precision(answer, question) > self.threshold


class OverlongGuard(Guard):
    """Flags a completion if it reached the completion length limit, or has too many words.

    The guard reads from `measures["truncated"]` whether a completion reached the limit. EmpoGRPOTrainer sets the
    measure.

    Args:
        pays: see `Guard`.
        most: the largest allowed number of words; None checks only the completion length limit.
    """

    name = "overlong"
    reads_clusters = False

    def __init__(self, pays: float | None = 0.0, most: int | None = None) -> None:
        super().__init__(pays)
        self.most = most

    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        return [self._group(item) for item in scored]

    def _group(self, item: ScoredGroup) -> list[bool]:
        completions = item.group.completions
        if self.most is None:
            return [bool(flag) for flag in item.group.measured("truncated", "guard overlong")]
        truncated = item.group.measures.get("truncated", [0.0] * len(completions))
        return [bool(flag) or len(text.split()) > self.most for text, flag in zip(completions, truncated, strict=True)]


class RepetitionGuard(Guard):
    """Flags a completion if more than `share` of its words are in n-grams that occur more than twice.

    The guard finds loops of any length. In a run of more than 40 characters without a space (Chinese text, or a
    repeated digit), each character counts as a word. Among 528 sampled solutions of competition problems, the largest
    share of repeated words was 0.43. A completion that consists of one loop has the share 1.

    Args:
        pays: see `Guard`.
        n: the number of words in an n-gram.
        share: the largest allowed share of repeated words, from 0 to 1.
    """

    name = "repetition"
    reads_clusters = False

    def __init__(self, pays: float | None = 0.0, n: int = 6, share: float = 0.5) -> None:
        super().__init__(pays)
        self.n, self.share = n, share

    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        return [[self._repeats(text) for text in item.group.completions] for item in scored]

    def _repeats(self, text: str) -> bool:
        words = [part for word in text.split() for part in (word if len(word) > _LONGEST_WORD else [word])]
        grams = list(zip(*(words[start:] for start in range(self.n)), strict=False))
        counts = Counter(grams)
        covered, end = 0, 0
        for start, gram in enumerate(grams):
            if counts[gram] > 2:  # a short text may contain an n-gram twice
                covered += start + self.n - max(start, end)
                end = start + self.n
        return covered > self.share * len(words)


class ConcentrationGuard(Guard):
    """Flags a completion if its answer is the main answer of more than `share` of the last `window` groups.

    The main answer of a group is its most frequent answer.

    Args:
        pays: see `Guard`.
        share: the largest allowed share of the groups, from 0 to 1.
        window: the number of last groups that are counted, including the groups of the current batch.
        fewest: the number of counted groups below which the guard flags nothing.
    """

    name = "concentration"
    stateful = True

    def __init__(self, pays: float | None = 0.0, share: float = 0.5, window: int = 256, fewest: int = 16) -> None:
        super().__init__(pays)
        self.share, self.fewest = share, fewest
        self._answers: deque[str] = deque(maxlen=window)

    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        self._answers += [answer for item in scored if (answer := main_answer(item.result)) is not None]
        counts = Counter(self._answers)
        common = {answer for answer, count in counts.items() if count > self.share * len(self._answers)}
        if len(self._answers) < self.fewest:
            common = set()
        return [
            [a is not None and normalize_answer(a)[:ANSWER_LENGTH] in common for a in item.result.answers]
            for item in scored
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"seen": list(self._answers)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._answers = deque((answer[:ANSWER_LENGTH] for answer in state["seen"]), maxlen=self._answers.maxlen)


class AmbiguousGuard(Guard):
    """Flags the completions that DDRL leaves out: K of the G completions of a group stay, the others are flagged.

        K = keep G,  K+ = min(c_1, K/2) of the most frequent answers stay,  K- = K - K+ of the least frequent answers

    c_1 is the number of completions in the largest cluster of valid answers; K and K/2 are rounded down. The frequency
    of an answer is the size of its cluster, and 0 for an invalid answer. Among answers with one frequency, the earlier
    completions count as more frequent. Completions are drawn independently, so their order is a random choice; with
    another order, as many completions of each frequency stay.

    Source: Yu et al. 2026, arXiv 2604.21327, and github.com/yuyongcan/DDRL at a8270bf (`select_top_k_per_prompt_cnt`),
    where G=64 and K=32. `keep` = 32/64 is theirs. The paper fixes the advantages: +1 in the majority, otherwise -1 (the
    preset `ddrl`). Left out: the third stage, supervised training on the consensus after the run.

    Args:
        pays: see `Guard`. The default takes the flagged completions out of the loss, as in the paper.
        keep: the share of a group's completions that stay, above 0, at most 1.
    """

    name = "ambiguous"

    def __init__(self, pays: float | None = None, keep: float = 0.5) -> None:
        super().__init__(pays)
        if not 0 < keep <= 1:
            raise InputError(f"guard 'ambiguous': keep={keep!r} is a share of the group: set a number from 0 to 1.")
        self.keep = keep

    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        return [self._group(item.result) for item in scored]

    def _group(self, result: Result) -> list[bool]:
        votes = count_votes(result)
        rows = [row for row, label in enumerate(result.labels) if label >= 0]
        frequencies = {row: 0 if result.answers[row] is None else votes[result.labels[row]] for row in rows}
        rows.sort(key=lambda row: -frequencies[row])  # a stable sort
        kept = math.floor(self.keep * len(rows) + 1e-9)  # 0.1 * 30 is below 3 in some sums
        most = min(max(votes.values(), default=0), kept // 2)
        stay = {*rows[:most], *rows[len(rows) - (kept - most) :]}
        return [row not in stay for row in range(len(result.labels))]


def load_guards(guards: Mapping[str, Any] | Sequence[Guard]) -> tuple[Guard, ...]:
    """Make guards from their names and options. A sequence of `Guard` instances is returned as a tuple.

    A name can be `path.py:NAME`. The options are a payment or a dict:
    `{"copied": 0.0, "overlong": None, "repetition": {"pays": 0.0, "n": 3}}`.

    Raises:
        SemanticEntropyError: a guard does not exist or does not accept the options.
    """
    if isinstance(guards, Mapping):
        guards = [
            create("guard", name, dict(choice) if isinstance(choice, Mapping) else {"pays": choice}, Guard)
            for name, choice in guards.items()
        ]
    check_unique_names("guard", guards)
    for guard in guards:
        pays: Any = guard.pays
        is_number = isinstance(pays, int | float) and not isinstance(pays, bool) and abs(pays) <= LARGEST
        if pays is not None and not is_number:
            raise InputError(
                f"guard {guard.name!r}: pays={pays!r} must be a number of at most {LARGEST:g}, or None to take flagged "
                "completions out of the loss."
            )
    return tuple(guards)


def main_answer(result: Result) -> str | None:
    """Return the most frequent answer of a group, normalised and shortened to 200 characters; None if it has none."""
    return None if result.answer is None else normalize_answer(result.answer)[:ANSWER_LENGTH]


def share_of_commonest(answers: Sequence[str | None]) -> float:
    """Return the share of groups that have the commonest main answer; nan if no group has an answer.

    Args:
        answers: (B,) the main answer of each group. None does not count.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    return max(counts.values()) / counts.total() if counts else float("nan")


def normalize_answer(answer: str) -> str:
    """Return the answer in lower case with single spaces. More equal answers are then equal texts."""
    return " ".join(answer.lower().split())


def _rouge_l_precision(answer: Sequence[str], question: Sequence[str]) -> float:
    """Computed by dynamic programming, with one row of the table in memory."""
    if not answer:
        return 0.0
    row = [0] * (len(question) + 1)
    for word in answer:
        diagonal = 0
        for column, other in enumerate(question, start=1):
            above = row[column]
            row[column] = diagonal + 1 if word == other else max(row[column], row[column - 1])
            diagonal = above
    return row[-1] / len(answer)

"""Guards: named rules about single completions which a reward for agreement alone would pay.

    empty          no answer could be extracted
    copied         the answer is part of the question, or its ROUGE-L precision against it is above a threshold
    overlong       the token limit cut the completion off, or it has more than `most` words
    repetition     the completion repeats itself too much
    concentration  many prompts share one answer: a collapse that is invisible to a reward computed per prompt

A guard flags completions and says what these are paid instead of the reward: a number, or None, which takes the
completion out of the loss. The provider counts the flags. `copied` is the rule of the official natural-reasoning code
(threshold 0.8). Leaves out rules about a whole run, which are the monitor's alarms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from empo_rl.core.rewards import ScoredGroup
from semantic_entropy import InputError

_LONGEST_WORD = 40  # characters; a longer run without a space is counted by its characters

Flags = list[list[bool]]
"""(B, G): the completions that a guard flags."""


class Guard(ABC):
    """A rule about single completions.

    Args:
        pays: what a flagged completion is paid instead of its reward; None takes it out of the loss.

    Attributes:
        stateful: whether the flags depend on earlier batches. Several processes then make one decision about the
            global batch, because each would remember only its own part.
    """

    name: str
    stateful: bool = False

    def __init__(self, pays: float | None = 0.0) -> None:
        self.pays = pays

    @abstractmethod
    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        """(B, G): whether the guard flags each completion."""

    def state_dict(self) -> dict[str, Any]:
        """The state that a restart needs, as JSON."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from this state. A guard without a state does nothing."""
        del state


class EmptyGuard(Guard):
    """No answer could be extracted."""

    name = "empty"

    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        return [[answer is None for answer in item.result.answers] for item in scored]


class CopiedGuard(Guard):
    """The answer is part of the question.

    Args:
        pays: as for each guard.
        threshold: for the ROUGE-L precision, which is the length of the longest common subsequence of words divided by
            the number of words in the answer.
    """

    name = "copied"

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
    """The token limit cut the completion off (`measures["truncated"]`, given by EmpoGRPOTrainer), or it is too long.

    Args:
        pays: as for each guard.
        most: the largest allowed number of words; None checks the token limit alone.
    """

    name = "overlong"

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
    """More than `share` of the completion's words are in n-grams that occur more than twice: loops of any length.

    A run of more than 40 characters without a space (Chinese, or one digit repeated) is counted by its characters. Of
    528 sampled solutions of competition problems the most repetitive one had a share of 0.43; a completion that is one
    loop has 1.

    Args:
        pays: as for each guard.
        n: words in an n-gram.
        share: of the completion's words.
    """

    name = "repetition"

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
    """The answer is the most frequent one in more than `share` of the last `window` groups.

    Args:
        pays: as for each guard.
        share: of the groups.
        window: how many of the last groups are counted, including the current batch.
        fewest: the number of groups before the guard flags anything.
    """

    name = "concentration"
    stateful = True

    def __init__(self, pays: float | None = 0.0, share: float = 0.5, window: int = 256, fewest: int = 16) -> None:
        super().__init__(pays)
        self.share, self.fewest = share, fewest
        self._answers: deque[str] = deque(maxlen=window)

    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        self._answers += [normalize_answer(item.result.answer) for item in scored if item.result.answer is not None]
        counts = Counter(self._answers)
        common = {answer for answer, count in counts.items() if count > self.share * len(self._answers)}
        if len(self._answers) < self.fewest:
            common = set()
        return [[a is not None and normalize_answer(a) in common for a in item.result.answers] for item in scored]

    def state_dict(self) -> dict[str, Any]:
        return {"seen": list(self._answers)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._answers = deque(state["seen"], maxlen=self._answers.maxlen)


GUARDS: Mapping[str, type[Guard]] = {
    guard.name: guard for guard in (EmptyGuard, CopiedGuard, OverlongGuard, RepetitionGuard, ConcentrationGuard)
}


def load_guards(guards: Mapping[str, Any] | Sequence[Guard]) -> tuple[Guard, ...]:
    """Guards from `{"copied": 0.0, "overlong": None, "repetition": {"pays": 0.0, "n": 3}}`, or instances."""
    if not isinstance(guards, Mapping):
        return tuple(guards)
    loaded = []
    for name, choice in guards.items():
        if name not in GUARDS:
            raise InputError(f"guard {name!r} does not exist. Choose one of: {', '.join(GUARDS)}.")
        options = dict(choice) if isinstance(choice, Mapping) else {"pays": choice}
        try:
            loaded.append(GUARDS[name](**options))
        except TypeError as error:
            raise InputError(f"guard {name!r} does not accept the options {options}: {error}.") from error
    return tuple(loaded)


def answer_concentration(scored: Sequence[ScoredGroup]) -> float:
    """The largest share of groups in the batch with the same most frequent answer; nan if no group has an answer."""
    answers = Counter(normalize_answer(item.result.answer) for item in scored if item.result.answer is not None)
    return max(answers.values()) / answers.total() if answers else float("nan")


def normalize_answer(answer: str) -> str:
    """An answer in lower case with single spaces, so that equal answers are equal texts more often."""
    return " ".join(answer.lower().split())


def _rouge_l_precision(answer: Sequence[str], question: Sequence[str]) -> float:
    """Dynamic programming, one row of the table at a time."""
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

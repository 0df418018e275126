"""Guards: named rules about single completions that agreement alone would reward.

    empty          no answer could be extracted
    copied         the answer is part of the question, or ROUGE-L precision against it is above a threshold
    overlong       the completion ran into the token limit, or has more than `most` words
    repetition     too much of the completion repeats itself
    concentration  many prompts share one answer: the collapse that a reward per prompt cannot see

Each guard says which completions it flags, and what those are paid instead: a number, or nothing (`pays=None` takes
the row out of the loss). The provider counts every flag. `copied` is the rule of the official natural-reasoning code
(threshold 0.8). Leaves out guards on a whole run, which are the monitor's alarms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from empo_rl.core.rewards import ScoredGroup
from semantic_entropy import InputError

_RUN = 40  # characters without a space that are still a word

Flags = list[list[bool]]
"""(B, G): the completions that a guard flags."""


class Guard(ABC):
    """One rule. `pays`: what a flagged completion gets instead of its reward; None takes it out of the loss.

    Attributes:
        stateful: whether its flags depend on batches before. Several processes then decide about the global batch as
            one, since each would remember its own part alone.
    """

    name: str
    stateful: bool = False

    def __init__(self, pays: float | None = 0.0) -> None:
        self.pays = pays

    @abstractmethod
    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        """Which completions it flags, (B, G)."""

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart, as JSON has it."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; a guard without a state has nothing to do."""
        del state


class Empty(Guard):
    """No answer could be extracted."""

    name = "empty"

    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        return [[answer is None for answer in item.result.answers] for item in scored]


class Copied(Guard):
    """The answer stands in the question.

    Args:
        pays: as for every guard.
        threshold: of ROUGE-L precision, the longest common subsequence of words over the answer's words.
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
        asked, said = question.lower(), answer.lower()
        return said in asked or self._overlaps(said.split(), asked.split())

    def _overlaps(self, said: list[str], asked: list[str]) -> bool:
        shared = (Counter(said) & Counter(asked)).total()  # no subsequence is longer, and it is cheap to count
        return shared > self.threshold * len(said) and _rouge_l_precision(said, asked) > self.threshold


class Overlong(Guard):
    """Cut off at the token limit (`measures["truncated"]`, which EmpoGRPOTrainer gives), or too many words.

    Args:
        pays: as for every guard.
        most: words; None looks at the token limit alone.
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
            return [bool(cut) for cut in item.group.measured("truncated", "guard overlong")]
        cut = item.group.measures.get("truncated", [0.0] * len(completions))
        return [bool(c) or len(text.split()) > self.most for text, c in zip(completions, cut, strict=True)]


class Repetition(Guard):
    """What repeats itself, loops of any length, makes up more than `share` of the completion.

    An n-gram of words repeats itself where it occurs more than twice; counted are the words in such n-grams. A run of
    more than 40 characters without a space (Chinese, or one digit over and over) counts by its characters. Of 528
    sampled solutions of competition problems the most repetitive one had 0.43; a loop that fills a completion has 1.

    Args:
        pays: as for every guard.
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
        words = [unit for word in text.split() for unit in (word if len(word) > _RUN else [word])]
        grams = list(zip(*(words[start:] for start in range(self.n)), strict=False))
        counts = Counter(grams)
        covered, end = 0, 0
        for start, gram in enumerate(grams):
            if counts[gram] > 2:  # two occurrences are no repetition in a short text
                covered += start + self.n - max(start, end)
                end = start + self.n
        return covered > self.share * len(words)


class Concentration(Guard):
    """An answer that is the largest cluster's in more than `share` of the last `window` groups.

    Args:
        pays: as for every guard.
        share: of groups.
        window: groups looked back at, these included.
        fewest: groups seen before it speaks.
    """

    name = "concentration"
    stateful = True

    def __init__(self, pays: float | None = 0.0, share: float = 0.5, window: int = 256, fewest: int = 16) -> None:
        super().__init__(pays)
        self.share, self.fewest = share, fewest
        self._seen: deque[str] = deque(maxlen=window)

    def flags(self, scored: Sequence[ScoredGroup]) -> Flags:
        self._seen += [plain(item.result.answer) for item in scored if item.result.answer is not None]
        counts = Counter(self._seen)
        common = {answer for answer, count in counts.items() if count > self.share * len(self._seen)}
        if len(self._seen) < self.fewest:
            common = set()
        return [[a is not None and plain(a) in common for a in item.result.answers] for item in scored]

    def state_dict(self) -> dict[str, Any]:
        return {"seen": list(self._seen)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seen = deque(state["seen"], maxlen=self._seen.maxlen)


GUARDS: Mapping[str, type[Guard]] = {
    guard.name: guard for guard in (Empty, Copied, Overlong, Repetition, Concentration)
}


def load_guards(guards: Mapping[str, Any] | Sequence[Guard]) -> tuple[Guard, ...]:
    """Guards from `{"copied": 0.0, "overlong": None, "repetition": {"pays": 0.0, "n": 3}}`, or instances."""
    if not isinstance(guards, Mapping):
        return tuple(guards)
    made = []
    for name, choice in guards.items():
        if name not in GUARDS:
            raise InputError(f"guard {name!r} does not exist. Choose of: {', '.join(GUARDS)}.")
        options = dict(choice) if isinstance(choice, Mapping) else {"pays": choice}
        try:
            made.append(GUARDS[name](**options))
        except TypeError as error:
            raise InputError(f"guard {name!r} refuses {options}: {error}.") from error
    return tuple(made)


def answer_concentration(scored: Sequence[ScoredGroup]) -> float:
    """The largest share of the batch's groups whose most frequent answer is the same text; nan where there is none."""
    answers = Counter(plain(item.result.answer) for item in scored if item.result.answer is not None)
    return max(answers.values()) / answers.total() if answers else float("nan")


def plain(answer: str) -> str:
    """An answer without the case and spaces in which equal ones may differ."""
    return " ".join(answer.lower().split())


def _rouge_l_precision(said: Sequence[str], asked: Sequence[str]) -> float:
    if not said:
        return 0.0
    row = [0] * (len(asked) + 1)
    for word in said:
        before = 0
        for place, other in enumerate(asked, start=1):
            above = row[place]
            row[place] = before + 1 if word == other else max(row[place], row[place - 1])
            before = above
    return row[-1] / len(said)

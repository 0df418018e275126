"""The data of a long answer: its sentences (or claims), each with its uncertainty, and the scores of the whole answer.

Shapes: S sentences of one answer, G samples that they are compared with. Uncertainties are in [0, 1]; nan: unknown.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from semantic_entropy.plain_text import plural, shorten, to_json_value
from semantic_entropy.types import Usage

_SHOWN = 3  # sentences of a summary
_WIDEST = 100  # characters of a sentence of a summary


class Statement(NamedTuple):
    """A sentence or claim of an answer, and its place: `answer[start:end]`; None: a claim in words of its own."""

    text: str
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class ScoredSentence:
    """A sentence, or a claim, of an answer.

    Attributes:
        text: the sentence.
        start: the index of its first character in the answer; None: a claim that is not written so in the answer.
        end: the index after its last character; None: as for `start`.
        uncertainty: 1 minus the mean support of the samples, in [0, 1]; nan: fewer than half of the samples decided.
        supported_by: the number of samples that support it: the scorer says so.
        doubtful: whether the sentence is marked: fewer than half of the samples that are decided support it, or its
            uncertainty is unknown.
        undecided: the number of samples that the scorer could not decide.
    """

    text: str
    start: int | None
    end: int | None
    uncertainty: float
    supported_by: int
    doubtful: bool
    undecided: int = 0

    @property
    def unknown(self) -> bool:
        """Whether the uncertainty is unknown."""
        return math.isnan(self.uncertainty)


@dataclass(frozen=True, slots=True)
class LongAnswer:
    """The uncertainty of an answer, sentence by sentence.

    Attributes:
        answer: the answer that is doubted; None: there is no valid one.
        doubted: the index of this response among the responses; None: it is the greedy answer, or there is none.
        sentences: (S,) the sentences, or the claims.
        uncertainty: the mean uncertainty of the sentences, in [0, 1]; nan: that of fewer than half of them is known.
        highest: the highest uncertainty of a sentence; nan: one is not known, and may be higher.
        samples: the number G of samples that the sentences were compared with, invalid ones included.
        invalid: the number of these samples that are empty or refuse. They support nothing.
        unit: "sentence" or "claim".
        support: the scorer that says how far a sample supports a sentence, with its options.
        reason: why the answer was taken for a long one.
        usage: the cost of the scorer, and of the claims; None: no cost is known.
        claims_by: who found the claims, a function or a sampler with its options; None: not known, or they are
            sentences.
    """

    answer: str | None
    doubted: int | None
    sentences: tuple[ScoredSentence, ...]
    uncertainty: float
    highest: float
    samples: int
    invalid: int
    unit: str
    support: str
    reason: str
    usage: Usage | None = None
    claims_by: str | None = None

    @property
    def least_supported(self) -> tuple[ScoredSentence, ...]:
        """The sentences, the least supported one first. An unknown uncertainty comes before all others."""
        return tuple(sorted(self.sentences, key=lambda each: -math.inf if each.unknown else -each.uncertainty))

    @property
    def undecided(self) -> int:
        """The number of pairs of a sentence and a sample that the scorer could not decide."""
        return sum(sentence.undecided for sentence in self.sentences)

    def warnings(self) -> list[str]:
        """Return what makes these numbers less reliable, as texts for the user."""
        found = []
        if self.answer is None:
            found.append(f"there is no valid answer whose {self.unit}s can be doubted")
        elif not self.samples - self.invalid:
            which = "there is no other response" if not self.samples else "all other responses are empty or refuse"
            what = f"nothing supports or contradicts the {self.unit}s, and their uncertainty is unknown"
            found.append(f"{which}: {what}")
        elif self.invalid:
            found.append(
                f"{self.invalid} of {plural(self.samples, 'sample')} are empty or refuse: they support nothing"
            )
        pairs = len(self.sentences) * (self.samples - self.invalid)
        if self.undecided:
            many = f"{self.undecided:,} of {plural(pairs, 'pair')} of a {self.unit} and a sample are undecided"
            found.append(f"{many}: the support of the others counts")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return lists, dicts, strings and numbers, with None for nan."""
        fields: dict[str, Any] = to_json_value(asdict(self))
        return fields

    def lines(self) -> list[str]:
        """Return a summary for the user: the scores, and the least supported sentences."""
        count = plural(len(self.sentences), self.unit)
        doubtful = sum(sentence.doubtful for sentence in self.sentences)
        of = "the answer" if self.doubted is None else f"response {self.doubted}"
        score = "unknown" if math.isnan(self.uncertainty) else f"{self.uncertainty:.3f}"
        by = f"; claims by {self.claims_by}" if self.claims_by else ""
        how = f"(support: {self.support}{by}; {self.reason})"
        lines = [f"{count} of {of}: uncertainty {score}, {doubtful} doubtful {how}"]
        for sentence in self.least_supported[:_SHOWN]:
            known = "unknown" if sentence.unknown else f"{sentence.uncertainty:7.3f}"
            lines.append(f"  {known}  {sentence.supported_by} of {self.samples}  {shorten(sentence.text, _WIDEST)}")
        return lines

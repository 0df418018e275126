"""Which questions are the same as, or nearly the same as, another in the set or one of an evaluation set.

Same: equal normal forms. Near: of the sets A and B of their runs of three tokens, the Jaccard similarity
|A and B| / |A or B| is at least a threshold, and (unless asked otherwise) they hold the same numbers in the same order:
"the area of a circle of radius 3" and "... of radius 5" are two questions. MinHash (datasketch) proposes pairs; the
similarity itself decides, so that no pair is near by an error of the estimate. A pair at the threshold is proposed with
a probability of at least 0.99, and closer ones are with more.

Every row is compared with the rows kept before it, so that of several equal ones the first stays.
Leaves out paraphrases with few words in common, translations, and a question that stands inside a longer text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal

from empo_rl.data.normal_form import jaccard, numbers, shingles, tokens

if TYPE_CHECKING:
    from empo_rl.data.against import EvaluationSet

Kind = Literal["duplicates", "near-duplicates", "overlap", "near-overlap"]
KINDS: tuple[Kind, ...] = ("duplicates", "near-duplicates", "overlap", "near-overlap")

_HASHES = 128  # permutations of a MinHash
_RECALL = 0.99  # of pairs just at the threshold


@dataclass(frozen=True, slots=True)
class Near:
    """What near means. `numbers`: "same" as the module says, "any" looks at the similarity alone."""

    threshold: float = 0.5
    words: int = 3
    numbers: Literal["same", "any"] = "same"

    @property
    def bands(self) -> tuple[int, int]:
        """(bands, rows in each) of the index: the most rows, thus the fewest wrong proposals, that reach the recall."""
        rows = next((rows for rows in range(_HASHES, 1, -1) if self.recall(rows) >= _RECALL), 1)
        return _HASHES // rows, rows

    def recall(self, rows: int) -> float:
        """The chance that a pair at the threshold meets in one of the bands."""
        return 1.0 - (1.0 - float(self.threshold**rows)) ** (_HASHES // rows)


@dataclass(frozen=True)
class Question:
    """A question, where it stands, and what is compared of it, computed when asked for."""

    place: str
    text: str

    @cached_property
    def tokens(self) -> list[str]:
        return tokens(self.text)

    @cached_property
    def form(self) -> str:
        return " ".join(self.tokens)


@dataclass(frozen=True, slots=True)
class Finding:
    """`question` is the same as `other`, or near it (`similarity` at most 1). `suite`: the set that `other` is of."""

    kind: Kind
    question: Question
    other: Question
    similarity: float
    suite: str | None = None


class Finder:
    """Look each question up, then keep it or not; what is kept is compared with those that follow.

    One index holds the questions of all evaluation sets and those kept: a question costs one look into it, however many
    sets there are.
    """

    def __init__(self, sets: Sequence[EvaluationSet], near: Near) -> None:
        from datasketch import MinHashLSH

        self.near = near
        self._all: list[tuple[str | None, Question]] = []  # with the set that it is of; None: kept
        self._same: dict[str, dict[str | None, Question]] = {}  # by normal form
        self._lsh: Any = MinHashLSH(num_perm=_HASHES, params=near.bands)
        for each in sets:
            for question in each.questions:
                self._add(question, each.name)

    def look(self, question: Question) -> list[Finding]:
        """At most one finding for the set itself and one for each evaluation set: the same if there is one, else the
        nearest.
        """
        found: dict[str | None, tuple[float, Question]] = {}
        for suite, other, similarity in self._near(question):
            if similarity > found.get(suite, (0.0,))[0]:
                found[suite] = (similarity, other)
        same = self._same.get(question.form, {})
        findings = [Finding(_kind(suite, same=True), question, other, 1.0, suite) for suite, other in same.items()]
        return findings + [
            Finding(_kind(suite, same=False), question, other, similarity, suite)
            for suite, (similarity, other) in found.items()
            if suite not in same
        ]

    def keep(self, question: Question) -> None:
        """Compare what follows with this one too."""
        self._add(question, None)

    def _add(self, question: Question, suite: str | None) -> None:
        there = self._same.setdefault(question.form, {})
        if suite in there:
            return  # the first stands for all
        there[suite] = question
        self._lsh.insert(len(self._all), self._sketch(question))
        self._all.append((suite, question))

    def _near(self, question: Question) -> Iterator[tuple[str | None, Question, float]]:
        mine = numbers(question.tokens)
        runs = shingles(question.tokens, self.near.words)
        for index in sorted(self._lsh.query(self._sketch(question))):
            suite, other = self._all[index]
            if self.near.numbers == "same" and numbers(other.tokens) != mine:
                continue
            similarity = jaccard(runs, shingles(other.tokens, self.near.words))
            if similarity >= self.near.threshold:
                yield suite, other, similarity

    def _sketch(self, question: Question) -> Any:
        """Its MinHash; a copy of an empty one, since drawing 128 permutations anew costs more than using them."""
        sketch = _empty_sketch().copy()
        runs = shingles(question.tokens, self.near.words)
        sketch.update_batch([run.encode("utf-8", "surrogatepass") for run in runs])
        return sketch


def _kind(suite: str | None, *, same: bool) -> Kind:
    if suite is None:
        return "duplicates" if same else "near-duplicates"
    return "overlap" if same else "near-overlap"


@cache
def _empty_sketch() -> Any:
    from datasketch import MinHash

    return MinHash(num_perm=_HASHES, seed=1)

"""Find questions that are equal, or nearly equal, to another training question or to a question of an evaluation set.

Equal: the normal forms are equal. Near: let A and B be the sets of runs of three tokens; the Jaccard similarity
|A and B| / |A or B| reaches a threshold, and (by default) both questions contain the same numbers in the same order.
"The area of a circle of radius 3" and "... of radius 5" are two different questions. MinHash (datasketch) proposes
pairs. The similarity, computed from the texts, decides, so an estimation error never makes a pair near. A pair at the
threshold is proposed with probability 0.99 or more; pairs above the threshold with a higher probability.

Each row is compared with the rows that were kept before it, so the first of several equal rows stays.
Not found: paraphrases with few words in common, translations, and a question inside a longer text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal

from empo_rl.data.normal_form import jaccard, numbers, shingles, tokens

if TYPE_CHECKING:
    from empo_rl.data.comparison_sets import EvaluationSet

OverlapKind = Literal["duplicates", "near-duplicates", "overlap", "near-overlap"]
OVERLAP_KINDS: tuple[OverlapKind, ...] = ("duplicates", "near-duplicates", "overlap", "near-overlap")

_PERMUTATIONS = 128  # of a MinHash
_RECALL = 0.99  # for pairs exactly at the threshold


@dataclass(frozen=True, slots=True)
class NearCriterion:
    """When two questions are near.

    Attributes:
        threshold: least Jaccard similarity.
        words: tokens in a run.
        numbers: "same": both questions must contain the same numbers in the same order; "any": no such condition.
    """

    threshold: float = 0.5
    words: int = 3
    numbers: Literal["same", "any"] = "same"

    @property
    def bands(self) -> tuple[int, int]:
        """(bands, rows in each band) of the index.

        The number of rows is the largest that reaches the recall, which gives the fewest wrong proposals.
        """
        rows = next((rows for rows in range(_PERMUTATIONS, 1, -1) if self.recall(rows) >= _RECALL), 1)
        return _PERMUTATIONS // rows, rows

    def recall(self, rows: int) -> float:
        """The probability that a pair exactly at the threshold agrees in at least one band."""
        return 1.0 - (1.0 - float(self.threshold**rows)) ** (_PERMUTATIONS // rows)


@dataclass(frozen=True)
class ComparedQuestion:
    """The text of a question, its place (such as `data.jsonl:7`), and its tokens, computed on first use."""

    place: str
    text: str

    @cached_property
    def tokens(self) -> list[str]:
        return tokens(self.text)

    @cached_property
    def form(self) -> str:
        return " ".join(self.tokens)


@dataclass(frozen=True, slots=True)
class OverlapPair:
    """`question` is equal to `other` (similarity 1), or near it. suite: the evaluation set of `other`, if any."""

    kind: OverlapKind
    question: ComparedQuestion
    other: ComparedQuestion
    similarity: float
    suite: str | None = None


class OverlapIndex:
    """An index of the questions of all evaluation sets, and of the training questions that are kept.

    One lookup compares a question with all of them, so the cost does not depend on the number of sets.
    """

    def __init__(self, sets: Sequence[EvaluationSet], near: NearCriterion) -> None:
        from datasketch import MinHashLSH

        self.near = near
        self._indexed: list[tuple[str | None, ComparedQuestion]] = []  # with the set's name; None: a kept question
        self._by_form: dict[str, dict[str | None, ComparedQuestion]] = {}  # normal form -> set -> first question
        self._lsh: Any = MinHashLSH(num_perm=_PERMUTATIONS, params=near.bands)
        for evaluation_set in sets:
            for question in evaluation_set.questions:
                self._add(question, evaluation_set.name)

    def find(self, question: ComparedQuestion) -> list[OverlapPair]:
        """At most one pair with a kept question, and one with each evaluation set: the equal question, else the
        nearest.
        """
        nearest: dict[str | None, tuple[float, ComparedQuestion]] = {}
        for suite, other, similarity in self._near(question):
            if similarity > nearest.get(suite, (0.0,))[0]:
                nearest[suite] = (similarity, other)
        equal = self._by_form.get(question.form, {})
        pairs = [OverlapPair(_kind(suite, equal=True), question, other, 1.0, suite) for suite, other in equal.items()]
        return pairs + [
            OverlapPair(_kind(suite, equal=False), question, other, similarity, suite)
            for suite, (similarity, other) in nearest.items()
            if suite not in equal
        ]

    def add(self, question: ComparedQuestion) -> None:
        """Add a training question that is kept: the next questions are compared with it."""
        self._add(question, None)

    def _add(self, question: ComparedQuestion, suite: str | None) -> None:
        same_form = self._by_form.setdefault(question.form, {})
        if suite in same_form:
            return  # the first question represents all equal ones
        same_form[suite] = question
        self._lsh.insert(len(self._indexed), self._sketch(question))
        self._indexed.append((suite, question))

    def _near(self, question: ComparedQuestion) -> Iterator[tuple[str | None, ComparedQuestion, float]]:
        own_numbers = numbers(question.tokens)
        runs = shingles(question.tokens, self.near.words)
        for index in sorted(self._lsh.query(self._sketch(question))):
            suite, other = self._indexed[index]
            if self.near.numbers == "same" and numbers(other.tokens) != own_numbers:
                continue
            similarity = jaccard(runs, shingles(other.tokens, self.near.words))
            if similarity >= self.near.threshold:
                yield suite, other, similarity

    def _sketch(self, question: ComparedQuestion) -> Any:
        """The MinHash of a question. It starts as a copy, because new permutations cost more than their use."""
        sketch = _empty_sketch().copy()
        runs = shingles(question.tokens, self.near.words)
        sketch.update_batch([run.encode("utf-8", "surrogatepass") for run in runs])
        return sketch


def _kind(suite: str | None, *, equal: bool) -> OverlapKind:
    if suite is None:
        return "duplicates" if equal else "near-duplicates"
    return "overlap" if equal else "near-overlap"


@cache
def _empty_sketch() -> Any:
    from datasketch import MinHash

    return MinHash(num_perm=_PERMUTATIONS, seed=1)

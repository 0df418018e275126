"""Find questions that are equal, or nearly equal, to another training question or to a question of an evaluation set.

Two questions are equal if their normal forms are equal. Two questions are near if the Jaccard similarity
|A and B| / |A or B| reaches a threshold, and (by default) both questions contain the same numbers in the same order.
A and B are the sets of runs of three tokens in the two questions. The numbers must be the same because "The area of a
circle of radius 3" and "... of radius 5" are different questions. MinHash (datasketch) proposes pairs of questions; the
similarity is then computed from the texts, so an estimation error of MinHash never makes a pair near. MinHash proposes
a pair exactly at the threshold with a probability of at least 0.99, and a more similar pair with a higher probability.

Each row is compared with the rows that were kept before it, so the first of several equal rows is kept.
The search does not find paraphrases with few words in common, translations, or a question inside a longer text.
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

_PERMUTATIONS = 128  # number of hash functions of a MinHash
_RECALL = 0.99  # least probability that MinHash proposes a pair exactly at the threshold


@dataclass(frozen=True, slots=True)
class NearCriterion:
    """The criterion that decides whether two questions are near.

    Attributes:
        threshold: least Jaccard similarity, in [0, 1].
        words: number of tokens in a run.
        numbers: "same": both questions must contain the same numbers in the same order; "any": no such condition.
    """

    threshold: float = 0.5
    words: int = 3
    numbers: Literal["same", "any"] = "same"

    @property
    def bands(self) -> tuple[int, int]:
        """The number of bands of the MinHash index, and the number of rows in each band.

        More rows in each band give fewer wrong proposals, so the number of rows is the largest that reaches `_RECALL`.
        """
        rows = next((rows for rows in range(_PERMUTATIONS, 1, -1) if self.recall(rows) >= _RECALL), 1)
        return _PERMUTATIONS // rows, rows

    def recall(self, rows: int) -> float:
        """The probability that two questions exactly at the threshold agree in at least one band of `rows` rows."""
        return 1.0 - (1.0 - float(self.threshold**rows)) ** (_PERMUTATIONS // rows)


@dataclass(frozen=True)
class ComparedQuestion:
    """A question with its text and its place (such as `data.jsonl:7`). Its tokens are computed on first use."""

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
    """A pair of questions that are equal (similarity 1) or near.

    Attributes:
        suite: the evaluation set that contains `other`; None: `other` is a training question.
    """

    kind: OverlapKind
    question: ComparedQuestion
    other: ComparedQuestion
    similarity: float
    suite: str | None = None


class OverlapIndex:
    """An index of the questions of all evaluation sets, and of the training questions that are kept.

    One lookup searches all indexed questions, so its cost does not depend on the number of sets.
    """

    def __init__(self, sets: Sequence[EvaluationSet], near: NearCriterion) -> None:
        from datasketch import MinHashLSH

        self.near = near
        # (name of the evaluation set, question); None: a kept training question
        self._indexed: list[tuple[str | None, ComparedQuestion]] = []
        self._by_form: dict[str, dict[str | None, ComparedQuestion]] = {}  # normal form -> set -> first question
        self._lsh: Any = MinHashLSH(num_perm=_PERMUTATIONS, params=near.bands)
        for evaluation_set in sets:
            for question in evaluation_set.questions:
                self._add(question, evaluation_set.name)

    def find(self, question: ComparedQuestion) -> list[OverlapPair]:
        """The pairs of `question`: at most one with the kept training questions, and one with each evaluation set.

        Each pair contains the equal question if there is one, else the most similar near question.
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
        """Add a kept training question. Later calls of `find` compare with this question, too."""
        self._add(question, None)

    def _add(self, question: ComparedQuestion, suite: str | None) -> None:
        same_form = self._by_form.setdefault(question.form, {})
        if suite in same_form:
            return  # the first question represents all equal questions
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
        """The MinHash of a question. It starts as a copy of an empty MinHash, since new permutations are slow."""
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

"""Similarities of two texts, for the estimators that read a similarity matrix.

`similarity=` is "jaccard", the name of a judge with scores ("nli", "embedding"), or a function of two texts.

    jaccard(a, b) = |A n B| / |A u B|      A, B: the sets of words, in lower case, between white space

Equal texts have the similarity 1, and are not compared. Texts without a word are similar to no other text, also not to
each other: two empty responses do not agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, TypeAlias

from semantic_entropy.clusters import Equivalence
from semantic_entropy.contracts import call_component, similarity_values
from semantic_entropy.errors import InputError
from semantic_entropy.types import GivenEvidence, Group, Pair

AnySimilarity: TypeAlias = str | Callable[[str, str], float]
Matrix: TypeAlias = tuple[tuple[float, ...], ...]
JACCARD = "jaccard"


@dataclass(frozen=True, slots=True)
class Similarity:
    """A similarity of two texts. `compare` returns a number in [0, 1] for each directed pair, in order."""

    name: str
    compare: Callable[[Sequence[Pair]], Sequence[float]]
    judge: Equivalence | None = None


def load_similarity(given: AnySimilarity, load_judge: Callable[[str], Equivalence]) -> Similarity:
    """Return the similarity of a name or a function. `load_judge` returns the judge of a name."""
    if given == JACCARD:
        return Similarity(JACCARD, lambda pairs: [jaccard(pair.left, pair.right) for pair in pairs])
    if isinstance(given, str):
        judge = load_judge(given)
        return Similarity(judge.describe(), lambda pairs: similarity_values(judge, pairs), judge)
    if not callable(given):
        raise InputError(
            f"similarity={given!r:.80} is unusable: pass {JACCARD!r}, the name of a judge with scores (nli, "
            "embedding), a function of two texts, or a matrix of numbers in [0, 1], one row for each response"
        )
    name = getattr(given, "__name__", type(given).__name__)
    return Similarity(name, lambda pairs: [_call(name, given, pair) for pair in pairs])


def jaccard(left: str, right: str) -> float:
    """The share of common words in all words of both texts."""
    a, b = set(left.lower().split()), set(right.lower().split())
    return len(a & b) / len(a | b) if a | b else 0.0


def _call(name: str, function: Callable[[str, str], float], pair: Pair) -> float:
    value = call_component(f"similarity {name!r}", function, pair.left, pair.right, error=InputError)
    if isinstance(value, Real) and -1e-6 <= float(value) <= 1 + 1e-6:
        return min(1.0, max(0.0, float(value)))
    raise InputError(
        f"similarity {name!r} returned {value!r:.80} for {pair.left[:60]!r} and {pair.right[:60]!r}; "
        "return a number in [0, 1]"
    )


def with_similarities(
    groups: Sequence[Group], texts: Sequence[Sequence[str]], greedy: Sequence[str | None], similarity: Similarity
) -> list[Group]:
    """Return the groups with `similarity`, and `greedy_similarity` where there is a greedy answer.

    A matrix that the caller gave stays. All pairs of all groups are compared in one call.

    Args:
        groups: B groups.
        texts: for each group, (G,) the text of each response to compare.
        greedy: for each group, the text of the greedy answer; None: there is none.
        similarity: how two texts are compared.
    """
    wanted: dict[Pair, float] = {}
    for group, own, answer in zip(groups, texts, greedy, strict=True):
        if group.evidence is None or group.evidence.similarity is None:
            distinct = dict.fromkeys(own)
            wanted |= {Pair(group.question, a, b): 0.0 for a in distinct for b in distinct if a != b}
            if answer is not None:
                wanted |= {Pair(group.question, answer, text): 0.0 for text in distinct if text != answer}
    found = dict(zip(wanted, similarity.compare(list(wanted)), strict=True)) if wanted else {}
    return [_completed(group, own, answer, found) for group, own, answer in zip(groups, texts, greedy, strict=True)]


def _completed(group: Group, texts: Sequence[str], answer: str | None, found: dict[Pair, float]) -> Group:
    given = group.evidence or GivenEvidence()
    row: tuple[float, ...] | None = given.greedy_similarity
    if given.similarity is None:
        matrix: Any = tuple(
            tuple(1.0 if i == j else _of(group, a, b, found) for j, b in enumerate(texts)) for i, a in enumerate(texts)
        )
        if answer is not None:
            row = tuple(_of(group, answer, text, found) for text in texts)
    else:
        matrix = given.similarity
        if row is None and answer in texts:
            row = matrix[texts.index(answer)]
    return replace(group, evidence=replace(given, similarity=matrix, greedy_similarity=row))


def _of(group: Group, left: str, right: str, found: dict[Pair, float]) -> float:
    if left == right:
        return float(bool(left.strip()))
    return found[Pair(group.question, left, right)]

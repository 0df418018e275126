"""Similarities of two texts, for the estimators that read a similarity matrix.

`similarity=` is "jaccard", the name of a judge with scores ("nli", "embedding"), or a function of two texts.

    jaccard(a, b) = |A n B| / |A u B|      A, B: the sets of words, in lower case, between white space

Equal texts have the similarity 1, and are not compared. Texts without a word are similar to no other text, also not to
each other: two empty responses do not agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from semantic_entropy.clusters import Equivalence
from semantic_entropy.contracts import call_component, share, shown, similarity_values
from semantic_entropy.errors import InputError
from semantic_entropy.types import GivenEvidence, Group, Pair

AnySimilarity: TypeAlias = str | Callable[[str, str], float]
Matrix: TypeAlias = tuple[tuple[float, ...], ...]
JACCARD = "jaccard"
_MOST_PAIRS = 50_000  # pairs in one call, unless one group has more: enough for a model's batches
_Texts: TypeAlias = tuple[Group, Sequence[str], str | None]
"""A group, the text of each response, and that of the greedy answer."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """A similarity of two texts. `compare` returns a number in [0, 1] for each directed pair, in order."""

    name: str
    compare: Callable[[Sequence[Pair]], Sequence[float]]
    judge: Equivalence | None = None


def load_similarity(given: AnySimilarity, load_judge: Callable[[str], Equivalence]) -> Similarity:
    """Return the similarity of a name or a function. `load_judge` returns the judge of a name."""
    if given == JACCARD:
        return Similarity(JACCARD, _jaccards)
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
    return _overlap(set(left.lower().split()), set(right.lower().split()))


def _jaccards(pairs: Sequence[Pair]) -> list[float]:
    """The similarity of each pair. Each text is split once, because a group of a thousand has a million pairs."""
    words: dict[str, set[str]] = {}
    found = []
    for pair in pairs:
        for text in (pair.left, pair.right):
            if text not in words:
                words[text] = set(text.lower().split())
        found.append(_overlap(words[pair.left], words[pair.right]))
    return found


def _overlap(a: set[str], b: set[str]) -> float:
    common = len(a & b)
    return common / (len(a) + len(b) - common) if a or b else 0.0


def _call(name: str, function: Callable[[str, str], float], pair: Pair) -> float:
    value = call_component(f"similarity {name!r}", function, pair.left, pair.right, error=InputError)
    found = share(value)
    if type(found) is float and 0.0 <= found <= 1.0:
        return found
    raise InputError(
        f"similarity {name!r} returned {shown(value)} for {pair.left[:60]!r} and {pair.right[:60]!r}; "
        "return a number in [0, 1]"
    )


def with_similarities(
    groups: Sequence[Group], texts: Sequence[Sequence[str]], greedy: Sequence[str | None], similarity: Similarity
) -> list[Group]:
    """Return the groups with `similarity`, and `greedy_similarity` where there is a greedy answer.

    A matrix that the caller gave stays. The pairs of many groups are compared in one call.

    Args:
        groups: B groups.
        texts: for each group, (G,) the text of each response to compare.
        greedy: for each group, the text of the greedy answer; None: there is none.
        similarity: how two texts are compared.
    """
    done: list[Group] = []
    waiting: list[_Texts] = []
    wanted: dict[Pair, float] = {}
    for group, own, answer in zip(groups, texts, greedy, strict=True):
        waiting.append((group, own, answer))
        if group.evidence is None or group.evidence.similarity is None:
            distinct = dict.fromkeys(own)
            wanted |= {Pair(group.question, a, b): 0.0 for a in distinct for b in distinct if a != b}
            if answer is not None:
                wanted |= {Pair(group.question, answer, text): 0.0 for text in distinct if text != answer}
        if len(wanted) >= _MOST_PAIRS:
            done += _compared(waiting, wanted, similarity)
            waiting, wanted = [], {}
    return done + _compared(waiting, wanted, similarity)


def _compared(waiting: Sequence[_Texts], wanted: dict[Pair, float], similarity: Similarity) -> list[Group]:
    pairs = list(wanted)
    wanted |= zip(pairs, similarity.compare(pairs), strict=True) if pairs else ()
    return [_completed(group, texts, answer, wanted) for group, texts, answer in waiting]


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

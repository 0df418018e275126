"""Similarities of two texts, for the estimators that read similarities of responses, of tokens, or of sentences.

`similarity=` is "jaccard", the name of a judge ("nli", "embedding": its scores; "math", "exact": 1 or 0), or a function
of two texts.

    jaccard(a, b) = |A n B| / |A u B|      A, B: the sets of words, in lower case, between white space

Equal texts have the similarity 1, and are not compared. An invalid answer (empty, a refusal, nothing to extract) is
similar to no answer: two refusals do not agree. With the policy `together`, it is similar to the other invalid answers.

    similarity        (G, G)        s_ij = similarity(i, j)
    token_similarity  ragged (G, T) similarity(i, i without token t)                       Duan et al. 2024 (SAR)
    sentence_support  (G, G)        mean over the sentences of i of similarity(j, sentence) Zhang et al. 2024 (LUQ)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from semantic_entropy.clusters import Equivalence
from semantic_entropy.contracts import call_component, share, shown, similarity_values
from semantic_entropy.errors import InputError
from semantic_entropy.measuring.sentences import split_sentences
from semantic_entropy.types import Evidence, GivenEvidence, Group, Pair

AnySimilarity: TypeAlias = str | Callable[[str, str], float]
Matrix: TypeAlias = tuple[tuple[float, ...], ...]
JACCARD = "jaccard"
_MOST_PAIRS = 50_000  # pairs in one call, unless one group has more: enough for a model's batches
_MATRIX = frozenset({"similarity", "greedy_similarity"})
COMPARED = _MATRIX | {"token_similarity", "sentence_support"}
"""The fields of evidence that are computed by comparing texts, if the caller does not give them."""


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
            f"similarity={given!r:.80} is unusable: pass {JACCARD!r}, the name of a judge (nli, "
            "embedding, math), a function of two texts, or a matrix of numbers in [0, 1], one row for each response"
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
    groups: Sequence[Group],
    texts: Sequence[Sequence[str]],
    greedy: Sequence[str | None],
    similarity: Similarity,
    reads: AbstractSet[str] = _MATRIX,
    of_invalid: float = 0.0,
) -> list[Group]:
    """Return the groups with the fields of `reads` that can be computed. Many groups are compared in one call.

    `greedy_similarity` belongs to `similarity`, and is computed where there is a greedy answer. Evidence that the
    caller gave stays.

    Args:
        groups: B groups.
        texts: for each group, (G,) the text of each response to compare; empty: the answer is invalid.
        greedy: for each group, the text of the greedy answer; empty: it is invalid; None: there is none.
        similarity: how two texts are compared.
        reads: fields of `COMPARED`.
        of_invalid: the similarity of two invalid answers.
    """
    done: list[Group] = []
    waiting: list[_Texts] = []
    wanted: dict[Pair, float] = {}
    for group, own, answer in zip(groups, texts, greedy, strict=True):
        waiting.append(_Texts(group, own, answer, computed_fields(group.evidence) & reads, of_invalid))
        wanted |= dict.fromkeys(waiting[-1].pairs(), 0.0)
        if len(wanted) >= _MOST_PAIRS:
            done += _compared(waiting, wanted, similarity)
            waiting, wanted = [], {}
    return done + _compared(waiting, wanted, similarity)


def computed_fields(evidence: GivenEvidence | Evidence | None) -> frozenset[str]:
    """Return the fields of `COMPARED` that are computed for a group with this evidence.

    A matrix that the caller gave compares whole responses: it says nothing about their tokens and sentences.
    """
    if evidence is None:
        return _MATRIX | {"sentence_support"}
    fields = {"greedy_similarity"}
    if evidence.similarity is None:
        fields |= {"similarity", "sentence_support"} | ({"token_similarity"} if evidence.tokens else set())
    return frozenset({name for name in fields if name == "greedy_similarity" or getattr(evidence, name) is None})


class _Texts(NamedTuple):
    """A group, the text of each response, the greedy answer, the fields to compute, and what two empty texts have."""

    group: Group
    own: Sequence[str]
    answer: str | None
    fields: AbstractSet[str]
    of_invalid: float

    def pairs(self) -> Iterator[Pair]:
        """Yield the pairs to compare. Equal texts, and texts without a word, are not compared."""
        for left, right in self._pairs():
            if left != right and left.strip() and right.strip():
                yield Pair(self.group.question, left, right)

    def _pairs(self) -> Iterator[tuple[str, str]]:
        distinct = dict.fromkeys(self.own)
        if "similarity" in self.fields:
            yield from itertools.product(distinct, distinct)
            if self.answer is not None:
                yield from ((self.answer, text) for text in distinct)
        if "token_similarity" in self.fields:
            for tokens in dict.fromkeys(self._tokens()):
                yield from ((whole, rest) for whole, rest in _without_each(tokens))
        if "sentence_support" in self.fields:
            for text in distinct:
                yield from itertools.product(distinct, split_sentences(text))

    def completed(self, found: Mapping[Pair, float]) -> Group:
        """Return the group with the computed fields."""
        given, own = self.group.evidence or GivenEvidence(), self.own

        def of(left: str, right: str) -> float:
            if left == right:
                return 1.0 if left.strip() else self.of_invalid
            return found.get(Pair(self.group.question, left, right), 0.0)

        changed: dict[str, Any] = {}
        if "similarity" in self.fields:
            changed["similarity"] = _square(own, of)
            if self.answer is not None:
                changed["greedy_similarity"] = tuple([of(self.answer, text) for text in own])
        elif given.similarity is not None and given.greedy_similarity is None and self.answer and self.answer in own:
            changed["greedy_similarity"] = given.similarity[own.index(self.answer)]
        if "token_similarity" in self.fields:
            changed["token_similarity"] = tuple(
                [tuple([of(whole, rest) for whole, rest in _without_each(tokens)]) for tokens in self._tokens()]
            )
        if "sentence_support" in self.fields:
            sentences = {text: split_sentences(text) or [text] for text in own}
            changed["sentence_support"] = _square(own, lambda one, other: _mean([of(other, s) for s in sentences[one]]))
        return replace(self.group, evidence=replace(given, **changed))

    def _tokens(self) -> Sequence[tuple[str, ...]]:
        return (self.group.evidence and self.group.evidence.tokens) or ()


def _square(texts: Sequence[str], of: Callable[[str, str], float]) -> Matrix:
    """(G, G), with 1 on the diagonal. Each pair of distinct texts is computed once."""
    return tuple([tuple([1.0 if i == j else of(a, b) for j, b in enumerate(texts)]) for i, a in enumerate(texts)])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _without_each(tokens: Sequence[str]) -> list[tuple[str, str]]:
    """The text, and the text without each token."""
    whole = "".join(tokens)
    ends = list(itertools.accumulate(map(len, tokens)))
    return [(whole, whole[: end - len(token)] + whole[end:]) for token, end in zip(tokens, ends, strict=True)]


def _compared(waiting: Sequence[_Texts], wanted: dict[Pair, float], similarity: Similarity) -> list[Group]:
    pairs = list(wanted)
    found = dict(zip(pairs, similarity.compare(pairs), strict=True)) if pairs else {}
    return [texts.completed(found) for texts in waiting]

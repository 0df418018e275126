"""The embedding judge: two answers mean the same where the cosine of their sentence embeddings reaches a threshold.

    score = max(0, e_left . e_right / (|e_left| |e_right|)),   same = score >= threshold

A cosine says what two texts are about, not what they say of it: two dates, two names of one kind lie close together
whichever is right. That makes it a weak judge of short answers, alone and after `text` (`benchmarks/judges.py`). Each
distinct text goes through the model once, sorted by length and packed by a token budget, and is remembered, since a
clusterer comes back with the same answers round after round.

Source: Reimers and Gurevych 2019, Sentence-BERT. Left out: approximate search; a group has few answers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from semantic_entropy.plugin import Equivalence, Pair, Verdict, errors
from semantic_entropy_plugins.embedding.sentence_model import SentenceModel, load_sentence_model
from semantic_entropy_plugins.models.batches import TokenBudget
from semantic_entropy_plugins.models.checkpoints import known

MODEL, THRESHOLD = "sentence-transformers/all-MiniLM-L6-v2", 0.88
# Tokens in one forward pass. A GPU needs many to be busy; on a CPU few stay in its caches, with little padding.
BATCH_TOKENS, BATCH_TOKENS_GPU = {"cpu": 2048}, 32768
_LIBRARIES = ("sentence-transformers", "transformers", "torch")
_REMEMBERED = 20_000  # embeddings: 30 MB where they have 384 numbers each, as the default model's

Embedded: TypeAlias = "NDArray[np.float32] | str"
"""A text's unit vector (d,), or why it has none."""


class Embedding(Equivalence):
    """The same where the cosine of their sentence embeddings reaches `threshold`; the score is the cosine.

    The default threshold is where 94% of what the default model calls the same are, of 8,288 labelled pairs of short
    answers (docs/explanation/data.md, mathematics aside); it finds 28% of those that are. The most accurate threshold
    there is 0.34: right in 77% (`text`: 87%), but it merges different answers of one model, and its entropy then tells
    wrong answers worse (mean AUROC of five sources .71, at 0.88 .75, `text` .86). Other models put their cosines
    elsewhere: `semantic-entropy threshold` picks a threshold from your own pairs.

    An answer longer than the model's window is undecided, never cut.

    Args:
        model: a sentence-transformers model on the Hugging Face hub, or a folder.
        threshold: the least cosine of two answers that mean the same, in [0, 1].
        question: embed each answer after its question; this takes another threshold.
        prompt: what stands before every text, for models that were trained so; None: the model's own default.
        revision: a branch, tag or commit on the hub; None: its main branch.
        device: "cpu", "cuda", "cuda:1", ...; None: "cuda" where there is one, else "cpu".
        dtype: "float32", "bfloat16" or "float16"; None: the device's, as `models` has it.
        batch_tokens: texts in one forward pass times the tokens of the longest; halved where memory runs out. None: a
            default for the device.
        allow_pickle: read pickled weights where there are no others.

    Raises:
        OptionError: no such model, or a value that cannot be used.
        EquivalenceError: the model cannot be had now: no network, no space on the disk, no memory.
    """

    name = "embedding"
    cache_identity = "semantic_entropy_plugins.embedding:Embedding"

    def __init__(
        self,
        model: str = MODEL,
        threshold: float = THRESHOLD,
        *,
        question: bool = False,
        prompt: str | None = None,
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int | None = None,
        allow_pickle: bool = False,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise errors.OptionError(f"embedding: threshold={threshold} must be in [0, 1]")
        if batch_tokens is not None and batch_tokens < 1:
            raise errors.OptionError(f"embedding: batch_tokens={batch_tokens} must be at least 1")
        self.threshold = float(threshold)
        self.uses_question = question
        self._model: SentenceModel | None = load_sentence_model(
            model, prompt=prompt, revision=revision, device=device, dtype=dtype, allow_pickle=allow_pickle
        )
        loaded = self._model
        key, shown = known(model, loaded.commit)
        self._settings = (self.name, key, loaded.revision, loaded.dtype, self.threshold, question, prompt)
        self._versions = {library: version(library) for library in _LIBRARIES} | {shown: loaded.commit}
        given = {"model": (model, MODEL), "threshold": (self.threshold, THRESHOLD), "question": (question, False)}
        given |= {"prompt": (prompt, None), "revision": (loaded.revision, None)}
        self._options = [f"{option}={value!r}" for option, (value, usual) in given.items() if value != usual]
        self._budget = TokenBudget(batch_tokens or BATCH_TOKENS.get(loaded.device, BATCH_TOKENS_GPU))
        self._memory = _Recent(_REMEMBERED)

    @property
    def settings(self) -> Hashable:
        return self._settings

    @property
    def versions(self) -> Mapping[str, str]:
        return self._versions

    def describe(self) -> str:
        return f"{self.name}({', '.join(self._options)})" if self._options else self.name

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return self.collect(pairs)

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """A pair's verdict as soon as both of its texts are embedded."""
        texts = [self._texts(pair) for pair in pairs]
        known: dict[str, Embedded] = {}
        awaited: dict[str, list[int]] = {}  # by text: the pairs that hold it
        for index, both in enumerate(texts):
            for text in set(both):
                awaited.setdefault(text, []).append(index)
        for text, embedded in self._embed(list(awaited)):
            known[text] = embedded
            for index in awaited[text]:
                left, right = texts[index]
                if left in known and right in known:
                    yield index, self._verdict(known[left], known[right])

    def close(self) -> None:
        self._model = None
        self._memory = _Recent(_REMEMBERED)

    def _texts(self, pair: Pair) -> tuple[str, str]:
        if not self.uses_question or not pair.question:
            return pair.left, pair.right
        return f"{pair.question} {pair.left}", f"{pair.question} {pair.right}"

    def _embed(self, texts: Sequence[str]) -> Iterator[tuple[str, Embedded]]:
        """Every text with its embedding: what is remembered first, then batch by batch."""
        new = []
        for text in texts:
            remembered = self._memory.get(text)
            if remembered is None:
                new.append(text)
            else:
                yield text, remembered
        model = self._working
        fitting, lengths = [], []
        for text, length in zip(new, model.lengths(new), strict=True):
            if model.window is not None and length > model.window:
                yield text, f"too long: {length} tokens, and the model's window is {model.window}"
            else:
                fitting.append(text)
                lengths.append(length)
        for index, embedded in self._budget.run(fitting, lengths, model.encode, _too_large):
            if not isinstance(embedded, str):
                self._memory.put(fitting[index], embedded)
            yield fitting[index], embedded

    @property
    def _working(self) -> SentenceModel:
        if self._model is None:
            raise errors.EquivalenceError(f"{self.describe()} is closed: make a new one")
        return self._model

    def _verdict(self, left: Embedded, right: Embedded) -> Verdict:
        for embedded in (left, right):
            if isinstance(embedded, str):
                return Verdict(None, reason=embedded)
        score = min(1.0, max(0.0, float(np.dot(left, right))))
        return Verdict(score >= self.threshold, score)


def _too_large(_: str, tokens: int) -> Embedded:
    return f"out of memory at {tokens} tokens"


class _Recent:
    """The embeddings used last, up to a number of them. Any thread may use it: a step is one operation of the dict."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def get(self, text: str) -> NDArray[np.float32] | None:
        found = self._kept.pop(text, None)
        if found is not None:
            self._kept[text] = found
        return found

    def put(self, text: str, embedded: NDArray[np.float32]) -> None:
        self._kept[text] = embedded
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)

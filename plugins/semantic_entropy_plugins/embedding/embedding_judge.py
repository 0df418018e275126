"""The embedding judge: two answers mean the same if the cosine of their sentence embeddings reaches a threshold.

    score = max(0, e_left . e_right / (|e_left| |e_right|)),   same = score >= threshold

A cosine measures whether two texts have the same topic, not whether they make the same claim: two different dates have
a high cosine, and so have two names of one kind. Therefore the cosine is a weak judge of short answers, alone and after
the judge `text` (`benchmarks/judges.py`). Each distinct text runs through the model once, in batches sorted by length.
The embeddings are cached, because a clusterer compares the same answers many times.

Source: Reimers and Gurevych 2019, Sentence-BERT. Left out: approximate search, because a group has few answers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from semantic_entropy.plugin import Equivalence, LRUCache, Pair, Verdict, errors, split_sentences
from semantic_entropy_plugins.embedding.sentence_model import SentenceModel, load_sentence_model
from semantic_entropy_plugins.models.batches import TokenBudget
from semantic_entropy_plugins.models.checkpoints import model_identity
from semantic_entropy_plugins.options import checked_number, describe_component

MODEL, THRESHOLD = "sentence-transformers/all-MiniLM-L6-v2", 0.88
# Tokens in one forward pass. A GPU needs many; on a CPU a small batch stays in the caches and has little padding.
BATCH_TOKENS, BATCH_TOKENS_GPU = {"cpu": 2048}, 32768
_LIBRARIES = ("sentence-transformers", "transformers", "torch")
_CACHE_SIZE = 20_000  # embeddings: 30 MB for the default model, whose embeddings have 384 numbers

Embedded: TypeAlias = "NDArray[np.float32] | str"
"""The unit vector (d,) of a text, or the reason why the text has no embedding."""


class Embedding(Equivalence):
    """Two answers mean the same if the cosine of their sentence embeddings reaches `threshold`.

    The score is the cosine. On 8,288 labelled pairs of short answers (docs/explanation/data.md, without mathematics)
    the default model with the default threshold has a precision of 94% and a recall of 28%. The threshold 0.34 has the
    highest accuracy on these pairs, 77% (the judge `text`: 87%). But with 0.34 the judge merges different answers of
    one model, and then the entropy detects wrong answers less well: the mean AUROC of five sources is .71 with 0.34,
    .75 with 0.88, and .86 with `text`. Another model needs another threshold: `semantic-entropy tune-judge` picks a
    threshold from your own pairs.

    An answer that is longer than the model's window is undecided; no text is truncated.

    Args:
        model: a sentence-transformers model on the Hugging Face hub, or a folder.
        threshold: the smallest cosine, in [0, 1], with which two answers mean the same.
        question: put the question before each answer; this needs another threshold.
        prompt: the text before every answer, for models that were trained with a prompt; None: the model's default.
        revision: a branch, tag or commit on the hub; None: the main branch.
        device: "cpu", "cuda", "cuda:1", ...; None: "cuda" if available, else "cpu".
        dtype: "float32", "bfloat16" or "float16"; None: bfloat16 on a GPU that supports it, else float16; float32 on a
            CPU.
        batch_tokens: the largest size of a forward pass: (number of texts) x (tokens of the longest text). The size is
            halved after an out-of-memory error. None: a default for the device.
        allow_pickle: read pickled weights if there are no safetensors.

    Raises:
        OptionError: the model does not exist, or an option is invalid.
        EquivalenceError: the model is unavailable: no network, no permission, no disk space, no memory.
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
        self.threshold = float(checked_number(self.name, "threshold", threshold, 0, most=1))
        checked_number(self.name, "batch_tokens", batch_tokens, 1, whole=True, optional=True)
        self.uses_question = question
        self._model: SentenceModel | None = load_sentence_model(
            model, prompt=prompt, revision=revision, device=device, dtype=dtype, allow_pickle=allow_pickle
        )
        loaded = self._model
        key, shown = model_identity(model, loaded.commit)
        self._settings = (self.name, key, loaded.revision, loaded.dtype, self.threshold, question, prompt)
        self._versions = {library: version(library) for library in _LIBRARIES} | {shown: loaded.commit}
        self._options = {
            "model": model,
            "threshold": self.threshold,
            "question": question,
            "prompt": prompt,
            "revision": loaded.revision,
        }
        self._budget = TokenBudget(batch_tokens or BATCH_TOKENS.get(loaded.device, BATCH_TOKENS_GPU))
        self._embeddings: LRUCache[str, NDArray[np.float32]] = LRUCache(_CACHE_SIZE)

    @property
    def settings(self) -> Hashable:
        return self._settings

    @property
    def versions(self) -> Mapping[str, str]:
        return self._versions

    def describe(self) -> str:
        return describe_component(Embedding, self.name, self._options)

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return self.collect(pairs)

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """Yields the verdict on a pair as soon as both of its texts are embedded."""
        texts = [self._texts(pair) for pair in pairs]
        done: dict[str, Embedded] = {}
        pairs_with: dict[str, list[int]] = {}
        for index, both in enumerate(texts):
            for text in set(both):
                pairs_with.setdefault(text, []).append(index)
        for text, embedded in self._embed(list(pairs_with)):
            done[text] = embedded
            for index in pairs_with[text]:
                left, right = texts[index]
                if left in done and right in done:
                    yield index, self._verdict(done[left], done[right])

    def support(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """Yield the highest cosine of the sentence with a sentence of the sample; a negative cosine counts as 0.

        As in SelfCheck-BERTScore (Manakul et al. 2023, Section 5.1), which takes the F1 of BERTScore in place of the
        cosine. The sample supports the sentence (`Verdict.same`) if it reaches `threshold`. A sentence that is longer
        than the model's window is undecided, and a sentence of a sample is left out.
        """
        parts = {sample: split_sentences(sample) or [sample] for sample in dict.fromkeys(p.left for p in pairs)}
        texts = dict.fromkeys([pair.right for pair in pairs])
        texts |= dict.fromkeys(part for own in parts.values() for part in own)
        found = dict(self._embed(list(texts)))
        by_sample: dict[str, list[int]] = {}
        for index, pair in enumerate(pairs):
            by_sample.setdefault(pair.left, []).append(index)
        for sample, indices in by_sample.items():
            vectors = [vector for part in parts[sample] if not isinstance(vector := found[part], str)]
            sample_matrix = np.stack(vectors) if vectors else None
            for index in indices:
                sentence = found[pairs[index].right]
                if isinstance(sentence, str):
                    yield index, Verdict(None, reason=sentence)
                elif sample_matrix is None:
                    yield index, Verdict(None, reason="each sentence of the sample is too long for the model")
                else:
                    score = min(1.0, max(0.0, float((sample_matrix @ sentence).max())))
                    yield index, Verdict(score >= self.threshold, score)

    def close(self) -> None:
        self._model = None
        self._embeddings = LRUCache(_CACHE_SIZE)

    def _texts(self, pair: Pair) -> tuple[str, str]:
        if not self.uses_question or not pair.question:
            return pair.left, pair.right
        return f"{pair.question} {pair.left}", f"{pair.question} {pair.right}"

    def _embed(self, texts: Sequence[str]) -> Iterator[tuple[str, Embedded]]:
        """Yields (text, embedding or reason): first the cached embeddings, then the embeddings of each batch."""
        new = []
        for text in texts:
            cached = self._embeddings.get(text)
            if cached is None:
                new.append(text)
            else:
                yield text, cached
        model = self._open_model
        fitting, lengths = [], []
        for text, length in zip(new, model.lengths(new), strict=True):
            if model.window is not None and length > model.window:
                yield text, f"too long: {length} tokens, and the model's window is {model.window}"
            else:
                fitting.append(text)
                lengths.append(length)
        for index, embedded in self._budget.run(fitting, lengths, model.encode, _too_large):
            if not isinstance(embedded, str):
                self._embeddings.put(fitting[index], embedded)
            yield fitting[index], embedded

    @property
    def _open_model(self) -> SentenceModel:
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

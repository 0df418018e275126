"""Runs a sequence classification model on pairs of texts, to get the probability of each label.

    p = softmax(logits(first text, second text)), in float32, for every precision of the model

The two texts of a pair are tokenised together, and pairs run in batches of similar length (`models.batches`). A text
that occurs in many pairs is tokenised once, if the tokenizer permits this. A pair that is longer than the model's
window has no probabilities; no text is truncated.

Some classifiers read only the last token, which they find by the padding id in their configuration. This padding id is
often not set, or differs from the tokenizer's padding id. So it is replaced by the tokenizer's padding id. Before the
first pair is judged, a padded batch is compared with the same rows one by one. If the probabilities differ, the model
runs row by row, with a warning.

Several threads may use one classifier, and a process may fork at any time, because there is no lock.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from semantic_entropy.plugin import errors, replace_surrogates
from semantic_entropy_plugins.models.batches import TokenBudget
from semantic_entropy_plugins.models.loading import LoadedModel

# The number of pairs that are tokenised together, after they were sorted by their number of characters.
TOKENISED_AT_ONCE = 4096
# The padding tokens of a batch on a GPU: more padding takes longer than the start of a further forward pass.
_PADDING_GPU = 2048
# The pairs of the padded batch that is checked, and the largest allowed difference of a probability.
_PROBES = (("a", "b"), ("a b c", "a b c d e f g h"))
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.1}


def batch_tokens(device: torch.device) -> int:
    """The default number of tokens in one forward pass.

    A GPU needs many tokens. On a CPU the time per row is the same from 300 to 8,000 tokens (DeBERTa and BERT with 2 to
    6 layers, rows of 39 tokens). At 16,000 tokens it is 20% longer, because the data no longer fit into the caches.
    """
    return 4096 if device.type == "cpu" else 32768


class PairClassifier:
    """Computes the probabilities of labels for pairs of texts.

    Attributes:
        forward_calls: the number of forward passes so far; approximate if several threads share a classifier.
        forward_rows: the number of rows in these forward passes.

    Args:
        loaded: the model.
        tokens: the largest number of tokens in one forward pass; None: the default of the device.
    """

    def __init__(self, loaded: LoadedModel, tokens: int | None = None) -> None:
        self._loaded = loaded
        self._tokenizer = PairTokenizer(loaded.tokenizer)
        self._budget = TokenBudget(
            tokens or batch_tokens(loaded.device),
            rows=None if self._tokenizer.can_pad else 1,
            padding=None if loaded.device.type == "cpu" else _PADDING_GPU,
        )
        self._check_model()
        self.forward_calls = self.forward_rows = 0

    def run(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[int, list[float] | str]]:
        """Yields (index of the pair, probability of each label) after each batch.

        A text in place of the probabilities is the reason why there are none. On a GPU the CPU tokenises the next
        section of pairs, and reads the last results, while a batch is in flight.
        """
        order = sorted(range(len(pairs)), key=lambda index: -sum(map(len, pairs[index])))
        window = self._loaded.max_length
        kept: list[int] = []
        too_long: list[tuple[int, str]] = []

        def sections() -> Iterator[tuple[list[TokenizedPair], list[int]]]:
            for start in range(0, len(order), TOKENISED_AT_ONCE):
                section = order[start : start + TOKENISED_AT_ONCE]
                rows: list[TokenizedPair] = []
                for index, row in zip(section, self._tokenizer.rows([pairs[i] for i in section]), strict=True):
                    if window is None or len(row.ids) <= window:
                        kept.append(index)
                        rows.append(row)
                    else:
                        reason = f"too long: {len(row.ids)} tokens, and the model's window is {window}"
                        too_long.append((index, reason))
                yield rows, [len(row.ids) for row in rows]

        for position, result in self._budget.run_sections(sections(), self._forward, self._too_large):
            yield kept[position], result
        yield from too_long

    def _check_model(self) -> None:
        """Run short pairs: a model that does not work on this machine fails at construction."""
        self.forward_calls = self.forward_rows = 0
        try:
            result, other = (alone for pair in _PROBES for _, alone in self.run([pair]))
        except Exception as error:  # a model can raise anything
            raise errors.EquivalenceError(
                f"model={self._loaded.name!r} loads, but does not run on {self._loaded.device} in "
                f"{self._loaded.dtype}: {error}"
            ) from error
        if isinstance(result, str):
            raise errors.EquivalenceError(f"model={self._loaded.name!r} loads, but does not work: {result}")
        if self._tokenizer.can_pad and not isinstance(other, str):
            self._check_padding([result, other])

    def _check_padding(self, expected: list[list[float]]) -> None:
        config = self._loaded.model.config.get_text_config()
        own_id, config.pad_token_id = config.pad_token_id, self._loaded.tokenizer.pad_token_id
        problem = self._disagreement(expected)
        if problem is None:
            return
        config.pad_token_id = own_id
        self._budget.rows = 1
        warnings.warn(
            f"model={self._loaded.name!r} runs row by row, because a padded batch fails ({problem:.200}). This is "
            "slower; the verdicts are the same",
            RuntimeWarning,
            stacklevel=2,
        )

    def _disagreement(self, expected: list[list[float]]) -> str | None:
        """Why a padded batch of the probes fails; None: the batch has the expected probabilities."""
        try:
            found = self._forward(self._tokenizer.rows(_PROBES))
        except Exception as error:  # noqa: BLE001  # a model that cannot take padding can raise anything
            return f"{type(error).__name__}: {error}"
        for batched, alone in zip(found, expected, strict=True):
            difference = 1.0 if isinstance(batched, str) else max(map(_difference, batched, alone))
            if difference > _TOLERANCE[self._loaded.dtype]:
                return f"probabilities differ by {difference:.2g}"
        return None

    def _forward(self, rows: list[TokenizedPair]) -> Iterable[list[float] | str]:
        """Runs a batch. On a GPU, returns at once an iterator, which waits for the results of this batch."""
        self.forward_calls += 1
        self.forward_rows += len(rows)
        with torch.inference_mode():
            logits = self._loaded.model(**self._tokenizer.padded(rows, self._loaded.device)).logits
            probabilities = logits.float().softmax(dim=-1)
        if self._loaded.device.type != "cuda":
            return self._readable(probabilities)
        # Copied now: a later copy would wait for the next batch too, because a GPU executes in order.
        copied = probabilities.to("cpu", non_blocking=True)
        copy_ends = torch.cuda.Event()
        copy_ends.record(torch.cuda.current_stream(self._loaded.device))

        def read() -> Iterator[list[float] | str]:
            copy_ends.synchronize()
            yield from self._readable(copied)

        return read()

    def _readable(self, probabilities: torch.Tensor) -> list[list[float] | str]:
        return [p if sum(p) > 0 else self._not_a_number() for p in probabilities.tolist()]

    def _too_large(self, row: TokenizedPair, tokens: int) -> list[float] | str:
        return f"out of memory at {tokens} tokens on {self._loaded.device}"

    def _not_a_number(self) -> str:
        return f"the model's output is not a number in {self._loaded.dtype}; dtype='float32' may help"


def _difference(one: float, other: float) -> float:
    return abs(one - other)


class TokenizedPair(NamedTuple):
    """A pair as model input: token ids, and segment ids if the model uses segment ids."""

    ids: list[int]
    segments: list[int] | None


class PairTokenizer:
    """Tokenises and pads pairs of texts with the same result as the model's tokenizer.

    Fast tokenizers encode the two texts of a pair separately and then join them. Therefore a text that occurs in many
    pairs is encoded once. If a tokenizer is not fast, or joins texts differently, pairs are tokenised one by one.

    The tokenizer's state (no truncation, no padding) does not change after the first call, because a change would
    disturb other threads that use the tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        probe = [("a b", "c"), ("c", "a b")]
        expected = self._one_by_one(probe)  # sets the state of the tokenizer
        self._has_segments = expected[0].segments is not None
        self._can_join = tokenizer.is_fast and self._joined(probe) == expected

    @property
    def can_pad(self) -> bool:
        """Whether rows of different lengths can form one batch."""
        return self._tokenizer.pad_token_id is not None

    def rows(self, pairs: Sequence[tuple[str, str]]) -> list[TokenizedPair]:
        """Each pair with its special tokens, without truncation."""
        readable = [(replace_surrogates(first), replace_surrogates(second)) for first, second in pairs]
        return self._joined(readable) if self._can_join else self._one_by_one(readable)

    def padded(self, rows: Sequence[TokenizedPair], device: torch.device) -> dict[str, torch.Tensor]:
        """The inputs of a forward pass, each of shape (rows, tokens of the longest row)."""
        lengths = np.array([len(row.ids) for row in rows])
        width = lengths.max()
        filled = np.arange(width) < lengths[:, None]
        if self._tokenizer.padding_side == "left":
            filled = filled[:, ::-1]

        def on_device(matrix: np.ndarray) -> torch.Tensor:
            tensor = torch.from_numpy(matrix)
            # Only a copy from pinned memory lets the CPU continue while the GPU still computes the last batch.
            return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)

        def as_matrix(lists: Sequence[Sequence[int]], padding: int) -> torch.Tensor:
            matrix = np.full(filled.shape, padding)
            matrix[filled] = np.concatenate([np.array(values) for values in lists])
            return on_device(matrix)

        inputs = {"input_ids": as_matrix([row.ids for row in rows], self._tokenizer.pad_token_id or 0)}
        inputs["attention_mask"] = on_device(filled.astype(np.int64))
        if self._has_segments:
            segments = [row.segments or [] for row in rows]
            inputs["token_type_ids"] = as_matrix(segments, self._tokenizer.pad_token_type_id)
        return inputs

    def _one_by_one(self, pairs: Sequence[tuple[str, str]]) -> list[TokenizedPair]:
        encoded = self._tokenizer(
            [first for first, _ in pairs],
            [second for _, second in pairs],
            padding=False,
            truncation=False,
            return_attention_mask=False,
            split_special_tokens=True,  # "</s>" in an answer is four characters of text, not the end of the text
            verbose=False,
        )
        ids = encoded["input_ids"]
        return list(map(TokenizedPair, ids, encoded.get("token_type_ids") or [None] * len(ids)))

    def _joined(self, pairs: Sequence[tuple[str, str]]) -> list[TokenizedPair]:
        backend = self._tokenizer.backend_tokenizer
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        encoded = dict(zip(texts, backend.encode_batch_fast(texts, add_special_tokens=False), strict=True))
        joined = [backend.post_process(encoded[first], encoded[second]) for first, second in pairs]
        return [TokenizedPair(pair.ids, pair.type_ids if self._has_segments else None) for pair in joined]

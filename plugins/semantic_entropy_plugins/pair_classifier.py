"""A sequence classification model on pairs of texts: the probability of each label, or the reason why there is none.

    p = softmax(logits(first text, second text)), in float32 whatever the model computes in

Pairs are tokenised together and go through the model in batches of nearly equal length (`batches`). A pair that is
longer than the model's window is not cut: it has no probabilities.

Several threads may use one classifier, and a process may fork while they do: there is no lock, and the tokenizer is
left in one state (no truncation, no padding) from the first call on, since a change of it would disturb other threads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from semantic_entropy.plugin import errors
from semantic_entropy_plugins.batches import TokenBudget
from semantic_entropy_plugins.models import Loaded

# Tokens in one forward pass. A GPU needs many to be busy; a CPU is as fast with few, and those stay in its caches.
BATCH_TOKENS = {"cpu": 2048}
BATCH_TOKENS_GPU = 32768
# Pairs that are tokenised at a time: enough that batches of one length are full, few enough to hold in memory.
AT_A_TIME = 16384

_SURROGATE = re.compile("[\ud800-\udfff]")


class _Row(NamedTuple):
    """A pair as the model reads it: token ids, and segment ids where the model has them."""

    ids: list[int]
    segments: list[int] | None


class PairClassifier:
    """Probabilities of labels for pairs of texts.

    Attributes:
        forward_calls: forward passes so far; counted loosely where threads share a classifier.
        forward_rows: rows in them.

    Args:
        loaded: the model.
        batch_tokens: tokens in one forward pass, at most; None: a default for the device.
    """

    def __init__(self, loaded: Loaded, batch_tokens: int | None = None) -> None:
        self._loaded = loaded
        self._pad = loaded.tokenizer.pad_token_id
        self._budget = TokenBudget(
            batch_tokens or BATCH_TOKENS.get(loaded.device.type, BATCH_TOKENS_GPU),
            rows=1 if self._pad is None else None,  # without padding, rows of different lengths make no batch
        )
        self._try_out()
        self.forward_calls = self.forward_rows = 0

    def run(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[int, list[float] | str]]:
        """As batches are done: (index of the pair, the probability of each label, or why there is none)."""
        for start in range(0, len(pairs), AT_A_TIME):
            for index, result in self._run(pairs[start : start + AT_A_TIME]):
                yield start + index, result

    def _try_out(self) -> None:
        """One short pair, so that a model that cannot work here says so now; and the tokenizer finds its state."""
        self.forward_calls = self.forward_rows = 0
        try:
            ((_, result),) = self.run([("a", "b")])
        except Exception as error:  # whatever a model makes of it
            raise errors.EquivalenceError(
                f"model={self._loaded.name!r} loads, but does not run on {self._loaded.device} in "
                f"{self._loaded.dtype}: {error}"
            ) from error
        if isinstance(result, str):
            raise errors.EquivalenceError(f"model={self._loaded.name!r} loads, but does not work: {result}")

    def _run(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[int, list[float] | str]]:
        rows = self._tokenized(pairs)
        window = self._loaded.max_length
        fitting = [index for index, row in enumerate(rows) if window is None or len(row.ids) <= window]
        for index in set(range(len(rows))).difference(fitting):
            yield index, f"too long: {len(rows[index].ids)} tokens, and the model's window is {window}"
        chosen = [rows[index] for index in fitting]
        results = self._budget.run(chosen, [len(row.ids) for row in chosen], self._forward, self._too_large)
        for index, result in results:
            yield fitting[index], result

    def _tokenized(self, pairs: Sequence[tuple[str, str]]) -> list[_Row]:
        encoded = self._loaded.tokenizer(
            [_readable(first) for first, _ in pairs],
            [_readable(second) for _, second in pairs],
            padding=False,
            truncation=False,
            return_attention_mask=False,
            split_special_tokens=True,  # "</s>" in an answer is three characters of it, not the end of the text
            verbose=False,
        )
        ids = encoded["input_ids"]
        return list(map(_Row, ids, encoded.get("token_type_ids") or [None] * len(ids)))

    def _forward(self, rows: list[_Row]) -> list[list[float] | str]:
        self.forward_calls += 1
        self.forward_rows += len(rows)
        with torch.inference_mode():
            logits = self._loaded.model(**self._padded(rows)).logits
            probabilities = logits.float().softmax(dim=-1).tolist()
        return [p if sum(p) > 0 else self._not_a_number() for p in probabilities]

    def _padded(self, rows: list[_Row]) -> dict[str, torch.Tensor]:
        width = max(len(row.ids) for row in rows)
        left = self._loaded.tokenizer.padding_side == "left"

        def padded(lists: Sequence[list[int]], value: int) -> torch.Tensor:
            fills = [[value] * (width - len(one)) for one in lists]
            whole = [fill + one if left else one + fill for one, fill in zip(lists, fills, strict=True)]
            return torch.tensor(whole, device=self._loaded.device)

        inputs = {"input_ids": padded([row.ids for row in rows], self._pad or 0)}
        inputs["attention_mask"] = padded([[1] * len(row.ids) for row in rows], 0)
        if rows[0].segments is not None:
            inputs["token_type_ids"] = padded([row.segments or [] for row in rows], 0)
        return inputs

    def _too_large(self, row: _Row, tokens: int) -> list[float] | str:
        return f"out of memory at {tokens} tokens on {self._loaded.device}"

    def _not_a_number(self) -> str:
        return f"the model's output is not a number in {self._loaded.dtype}; dtype='float32' may help"


def _readable(text: str) -> str:
    """Lone halves of surrogate pairs, which no tokenizer takes, replaced."""
    return _SURROGATE.sub("\ufffd", text)

"""Pairs of texts as a classifier reads them: token ids, segment ids, and both padded to a batch.

A text that stands in many pairs is tokenised once: fast tokenizers encode each text by itself and only then join the
two. Where a tokenizer is not one of those, or would join them otherwise, pairs are tokenised one by one.

The tokenizer is left in one state (no truncation, no padding) from the first call on: a change of it would disturb
other threads that use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from semantic_entropy.plugin import replace_surrogates


class Row(NamedTuple):
    """A pair as the model reads it: token ids, and segment ids where the model has them."""

    ids: list[int]
    segments: list[int] | None


class PairTokens:
    """Tokenises pairs and pads rows, as the tokenizer of a model would."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        probe = [("a b", "c"), ("c", "a b")]
        expected = self._whole(probe)  # sets the state of the tokenizer
        self._segmented = expected[0].segments is not None
        self._joins = tokenizer.is_fast and self._joined(probe) == expected

    @property
    def can_pad(self) -> bool:
        """Whether rows of different lengths can make one batch."""
        return self._tokenizer.pad_token_id is not None

    def rows(self, pairs: Sequence[tuple[str, str]]) -> list[Row]:
        """Each pair with its special tokens, of whatever length."""
        readable = [(_readable(first), _readable(second)) for first, second in pairs]
        return self._joined(readable) if self._joins else self._whole(readable)

    def padded(self, rows: Sequence[Row], device: torch.device) -> dict[str, torch.Tensor]:
        """The inputs of a forward pass, each (rows, tokens of the longest)."""
        lengths = np.array([len(row.ids) for row in rows])
        width = lengths.max()
        filled = np.arange(width) < lengths[:, None]
        if self._tokenizer.padding_side == "left":
            filled = filled[:, ::-1]

        def laid_out(lists: Sequence[Sequence[int]], padding: int) -> torch.Tensor:
            whole = np.full(filled.shape, padding)
            whole[filled] = np.concatenate([np.array(one) for one in lists])
            return torch.from_numpy(whole).to(device)

        inputs = {"input_ids": laid_out([row.ids for row in rows], self._tokenizer.pad_token_id or 0)}
        inputs["attention_mask"] = torch.from_numpy(filled.astype(np.int64)).to(device)
        if self._segmented:
            inputs["token_type_ids"] = laid_out([row.segments or [] for row in rows], self._tokenizer.pad_token_type_id)
        return inputs

    def _whole(self, pairs: Sequence[tuple[str, str]]) -> list[Row]:
        encoded = self._tokenizer(
            [first for first, _ in pairs],
            [second for _, second in pairs],
            padding=False,
            truncation=False,
            return_attention_mask=False,
            split_special_tokens=True,  # "</s>" in an answer is three characters of it, not the end of the text
            verbose=False,
        )
        ids = encoded["input_ids"]
        return list(map(Row, ids, encoded.get("token_type_ids") or [None] * len(ids)))

    def _joined(self, pairs: Sequence[tuple[str, str]]) -> list[Row]:
        backend = self._tokenizer.backend_tokenizer
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        encoded = dict(zip(texts, backend.encode_batch_fast(texts, add_special_tokens=False), strict=True))
        joined = [backend.post_process(encoded[first], encoded[second]) for first, second in pairs]
        return [Row(one.ids, one.type_ids if self._segmented else None) for one in joined]


def _readable(text: str) -> str:
    """Lone halves of surrogate pairs, which no tokenizer takes, replaced."""
    return replace_surrogates(text)

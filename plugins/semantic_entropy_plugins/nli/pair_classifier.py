"""A sequence classification model on pairs of texts: the probability of each label, or the reason why there is none.

    p = softmax(logits(first text, second text)), in float32 whatever the model computes in

Pairs are tokenised together and go through the model in batches of nearly equal length (`batches`). A pair that is
longer than the model's window is not cut: it has no probabilities.

A classifier that reads off its last token finds it by the id of the padding in its configuration, which is often unset,
or not its tokenizer's. It is told the tokenizer's, and a padded batch is held against its rows alone before any answer
is judged: a model whose batches still say something else is run row by row, with a warning.

Several threads may use one classifier, and a process may fork while they do: there is no lock.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import torch

from semantic_entropy.plugin import errors
from semantic_entropy_plugins.models.batches import TokenBudget
from semantic_entropy_plugins.models.loading import Loaded
from semantic_entropy_plugins.nli.pair_tokens import PairTokens, Row

# Pairs that are tokenised at a time: enough that batches of one length are full, few enough to hold in memory.
AT_A_TIME = 16384
# On these a padded batch is checked, and how far its probabilities may be off what the rows alone give.
_PROBES = (("a", "b"), ("a b c", "a b c d e f g h"))
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.1}


def batch_tokens(device: torch.device) -> int:
    """How many tokens one forward pass holds, unless that is said.

    A GPU needs many to be busy. On a CPU the time a row takes is flat from 300 tokens to 8,000 (DeBERTa and BERT of
    2 to 6 layers, rows of 39 tokens), and a fifth more at 16,000: what is computed no longer fits into the caches.
    """
    return 4096 if device.type == "cpu" else 32768


class PairClassifier:
    """Probabilities of labels for pairs of texts.

    Attributes:
        forward_calls: forward passes so far; counted loosely where threads share a classifier.
        forward_rows: rows in them.

    Args:
        loaded: the model.
        tokens: in one forward pass, at most; None: a default for the device.
    """

    def __init__(self, loaded: Loaded, tokens: int | None = None) -> None:
        self._loaded = loaded
        self._tokens = PairTokens(loaded.tokenizer)
        self._budget = TokenBudget(
            tokens or batch_tokens(loaded.device),
            rows=None if self._tokens.can_pad else 1,
        )
        self._try_out()
        self.forward_calls = self.forward_rows = 0

    def run(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[int, list[float] | str]]:
        """As batches are done: (index of the pair, the probability of each label, or why there is none)."""
        for start in range(0, len(pairs), AT_A_TIME):
            for index, result in self._run(pairs[start : start + AT_A_TIME]):
                yield start + index, result

    def _try_out(self) -> None:
        """Short pairs, so that a model that cannot work here says so now; and the tokenizer finds its state."""
        self.forward_calls = self.forward_rows = 0
        try:
            result, other = (alone for pair in _PROBES for _, alone in self.run([pair]))
        except Exception as error:  # whatever a model makes of it
            raise errors.EquivalenceError(
                f"model={self._loaded.name!r} loads, but does not run on {self._loaded.device} in "
                f"{self._loaded.dtype}: {error}"
            ) from error
        if isinstance(result, str):
            raise errors.EquivalenceError(f"model={self._loaded.name!r} loads, but does not work: {result}")
        if self._tokens.can_pad and not isinstance(other, str):
            self._try_batch([result, other])

    def _try_batch(self, expected: list[list[float]]) -> None:
        config = self._loaded.model.config.get_text_config()
        own, config.pad_token_id = config.pad_token_id, self._loaded.tokenizer.pad_token_id
        trouble = self._disagreement(expected)
        if trouble is None:
            return
        config.pad_token_id = own
        self._budget.rows = 1
        warnings.warn(
            f"model={self._loaded.name!r} is run row by row, since a padded batch will not do ({trouble:.200}): "
            "slower, with the same verdicts",
            RuntimeWarning,
            stacklevel=2,
        )

    def _disagreement(self, expected: list[list[float]]) -> str | None:
        """Why a padded batch of the probes will not do; None: it gives what was expected."""
        try:
            found = self._forward(self._tokens.rows(_PROBES))
        except Exception as error:  # noqa: BLE001  # what a model makes of padding is its own affair
            return f"{type(error).__name__}: {error}"
        for there, one in zip(found, expected, strict=True):
            off = 1.0 if isinstance(there, str) else max(abs(p - q) for p, q in zip(there, one, strict=True))
            if off > _TOLERANCE[self._loaded.dtype]:
                return f"probabilities differ by {off:.2g}"
        return None

    def _run(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[int, list[float] | str]]:
        rows = self._tokens.rows(pairs)
        window = self._loaded.max_length
        fitting = [index for index, row in enumerate(rows) if window is None or len(row.ids) <= window]
        for index in set(range(len(rows))).difference(fitting):
            yield index, f"too long: {len(rows[index].ids)} tokens, and the model's window is {window}"
        chosen = [rows[index] for index in fitting]
        results = self._budget.run(chosen, [len(row.ids) for row in chosen], self._forward, self._too_large)
        for index, result in results:
            yield fitting[index], result

    def _forward(self, rows: list[Row]) -> list[list[float] | str]:
        self.forward_calls += 1
        self.forward_rows += len(rows)
        with torch.inference_mode():
            logits = self._loaded.model(**self._tokens.padded(rows, self._loaded.device)).logits
            probabilities = logits.float().softmax(dim=-1).tolist()
        return [p if sum(p) > 0 else self._not_a_number() for p in probabilities]

    def _too_large(self, row: Row, tokens: int) -> list[float] | str:
        return f"out of memory at {tokens} tokens on {self._loaded.device}"

    def _not_a_number(self) -> str:
        return f"the model's output is not a number in {self._loaded.dtype}; dtype='float32' may help"

"""Batches for a model: sorted by length, packed by a token budget, smaller where memory runs out.

    rows in a batch x tokens of its longest row <= budget

The longest rows go first, so that what does not fit is found out at once. Where memory runs out, the budget becomes
half of what the failing batch held, is kept for all later calls, and the rows are tried again; a row that does not fit
alone is the caller's to report. Rows of one batch have nearly the same length, so that little is padding.

Left out: growing again after another process has given its memory back. A new budget does that.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

# What torch's allocators say where the exception's type does not: on a CPU, on Apple's GPUs, and inside cuBLAS.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class TokenBudget:
    """How much one forward pass holds.

    Args:
        tokens: rows times the longest row's tokens, at most; one row is always tried.
        rows: how many rows at most, whatever their length; None: any number.
    """

    def __init__(self, tokens: int, rows: int | None = None) -> None:
        self.tokens, self.rows = tokens, rows

    def run(
        self,
        items: Sequence[T],
        lengths: Sequence[int],
        forward: Callable[[list[T]], Sequence[R]],
        too_large: Callable[[T, int], R],
    ) -> Iterator[tuple[int, R]]:
        """Put all items through `forward`: (index of the item, its result), each once, as each batch is done.

        Args:
            items: what goes into the model, one a row.
            lengths: tokens of each item.
            forward: the results of one batch, in its order.
            too_large: the result of an item, of so many tokens, that does not fit into memory alone.
        """
        order = sorted(range(len(items)), key=lambda index: -lengths[index])
        start = 0
        while start < len(order):
            longest = lengths[order[start]]
            batch = order[start : start + self._fitting(longest)]
            results = _unless_out_of_memory(forward, [items[index] for index in batch])
            if results is None:
                self.tokens = max(1, min(self.tokens, len(batch) * longest // 2))
                if len(batch) > 1:
                    continue
                results = [too_large(items[batch[0]], longest)]
            yield from zip(batch, results, strict=True)
            start += len(batch)

    def _fitting(self, longest: int) -> int:
        rows = max(1, self.tokens // max(1, longest))
        return rows if self.rows is None else min(rows, self.rows)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this error says that memory has run out, on an accelerator or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


def _unless_out_of_memory(forward: Callable[[list[T]], Sequence[R]], batch: list[T]) -> Sequence[R] | None:
    try:
        return forward(batch)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Only here, where the error has let go of the frames that held the failed batch's tensors, can they be freed.
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
    return None

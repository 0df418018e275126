"""Forms batches for a model: sorts rows by length, and packs rows by a token budget.

    rows in a batch x tokens of its longest row <= budget

The longest rows run first, so that an out-of-memory error occurs at the beginning. After such an error the budget
becomes half of the size of the failed batch, for this call and all later calls, and the rows run again. If a single row
does not fit into memory, its result comes from the caller's function `too_large`. The rows of a batch have similar
lengths, so there is little padding.

Left out: the budget never grows again, for example after another process has released memory. Make a new budget then.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

# Texts of out-of-memory errors that are plain RuntimeErrors: on a CPU, on Apple's GPUs, and inside cuBLAS.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class TokenBudget:
    """The largest size of one forward pass.

    Args:
        tokens: the limit of (number of rows) x (tokens of the longest row). A single row always runs.
        rows: the largest number of rows in a pass; None: no limit.
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
        """Run all items through `forward`, and yield (index of the item, result of the item) after each batch.

        Args:
            items: the rows of model input.
            lengths: the number of tokens of each item.
            forward: runs one batch, and returns the results of its items in order.
            too_large: returns the result of an item that does not fit into memory alone. Its arguments are the item and
                the item's number of tokens.
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
    """Whether the error says that memory has run out, on an accelerator or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


def _unless_out_of_memory(forward: Callable[[list[T]], Sequence[R]], batch: list[T]) -> Sequence[R] | None:
    try:
        return forward(batch)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside the except block, because inside the block the error's traceback would keep the failed batch's tensors.
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
    return None

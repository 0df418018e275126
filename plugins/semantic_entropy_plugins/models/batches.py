"""Forms batches for a model: sorts rows by length, and packs rows by a token budget.

    rows in a batch x tokens of its longest row <= budget

The longest rows run first, so that an out-of-memory error occurs at the beginning. After such an error the budget
becomes half of the size of the failed batch, for this call and all later calls, and the rows run again. If a single row
does not fit into memory, its result comes from the caller's function `too_large`. The rows of a batch have similar
lengths, so there is little padding; `padding` limits the padding of a batch.

A GPU computes while the CPU prepares the next batch: if `forward` returns an iterator, its results are read only after
the next batch has started. So one batch is in flight, and the GPU does not wait for the CPU.

Left out: the budget never grows again, for example after another process has released memory. Make a new budget then.
"""

from __future__ import annotations

import bisect
import gc
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
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
        padding: the largest number of padding tokens in a pass; None: no limit. A good limit is the number of tokens
            that the model computes in the time that a further pass takes to start.
    """

    def __init__(self, tokens: int, rows: int | None = None, padding: int | None = None) -> None:
        self.tokens, self.rows, self.padding = tokens, rows, padding

    def fits(self, rows: int, longest: int) -> bool:
        """Whether this number of rows, the longest with this number of tokens, may form a batch."""
        return rows * longest <= self.tokens and (self.rows is None or rows <= self.rows)

    def run(
        self,
        items: Sequence[T],
        lengths: Sequence[int],
        forward: Callable[[list[T]], Iterable[R]],
        too_large: Callable[[T, int], R],
    ) -> Iterator[tuple[int, R]]:
        """Run all items through `forward`, and yield (index of the item, result of the item) after each batch.

        Args:
            items: the rows of model input.
            lengths: the number of tokens of each item.
            forward: runs one batch, and returns the results of its items in order. If it returns an iterator, the
                iterator is read after the next batch has started.
            too_large: returns the result of an item that does not fit into memory alone. Its arguments are the item and
                the item's number of tokens.
        """
        return self.run_sections([(items, lengths)], forward, too_large)

    def run_sections(
        self,
        sections: Iterable[tuple[Sequence[T], Sequence[int]]],
        forward: Callable[[list[T]], Iterable[R]],
        too_large: Callable[[T, int], R],
    ) -> Iterator[tuple[int, R]]:
        """Like `run`, for items that arrive in sections of (items, lengths). Indices count over all sections.

        A batch has items of one section. The next section is requested while the last batch of a section is in flight.
        """
        in_flight: Iterator[tuple[int, R]] = iter(())
        first = 0
        for items, lengths in sections:
            order = sorted(range(len(items)), key=lambda index: -lengths[index])
            falling = [lengths[index] for index in order]
            start = 0
            while start < len(order):
                batch = order[start : self._end_of_batch(falling, start)]
                results = _unless_out_of_memory(forward, [items[index] for index in batch])
                if results is None:
                    self.tokens = max(1, min(self.tokens, len(batch) * falling[start] // 2))
                    if len(batch) > 1:
                        continue
                    results = [too_large(items[batch[0]], falling[start])]
                start += len(batch)
                finished: Iterator[tuple[int, R]] = zip([first + index for index in batch], results, strict=True)
                if isinstance(results, Iterator):
                    finished, in_flight = in_flight, finished
                yield from finished
            first += len(items)
        yield from in_flight

    def _end_of_batch(self, lengths: Sequence[int], start: int) -> int:
        """The end of the batch that begins at `start`. The lengths are in falling order."""
        longest = max(1, lengths[start])
        rows = max(1, self.tokens // longest)
        end = min(len(lengths), start + (rows if self.rows is None else min(rows, self.rows)))
        if self.padding is None:
            return end
        padding = itertools.accumulate(longest - length for length in lengths[start:end])
        return start + bisect.bisect_right(list(padding), self.padding)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory has run out, on an accelerator or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


def _unless_out_of_memory(forward: Callable[[list[T]], Iterable[R]], batch: list[T]) -> Iterable[R] | None:
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

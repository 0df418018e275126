"""Draws samples in a separate thread, ahead of the reader, so that the model works while the reader judges samples.

The thread is ahead of the reader by one finished batch and one batch in progress. If the reader closes the iterator, is
interrupted by Ctrl-C, or its task is cancelled, an event tells the thread to stop, and the reader waits for the end of
the thread.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple, TypeVar

from semantic_entropy.plugin import errors, is_stopped

T = TypeVar("T")

_POLL = 0.5  # seconds between checks for cancellation


class _End(NamedTuple):
    """The end of the work. `error` is the exception that ended the work, or None."""

    error: BaseException | None


def in_background(work: Callable[[threading.Event], Generator[Sequence[T]]], name: str) -> Iterator[T]:
    """Yield the items of the batches that `work` yields. An exception in `work` is raised after the items before it.

    Args:
        work: a generator function; its argument is an event that is set when the items are no longer wanted.
        name: the name of the thread.
    """
    cancelled = threading.Event()
    batches: queue.Queue[Sequence[T] | _End] = queue.Queue(maxsize=1)

    def run() -> None:
        error = None
        try:
            with contextlib.closing(work(cancelled)) as running:
                for batch in running:
                    batches.put(batch)
                    if cancelled.is_set():
                        break
        except BaseException as raised:  # noqa: BLE001  # raised in the reader's thread
            error = raised
        batches.put(_End(error))

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        while not isinstance(batch := _next_batch(batches), _End):
            yield from batch
        if batch.error:
            raise batch.error
    finally:
        cancelled.set()
        _join(thread, batches)


def _next_batch(batches: queue.Queue[Sequence[T] | _End]) -> Sequence[T] | _End:
    while not is_stopped():
        with contextlib.suppress(queue.Empty):
            return batches.get(timeout=_POLL)
    raise errors.SamplingError("cancelled: the remaining samples were dropped")


def _join(thread: threading.Thread, batches: queue.Queue[Sequence[T] | _End]) -> None:
    """Wait for the thread; discard its batches, because it waits while the queue is full."""
    if sys.is_finalizing() or thread is threading.current_thread():
        return  # all threads have stopped; or the garbage collector runs in the thread itself
    while thread.is_alive():
        with contextlib.suppress(queue.Empty):
            batches.get(timeout=0.02)
    thread.join()

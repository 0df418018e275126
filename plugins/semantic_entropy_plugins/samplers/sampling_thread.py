"""Work in a thread of its own, so that drawing goes on while the reader judges what it has.

The thread runs ahead by what it works on and one finished batch; there it waits for the reader. Closing the iterator,
Ctrl-C in the reader, or a cancelled task for which it reads, sets an event that the work looks at, and waits for the
thread to end.
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

_LOOK = 0.5  # seconds between looks whether anyone waits for the samples


class _Ended(NamedTuple):
    """The work is over; error: what ended it."""

    error: BaseException | None


def in_background(work: Callable[[threading.Event], Generator[Sequence[T]]], name: str) -> Iterator[T]:
    """What the batches that `work` yields hold, one by one. What it raises is raised here, after what came before.

    Args:
        work: gets the event that says that nobody wants more.
        name: the thread's.
    """
    stop = threading.Event()
    batches: queue.Queue[Sequence[T] | _Ended] = queue.Queue(maxsize=1)

    def run() -> None:
        error = None
        try:
            with contextlib.closing(work(stop)) as made:
                for batch in made:
                    batches.put(batch)
                    if stop.is_set():
                        break
        except BaseException as raised:  # noqa: BLE001  # raised in the reader's thread
            error = raised
        batches.put(_Ended(error))

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        while not isinstance(batch := _next(batches), _Ended):
            yield from batch
        if batch.error:
            raise batch.error
    finally:
        stop.set()
        _end(thread, batches)


def _next(batches: queue.Queue[Sequence[T] | _Ended]) -> Sequence[T] | _Ended:
    """The next batch, as long as anyone waits for it."""
    while not is_stopped():
        with contextlib.suppress(queue.Empty):
            return batches.get(timeout=_LOOK)
    raise errors.SamplingError("stopped: nobody waits for the rest")


def _end(thread: threading.Thread, batches: queue.Queue[Sequence[T] | _Ended]) -> None:
    """Take what it still wants to hand over, until it is gone."""
    if sys.is_finalizing() or thread is threading.current_thread():
        return  # threads have stopped for good; or the collector of garbage came by in the thread itself
    while thread.is_alive():
        with contextlib.suppress(queue.Empty):
            batches.get(timeout=0.02)
    thread.join()

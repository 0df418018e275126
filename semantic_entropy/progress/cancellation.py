"""Cooperative cancellation: long waits poll `is_cancelled()` and stop.

Python cannot end a thread from another thread. `run_cancellable` runs a function in a thread and sets an event if the
awaiting task is cancelled. Each call has its own event, so the cancellation of one task does not stop other tasks. The
event is a context variable of the thread. If the function starts another thread, the new thread does not inherit the
event: pass `cancel_event()` to the new thread.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

_EVENT: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar(
    "semantic_entropy_cancelled", default=None
)


def cancel_event() -> threading.Event:
    """Return the event that is set if the task of this thread is cancelled. Without a task, return a new event."""
    return _EVENT.get() or threading.Event()


def is_cancelled() -> bool:
    """Whether the task of this thread (a call of `aestimate`) was cancelled.

    A component that waits should call this function about twice a second. If it returns True, the component should
    raise an error of this package.
    """
    event = _EVENT.get()
    return event is not None and event.is_set()


is_stopped = is_cancelled  # the name in 0.1.0


@contextlib.contextmanager
def cancelled_by(event: threading.Event) -> Iterator[None]:
    """In this block, `is_cancelled()` of this thread is true once the event is set."""
    token = _EVENT.set(event)
    try:
        yield
    finally:
        _EVENT.reset(token)


async def run_cancellable(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run the function in a thread. If this task is cancelled, `is_cancelled()` becomes true in the thread."""
    import asyncio  # this import would take a fifth of the package's import time

    event = threading.Event()
    context = contextvars.copy_context()
    context.run(_EVENT.set, event)
    try:
        return await asyncio.get_running_loop().run_in_executor(None, context.run, function, *arguments)
    except asyncio.CancelledError:
        event.set()
        raise

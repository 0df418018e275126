"""Cooperative cancellation: long waits poll `is_cancelled()` and stop.

Python cannot end a thread from outside. `run_cancellable` runs a function in a thread and sets an event when the
awaiting task is cancelled. Each call has its own event, so cancelling one task does not stop another. The event is in
the thread's context, which a thread started by that function does not inherit: pass `cancel_event()` to such a thread.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

_EVENT: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar(
    "semantic_entropy_cancelled", default=None
)


def cancel_event() -> threading.Event:
    """The event that is set when the task of this thread is cancelled. Outside a task: a new event, never set."""
    return _EVENT.get() or threading.Event()


def is_cancelled() -> bool:
    """Whether the task that this thread works for (a call of `aestimate`) was cancelled.

    A component that waits should call this about twice a second, and raise an error of this package when it is true.
    """
    event = _EVENT.get()
    return event is not None and event.is_set()


is_stopped = is_cancelled  # the name in 0.1.0


async def run_cancellable(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run the function in a thread. In that thread `is_cancelled()` is true after this task is cancelled."""
    import asyncio  # a fifth of this package's import time

    event = threading.Event()
    context = contextvars.copy_context()
    context.run(_EVENT.set, event)
    try:
        return await asyncio.get_running_loop().run_in_executor(None, context.run, function, *arguments)
    except asyncio.CancelledError:
        event.set()
        raise

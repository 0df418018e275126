"""Whether whoever wanted a result has given it up: looked at wherever work waits, in the thread that works for it.

A cancelled task cannot end a thread. So each call that a task waits for has an event of its own, in a context of its
own: other tasks go on. A thread that such work starts by itself does not inherit it; `stop_signal` is for handing over.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

_STOP: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("semantic_entropy_stop", default=None)


def stop_signal() -> threading.Event:
    """The event that is set once nobody waits for what this thread works on; one that never is, outside of a task."""
    return _STOP.get() or threading.Event()


def is_stopped() -> bool:
    """Whether nobody waits any more for what this thread works on: the task that called `aestimate` was cancelled.

    For components that wait: look at it twice a second or so, and raise an error of this package where it is true.
    """
    return stop_signal().is_set()


async def stoppable(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function in a thread, in which `is_stopped()` is true once this task is cancelled."""
    import asyncio  # a fifth of this package's import time

    stop = threading.Event()
    context = contextvars.copy_context()
    context.run(_STOP.set, stop)
    try:
        return await asyncio.get_running_loop().run_in_executor(None, context.run, function, *arguments)
    except asyncio.CancelledError:
        stop.set()
        raise

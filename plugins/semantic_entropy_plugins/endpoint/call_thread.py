"""Sends the calls of one stream in an event loop, in a separate thread.

The thread makes the client usable from any thread, inside a running event loop, and in a notebook. Thread, loop and
connections are created for one stream and end with it, so a process may fork before and after. Closing cancels the
calls in flight at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import queue
import socket
import sys
import threading
import time
import traceback
from typing import Any, Self

import anyio
import anyio.to_thread
import httpx

from semantic_entropy.plugin import errors, is_stopped
from semantic_entropy_plugins.endpoint.failures import Failure, Fatal
from semantic_entropy_plugins.endpoint.replies import Reply
from semantic_entropy_plugins.endpoint.retry import Call, CallOutcome, Retrier

_POLL = 0.5  # seconds between checks for cancellation and a dead thread; on Windows, Ctrl-C needs such a timeout
_GRACE = 30.0  # seconds to wait for the calls in flight after a fatal error, because the user may have to pay for them


class CallThread:
    """Sends calls in a thread. Only the thread that created the object may call its methods, except `abort`.

    Attributes:
        pid: the id of the process that created the thread.
        pending: the number of calls in flight.
    """

    def __init__(
        self, retrier: Retrier, client: httpx.AsyncClient, slots: int, error: type[errors.SemanticEntropyError]
    ) -> None:
        self._retrier, self._client, self._slots, self._error = retrier, client, slots, error
        self.pid, self.pending = os.getpid(), 0
        self._fatal: Fatal | None = None
        self._deadline = 0.0
        self._outcomes: queue.SimpleQueue[tuple[Call, CallOutcome] | None] = queue.SimpleQueue()
        self._calls: asyncio.Queue[Call | None] = asyncio.Queue()
        self._cancel_requests = _cancel_requests()
        self._loop = _EventLoop()
        self._thread = threading.Thread(target=self._run, name="semantic-entropy endpoint", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def free_slots(self) -> int:
        """The number of further calls that may start now."""
        return 0 if self._fatal else self._slots - self.pending

    def submit(self, call: Call) -> None:
        """Start a call."""
        self._check_alive()
        self.pending += 1
        self._loop.call_soon_threadsafe(self._calls.put_nowait, call)

    def next_outcome(self) -> tuple[Call, Reply | Failure]:
        """Wait until a call ends. Returns the call and its outcome.

        Raises:
            SemanticEntropyError: (or the type `error` of the constructor) no call can succeed, and the calls in flight
                have ended or `_GRACE` is over. Also raised if the caller's work is cancelled or `abort` was called.
        """
        while True:
            if self._fatal and (not self.pending or time.monotonic() > self._deadline):
                self.raise_fatal()
            if is_stopped():
                raise self._error("cancelled: the remaining calls were dropped")
            try:
                ended = self._outcomes.get(timeout=_POLL)
            except queue.Empty:
                self._check_alive()
                if _cancel_requests() > self._cancel_requests:
                    raise asyncio.CancelledError from None
                continue
            if ended is None:
                raise self._error("closed while calls were in flight")
            call, outcome = ended
            self.pending -= 1
            if isinstance(outcome, Fatal):
                self._stop_retries(outcome)
            elif self._fatal is None or isinstance(outcome, Reply):
                return call, outcome

    def raise_fatal(self) -> None:
        """Raise the error that ended all calls, if there was one."""
        if self._fatal:
            error = self._error(self._fatal.reason)
            if self._fatal.details:
                error.add_note(self._fatal.details)
            raise error

    def abort(self) -> None:
        """Make `next_outcome` raise an error. Any thread may call this method."""
        self._outcomes.put(None)

    def close(self) -> None:
        """Cancel the calls in flight, close the connections and end the thread. May be called twice."""
        if sys.is_finalizing():
            return  # all threads have stopped; Python 3.14 raises an error in `join`
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._calls.put_nowait, None)
        if self._thread is not threading.current_thread():  # the garbage collector may call this in any thread
            self._thread.join()

    def _check_alive(self) -> None:
        if not self._thread.is_alive():
            raise self._error(
                "the thread that talks to the server is gone: this process was forked while calls were in flight. "
                "Start the work again in each process"
            )

    def _stop_retries(self, fatal: Fatal) -> None:
        """Let the running attempts end, and start no new attempt."""
        if self._fatal is None:
            self._fatal, self._deadline = fatal, time.monotonic() + _GRACE
            self._loop.call_soon_threadsafe(self._retrier.no_more_attempts.set)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with self._client, anyio.create_task_group() as tasks:
            while call := await self._calls.get():
                tasks.start_soon(self._send, call)
            tasks.cancel_scope.cancel()

    async def _send(self, call: Call) -> None:
        try:
            outcome = await self._retrier.send(call)
        except Exception as error:  # noqa: BLE001  # a bug here: without an outcome the caller would wait forever
            outcome = self._retrier.unexpected_error(error, "".join(traceback.format_exception(error)))
        self._outcomes.put((call, outcome))


def _cancel_requests() -> int:
    """The number of cancellations of the caller's task. In `asyncio.run`, Ctrl-C cancels the main task."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return 0
    return task.cancelling() if task else 0


class _EventLoop(asyncio.SelectorEventLoop):
    """An event loop that resolves host names in a daemon thread.

    asyncio joins its own executor when the loop and the process end. So a name server that does not answer would block
    the end of the loop and of the process.
    """

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        # A thread of anyio inherits `daemon` from the thread that starts it, here the daemon thread of the loop.
        resolve = functools.partial(socket.getaddrinfo, host, port, **options)
        return await anyio.to_thread.run_sync(resolve, abandon_on_cancel=True)

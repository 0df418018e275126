"""Calls under way, on an event loop in a thread of its own.

So it works from any thread, inside a running event loop and in a notebook. Nothing outlives a `Line`: its thread, loop
and connections are made for it and end with it, at once, whatever is under way; a process may fork before and after.
Calls are handed in and outcomes taken out in the caller's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import socket
import sys
import threading
import time
import traceback
from typing import Any, Self

import httpx

from semantic_entropy.plugin import errors, is_stopped
from semantic_entropy_plugins.endpoint.attempts import Attempts, Call, Outcome
from semantic_entropy_plugins.endpoint.ends import Failure, Fatal
from semantic_entropy_plugins.endpoint.replies import Reply

_LOOK = 0.5  # seconds between looks whether the thread lives and anyone waits; Ctrl-C needs such a pause on Windows
_GRACE = 30.0  # seconds that calls under way get after an error that ends it all: they may be paid for already


class Line:
    """At most `slots` calls at a time; `wait` gives their outcomes as they come. pid: the process that it lives in."""

    def __init__(
        self, attempts: Attempts, client: httpx.AsyncClient, slots: int, error: type[errors.SemanticEntropyError]
    ) -> None:
        self._attempts, self._client, self._slots, self._error = attempts, client, slots, error
        self.pid, self.pending = os.getpid(), 0
        self._fatal: Fatal | None = None
        self._deadline = 0.0
        self._outcomes: queue.SimpleQueue[tuple[Call, Outcome] | None] = queue.SimpleQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cancellations = _cancellations()
        self._loop = _Loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="semantic-entropy endpoint", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def free(self) -> int:
        """How many more calls it can start on now."""
        return 0 if self._fatal else self._slots - self.pending

    def submit(self, call: Call) -> None:
        """Start on a call."""
        self._check_alive()
        self.pending += 1
        self._loop.call_soon_threadsafe(self._begin, call)

    def wait(self) -> tuple[Call, Reply | Failure]:
        """The next call to end, and how.

        Raises:
            SemanticEntropyError: nothing more will come; first, what was under way has come or failed. Or nobody waits
                for it any more, and then at once.
        """
        while True:
            if self._fatal and (not self.pending or time.monotonic() > self._deadline):
                raise self._raised(self._fatal)
            if is_stopped():
                raise self._error("stopped: nobody waits for the rest")
            try:
                came = self._outcomes.get(timeout=_LOOK)
            except queue.Empty:
                self._check_alive()
                if _cancellations() > self._cancellations:
                    raise asyncio.CancelledError from None
                continue
            if came is None:
                raise self._error("closed while calls were under way")
            call, outcome = came
            self.pending -= 1
            if isinstance(outcome, Fatal):
                self._hurry(outcome)
            elif self._fatal is None or isinstance(outcome, Reply):
                return call, outcome

    def abort(self) -> None:
        """From any thread: whoever waits, or will, gets an error."""
        self._outcomes.put(None)

    def finish(self) -> None:
        """After the last call. Raises as `wait`."""
        if self._fatal:
            raise self._raised(self._fatal)

    def close(self) -> None:
        """Drop what is under way, close the connections and end the thread. May be called twice."""
        if sys.is_finalizing():
            return  # the process's end has stopped all threads: Python 3.14 refuses to wait for one
        with contextlib.suppress(RuntimeError):  # closed already
            self._loop.call_soon_threadsafe(self._end.set)
        if self._thread is not threading.current_thread():  # where the collector of garbage got here
            self._thread.join()

    def _check_alive(self) -> None:
        if not self._thread.is_alive():
            raise self._error(
                "the thread that talks to the server is gone: did this process fork while calls were under way? "
                "Start again in each process"
            )

    def _hurry(self, fatal: Fatal) -> None:
        """What is under way may still come; nothing is tried again."""
        if self._fatal is None:
            self._fatal, self._deadline = fatal, time.monotonic() + _GRACE
            self._loop.call_soon_threadsafe(self._attempts.hurry.set)

    def _raised(self, fatal: Fatal) -> errors.SemanticEntropyError:
        error = self._error(fatal.reason)
        if fatal.details:
            error.add_note(fatal.details)
        return error

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _serve(self) -> None:
        await self._end.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    def _begin(self, call: Call) -> None:
        task = self._loop.create_task(self._answer(call))
        self._tasks.add(task)  # the loop itself keeps no strong reference
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: Call) -> None:
        try:
            outcome = await self._attempts.answer(call)
        except Exception as error:  # noqa: BLE001  # an error of this code: reported, or the caller would wait forever
            outcome = self._attempts.unexpected(error, "".join(traceback.format_exception(error)))
        self._outcomes.put((call, outcome))


def _cancellations() -> int:
    """How often the task in which the caller runs, if any, was asked to end: what Ctrl-C does to it in asyncio.run."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs here
        return 0
    return task.cancelling() if task else 0


class _Loop(asyncio.SelectorEventLoop):
    """Looks names up in a daemon thread: a name server that is silent holds up neither Ctrl-C nor the process's end."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        found: asyncio.Future[Any] = self.create_future()

        def settle(method: Any, value: Any) -> None:
            if not found.done():
                method(value)

        def look_up() -> None:
            try:
                result: Any = found.set_result, socket.getaddrinfo(host, port, **options)
            except Exception as error:  # noqa: BLE001  # handed to whoever asked
                result = found.set_exception, error
            with contextlib.suppress(RuntimeError):  # nobody waits for it any more
                self.call_soon_threadsafe(settle, *result)

        threading.Thread(target=look_up, name="semantic-entropy getaddrinfo", daemon=True).start()
        return await found

"""A bounded queue before worker threads, for an event loop.

A thread takes the waiting jobs, up to `batch`, and runs them in one call, because the pipeline is built for many
groups at once. A large job runs alone: others would wait for its end. If a call for several jobs fails, each job runs
alone: an error reaches only the request that caused it.

If the queue is full, `submit` fails at once. If the awaiting task is cancelled (a client that hung up, a time limit),
a waiting job is removed; a running job alone in its call sees `is_cancelled()`. Python cannot end a running thread.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from semantic_entropy.progress import cancelled_by
from semantic_entropy.serve.problems import busy

ItemT = TypeVar("ItemT")
ValueT = TypeVar("ValueT")
_LONGEST_WAIT = 60  # seconds; the largest Retry-After
_SMOOTHING = 0.1  # weight of a new duration in the mean


@dataclass(eq=False, slots=True)
class _Job(Generic[ItemT, ValueT]):
    item: ItemT
    future: Future[ValueT] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)


class WorkQueue(Generic[ItemT, ValueT]):
    """Runs items in threads.

    Args:
        name: the name of the threads.
        run: computes the values of items, one for each, in order.
        threads: the number of threads.
        capacity: the most jobs that wait.
        batch: the most jobs in a call of `run`.
        weigh: returns the size of an item.
        most: the largest size of the jobs in a call of `run`, unless it is one job.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Sequence[ItemT]], Sequence[ValueT]],
        *,
        threads: int,
        capacity: int,
        batch: int = 1,
        weigh: Callable[[ItemT], int] = lambda _: 0,
        most: int = 0,
    ) -> None:
        self.name, self._run, self._capacity, self._batch = name, run, capacity, batch
        self._weigh, self._most = weigh, most
        self._waiting: deque[_Job[ItemT, ValueT]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._seconds = 0.0  # mean time of a job
        self.on_change: Callable[[int], object] = lambda _: None  # gets the number of waiting jobs
        self._threads = [
            threading.Thread(target=self._work, name=f"{name} {number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """The number of jobs that wait."""
        return len(self._waiting)

    async def submit(self, item: ItemT) -> ValueT:
        """Run an item, and return its value.

        Raises:
            ServiceProblem: the queue is full or closed (status 503).
            Exception: the error of `run`.
        """
        job: _Job[ItemT, ValueT] = _Job(item)
        with self._changed:
            if self._closed:
                raise busy("the service stops: send the request again", 1)
            if len(self._waiting) >= self._capacity:
                raise busy(
                    f"{len(self._waiting)} requests wait, which is the limit: send the request again later",
                    self._wait(),
                )
            self._waiting.append(job)
            self.on_change(len(self._waiting))
            self._changed.notify()
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.cancelled.set()
            with self._changed:
                if job in self._waiting:
                    self._waiting.remove(job)
                    self.on_change(len(self._waiting))
            raise

    def close(self, seconds: float = 5.0) -> None:
        """Take no further jobs, and wait for the running ones. Waiting jobs fail with status 503."""
        with self._changed:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
            self.on_change(0)
            self._changed.notify_all()
        for job in left:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(busy("the service stops: send the request again", 1))
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _wait(self) -> int:
        expected = len(self._waiting) * self._seconds / len(self._threads)
        return min(_LONGEST_WAIT, max(1, math.ceil(expected)))

    def _work(self) -> None:
        while jobs := self._take():
            started = time.monotonic()
            self._finish(jobs)
            each = (time.monotonic() - started) / len(jobs)
            self._seconds += _SMOOTHING * (each - self._seconds)

    def _take(self) -> list[_Job[ItemT, ValueT]]:
        """Wait for jobs, and return those that are not cancelled; none: the queue is closed."""
        with self._changed:
            while True:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return []
                taken = [self._waiting.popleft()]
                size = self._weigh(taken[0].item)
                while self._waiting and len(taken) < self._batch:
                    size += self._weigh(self._waiting[0].item)
                    if size > self._most:
                        break
                    taken.append(self._waiting.popleft())
                self.on_change(len(self._waiting))
                if jobs := [job for job in taken if job.future.set_running_or_notify_cancel()]:
                    return jobs

    def _finish(self, jobs: Sequence[_Job[ItemT, ValueT]]) -> None:
        try:
            if len(jobs) == 1:
                with cancelled_by(jobs[0].cancelled):
                    values = self._run([jobs[0].item])
            else:
                values = self._run([job.item for job in jobs])
            pairs = list(zip(jobs, values, strict=True))
        except Exception as error:  # noqa: BLE001  # the error belongs to the request, and not to the thread
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
            else:
                for job in jobs:
                    self._finish([job])
            return
        for job, value in pairs:
            job.future.set_result(value)

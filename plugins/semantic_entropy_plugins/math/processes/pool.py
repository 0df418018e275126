"""Worker processes of the math judge: persistent, and safe to kill in the middle of a task.

A worker is a plain process with two pipes. `multiprocessing` is not used: so nothing is pickled, `__main__` is not
imported again, and a worker can start from any thread, inside Ray, and in a forked trainer (a forked process gets its
own workers). A worker computes in a child process. Kernel timers end the child process when a task exceeds a limit. A
second, longer deadline in the host process ends the whole worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from semantic_entropy.plugin import errors
from semantic_entropy_plugins.math.processes.worker import OUT_OF_MEMORY, SLOW

_WORKER = Path(__file__).with_name("worker.py")
_CHUNK = 64  # tasks in a message: at this size the pipe costs microseconds per task
_SMALLEST_CHUNK = 16  # fewer tasks go to one worker, the last used: it has parsed most of these answers already
_STARTUP = 60.0  # seconds: importing sympy on a busy machine
_SLACK = 2.0  # seconds per task after the worker's own limit, before the host kills the worker

Texts = tuple[str, str]
NOT_TRIED = "-"


class LossBudget:
    """Seconds that may be used. Thread-safe.

    The less is left, the shorter is the next limit: a share of what is left. So a group of hostile answers costs no
    more than the budget, whatever its size, and a group with a few hostile answers keeps the whole limit.

    Args:
        most: the seconds of a full budget.
        share: the longest limit as a share of what is left.
        shortest: the shortest limit in seconds. If less is left, the remaining tasks are not tried.
    """

    def __init__(self, most: float, share: float = 1.0, shortest: float = 0.0) -> None:
        self._left, self._share, self._shortest = most, share, shortest
        self._lock = threading.Lock()

    def left(self) -> float:
        """Seconds."""
        return self._left

    def lose(self, seconds: float) -> None:
        """Take seconds from the budget, or all that is left."""
        with self._lock:
            self._left = max(0.0, self._left - seconds)

    def spend(self, seconds: float) -> bool:
        """Take seconds from the budget; False if the budget is too small. A negative amount is added to the budget."""
        with self._lock:
            if seconds > self._left:
                return False
            self._left -= seconds
            return True

    def limit(self, seconds: float) -> float:
        """The limit of the next task, at most `seconds`; 0: the task is not to be tried."""
        limit = min(seconds, self._left * self._share)
        return limit if limit >= self._shortest else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class GroupBudget:
    """The budgets of answers that are compared with each other.

    Attributes:
        slow: the seconds for all slow comparisons and for tasks that exceed a limit.
        losses: the seconds of the wall clock that may be lost on tasks that exceed `Limits.cpu`.
    """

    slow: LossBudget
    losses: LossBudget

    def charge(self, outcome: Outcome, *, cpu_limit: bool) -> None:
        """Take the cost of a task from the budgets. `cpu_limit`: whether the task had a limit of computing time."""
        self.slow.lose(outcome.lost or (outcome.seconds if outcome.seconds > SLOW else 0.0))
        if cpu_limit:
            self.losses.lose(outcome.lost)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one task.

    Attributes:
        wall: seconds of the wall clock.
        cpu: seconds of computing time, which do not depend on the machine's load, as long as the task's groups have
            lost little; None: no such limit.
    """

    cpu: float | None
    wall: float

    def cpu_of(self, groups: Sequence[GroupBudget]) -> float | None:
        """The limit of computing time of a task of these groups; 0: the task is not to be tried."""
        if self.cpu is None or not groups:
            return self.cpu
        return max(group.losses.limit(self.cpu) for group in groups)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one task.

    Attributes:
        same: the verdict; None: undecided.
        reason: the reason for an undecided pair.
        stage: "L" or "R" if the task exceeded a limit while the left or right answer was parsed or evaluated; "V" if
            the task exceeded a limit during the comparison; `NOT_TRIED`; "" if the task exceeded no limit.
        lost: seconds until the task exceeded its limit; 0 if it exceeded none.
        seconds: seconds of computing time, of a task that exceeded no limit.
    """

    same: bool | None
    reason: str | None = None
    stage: str = ""
    lost: float = 0.0
    seconds: float = 0.0


_TOO_LONG = Outcome(None, "not tried: the answers of this group take too long to compare", NOT_TRIED)
_NOT_TRIED = Outcome(None, "not tried: too many other answers of this group exceeded their limit of time", NOT_TRIED)


class MathPool:
    """A pool of up to `workers` worker processes. Any thread may call `run`.

    Args:
        workers: the number of processes.
        memory_mb: the memory limit of each process in megabytes, in addition to the memory of the imports.
        policy: "both", "either" or "forward", see `Math`.
    """

    def __init__(self, workers: int, memory_mb: int, policy: str) -> None:
        self.workers, self.memory_mb, self.policy = workers, memory_mb, policy
        self._reset()

    def run(self, tasks: Sequence[Texts], limits: Limits, groups: Sequence[Sequence[GroupBudget]]) -> list[Outcome]:
        """Compare pairs of texts: one outcome per task, in order.

        A text that exceeds a limit while the worker parses it is not sent again in this run. `groups` has the budgets
        of the groups of each task. A task is tried if one of its groups has seconds left, and it is charged to each.
        """
        if self._pid != os.getpid():
            self._reset()  # in a forked process: the existing workers belong to the parent
        chunk = min(_CHUNK, max(_SMALLEST_CHUNK, -(-len(tasks) // self.workers)))
        chunks = [(tasks[i : i + chunk], groups[i : i + chunk]) for i in range(0, len(tasks), chunk)]
        call = _Call()
        if len(chunks) == 1:
            return self._run_chunk(*chunks[0], limits, call)
        threads = ThreadPoolExecutor(min(len(chunks), self.workers))
        try:
            parts = [threads.submit(self._run_chunk, *part, limits, call) for part in chunks]
            return [outcome for part in parts for outcome in part.result()]
        except BaseException:  # such as Ctrl-C: the other results are no longer needed
            call.stop.set()
            threads.shutdown(wait=False, cancel_futures=True)
            for worker in tuple(call.workers):
                worker.end()
            raise
        finally:
            threads.shutdown(wait=not call.stop.is_set())

    def close(self) -> None:
        """End the idle workers; the next `run` starts new ones."""
        if self._pid != os.getpid():
            return  # in a forked process: the workers belong to the parent
        with self._changed:
            idle = [worker for worker in self._idle if worker]
            self._idle[:] = [None] * len(self._idle)
        for worker in idle:
            worker.kill()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._idle: list[_Worker | None] = [None] * self.workers  # None: a new worker starts when this slot is taken
        self._queue: deque[object] = deque()

    def _run_chunk(
        self, tasks: Sequence[Texts], groups: Sequence[Sequence[GroupBudget]], limits: Limits, call: _Call
    ) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        while True:
            cpu = {i: limits.cpu_of(groups[i]) for i in range(len(tasks)) if i not in outcomes}
            outcomes |= {i: _NOT_TRIED for i, seconds in cpu.items() if seconds == 0}
            remaining = [i for i in cpu if i not in outcomes]
            if not remaining:
                return [outcomes[i] for i in range(len(tasks))]
            if call.stop.is_set():
                return [outcomes.get(i, Outcome(None, "interrupted")) for i in range(len(tasks))]
            worker = self._take()
            call.workers.add(worker)
            try:
                found = worker.run([_Task(*tasks[i], cpu[i], groups[i]) for i in remaining], limits.wall)
            except BaseException:
                worker.kill()  # the unread part of the interrupted reply would remain in the worker's pipe
                raise
            finally:
                call.workers.discard(worker)
                self._give_back(worker)
            outcomes.update(zip(remaining, found, strict=False))  # `found` ends with a task that exceeded a limit
            for i, outcome in zip(remaining, found, strict=False):
                for group in groups[i]:
                    group.charge(outcome, cpu_limit=limits.cpu is not None)
            if found[-1].stage in ("L", "R") and limits.cpu:
                text = tasks[remaining[len(found) - 1]]["LR".index(found[-1].stage)]
                for i in remaining[len(found) :]:
                    if text in tasks[i]:
                        outcomes[i] = Outcome(None, found[-1].reason, "LR"[tasks[i].index(text)])

    def _take(self) -> _Worker:
        """Return the idle worker that was used last; wait for a worker if none is idle, in the order of the calls.

        The worker that was used last has probably parsed most of the next answers already.
        """
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._idle and self._queue[0] is ticket)
                worker = self._idle.pop()
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        if worker and worker.alive:
            return worker
        try:
            worker = _Worker(self.memory_mb, self.policy)
        except BaseException:
            self._give_back(None)  # keep the slot
            raise
        return worker

    def _give_back(self, worker: _Worker | None) -> None:
        with self._changed:
            self._idle.append(worker if worker and worker.alive else None)
            self._changed.notify_all()


class _Task(NamedTuple):
    """A pair of texts for a worker. `cpu`: its limit of computing time; None: no such limit."""

    left: str
    right: str
    cpu: float | None
    groups: Sequence[GroupBudget]


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of `run`: its busy workers, and whether it was interrupted."""

    workers: set[_Worker] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)


class _Worker:
    """The host's handle of a worker process and its child."""

    def __init__(self, memory_mb: int, policy: str) -> None:
        self.memory_mb = memory_mb
        self.ready = False
        self.process = subprocess.Popen(
            # -P: no imports from the folder of the script
            [sys.executable, "-P", str(_WORKER), str(memory_mb), policy],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C reaches only the host; and the process group can be killed at once
        )
        _WORKERS.add(self)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def run(self, tasks: Sequence[_Task], wall: float) -> list[Outcome]:
        """The outcomes of the tasks in order. If a task exceeds a limit, its outcome is the last outcome."""
        deadline = _STARTUP * (not self.ready) + len(tasks) * (wall + _SLACK)
        watchdog = threading.Timer(deadline, self.end)
        watchdog.daemon = True
        watchdog.start()
        try:
            return self._exchange(tasks, wall)
        finally:
            watchdog.cancel()

    def _exchange(self, tasks: Sequence[_Task], wall: float) -> list[Outcome]:
        pipe = self.process.stdout
        assert pipe is not None
        if not self.ready and b"ready\n" not in pipe:  # reads the lines of the warm-up, up to this line
            self.kill()
            raise RuntimeError(
                "a math worker did not start: run `python -c 'import math_verify'` to see why "
                f"({errors.install_command('math-verify[antlr4_13_2]')})"
            )
        self.ready = True
        outcomes: list[Outcome] = []
        stage, died, began = "V", None, time.monotonic()
        groups = list(dict.fromkeys(group for task in tasks for group in task.groups))
        number = {group: index for index, group in enumerate(groups)}
        numbered = [(*task[:3], [number[group] for group in task.groups]) for task in tasks]
        if self._send({"wall": wall, "tasks": numbered, "left": [group.slow.left() for group in groups]}):
            for line in pipe:
                if line[:1] == b"=":
                    outcomes.append(_read_outcome(line[1:]))
                    began = time.monotonic()
                    if len(outcomes) == len(tasks):
                        return outcomes
                elif line[:1] == b"!":
                    died = int(line[1:])
                    break
                else:
                    stage = line[:1].decode().upper()
        if died is None:
            self.kill()  # the pipe is closed: the worker process itself has ended
        outcomes.append(
            Outcome(None, self._cause(died, tasks[len(outcomes)].cpu, wall), stage, time.monotonic() - began)
        )
        return outcomes

    def _cause(self, died: int | None, cpu: float | None, wall: float) -> str:
        if died == OUT_OF_MEMORY:
            return f"needs more than {self.memory_mb} MB"
        if died == -getattr(signal, "SIGPROF", 0):
            return f"no verdict within {cpu:g} s of computing time"
        if died in (None, -getattr(signal, "SIGALRM", 0)):
            return f"no verdict within {wall:g} s"
        return f"the worker died (exit status {died})"

    def _send(self, message: dict[str, Any]) -> bool:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def disown(self) -> None:
        """In a forked process: the worker belongs to the parent process, so do not wait for the worker.

        The pipes are replaced by the null device. If they stayed open here, the worker would not notice the end of the
        parent process.
        """
        self.process.returncode = 0
        null = os.open(os.devnull, os.O_RDWR)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe and not pipe.closed:
                os.dup2(null, pipe.fileno(), inheritable=False)
        os.close(null)

    def end(self) -> None:
        """Kill the process and its child. The thread that reads the pipe then calls `kill`."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()

    def kill(self) -> None:
        """Kill the process and its child, wait for the process, and close the pipes."""
        self.end()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _read_outcome(reply: bytes) -> Outcome:
    verdict = json.loads(reply)
    return Outcome(verdict[0], verdict[1], seconds=verdict[2]) if verdict else _TOO_LONG


_WORKERS: weakref.WeakSet[_Worker] = weakref.WeakSet()


def _disown_all() -> None:
    for worker in tuple(_WORKERS):
        worker.disown()
    _WORKERS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)

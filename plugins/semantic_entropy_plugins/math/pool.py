"""Persistent worker processes for the math judge, which a task may kill.

A worker is a plain process with two pipes (no multiprocessing: nothing is pickled, `__main__` is not imported again,
and it starts from any thread, inside Ray, or in a forked trainer, which gets workers of its own). Kernel timers end the
child in which it works when a task runs over; the host's own, wider deadline is the second line.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semantic_entropy_plugins.math.worker import OUT_OF_MEMORY

_WORKER = Path(__file__).with_name("worker.py")
_CHUNK = 64  # tasks a message: the pipe costs microseconds a task at this size
_FEW = 16  # tasks go to one worker, the one used last: it has parsed most of these answers already
_STARTUP = 60.0  # seconds: importing sympy on a loaded machine
_SLACK = 2.0  # seconds a task beyond the worker's own limit before the parent kills it

Texts = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one task, in seconds. cpu: of computing, whatever else the machine does; None: wall clock alone."""

    cpu: float | None
    wall: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one task. `stage` says where it ran over a limit: in parsing or valuing L or R, or in the comparison, V."""

    same: bool | None
    reason: str | None = None
    stage: str = ""


class MathPool:
    """Up to `workers` processes; `run` may be called from any thread. memory_mb: on top of what sympy takes."""

    def __init__(self, workers: int, memory_mb: int, policy: str) -> None:
        self.workers, self.memory_mb, self.policy = workers, memory_mb, policy
        self._reset()

    def run(self, tasks: Sequence[Texts], limits: Limits) -> list[Outcome]:
        """One outcome a task, in order. A text that runs over by itself is not sent again in this run."""
        if self._pid != os.getpid():
            self._reset()  # forked: the parent's workers answer the parent
        chunk = min(_CHUNK, max(_FEW, -(-len(tasks) // self.workers)))
        chunks = [tasks[i : i + chunk] for i in range(0, len(tasks), chunk)]
        call = _Call()
        if len(chunks) == 1:
            return self._run_chunk(chunks[0], limits, call)
        threads = ThreadPoolExecutor(min(len(chunks), self.workers))
        try:
            parts = [threads.submit(self._run_chunk, part, limits, call) for part in chunks]
            return [outcome for part in parts for outcome in part.result()]
        except BaseException:  # Ctrl-C, say: nobody waits for answers that nobody wants
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
            return  # forked: they are the parent's
        with self._changed:
            idle = [worker for worker in self._idle if worker]
            self._idle[:] = [None] * len(self._idle)
        for worker in idle:
            worker.kill()

    def _reset(self) -> None:
        for worker in getattr(self, "_all", ()):
            worker.disown()
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._idle: list[_Worker | None] = [None] * self.workers  # a place without a worker gets one when it is taken
        self._waiting: deque[object] = deque()
        self._all: weakref.WeakSet[_Worker] = weakref.WeakSet()

    def _run_chunk(self, tasks: Sequence[Texts], limits: Limits, call: _Call) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        while left := [i for i in range(len(tasks)) if i not in outcomes]:
            if call.stop.is_set():
                return [outcomes.get(i, Outcome(None, "interrupted")) for i in range(len(tasks))]
            worker = self._take()
            call.workers.add(worker)
            try:
                found = worker.run([tasks[i] for i in left], limits)
            except BaseException:
                worker.kill()  # interrupted in mid-answer: what is still in its pipe belongs to nobody
                raise
            finally:
                call.workers.discard(worker)
                self._give_back(worker)
            outcomes.update(zip(left, found, strict=False))  # it stops at a task that ran over
            if found[-1].stage in ("L", "R") and limits.cpu:
                guilty = tasks[left[len(found) - 1]]["LR".index(found[-1].stage)]
                outcomes |= {i: _convict(found[-1], guilty, tasks[i]) for i in left[len(found) :] if guilty in tasks[i]}
        return [outcomes[i] for i in range(len(tasks))]

    def _take(self) -> _Worker:
        """A worker, first come first served: the one used last, which has parsed most of what comes next."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._idle and self._waiting[0] is ticket)
                worker = self._idle.pop()
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        if worker and worker.alive:
            return worker
        try:
            worker = _Worker(self.memory_mb, self.policy)
        except BaseException:
            self._give_back(None)  # the place stays usable
            raise
        self._all.add(worker)
        return worker

    def _give_back(self, worker: _Worker | None) -> None:
        with self._changed:
            self._idle.append(worker if worker and worker.alive else None)
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Call:
    """One `run`: the workers on it now, and whether it has been given up."""

    workers: set[_Worker] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)


def _convict(outcome: Outcome, guilty: str, task: Texts) -> Outcome:
    return Outcome(None, outcome.reason, "LR"[task.index(guilty)])


class _Worker:
    """One process, and the child in which it works."""

    def __init__(self, memory_mb: int, policy: str) -> None:
        self.memory_mb = memory_mb
        self.ready = False
        self.process = subprocess.Popen(
            # -P: the folder of the script is not a place to import from
            [sys.executable, "-P", str(_WORKER), str(memory_mb), policy],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C is the parent's to handle; and a group to kill at once
        )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def run(self, tasks: Sequence[Texts], limits: Limits) -> list[Outcome]:
        """Outcomes of the first tasks, at least one; fewer than all where one ran over a limit."""
        deadline = _STARTUP * (not self.ready) + len(tasks) * (limits.wall + _SLACK)
        watchdog = threading.Timer(deadline, self.end)
        watchdog.daemon = True
        watchdog.start()
        try:
            return self._converse(tasks, limits)
        finally:
            watchdog.cancel()

    def _converse(self, tasks: Sequence[Texts], limits: Limits) -> list[Outcome]:
        pipe = self.process.stdout
        assert pipe is not None
        if not self.ready and b"ready\n" not in pipe:  # reads up to it, past what the warm-up says
            self.kill()
            raise RuntimeError(
                "a math worker did not start: run `python -c 'import math_verify'` to see why "
                "(pip install 'math-verify[antlr4_13_2]')"
            )
        self.ready = True
        outcomes: list[Outcome] = []
        stage, died = "V", None
        if self._send({"cpu": limits.cpu, "wall": limits.wall, "tasks": tasks}):
            for line in pipe:
                if line[:1] == b"=":
                    outcomes.append(Outcome(*json.loads(line[1:])))
                    if len(outcomes) == len(tasks):
                        return outcomes
                elif line[:1] == b"!":
                    died = int(line[1:])
                    break
                else:
                    stage = line[:1].decode().upper()
        if died is None:
            self.kill()  # the pipe closed: the process itself is gone
        outcomes.append(Outcome(None, self._cause(died, limits), stage))
        return outcomes

    def _cause(self, died: int | None, limits: Limits) -> str:
        if died == OUT_OF_MEMORY:
            return f"needs more than {self.memory_mb} MB"
        if died == -getattr(signal, "SIGPROF", 0):
            return f"no verdict within {limits.cpu:g} s of computing"
        if died in (None, -getattr(signal, "SIGALRM", 0)):
            return f"no verdict within {limits.wall:g} s"
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
        """In a forked process: it is the parent's, and not ours to wait for."""
        self.process.returncode = 0

    def end(self) -> None:
        """Kill it and its child, and leave it to whoever holds it."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()

    def kill(self) -> None:
        """End it and its child, and close the pipes."""
        self.end()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

"""Persistent worker processes for the math judge, killed and replaced when a task runs over.

A worker is a plain child process with two pipes (no multiprocessing: nothing is pickled, `__main__` is not imported
again, and it starts from any thread, inside Ray, or in a forked trainer, which gets workers of its own). It ends itself
by a kernel timer when a task runs over; the parent's own, wider deadline is the second line.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

_WORKER = Path(__file__).with_name("math_worker.py")
_CHUNK = 64  # tasks a message: the pipe costs microseconds a task at this size
_FEW = 16  # tasks go to one worker, the one used last: it has parsed most of these answers already
_STARTUP = 60.0  # seconds: importing sympy on a loaded machine
_SLACK = 2.0  # seconds a task beyond the worker's own limit before the parent kills it

Texts = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one task. `stage` says where a worker died: L or R (parsing that side), V (verifying)."""

    same: bool | None
    reason: str | None = None
    stage: str = ""


class MathPool:
    """Up to `workers` processes; `run` may be called from any thread.

    timeout: seconds of wall clock a task, counted by the worker. memory_mb: on top of what sympy takes.
    """

    def __init__(self, workers: int, timeout: float, memory_mb: int, policy: str) -> None:
        self.workers, self.timeout, self.memory_mb, self.policy = workers, timeout, memory_mb, policy
        self._reset()

    def run(self, tasks: Sequence[Texts]) -> list[Outcome]:
        """One outcome a task, in order."""
        if self._pid != os.getpid():
            self._reset()  # forked: the parent's workers answer the parent
        chunk = min(_CHUNK, max(_FEW, -(-len(tasks) // self.workers)))
        chunks = [tasks[i : i + chunk] for i in range(0, len(tasks), chunk)]
        if len(chunks) == 1:
            return self._run_chunk(chunks[0])
        with ThreadPoolExecutor(min(len(chunks), self.workers)) as threads:
            return [outcome for outcomes in threads.map(self._run_chunk, chunks) for outcome in outcomes]

    def close(self) -> None:
        """End the workers; the next `run` starts new ones."""
        if self._pid != os.getpid():
            return  # forked: they are the parent's
        while True:
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                return
            if worker:
                worker.kill()
            self._spare.release()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._spare = threading.Semaphore(self.workers)

    def _run_chunk(self, tasks: Sequence[Texts]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while len(outcomes) < len(tasks):
            worker = self._take()
            try:
                outcomes += worker.run(tasks[len(outcomes) :])
            except BaseException:
                worker.kill()  # interrupted in mid-answer: what is still in its pipe belongs to nobody
                raise
            finally:
                self._give_back(worker)
        return outcomes

    def _take(self) -> _Worker:
        try:
            worker = self._idle.get_nowait()
        except queue.Empty:
            if self._spare.acquire(blocking=False):
                return self._start()
            worker = self._idle.get()
        return worker if worker and worker.alive else self._start()

    def _start(self) -> _Worker:
        try:
            return _Worker(self.timeout, self.memory_mb, self.policy)
        except BaseException:
            self._idle.put(None)  # the place stays usable
            raise

    def _give_back(self, worker: _Worker) -> None:
        self._idle.put(worker if worker.alive else None)


class _Worker:
    """One child process."""

    def __init__(self, timeout: float, memory_mb: int, policy: str) -> None:
        self.timeout = timeout
        self.ready = self._late = False
        self.process = subprocess.Popen(
            # -P: this folder is not a place to import from, it holds a module named `math`
            [sys.executable, "-P", str(_WORKER), str(timeout), str(memory_mb), policy],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def run(self, tasks: Sequence[Texts]) -> list[Outcome]:
        """Outcomes of the first tasks, at least one; fewer than all where the worker died."""
        limit = _STARTUP * (not self.ready) + len(tasks) * (self.timeout + _SLACK)
        watchdog = threading.Timer(limit, self._overdue)
        watchdog.daemon = True
        watchdog.start()
        try:
            return self._converse(tasks)
        finally:
            watchdog.cancel()

    def _converse(self, tasks: Sequence[Texts]) -> list[Outcome]:
        pipe = self.process.stdout
        assert pipe is not None
        if not self.ready and not (self._send(None) and pipe.readline() == b"ready\n"):
            self.kill()
            raise RuntimeError(
                "a math worker did not start: run `python -c 'import math_verify'` to see why "
                "(pip install 'math-verify[antlr4_13_2]')"
            )
        self.ready = True
        outcomes: list[Outcome] = []
        stage = ""  # of the task under way
        if self._send(tasks):
            for line in pipe:
                if line[:1] != b"=":
                    stage = line[:1].decode()
                    continue
                outcomes.append(Outcome(*json.loads(line[1:])))
                stage = ""
                if len(outcomes) == len(tasks):
                    return outcomes
        self.kill()
        if stage or not outcomes:
            outcomes.append(Outcome(None, self._cause_of_death(), stage))
        return outcomes

    def _cause_of_death(self) -> str:
        over = signal.SIGKILL if self._late else getattr(signal, "SIGALRM", None)
        if over is not None and self.process.returncode == -over:
            return f"no verdict within {self.timeout:g} s"
        return f"the worker died (exit status {self.process.returncode})"

    def _send(self, tasks: Sequence[Texts] | None) -> bool:
        assert self.process.stdin is not None
        try:
            if tasks is not None:
                self.process.stdin.write(json.dumps(tasks).encode() + b"\n")
                self.process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def _overdue(self) -> None:
        self._late = True
        self.process.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

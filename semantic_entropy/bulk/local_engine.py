"""The engine `local`: worker processes on this machine, one shard at a time in each.

A worker is a new process (spawn, not fork: a fork copies the locks and threads of a loaded model), which opens the
scorer once. A worker that dies is noticed at once, and another one retries its shard. A shard whose workers die three
times ends the run with an error that names the shard: a row that exhausts the memory would do so again.

A worker ends when the process that started it ends, also after kill -9. With one worker, no process is started.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from semantic_entropy.bulk.shard_scoring import ShardRecord, ShardTask, score_shard
from semantic_entropy.errors import SemanticEntropyError
from semantic_entropy.scorer import Scorer

OpenScorer = Callable[[], AbstractContextManager[Scorer]]
"""Opens the scorer of a worker. It can be pickled."""
ATTEMPTS = 3
"""A shard is tried this often before the run fails."""
_NO_MODEL = frozenset(("math",))  # judges that are not cheap, and load no model


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers(scorer: Scorer) -> int:
    """Return the usable cores; 1 if each worker would load a model."""
    return 1 if loads_model(scorer) else usable_cores()


def loads_model(scorer: Scorer) -> bool:
    """Whether a judge of this scorer may load a model, or ask one, or a sampler does."""
    judges = [*scorer.components["equivalence"]]
    if scorer.similarity and scorer.similarity.judge:
        judges.append(scorer.similarity.judge)
    if scorer.long_answers and scorer.long_answers.chosen:
        judges.append(scorer.long_answers.chosen)
    if scorer.sampler or getattr(scorer.long_answers, "claims", None):
        return True
    return any(not getattr(each, "cheap", False) and each.name not in _NO_MODEL for each in judges)


def score_alone(
    scorer: Scorer, tasks: Iterable[ShardTask], on_rows: Callable[[int], object]
) -> Generator[ShardRecord, None, None]:
    """Yield the records of shards that this process scores. `on_rows` is called with newly finished rows."""
    for task in tasks:
        yield score_shard(scorer, task, on_rows)


def score_in_processes(
    open_scorer: OpenScorer, tasks: Iterable[ShardTask], workers: int
) -> Generator[ShardRecord, None, None]:
    """Yield the records of shards that worker processes score, in the order in which they are finished.

    Raises:
        SemanticEntropyError: the error of a worker; or the workers of a shard died `ATTEMPTS` times.
    """
    pool = _Pool(open_scorer, tasks)
    try:
        for _ in range(workers):
            pool.start()
        while pool.workers:
            yield from pool.wait()
    finally:
        pool.end()


class _Worker:
    """A worker process, the pipe to it, and its shard."""

    def __init__(self, open_scorer: OpenScorer) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, other = spawn.Pipe()
        self.process: SpawnProcess = spawn.Process(target=_work, args=(other, open_scorer), daemon=True)
        self.process.start()
        other.close()
        self.task: ShardTask | None = None


class _Pool:
    """The workers of a run, and the shards that wait."""

    def __init__(self, open_scorer: OpenScorer, tasks: Iterable[ShardTask]) -> None:
        self.workers: list[_Worker] = []
        self._open_scorer, self._tasks = open_scorer, iter(tasks)
        self._retries: deque[ShardTask] = deque()
        self._deaths: dict[str, int] = {}  # by the name of the shard

    def start(self) -> None:
        """Start a worker, if a shard waits."""
        worker = _Worker(self._open_scorer)
        self.workers.append(worker)
        self._give(worker)

    def wait(self) -> Iterator[ShardRecord]:
        """Wait until a worker has an outcome or has died. Yield the records of finished shards."""
        by_handle: dict[Any, _Worker] = {worker.pipe: worker for worker in self.workers}
        for handle in multiprocessing.connection.wait(list(by_handle)):
            worker = by_handle[handle]
            try:
                outcome = worker.pipe.recv()
            except (EOFError, OSError):  # the process has ended: the system closed its pipe
                self._replace(worker)
                continue
            if isinstance(outcome, BaseException):
                raise outcome
            self._give(worker)
            yield outcome

    def end(self) -> None:
        """End all workers. The shards that they were scoring are not finished."""
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self.workers = []

    def _give(self, worker: _Worker) -> None:
        """Give a worker the next shard; end it if there is none."""
        worker.task = self._retries.popleft() if self._retries else next(self._tasks, None)
        with suppress(OSError):  # it has died: `wait` will see it
            worker.pipe.send(worker.task)
        if worker.task is None:
            self.workers.remove(worker)
            worker.process.join()
            worker.pipe.close()

    def _replace(self, worker: _Worker) -> None:
        """Start another worker for the shard of a dead one."""
        self.workers.remove(worker)
        worker.process.join()
        worker.pipe.close()
        assert worker.task is not None
        deaths = self._deaths[worker.task.name] = self._deaths.get(worker.task.name, 0) + 1
        if deaths >= ATTEMPTS:
            raise SemanticEntropyError(
                f"shard {worker.task.name} ({worker.task.section}): {deaths} workers died while they scored it; the "
                f"last one {_how(worker.process.exitcode)}. Finished shards stay: run the command again to continue"
            )
        self._retries.append(worker.task)
        self.start()


def _how(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"ended with exit status {exit_code}"
    name = signal.Signals(-exit_code).name
    memory = " (the system may have run out of memory: use fewer --workers)" if name == "SIGKILL" else ""
    return f"was ended by {name}{memory}"


def _work(pipe: Connection[Any, Any], open_scorer: OpenScorer) -> None:
    """Score the shards that come through the pipe, until None comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the main one ends this
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with open_scorer() as scorer:
            while (task := pipe.recv()) is not None:
                pipe.send(score_shard(scorer, task))
    except (SemanticEntropyError, KeyboardInterrupt) as error:
        pipe.send(error)


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, so that a new run finds no other run at work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

"""The engine `ray`: Ray Data scores the shards in a pool of actors, on this machine or on a cluster.

    shards -> map_batches(ShardScorer, a pool of actors) -> records

An actor opens the scorer once: it holds the model of the judge, and gets its share of the GPUs. What passes through Ray
is the name and the range of a shard, and its record; an actor reads the rows and publishes the results itself. If an
actor dies, Ray starts another one and retries its shard; a shard whose actors die `ATTEMPTS` times ends the run.

The environment variable RAY_ADDRESS names a running cluster; without it, Ray starts on this machine. On a cluster, each
machine needs this package, and the input and the output must be a bucket or a disk that all machines share.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import uuid
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from semantic_entropy.bulk.local_engine import ATTEMPTS, OpenScorer
from semantic_entropy.bulk.shard_scoring import ShardRecord, ShardTask, score_shard
from semantic_entropy.bulk.storage import open_storage
from semantic_entropy.errors import InputError, MissingDependencyError, SemanticEntropyError, install_command
from semantic_entropy.io.readers.parquet_folder import RECORDS

_NAMED = re.compile(r"[\w.]*(Error|Exception): ")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class RayOptions:
    """What the engine `ray` gets.

    Attributes:
        actors: the number of actors; None: one for each CPU of the cluster, or one for each share of a GPU.
        gpus_per_actor: GPUs for an actor; 0.5: two actors share one.
    """

    actors: int | None = None
    gpus_per_actor: float = 0.0


class ShardScorer:
    """The actor: scores one shard at a time."""

    def __init__(self, open_scorer: OpenScorer, run: str) -> None:
        self._run = run
        self._opened = open_scorer()
        self._scorer = self._opened.__enter__()

    def __del__(self) -> None:
        """Close the judges and the cache. Ray Data drops this object when the actor ends."""
        if hasattr(self, "_scorer"):
            self._opened.__exit__(None, None, None)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the pickled record, or the pickled error, of each shard in the batch."""
        outcomes = []
        for task in batch["task"]:
            try:
                outcome: Any = self._score(pickle.loads(task))  # noqa: S301  # `score_with_ray` wrote it
            except SemanticEntropyError as error:
                outcome = error
            outcomes.append(pickle.dumps(outcome))
        return {"outcome": outcomes}

    def _score(self, task: ShardTask) -> ShardRecord:
        """Score a shard, unless its actors have died too often. Ray would retry it without end."""
        storage, note = open_storage(task.output), f"{RECORDS}/{task.name}.attempts"
        run, _, count = (storage.read(note) or b"").decode().partition(" ")
        attempts = int(count or 0) if run == self._run else 0
        if attempts >= ATTEMPTS:
            raise SemanticEntropyError(
                f"shard {task.name} ({task.section}): {attempts} actors died while they scored it; the system may have "
                "run out of memory. Finished shards stay: run the command again to continue"
            )
        storage.write(note, f"{self._run} {attempts + 1}".encode())
        record = score_shard(self._scorer, task)
        storage.remove(note)
        return record


def score_with_ray(
    open_scorer: OpenScorer, tasks: Sequence[ShardTask], options: RayOptions
) -> Generator[ShardRecord, None, None]:
    """Yield the records of shards, in the order in which they are finished.

    Raises:
        MissingDependencyError: Ray is not installed.
        InputError: the cluster does not have the GPUs that an actor asks for.
        SemanticEntropyError: the error of a shard; or its actors died `ATTEMPTS` times.
    """
    if not tasks:
        return
    ray = connect()
    actors = options.actors or _most_actors(ray, options.gpus_per_actor)
    shards = ray.data.from_items(
        [{"task": pickle.dumps(task)} for task in tasks], override_num_blocks=min(len(tasks), 10_000)
    )
    scored = shards.map_batches(
        ShardScorer,
        fn_constructor_args=(open_scorer, uuid.uuid4().hex),
        batch_size=1,  # one shard
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(tasks)), max_tasks_in_flight_per_actor=1),
        num_cpus=1,
        num_gpus=options.gpus_per_actor,
    )
    try:
        for row in scored.iter_rows():
            outcome = pickle.loads(row["outcome"])  # noqa: S301  # an actor of this run wrote it
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome
    except ray.exceptions.RayError as error:
        raise SemanticEntropyError(
            f"Ray ended the run: {reason_of(error)}. Finished shards stay: run the same command again to continue"
        ) from error


def check_ray() -> None:
    """Raise a MissingDependencyError if Ray Data is not installed."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        command = install_command("semantic-entropy[ray]")
        raise MissingDependencyError(f"--engine ray needs Ray Data: {command}") from error


def connect() -> Any:
    """Return the module `ray`, connected to the cluster of RAY_ADDRESS, or started on this machine."""
    check_ray()
    import ray
    import ray.data
    import ray.exceptions

    if not ray.is_initialized():
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its logs stay in the files of its session
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the command prints the error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # the command has its own
    return ray


def _most_actors(ray: Any, gpus: float) -> int:
    resources = ray.cluster_resources()
    if not gpus:
        return max(1, int(resources.get("CPU", 1)))
    if (most := int(resources.get("GPU", 0) / gpus)) < 1:
        raise InputError(
            f"--gpus-per-actor {gpus:g}: the cluster has {resources.get('GPU', 0):g} GPUs. Start Ray on machines with "
            "GPUs (RAY_ADDRESS), or leave the option out"
        )
    return most


def reason_of(error: BaseException) -> str:
    """Return what went wrong: the last line `SomeError: ...` in the tracebacks of several processes, else the first."""
    lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()]
    named = [line for line in lines if _NAMED.match(line) and not line.startswith("ray.exceptions.")]
    return named[-1] if named else lines[0] if lines else type(error).__name__

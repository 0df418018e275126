"""Decide about a batch in several processes. If one process fails, all processes fail with the message of this process.

If each process has whole groups, each process decides about its own groups. If groups are split between processes, or
if the decision depends on the whole batch, all rows are sent to process 0. Process 0 decides about the global batch,
and each process uses the part of the decision about its own rows. In both cases the metrics of the decision are those
of the global batch: TRL averages the metrics of the processes, which changes nothing if all are equal.

If the failure of one process were not sent to all processes, the other processes would wait without end in the
trainer's next collective call. A failure at another point (in generation, for example) ends only the failed process;
the launcher (torchrun, accelerate) then ends the other processes.

The judge decides inside `whole_models`: a judge that loads its model at the first pair, or that generates text, is not
sharded with the trained model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from empo_rl.core.decision import BatchDecision
from empo_rl.core.metrics import BatchNumbers
from empo_rl.trainers.trl.rollouts import Columns, join_columns
from empo_rl.trainers.trl.sharding import whole_models
from semantic_entropy import BatchResult, SemanticEntropyError

_Value = TypeVar("_Value")


def decide(
    make_columns: Callable[[], Columns], decide_batch: Callable[[Columns], BatchDecision], *, globally: bool
) -> tuple[BatchDecision, slice]:
    """Return a decision, and the slice of its rows that belong to this process.

    With several processes the decision has no `results`: no trainer reads these, and they are large.

    Args:
        make_columns: returns the rows of this process. Its failure is sent to all processes too.
        decide_batch: decides about rows that form whole groups.
        globally: whether the global batch needs one decision.

    Raises:
        SemanticEntropyError: another process failed. The message contains the number of the failed process and its
            message.
        Exception: this process failed. The original exception is raised.
    """
    if PartialState().num_processes == 1:
        columns = make_columns()
        with whole_models():
            return decide_batch(columns), slice(None)

    def decide_without_results(columns: Columns) -> BatchDecision:
        with whole_models():
            return replace(decide_batch(columns), results=BatchResult(()))

    if globally:
        return _decide_globally(make_columns, decide_without_results)
    decision, error = attempt(lambda: decide_without_results(make_columns()))
    fail_everywhere(error)
    assert decision is not None, "no process failed"
    numbers = BatchNumbers.join(gather_object([decision.numbers]))
    return replace(decision, metrics=numbers.metrics()), slice(None)


def _decide_globally(
    make_columns: Callable[[], Columns], decide_batch: Callable[[Columns], BatchDecision]
) -> tuple[BatchDecision, slice]:
    state = PartialState()
    columns, error = attempt(make_columns)
    fail_everywhere(error)
    parts: list[Columns] = gather_object([columns])
    decision = None
    if state.is_main_process:
        decision, error = attempt(lambda: decide_batch(join_columns(parts)))
    fail_everywhere(error)
    decision = broadcast_object_list([decision])[0]
    ends = [0, *itertools.accumulate(len(part["completions"]) for part in parts)]
    return decision, slice(ends[state.process_index], ends[state.process_index + 1])


def attempt(make: Callable[[], _Value]) -> tuple[_Value | None, Exception | None]:
    """Return the value of a function and None, or None and the exception that it raised."""
    try:
        return make(), None
    except Exception as error:  # noqa: BLE001  # every error must be sent to the other processes
        return None, error


def fail_everywhere(error: Exception | None) -> None:
    """Raise an error in all processes if one of them has an error. Every process must call this function."""
    messages: list[str | None] = gather_object([error and f"{type(error).__name__}: {error}"])
    if error is not None:
        raise error
    failed = [f"process {index} failed: {message}" for index, message in enumerate(messages) if message]
    if failed:
        raise SemanticEntropyError("; ".join(failed))

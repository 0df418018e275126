"""One decision over several processes, and one failure: if one process fails, all processes fail with its message.

    every process has whole groups     each process decides about its own groups
    groups are cut between processes,  all rows go to process 0, which decides about the global batch as a single
    or the decision depends on the     process would; each process takes the rows that are its own
    whole batch

Without this, a process that fails would leave the others waiting in the trainer's next collective call. A failure at
another point (in generation, for example) ends its process, and the launcher (torchrun, accelerate) ends the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from empo_rl.core.provider import BatchDecision
from empo_rl.trainers.trl.rollouts import Columns, join_columns
from semantic_entropy import SemanticEntropyError

_Value = TypeVar("_Value")


def decide(
    make_columns: Callable[[], Columns], decide_about: Callable[[Columns], BatchDecision], *, globally: bool
) -> tuple[BatchDecision, slice]:
    """A decision, and which of its rows belong to this process.

    Args:
        make_columns: collects the rows of this process. A failure in it is reported to all processes too.
        decide_about: decides about rows that are whole groups.
        globally: whether the global batch needs one decision.

    Raises:
        SemanticEntropyError: another process failed; its number and message.
        Exception: this process failed; the original exception.
    """
    if PartialState().num_processes == 1:
        return decide_about(make_columns()), slice(None)
    if globally:
        return _decide_globally(make_columns, decide_about)
    decision, error = _attempt(lambda: decide_about(make_columns()))
    _fail_everywhere(error)
    assert decision is not None, "no process failed"
    return decision, slice(None)


def _decide_globally(
    make_columns: Callable[[], Columns], decide_about: Callable[[Columns], BatchDecision]
) -> tuple[BatchDecision, slice]:
    state = PartialState()
    columns, error = _attempt(make_columns)
    _fail_everywhere(error)
    parts: list[Columns] = gather_object([columns])
    decision = None
    if state.is_main_process:
        decision, error = _attempt(lambda: decide_about(join_columns(parts)))
    _fail_everywhere(error)
    decision = broadcast_object_list([decision])[0]
    ends = [0, *itertools.accumulate(len(part["completions"]) for part in parts)]
    return decision, slice(ends[state.process_index], ends[state.process_index + 1])


def _attempt(make: Callable[[], _Value]) -> tuple[_Value | None, Exception | None]:
    try:
        return make(), None
    except Exception as error:  # noqa: BLE001  # the other processes must be told of every error
        return None, error


def _fail_everywhere(error: Exception | None) -> None:
    messages: list[str | None] = gather_object([error and f"{type(error).__name__}: {error}"])
    if error is not None:
        raise error
    failed = [f"process {index} failed: {message}" for index, message in enumerate(messages) if message]
    if failed:
        raise SemanticEntropyError("; ".join(failed))

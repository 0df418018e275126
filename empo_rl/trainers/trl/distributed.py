"""One decision over several processes, and one failure: where one of them fails, all do, with its message.

    whole groups in every process      each decides about its own
    groups cut between processes, one  all rows go to process 0, which decides about the global batch as one process
    std for the batch, or something    would, and each process gets its part
    that draws or remembers

Without it a process that fails leaves the others waiting in the trainer's next collective call. A failure before this
point (in generation, say) ends its process, and the launcher (torchrun, accelerate) ends the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from numpy.typing import NDArray

from empo_rl.core.decision import BatchDecision
from empo_rl.trainers.trl.rollouts import Rows
from semantic_entropy import SemanticEntropyError

Decide = Callable[[Rows], BatchDecision]
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Share:
    """What a decision says of one process's rows, (n,) each, and of the batch."""

    rewards: NDArray[np.float64]
    advantages: NDArray[np.float64]
    loss_mask: NDArray[np.bool_]
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, decision: BatchDecision, start: int = 0, stop: int | None = None) -> Share:
        """The rows from `start` to `stop`."""
        rows = slice(start, stop)
        return cls(decision.rewards[rows], decision.advantages[rows], decision.loss_mask[rows], decision.metrics)


def decide(rows_of: Callable[[], Rows], decide_about: Decide, *, as_one: bool) -> Share:
    """This process's share of the decision.

    Args:
        rows_of: makes this process's rows. It may fail too.
        decide_about: from whole groups to a decision.
        as_one: the global batch must be decided about as one.

    Raises:
        SemanticEntropyError: another process failed; its number and message.
        Exception: this one did, as it was raised.
    """
    if PartialState().num_processes == 1:
        return Share.of(decide_about(rows_of()))
    if as_one:
        return _decide_as_one(rows_of, decide_about)
    share, error = _attempt(lambda: Share.of(decide_about(rows_of())))
    _fail_together(error)
    assert share is not None, "no process failed"
    return share


def _decide_as_one(rows_of: Callable[[], Rows], decide_about: Decide) -> Share:
    state = PartialState()
    rows, error = _attempt(rows_of)
    _fail_together(error)
    parts: list[Rows] = gather_object([rows])
    shares: list[Any] | None = [None] * state.num_processes
    if state.is_main_process:
        shares, error = _attempt(lambda: _shares(decide_about(Rows.joined(parts)), parts))
    _fail_together(error)
    share: Share = broadcast_object_list(shares)[state.process_index]
    return share


def _shares(decision: BatchDecision, parts: list[Rows]) -> list[Share]:
    ends = np.cumsum([len(part.completions) for part in parts]).tolist()
    return [Share.of(decision, start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _attempt(make: Callable[[], _Made]) -> tuple[_Made | None, Exception | None]:
    try:
        return make(), None
    except Exception as error:  # noqa: BLE001  # whatever it is, the other processes have to hear of it
        return None, error


def _fail_together(error: Exception | None) -> None:
    messages: list[str | None] = gather_object([error and f"{type(error).__name__}: {error}"])
    if error is not None:
        raise error
    failed = [f"process {index} failed: {message}" for index, message in enumerate(messages) if message]
    if failed:
        raise SemanticEntropyError("; ".join(failed))

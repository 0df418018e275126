"""Seconds by stage over all the processes that a run took: what was done before a kill and kept counts, what was lost
does not, nor does the time in between.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Stages may lie within each other; a checkpoint keeps what has been counted so far (`Stateful`)."""

    def __init__(self) -> None:
        self._counted: dict[str, float] = {}
        self._running: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time counts for this stage inside, on top of what it has."""
        self._running[name] = time.perf_counter()
        try:
            yield
        finally:
            self._counted[name] = self.seconds()[name]
            del self._running[name]

    def seconds(self) -> dict[str, float]:
        """By stage, those that are running included."""
        now = time.perf_counter()
        running = {name: self._counted.get(name, 0.0) + now - began for name, began in self._running.items()}
        return {**self._counted, **running}

    def state_dict(self) -> dict[str, float]:
        """As `seconds`."""
        return self.seconds()

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from what an earlier process had counted; what this one has of the running stages comes on top."""
        self._counted = dict(state)

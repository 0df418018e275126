"""A lock for the threads of a process that may fork.

A fork copies a lock as it stands, but not the thread that holds it: the child would wait for it for ever. Here each
process has a lock of its own.
"""

from __future__ import annotations

import os
import threading


class ProcessLock:
    """One lock a process, made when it is first asked for."""

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    @property
    def here(self) -> threading.Lock:
        """This process's."""
        return self._locks.setdefault(os.getpid(), threading.Lock())

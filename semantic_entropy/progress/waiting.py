"""Why nothing happens, on standard error: a busy server looks like a program that hangs.

Who waits says so, at level INFO, to the logger `semantic_entropy.waiting`, which nobody hears who does not ask for it.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator

_WAITING = "semantic_entropy.waiting"
_EVERY = 60.0  # seconds between two lines at least


@contextlib.contextmanager
def waits_said() -> Iterator[None]:
    """While the block runs, a line on standard error where a long wait begins; one a minute at most."""
    log, handler = logging.getLogger(_WAITING), _Seldom()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)


class _Seldom(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._said_at = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() - self._said_at >= _EVERY:
            self._said_at = time.monotonic()
            sys.stderr.write(f"waiting: {record.getMessage()}\n")

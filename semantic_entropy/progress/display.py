"""Progress on standard error: a progress bar on a terminal, and a line when a long wait begins.

Components report a long wait (a busy server, a rate limit) at level INFO to the logger `semantic_entropy.waiting`.
Nothing is printed unless `show_waits` or the caller's own logging configuration enables that logger.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

_WAIT_LOGGER = "semantic_entropy.waiting"
_WAIT_INTERVAL = 60.0  # least number of seconds between two lines about waits


@contextlib.contextmanager
def progress_bar(
    unit: str, total: int | None, shown: bool, note: Callable[[], str] = lambda: ""
) -> Iterator[Callable[[int], object]]:
    """Show a progress bar while the block runs. Call the yielded function with the number of newly finished units.

    The bar calls `note` at each refresh and shows the returned text, so that the user sees activity before the first
    unit is finished.
    """
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console  # takes 60 ms: not imported if there is no terminal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Note(ProgressColumn):
        def render(self, _: Any) -> Text:
            return Text(note())

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), Note())
    console = Console(file=sys.stderr)  # this one: a part of the program may redirect `sys.stderr` meanwhile
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(unit, total=total)
        yield lambda more: bars.advance(task, more)


@contextlib.contextmanager
def show_waits() -> Iterator[None]:
    """While the block runs, print a line on standard error when a long wait begins; at most one line a minute."""
    import logging  # imported here to keep the import of this package fast

    last = float("-inf")

    def at_most_once_a_minute(_: logging.LogRecord) -> bool:
        nonlocal last
        now = time.monotonic()
        if now - last < _WAIT_INTERVAL:
            return False
        last = now
        return True

    logger, handler = logging.getLogger(_WAIT_LOGGER), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("waiting: %(message)s"))
    handler.addFilter(at_most_once_a_minute)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)

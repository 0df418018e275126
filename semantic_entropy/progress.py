"""A progress bar on standard error, for work that a person waits for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bar(unit: str, total: int | None, shown: bool) -> Iterator[Callable[[int], object]]:
    """A bar for as long as the block runs; call what it gives with how many more are done."""
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console  # 60 ms that a script without a terminal need not pay
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(unit, total=total)
        yield lambda more: bars.advance(task, more)

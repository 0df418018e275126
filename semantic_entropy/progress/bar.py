"""A progress bar on standard error, for work that a person waits for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def bar(
    unit: str, total: int | None, shown: bool, note: Callable[[], str] = lambda: ""
) -> Iterator[Callable[[int], object]]:
    """A bar for as long as the block runs; call what it gives with how many more are done.

    `note` is read anew at every refresh: a sign of life while nothing is finished.
    """
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console  # 60 ms that a script without a terminal need not pay
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Note(ProgressColumn):
        def render(self, _: Any) -> Text:
            return Text(note())

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), Note())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(unit, total=total)
        yield lambda more: bars.advance(task, more)

"""Show progress on stderr, so that stdout contains only results.

On a terminal, each stage has a progress bar. Without a terminal, each stage prints ten lines.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_LINES = 10  # per stage


class StageProgress:
    """Progress bars, one for each stage.

    `progress(stage, done, total, note)` updates the bar of a stage; the first call with a new stage adds its bar.
    """

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self.reached: tuple[str, int, int] | None = None  # (stage, completed steps, total steps)

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        before = self.reached[1] if self.reached is not None and self.reached[0] == stage else 0
        self.reached = (stage, done, total)
        if not self.console.is_terminal:
            if done * _LINES // total > before * _LINES // total:
                self.say(f"{stage} {done}/{total} {note}")
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, note=note)
        self._bars.update(self._tasks[stage], completed=done, note=note)

    def interrupted(self) -> str:
        """Stop the bars. Return a message for the user who interrupted the program: the last completed step."""
        self.end()
        if self.reached is None:
            return "interrupted before the first step"
        stage, done, total = self.reached
        return f"interrupted in {stage} after step {done} of {total}"

    def end(self) -> None:
        """Stop the bars, because they would overwrite the next line of output."""
        self._bars.stop()

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

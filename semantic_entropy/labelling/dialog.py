"""A person labels answers in a terminal: one key for each answer, stored at once.

y: right, n: wrong, s: skip, u: undo the last answer, m: show a long text whole, q: quit. Ctrl-C and Ctrl-D quit too.
A key counts for the row that is shown: keys that are typed before are dropped, and so are pasted texts. Texts are shown
without control characters, which a terminal would obey.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import NamedTuple

import click

from semantic_entropy.labelling.label_run import LabelRun, WaitingRow
from semantic_entropy.labelling.labelled_file import PERSON
from semantic_entropy.plain_text import plural, printable

_KEYS = "y right   n wrong   s skip   u undo   m more   q quit"
_LINES = 12  # lines of a text that are shown before the person asks for more
_WIDEST = 100  # characters of a line: longer ones are hard to read


class _Step(NamedTuple):
    """What was done with one row: its place, and whether a label was stored."""

    row: int
    stored: bool


class Dialog:
    """Asks for the labels of these rows, and stores them in the output of the run."""

    def __init__(self, run: LabelRun, rows: list[WaitingRow]) -> None:
        self._run, self._rows = run, rows
        self._steps: list[_Step] = []
        self._labelled = self._wrong = 0

    def ask(self) -> None:
        """Ask until all rows have a label, or the person quits."""
        if not self._rows:
            click.echo("nothing to label: all rows with an answer have a label")
            return
        click.echo(f"{plural(len(self._rows), 'answer')} to label. Is the answer right? {_KEYS}")
        index = 0
        with contextlib.suppress(EOFError, KeyboardInterrupt), _single_keys() as read_key:
            while index < len(self._rows) and (key := self._key(index, read_key)) != "q":
                index = self._undo(index) if key == "u" else self._store(index, key)
        stored = {step.row for step in self._steps if step.stored}
        skipped = {step.row for step in self._steps if not step.stored} - stored
        self._run.note_skipped(self._rows[i][1].key for i in skipped)
        click.echo("")

    def _key(self, index: int, read_key: Callable[[], str]) -> str:
        """Show a row, and return one of y, n, s, u and q."""
        self._show(index, whole=False)
        while True:
            key = read_key().lower()
            if key in ("y", "n", "s", "u", "q"):
                return key
            if key == "m":
                self._show(index, whole=True)
            else:
                click.echo(f"  {_KEYS}")

    def _store(self, index: int, key: str) -> int:
        if key != "s":
            row, item = self._rows[index]
            self._run.add(row, item, correct=key == "y", by=PERSON)
            self._labelled += 1
            self._wrong += key == "n"
        self._steps.append(_Step(index, key != "s"))
        click.echo({"y": "  right", "n": "  wrong", "s": "  skipped"}[key])
        return index + 1

    def _undo(self, index: int) -> int:
        if not self._steps:
            click.echo("  nothing to undo")
            return index
        step = self._steps.pop()
        if step.stored:
            self._wrong -= self._run.labels[self._rows[step.row][1].key].correct is False
            self._labelled -= 1
            self._run.undo()
        click.echo("  undone")
        return step.row

    def _show(self, index: int, *, whole: bool) -> None:
        _, item = self._rows[index]
        _drop_typed_keys()
        place = f"{index + 1} of {len(self._rows)}; {self._labelled} labelled, {self._wrong} wrong"
        click.echo("\n" + click.style(place, dim=True))
        texts = [("question", item.question or "(no question)"), ("answer", item.answer or ""), *item.shown]
        for name, text in texts:
            click.echo(click.style(f"{printable(name)}:", bold=name == "answer" or None))
            click.echo(_fitted(text, whole=whole))


@contextlib.contextmanager
def _single_keys() -> Iterator[Callable[[], str]]:
    """Let the terminal send each key at once. Yield a function that reads the next key."""
    try:
        import termios
        import tty
    except ImportError:  # Windows, where click reads single keys
        yield click.getchar
        return
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)

    def read_key() -> str:
        data = os.read(handle, 64)
        if data in (b"", b"\x04"):  # the end of the input, Ctrl-D
            raise EOFError
        return data.decode(errors="replace")  # several characters: a paste or an escape sequence, and no key

    tty.setcbreak(handle, termios.TCSAFLUSH)
    try:
        yield read_key
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def _drop_typed_keys() -> None:
    with contextlib.suppress(ImportError):
        import termios

        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def _fitted(text: str, *, whole: bool) -> str:
    """Return the text in lines that fit the terminal; without `whole`, the first lines."""
    width = min(_WIDEST, shutil.get_terminal_size().columns) - 4
    lines = []
    for line in printable(text.strip()).split("\n"):
        lines += textwrap.wrap(line, max(20, width), drop_whitespace=False) or [""]
    if len(lines) > _LINES and not whole:
        lines = [*lines[:_LINES], f"... {len(lines) - _LINES} more lines (m)"]
    return textwrap.indent("\n".join(lines), "  ")

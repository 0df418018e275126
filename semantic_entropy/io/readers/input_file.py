"""An input: a file, or standard input, whose beginning can be looked at before it is read."""

from __future__ import annotations

import contextlib
import io
import os
import select
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from semantic_entropy.errors import InputError

STANDARD_INPUT = "-"
_PATIENCE = 0.05  # seconds without anything to read after which a pipe waits: writers that go on are faster
_LONGEST_LINE = 16 * 2**20  # bytes of a first line that are looked at


NO_NAME = "the name of the input is empty: is a variable of the shell unset?"


class InputFile:
    """An input of bytes.

    Args:
        name: the path of the file; "-": standard input.
        on_wait: called before a read from a pipe that has had nothing to read for a moment. So the rows that have
            arrived can be measured: the program at the other end may wait for their results.

    Raises:
        InputError: the file does not exist.
    """

    def __init__(self, name: str, on_wait: Callable[[], None] | None = None) -> None:
        self.name, self._on_wait = name, on_wait
        self._beginning = b""  # bytes that were taken from standard input to look at them
        self._first_line: bytes | None = None
        self._copy: IO[bytes] | None = None
        if name != STANDARD_INPUT and (not Path(name).exists() or Path(name).is_dir()):
            raise InputError(f"{name}: no such file")

    @property
    def suffix(self) -> str:
        """The suffix of the file in lower case, such as ".csv"; empty for standard input."""
        return "" if self.name == STANDARD_INPUT else Path(self.name).suffix.lower()

    @property
    def is_repeatable(self) -> bool:
        """Whether the input can be read more than once."""
        return self._copy is not None or (self.name != STANDARD_INPUT and Path(self.name).is_file())

    def first_line(self) -> bytes:
        """Return the first line that is not blank. A later `open` begins at the beginning all the same."""
        if self._first_line is None:
            taken = []
            with self.open() as lines:
                for line in iter(lambda: lines.readline(_LONGEST_LINE), b""):
                    taken.append(line)
                    if line.strip():
                        break
            self._beginning = b"" if self.is_repeatable else b"".join(taken)
            self._first_line = taken[-1] if taken else b""
        return self._first_line

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the input at its beginning. An input that is not repeatable can be read once.

        Raises:
            InputError: the file cannot be read.
        """
        if self._copy is not None:
            self._copy.seek(0)
            yield self._copy
        elif self.is_repeatable:
            try:
                file = Path(self.name).open("rb")  # noqa: SIM115  # closed below
            except OSError as error:
                raise InputError(f"{self.name}: cannot be read: {error.strerror}") from error
            with file:
                yield file
        else:
            yield self._stream()

    def copy_to_disk(self) -> None:
        """Copy an input that is not repeatable to a temporary file, so that it can be read more than once."""
        if not self.is_repeatable:
            with self.open() as source:
                copy = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this object
                weakref.finalize(self, copy.close)
                shutil.copyfileobj(source, copy)
            self._copy = copy

    def _stream(self) -> IO[bytes]:
        if not hasattr(self, "_source"):
            source: Any = sys.stdin.buffer
            if self.name != STANDARD_INPUT:  # a pipe with a name
                source = Path(self.name).open("rb")  # noqa: SIM115  # closed with this object
                weakref.finalize(self, source.close)
            raw = getattr(source, "raw", None) if self._on_wait and os.name != "nt" else None
            self._source: Any = io.BufferedReader(_Pipe(raw, self._on_wait)) if raw and self._on_wait else source
        beginning, self._beginning = self._beginning, b""
        return io.BufferedReader(_Stream(beginning, self._source)) if beginning else self._source


class _Pipe(io.RawIOBase):
    """A pipe that calls a function before a read that has to wait."""

    def __init__(self, raw: io.RawIOBase, on_wait: Callable[[], None]) -> None:
        self._raw, self._on_wait = raw, on_wait

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if not select.select([self._raw], [], [], _PATIENCE)[0]:
            self._on_wait()
        return self._raw.readinto(buffer)


class _Stream(io.RawIOBase):
    """Bytes that were read before, and then the rest of a stream. A read returns what has arrived."""

    def __init__(self, beginning: bytes, rest: Any) -> None:
        self._beginning, self._rest = beginning, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._beginning[: len(buffer)] or self._rest.read1(len(buffer))
        self._beginning = self._beginning[len(data) :]
        buffer[: len(data)] = data
        return len(data)

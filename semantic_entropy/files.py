"""Files that survive a kill: append whole lines, lock against other processes, wait for the disk.

A kill can only cut the last line of an append-only file short; `drop_cut_line` removes that line.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO, Any

from semantic_entropy.errors import SemanticEntropyError

_BLOCK = 1 << 16  # bytes read at once on the way back to the last end of a line


def write_lines(out: IO[bytes], lines: list[str], path: Path | None) -> None:
    """Write whole lines and flush; a full disk is an error that says how to go on."""
    text = "".join(line + "\n" for line in lines)
    try:
        out.write(text.encode())
        out.flush()
    except BrokenPipeError:
        raise  # whoever read it wants no more
    except OSError as error:
        raise SemanticEntropyError(
            f"{path or 'standard output'}: {error.strerror}; what is written so far is complete, run again to go on"
        ) from error


def drop_cut_line(path: Path) -> None:
    """Remove a last line that a kill cut short, read from the end: a file may be larger than memory."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _BLOCK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                file.truncate(start + found + 1)
                return
            end = start
        file.truncate(0)


def append(path: Path, lines: list[str]) -> None:
    """Open, append whole lines, close."""
    out = appending(path)
    try:
        write_lines(out, lines, path)
    finally:
        close(out)


def close(out: IO[Any]) -> None:
    """Close after `write_lines`, which has flushed: what fails again here (a full disk) has been reported there."""
    with contextlib.suppress(OSError):
        out.close()


def appending(path: Path) -> IO[bytes]:
    """Open for appending, with its folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise SemanticEntropyError(f"{path}: cannot be written: {error.strerror}") from error


def try_lock(handle: int) -> bool:
    """Lock an open file or folder against other processes. False: another process holds it.

    The system releases the lock when this process dies or closes the handle. Windows has no such lock here: True.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Files that are written whole or not at all, and what a full disk means for a run.

A disk that refuses speaks differently through each library: Python raises OSError with a number, safetensors and torch
errors of their own with a text. `explained` makes one sentence of all of them: what was written, how much is free, what
to do. Leaves out waiting for space: a run that cannot write ends, and is resumed.
"""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from empo_rl.run import checkpoints
from semantic_entropy import InputError, SemanticEntropyError

_REFUSED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SAID = (
    "No space left",  # safetensors passes the system's own words on
    "File too large",
    "quota exceeded",
    "unexpected pos",  # torch.save, in the middle of a file
    "iostream error",  # torch.save, at its beginning
)
UNFINISHED = ".tmp"  # how the names of files end that are not whole yet: what a kill leaves
_PLENTY = 2**30  # bytes; with so much free it is not the disk that is full


class DiskError(SemanticEntropyError):
    """A file could not be written for want of space."""


def write_whole(path: Path, text: str) -> None:
    """Replace a text file in one move: a kill or a full disk leaves the old version or the new one.

    Its folder is made where there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as (file,):
        file.write(text)


@contextmanager
def written_whole(*paths: Path) -> Iterator[list[TextIO]]:
    """Text files to write to; at the end of the block they take their places, and after an error none is left.

    Half a character (a lone surrogate), which UTF-8 cannot hold, is written as its escape: in JSON that is the same.
    The files have names of their own, NAME.RANDOM.tmp, so that two processes never write into each other's. The first
    of `paths` takes its place last: where it is new, so are the others.

    Raises:
        InputError: one of them is a folder; nothing has been written.
    """
    if folder := next((path for path in paths if path.is_dir()), None):
        raise InputError(f"{folder} is a folder, where a file is to be written: move it away, or choose another name.")
    unfinished = [path.with_name(f"{path.name}.{secrets.token_hex(4)}{UNFINISHED}") for path in paths]
    try:
        with ExitStack() as opened:
            yield [
                opened.enter_context(each.open("x", encoding="utf-8", errors="backslashreplace")) for each in unfinished
            ]
        for each, path in reversed(list(zip(unfinished, paths, strict=True))):
            each.replace(path)
    except BaseException:  # Ctrl-C too
        for each in unfinished:
            each.unlink(missing_ok=True)
        raise


def refused(directory: Path, error: BaseException) -> str:
    """What a full disk refused to write, and how much is free there."""
    free = shutil.disk_usage(next(folder for folder in [directory, *directory.parents] if folder.exists())).free
    limit = ", so a quota or a limit on the size of a file (ulimit -f) refuses" if free > _PLENTY else ""
    return f"no space to write in {directory} ({_first_line(error)}): {_size(free)} are free there{limit}."


@contextmanager
def explained(directory: Path, advice: str) -> Iterator[None]:
    """Turn the errors of a full disk into a `DiskError`; others pass. A checkpoint that was cut short is deleted.

    Raises:
        DiskError: names the directory, what is free there, the advice, and what a resumed run goes on from.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if not is_refusal(error):
            raise
        raise DiskError(_explanation(directory, error, advice)) from error
    except Exception as error:  # SafetensorError derives from Exception alone
        if type(error).__name__ != "SafetensorError" or not is_refusal(error):
            raise
        raise DiskError(_explanation(directory, error, advice)) from error


def is_refusal(error: BaseException) -> bool:
    """Whether an error says that there is no space."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _REFUSED
    return any(words in str(error) for words in _SAID)


def _explanation(directory: Path, error: BaseException, advice: str) -> str:
    last, broken = checkpoints.latest(directory)
    cut_short = [
        checkpoint for checkpoint in broken if checkpoints.is_unfinished(checkpoint)
    ]  # others may be worth more
    for checkpoint in cut_short:
        shutil.rmtree(checkpoint, ignore_errors=True)
    kept = f"goes on from {last}" if last else "begins at step 1: there is no whole checkpoint"
    left = ", ".join(f"{checkpoint.name}, cut short, is deleted" for checkpoint in cut_short)
    return (
        f"{refused(directory, error)}{f' {left}.' if left else ''} {advice} The same command with --resume then {kept}."
    )


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"

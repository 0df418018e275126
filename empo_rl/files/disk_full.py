"""Recognise the errors of a full disk and explain them.

Each library reports a full disk in its own way: Python raises OSError with a number, safetensors and torch raise their
own errors with a text. `explain_disk_full` turns all of them into one `DiskError`: the directory, the free space, what
to do. Leaves out waiting for space: a run that cannot write ends, and `--resume` continues it.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from empo_rl.files import checkpoints
from semantic_entropy import SemanticEntropyError

_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TEXTS = (
    "No space left",  # safetensors repeats the operating system's text
    "File too large",
    "quota exceeded",
    "unexpected pos",  # torch.save, in the middle of a file
    "iostream error",  # torch.save, at the beginning of a file
)
_NOT_FULL = 2**30  # bytes; with this much free space, a quota or a size limit is the cause


class DiskError(SemanticEntropyError):
    """A file could not be written because there is no space."""


@contextmanager
def explain_disk_full(directory: Path, advice: str) -> Iterator[None]:
    """Turn the errors of a full disk into a `DiskError`; other errors pass. Deletes an incomplete checkpoint.

    Raises:
        DiskError: names the directory, its free space, the advice, and the checkpoint that `--resume` continues from.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if not is_disk_full(error):
            raise
        raise DiskError(_explanation(directory, error, advice)) from error
    except Exception as error:  # SafetensorError derives from Exception alone
        if type(error).__name__ != "SafetensorError" or not is_disk_full(error):
            raise
        raise DiskError(_explanation(directory, error, advice)) from error


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that there is no space left."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _ERRNOS
    return any(text in str(error) for text in _TEXTS)


def disk_full_message(directory: Path, error: BaseException) -> str:
    """One sentence: the directory, the error and the free space."""
    existing = next(folder for folder in [directory, *directory.parents] if folder.exists())
    free = shutil.disk_usage(existing).free
    cause = ", so the cause is a quota or a limit on the size of a file (ulimit -f)" if free > _NOT_FULL else ""
    return f"no space left to write in {directory} ({_first_line(error)}): {_size(free)} free{cause}."


def _explanation(directory: Path, error: BaseException, advice: str) -> str:
    last, broken = checkpoints.latest(directory)
    # A checkpoint that is broken in another way is kept: its files may be worth something.
    incomplete = [checkpoint for checkpoint in broken if checkpoints.is_incomplete(checkpoint)]
    for checkpoint in incomplete:
        shutil.rmtree(checkpoint, ignore_errors=True)
    deleted = "".join(f" The incomplete {checkpoint.name} was deleted." for checkpoint in incomplete)
    resumed = f"continues from {last}" if last else "starts at step 1, because there is no complete checkpoint"
    return f"{disk_full_message(directory, error)}{deleted} {advice} Then the same command with --resume {resumed}."


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"

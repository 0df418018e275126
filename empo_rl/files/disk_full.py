"""Recognise the errors of a full disk and explain them.

Python reports a full disk with an OSError and its number; safetensors and torch raise their own errors with a text.
`explain_disk_full` replaces these errors by a `DiskError`, which names the directory, the free space and the advice.
A run that cannot write does not wait for free space: the run ends, and `--resume` continues the run.
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
_NOT_FULL = 2**30  # bytes; if more space is free, the cause is a quota or a size limit


class DiskError(SemanticEntropyError):
    """A file could not be written because there is no space."""


@contextmanager
def explain_disk_full(directory: Path, advice: str) -> Iterator[None]:
    """Replace the errors of a full disk by a `DiskError`. Other errors are not changed.

    After an error of a full disk, incomplete checkpoints in the directory are deleted.

    Args:
        directory: the directory in which the block writes.
        advice: a sentence for the user, which becomes a part of the message.

    Raises:
        DiskError: the disk is full. The message names the directory, its free space, the advice, and the checkpoint
            from which `--resume` continues.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if not is_disk_full(error):
            raise
        raise DiskError(_explanation(directory, error, advice)) from error
    except Exception as error:  # SafetensorError is a direct subclass of Exception
        if type(error).__name__ != "SafetensorError" or not is_disk_full(error):
            raise
        raise DiskError(_explanation(directory, error, advice)) from error


def is_disk_full(error: BaseException) -> bool:
    """Return whether the error means that the disk is full."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _ERRNOS
    return any(text in str(error) for text in _TEXTS)


def disk_full_message(directory: Path, error: BaseException) -> str:
    """Return a message with the directory, the error and the free space."""
    existing = next(folder for folder in [directory, *directory.parents] if folder.exists())
    free = shutil.disk_usage(existing).free
    cause = ", so the cause is a quota or a limit on the size of a file (ulimit -f)" if free > _NOT_FULL else ""
    return f"no space left to write in {directory} ({_first_line(error)}): {_size(free)} free{cause}."


def _explanation(directory: Path, error: BaseException, advice: str) -> str:
    last, broken = checkpoints.latest(directory)
    # A checkpoint with another fault is kept, because its files may still be useful.
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

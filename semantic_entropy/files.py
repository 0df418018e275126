"""Functions that write files safely: append whole lines, replace whole files, and lock out other processes.

If the process is killed, only the last line of an append-only file can be incomplete; `drop_partial_line` removes the
incomplete line. A file that is written with `replacement` is complete or unchanged after a kill.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from semantic_entropy.errors import InputError, SemanticEntropyError

_BLOCK = 1 << 16  # bytes read at a time when searching backwards for the last end of a line
_SEAL = "content_digest"  # the last field of a sealed object
_CONTINUE = "what was written before is complete; run again to continue"


def open_append(path: Path) -> IO[bytes]:
    """Open a file for appending. Create its folder if the folder does not exist."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise SemanticEntropyError(f"{path}: cannot be written: {error.strerror}") from error


def write_lines(out: IO[bytes], lines: list[str], path: Path | None) -> None:
    """Write whole lines and flush. Error messages name `path`; None: they name standard output.

    Raises:
        SemanticEntropyError: the write failed, for example because the disk is full. The message says how to continue.
        BrokenPipeError: the reader of the pipe closed it.
    """
    text = "".join(line + "\n" for line in lines)
    try:
        out.write(text.encode())
        out.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SemanticEntropyError(f"{path or 'standard output'}: {error.strerror}; {_CONTINUE}") from error


def close_flushed(out: IO[Any]) -> None:
    """Close a file after `write_lines`. An error is ignored, because `write_lines` has already reported it."""
    with contextlib.suppress(OSError):
        out.close()


def drop_partial_line(path: Path) -> None:
    """Remove the last line if it has no end of line. Read from the end, because the file may be larger than memory."""
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


@contextlib.contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder. After the block, the temporary file is renamed to `path`.

    The temporary file is synced before it is renamed: after a kill or a power cut, `path` is complete or unchanged.

    Raises:
        SemanticEntropyError: the write failed. The temporary file is removed.
    """
    temporary = _temporary(path)
    try:
        yield temporary
        if path.exists():
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))  # a file that only its owner may read stays so
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SemanticEntropyError(f"{path}: {error.strerror or error}; {_CONTINUE}") from error


def digest_of(path: Path) -> str:
    """Return the SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(values: Mapping[str, Any]) -> bytes:
    """Return an object as JSON that ends with the digest of the rest: a changed byte must not become a number."""
    return json.dumps({**values, _SEAL: _digest(values)}, indent=1).encode()


def unsealed(content: bytes) -> dict[str, Any]:
    """Return the object of `sealed`. An object without a digest is not checked: an earlier version wrote it.

    Raises:
        ValueError: the content is no JSON object, or was changed after it was written.
    """
    values = json.loads(content)
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  # as for no JSON
    digest = values.pop(_SEAL, None)
    if digest not in (None, _digest(values)):
        raise ValueError("it was changed after it was written")
    return values


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, indent=1).encode()).hexdigest()


def save_figure(figure: Any, path: str) -> None:
    """Write a figure of matplotlib in the format of the suffix. An existing file is replaced when it is complete."""
    with replacement(Path(path)) as temporary:
        figure.savefig(temporary, dpi=120, format=Path(path).suffix.removeprefix("."))


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")  # hidden: a file with this name does not belong to a user


def sync(path: Path) -> None:
    """Wait until a file, or the list of files in a folder, is on the disk. On Windows, do nothing for a folder."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def try_lock(handle: int) -> bool:
    """Lock an open file or folder against other processes. Return False if another process holds the lock.

    The system releases the lock when this process ends or closes the handle. On Windows, the function does not lock
    and returns True.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def locked_output(path: Path) -> Iterator[None]:
    """Lock the output file `path` against other runs while the block runs.

    The lock is on the file OUTPUT.lock in the folder of the output, so it holds for all processes that write to this
    folder, in other containers and with another TMPDIR too. The end of the block removes the file. An output with
    several hard links has a lock of its own, too. If the file system has no locks, a warning is printed and the block
    runs.

    Raises:
        InputError: another run holds the lock, or the lock file cannot be created, or OUTPUT.lock is another file.
    """
    if sys.platform == "win32":
        yield
        return
    name = path.with_name(path.name + ".lock")
    handle = _lock(name, path)
    try:
        remove(_temporary(path))  # what a kill during `replacement` leaves
        with _locked_links(path):
            yield
    finally:
        name.unlink(missing_ok=True)  # before the lock is released: a waiting run sees that its file is gone
        os.close(handle)


@contextlib.contextmanager
def _locked_links(path: Path) -> Iterator[None]:
    """Lock the file itself if it has other hard links: a run on one of them has another OUTPUT.lock."""
    if not path.is_file() or path.stat().st_nlink == 1:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            locked = try_lock(stack.enter_context(path.open("rb")).fileno())
        except OSError:  # no locks, as `_lock` has said, or no permission to read, which the run reports
            locked = True
        if not locked:
            raise InputError(_busy(path))
        yield


def _busy(output: Path) -> str:
    return f"another run is writing {output}: wait for it, or choose another output"


def _lock(name: Path, output: Path) -> int:
    while True:
        handle = _open_lock_file(name)
        try:
            locked, problem = try_lock(handle), ""
        except OSError as error:
            sys.stderr.write(f"{name}: cannot be locked ({error.strerror}): start no second run on {output}\n")
            return handle
        if not locked:
            problem = _busy(output)
        elif os.fstat(handle).st_size:
            problem = f"{name} is not empty, so it is not a lock file: rename it, or choose another output"
        elif name.exists() and os.path.samestat(os.fstat(handle), name.stat()):
            return handle
        os.close(handle)
        if problem:
            raise InputError(problem)
        # else another run removed the file after it was opened here


def _open_lock_file(name: Path) -> int:
    try:  # another user may write to the folder: do not follow a link
        return os.open(name, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise InputError(
            f"{name} cannot be opened: {error.strerror}. Its lock prevents two runs from writing one output. Choose an "
            "output in a folder where you can create files"
        ) from error


def check_distinct(paths: Mapping[str, Path | IO[Any]]) -> None:
    """Raise InputError if two of these are the same file. Symbolic links and hard links are followed.

    `paths` are the paths of a command by their role, such as {"input": ..., "output": ...}. A standard stream may be
    redirected from or to a file; other streams, such as terminals and pipes, are never the same file.
    """
    for (role, path), (other_role, other) in itertools.combinations(paths.items(), 2):
        if isinstance(path, Path) and isinstance(other, Path) and link_target(path) == link_target(other):
            same = True
        else:
            file, another = _regular_file(path), _regular_file(other)
            same = file is not None and another is not None and os.path.samestat(file, another)
        if same:  # hard links, and names that differ in case only, too
            shown = path if isinstance(path, Path) else other if isinstance(other, Path) else "one file"
            raise InputError(f"{shown} is both {role} and {other_role}: choose another path for one of them")


def link_target(path: Path) -> Path:
    """Return the absolute path without symbolic links. It need not exist.

    Raises:
        InputError: the symbolic links form a loop.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise InputError(f"{path}: its symbolic links form a loop: remove them, or choose another path")
    return target


def remove(path: Path) -> None:
    """Remove a file if it exists.

    Raises:
        InputError: it is a folder, or cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{path} would be replaced by a file of this run, and cannot be removed ({error.strerror}): rename it, or "
            "choose another output"
        ) from error


def _regular_file(path: Path | IO[Any]) -> os.stat_result | None:
    """Return the status of a regular file; None: it is something else, or does not exist."""
    try:
        found = path.stat() if isinstance(path, Path) else os.fstat(path.fileno())
    except (OSError, ValueError):  # ValueError: a stream without a file, as in a notebook
        return None
    return found if stat.S_ISREG(found.st_mode) else None

"""Text files that are replaced completely or not at all.

Each file is written under a temporary name, NAME.RANDOM.tmp, and then renamed. A kill or a full disk leaves the old
version or the new version, never a part. The random name keeps two processes from writing into the same temporary file.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from semantic_entropy import InputError

TEMPORARY_SUFFIX = ".tmp"  # a kill during a write leaves a file whose name ends so


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file; creates its folder if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_atomically(path) as (file,):
        file.write(text)


@contextmanager
def open_atomically(*paths: Path) -> Iterator[list[TextIO]]:
    """Open temporary files to write to; rename them to `paths` at the end of the block, or delete them after an error.

    A lone surrogate, which UTF-8 cannot encode, is written as its escape sequence; JSON reads both alike. The first of
    `paths` is renamed last, so if it is new, the others are new too.

    Raises:
        InputError: a path is a folder; nothing has been written.
    """
    if folder := next((path for path in paths if path.is_dir()), None):
        raise InputError(f"cannot write the file {folder}: it is a folder. Move the folder, or choose another name.")
    temporary = [path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}") for path in paths]
    try:
        with ExitStack() as opened:
            yield [
                opened.enter_context(file.open("x", encoding="utf-8", errors="backslashreplace")) for file in temporary
            ]
        for file, path in reversed(list(zip(temporary, paths, strict=True))):
            file.replace(path)
    except BaseException:  # Ctrl-C too
        for file in temporary:
            file.unlink(missing_ok=True)
        raise

"""Replace text files completely or not at all.

Each file is written under a temporary name, NAME.RANDOM.tmp, and then renamed. After a kill or a full disk, the file
has its old content or its new content, never a part of the new content. The random name prevents two
processes from writing to the same temporary file.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from semantic_entropy import InputError

TEMPORARY_SUFFIX = ".tmp"  # the suffix of a temporary file; a kill during a write leaves the temporary file


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file. Create the folder of the file if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_atomically(path) as (file,):
        file.write(text)


@contextmanager
def open_atomically(*paths: Path) -> Iterator[list[TextIO]]:
    """Open temporary files for writing. Rename them to `paths` at the end of the block; after an error, delete them.

    A lone surrogate, which UTF-8 cannot encode, is written as its escape sequence; JSON readers restore the surrogate.
    The file of the first path is renamed last: if it has its new content, all files have their new content.

    Raises:
        InputError: a path is a folder. No file was written.
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
    except BaseException:  # also KeyboardInterrupt
        for file in temporary:
            file.unlink(missing_ok=True)
        raise
